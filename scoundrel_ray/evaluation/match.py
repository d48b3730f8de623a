"""Games between players over fixed deals, played in lockstep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.evaluation.deals import seatings
from scoundrel_ray.experience.lockstep import play_moves
from scoundrel_ray.game import Game, InvalidGame
from scoundrel_ray.players import Player, Searcher, uniform
from scoundrel_ray.playing.record import GameRecord, thought


def all_deals_alike(game: Game) -> bool:
    """Whether chance has no part in the start: two players who never draw would play one game again and again."""
    first = game.deal(rng.stream(0))
    return all(np.array_equal(first, game.deal(rng.stream(seed))) for seed in range(1, 8))


def play_games(
    game: Game,
    players: Mapping[str, Player],
    seed: int,
    first: int,
    count: int,
    opening: int = 4,
    settings: Mapping[str, Any] | None = None,
    ended: list[GameRecord] | None = None,
) -> list[GameRecord]:
    """Games first .. first + count - 1 of the first player among copies of the second, rotated over the seats.

    The first player's is the `seat` of every record (see `deals.seatings`).

    A game's result depends on its number, the seed and the players alone. Deals are those of `seed`, whoever plays.

    Args:
        game: the rules.
        players: by name: the player in question and, for games of several seats, the opponent that fills the others.
        seed: of the deals and of the players' draws.
        first, count: which games.
        opening: decisions drawn uniformly at the start, if all deals of the game are alike; the same from every seat.
        settings: config sections of the players, for the records.
        ended: see `play_tables`.
    """
    if len(players) != min(game.seats, 2):
        raise ValueError(f"match: got {len(players)} players for {game.seats} seats, wanted {min(game.seats, 2)}")
    numbers = np.arange(first, first + count)
    return play_tables(game, players, seatings(game, numbers), numbers // game.seats, seed, opening, settings, ended)


def play_tables(
    game: Game,
    players: Mapping[str, Player],
    seating: np.ndarray,
    deals: np.ndarray,
    seed: int,
    opening: int = 4,
    settings: Mapping[str, Any] | None = None,
    ended: list[GameRecord] | None = None,
) -> list[GameRecord]:
    """A record of each game, with any player in any seat.

    A game's result depends on its deal, its seating, the seed and the players alone. A player may sit in several seats.

    Args:
        game: the rules.
        players: by name.
        seating: [G, P] int, who sits where: the player's number in the order of `players`. Seats that stay empty in a
            deal are not looked at, and -1 stands for nobody.
        deals: [G] int, number of each game's deal.
        seed: of the deals and of the players' draws.
        opening: decisions drawn uniformly at the start, if all deals of the game are alike; the same in every seating.
        settings: config sections of the players, for the records.
        ended: to which each game's record is added as soon as the game is over, for another thread to read meanwhile.

    Returns:
        Records whose `seat` is that of player 0, the first of several; 0 where it does not sit.

    Raises:
        ValueError: for a seating that does not fit, or leaves a seat without a player that plays in its deal.
    """
    opening = opening if all_deals_alike(game) else 0
    states, records, chance = _dealt(game, list(players), seating, deals, seed)
    for record in records:
        record.settings, record.opening = dict(settings or {}), opening
    streams = np.stack([[rng.stream(seed, int(deal), 1 + seat) for seat in range(game.seats)] for deal in deals])
    seats = np.empty(len(deals), dtype=np.int64)
    _play(game, states, records, np.arange(len(deals)), np.full(len(deals), -1, dtype=np.int16), seats)
    if opening:
        _open(game, states, records, seats, chance, opening)
    going = np.arange(len(deals))
    while True:
        for row in going[seats[going] < 0]:
            records[row].scores = game.scores(states[row]).tolist()
            if ended is not None:
                ended.append(records[row])
        going = going[seats[going] >= 0]
        if not going.size:
            return records
        actions = np.empty(going.size, dtype=np.int16)
        whose = seating[going, seats[going]]
        for index, player in enumerate(players.values()):
            mine = np.flatnonzero(whose == index)
            if mine.size:
                rows = going[mine]
                own = streams[rows, seats[rows]]
                actions[mine] = _ask(game, player, states, records, rows, own)
                streams[rows, seats[rows]] = own
        after = np.empty(going.size, dtype=np.int64)
        _play(game, states, records, going, actions, after)
        seats[going] = after


def _dealt(
    game: Game, names: Sequence[str], seating: np.ndarray, deals: np.ndarray, seed: int
) -> tuple[np.ndarray, list[GameRecord], np.ndarray]:
    """Fresh games: states [G, S], their records, and the streams [G, 4] that dealt them."""
    if seating.shape != (len(deals), game.seats) or (seating >= len(names)).any():
        raise ValueError(
            f"match: a seating {list(seating.shape)} of players up to {seating.max(initial=-1)}, wanted "
            f"[{len(deals)}, {game.seats}] of numbers below {len(names)}"
        )
    states, records = game.blank(len(deals)), []
    chance = np.stack([rng.stream(seed, int(deal), 0) for deal in deals])
    for row, deal in enumerate(deals):
        states[row] = game.deal(chance[row])
        players = [names[int(number)] if number >= 0 else "" for number in seating[row]]
        if "" in players[: game.players(states[row])]:
            raise ValueError(f"match: nobody sits in seat {players.index('')} of deal {deal}, wanted a player")
        first = np.flatnonzero(seating[row] == 0)
        seat = int(first[0]) if first.size else 0
        records.append(GameRecord(dict(game.section), [seed, int(deal), 0], players=players, seat=seat))
    return states, records, chance


def play_match(
    game: Game, players: Sequence[Player], seed: int, first: int, count: int, opening: int = 4
) -> np.ndarray:
    """Scores of players[0] in games first .. first + count - 1: [count] float32, in the game's points.

    See `play_games`.
    """
    named = {str(index): player for index, player in enumerate(players)}
    return scores_of(play_games(game, named, seed, first, count, opening))


def scores_of(records: Sequence[GameRecord]) -> np.ndarray:
    """Points of the player whose games they are: [n] float32."""
    return np.array([record.score for record in records], dtype=np.float32)


def _ask(
    game: Game, player: Player, states: np.ndarray, records: list[GameRecord], rows: np.ndarray, streams: np.ndarray
) -> np.ndarray:
    """The player's actions in states[rows]; what a search said of them is noted."""
    if not isinstance(player, Searcher):
        return player.choose(states[rows], streams)
    decisions = player.decide(states[rows], streams)
    for i, row in enumerate(rows):
        record = records[row]
        record.thoughts.append(thought(game, states[row], len(record.actions), decisions, i))
    return decisions.chosen


