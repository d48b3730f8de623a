"""Replay: a ring of decisions, a uniform sampler, and a limiter that holds back whichever side is ahead.

A plain object without Ray or threads; actors/replay.py puts it on a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scoundrel_ray.settings.checks import InvalidConfig, at_least, within
from scoundrel_ray.streams import stream
from scoundrel_ray.symmetry import Symmetries


@dataclass(frozen=True)
class ReplayConfig:
    """Settings of the replay.

    Attributes:
        capacity: rows kept; the oldest make room.
        min_rows: rows gathered before the first batch is given.
        samples_per_insert: how often a row is sampled on average, which the limiter holds.
        tolerance: how far either side may be ahead of that, as a share of `min_rows` times `samples_per_insert`.
        symmetries: rows are given through symmetries of the game drawn at random, where it has any.
    """

    capacity: int = 200_000
    min_rows: int = 10_000
    samples_per_insert: float = 4.0
    tolerance: float = 1.0
    symmetries: bool = True

    def __post_init__(self) -> None:
        at_least("replay.capacity", self.capacity, 1)
        at_least("replay.min_rows", self.min_rows, 1)
        within("replay.samples_per_insert", self.samples_per_insert, 0.001, 1e6)
        within("replay.tolerance", self.tolerance, 0.01, 1e6)
        if self.min_rows > self.capacity:
            raise InvalidConfig(
                f"replay.min_rows: got {self.min_rows}, wanted at most replay.capacity, {self.capacity}"
            )

    @property
    def most_batch(self) -> int:
        """Rows of the largest batch that the limiter can ever give: a larger one would stop the run for good."""
        return int((1 + 2 * self.tolerance) * self.min_rows * self.samples_per_insert)


class SampleToInsert:
    """Keeps samples taken near `samples_per_insert` times the rows inserted.

    **Source:** the rate limiter of Reverb (Cassirer et al. 2021): samples owed stay within an error buffer around 0.
    """

    def __init__(self, config: ReplayConfig) -> None:
        self._ratio = config.samples_per_insert
        self._min_rows = config.min_rows
        self._buffer = config.tolerance * config.min_rows * config.samples_per_insert
        self.inserted = 0
        self.sampled = 0

    @property
    def owed(self) -> float:
        """Samples that the rows so far are good for and that were not taken."""
        return self.inserted * self._ratio - self.sampled

    def may_insert(self) -> bool:
        """False while the learner is too far behind; never before it has enough to start."""
        first = self._min_rows * self._ratio  # owed at the moment of the first batch, through no fault of the learner
        return self.inserted < self._min_rows or self.owed < first + self._buffer

    def may_sample(self, count: int) -> bool:
        """False until there are enough rows, and while the learner is too far ahead."""
        return self.inserted >= self._min_rows and self.owed - count >= -self._buffer


class Replay:
    """The newest rows, a decision each, sampled uniformly with replacement.

    Args:
        dtype: of a row.
        config: see `ReplayConfig`.
        seed: of the sampler.
        symmetries: of the game that the rows are of.
    """

    def __init__(self, dtype: np.dtype, config: ReplayConfig, seed: int, symmetries: Symmetries | None = None) -> None:
        self.config = config
        self._symmetries = symmetries if config.symmetries else None
        self.limiter = SampleToInsert(config)
        self._rows = np.zeros(config.capacity, dtype=dtype)
        self._generator = np.random.Generator(np.random.PCG64(int(stream(seed, 3)[0])))

    def __len__(self) -> int:
        return min(self.limiter.inserted, self.config.capacity)

    def insert(self, rows: np.ndarray) -> None:
        """Store rows [n]; the oldest are overwritten once the ring is full.

        Raises:
            ValueError: for rows of another type.
        """
        if rows.dtype != self._rows.dtype:
            raise ValueError(f"replay: got rows of {rows.dtype}, wanted {self._rows.dtype}")
        kept = rows[-self.config.capacity :]
        start = (self.limiter.inserted + len(rows) - len(kept)) % self.config.capacity
        first = min(len(kept), self.config.capacity - start)
        self._rows[start : start + first] = kept[:first]
        self._rows[: len(kept) - first] = kept[first:]
        self.limiter.inserted += len(rows)

    def sample(self, count: int) -> np.ndarray | None:
        """A batch [count], a copy, or None while the limiter holds the learner back.

        Args:
            count: rows, at most `ReplayConfig.most_batch`.
        """
        if not self.limiter.may_sample(count):
            return None
        self.limiter.sampled += count
        rows = self._rows[self._generator.integers(len(self), size=count)]
        if self._symmetries is None:
            return rows
        return self._symmetries.see(rows, self._generator.integers(len(self._symmetries), size=count))

    def status(self) -> dict[str, Any]:
        """Rows held, rows ever inserted, samples ever taken, their ratio, and whether inserts are welcome."""
        limiter = self.limiter
        return {
            "rows": len(self),
            "inserted": limiter.inserted,
            "sampled": limiter.sampled,
            "ratio": limiter.sampled / limiter.inserted if limiter.inserted else 0.0,
            "may_insert": limiter.may_insert(),
        }

    def state(self) -> dict[str, Any]:
        """Everything: rows, counters and the sampler's generator, as plain data and arrays."""
        generator: Any = self._generator.bit_generator.state
        return {
            "rows": self._rows[: len(self)],
            "inserted": self.limiter.inserted,
            "sampled": self.limiter.sampled,
            # Its numbers have 128 bits, which not every reader of JSON holds.
            "generator": {name: str(value) for name, value in generator["state"].items()},
            "half_drawn": [generator["has_uint32"], generator["uinteger"]],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; the next batch is the one that would have been.

        Raises:
            ValueError: if the rows are of another type or do not fit.
        """
        rows = state["rows"]
        inserted = int(state["inserted"])
        if rows.dtype != self._rows.dtype or len(rows) != min(inserted, self.config.capacity):
            raise ValueError(
                f"replay: the checkpoint holds {len(rows)} rows of {rows.dtype} for {inserted} inserted, wanted "
                f"{min(inserted, self.config.capacity)} of {self._rows.dtype} (replay.capacity: {self.config.capacity})"
            )
        self._rows[: len(rows)] = rows
        self.limiter.inserted, self.limiter.sampled = inserted, int(state["sampled"])
        generator: Any = self._generator.bit_generator.state
        generator["state"] = {name: int(value) for name, value in state["generator"].items()}
        generator["has_uint32"], generator["uinteger"] = state["half_drawn"]
        self._generator.bit_generator.state = generator
