"""Arena: every player against every other on the same deals; paired differences and Elo ratings.

Legend: D deals, P seats.

Players meet on duplicate deals with rotated seats (see `evaluation.deals`). In games of more than two seats one player
sits among copies of the other; that is played both ways, A among Bs and B among As: one way alone asks how A does among
Bs, not which of the two is the better. In games of one seat each plays the deals alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from scoundrel_ray.evaluation.deals import differences, mean_scores
from scoundrel_ray.evaluation.elo import ratings
from scoundrel_ray.evaluation.intervals import Estimate, mean
from scoundrel_ray.game import Game

Scores = Mapping[tuple[str, ...], np.ndarray]


@dataclass(frozen=True)
class Pairing:
    """Two players on the same deals.

    Attributes:
        first, second: names.
        deals: both played.
        won, drawn, lost: of these, by the first: its paired difference is above, at or below 0.
        difference: mean of the first's score less the second's, paired deal by deal, in the game's points.
    """

    first: str
    second: str
    deals: int
    won: int
    drawn: int
    lost: int
    difference: Estimate


@dataclass(frozen=True)
class Rating:
    """A player's Elo, of deals: 400 points are ten deals won for one lost."""

    player: str
    elo: Estimate


@dataclass(frozen=True)
class ArenaResult:
    """What an arena says: ratings, the highest first, and all pairings."""

    ratings: list[Rating]
    pairings: list[Pairing]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def round_robin(game: Game, names: Sequence[str]) -> list[tuple[str, ...]]:
    """All matches (see `match.play_games`): of each alone, of each pair, or of each pair both ways.

    With two seats one way is both: the second's games from the other seat are the first's.
    """
    if game.seats == 1:
        return [(name,) for name in names]
    pairs = list(combinations(names, 2))
    return pairs if game.seats == 2 else [match for a, b in pairs for match in ((a, b), (b, a))]


def paired_differences(game: Game, scores: Scores, first: str, second: str) -> np.ndarray:
    """The first player's score less the second's on each deal: [D] float64; from the second's side its negative.

    With one seat it is the difference of the two scores; with two `deals.differences`; with more half of that of the
    first among seconds less that of the second among firsts.

    Args:
        game: the rules.
        scores: [D, P, P] of the matches of `round_robin`.
        first, second: names.
    """
    if game.seats == 1:
        return mean_scores(scores[first,]) - mean_scores(scores[second,])
    if game.seats == 2:
        known = (first, second) in scores
        return differences(scores[first, second]) if known else -differences(scores[second, first])
    return (differences(scores[first, second]) - differences(scores[second, first])) / 2


def results(game: Game, scores: Scores, names: Sequence[str], anchor: str | None = None) -> ArenaResult:
    """Ratings and pairings of a round robin.

    Args:
        game: the rules.
        scores: [D, P, P] of the matches of `round_robin`, all over the same deals.
        names: of at least two players.
        anchor: whose Elo is 0; None for a mean of 0.
    """
    pairs = list(combinations(range(len(names)), 2))
    ahead = [paired_differences(game, scores, names[i], names[j]) for i, j in pairs]
    points = np.sign(np.stack(ahead, axis=1)) / 2 + 0.5
    elo = ratings(len(names), pairs, points, None if anchor is None else names.index(anchor))
    order = sorted(range(len(names)), key=lambda i: -elo[i].value)
    pairings = [
        Pairing(
            names[i], names[j], len(own), int((own > 0).sum()), int((own == 0).sum()), int((own < 0).sum()), mean(own)
        )
        for (i, j), own in zip(pairs, ahead, strict=True)
    ]
    return ArenaResult([Rating(names[i], elo[i]) for i in order], pairings)
