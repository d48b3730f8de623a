"""Treasure hunt: agents walk a walled square for gems and food, and around bones. They move in order within a turn.

**Source:** the gridworld of this name in public multi-agent code; values and odds are its defaults. Things appear on
empty cells at the start of every turn, each with the same chance, of a kind drawn uniformly. Who walks onto one has it;
walls and agents cannot be walked onto, and a wall costs 1. An episode is cut off after so many turns.

An agent sees the cells around it, now and at its last turns.

State: the header, TURN, MOVER, the place of every agent (a cell), then bytes: all cells by row, with walls around them
as far as an agent can see.
"""

from __future__ import annotations

import math

import numpy as np

from scoundrel_ray import world
from scoundrel_ray.compiled import inner, loop, rule
from scoundrel_ray.rng import below, uniform
from scoundrel_ray.settings.checks import at_least, within
from scoundrel_ray.spec import Field
from scoundrel_ray.world import HERE, ILLEGAL, LEFT, OK, OVER, TRUNCATED, World, WorldRules

# What a cell holds; UNSEEN stands in views alone, for turns before the episode.
UNSEEN, EMPTY, WALL, GEM, FOOD, BONE, AGENT = range(7)
KINDS = ["unseen", "empty", "wall", "gem", "food", "bone", "agent"]
VALUES = (0.0, 0.0, -1.0, 10.0, 5.0, -10.0, 0.0)
_VALUES = np.array(VALUES, dtype=np.float32)
ACTIONS = ("up", "down", "left", "right")

AGENTS, SIZE, REACH, FRAMES, TURNS, PER_MILLION, TURN, MOVER, PLACES = range(9)
_CHARACTERS = "?.#*+x@"
_COLOURS = np.array(
    [(0, 0, 0), (235, 230, 220), (90, 90, 90), (40, 170, 200), (90, 170, 60), (200, 200, 200), (200, 60, 60)],
    dtype=np.uint8,
)
_PIXELS = 8  # of a cell's side


def make(
    agents: int = 10, size: int = 21, reach: int = 2, frames: int = 5, turns: int = 100, spawn: float = 0.005
) -> World:
    """The world.

    Args:
        agents: N.
        size: cells of a side, walls included.
        reach: cells that an agent sees in each direction.
        frames: views that an agent observes, the newest last.
        turns: of an episode.
        spawn: chance that a thing appears on an empty cell in a turn, in steps of a millionth.

    Raises:
        InvalidSetting: naming the option.
    """
    at_least("agents", agents, 1)
    within("size", size, 4, 127)
    within("reach", reach, 1, 10)
    within("frames", frames, 1, 16)
    at_least("turns", turns, 1)
    within("spawn", spawn, 1e-6, 0.5)
    at_least("size", (size - 2) ** 2, 2 * agents)
    side, whole = 2 * reach + 1, size + 2 * (reach - 1)
    return World(
        name="treasure_hunt",
        version=1,
        agents=tuple(f"agent_{number}" for number in range(agents)),
        action_names=ACTIONS,
        state_size=PLACES + agents + (whole * whole + 3) // 4,
        observation=(Field("views", frames * side * side, UNSEEN, AGENT),),
        most_turns=turns,
        masked=False,
        rules=WorldRules(reset, mover, step, ended, observe, guide),
        text=text,
        picture=picture,
        header=(agents, size, reach, frames, turns, round(1e6 * spawn)),
        options={"agents": agents, "size": size, "reach": reach, "frames": frames, "turns": turns, "spawn": spawn},
    )


@inner
def _ground(state):
    """The byte at which the cells begin."""
    return 4 * (PLACES + state[AGENTS])


@inner
def _whole(state):
    """Cells of a side, with the walls around."""
    return state[SIZE] + 2 * (state[REACH] - 1)


@inner
def _corner(state, agent):
    """The byte of the first cell that an agent sees."""
    return _ground(state) + state[PLACES + agent] - state[REACH] * (_whole(state) + 1)


@loop
def _see(state, agent, side, out):
    """Forget the oldest view and add what is around an agent; unsigned places spare numba's look for those below 0."""
    cells, whole, corner = state.view(np.int8), np.uint64(_whole(state)), np.uint64(_corner(state, agent))
    view, last = np.uint64(side * side), np.uint64(len(out) - side * side)
    for entry in range(last):
        out[entry] = out[entry + view]
    for down in range(np.uint64(side)):
        to, at = last + down * np.uint64(side), corner + down * whole
        for right in range(np.uint64(side)):
            out[to + right] = cells[at + right]


@loop
def _spawn(state, rng):
    """Let things appear: the cells hit are reached by geometric skips, and one that is not empty stays as it is."""
    cells, size, whole = state.view(np.int8), state[SIZE], _whole(state)
    first, inside = _ground(state) + state[REACH] * (whole + 1), (size - 2) * (size - 2)
    scale = 1.0 / math.log1p(-1e-6 * state[PER_MILLION])
    at = -1
    while True:
        skipped = math.log(1.0 - uniform(rng)) * scale
        if skipped >= inside:
            return
        at += 1 + int(skipped)
        if at >= inside:
            return
        cell = first + at // (size - 2) * whole + at % (size - 2)
        if cells[cell] == EMPTY:
            cells[cell] = GEM + below(rng, 3)


