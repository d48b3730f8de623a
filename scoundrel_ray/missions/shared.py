"""What a process and its child share of a step: arrays in memory that both map, so that nothing is pickled per step.

Legend: N agents, C copies, k rows that are asked, O observation size, A actions.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

import numpy as np

from scoundrel_ray.spec import Spec

_ALIGNED = 64


class Shared:
    """Arrays in one piece of memory.

    Args:
        file: descriptor of the memory; `size_of` tells how large it must be.
        specs: of the mission's agents.
        copies: C.

    Attributes:
        observations, masks: for each agent [C, O] of its spec's dtype, and [C, A] int8: the members of
            `scoundrel_ray.world.AnyCopies` that policies look at.
        count: [1] int64, k.
        agents, places: [N * C] int64, whose first k entries count.
        streams: [N * C, 4] uint64, likewise.
        actions: [N * C] int16, likewise.
    """

    def __init__(self, file: int, specs: Sequence[Spec], copies: int) -> None:
        self._memory = mmap.mmap(file, size_of(specs, copies))
        self._at = 0
        self.observations = [self._array((copies, spec.observation_size), spec.dtype) for spec in specs]
        self.masks = [self._array((copies, spec.actions), "int8") for spec in specs]
        rows = len(specs) * copies
        self.count = self._array((1,), "int64")
        self.agents, self.places = self._array((rows,), "int64"), self._array((rows,), "int64")
        self.streams, self.actions = self._array((rows, 4), "uint64"), self._array((rows,), "int16")

    def _array(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        array = np.ndarray(shape, dtype, self._memory, self._at)
        self._at += _padded(array.nbytes)
        return array


def size_of(specs: Sequence[Spec], copies: int) -> int:
    """Bytes that `Shared` takes."""
    rows = len(specs) * copies
    each = [copies * spec.observation_size * np.dtype(spec.dtype).itemsize for spec in specs]
    each += [copies * spec.actions for spec in specs]
    return sum(map(_padded, [*each, 8, 8 * rows, 8 * rows, 32 * rows, 2 * rows]))


def _padded(size: int) -> int:
    return -(-max(size, 1) // _ALIGNED) * _ALIGNED


def memory(size: int) -> int:
    """Descriptor of so many bytes of memory that have no name; it goes when nobody holds it any more."""
    file = os.memfd_create("scoundrel_ray missions")
    os.ftruncate(file, size)
    return file
