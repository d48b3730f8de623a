"""Where a group's learners take their batches from: a replay in their own process, or one in another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError

from learners.group import BatchesGone
from learners.learner import Learner

_SAMPLE_S = 5.0  # longest that a replay lets a batch wait before it is asked again


def shown(rows: np.ndarray, learner: Learner) -> tuple[int, np.ndarray | None, np.ndarray | None] | None:
    """What a step has shown to a replay: version, keys, priorities; None if the rows speak of none of them."""
    names = rows.dtype.names or ()
    if "key" in names:
        return learner.version, rows["key"].copy(), getattr(learner, "priorities", None)
    return (learner.version, None, None) if "versions" in names else None


def _of_versions(rows: np.ndarray) -> bool:
    return "versions" in (rows.dtype.names or ())


class OwnBatches:
    """Batches of a replay in this process.

    Args:
        sample: gives a batch for a learner of a version, or None if there is none now.
        version: of the learner now.
        stepped: told what a step has shown (see `shown`).
    """

    def __init__(
        self, sample: Callable[[int], np.ndarray | None], version: Callable[[], int], stepped: Callable[..., None]
    ) -> None:
        self._sample, self._version, self._stepped = sample, version, stepped

    def take(self, ahead: bool) -> np.ndarray | None:
        """See `learners.group.Batches.take`; nothing is prepared ahead."""
        return self._sample(self._version())

    def stepped(self, rows: np.ndarray, learner: Learner) -> None:
        """See `learners.group.Batches.stepped`."""
        told = shown(rows, learner)
        if told is not None:
            self._stepped(*told)


class SentBatches:
    """Batches of a replay in another process.

    Args:
        replay: handle of its actor.
        agent: whose batches.
        count: rows of one.
        version: of the learner now.
        arrived: called when one has come.
    """

    def __init__(
        self, replay: Any, agent: str, count: int, version: Callable[[], int], arrived: Callable[[], None]
    ) -> None:
        self._replay, self._agent, self._count, self._version, self._arrived = replay, agent, count, version, arrived
        self._next: Future[np.ndarray | None] | None = None

    def attach(self, replay: Any) -> None:
        """Take batches from another actor from now on."""
        self._replay, self._next = replay, None

    def take(self, ahead: bool) -> np.ndarray | None:
        """See `learners.group.Batches.take`; with `ahead`, a batch is always under way.

        Raises:
            BatchesGone: if the actor is dead.
        """
        if self._next is None:
            self._ask(_SAMPLE_S if ahead else 0.0)
        assert self._next is not None
        if ahead and not self._next.done():
            return None
        asked, self._next = self._next, None
        try:
            rows = asked.result()
        except RayActorError as error:
            raise BatchesGone(str(error)) from error
        if ahead and (rows is None or not _of_versions(rows)):
            self._ask(_SAMPLE_S)
        return rows

    def _ask(self, seconds: float) -> None:
        answer = self._replay.sample.remote(self._agent, self._count, self._version(), seconds)
        asked: Future[np.ndarray | None] = answer.future()
        asked.add_done_callback(lambda _asked: self._arrived())
        self._next = asked

    def stepped(self, rows: np.ndarray, learner: Learner) -> None:
        """See `learners.group.Batches.stepped`."""
        told = shown(rows, learner)
        if told is None:
            return
        heard = self._replay.stepped.remote(self._agent, *told)
        if _of_versions(rows):  # or the next batch could be one that the step has made too old
            with contextlib.suppress(RayActorError):
                ray.get(heard)
