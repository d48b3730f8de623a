"""95 % intervals of what evaluations report."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def apart_from(self, other: Estimate) -> bool:
        """Whether the two intervals do not touch."""
        return self.low > other.high or other.low > self.high


def share(successes: int, trials: int) -> Estimate:
    """Success rate with the Wilson score interval. **Source:** Wilson 1927."""
    if trials == 0:
        return Estimate(math.nan, 0.0, 1.0)
    rate = successes / trials
    square = Z_95**2
    centre = (rate + square / (2 * trials)) / (1 + square / trials)
    half = Z_95 / (1 + square / trials) * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials**2))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Estimate(rate, low, high)


def mean(samples: np.ndarray) -> Estimate:
    """Mean with the normal interval of its standard error; for samples of some hundreds or more."""
    count = len(samples)
    if count == 0:
        return Estimate(math.nan, -math.inf, math.inf)
    centre = float(np.mean(samples, dtype=np.float64))
    half = Z_95 * float(np.std(samples, ddof=1, dtype=np.float64)) / math.sqrt(count) if count > 1 else math.inf
    return Estimate(centre, centre - half, centre + half)
