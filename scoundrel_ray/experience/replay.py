"""Replay: the rows of an agent, from which its learner samples. A sampler and a limiter around a ring of rows.

Plain objects without Ray or threads; actors/replay.py puts them on a cluster. A user's own replay is a settings class
with the members of `ReplaySettings`, named in YAML by its `_target_`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from scoundrel_ray.experience.limiter import SampleToInsert
from scoundrel_ray.experience.samplers import Sampler, Uniform
from scoundrel_ray.settings.checks import InvalidSetting, at_least, within


class Replay(Protocol):
    """Rows of one agent."""

    def insert(self, rows: np.ndarray) -> None:
        """Store rows [n]."""
        ...

    def sample(self, count: int) -> np.ndarray | None:
        """A batch [count], a copy, or None while the learner is to wait."""
        ...

    def status(self) -> dict[str, Any]:
        """Plain data, with at least these keys.

        Returns:
            rows: rows held now. inserted, sampled: rows and samples ever. may_insert: False while workers are to wait.
            And, of a replay that may want no more rows than these, room: no worker is asked for rows beyond them.
        """
        ...

    def state(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit, as plain data and arrays (see `scoundrel_ray.storage.nested`)."""
        ...

    def restore(self, state: Mapping[str, Any], inserted: int | None = None, sampled: int | None = None) -> None:
        """Go on from `state()`.

        Args:
            state: of a checkpoint.
            inserted, sampled: rows and samples ever, where some came after the checkpoint and were lost with the
                process that held them: the counts stay exact, the rows are gone. None for those of the checkpoint.
        """
        ...


class ReplaySettings(Protocol):
    """A member of conf/replay: checked settings that can make a replay."""

    @property
    def most_batch(self) -> int:
        """Rows of the largest batch that the replay can ever give."""
        ...

    def make(self, dtype: np.dtype, stream: np.ndarray) -> Replay:
        """A replay of rows of `dtype`, which draws from `stream` [4] uint64."""
        ...


@dataclass(frozen=True)
class UniformReplay:
    """Settings of a ring of the newest rows, sampled uniformly with replacement.

    Attributes:
        capacity: rows kept; the oldest make room.
        min_rows: rows gathered before the first batch is given.
        samples_per_insert: how often a row is sampled on average, which the limiter holds.
        tolerance: how far either side may be ahead of that, as a share of `min_rows` times `samples_per_insert`.
    """

    capacity: int = 200_000
    min_rows: int = 10_000
    samples_per_insert: float = 4.0
    tolerance: float = 1.0

    def __post_init__(self) -> None:
        at_least("capacity", self.capacity, 1)
        at_least("min_rows", self.min_rows, 1)
        within("samples_per_insert", self.samples_per_insert, 0.001, 1e6)
        within("tolerance", self.tolerance, 0.01, 1e6)
        if self.min_rows > self.capacity:
            raise InvalidSetting("min_rows", f"got {self.min_rows}, wanted at most capacity, {self.capacity}")

    @property
    def most_batch(self) -> int:
        """Rows of the largest batch that the limiter lets through."""
        return self._limiter().most_batch

    def make(self, dtype: np.dtype, stream: np.ndarray) -> RingReplay:
        """A replay of rows of `dtype`, which draws from `stream` [4] uint64."""
        return RingReplay(dtype, self.capacity, Uniform(stream), self._limiter())

    def _limiter(self) -> SampleToInsert:
        return SampleToInsert(self.samples_per_insert, self.min_rows, self.tolerance)


