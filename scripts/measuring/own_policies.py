"""Policies of a user's own, as benchmarks want them: heavy in plain Python, cheap, and heavy in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np


class Heavy:
    """Thinks in plain Python for so many rounds.

    Args:
        body: whom it acts for.
        rounds: of thinking a step.
    """

    def __init__(self, body: Any, rounds: int) -> None:
        self._rounds = rounds

    def act(self, observation: np.ndarray, mask: np.ndarray) -> int:
        """See `scoundrel_ray.missions.policy.Policy`."""
        total = int(observation[0])
        for number in range(self._rounds):
            total = (total * 31 + number) % 1_000_003
        allowed = mask.nonzero()[0]
        return int(allowed[total % len(allowed)])


class Cheap:
    """Takes the last allowed action."""

    def __init__(self, body: Any) -> None:
        pass

    def act(self, observation: np.ndarray, mask: np.ndarray) -> int:
        """See `scoundrel_ray.missions.policy.Policy`."""
        return int(mask.nonzero()[0][-1])


class Numeric:
    """Reckons with arrays, which releases Python's lock; nothing of it has threads of its own.

    Args:
        body: whom it acts for.
        size: of a side of the arrays.
    """

    def __init__(self, body: Any, size: int) -> None:
        self._weights = np.random.default_rng(body.number).random((size, size), np.float32)

    def act(self, observation: np.ndarray, mask: np.ndarray) -> int:
        """See `scoundrel_ray.missions.policy.Policy`."""
        value = np.tanh(self._weights) + observation[0]
        allowed = mask.nonzero()[0]
        return int(allowed[int(abs(value[0, 0])) % len(allowed)])
