"""Random streams: SFC64, four 64-bit words of state, derived from what is drawn for.

`stream(seed, *path)` derives an independent stream for every (seed, path), so results depend on what was drawn for,
never on which worker, thread or node drew it.
"""

from __future__ import annotations

import numpy as np


def stream(seed: int, *path: int) -> np.ndarray:
    """Generator state: [4] uint64, a function of the non-negative seed and path alone; each below 2^32.

    The path is numpy's spawn key: were it entropy, zeros at its end would change nothing.
    """
    state = np.random.SFC64(np.random.SeedSequence(seed, spawn_key=path)).state
    return np.asarray(state["state"]["state"], dtype=np.uint64)


def streams(count: int, seed: int, *path: int) -> np.ndarray:
    """Generator states: [count, 4] uint64; row i is `stream(seed, *path, i)`."""
    return np.stack([stream(seed, *path, i) for i in range(count)])
