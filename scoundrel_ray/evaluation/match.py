"""Games between players over fixed deals, played in lockstep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.game import Game, InvalidGame
from scoundrel_ray.players import Player, uniform
from scoundrel_ray.rollout import play_moves


def seatings(game: Game, games: int) -> np.ndarray:
    """Who sits where: [games, P] int64, 0 the player in question and 1 its opponent.

    Game i is deal i // P with the player in seat i % P, so that every deal is played from every seat.
    """
    places = np.ones((games, game.seats), dtype=np.int64)
    places[np.arange(games), np.arange(games) % game.seats] = 0
    return places


def all_deals_alike(game: Game) -> bool:
    """Whether chance has no part in the start: two players who never draw would play one game again and again."""
    first = game.deal(rng.stream(0))
    return all(np.array_equal(first, game.deal(rng.stream(seed))) for seed in range(1, 8))


def play_match(
    game: Game, players: Sequence[Player], seed: int, first: int, count: int, opening: int = 4
) -> np.ndarray:
    """Score of players[0] in games first .. first + count - 1: [count] float32, in the game's points.

    A game's result depends on its number, the seed and the players alone. Deals are those of `seed`, whoever plays.

    Args:
        game: the rules.
        players: the player in question and, for games of several seats, the opponent that fills the others.
        seed: of the deals and of the players' draws.
        first, count: which games.
        opening: decisions drawn uniformly at the start, if all deals of the game are alike; the same from every seat.
    """
    if len(players) != min(game.seats, 2):
        raise ValueError(f"match: got {len(players)} players for {game.seats} seats, wanted {min(game.seats, 2)}")
    numbers = np.arange(first, first + count)
    places = seatings(game, first + count)[first:]
    states = game.blank(count)
    streams = np.stack(
        [[rng.stream(seed, int(n) // game.seats, 1 + seat) for seat in range(game.seats)] for n in numbers]
    )
    chance = np.stack([rng.stream(seed, int(n) // game.seats, 0) for n in numbers])
    for row in range(count):
        states[row] = game.deal(chance[row])
    seats = np.empty(count, dtype=np.int64)
    _play(game, states, np.arange(count), np.full(count, -1, dtype=np.int16), seats)
    if all_deals_alike(game):
        _open(game, states, seats, chance, opening)
    while (going := np.flatnonzero(seats >= 0)).size:
        actions = np.empty(going.size, dtype=np.int16)
        whose = places[going, seats[going]]
        for index, player in enumerate(players):
            mine = np.flatnonzero(whose == index)
            if mine.size:
                rows = going[mine]
                own = streams[rows, seats[rows]]
                actions[mine] = player.choose(states[rows], own)
                streams[rows, seats[rows]] = own
        after = np.empty(going.size, dtype=np.int64)
        _play(game, states, going, actions, after)
        seats[going] = after
    scores = np.stack([game.scores(state) for state in states])
    return scores[np.arange(count), np.argmin(places, axis=1)]


def _open(game: Game, states: np.ndarray, seats: np.ndarray, chance: np.ndarray, opening: int) -> None:
    """Play the first decisions of every game uniformly at random."""
    anyone = uniform(game)
    for _ in range(opening):
        going = np.flatnonzero(seats >= 0)
        streams = chance[going]
        actions = anyone.choose(states[going], streams)
        chance[going] = streams
        after = np.empty(going.size, dtype=np.int64)
        _play(game, states, going, actions, after)
        seats[going] = after


def _play(game: Game, states: np.ndarray, rows: np.ndarray, actions: np.ndarray, seats: np.ndarray) -> None:
    broken = play_moves(game.rules, states, rows.astype(np.int64), actions, game.max_steps, seats)
    if broken >= 0:
        raise InvalidGame(f"game {game.name}: a player's action {int(actions[broken])} was refused")
