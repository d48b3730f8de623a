"""CartPole in one vector environment, in which each copy's episode has a seed of its own.

Gymnasium's own draws all starts from one generator and begins new episodes by itself; this one begins each copy where
`CartPole-v1` begins with that copy's seed, and leaves it to the caller when.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode

_BOUND = 0.05  # of each number of a start


@functools.lru_cache(maxsize=65536)
def _start(seed: int) -> tuple[float, ...]:
    """Where CartPole-v1 begins with a seed."""
    return tuple(seeding.np_random(seed)[0].uniform(-_BOUND, _BOUND, size=(4,)).tolist())


class SeededCartPole(CartPoleVectorEnv):
    """CartPole-v1 in many copies, with autoreset mode DISABLED.

    **Source:** the dynamics are Gymnasium's `CartPoleVectorEnv`; scores are those of `CartPole-v1`.
    """

    metadata: ClassVar[dict[str, Any]] = {**CartPoleVectorEnv.metadata, "autoreset_mode": AutoresetMode.DISABLED}

    def reset(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin episodes.

        Args:
            seed: of each copy, or of the first: the next has one more. None draws them.
            options: `reset_mask`: [copies] bool, where; everywhere without.
        """
        if seed is None:
            seed = self.np_random.integers(2**31, size=self.num_envs).tolist()
        seeds: Any = [seed + copy for copy in range(self.num_envs)] if isinstance(seed, int) else seed
        mask = (options or {}).get("reset_mask")
        rows = np.arange(self.num_envs) if mask is None else np.flatnonzero(mask)
        state: Any = np.zeros((4, self.num_envs)) if self.state is None else self.state
        for row in rows.tolist():
            state[:, row] = _start(int(seeds[row]))
        self.state = state
        self.steps[rows] = 0
        self.prev_done[:] = False
        return state.T.astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every copy."""
        self.prev_done[:] = False  # of which it would begin new episodes
        return super().step(action)
