"""Rollout actor: a Ray shell around `scoundrel_ray.rollout.Rollout`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import psutil
import ray

from inference.remote import RemoteEvaluator
from scoundrel_ray.config import build
from scoundrel_ray.game import Game
from scoundrel_ray.rollout import Rollout, RolloutConfig
from scoundrel_ray.search import SearchConfig

_remote: Any = ray.remote  # type checkers do not see what it adds


@_remote
class RolloutActor:
    """Plays against itself and returns finished games.

    It is not restarted by Ray: the supervisor makes another with a new `incarnation`, hence new random streams.

    Args:
        game, search: config sections.
        config: of the self-play.
        inference: handle of the inference actor.
        agent: whose network evaluates.
        seed: of the run.
        worker, incarnation: which worker this is, and how often it was made.
        deadline_s: of an evaluation.
    """

    def __init__(
        self,
        game: dict[str, Any],
        search: dict[str, Any],
        config: RolloutConfig,
        inference: Any,
        agent: str,
        seed: int,
        worker: int,
        incarnation: int,
        deadline_s: float,
    ) -> None:
        built = build("game", game, Game)
        evaluator = RemoteEvaluator(
            inference, client=f"rollout-{worker}.{incarnation}", agent=agent, deadline_s=deadline_s
        )
        settings = build("search", search, SearchConfig)
        self._rollout = Rollout(built, settings, config, evaluator, (seed, 2, worker, incarnation))

    def play(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Rows and report of one stretch of self-play (see `Rollout.play`), with the process's memory."""
        rows, report = self._rollout.play()
        report["memory_bytes"] = _memory_bytes()
        return rows, report

    def pid(self) -> int:
        """Process id, for tests that kill it."""
        return os.getpid()


def _memory_bytes() -> int:
    """This process's memory; pages that it shares with others, of libraries and of Ray's store, count in part."""
    memory = psutil.Process().memory_full_info()
    return getattr(memory, "pss", memory.uss)