@loop
def _walk(state, agent, action, rewards):
    """Move an agent where nothing is in its way; what it walks onto or into has a value."""
    cells, ground, place = state.view(np.int8), _ground(state), state[PLACES + agent]
    far = _whole(state) if action < 2 else 1
    target = place + (far if action % 2 else -far)
    held = cells[ground + target]
    rewards[agent] += _VALUES[held]
    if held not in (WALL, AGENT):
        cells[ground + place] = EMPTY
        cells[ground + target] = AGENT
        state[PLACES + agent] = target


@rule(world.RESET)
def reset(state, rng):
    cells = state.view(np.int8)
    size, whole, reach, ground = state[SIZE], _whole(state), state[REACH], _ground(state)
    for y in range(whole):
        for x in range(whole):
            inside = y >= reach and x >= reach and y < whole - reach and x < whole - reach
            cells[ground + y * whole + x] = EMPTY if inside else WALL
    for agent in range(state[AGENTS]):
        while True:
            place = (reach + below(rng, size - 2)) * whole + reach + below(rng, size - 2)
            if cells[ground + place] == EMPTY:
                break
        state[PLACES + agent] = place
        cells[ground + place] = AGENT
    state[TURN], state[MOVER] = 0, 0
    _spawn(state, rng)
    return OK


@rule(world.MOVER, makes_arrays=False)
def mover(state):
    return OVER if state[TURN] >= state[TURNS] else state[MOVER]


@rule(world.STEP, makes_arrays=False)
def step(state, actions, rng, rewards):
    agent = state[MOVER]
    action = actions[agent]
    if action < 0 or action >= 4 or state[TURN] >= state[TURNS]:
        return ILLEGAL
    _walk(state, agent, action, rewards)
    if agent + 1 < state[AGENTS]:
        state[MOVER] = agent + 1
    else:
        state[MOVER] = 0
        state[TURN] += 1
        if state[TURN] == state[TURNS]:
            return LEFT
        _spawn(state, rng)
    return OK


@rule(world.ENDED)
def ended(state, _agent):
    return TRUNCATED if state[TURN] >= state[TURNS] else HERE


@rule(world.OBSERVE, makes_arrays=False)
def observe(state, agent, out):
    if state[REACH] == 2:  # a constant, so that the loops are unrolled
        _see(state, agent, 5, out)
    else:
        _see(state, agent, 2 * state[REACH] + 1, out)
    return OK


@rule(world.GUIDE)
def guide(state, agent, rng):
    """Step towards the nearest gem or food in view, a gem first of two as near, around bones; else walk at random."""
    cells, reach, whole, corner = state.view(np.int8), state[REACH], _whole(state), _corner(state, agent)
    side = 2 * reach + 1
    best, best_y, best_x = 1000.0, 0, 0
    for down in range(side):
        for right in range(side):
            held = cells[corner + down * whole + right]
            if held in (GEM, FOOD):
                y, x = down - reach, right - reach
                far = abs(y) + abs(x) + (0.5 if held == FOOD else 0.0)
                if far < best:
                    best, best_y, best_x = far, y, x
    start, choice, least = below(rng, 4), 0, 1e9
    for turned in range(4):
        action = (start + turned) % 4
        y = -1 if action == 0 else 1 if action == 1 else 0
        x = -1 if action == 2 else 1 if action == 3 else 0
        held = cells[corner + (reach + y) * whole + reach + x]
        cost = 100.0 if held in (WALL, AGENT, BONE) else 0.0
        if best < 1000.0:
            cost += abs(best_y - y) + abs(best_x - x)
        if cost < least:
            least, choice = cost, action
    return choice


def _cells(state: np.ndarray) -> np.ndarray:
    """All cells, with the one wall that agents can walk into: [size, size] int8."""
    whole, beyond, first = int(_whole(state)), int(state[REACH]) - 1, int(_ground(state))
    cells = state.view(np.int8)[first : first + whole * whole].reshape(whole, whole)
    return cells[beyond : whole - beyond, beyond : whole - beyond]


def text(state: np.ndarray) -> str:
    """The square, a character a cell; agents by the last digit of their numbers."""
    whole, beyond = int(_whole(state)), int(state[REACH]) - 1
    rows = [[_CHARACTERS[held] for held in row] for row in _cells(state)]
    for agent in range(state[AGENTS]):
        y, x = divmod(int(state[PLACES + agent]), whole)
        rows[y - beyond][x - beyond] = str(agent % 10)
    return "\n".join([f"turn {state[TURN]} of {state[TURNS]}", *("".join(row) for row in rows)])


def picture(state: np.ndarray) -> np.ndarray:
    """The square, 8 pixels a cell: [8 * size, 8 * size, 3] uint8."""
    return _COLOURS[_cells(state)].repeat(_PIXELS, axis=0).repeat(_PIXELS, axis=1)
