"""Replay actor: a Ray shell around a replay that lets a learner wait for its batch."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray

from scoundrel_ray.experience.replay import ReplaySettings
from scoundrel_ray.runs.plan import AgentPlan
from scoundrel_ray.runs.settings import TrainConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.streams import Purpose, agent_stream

_remote: Any = ray.remote  # type checkers do not see what it adds


# A state has a thread of its own: memory of that size, once freed, stays with the thread that took it, and every one of
# many threads would come to hold as much as the replay itself.
@_remote(concurrency_groups={"state": 1}, enable_task_events=False)  # pyright: ignore[reportCallIssue]
class ReplayActor:
    """Holds the rows of one agent. Its methods run on several threads, so that a waiting learner hinders no insert.

    Args:
        agent: whose rows it holds, for messages.
        replay: config section.
        dtype: of a row.
        stream: [4] uint64, of the sampler.
    """

    def __init__(self, agent: str, replay: dict[str, Any], dtype: np.dtype, stream: np.ndarray) -> None:
        self._replay = build(f"agents.{agent}.replay", replay, ReplaySettings).make(dtype, stream)
        self._changed = threading.Condition()

    def insert(self, rows: np.ndarray) -> dict[str, Any]:
        """Store rows; returns `Replay.status`."""
        with self._changed:
            self._replay.insert(rows)
            self._changed.notify_all()
            return self._replay.status()

    def sample(self, count: int, seconds: float) -> np.ndarray | None:
        """A batch, or None if the replay gives none within `seconds`."""
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

    @ray.method(concurrency_group="state")
    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs; no view of rows that may still change."""
        with self._changed:
            return {
                name: value.copy() if isinstance(value, np.ndarray) else value
                for name, value in self._replay.state().items()
            }

    @ray.method(concurrency_group="state")
    def restore(
        self, state: Mapping[str, Any], inserted: int | None = None, sampled: int | None = None
    ) -> dict[str, Any]:
        """Go on from a checkpointed `state` (see `Replay.restore`); returns `Replay.status`."""
        with self._changed:
            self._replay.restore(state, inserted, sampled)
            self._changed.notify_all()
            return self._replay.status()

    def pid(self) -> int:
        """Process id; any answer says that the process is there."""
        return os.getpid()


def make_replay(agent: str, plan: AgentPlan, config: TrainConfig) -> Any:
    """Handle of a new replay of an agent."""
    stream = agent_stream(config.seed, Purpose.SAMPLES, agent)
    options = ReplayActor.options(max_concurrency=8 + config.workers, num_cpus=0)
    return options.remote(agent, dict(plan.replay), plan.role.rows, stream)
