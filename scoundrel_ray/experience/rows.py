"""One decision as a row: what rollouts return, replay stores and learners read.

A structured array, so that a row is written whole and a block of rows is one message.
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray.game import Game


def row_dtype(game: Game) -> np.dtype:
    """Type of a row.

    Fields:
        observation: [O] int8, what the mover knew.
        actions: [L] int16, legal actions, padded with -1 behind.
        policy: [L] float32, target probability of each, 0 where padded; sums to 1.
        value: [P] float32 in [-1, 1], target; entry k is for the seat k places after the mover (see
            `scoundrel_ray.game.seat_after`).
        version: int32, weights that searched it.
    """
    return np.dtype(
        [
            ("observation", np.int8, (game.observation_size,)),
            ("actions", np.int16, (game.max_legal,)),
            ("policy", np.float32, (game.max_legal,)),
            ("value", np.float32, (game.seats,)),
            ("version", np.int32),
        ]
    )
