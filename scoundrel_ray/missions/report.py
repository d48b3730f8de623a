"""What an evaluation of missions shows: tables on a console, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from scoundrel_ray.missions.summary import NONE, Difference, Mean, Row
from scoundrel_ray.storage.durable import save_picture


def show(console: Console, rows: Sequence[Row], who: str) -> None:
    """Print a table of rows.

    Args:
        console: to print on.
        rows: of it.
        who: what stands in the second column: "policy", "agent" or "role".
    """
    table = Table("mission", who, "n", "return", "95 % interval", "IQM", "length", "cut", "failed")
    table.title = f"returns in an episode, by {who}"
    for at, row in enumerate(rows):
        if at and rows[at - 1].mission != row.mission:
            table.add_section()
        told = row.returns
        table.add_row(
            row.mission, row.who, f"{told.n}", f"{told.mean:.2f}", interval(told), f"{told.iqm:.2f}",
            f"{row.length:.1f}", f"{row.cut:.0%}", f"{row.failed}" if row.failed else "",
        )  # fmt: skip
    console.print(table)


def show_differences(console: Console, names: tuple[str, str], found: Sequence[Difference]) -> None:
    """Print what the first of two evaluations got more than the second."""
    table = Table("mission", "n", "first", "second", "first - second", "95 % interval")
    table.title = f"returns in the same episodes: {names[0]}, and {names[1]}"
    for row in found:
        told = row.difference
        table.add_row(
            row.mission, f"{told.n}", f"{row.first:.2f}", f"{row.second:.2f}", f"{told.mean:+.2f}", interval(told)
        )  # fmt: skip
    console.print(table)


def interval(mean: Mean) -> str:
    """An interval and its method."""
    return "" if mean.method == NONE else f"[{mean.low:.2f}, {mean.high:.2f}] {mean.method}"


def draw(rows: Sequence[Row], path: Path, title: str) -> None:
    """Save the returns as a picture: a panel for each mission, a bar for each policy."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    missions = list(dict.fromkeys(row.mission for row in rows))
    across = min(len(missions), 4)
    down = -(-len(missions) // across)
    figure, axes = plt.subplots(down, across, figsize=(3.4 * across, 2.9 * down), layout="constrained", squeeze=False)
    for axis, mission in zip(axes.flat, missions, strict=False):
        own = [row for row in rows if row.mission == mission]
        means = np.array([row.returns.mean for row in own])
        low, high = (np.array([getattr(row.returns, side) for row in own]) for side in ("low", "high"))
        around = np.nan_to_num(np.array([means - low, high - means]))
        axis.bar([row.who for row in own], means, yerr=np.maximum(around, 0.0), capsize=3)
        axis.set_title(mission, fontsize=9)
        axis.tick_params(axis="x", labelrotation=20, labelsize=7)
        axis.grid(alpha=0.3, axis="y")
    for axis in axes.flat[len(missions) :]:
        axis.set_visible(False)
    figure.supylabel("return in an episode", fontsize=9)
    figure.suptitle(title, fontsize=10)
    save_picture(figure, path)
