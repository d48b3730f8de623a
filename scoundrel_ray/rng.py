"""Random numbers in kernels: SFC64, four 64-bit words of state passed as an argument (see `scoundrel_ray.streams`).

**Source:** SFC64 is Chris Doty-Humphrey's (PractRand); seeding and output equal `numpy.random.SFC64` bit for bit, which
the tests check. Bounded integers: Lemire 2019, "Fast random integer generation in an interval", on 32 bits.
"""

from __future__ import annotations

import math

import numpy as np

from scoundrel_ray.compiled import inner
from scoundrel_ray.streams import stream, streams

__all__ = ["below", "gamma", "mix", "next_word", "shuffle", "stream", "streams", "uniform"]

_SHIFT_11 = np.uint64(11)
_SHIFT_3 = np.uint64(3)
_ROTATE = np.uint64(24)
_ROTATE_BACK = np.uint64(40)
_ONE = np.uint64(1)
_SHIFT_32 = np.uint64(32)
_LOW_32 = np.uint64(0xFFFFFFFF)
_TO_UNIT = 1.0 / 9007199254740992.0  # 2^-53


@inner
def next_word(rng):
    """Next 64 random bits, uint64; advances `rng`."""
    word = rng[0] + rng[1] + rng[3]
    rng[3] += _ONE
    rng[0] = rng[1] ^ (rng[1] >> _SHIFT_11)
    rng[1] = rng[2] + (rng[2] << _SHIFT_3)
    rng[2] = ((rng[2] << _ROTATE) | (rng[2] >> _ROTATE_BACK)) + word
    return word


@inner
def below(rng, bound):
    """Uniform integer in [0, bound), exactly; 1 <= bound <= 2^32."""
    wide = np.uint64(bound)
    product = (next_word(rng) >> _SHIFT_32) * wide
    if (product & _LOW_32) < wide:
        threshold = (_LOW_32 + _ONE - wide) % wide
        while (product & _LOW_32) < threshold:
            product = (next_word(rng) >> _SHIFT_32) * wide
    return np.int64(product >> _SHIFT_32)


@inner
def uniform(rng):
    """Uniform float64 in [0, 1) with 53 random bits."""
    return np.float64(next_word(rng) >> _SHIFT_11) * _TO_UNIT


@inner
def gamma(rng, shape):
    """A gamma variate of scale 1, float64; shape > 0.

    **Source:** Marsaglia and Tsang 2000, "A simple method for generating gamma variables", with its boost for
    shape < 1; its normals by Marsaglia's polar method.
    """
    boosted = shape if shape >= 1.0 else shape + 1.0
    d = boosted - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        while True:
            a = 2.0 * uniform(rng) - 1.0
            square = a * a
            b = 2.0 * uniform(rng) - 1.0
            square += b * b
            if 0.0 < square < 1.0:
                break
        normal = a * math.sqrt(-2.0 * math.log(square) / square)
        cube = (1.0 + c * normal) ** 3
        if cube <= 0.0:
            continue
        unit = 1.0 - uniform(rng)
        if math.log(unit) < 0.5 * normal * normal + d - d * cube + d * math.log(cube):
            break
    draw = d * cube
    if shape < 1.0:
        draw *= (1.0 - uniform(rng)) ** (1.0 / shape)
    return draw


@inner
def shuffle(rng, cards, start, stop):
    """Permute cards[start:stop] in place, every order equally likely (Fisher-Yates)."""
    for last in range(stop - 1, start, -1):
        other = start + below(rng, last - start + 1)
        kept = cards[last]
        cards[last] = cards[other]
        cards[other] = kept


@inner
def mix(key, word):
    """A 64-bit hash of (key, word), for information keys: one round of splitmix64's finaliser.

    **Source:** Steele, Lea, Flood 2014, with Stafford's variant 13 constants.
    """
    z = (key ^ np.uint64(word)) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