def _open(
    game: Game, states: np.ndarray, records: list[GameRecord], seats: np.ndarray, chance: np.ndarray, opening: int
) -> None:
    """Play the first decisions of every game uniformly at random."""
    anyone = uniform(game)
    for _ in range(opening):
        going = np.flatnonzero(seats >= 0)
        streams = chance[going]
        actions = anyone.choose(states[going], streams)
        chance[going] = streams
        after = np.empty(going.size, dtype=np.int64)
        _play(game, states, records, going, actions, after)
        seats[going] = after


def _play(
    game: Game, states: np.ndarray, records: list[GameRecord], rows: np.ndarray, actions: np.ndarray, seats: np.ndarray
) -> None:
    """Play actions in states[rows], -1 for none, and the forced ones that follow; note them all."""
    before = states[rows]
    broken = play_moves(game.rules, states, rows.astype(np.int64), actions, game.max_steps, seats)
    if broken >= 0:
        raise InvalidGame(f"game {game.name}: a player's action {int(actions[broken])} was refused")
    legal = np.empty(game.max_legal, dtype=np.int16)
    for state, row, action in zip(before, rows, actions, strict=True):
        taken = records[row].actions
        if action >= 0:
            game.rules.step(state, action)
            taken.append(int(action))
        while game.rules.legal(state, legal) == 1:
            taken.append(int(legal[0]))
            game.rules.step(state, legal[0])
