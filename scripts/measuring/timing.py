"""How long a piece of work takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def least_seconds(work: Callable[[], Any], repeats: int) -> float:
    """Least time of `repeats` calls, after one to warm up: the machine's noise only ever adds."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
