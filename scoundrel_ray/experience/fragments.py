"""A queue of fragments: each is learned from once, and while it is fresh. The replay of on-policy learners.

All that it counts are own steps, as the learner's batches are, and not rows, which hold up to T of them.

Workers and learner take turns by it, without knowing of each other:

    1. Workers send fragments of version v until the queue is full, and with `max_lag` 0 until a batch waits, of which
       the queue hears by the learner's question; then `may_insert` is False. Each ends its stretch, and what comes in
       by that still counts.
    2. The learner takes the batch, steps to v + 1, and tells the queue (`at_version`). What is held and too old by now
       is dropped at once, which makes room: workers go on, with version v until they are given the new weights. With
       `max_lag` 0 they rest from the batch to the step, or to the learner's next question: what they gathered meanwhile
       would be dropped.
    3. The queue drops what comes in and is too old. So dropped steps never fill it, and nobody waits for them.

**The queue must be told of a version before its weights are handed out**: what is of a later version than the queue's
is of a learner that died and was restored, so it is dropped, too. With `max_lag` 0 nobody feeds the learner from its
step until it publishes: it must publish every version. Its next batch must not be asked for ahead of its step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scoundrel_ray.experience.advantages import there
from scoundrel_ray.settings.checks import InvalidConfig, at_least


def usable(rows: np.ndarray, version: int, max_lag: int | None) -> np.ndarray:
    """Which fragments a learner may learn from: [n] bool.

    Args:
        rows: [n], see `scoundrel_ray.experience.rows.fragment_dtype`.
        version: the learner's.
        max_lag: by how many versions the weights of any of a fragment's steps may be older; None for any weights.
    """
    if max_lag is None:
        return np.ones(len(rows), dtype=bool)
    lags = version - rows["versions"]
    fresh = (lags >= 0) & (lags <= max_lag)
    return np.all(fresh | ~there(rows["steps"], lags.shape[1]), axis=1)


@dataclass(frozen=True)
class FragmentQueue:
    """Settings of a queue of fragments, the oldest first.

    Attributes:
        capacity: own steps that wait at most before workers are held back; at least a batch. With `max_lag` 0 a batch
            is enough.
        max_lag: versions that any step of a fragment may be behind the learner; 0 for its own version alone, None for
            whatever comes. Others are dropped.
    """

    capacity: int = 2048
    max_lag: int | None = 0

    def __post_init__(self) -> None:
        at_least("capacity", self.capacity, 1)
        if self.max_lag is not None:
            at_least("max_lag", self.max_lag, 0)

    @property
    def most_batch(self) -> int:
        """Own steps of the largest batch that is sure to come together."""
        return self.capacity

    def make(self, dtype: np.dtype, _stream: np.ndarray) -> FragmentReplay:
        """A queue of rows of `dtype`; it draws nothing.

        Raises:
            InvalidConfig: for rows that are no fragments.
        """
        return FragmentReplay(dtype, self.capacity, self.max_lag)


class FragmentReplay:
    """The fragments that were not learned from yet; all of them are usable at the queue's version.

    Args:
        dtype: of a row, with `steps` and `versions`.
        capacity, max_lag: see `FragmentQueue`.
    """

    def __init__(self, dtype: np.dtype, capacity: int, max_lag: int | None) -> None:
        for name in ("steps", "versions"):
            if name not in (dtype.names or ()):
                got = ", ".join(dtype.names or ())
                raise InvalidConfig(f"a queue of fragments wants rows with {name!r}, the learner's have {got}")
        self._capacity, self._max_lag = capacity, max_lag
        self._rows = np.zeros(0, dtype=dtype)
        self._version = 0
        self._learning = False  # a batch was given, and the learner has not stepped yet
        self._batch = capacity  # steps that the learner asks for, once it has
        self._counts = {"inserted": 0, "sampled": 0, "dropped": 0}
        # Steps that were counted and are gone, because they were lost with a process.
        self._lost = {"inserted": 0, "sampled": 0}

    def __len__(self) -> int:
        return int(self._rows["steps"].sum())

    def insert(self, rows: np.ndarray) -> None:
        """Append fragments [n]; those that are not usable count as inserted and dropped.

        Raises:
            ValueError: for rows of another type, and for fragments of no step or of more than fit.
        """
        if rows.dtype != self._rows.dtype:
            raise ValueError(f"replay: got rows of {rows.dtype}, wanted {self._rows.dtype}")
        most = rows["versions"].shape[1]
        if len(rows) and not 1 <= rows["steps"].min() <= rows["steps"].max() <= most:
            low, high = rows["steps"].min(), rows["steps"].max()
            raise ValueError(f"replay: got fragments of {low} to {high} steps, wanted 1 to {most}")
        self._counts["inserted"] += int(rows["steps"].sum())
        self._rows = np.concatenate([self._rows, self._usable(rows)])

    def sample(self, count: int) -> np.ndarray | None:
        """The oldest fragments that make up `count` own steps, which leave the queue; None while there are too few.

        Args:
            count: own steps, at most `FragmentQueue.most_batch`. The last fragment may go beyond it by T - 1 steps.
        """
        self._learning, self._batch = False, count
        ends = np.cumsum(self._rows["steps"])
        if not len(ends) or ends[-1] < count:
            return None
        taken = int(np.searchsorted(ends, count)) + 1
        batch, self._rows = self._rows[:taken].copy(), self._rows[taken:].copy()
        self._counts["sampled"] += int(ends[taken - 1])
        self._learning = True
        return batch

    def at_version(self, version: int) -> None:
        """The learner has this version now; what is not usable any more is dropped."""
        if version == self._version:  # all that is held is usable then
            return
        self._version, self._learning = version, False
        self._rows = self._usable(self._rows)

    def _usable(self, rows: np.ndarray) -> np.ndarray:
        fresh = usable(rows, self._version, self._max_lag)
        self._counts["dropped"] += int(rows["steps"][~fresh].sum())
        return rows[fresh]

    def status(self) -> dict[str, Any]:
        """As `Replay.status`, but in own steps; also dropped_steps, and the ratio of samples to steps inserted."""
        if self._max_lag == 0:  # what is gathered while a batch waits, or is learned from, would be dropped
            most = 0 if self._learning else min(self._batch, self._capacity)
        else:
            most = self._capacity
        room = max(most - len(self), 0)
        inserted, sampled = (self._counts[name] + self._lost[name] for name in ("inserted", "sampled"))
        return {
            "rows": len(self),
            "inserted": inserted,
            "sampled": sampled,
            "ratio": sampled / inserted if inserted else 0.0,
            "dropped_steps": self._counts["dropped"],
            "may_insert": room > 0,
            "room": room,
        }

    def state(self) -> dict[str, Any]:
        """Fragments, version and counters, as plain data and arrays."""
        return {"rows": self._rows, "version": self._version, "lost": dict(self._lost), **self._counts}

    def restore(self, state: Mapping[str, Any], inserted: int | None = None, sampled: int | None = None) -> None:
        """Go on from `state()`; the learner's version is to be told if it has changed since.

        Args:
            state: of a checkpoint.
            inserted, sampled: own steps ever, see `scoundrel_ray.experience.replay.Replay.restore`.

        Raises:
            ValueError: if the rows are of another type.
        """
        rows = state["rows"]
        if rows.dtype != self._rows.dtype:
            raise ValueError(f"replay: the checkpoint holds rows of {rows.dtype}, wanted {self._rows.dtype}")
        self._rows, self._version, self._learning = np.array(rows), int(state["version"]), False
        self._counts = {name: int(state[name]) for name in self._counts}
        self._lost = {name: int(state["lost"][name]) for name in self._lost}
        for name, ever in (("inserted", inserted), ("sampled", sampled)):
            if ever is not None:
                self._lost[name] = ever - int(state[name])