class RingReplay:
    """The newest rows in a preallocated ring.

    Args:
        dtype: of a row.
        capacity: rows kept.
        sampler: which rows make a batch.
        limiter: who is to wait.
    """

    def __init__(self, dtype: np.dtype, capacity: int, sampler: Sampler, limiter: SampleToInsert) -> None:
        self.limiter = limiter
        self._sampler = sampler
        self._rows = np.zeros(capacity, dtype=dtype)
        self._held = 0
        self._age = 0.0
        self._next = 0  # where the next row goes; `_held` until the ring is full
        # Rows and samples that no longer count in what is owed, because they were lost with a process.
        self._lost = {"inserted": 0, "sampled": 0}

    def __len__(self) -> int:
        return self._held

    def insert(self, rows: np.ndarray) -> None:
        """Store rows [n]; the oldest are overwritten once the ring is full.

        Raises:
            ValueError: for rows of another type.
        """
        if rows.dtype != self._rows.dtype:
            raise ValueError(f"replay: got rows of {rows.dtype}, wanted {self._rows.dtype}")
        capacity = len(self._rows)
        kept = rows[-capacity:]
        start = (self._next + len(rows) - len(kept)) % capacity
        first = min(len(kept), capacity - start)
        self._rows[start : start + first] = kept[:first]
        self._rows[: len(kept) - first] = kept[first:]
        self._next = (start + len(kept)) % capacity
        self._held = min(self._held + len(rows), capacity)
        self.limiter.inserted += len(rows)

    def sample(self, count: int) -> np.ndarray | None:
        """A batch [count], a copy, or None while the limiter holds the learner back.

        Args:
            count: rows, at most `ReplaySettings.most_batch`.
        """
        places = self._places(count)
        return None if places is None else self._rows[places]

    def _places(self, count: int) -> np.ndarray | None:
        """Places of the next batch's rows [count], or None while the limiter holds the learner back."""
        if not self._held or not self.limiter.may_sample(count):
            return None
        self.limiter.sampled += count
        drawn = self._sampler.draw(self._held, count)
        self._age = float(((self._next - 1 - drawn) % len(self._rows)).mean())
        return drawn

    def status(self) -> dict[str, Any]:
        """As `Replay.status`; the ratio of samples to rows; and the age of the newest batch, the mean number of rows
        that came after each of its own.
        """
        inserted = self.limiter.inserted + self._lost["inserted"]
        sampled = self.limiter.sampled + self._lost["sampled"]
        return {
            "rows": self._held,
            "inserted": inserted,
            "sampled": sampled,
            "ratio": sampled / inserted if inserted else 0.0,
            "may_insert": self.limiter.may_insert(),
            "age": self._age,
        }

    def state(self) -> dict[str, Any]:
        """Rows, counters and the sampler's state, as plain data and arrays."""
        return {
            "rows": self._rows[: self._held],
            "next": self._next,
            "inserted": self.limiter.inserted,
            "sampled": self.limiter.sampled,
            "lost": dict(self._lost),
            "sampler": self._sampler.state(),
        }

    def restore(self, state: Mapping[str, Any], inserted: int | None = None, sampled: int | None = None) -> None:
        """Go on from `state()`; without losses the next batch is the one that would have been.

        What was lost is not owed: neither side waits for rows or samples that are gone.

        Raises:
            ValueError: if the rows are of another type or do not fit.
        """
        rows, capacity, at = state["rows"], len(self._rows), int(state["next"])
        if (
            rows.dtype != self._rows.dtype
            or len(rows) > capacity
            or (at != len(rows) % capacity and len(rows) < capacity)
        ):
            raise ValueError(
                f"replay: the checkpoint holds {len(rows)} rows of {rows.dtype}, the next at {at}, wanted at most "
                f"{capacity} of {self._rows.dtype}"
            )
        self._rows[: len(rows)] = rows
        self._held, self._next = len(rows), at
        self.limiter.inserted, self.limiter.sampled = int(state["inserted"]), int(state["sampled"])
        self._lost = {name: int(state["lost"][name]) for name in self._lost}
        for name, ever in (("inserted", inserted), ("sampled", sampled)):
            if ever is not None:
                self._lost[name] = ever - int(state[name])
        self._sampler.restore(state["sampler"])
