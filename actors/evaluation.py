"""Evaluation actors: held deals in fixed shards, dealt out to whichever actor is free.

A shard's result depends on its number, the seed and the players alone, so the outcome is the same for any number of
actors; one that is killed is restarted by Ray and its shard played again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayTaskError

from scoundrel_ray.evaluation.deals import scores_of_seats, whole_deals
from scoundrel_ray.evaluation.match import play_games
from scoundrel_ray.game import Game
from scoundrel_ray.machine import cores
from scoundrel_ray.players import Player
from scoundrel_ray.playing.record import GameRecord
from scoundrel_ray.runs.settings import EvaluationConfig
from scoundrel_ray.settings.build import build

_remote: Any = ray.remote  # type checkers do not see what it adds


@_remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class EvaluationActor:
    """Plays shards of a match.

    Args:
        game: config section.
        players: config sections by name. One with the keys `network` and `search` is an agent.
        config: of the evaluation.
    """

    def __init__(
        self,
        game: dict[str, Any],
        players: dict[str, dict[str, Any]],
        config: EvaluationConfig,
    ) -> None:
        self._game = build("game", game, Game)
        self._sections = players
        self._config = config
        self._players: dict[str, Player] = {}

    def play(
        self, names: tuple[str, ...], first: int, count: int, weights: dict[str, dict[str, np.ndarray]]
    ) -> list[GameRecord]:
        """Games first .. first + count - 1 of names[0] (see `play_games`), with the agents' weights."""
        players = {name: self._player(name, weights.get(name)) for name in names}
        settings = {name: self._sections[name] for name in names}
        return play_games(self._game, players, self._config.seed, first, count, self._config.opening, settings)

    def _player(self, name: str, weights: dict[str, np.ndarray] | None) -> Player:
        if name not in self._players:
            section = self._sections[name]
            if weights is not None:
                import torch

                from inference.agent import network_player

                torch.set_num_threads(1)
                player = network_player(
                    self._game, section["network"], section["search"], weights, self._config.shard, name
                )
            else:
                player = build(f"evaluation.players.{name}", section, Player, self._game)
            self._players[name] = player
        return self._players[name]


def evaluate(
    game: Game,
    players: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, Mapping[str, np.ndarray]],
    matches: Sequence[tuple[str, ...]],
    config: EvaluationConfig,
    progress: Callable[[int, int], None],
    played: list[GameRecord] | None = None,
) -> dict[tuple[str, ...], np.ndarray]:
    """Scores of the first player of each match, over the same deals: [D, P, P] float64 (see `evaluation.deals`).

    Args:
        game: the rules, built from a config section.
        players: see `EvaluationActor`.
        weights: arrays of each agent.
        matches: who plays, by name.
        config: which games, of which seed; those of all deals that they are of are played.
        progress: called with games played and games in all.
        played: to which the games' records are added, match by match; what was played by then if this is interrupted.

    Raises:
        ValueError, RuntimeError: what a player or the game raised.
    """
    begin, each = whole_deals(game, config.first, config.games)
    scores = {match: np.full((each, game.seats), np.nan) for match in matches}
    shards = [(match, first) for match in matches for first in range(begin, begin + each, config.shard)]
    records: dict[tuple[tuple[str, ...], int], list[GameRecord]] = {}
    shared = ray.put(dict(weights))
    count = max(1, min(config.workers or cores(), len(shards)))
    sections = {name: dict(section) for name, section in players.items()}
    actors = [EvaluationActor.remote(dict(game.section), sections, config) for _ in range(count)]
    free = list(actors)
    under_way: dict[Any, tuple[Any, tuple[str, ...], int]] = {}
    done = 0
    progress(0, each * len(matches))
    try:
        while shards or under_way:
            while shards and free:
                actor = free.pop()
                match, first = shards.pop(0)
                games = min(config.shard, begin + each - first)
                under_way[actor.play.remote(match, first, games, shared)] = (actor, match, first)
            ready, _ = ray.wait(list(under_way), num_returns=1)
            for answer in ready:
                actor, match, first = under_way.pop(answer)
                shard = _told(answer)
                scores[match][first - begin :][: len(shard)] = scores_of_seats(game, shard)
                records[match, first] = shard if played is not None else []
                free.append(actor)
                done += len(shard)
                progress(done, each * len(matches))
    finally:
        if played is not None:
            order = sorted(records, key=lambda key: (matches.index(key[0]), key[1]))
            played.extend(record for key in order for record in records[key])
        for actor in actors:
            ray.kill(actor)
    return {match: rows.reshape(-1, game.seats, game.seats) for match, rows in scores.items()}


def _told(answer: Any) -> list[GameRecord]:
    """The answer, or what went wrong in the actor as it was raised there."""
    try:
        return ray.get(answer)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ValueError | RuntimeError | MemoryError):
            kinds = (ValueError, MemoryError)
            raise next((kind for kind in kinds if isinstance(cause, kind)), RuntimeError)(str(cause)) from error
        raise
