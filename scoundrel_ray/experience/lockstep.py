"""Kernels that move many games at once."""

from __future__ import annotations

import numpy as np
from numba import types

from scoundrel_ray.compiled import kernel
from scoundrel_ray.game import MOST_LEGAL, RULES


@kernel(types.int64(RULES, types.int32[:, ::1], types.int64[::1], types.int16[::1], types.int64, types.int64[::1]))
def play_moves(rules, states, games, actions, most_steps, seats):
    """Play actions[i] in states[games[i]], then forced moves up to the next decision; seats[i] is whose, or -1.

    With an action of -1 only forced moves are played. Returns the row that broke a rule of the contract, or -1.
    """
    legal = np.empty(MOST_LEGAL, np.int16)
    for i in range(games.shape[0]):
        state = states[games[i]]
        if actions[i] >= 0 and rules.step(state, actions[i]) != 0:
            return i
        seat = rules.seat(state)
        steps = 0
        while seat >= 0:
            count = rules.legal(state, legal)
            if count > 1:
                break
            if count < 1 or steps > most_steps or rules.step(state, legal[0]) != 0:
                return i
            steps += 1
            seat = rules.seat(state)
        seats[i] = seat
    return -1


@kernel(types.int64(RULES, types.int32[:, ::1], types.int64[::1], types.int64[::1], types.int8[:, ::1]))
def observe_games(rules, states, games, seats, observations):
    """Fill observations [G, O] with what the mover of each of `games` knows."""
    for i in range(games.shape[0]):
        rules.observe(states[games[i]], seats[i], observations[i])
    return 0
