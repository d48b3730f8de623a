"""Replay actor: a Ray shell around `scoundrel_ray.experience.replay.Replay` that lets a learner wait for its batch."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray

from scoundrel_ray.experience.replay import Replay, ReplayConfig
from scoundrel_ray.experience.rows import decision_dtype
from scoundrel_ray.game import Game
from scoundrel_ray.settings.build import build

_remote: Any = ray.remote  # type checkers do not see what it adds


@_remote
class ReplayActor:
    """Holds the rows of one agent. Its methods run on several threads, so that a waiting learner hinders no insert.

    Args:
        game: config section; its rows are what is stored.
        config: of the replay.
        seed: of the run.
    """

    def __init__(self, game: dict[str, Any], config: ReplayConfig, seed: int) -> None:
        rules = build("game", game, Game)
        self._replay = Replay(decision_dtype(rules.spec), config, seed, rules.symmetries)
        self._changed = threading.Condition()

    def insert(self, rows: np.ndarray) -> dict[str, Any]:
        """Store rows; returns `Replay.status`."""
        with self._changed:
            self._replay.insert(rows)
            self._changed.notify_all()
            return self._replay.status()

    def sample(self, count: int, seconds: float) -> np.ndarray | None:
        """A batch, or None if the limiter gives none within `seconds`."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while (rows := self._replay.sample(count)) is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            return rows

    def status(self) -> dict[str, Any]:
        """See `Replay.status`."""
        with self._changed:
            return self._replay.status()

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs."""
        with self._changed:
            state = self._replay.state()
            return {**state, "rows": state["rows"].copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpointed `state`."""
        with self._changed:
            self._replay.restore(state)
            self._changed.notify_all()

    def pid(self) -> int:
        """Process id, for tests that kill it."""
        return os.getpid()
