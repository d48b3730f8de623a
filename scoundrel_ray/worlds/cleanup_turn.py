"""What happens in a turn of Cleanup, in this order: moves, beams, one more waste, apples that grow."""

from __future__ import annotations

import math

import numpy as np

from scoundrel_ray.compiled import inlined
from scoundrel_ray.rng import below, shuffle, uniform
from scoundrel_ray.worlds.cleanup_state import (
    AGENT,
    AGENTS,
    APPLE,
    BEAM,
    CLEAN,
    COST,
    DOOMED,
    FINE,
    FINED,
    GRASS,
    HEIGHT,
    MILLION,
    PLACES,
    REACH,
    SATURATION,
    SHARED,
    STAY,
    WALL,
    WASTE,
    WASTE_RATE,
    WASTES,
    WATER,
    apple_chance,
    cell_of,
    facing_entry,
    ground_of,
    orchard_row,
    river_of,
    under_entry,
    wide_of,
)
from scoundrel_ray.worlds.grid import step_of


@inlined
def give(state, rewards, agent, amount):
    """Reward an agent, or all with an equal share each."""
    if state[SHARED]:
        for each in range(state[AGENTS]):
            rewards[each] += amount / state[AGENTS]
    else:
        rewards[agent] += amount


@inlined
def move(state, cells, actions, rng, rewards):
    """Move all that move, in an order drawn anew; who enters a cell with an apple eats it."""
    agents, wide, ground = state[AGENTS], wide_of(state), ground_of(state)
    order = PLACES + 2 * agents
    shuffle(rng, state, order, order + agents)
    for rank in range(agents):
        agent = state[order + rank]
        action = actions[agent]
        if action >= STAY:
            continue
        state[facing_entry(state, agent)] = action
        place = state[PLACES + agent]
        target = place + step_of(action, wide)
        held = cells[np.uint64(ground + target)]
        if held in (AGENT, WALL):
            continue
        if held == APPLE:
            give(state, rewards, agent, 1.0)
            held = GRASS
        under = under_entry(state, agent)
        cells[np.uint64(ground + place)] = state[under]
        cells[np.uint64(ground + target)] = AGENT
        state[under], state[PLACES + agent] = held, target


@inlined
def struck(state, cells, agent, ray, fines):
    """The place where a ray (-1, 0 or 1) of an agent's beam meets an agent to fine, or waste to take; -1 if none."""
    wide, ground, facing = wide_of(state), ground_of(state), state[facing_entry(state, agent)]
    ahead = step_of(facing, wide)
    place = state[PLACES + agent] + ray * step_of((facing + 2) % 4, wide)
    for _ in range(state[BEAM]):
        place += ahead
        held = cells[np.uint64(ground + place)]
        if held == WALL:
            return -1
        if held == AGENT:
            return place if fines else -1
        if not fines and held in (WASTE, DOOMED):
            return place
    return -1


@inlined
def fine(state, cells, actions, rewards):
    """All fines of a turn; who is met by several beams pays for each."""
    for agent in range(state[AGENTS]):
        if actions[agent] != FINE:
            continue
        give(state, rewards, agent, -1.0 * state[COST])
        for ray in range(-1, 2):
            place = struck(state, cells, agent, ray, True)
            for other in range(state[AGENTS]):
                if state[PLACES + other] == place:
                    give(state, rewards, other, -1.0 * state[FINED])


@inlined
def clean(state, cells, actions):
    """Take the waste that the beams of a turn meet; what one takes still ends the rays of the others."""
    wide, ground, doomed = wide_of(state), ground_of(state), 0
    for agent in range(state[AGENTS]):
        if actions[agent] != CLEAN:
            continue
        for ray in range(-1, 2):
            place = struck(state, cells, agent, ray, False)
            if place >= 0 and cells[np.uint64(ground + place)] == WASTE:
                cells[np.uint64(ground + place)] = DOOMED
                doomed += 1
    if doomed == 0:
        return
    state[WASTES] -= doomed
    first = ground + state[REACH] * wide
    for cell in range(np.uint64(first), np.uint64(first + (state[HEIGHT] - 2) // 3 * wide)):
        if cells[cell] == DOOMED:
            cells[cell] = WATER


@inlined
def pollute(state, cells, rng):
    """Let one waste come, by chance, on a cell of the river that has none."""
    if state[WASTES] >= state[SATURATION] or uniform(rng) * MILLION >= state[WASTE_RATE]:
        return
    river = river_of(state)
    came = False
    while not came:
        cell = cell_of(state, 0, below(rng, river))
        if cells[np.uint64(cell)] == WATER:
            cells[np.uint64(cell)] = WASTE
            came = True
        elif cells[np.uint64(cell)] == AGENT:
            for agent in range(state[AGENTS]):
                under = under_entry(state, agent)
                if state[PLACES + agent] == cell - ground_of(state) and state[under] == WATER:
                    state[under] = WASTE
                    came = True
    state[WASTES] += 1


@inlined
def grow(state, cells, rng):
    """Let apples grow: the cells hit are reached by geometric skips, and one that is not empty stays as it is."""
    chance = apple_chance(state)
    if chance <= 0.0:
        return
    orchard, row, scale, at = river_of(state), orchard_row(state), 1.0 / math.log1p(-chance), -1
    while True:
        skipped = math.log(1.0 - uniform(rng)) * scale
        if skipped >= orchard:
            return
        at += 1 + int(skipped)
        if at >= orchard:
            return
        cell = np.uint64(cell_of(state, row, at))
        if cells[cell] == GRASS:
            cells[cell] = APPLE
