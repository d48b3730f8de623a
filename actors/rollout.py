"""Rollout actor: a Ray shell around `scoundrel_ray.experience.selfplay.Rollout`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import psutil
import ray

from inference.segment import Shape
from inference.shm import ShmEvaluator, evaluator_to
from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.experience.selfplay import HALVES, Rollout, RolloutConfig
from scoundrel_ray.game import Game
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.settings.build import build

_remote: Any = ray.remote  # type checkers do not see what it adds


# Weights and questions have a thread of their own, so that they need not wait for the end of a stretch of play.
@_remote(concurrency_groups={"control": 1})  # pyright: ignore[reportCallIssue]
class RolloutActor:
    """Plays against itself and returns finished games.

    It is not restarted by Ray: the supervisor makes another with a new `incarnation`, hence new random streams.

    Args:
        game, search, network: config sections.
        config: of the self-play.
        inference: its config.
        server: handle of the inference actor; None for a server in this process.
        agent: whose network evaluates.
        stream: path of its random streams: seed, worker and incarnation.
    """

    def __init__(
        self,
        game: dict[str, Any],
        search: dict[str, Any],
        network: dict[str, Any],
        config: RolloutConfig,
        inference: InferenceConfig,
        server: Any,
        agent: str,
        stream: tuple[int, int, int],
    ) -> None:
        built = build("game", game, Game)
        seed, worker, incarnation = stream
        client, deadline_s = f"rollout-{worker}.{incarnation}", inference.request_deadline_s
        settings = build("search", search, SearchConfig)
        self._server: Any = None
        if server is None:
            from inference.build import Served, make_server
            from inference.local import ServerEvaluator

            self._server = make_server({agent: Served(built.spec, network)}, inference)
            evaluator: Evaluator = ServerEvaluator(self._server, client, agent, deadline_s)
        else:
            self._connect = lambda search: evaluator_to(
                server, inference, client, agent, request_shape(built, search, config)
            )
            evaluator = self._connect(settings)
        self._search = search
        self._rollout = Rollout(built, settings, config, evaluator, (seed, 2, worker, incarnation))

    def play(self, search: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Rows and report of one stretch of self-play (see `Rollout.play`); a search section holds from now on.

        The report also has memory_bytes, of the process, and warning: what the user should know, "" for nothing.
        """
        if search is not None and search != self._search:
            self._search_by(search)
        rows, report = self._rollout.play()
        report["memory_bytes"] = _memory_bytes()
        evaluator = self._rollout.evaluator
        report["warning"] = evaluator.warning if isinstance(evaluator, ShmEvaluator) else ""
        return rows, report

    def _search_by(self, search: dict[str, Any]) -> None:
        settings = build("search", search, SearchConfig)
        self._rollout.search_by(settings)
        self._search = search
        evaluator = self._rollout.evaluator
        if isinstance(evaluator, ShmEvaluator):  # its slots hold as many leaves as the old search had at a time
            evaluator.close()
            self._rollout.evaluator = self._connect(settings)

    @ray.method(concurrency_group="control")
    def set_weights(self, agent: str, version: int, arrays: Mapping[str, np.ndarray]) -> None:
        """As `InferenceActor.set_weights`, for the server in this process."""
        self._server.set_weights(agent, version, arrays)

    @ray.method(concurrency_group="control")
    def metrics(self) -> dict[str, Any]:
        """As `InferenceActor.metrics`, for the server in this process."""
        return self._server.metrics()

    @ray.method(concurrency_group="control")
    def pid(self) -> int:
        """Process id, for tests that kill it."""
        return os.getpid()


def request_shape(game: Game, search: SearchConfig, config: RolloutConfig) -> Shape:
    """What a worker has under way at most: for each half-group, all leaves of a step of its games' trees."""
    leaves = config.games // HALVES * search.trees_per_game * search.parameters(game).leaves
    return Shape.of(game.spec, HALVES, leaves)


def _memory_bytes() -> int:
    """This process's memory; pages that it shares with others, of libraries and of Ray's store, count in part."""
    memory = psutil.Process().memory_full_info()
    return getattr(memory, "pss", memory.uss)
