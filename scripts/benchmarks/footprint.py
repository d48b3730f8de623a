"""Suite "footprint": what a training run takes of a machine's memory, process by process, and how soon it plays."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting, within
from scoundrel_ray.storage.durable import save_picture, write_file
from scripts.measuring.figures import Report
from scripts.measuring.formatting import format_number
from scripts.measuring.processes import Memory, together, watched

_SETTLED_MINUTES = 10.0  # of a run before which caches and rings still fill


@dataclass(frozen=True)
class Footprint(Report):
    """Memory of a run's processes.

    Attributes:
        processes: all that lived for at least half of the run.
        total: of all processes together, those that lived shortly, too.
        half_s, trained_s: seconds from and to which growth is measured; what the command does at its end is no growth.
        first_game_s: seconds from the command's start to the end of the first game; None if none ended.
        wanted_growth: most MB a minute of any process; None if the run is too short to say.
    """

    processes: Sequence[Memory]
    total: Memory
    half_s: float
    trained_s: float
    first_game_s: float | None
    wanted_growth: float | None

    def table(self) -> Table:
        """A row for each process."""
        first = "no game ended" if self.first_game_s is None else f"first game after {self.first_game_s:.1f} s"
        table = Table(
            "process", "MB, least", "median", "most", "last", "MB a minute, last half", "wanted", caption=first
        )
        for each in [*self.processes, self.total]:
            growth = each.growth(self.half_s, self.trained_s)
            judged = self.wanted_growth is not None and growth is not None and each is not self.total
            wanted = f"{self.wanted_growth:g} " if judged else ""
            mark = "" if not wanted else "MISSED" if growth > self.wanted_growth else "reached"  # pyright: ignore[reportOperatorIssue]
            sizes = (min(each.megabytes), statistics.median(each.megabytes), max(each.megabytes), each.megabytes[-1])
            shown = [format_number(size) for size in sizes]
            table.add_row(each.name, *shown, "" if growth is None else f"{growth:+.2f}", wanted + mark)
        return table

    def as_dict(self) -> dict[str, Any]:
        """All readings, and what follows from them."""
        return {
            "seconds_to_first_game": self.first_game_s,
            "wanted_growth": self.wanted_growth,
            "processes": [
                {
                    "process": each.name,
                    "median_mb": statistics.median(each.megabytes),
                    "least_mb": min(each.megabytes),
                    "most_mb": max(each.megabytes),
                    "growth_mb_per_min": each.growth(self.half_s, self.trained_s),
                    "seconds": each.seconds,
                    "megabytes": each.megabytes,
                }
                for each in [*self.processes, self.total]
            ],
        }

    def save(self, directory: Path, name: str, document: Mapping[str, Any]) -> list[Path]:
        """The document as JSON and the readings as a plot."""
        paths = [directory / f"{name}.json", directory / f"{name}.png"]
        write_file(paths[0], (json.dumps(document, indent=2) + "\n").encode())
        self._draw(paths[1], f"{name}: {document['environment']['processor']}")
        return paths

    def _draw(self, path: Path, title: str) -> None:
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt

        figure, axis = plt.subplots(figsize=(10, 6), layout="constrained")
        for each in self.processes:
            axis.plot([s / 60 for s in each.seconds], each.megabytes, label=each.name)
        axis.set_xlabel("minutes")
        axis.set_ylabel("proportional set size, MB")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)
        axis.set_title(title)
        save_picture(figure, path)


def run(
    settings: Mapping[str, Any], run: Sequence[str], minutes: float, every_s: float, wanted_growth: float
) -> Footprint:
    """Memory of `python -m scripts.train` with the settings `run`, which trains and evaluates nothing.

    Raises:
        InvalidConfig: if the command fails, with its last line.
    """
    within("suite.minutes", minutes, 0.01, 10_000.0)
    within("suite.every_s", every_s, 0.05, 600.0)
    within("suite.wanted_growth", wanted_growth, 0.0, 1e6)
    if isinstance(run, str) or not isinstance(run, Sequence):
        raise InvalidSetting("suite.run", f"got {run!r}, wanted a list of settings of scripts.train")
    with tempfile.TemporaryDirectory() as kept:
        directory, log = Path(kept) / "run", Path(kept) / "log"
        command = [sys.executable, "-m", "scripts.train", *run, f"minutes={minutes}", "evaluation.games=0"]
        command += ["episodes.count=0"]
        code, processes = watched([*command, f"run_dir={directory}"], every_s, log)
        if code:
            said = [line for line in log.read_text().splitlines() if line.strip()]
            raise InvalidConfig(f"suite.run: scripts.train ended with {code}: {said[-1] if said else 'without a word'}")
        first = json.loads((directory / "summary.json").read_text()).get("seconds_to_first_game")
    end = max((each.seconds[-1] for each in processes), default=0.0)
    lasting = [each for each in processes if each.seconds[-1] - each.seconds[0] >= end / 2]
    trained = min((each.seconds[-1] for each in lasting), default=end)
    return Footprint(
        lasting, together(processes), end / 2, trained, first, wanted_growth if minutes >= _SETTLED_MINUTES else None
    )
