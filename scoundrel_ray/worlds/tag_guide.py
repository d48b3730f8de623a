"""A rule-based player of tag: taggers chase, runners flee."""

from __future__ import annotations

import numpy as np

from scoundrel_ray import world
from scoundrel_ray.compiled import inner, rule
from scoundrel_ray.rng import below
from scoundrel_ray.worlds.grid import step_down, step_right
from scoundrel_ray.worlds.tag_state import EMPTY, REACH, RUNNER, STAY, TAGGER, TAGGERS, corner_of, whole_of

_FAR = 1000


@inner
def nearest(cells, corner, whole, reach, y, x, kind):
    """Steps from a cell in view, (y, x) from the agent, to the nearest of a kind in view; _FAR if there is none."""
    least = _FAR
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            if cells[corner + (reach + down) * whole + reach + right] == kind:
                least = min(least, abs(down - y) + abs(right - x))
    return least


@rule(world.GUIDE)
def guide(state, agent, rng):
    """Of the moves onto empty cells, and staying: for a tagger the one that ends nearest to a runner in view, for a
    runner the one that ends farthest from the nearest tagger in view; any of several, and any if none is in view.
    """
    cells, corner, whole, reach = state.view(np.int8), corner_of(state, agent), whole_of(state), state[REACH]
    chases = agent < state[TAGGERS]
    start, choice, best = below(rng, 5), STAY, -_FAR - 1
    for turned in range(5):
        action = (start + turned) % 5
        y, x = step_down(action), step_right(action)
        if action != STAY and cells[corner + (reach + y) * whole + reach + x] != EMPTY:
            continue
        far = nearest(cells, corner, whole, reach, y, x, RUNNER if chases else TAGGER)
        worth = -far if chases else far
        if worth > best:
            best, choice = worth, action
    return choice
