"""Generators that a whole process shares: those of `random`, of `numpy.random` and, where it is loaded, of torch.

What a policy draws from them would depend on who drew before. So each job begins with them in a known state; where they
have been touched by its end, it is played again one episode after another, and each policy with a state of its own,
which is put in place around every call of it.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np


def seed(number: int) -> None:
    """Bring all of them to a state that the number alone makes."""
    number %= 2**32
    random.seed(number)
    np.random.seed(number)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number)


def state() -> tuple[Any, ...]:
    """What `restore` brings back."""
    torch = sys.modules.get("torch")
    return random.getstate(), np.random.get_state(), torch.get_rng_state() if torch else None


def restore(kept: tuple[Any, ...]) -> None:
    """Bring all of them to a state that `state` gave."""
    random.setstate(kept[0])
    np.random.set_state(kept[1])
    if kept[2] is not None:
        sys.modules["torch"].set_rng_state(kept[2])


def touched(since: tuple[Any, ...]) -> bool:
    """Whether anybody drew from any of them, or seeded one."""
    now = state()
    numpys = all(np.array_equal(a, b) for a, b in zip(since[1], now[1], strict=True))
    if since[0] != now[0] or not numpys:
        return True
    return since[2] is not None and not bool((since[2] == now[2]).all())


class Own:
    """Somebody's own state of them.

    Args:
        number: that it begins with.
    """

    def __init__(self, number: int) -> None:
        with _kept():
            seed(number)
            self._state = state()

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """A block that draws from it; the others' state is back afterwards."""
        with _kept():
            restore(self._state)
            try:
                yield
            finally:
                self._state = state()


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    before = state()
    try:
        yield
    finally:
        restore(before)
