"""An arena's result as tables on a console and as a PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scoundrel_ray.evaluation.arena import ArenaResult
from scoundrel_ray.evaluation.intervals import Estimate
from scoundrel_ray.storage.durable import save_picture


def show(console: Console, title: str, result: ArenaResult) -> None:
    """Print the ratings, and every player's mean difference from every other's, paired deal by deal."""
    names = [rating.player for rating in result.ratings]
    between = differences_between(result)
    table = Table("player", "Elo [95 %]", "deals", "won", "drawn", "lost", title=title)
    for rating in result.ratings:
        table.add_row(
            escape(rating.player),
            f"{rating.elo.value:+.0f}  [{rating.elo.low:+.0f}, {rating.elo.high:+.0f}]",
            *map(str, _tally(result, rating.player)),
        )
    console.print(table)
    table = Table("points a game [95 %]", *(f"less {escape(name)}'s" for name in names))
    for row in names:
        table.add_row(escape(row), *(between[row, column].signed() if row != column else "" for column in names))
    console.print(table)


def differences_between(result: ArenaResult) -> dict[tuple[str, str], Estimate]:
    """Mean paired difference of each player from each other."""
    found = {}
    for pairing in result.pairings:
        d = pairing.difference
        found[pairing.first, pairing.second] = d
        found[pairing.second, pairing.first] = Estimate(-d.value, -d.high, -d.low)
    return found


def _tally(result: ArenaResult, player: str) -> tuple[int, int, int, int]:
    """Deals played, won, drawn and lost by a player."""
    own = [each for each in result.pairings if each.first == player]
    other = [each for each in result.pairings if each.second == player]
    won = sum(each.won for each in own) + sum(each.lost for each in other)
    lost = sum(each.lost for each in own) + sum(each.won for each in other)
    drawn = sum(each.drawn for each in (*own, *other))
    return won + drawn + lost, won, drawn, lost


def draw(result: ArenaResult, path: Path, title: str) -> None:
    """Save the ratings with their intervals, and the matrix of mean paired differences, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [rating.player for rating in result.ratings]
    between = differences_between(result)
    matrix = np.array([[between[a, b].value if a != b else np.nan for b in names] for a in names])
    size = 2.0 + 0.55 * len(names)
    figure, axes = plt.subplots(1, 2, figsize=(8 + 1.5 * size, size), layout="constrained")
    elo = np.array([[r.elo.value, r.elo.value - r.elo.low, r.elo.high - r.elo.value] for r in result.ratings])
    axes[0].errorbar(elo[:, 0], range(len(names)), xerr=elo[:, 1:].T, fmt="o", capsize=4)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    axes[0].set_xlabel("Elo, 95 % interval over deals")
    axes[0].grid(alpha=0.3)
    most = float(np.nanmax(np.abs(matrix))) or 1.0
    axes[1].imshow(matrix, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    axes[1].set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes[1].set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(matrix):
        if row != column:
            sure = between[names[row], names[column]]
            weight = "bold" if sure.low > 0 or sure.high < 0 else "normal"
            ink = "white" if abs(value) > 0.6 * most else "black"
            axes[1].text(column, row, f"{value:+.2f}", ha="center", va="center", fontweight=weight, color=ink)
    axes[1].set_xlabel("points a game of the row less the column's (bold: interval apart from 0)")
    figure.suptitle(title)
    save_picture(figure, path)
