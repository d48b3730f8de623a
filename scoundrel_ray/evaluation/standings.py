"""What an evaluation says: win rates and mean scores with their intervals, as a table, as data and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from scoundrel_ray.evaluation.intervals import Estimate, mean, share
from scoundrel_ray.game import Game


@dataclass(frozen=True)
class Standing:
    """One player's result.

    Attributes:
        player: name.
        opponent: name of who filled the other seats; None in games of one seat.
        games: played.
        win_rate: share of games won, Wilson interval.
        score: mean in the game's points, normal interval.
    """

    player: str
    opponent: str | None
    games: int
    win_rate: Estimate
    score: Estimate

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def pairings(game: Game, agent: str, others: Sequence[str]) -> list[tuple[str, ...]]:
    """Who plays: in games of one seat each player alone, else the agent against each of the others."""
    if game.seats == 1:
        return [(agent,), *((other,) for other in others)]
    return [(agent, other) for other in others]


def standings(game: Game, scores: Mapping[tuple[str, ...], np.ndarray]) -> list[Standing]:
    """Standings in the order given, from the scores [games] of each pairing's first player."""
    return [
        Standing(
            pairing[0],
            pairing[1] if len(pairing) > 1 else None,
            len(own),
            share(int((own > game.win_above).sum()), len(own)),
            mean(own),
        )
        for pairing, own in scores.items()
    ]


def verdict(game: Game, scores: Mapping[tuple[str, ...], np.ndarray], agent: str, other: str) -> dict[str, Any]:
    """Whether the agent beats another player, and by how much.

    In games of one seat both played the same deals: `difference` is the mean of the score's difference deal by deal,
    and the agent beats the other if the intervals of the two mean scores, or of the two win rates, are apart. In games
    of several seats it beats the other if its mean score against it lies above even, 0.
    """
    if game.seats == 1:
        first, second = scores[(agent,)], scores[(other,)]
        difference = mean(first - second)
        apart = mean(first).low > mean(second).high
        wins = [share(int((s > game.win_above).sum()), len(s)) for s in (first, second)]
        return {
            "agent": agent,
            "other": other,
            "difference": asdict(difference),
            "beats": bool(apart or wins[0].low > wins[1].high),
        }
    difference = mean(scores[(agent, other)])
    return {"agent": agent, "other": other, "difference": asdict(difference), "beats": difference.low > 0}


def show(console: Console, game: Game, found: Sequence[Standing], verdicts: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of standings and a line for each verdict."""
    table = Table("player", "games", "win rate [95 %]", "score [95 %]", title=f"{game.name}, held deals")
    for s in found:
        table.add_row(
            s.player if s.opponent is None else f"{s.player} against {s.opponent}",
            str(s.games),
            f"{s.win_rate.value:6.1%}  [{s.win_rate.low:.1%}, {s.win_rate.high:.1%}]",
            f"{s.score.value:8.2f}  [{s.score.low:.2f}, {s.score.high:.2f}]",
        )
    console.print(table)
    for v in verdicts:
        words = "beats" if v["beats"] else "does not clearly beat"
        d = v["difference"]
        console.print(
            f"{v['agent']} {words} {v['other']}: {d['value']:+.2f} points a game [{d['low']:+.2f}, {d['high']:+.2f}]",
            markup=False,
        )


def draw(found: Sequence[Standing], path: Path, title: str) -> None:
    """Save win rates and mean scores with their intervals as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [s.player if s.opponent is None else f"vs {s.opponent}" for s in found]
    figure, axes = plt.subplots(1, 2, figsize=(12, 1.4 + 0.5 * len(found)), layout="constrained", sharey=True)
    sides = (("win rate", [s.win_rate for s in found]), ("mean score", [s.score for s in found]))
    for axis, (label, estimates) in zip(axes, sides, strict=True):
        values = np.array([e.value for e in estimates])
        errors = np.abs(np.array([[e.low for e in estimates], [e.high for e in estimates]]) - values)
        axis.errorbar(values, range(len(found)), xerr=errors, fmt="o", capsize=4)
        axis.set_xlabel(f"{label}, 95 % interval")
        axis.set_yticks(range(len(found)), names)
        axis.grid(alpha=0.3)
    axes[0].invert_yaxis()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)
