"""What an evaluation says: win rates and mean scores with their intervals, as a table, as data and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from scoundrel_ray.evaluation.deals import differences, mean_scores, own_scores, win_rate
from scoundrel_ray.evaluation.intervals import Estimate, mean
from scoundrel_ray.game import Game
from scoundrel_ray.storage.durable import save_picture


@dataclass(frozen=True)
class Standing:
    """One player's result. Intervals are over deals (see `evaluation.deals`).

    Attributes:
        player: name.
        opponent: name of who filled the other seats; None in games of one seat.
        games: played.
        deals: they are of.
        win_rate: share of games won, Wilson interval.
        score: mean in the game's points, normal interval.
        difference: mean of the player's score less the other seats' mean, normal interval; None in games of one seat.
    """

    player: str
    opponent: str | None
    games: int
    deals: int
    win_rate: Estimate
    score: Estimate
    difference: Estimate | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def pairings(game: Game, agent: str, others: Sequence[str]) -> list[tuple[str, ...]]:
    """Who plays: in games of one seat each player alone, else the agent against each of the others."""
    if game.seats == 1:
        return [(agent,), *((other,) for other in others)]
    return [(agent, other) for other in others]


def standings(game: Game, scores: Mapping[tuple[str, ...], np.ndarray]) -> list[Standing]:
    """Standings in the order given, from the scores [D, P, P] of each pairing's first player."""
    return [
        Standing(
            pairing[0],
            pairing[1] if len(pairing) > 1 else None,
            int(np.isfinite(own_scores(each)).sum()),
            len(each),
            win_rate(game, each),
            mean(mean_scores(each)),
            mean(differences(each)) if game.seats > 1 else None,
        )
        for pairing, each in scores.items()
    ]


def verdict(game: Game, scores: Mapping[tuple[str, ...], np.ndarray], agent: str, other: str) -> dict[str, Any]:
    """Whether the agent beats another player, and by how much.

    The agent beats the other if all of the interval of `difference` lies above 0. In games of one seat both played the
    same deals, and `difference` is the mean of the score's difference deal by deal. In games of several seats they sat
    at one table, and it is the mean of `deals.differences`.
    """
    if game.seats == 1:
        difference = mean(mean_scores(scores[(agent,)]) - mean_scores(scores[(other,)]))
    else:
        difference = mean(differences(scores[(agent, other)]))
    return {"agent": agent, "other": other, "difference": asdict(difference), "beats": bool(difference.low > 0)}


def show(console: Console, game: Game, found: Sequence[Standing], verdicts: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of standings and a line for each verdict."""
    columns = ["player", "games", "win rate [95 %]", "score [95 %]"]
    if game.seats > 1:
        columns.append(f"score less {_opponents(game)} [95 %]")
    table = Table(*columns, title=f"{game.name}, held deals")
    for s in found:
        table.add_row(
            s.player if s.opponent is None else f"{s.player} against {s.opponent}",
            str(s.games),
            f"{s.win_rate.value:6.1%}  [{s.win_rate.low:.1%}, {s.win_rate.high:.1%}]",
            f"{s.score.value:8.2f}  [{s.score.low:.2f}, {s.score.high:.2f}]",
            *([] if s.difference is None else [s.difference.signed()]),
        )
    console.print(table)
    if game.seats > 1:
        console.print(f"games of {found[0].deals} deals, each played from every seat in turn; intervals are over deals")
    for v in verdicts:
        words = "beats" if v["beats"] else "does not clearly beat"
        d = v["difference"]
        than = f" beyond {_opponents(game)}" if game.seats > 1 else ""
        console.print(
            f"{v['agent']} {words} {v['other']}: {d['value']:+.2f} points a game{than} "
            f"[{d['low']:+.2f}, {d['high']:+.2f}]",
            markup=False,
        )


def _opponents(game: Game) -> str:
    """Whose score is taken from the player's own in games of several seats."""
    return "its opponent's" if game.seats == 2 else "its opponents' mean"


def draw(found: Sequence[Standing], path: Path, title: str) -> None:
    """Save win rates, mean scores and what they are ahead by, with their intervals, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    several = len({s.player for s in found}) > 1
    names = [
        s.player if s.opponent is None else f"{s.player} vs {s.opponent}" if several else f"vs {s.opponent}"
        for s in found
    ]
    sides = [("win rate", [s.win_rate for s in found]), ("mean score", [s.score for s in found])]
    ahead = [s.difference for s in found if s.difference is not None]
    if ahead:
        sides.append(("score less opponents'", ahead))
    size = (6 * len(sides), 1.4 + 0.5 * len(found))
    figure, axes = plt.subplots(1, len(sides), figsize=size, layout="constrained", sharey=True)
    for axis, (label, estimates) in zip(axes, sides, strict=True):
        values = np.array([e.value for e in estimates])
        errors = np.abs(np.array([[e.low for e in estimates], [e.high for e in estimates]]) - values)
        axis.errorbar(values, range(len(found)), xerr=errors, fmt="o", capsize=4)
        axis.set_xlabel(f"{label}, 95 % interval")
        axis.set_yticks(range(len(found)), names)
        axis.grid(alpha=0.3)
    axes[0].invert_yaxis()
    figure.suptitle(title)
    save_picture(figure, path)
