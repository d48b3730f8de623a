"""Evaluation actors: held deals in fixed shards, dealt out to whichever actor is free (see `actors.tasks`).

A shard's result depends on its number, the seed and the players alone, so the outcome is the same for any number of
actors and whichever of them die.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from actors.tasks import Ask, TaskPool
from scoundrel_ray.evaluation.deals import scores_of_seats, whole_deals
from scoundrel_ray.evaluation.match import play_games
from scoundrel_ray.game import Game
from scoundrel_ray.machine import cores
from scoundrel_ray.players import Participant, Player
from scoundrel_ray.playing.record import GameRecord
from scoundrel_ray.runs.settings import EvaluationConfig
from scoundrel_ray.settings.build import build

Match = tuple[str, ...]
_ENDED_S = 5.0  # for an actor to answer which games are over
_remote: Any = ray.remote  # type checkers do not see what it adds


# A task pool replaces actors that die and counts how often: Ray itself must do neither.
@_remote(num_cpus=0, max_restarts=0, max_task_retries=0, enable_task_events=False, concurrency_groups={"control": 1})
class EvaluationActor:
    """Plays shards of matches.

    Args:
        game: config section.
        participants: by name, their arrays left out.
        config: of the evaluation.
    """

    def __init__(self, game: dict[str, Any], participants: dict[str, Participant], config: EvaluationConfig) -> None:
        self._game = build("game", game, Game)
        self._participants = participants
        self._config = config
        self._players: dict[str, Player] = {}
        self._ended: list[GameRecord] = []

    def play(
        self, names: Match, first: int, count: int, arrays: dict[str, dict[str, Mapping[str, np.ndarray]]]
    ) -> list[GameRecord]:
        """Games first .. first + count - 1 of names[0] (see `play_games`), with the arrays of each participant."""
        players = {name: self._player(name, arrays[name]) for name in names}
        settings = {name: self._participants[name].recorded for name in names}
        self._ended = ended = []
        return play_games(self._game, players, self._config.seed, first, count, self._config.opening, settings, ended)

    @ray.method(concurrency_group="control")
    def pid(self) -> int:
        """Process id; any answer says that the process is there."""
        return os.getpid()

    @ray.method(concurrency_group="control")
    def ended(self) -> list[GameRecord]:
        """Games of the newest shard that are over."""
        return list(self._ended)

    def _player(self, name: str, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> Player:
        if name not in self._players:
            participant = self._participants[name]
            self._players[name] = build(
                f"evaluation.players.{name}", {**participant.section, **arrays}, Player, self._game
            )
        return self._players[name]


class MatchPool:
    """Evaluation actors that play shards of matches; a pool for one set of participants.

    Args:
        game: the rules, built from a config section.
        participants: by name.
        config: of the evaluation.
        workers: most actors.
    """

    def __init__(
        self, game: Game, participants: Mapping[str, Participant], config: EvaluationConfig, workers: int
    ) -> None:
        self._arrays = ray.put({name: each.arrays for name, each in participants.items()})
        sections = {name: each._replace(arrays={}) for name, each in participants.items()}
        self.tasks = TaskPool(lambda: EvaluationActor.remote(dict(game.section), sections, config), workers)

    def shard(self, match: Match, first: int, count: int) -> Ask:
        """A task that asks an actor for the records of games first .. first + count - 1 of a match."""
        return lambda actor: actor.play.remote(match, first, count, self._arrays)

    def ended(self) -> dict[str, list[GameRecord]]:
        """Games that are over of the shards that are not, by the shard's name; of actors that answer soon."""
        asked = {actor.ended.remote(): name for name, actor in self.tasks.under_way}
        there, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_ENDED_S) if asked else ([], [])
        found = {}
        for answer in there:
            with contextlib.suppress(RayError):  # the actor died
                found[asked[answer]] = ray.get(answer)
        return found


def shard_name(match: Match, first: int, count: int) -> str:
    """Name of a shard in an error, such as "games 0 to 19 of uct against random"."""
    return f"games {first} to {first + count - 1} of {' against '.join(match)}"


def evaluate(
    game: Game,
    participants: Mapping[str, Participant],
    matches: Sequence[Match],
    config: EvaluationConfig,
    progress: Callable[[int, int], None],
    played: list[GameRecord] | None = None,
) -> dict[Match, np.ndarray]:
    """Scores of the first player of each match, over the same deals: [D, P, P] float64 (see `evaluation.deals`).

    Args:
        game: the rules, built from a config section.
        participants: who may play, by name.
        matches: who plays, by name.
        config: which games, of which seed; whole deals are played.
        progress: called with games played and games in all.
        played: to which the games' records are added, match by match; what was played by then if this is interrupted.

    Raises:
        RuntimeError: if actors died again and again at one shard; it names match and games.
        Exception: what a player or the game raised.
    """
    begin, each = whole_deals(game, config.first, config.games)
    scores = {match: np.full((each, game.seats), np.nan) for match in matches}
    firsts = range(begin, begin + each, config.shard)
    shards = [(match, first, min(config.shard, begin + each - first)) for match in matches for first in firsts]
    named = {shard_name(*shard): shard for shard in shards}
    records: dict[str, list[GameRecord]] = {}
    playing = {name: participants[name] for match in matches for name in match}
    pool = MatchPool(game, playing, config, max(1, min(config.workers or cores(), len(shards))))
    done = 0
    progress(0, each * len(matches))
    try:
        pool.tasks.add({name: pool.shard(*shard) for name, shard in named.items()})
        while pool.tasks.pending:
            for name, found in pool.tasks.finished():
                match, first, count = named[name]
                scores[match][first - begin :][:count] = scores_of_seats(game, found)
                if played is not None:
                    records[name] = found
                done += count
                progress(done, each * len(matches))
    except BaseException:
        if played is not None:
            records |= pool.ended()
        raise
    finally:
        if played is not None:
            played.extend(record for name in named if name in records for record in records[name])
        pool.tasks.close()
    return {match: rows.reshape(-1, game.seats, game.seats) for match, rows in scores.items()}
