"""A sweep's points together: one table, a CSV file and a plot, once the last of them is measured.

Hydra runs the points in turn and tells `Table` when all are done.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table as RichTable

from scoundrel_ray.storage.durable import save_picture, write_file
from scripts.entry import wide_console

CSV, PLOT = "sweep.csv", "sweep.png"


def point_directory() -> Path | None:
    """Where this point of a sweep is written; None if it is no sweep."""
    hydra = HydraConfig.get()
    return Path(hydra.runtime.output_dir) if hydra.mode == RunMode.MULTIRUN else None


def overrides_of_this_point() -> dict[str, str]:
    """What the command line set for it, by key."""
    return dict(override.split("=", 1) for override in HydraConfig.get().overrides.task if "=" in override)


class Table(Callback):
    """Gathers what the points of a sweep wrote."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Show, write and draw all points."""
        directory = Path(config.hydra.sweep.dir)
        rows = gather(directory)
        if not rows:
            return
        json_alone = str(config.get("json", False)).lower() == "true"
        console = wide_console(stderr=json_alone)
        show(console, rows)
        write_file(directory / CSV, as_csv(rows).encode())
        draw(rows, directory / PLOT)
        console.print(f"written to {directory}: {CSV}, {PLOT}", soft_wrap=True)


def gather(directory: Path) -> list[dict[str, Any]]:
    """A row for every figure of every point, in the order of the points: what was set, then what was measured."""
    rows = []
    points = [path for path in directory.glob("*/*.json") if path.parent.name.isdigit()]
    for path in sorted(points, key=lambda path: int(path.parent.name)):
        result = json.loads(path.read_text())
        rows += [
            {
                **result["overrides"],
                f["unit"]: f["value"],
                **f["details"],
                **({} if f["ratio"] is None else {"ratio": f["ratio"]}),
            }
            for f in result["figures"]
        ]
    return rows


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names in the order in which they first come."""
    return list(dict.fromkeys(name for row in rows for name in row))


def varied(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Settings that differ between the points: those whose values are texts, as on the command line."""
    names = [name for name in columns(rows) if isinstance(rows[0].get(name), str)]
    return [name for name in names if len({row.get(name) for row in rows}) > 1]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """All rows with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def show(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what differs and what was measured, a line a point."""
    fixed = [n for n in columns(rows) if isinstance(rows[0].get(n), str) and n not in varied(rows)]
    names = [name for name in columns(rows) if name not in fixed]
    table = RichTable(*names, title=", ".join(f"{name}={rows[0][name]}" for name in fixed))
    for row in rows:
        cells = (row.get(name, "") for name in names)
        table.add_row(*(cell if isinstance(cell, str) else f"{cell:,.4g}" for cell in cells))
    console.print(table)


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Save what was measured first and the mean batch over the setting with the most values, a line for each choice
    of the others.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    settings = varied(rows)
    measured = [name for name in columns(rows) if not isinstance(rows[0].get(name), str)]
    shown = [name for name in dict.fromkeys([measured[0], "mean batch"]) if name in measured]
    axis_name = max(settings, key=lambda name: len({row.get(name) for row in rows})) if settings else ""
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        label = ", ".join(f"{name}={row.get(name, '')}" for name in settings if name != axis_name)
        lines.setdefault(label, []).append(row)
    figure, axes = plt.subplots(1, len(shown), figsize=(6.5 * len(shown), 5), layout="constrained", squeeze=False)
    for axis, name in zip(axes[0], shown, strict=True):
        for label, points in lines.items():
            having = [row for row in points if name in row]  # a suite's figures may have several units
            axis.plot([str(row.get(axis_name, "")) for row in having], [row[name] for row in having], "o-", label=label)
        axis.set_xlabel(axis_name)
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    if len(lines) > 1:
        figure.legend(*axes[0][-1].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    save_picture(figure, path)
