"""A run's metrics: gathered between two reports, written as JSON lines and TensorBoard events, drawn as curves."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scoundrel_ray.runs.events import EventLog
from scoundrel_ray.storage.durable import append, save_picture, write_file


class Window:
    """Sums between two reports."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, float] = defaultdict(float)

    def add(self, name: str, value: float, weight: float = 1.0) -> None:
        """Count `value` with `weight`."""
        self._sums[name] += value * weight
        self._counts[name] += weight

    def total(self, name: str) -> float:
        """Weighted sum of what was added."""
        return self._sums.get(name, 0.0)

    def weight(self, name: str) -> float:
        """Sum of the weights."""
        return self._counts.get(name, 0.0)

    @property
    def names(self) -> list[str]:
        """Names of all that was ever added, also before the window was emptied."""
        return list(self._counts)

    def emptied(self) -> Window:
        """An empty window that knows the same names."""
        fresh = Window()
        for name in self._counts:
            fresh._counts[name] = 0.0
        return fresh

    def mean(self, name: str) -> float | None:
        """Weighted mean of what was added; None if nothing was."""
        count = self._counts.get(name, 0.0)
        return self._sums[name] / count if count else None


class MetricsLog:
    """Writes each report to `metrics.jsonl` and, as scalars, to TensorBoard; a resumed run goes on in both.

    Args:
        run_dir: where both live.
        last_step, minutes: steps of all learners, and minutes of training, in the checkpoint that the run goes on
            from; None for a fresh run. Lines beyond them belong to work that was lost, and are dropped, also in
            TensorBoard.
    """

    def __init__(self, run_dir: Path, last_step: int | None = None, minutes: float = math.inf) -> None:
        self.path = run_dir / "metrics.jsonl"
        if last_step is not None and self.path.exists():
            kept = [line for line in read(self.path) if line["steps"] <= last_step and line["minutes"] <= minutes]
            write_file(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._events = EventLog(run_dir / "tensorboard", None if last_step is None else last_step + 1)

    def write(self, report: Mapping[str, Any]) -> None:
        """Append one report; scalars, and each `*_histogram` mapping, are drawn over the steps of all learners.

        Raises:
            OSError: if it cannot be written; no half of a line or event is left.
        """
        append(self.path, (json.dumps(report) + "\n").encode())
        scalars = {name: float(value) for name, value in report.items() if isinstance(value, int | float)}
        histograms = {
            name: value for name, value in report.items() if name.endswith("_histogram") and sum(value.values())
        }
        self._events.write(int(report["steps"]), scalars, histograms)


def read(path: Path) -> list[dict[str, Any]]:
    """Reports of a run, oldest first; a last line cut off by a crash is left out."""
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def newest(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The newest value of every metric that is not None."""
    return {name: value for report in reports for name, value in report.items() if value is not None}


# What curves.png shows of a run as a whole: title, and the metrics in it.
_PANELS = (
    ("games a minute", ("rollout/games_per_min",)),
    ("leaves a second", ("inference/leaves_per_s",)),
    ("mean batch, leaves", ("inference/mean_batch",)),
    ("shares: inference busy, workers waiting", ("inference/busy_share", "rollout/wait_share")),
)
# Metrics of an agent that no curve is drawn of: counts, and what other panels show.
_NOT_DRAWN = ("steps", "steps_per_s", "wait_share", "restarts")
_COLUMNS = 4
_MOST_IN_LEGEND = 12
_WHERE = {"rollout": "self-play", "evaluation": "held episodes"}


def panels(reports: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Title and metrics of each panel: first the metrics of agents, then those of the run.

    Metrics that end in the same word, such as policy_loss and value_loss, share a panel.
    """
    names = dict.fromkeys(name for report in reports for name, value in report.items() if value is not None)
    found: dict[str, list[str]] = {}
    for part in ("learner", "rollout", "evaluation"):
        for name in names:
            pieces = name.split("/")
            if len(pieces) == 3 and pieces[0] == part and pieces[2] not in _NOT_DRAWN:
                title = pieces[2].rpartition("_")[2] if part == "learner" else f"{_WHERE[part]} {pieces[2]}"
                found.setdefault(title.replace("_", " "), []).append(name)
    of_run = [(title, [name for name in wanted if name in names]) for title, wanted in _PANELS]
    return [*found.items(), *((title, wanted) for title, wanted in of_run if wanted)]


def draw_curves(reports: list[dict[str, Any]], path: Path, title: str) -> None:
    """Save the run's curves over minutes of training as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shown = panels(reports)
    agents = {name.split("/")[1] for _, names in shown for name in names if name.count("/") == 2}
    rows = max(1, -(-len(shown) // _COLUMNS))
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=(17, 3 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    for axis, (label, names) in zip(axes.flat, shown, strict=False):
        for name in names:
            points = [(r["minutes"], r[name]) for r in reports if r.get(name) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), label=_curve_label(name, len(agents) > 1))
        axis.set_title(label, fontsize=10)
        axis.set_xlabel("minutes", fontsize=8)
        axis.grid(alpha=0.3)
        if 1 < len(names) <= _MOST_IN_LEGEND and axis.lines:
            axis.legend(fontsize=8)
    figure.suptitle(title)
    save_picture(figure, path)


def _curve_label(name: str, several: bool) -> str:
    """A metric in a legend; with its agent where there are several."""
    _, *agent, metric = name.split("/")
    return " ".join([*(agent if several else []), metric.replace("_", " ")])
