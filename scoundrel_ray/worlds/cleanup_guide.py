"""A rule-based player of Cleanup: some agents clean, the others harvest."""

from __future__ import annotations

import numpy as np

from scoundrel_ray import world
from scoundrel_ray.compiled import inner, rule
from scoundrel_ray.rng import below
from scoundrel_ray.worlds.cleanup_state import (
    AGENT,
    APPLE,
    CLEAN,
    GRASS,
    REACH,
    WALL,
    WASTE,
    WATER,
    corner_of,
    wide_of,
)
from scoundrel_ray.worlds.cleanup_turn import struck
from scoundrel_ray.worlds.grid import step_down, step_right

AGENTS_A_CLEANER = 5


@inner
def nearest(state, cells, agent, kind):
    """Where the nearest cell of a kind in view lies from an agent, the first of several: (y, x); (0, 0) if none."""
    reach, wide, corner = state[REACH], wide_of(state), corner_of(state, agent)
    best, best_y, best_x = 1000, 0, 0
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            if cells[corner + (reach + y) * wide + reach + x] == kind and abs(y) + abs(x) < best:
                best, best_y, best_x = abs(y) + abs(x), y, x
    return best_y, best_x


@inner
def towards(state, cells, agent, y, x, rng):
    """The move that comes nearest to what lies (y, x) away, around walls, agents and waste; any such if it is here."""
    reach, wide, corner = state[REACH], wide_of(state), corner_of(state, agent)
    start, choice, least = below(rng, 4), 0, 1000
    for turned in range(4):
        action = (start + turned) % 4
        down, right = step_down(action), step_right(action)
        held = cells[corner + (reach + down) * wide + reach + right]
        cost = 100 if held in (WALL, AGENT) else 3 if held == WASTE else 0
        if y != 0 or x != 0:
            cost += abs(y - down) + abs(x - right)
        if cost < least:
            least, choice = cost, action
    return choice


@rule(world.GUIDE)
def guide(state, agent, rng):
    """The first of every AGENTS_A_CLEANER agents, and at least one, cleans while it sees waste; who does not, harvests.

    A cleaner goes towards the nearest waste and fires as soon as its beam takes some; where it sees no part of the
    river it goes up. A harvester goes towards the nearest apple; where it sees no part of the orchard it goes down. Who
    is there and sees nothing to do walks at random.
    """
    cells, reach = state.view(np.int8), state[REACH]
    if agent % AGENTS_A_CLEANER == 0:
        for ray in range(-1, 2):
            if struck(state, cells, agent, ray, False) >= 0:
                return CLEAN
        y, x = nearest(state, cells, agent, WASTE)
        if y == 0 and x == 0:
            y, x = nearest(state, cells, agent, WATER)
            y, x = (0, 0) if y != 0 or x != 0 else (-reach, 0)
        return towards(state, cells, agent, y, x, rng)
    y, x = nearest(state, cells, agent, APPLE)
    if y == 0 and x == 0:
        y, x = nearest(state, cells, agent, GRASS)
        y, x = (0, 0) if y != 0 or x != 0 else (reach, 0)
    return towards(state, cells, agent, y, x, rng)
