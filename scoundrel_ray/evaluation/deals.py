"""Scores of whole deals: what a player got from every seat in turn, and by how much it differs from the others'.

Legend: D deals, P seats.

In games of several seats every deal is played P times, with the player in question in each seat in turn (see
`seatings`), so that neither a lucky hand nor a good seat is anybody's merit. Those P games depend on one another:
the unit of every interval is the deal. Only whole deals count. Games asked for are rounded up to whole deals
(`whole_deals`); where an interrupt left a deal half played, its games are left out (`by_deal`).

Scores of a player's deals are [D, P, P] float64: entry [d, r, s] is what seat s got in deal d when the player in
question sat in seat r; NaN for a seat that did not play, and for all of row r if that was the player's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scoundrel_ray.evaluation.intervals import Estimate, share_of_deals
from scoundrel_ray.game import Game
from scoundrel_ray.playing.record import GameRecord


def rotated(seating: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Who sits where if everyone moves on by a seat from game to game: [G, P], of one seating [P].

    Args:
        seating: who sits where in game 0, and in every Pth after it.
        numbers: [G], of the games.
    """
    seats = len(seating)
    return np.asarray(seating)[(np.arange(seats) - numbers[:, None]) % seats]


def seatings(game: Game, numbers: np.ndarray) -> np.ndarray:
    """Who sits where in the games of these numbers [G]: [G, P] int64, 0 the player in question and 1 its opponent.

    Game i is deal i // P with the player in seat i % P, so that every deal is played from every seat.
    """
    return rotated((np.arange(game.seats) > 0).astype(np.int64), numbers)


def whole_deals(game: Game, first: int, games: int) -> tuple[int, int]:
    """First game and number of games of all deals that the games first .. first + games - 1 are of."""
    begin = first // game.seats * game.seats
    end = -(-(first + games) // game.seats) * game.seats
    return begin, end - begin


def scores_of_seats(game: Game, records: Sequence[GameRecord]) -> np.ndarray:
    """What every seat got in each game: [n, P] float64, NaN as above."""
    scores = np.full((len(records), game.seats), np.nan)
    for row, record in zip(scores, records, strict=True):
        playing = record.playing(game)
        if playing[record.seat]:
            row[playing] = np.asarray(record.scores)[playing]
    return scores


def scores_of_players(game: Game, records: Sequence[GameRecord], names: Sequence[str]) -> np.ndarray:
    """What each player got in each game, in the mean over its seats: [n, N] float64, NaN for one that did not play."""
    scores = np.full((len(records), len(names)), np.nan)
    for row, record in zip(scores, records, strict=True):
        playing = record.playing(game)
        for column, name in enumerate(names):
            own = playing & (np.asarray(record.players) == name)
            if own.any():
                row[column] = np.asarray(record.scores)[own].mean()
    return scores


def by_deal(game: Game, records: Sequence[GameRecord]) -> dict[tuple[int, ...], np.ndarray]:
    """Scores [P, P] of every whole deal, by the deal's seed and its opening; a game played twice counts once."""
    rows: dict[tuple[int, ...], dict[int, np.ndarray]] = {}
    for record, scores in zip(records, scores_of_seats(game, records), strict=True):
        rows.setdefault((*record.seed, record.opening), {})[record.seat] = scores
    whole = range(game.seats)
    return {deal: np.stack([own[r] for r in whole]) for deal, own in rows.items() if len(own) == game.seats}


def own_scores(scores: np.ndarray) -> np.ndarray:
    """What the player in question got from each seat: [D, P] float64, of scores [D, P, P]."""
    return np.diagonal(scores, axis1=1, axis2=2)


def mean_scores(scores: np.ndarray) -> np.ndarray:
    """What the player in question got in each deal, in the mean over its seats: [D] float64, of scores [D, P, P]."""
    return np.nanmean(own_scores(scores), axis=1)


def differences(scores: np.ndarray) -> np.ndarray:
    """The player's score less the mean of the other seats', in the mean over the games of a deal: [D] float64.

    In a zero-sum game of two seats it is twice the player's mean score.

    Args:
        scores: [D, P, P], P at least 2.
    """
    # Summed up before it is divided, so that deals that are even in whole points come out as 0 and not nearly 0.
    players = np.isfinite(scores).sum(axis=2)
    ahead = players * own_scores(scores) - np.nansum(scores, axis=2)
    return np.nansum(ahead, axis=1) / np.maximum(players - 1, 0).sum(axis=1)


def win_rate(game: Game, scores: np.ndarray) -> Estimate:
    """Share of the player's games that it won, of scores [D, P, P]."""
    won = own_scores(game.won(scores))
    return share_of_deals(won.sum(axis=1), np.isfinite(own_scores(scores)).sum(axis=1))
