"""What a suite of `scripts.benchmark` finds: figures beside their baselines, measured in the same run, or hashes."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from scoundrel_ray.storage.durable import save_picture, write_file
from scripts.measuring.formatting import format_number


class Report(ABC):
    """What a suite found: the kind of member that the config group `suite` names."""

    @abstractmethod
    def table(self) -> Table:
        """All of it, to be printed."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data."""

    @abstractmethod
    def save(self, directory: Path, name: str, document: Mapping[str, Any]) -> list[Path]:
        """Files that were written, none if the report is kept nowhere.

        Args:
            directory: where they go.
            name: of the suite.
            document: the report as plain data, with the settings and the environment that gave it.
        """


@dataclass(frozen=True)
class Figure:
    """One case.

    Attributes:
        case: what was run.
        value: ours, in `unit`.
        unit: of value and baseline; more is better, unless `most` says otherwise.
        baseline: what stands beside it, measured in the same run; None where there is nothing to compare with.
        baseline_value: its figure.
        wanted: least value, or None.
        wanted_ratio: least value / baseline, or None.
        details: what else was measured of ours, by name.
        most: largest value wanted, or None; less is better where it is given.
    """

    case: str
    value: float
    unit: str
    baseline: str | None = None
    baseline_value: float | None = None
    wanted: float | None = None
    wanted_ratio: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    most: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours over the baseline."""
        return self.value / self.baseline_value if self.baseline_value else None

    @property
    def reached(self) -> bool | None:
        """Whether what is wanted was measured; None where nothing is wanted, or there was no baseline to compare."""
        checks = []
        if self.wanted is not None:
            checks.append(self.value >= self.wanted)
        if self.most is not None:
            checks.append(self.value <= self.most)
        if self.wanted_ratio is not None and self.ratio is not None:
            checks.append(self.ratio >= self.wanted_ratio)
        return all(checks) if checks else None

    def as_dict(self) -> dict[str, Any]:
        """The figure as plain data, with what follows from it."""
        return {**asdict(self), "ratio": self.ratio, "reached": self.reached}


@dataclass(frozen=True)
class Figures(Report):
    """Figures of a suite, in the order of its cases.

    Attributes:
        figures: a figure a case.
    """

    figures: Sequence[Figure]

    def table(self) -> Table:
        """A row for each figure."""
        table = Table("case", "ours", "baseline", "its figure", "ratio", "wanted")
        for f in self.figures:
            wanted = [
                "" if f.wanted is None else format_number(f.wanted),
                "" if f.most is None else f"at most {format_number(f.most)}",
                "" if f.wanted_ratio is None else f"{f.wanted_ratio:g} x",
            ]
            mark = {True: " reached", False: " MISSED", None: ""}[f.reached]
            table.add_row(
                f.case + "".join(f"\n  {name} {format_number(value)}" for name, value in f.details.items()),
                f"{format_number(f.value)} {f.unit}",
                f.baseline or "",
                "" if f.baseline_value is None else format_number(f.baseline_value),
                "" if f.ratio is None else f"{format_number(f.ratio)} x",
                ", ".join(filter(None, wanted)) + mark,
            )
        return table

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain data."""
        return {"figures": [f.as_dict() for f in self.figures]}

    def save(self, directory: Path, name: str, document: Mapping[str, Any]) -> list[Path]:
        """The document as JSON and a plot."""
        paths = [directory / f"{name}.json", directory / f"{name}.png"]
        write_file(paths[0], (json.dumps(document, indent=2) + "\n").encode())
        self.draw(paths[1], f"{name}: {document['environment']['processor']}")
        return paths

    def draw(self, path: Path, title: str) -> None:
        """Save figures and baselines as bars on a logarithmic scale."""
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt

        figure, axis = plt.subplots(figsize=(12, 1.2 + 0.7 * len(self.figures)), layout="constrained")
        for row, f in enumerate(self.figures):
            axis.barh(row - 0.2, f.value, 0.38, color="tab:blue", label="ours" if row == 0 else None)
            if f.baseline_value:
                axis.barh(row + 0.2, f.baseline_value, 0.38, color="tab:gray", label="baseline" if row == 0 else None)
        labels: list[Any] = [f"{f.case}\n{f.baseline or ''}" for f in self.figures]
        axis.set_yticks(range(len(self.figures)), labels, fontsize=8)
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.set_xlabel(", ".join(sorted({f.unit for f in self.figures})))
        axis.legend()
        axis.set_title(title)
        save_picture(figure, path)


@dataclass(frozen=True)
class Signatures(Report):
    """Hashes of results, which are compared by eye or by diff and kept nowhere.

    Attributes:
        hashes: of all that came of a case, by case: equal before and after a change that alters no result.
    """

    hashes: Mapping[str, str]

    def table(self) -> Table:
        """A row for each case."""
        table = Table("case", "hash")
        for case, value in self.hashes.items():
            table.add_row(case, value)
        return table

    def as_dict(self) -> dict[str, Any]:
        """The hashes as plain data."""
        return {"signatures": dict(self.hashes)}

    def save(self, directory: Path, name: str, document: Mapping[str, Any]) -> list[Path]:
        """Nothing."""
        return []
