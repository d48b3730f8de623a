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

    def signed(self) -> str:
        """A difference as text."""
        return f"{self.value:+.2f}  [{self.low:+.2f}, {self.high:+.2f}]"


def share(successes: int, trials: int) -> Estimate:
    """Success rate with the Wilson score interval. **Source:** Wilson 1927."""
    if trials == 0:
        return Estimate(math.nan, 0.0, 1.0)
    return _wilson(successes / trials, trials)


def share_of_deals(successes: np.ndarray, trials: np.ndarray) -> Estimate:
    """Success rate over deals, each with successes [D] out of trials [D] that depend on one another.

    It is the Wilson interval of as many independent trials as would spread as the deals do: the effective sample size,
    at least one a deal and at most what was played. With one trial a deal it is `share`.

    **Source:** Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data".
    """
    deals, played = len(trials), int(trials.sum())
    if played == 0:
        return Estimate(math.nan, 0.0, 1.0)
    rate = int(successes.sum()) / played
    spread = float(np.square(successes - rate * trials).sum()) * deals / max(deals - 1, 1) / played**2
    effective = rate * (1 - rate) / spread if spread > 0 else (deals if rate in (0, 1) else played)
    return _wilson(rate, min(max(effective, deals), played))


def _wilson(rate: float, trials: float) -> Estimate:
    square = Z_95**2
    centre = (rate + square / (2 * trials)) / (1 + square / trials)
    half = Z_95 / (1 + square / trials) * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials**2))
    return Estimate(rate, 0.0 if rate == 0 else centre - half, 1.0 if rate == 1 else centre + half)


def mean(samples: np.ndarray) -> Estimate:
    """Mean with the normal interval of its standard error; for samples of some hundreds or more."""
    count = len(samples)
    if count == 0:
        return Estimate(math.nan, -math.inf, math.inf)
    centre = float(np.mean(samples, dtype=np.float64))
    half = Z_95 * float(np.std(samples, ddof=1, dtype=np.float64)) / math.sqrt(count) if count > 1 else math.inf
    return Estimate(centre, centre - half, centre + half)
