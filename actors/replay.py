"""Replay actor: a Ray shell around the replays of a group's agents that lets learners wait for their batches."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import ray

from scoundrel_ray.experience.replay import Replay, ReplaySettings
from scoundrel_ray.settings.build import build

_remote: Any = ray.remote  # type checkers do not see what it adds


class TableForm(NamedTuple):
    """What an agent's replay is made of.

    Attributes:
        replay: config section.
        rows: type of a row.
        stream: [4] uint64, of the sampler.
    """

    replay: dict[str, Any]
    rows: np.dtype
    stream: np.ndarray


class Tables:
    """Replays of some agents, each behind a lock of its own; what learners and workers ask of them.

    Args:
        tables: by agent.
        changed: called with an agent after rows came for it, or its replay was restored.
    """

    def __init__(self, tables: Mapping[str, TableForm], changed: Callable[[str], None] = lambda _agent: None) -> None:
        self._replays: dict[str, Replay] = {
            agent: build(f"agents.{agent}.replay", form.replay, ReplaySettings).make(form.rows, form.stream)
            for agent, form in tables.items()
        }
        self._locks = {agent: threading.Condition() for agent in tables}
        self._tell_change = changed

    def _changed(self, agent: str) -> None:
        self._locks[agent].notify_all()
        self._tell_change(agent)

    def _sample(self, agent: str, count: int, version: int) -> np.ndarray | None:
        """A batch for a learner of this version, or None if the replay gives none now."""
        with self._locks[agent]:
            self._at_version(agent, version)
            return self._replays[agent].sample(count)

    def _at_version(self, agent: str, version: int) -> None:
        """Tell a replay that wants to know its learner's version, which falls where a learner was restored."""
        replay: Any = self._replays[agent]
        if hasattr(replay, "at_version"):
            replay.at_version(version)

    def _stepped(self, agent: str, version: int, keys: np.ndarray | None, priorities: np.ndarray | None) -> None:
        """Tell a replay that wants to know what a step has shown."""
        replay: Any = self._replays[agent]
        with self._locks[agent]:
            if keys is not None and priorities is not None and hasattr(replay, "update"):
                replay.update(keys, priorities)
            self._at_version(agent, version)

    def insert(self, agent: str, rows: np.ndarray) -> dict[str, Any]:
        """Store rows; returns `Replay.status`."""
        with self._locks[agent]:
            self._replays[agent].insert(rows)
            self._changed(agent)
            return self._replays[agent].status()

    def replay_status(self, agent: str) -> dict[str, Any]:
        """See `Replay.status`."""
        with self._locks[agent]:
            return self._replays[agent].status()

    @ray.method(concurrency_group="state")
    def replay_state(self, agent: str) -> dict[str, Any]:
        """All that a checkpoint needs; no view of rows that may still change."""
        with self._locks[agent]:
            return {
                name: value.copy() if isinstance(value, np.ndarray) else value
                for name, value in self._replays[agent].state().items()
            }

    @ray.method(concurrency_group="state")
    def restore_replay(
        self, agent: str, state: Mapping[str, Any], inserted: int | None = None, sampled: int | None = None
    ) -> dict[str, Any]:
        """Go on from a checkpointed `state` (see `Replay.restore`); returns `Replay.status`."""
        with self._locks[agent]:
            self._replays[agent].restore(state, inserted, sampled)
            self._changed(agent)
            return self._replays[agent].status()

    @ray.method(concurrency_group="control")
    def pid(self) -> int:
        """Process id; any answer says that the process is there."""
        return os.getpid()


# A state has a thread of its own: memory of that size, once freed, stays with the thread that took it, and every one of
# many threads would come to hold as much as the replay itself.
TABLE_GROUPS = {"state": 1, "control": 1}


@_remote(concurrency_groups=TABLE_GROUPS, enable_task_events=False)  # pyright: ignore[reportCallIssue]
class ReplayActor(Tables):
    """Holds the rows of a group's agents. Its methods run on several threads: a waiting learner hinders no insert."""

    def sample(self, agent: str, count: int, version: int, seconds: float) -> np.ndarray | None:
        """A batch for a learner of this version, or None if the replay gives none within `seconds`."""
        deadline = time.monotonic() + seconds
        with self._locks[agent]:
            self._at_version(agent, version)  # once: while this waits another learner may take over
            while (rows := self._replays[agent].sample(count)) is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._locks[agent].wait(left)
            return rows

    def stepped(self, agent: str, version: int, keys: np.ndarray | None, priorities: np.ndarray | None) -> None:
        """Tell a replay that wants to know what a step of its learner has shown.

        Args:
            agent: whose replay it is.
            version: of the learner now.
            keys, priorities: of the rows of its batch (see `scoundrel_ray.experience.prioritised`); None without.
        """
        self._stepped(agent, version, keys, priorities)
