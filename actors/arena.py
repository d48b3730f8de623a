"""The arena of an agent: its newest weights against its best so far, on duplicate deals, while training goes on.

One evaluation actor plays a match; nothing waits for it. Ratings are chained: a new best is rated by how it did against
the one before it, so they drift over long runs (`python -m scripts.arena` plays everyone against everyone).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import ray

from actors.evaluation import MatchPool, shard_name
from scoundrel_ray.evaluation import arena, promotion
from scoundrel_ray.evaluation.deals import by_deal
from scoundrel_ray.game import Game
from scoundrel_ray.players import participant
from scoundrel_ray.playing.record import GameRecord
from scoundrel_ray.runs.settings import TrainConfig

NEWEST, BEST = "newest", "best"
TRAINED = "inference.agent.trained"  # not imported here: it needs torch


class RunArena:
    """Matches one after another, as they fall due.

    Args:
        agent: name.
        config: of the run.
        game: built from it.
        best: weights that the first challenger meets.
        state: of a checkpoint to go on from, in place of `best`.
        warn: called with a line about a match that failed.
    """

    def __init__(
        self,
        agent: str,
        config: TrainConfig,
        game: Game,
        best: Mapping[str, np.ndarray],
        state: Mapping[str, Any] | None = None,
        warn: Callable[[str], None] = print,
    ) -> None:
        self.agent = agent
        self.game = game
        self._config = config
        self._warn = warn
        self._best: dict[str, np.ndarray] = dict(state["best"]) if state else dict(best)
        self._elo = float(state["elo"]) if state else 0.0
        self._version = int(state["version"]) if state else 0
        self._matches = int(state["matches"]) if state else 0
        self._next_s = float(state["next_s"]) if state else config.arena.every_s
        self._under_way: _Match | None = None

    def tick(self, trained_s: float, newest: tuple[int, Any]) -> dict[str, Any] | None:
        """Start a match if one is due; returns metrics of a match that has ended since the last call, flat, by name.

        Args:
            trained_s: seconds of training so far.
            newest: version of the newest weights, and a reference to their arrays.

        Returns:
            matches, version, promoted (0 or 1), difference with _low and _high (points a game, 95 %), elo; or failed,
            1, of a match that failed; names begin with arena/<agent>/. None while there is nothing to tell.
        """
        try:
            if self._under_way is None:
                if trained_s >= self._next_s and newest[0] > self._version and _there([newest[1]]):
                    self._next_s = trained_s + self._config.arena.every_s
                    self._matches += 1
                    self._under_way = _Match(self.agent, self._config, self.game, newest, self._best, self._matches)
                return None
            over = self._under_way.over()
        except Exception as error:  # of any kind that a player raises; the next match falls due as ever
            self.stop()
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self._warn(f"a match of {self.agent} failed: {lines[-1]}")
            return {f"arena/{self.agent}/failed": 1}
        if not over:
            return None
        match = self._under_way
        self.stop()
        return self._judge(match)

    def _judge(self, match: _Match) -> dict[str, Any]:
        played = match.records()
        scores = {names: np.stack(list(by_deal(self.game, own).values())) for names, own in played.items()}
        ahead = arena.paired_differences(self.game, scores, NEWEST, BEST)
        coin = np.random.default_rng([self._config.arena.seed, self._matches])
        decided = promotion.promotes(ahead, self._config.arena.confidence, coin=coin)
        result = arena.results(self.game, scores, [NEWEST, BEST], anchor=BEST)
        elo = self._elo + next(rating.elo.value for rating in result.ratings if rating.player == NEWEST)
        if decided:
            self._best, self._elo, self._version = match.arrays, elo, match.version
        found = {
            "matches": self._matches,
            "version": match.version,
            "promoted": int(decided.promoted),
            "difference": decided.difference.value,
            "difference_low": decided.difference.low,
            "difference_high": decided.difference.high,
            "elo": elo,
        }
        return {f"arena/{self.agent}/{name}": value for name, value in found.items()}

    @property
    def best(self) -> tuple[int, dict[str, np.ndarray]]:
        """Version and weights of the best so far."""
        return self._version, self._best

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "best": self._best,
            "elo": self._elo,
            "version": self._version,
            "matches": self._matches,
            "next_s": self._next_s,
        }

    def stop(self) -> None:
        """End a match under way."""
        if self._under_way is not None:
            self._under_way.stop()
            self._under_way = None


class _Match:
    """Newest against best, under way in an actor of its own; another takes its place if it dies.

    Every match has deals of its own: the best won on those of the matches before, so it would be too good on them.
    """

    def __init__(
        self,
        agent: str,
        config: TrainConfig,
        game: Game,
        newest: tuple[int, Any],
        best: Mapping[str, np.ndarray],
        number: int,
    ) -> None:
        self.version = newest[0]
        self.arrays: Any = ray.get(newest[1])
        games = config.arena.deals * game.seats
        settings = dataclasses.replace(
            config.evaluation, games=games, first=0, seed=config.arena.seed, workers=1, shard=games
        )
        network = config.agents[agent].network
        section = {"_target_": TRAINED, "network": network, "search": config.evaluation_search}
        players = {
            name: participant("arena", {**section, "weights": arrays}, game, positions=games, threads=1)
            for name, arrays in ((NEWEST, self.arrays), (BEST, best))
        }
        self._pool = MatchPool(game, players, settings, workers=1)
        self._played: dict[str, list[GameRecord]] = {}
        self._names = {shard_name(names, number * games, games): names for names in arena.round_robin(game, [*players])}
        self._pool.tasks.add(
            {name: self._pool.shard(names, number * games, games) for name, names in self._names.items()}
        )

    def over(self) -> bool:
        """Whether all games are played.

        Raises:
            Exception: what went wrong in a game; RuntimeError if actors died again and again.
        """
        self._played.update(self._pool.tasks.finished(timeout_s=0))
        return not self._pool.tasks.pending

    def records(self) -> dict[tuple[str, ...], list[GameRecord]]:
        """Records of all games, by who played."""
        return {names: self._played[name] for name, names in self._names.items()}

    def stop(self) -> None:
        """End the actor."""
        self._pool.tasks.close()


def _there(answers: list[Any]) -> bool:
    """Whether all objects are there by now."""
    return len(ray.wait(answers, num_returns=len(answers), timeout=0)[0]) == len(answers)
