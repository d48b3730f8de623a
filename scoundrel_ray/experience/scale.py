"""The units in which values are learned, so that rewards may be of any size.

**Source:** Yu et al. 2022, "The surprising effectiveness of PPO in cooperative multi-agent games", appendix D: running
statistics of the targets. Unlike PopArt (van Hasselt et al. 2016), which they follow, the network's last layer is not
rescaled when the units change: they change slowly, and the network learns the new ones in the same step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

MEMORY = 0.9
"""Share of the statistics that an update leaves of the earlier ones."""


class Scale:
    """Running mean and deviation of the targets of the value.

    The averages over updates are exponential and without the bias of their start at 0: after one update they are those
    of its batch. Before it nothing is known of the units, and whatever a network answers stands for 0.
    """

    def __init__(self) -> None:
        self._mean = self._square = self._weight = 0.0

    @property
    def mean(self) -> float:
        """Mean of the targets."""
        return self._mean / self._weight if self._weight else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of the targets, at least a hundredth of their root mean square and 1e-8; 0 at first."""
        if not self._weight:
            return 0.0
        square = self._square / self._weight
        return math.sqrt(max(square - self.mean**2, 1e-4 * square, 1e-16))

    def update(self, targets: np.ndarray) -> None:
        """Take in the targets of a batch."""
        self._mean = MEMORY * self._mean + (1.0 - MEMORY) * float(targets.mean())
        self._square = MEMORY * self._square + (1.0 - MEMORY) * float(np.square(targets).mean())
        self._weight = MEMORY * self._weight + (1.0 - MEMORY)

    def normal(self, targets: np.ndarray) -> np.ndarray:
        """From the rewards' units; there must have been an update."""
        return (targets - self.mean) / self.deviation

    def real(self, values: np.ndarray) -> np.ndarray:
        """To the rewards' units."""
        return values * self.deviation + self.mean

    def state(self) -> list[float]:
        """As plain data."""
        return [self._mean, self._square, self._weight]

    def restore(self, state: Any) -> None:
        """Go on from `state()`."""
        self._mean, self._square, self._weight = map(float, state)
