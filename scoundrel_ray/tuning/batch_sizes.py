"""Which static sizes batches should be padded to, from what a batch of each size was measured to cost.

Costs come in steps: a batch just beyond a size that the device likes may take a third longer. Whoever pads to measured
sizes alone never meets such a batch, and of those sizes only the efficient ones are worth keeping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_NEAR = 0.03
_MOST_SIZES = 12


def size_grid(most: int) -> list[int]:
    """Sizes to measure, ascending: powers of two up to `most`; from 64 on quarters between them, 32 apart at least."""
    sizes, power = [], 1
    while power <= most:
        step = max(32, power // 4) if power >= 64 else power
        sizes += range(power, min(2 * power, most + 1), step)
        power *= 2
    return sizes


def best_size(seconds: Mapping[int, float], near: float = _NEAR) -> int:
    """The smallest size whose cost a leaf is within a share `near` of the least."""
    least = min(taken / size for size, taken in seconds.items())
    return min(size for size, taken in seconds.items() if taken / size <= (1.0 + near) * least)


def efficient_sizes(
    seconds: Mapping[int, float], max_batch: int, near: float = _NEAR, most: int = _MOST_SIZES
) -> tuple[int, ...]:
    """Sizes to pad to, ascending, up to `max_batch`.

    A size is dropped if a larger one costs at most (1 + near) times as much. So a batch that is padded to the next size
    costs at most (1 + near) times as much as in the best measured size that holds it.

    Args:
        seconds: measured cost of a batch, by size.
        max_batch: one of these sizes; it is always kept.
        near: see above; it is raised until at most `most` sizes are left.
        most: largest number of sizes, since each costs a compilation on a device.
    """
    kept = [max_batch]
    for size in sorted((size for size in seconds if size < max_batch), reverse=True):
        if seconds[kept[-1]] > (1.0 + near) * seconds[size]:
            kept.append(size)
    if len(kept) > most:
        return efficient_sizes(seconds, max_batch, 1.5 * near, most)
    return tuple(reversed(kept))


def padded_seconds(seconds: Mapping[int, float], sizes: Sequence[int], leaves: float) -> float:
    """Cost of a batch that is padded to the next of `sizes`; a larger batch is cut into batches of the largest size."""
    full, rest = divmod(leaves, sizes[-1])
    return full * seconds[sizes[-1]] + (seconds[next(s for s in sizes if s >= rest)] if rest else 0.0)
