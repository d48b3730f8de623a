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
        times: that they are reckoned with in a step.
    """

    def __init__(self, body: Any, size: int, times: int) -> None:
        self._weights = np.random.default_rng(body.number).random((size, size), np.float32)
        self._out, self._times = np.empty_like(self._weights), times

    def act(self, observation: np.ndarray, mask: np.ndarray) -> int:
        """See `scoundrel_ray.missions.policy.Policy`."""
        for _ in range(self._times):
            np.tanh(self._weights, out=self._out)
        allowed = mask.nonzero()[0]
        return int(allowed[int(1000 * abs(self._out[0, 0] + observation[0])) % len(allowed)])
