"""Samplers: which of a replay's rows make the next batch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from scoundrel_ray.streams import generator, generator_state, restore_generator


class Sampler(Protocol):
    """What draws the places of rows."""

    def draw(self, held: int, count: int) -> np.ndarray:
        """Places of the rows of a batch: [count] int64 in [0, held)."""
        ...

    def state(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit, as plain data and arrays that do not change later."""
        ...

    def restore(self, state: Any) -> None:
        """Go on from `state()`: the next batch is the one that would have been."""
        ...


class Uniform:
    """Draws every row that is held equally often, with replacement.

    Args:
        stream: [4] uint64, of the draws.
    """

    def __init__(self, stream: np.ndarray) -> None:
        self._generator = generator(stream)

    def draw(self, held: int, count: int) -> np.ndarray:
        """Places of the rows of a batch: [count] int64 in [0, held)."""
        return self._generator.integers(held, size=count)

    def state(self) -> dict[str, Any]:
        """State of the generator, as plain data."""
        return generator_state(self._generator)

    def restore(self, state: Any) -> None:
        """Go on from `state()`: the next batch is the one that would have been."""
        restore_generator(self._generator, state)
