"""Prioritised replay: rows are sampled by how much was last learned from them.

**Source:** Schaul et al. 2016, "Prioritized Experience Replay", the proportional variant: the chance of row i is
P(i) = p_i^alpha / sum p^alpha with p_i = |TD error| + epsilon; a batch has a row from each of so many equal shares of
the sum; a row's weight in the loss is (N P(i))^-beta, divided by the batch's largest; beta rises linearly to 1; new
rows have the greatest priority so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scoundrel_ray.experience.limiter import SampleToInsert
from scoundrel_ray.experience.replay import RingReplay, UniformReplay
from scoundrel_ray.settings.checks import at_least, within
from scoundrel_ray.streams import generator, generator_state, restore_generator

_ADDED = (("key", np.int64), ("weight", np.float32))


@dataclass(frozen=True)
class PrioritisedReplay(UniformReplay):
    """Settings of a ring of the newest rows, sampled by priority.

    Attributes:
        alpha: how much priorities count; 0 samples uniformly.
        beta: how much of the bias of such sampling the weights take back at first.
        beta_samples: samples taken until they take back all of it.
        epsilon: added to every priority, so that no row is forgotten.
        capacity, min_rows, samples_per_insert, tolerance: as for `UniformReplay`.
    """

    alpha: float = 0.6
    beta: float = 0.4
    beta_samples: int = 1_000_000
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        within("alpha", self.alpha, 0.0, 1.0)
        within("beta", self.beta, 0.0, 1.0)
        at_least("beta_samples", self.beta_samples, 1)
        within("epsilon", self.epsilon, 1e-9, 1e3)

    def given(self, dtype: np.dtype) -> np.dtype:
        """Type of the rows of a batch, where those inserted are of `dtype`.

        Two fields more: key, int64, by which `PrioritisedRing.update` knows the row, and weight, float32 in (0, 1],
        what it is to count in the loss.
        """
        return np.dtype([*((name, dtype[name]) for name in dtype.names or ()), *_ADDED])

    def make(self, dtype: np.dtype, stream: np.ndarray) -> PrioritisedRing:
        """A replay of rows of `dtype`, which draws from `stream` [4] uint64."""
        return PrioritisedRing(dtype, self, stream, self._limiter())


class PrioritisedRing(RingReplay):
    """The newest rows in a preallocated ring, sampled by priority.

    Args:
        dtype: of a row.
        settings: of the replay.
        stream: [4] uint64, of the draws.
        limiter: who is to wait.
    """

    _sampler: Proportional

    def __init__(
        self, dtype: np.dtype, settings: PrioritisedReplay, stream: np.ndarray, limiter: SampleToInsert
    ) -> None:
        super().__init__(dtype, settings.capacity, Proportional(settings.capacity, settings.alpha, stream), limiter)
        self._settings, self._given = settings, settings.given(dtype)
        # A row's key is its number of insertion; its place is the key modulo the capacity.
        self._keys = np.full(settings.capacity, -1, np.int64)
        self._next_key = 0
        self._greatest = 1.0

    def insert(self, rows: np.ndarray) -> None:
        """As `RingReplay.insert`; they get the greatest priority so far."""
        super().insert(rows)
        capacity = len(self._keys)
        keys = np.arange(self._next_key, self._next_key + len(rows), dtype=np.int64)[-capacity:]
        self._keys[keys % capacity] = keys
        self._next_key += len(rows)
        self._sampler.set(keys % capacity, np.full(len(keys), self._greatest))

    def sample(self, count: int) -> np.ndarray | None:
        """As `RingReplay.sample`, of the type that `PrioritisedReplay.given` tells."""
        places = self._places(count)
        if places is None:
            return None
        batch, rows = np.empty(count, self._given), self._rows[places]
        for name in rows.dtype.names or ():
            batch[name] = rows[name]
        batch["key"] = self._keys[places]
        # The least probable row has the largest weight; N cancels out.
        probabilities = self._sampler.probabilities(places)
        batch["weight"] = (probabilities / probabilities.min()) ** -self.beta
        return batch

    @property
    def beta(self) -> float:
        """Share of the bias that weights take back now."""
        first, sampled = self._settings.beta, self.status()["sampled"]
        return first + (1.0 - first) * min(1.0, sampled / self._settings.beta_samples)

    def update(self, keys: np.ndarray, priorities: np.ndarray) -> None:
        """Give rows new priorities; what has been overwritten since is left out.

        Args:
            keys: [n] int64, of a batch; the last of several equal ones counts.
            priorities: [n] float32, absolute TD errors.

        Raises:
            ValueError: if one is negative or not finite; nothing is changed then.
        """
        if not (np.isfinite(priorities) & (priorities >= 0)).all():
            raise ValueError("replay: a priority is negative or not finite")
        places = keys % len(self._keys)
        here = self._keys[places] == keys
        if not here.any():
            return
        fresh = priorities[here].astype(np.float64) + self._settings.epsilon
        self._greatest = max(self._greatest, float(fresh.max()))
        self._sampler.set(places[here], fresh)

    def state(self) -> dict[str, Any]:
        """As `RingReplay.state`, with keys and the greatest priority; priorities are the sampler's."""
        return {
            **super().state(),
            "keys": self._keys[: self._held],
            "next_key": self._next_key,
            "greatest": self._greatest,
        }

    def restore(self, state: Mapping[str, Any], inserted: int | None = None, sampled: int | None = None) -> None:
        """As `RingReplay.restore`. Keys of rows that were lost are given to no other row."""
        super().restore(state, inserted, sampled)
        capacity, held = len(self._keys), self._held
        self._greatest = float(state["greatest"])
        self._keys[:] = -1
        self._keys[:held] = state["keys"]
        self._next_key = int(state["next_key"])
        if inserted is not None:
            lost = max(0, inserted - self._next_key)
            self._next_key += -(-lost // capacity) * capacity  # whole rounds, so that keys still tell places
        if self._next_key % capacity != self._next:  # of a ring of another capacity that had not begun anew
            self._next_key += capacity + (self._next - self._next_key) % capacity
            self._keys[:held] = np.arange(held) + self._next_key - self._next


class Proportional:
    """Draws rows with a chance proportional to a power of their priorities, by a tree of sums.

    Args:
        capacity: rows at most.
        alpha: the power.
        stream: [4] uint64, of the draws.
    """

    def __init__(self, capacity: int, alpha: float, stream: np.ndarray) -> None:
        self._generator = generator(stream)
        self._alpha = alpha
        self._first = 1 << (capacity - 1).bit_length()  # the leaf of place 0; node n is the sum of 2n and 2n + 1
        self._tree = np.zeros(2 * self._first)

    def set(self, places: np.ndarray, priorities: np.ndarray) -> None:
        """Give rows at `places` [n] priorities [n] > 0; the last of several for a place counts."""
        nodes = self._first + places
        self._tree[nodes] = priorities**self._alpha
        self._sum_up(nodes)

    def _sum_up(self, nodes: np.ndarray) -> None:
        """Sums above changed leaves, from their parts, so that no rounding error is carried on."""
        while len(nodes) and nodes[0] > 1:
            nodes = np.unique(nodes >> 1)
            self._tree[nodes] = self._tree[2 * nodes] + self._tree[2 * nodes + 1]

    def draw(self, held: int, count: int) -> np.ndarray:
        """Places of the rows of a batch: [count] int64, one from each of `count` equal shares of the sum."""
        wanted = (np.arange(count) + self._generator.random(count)) * (self._tree[1] / count)
        nodes = np.ones(count, np.int64)
        while nodes[0] < self._first:
            nodes *= 2
            left = self._tree[nodes]
            # Rounding may ask for more than all there is: what is empty is never entered.
            right = (wanted >= left) & (self._tree[nodes + 1] > 0)
            wanted -= left * right
            nodes += right
        return nodes - self._first

    def probabilities(self, places: np.ndarray) -> np.ndarray:
        """Chance of each place [n] in one draw: [n] float64."""
        return self._tree[self._first + places] / self._tree[1]

    def state(self) -> dict[str, Any]:
        """The generator's state and what the rows weigh, as plain data and a copy."""
        held = np.count_nonzero(self._tree[self._first :])  # rows fill the places from 0 on
        return {"generator": generator_state(self._generator), "powers": self._tree[self._first :][:held].copy()}

    def restore(self, state: Any) -> None:
        """Go on from `state()`: the next batch is the one that would have been."""
        restore_generator(self._generator, state["generator"])
        powers = np.asarray(state["powers"])
        self._tree[:] = 0.0
        self._tree[self._first : self._first + len(powers)] = powers
        self._sum_up(np.arange(self._first, 2 * self._first))
