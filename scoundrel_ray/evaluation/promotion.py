"""Promotion: whether a challenger takes the place of the best so far.

The two meet on duplicate deals with rotated seats (`arena.paired_differences`), and the challenger is promoted if its
mean paired difference is above 0. One of equal strength then passes about as often as it fails, and every deal more
sharpens the test on both sides. To ask instead that one challenger beat the best of P - 1 champions in 55 % of games
would let an equal one pass all but never: it wins one game in P.

If the differences of deals have standard deviation s, a challenger who is ahead by d points passes with probability
Phi(d / s * sqrt(deals) - confidence), by `pass_probability`. At confidence 0:

    d / s     deals  25   100   400  1600
    0               0.50  0.50  0.50  0.50
    0.05            0.60  0.69  0.84  0.98
    0.1             0.69  0.84  0.98  1.00
    0.2             0.84  0.98  1.00  1.00
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scoundrel_ray.evaluation.intervals import Estimate, mean

_ROUNDING = 1e-12  # of a sum of differences that cancel


@dataclass(frozen=True)
class Promotion:
    """A decision.

    Attributes:
        promoted: whether the challenger is the best from now on.
        deals: that decided it.
        difference: mean of the challenger's score less the other's, paired deal by deal.
    """

    promoted: bool
    deals: int
    difference: Estimate

    def __bool__(self) -> bool:
        return self.promoted

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def promotes(
    differences: np.ndarray, confidence: float = 0.0, least_deals: int = 1, coin: np.random.Generator | None = None
) -> Promotion:
    """Whether a challenger is promoted over the best so far.

    Args:
        differences: [D], the challenger's score less the other's on each deal.
        confidence: standard errors that the mean difference must lie above 0; 0 asks for its sign alone, 1.64 passes an
            equal one in 5 % of the tests.
        least_deals: below which nobody is promoted.
        coin: decides if the two are exactly even, as a player and its copy are; without one the best so far stays.

    Raises:
        ValueError: for a confidence below 0, which would promote the weaker.
    """
    if not confidence >= 0:
        raise ValueError(f"confidence: got {confidence!r}, wanted a number from 0")
    found = mean(differences)
    count = len(differences)
    if count < max(least_deals, 1):
        return Promotion(False, count, found)
    even = abs(found.value) <= _ROUNDING * float(np.abs(differences).max())
    if even:
        passes = confidence == 0 and coin is not None and bool(coin.integers(2))
    elif confidence == 0:
        passes = found.value > 0
    else:
        error = float(np.std(differences, ddof=1)) / math.sqrt(count) if count > 1 else math.inf
        passes = found.value > confidence * error
    return Promotion(passes, count, found)


def pass_probability(difference: float, deviation: float, deals: int, confidence: float = 0.0) -> float:
    """Chance that a challenger is promoted, in the normal approximation.

    Args:
        difference: its true mean difference.
        deviation: standard deviation of the differences between deals, above 0.
        deals: of the test.
        confidence: see `promotes`.
    """
    z = difference / deviation * math.sqrt(deals) - confidence
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
