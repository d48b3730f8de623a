"""A run's metrics: gathered between two reports, written as JSON lines and TensorBoard events, drawn as curves."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scoundrel_ray.storage.durable import write_file


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

    def mean(self, name: str) -> float | None:
        """Weighted mean of what was added; None if nothing was."""
        count = self._counts.get(name, 0.0)
        return self._sums[name] / count if count else None


class MetricsLog:
    """Writes each report to `metrics.jsonl` and, as scalars, to TensorBoard; a resumed run goes on in both.

    Args:
        run_dir: where both live.
        last_step: of the checkpoint gone on from: lines beyond it belong to work that was lost and are dropped, and
            TensorBoard is told so.
    """

    def __init__(self, run_dir: Path, last_step: int | None = None) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.path = run_dir / "metrics.jsonl"
        if last_step is not None and self.path.exists():
            kept = [line for line in read(self.path) if line["learner/steps"] <= last_step]
            write_file(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        purge = None if last_step is None else last_step + 1
        self._writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=purge)

    def write(self, report: Mapping[str, Any]) -> None:
        """Append one report; scalars are drawn over learner steps, a `*_histogram` mapping as a histogram."""
        with self.path.open("a") as file:
            file.write(json.dumps(report) + "\n")
        step = int(report["learner/steps"])
        for name, value in report.items():
            if name.endswith("_histogram"):
                self._histogram(name, value, step)
            elif isinstance(value, int | float):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def _histogram(self, name: str, counts: Mapping[str, int], step: int) -> None:
        """Counts by upper limit of each bin."""
        limits = sorted(map(float, counts))
        values = [counts[str(int(limit))] for limit in limits]
        if not sum(values):
            return
        self._writer.add_histogram_raw(
            name,
            min=0.0,
            max=limits[-1],
            num=sum(values),
            sum=float(np.dot(limits, values)),
            sum_squares=float(np.dot(np.square(limits), values)),
            bucket_limits=limits,
            bucket_counts=values,
            global_step=step,
        )

    def close(self) -> None:
        """Flush what is left."""
        self._writer.close()


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


# What curves.png shows: title, and the metrics in it.
_PANELS = (
    ("loss", ("learner/policy_loss", "learner/value_loss")),
    ("mean absolute value error", ("learner/value_error",)),
    ("policy entropy, nats", ("learner/policy_entropy", "learner/target_entropy")),
    ("self-play score", ("rollout/score",)),
    ("self-play win rate", ("rollout/win_rate",)),
    ("games a minute", ("rollout/games_per_min",)),
    ("leaves a second", ("inference/leaves_per_s",)),
    ("mean batch, leaves", ("inference/mean_batch",)),
    ("shares: inference busy, workers waiting", ("inference/busy_share", "rollout/wait_share")),
)


def draw_curves(reports: list[dict[str, Any]], path: Path, title: str) -> None:
    """Save the run's curves over minutes of training as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 3, figsize=(14, 9), layout="constrained")
    for axis, (label, names) in zip(axes.flat, _PANELS, strict=True):
        for name in names:
            points = [(r["minutes"], r[name]) for r in reports if r.get(name) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), label=name.split("/")[1].replace("_", " "))
        axis.set_title(label, fontsize=10)
        axis.set_xlabel("minutes", fontsize=8)
        axis.grid(alpha=0.3)
        if len(names) > 1 and axis.lines:
            axis.legend(fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)
