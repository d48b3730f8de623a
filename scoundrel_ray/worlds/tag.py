"""Tag: taggers chase runners around pillars. All agents act at once, and all are as fast.

**Source:** predators and prey as in "simple_tag" of the particle worlds of Lowe et al. 2017, "Multi-agent actor-critic
for mixed cooperative-competitive environments"; on a grid, so that speeds and touching are ours.

A turn: agents move one after another in an order that is drawn for the turn, so that of several agents who want one
cell each has the same chance; a cell with an agent, a wall or a pillar cannot be entered. Then every runner that stands
beside a tagger, not diagonally, is caught. It gets -1, and each tagger beside it gets 1: the rewards of a catch sum to
0 if one tagger makes it, and to 1 more for every further tagger. A caught runner goes to an empty cell that is drawn
among all, or leaves the episode, which is over for all when no runner is left. An episode is cut off after so many
turns.

Pillars may stand where row and column are both even, counted from the wall, so that all other cells are connected; they
are drawn for each episode. An agent sees the cells around it, also behind pillars, and knows its role. A runner that
has left sees at last where it was caught, after the moves.

State: the header, TURN, the count of runners LOST to the episode, for every agent its place and whether it is gone, the
last order of moves, then bytes: all cells (see `scoundrel_ray.worlds.grid`).
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray import world
from scoundrel_ray.compiled import inlined, rule
from scoundrel_ray.rng import below, shuffle, uniform
from scoundrel_ray.settings.checks import InvalidSetting, at_least, one_of, switch, within
from scoundrel_ray.spec import Field
from scoundrel_ray.world import ALL, HERE, ILLEGAL, LEFT, OK, OVER, TERMINATED, TRUNCATED, World, WorldRules
from scoundrel_ray.worlds.grid import MOVES, see, step_of
from scoundrel_ray.worlds.tag_guide import guide
from scoundrel_ray.worlds.tag_shown import picture, text
from scoundrel_ray.worlds.tag_state import (
    CAUGHT,
    EMPTY,
    LEAVING,
    LOST,
    MASKED,
    MILLION,
    PILLARS,
    PLACES,
    REACH,
    RUNNER,
    RUNNERS,
    SIZE,
    STAY,
    TAGGER,
    TAGGERS,
    TURN,
    TURNS,
    UNSEEN,
    WALL,
    agents_of,
    corner_of,
    gone_entry,
    ground_of,
    whole_of,
)

_LIMITS = {  # of options that are whole numbers
    "taggers": (1, 1000), "runners": (1, 1000), "size": (4, 127), "reach": (1, 10), "frames": (1, 16),
    "turns": (1, 10**9),
}  # fmt: skip


def make(
    taggers: int = 3,
    runners: int = 2,
    size: int = 15,
    reach: int = 4,
    frames: int = 1,
    turns: int = 100,
    pillars: float = 0.5,
    caught: str = "respawn",
    masked: bool = True,
) -> World:
    """The world.

    Args:
        taggers, runners: how many; N together, taggers first.
        size: cells of a side, walls included.
        reach: cells that an agent sees in each direction.
        frames: views that an agent observes, the newest last.
        turns: of an episode, at most.
        pillars: chance of a pillar at each of its places, in steps of a millionth.
        caught: "respawn" or "leave": what a caught runner does.
        masked: whether moves into walls and pillars are masked; else an agent that makes one stays.

    Raises:
        InvalidSetting: naming the option.
    """
    options = dict(locals())
    for name, (least, most) in _LIMITS.items():
        at_least(name, options[name], least)
        within(name, options[name], least, most)
    within("pillars", pillars, 0.0, 1.0)
    one_of("caught", caught, CAUGHT)
    switch("masked", masked)
    agents, whole, side = taggers + runners, size + 2 * (reach - 1), 2 * reach + 1
    if (size - 2) ** 2 - ((size - 2) // 2) ** 2 < 2 * agents:  # where all pillars stand
        raise InvalidSetting("size", f"got {size}, wanted a larger one, with room for {agents} agents to walk")
    header = (
        taggers, runners, size, reach, frames, turns, round(MILLION * pillars), CAUGHT.index(caught), int(masked),
    )  # fmt: skip
    return World(
        name="tag",
        version=1,
        agents=(*(f"tagger_{number}" for number in range(taggers)), *(f"runner_{number}" for number in range(runners))),
        action_names=MOVES,
        state_size=PLACES + 3 * agents + (whole * whole + 3) // 4,
        observation=(Field("views", frames * side * side, UNSEEN, RUNNER), Field("role", 1, 0, 1)),
        most_turns=turns,
        masked=masked,
        rules=WorldRules(reset, mover, step, ended, observe, guide, mask if masked else world.all_allowed),
        text=text,
        picture=picture,
        header=header,
        options=options,
    )


@inlined
def _put(state, cells, agent, rng):
    """Put an agent on an empty cell, drawn among all."""
    inner_side, whole, reach, ground = state[SIZE] - 2, whole_of(state), state[REACH], ground_of(state)
    while True:
        place = (reach + below(rng, inner_side)) * whole + reach + below(rng, inner_side)
        if cells[ground + place] == EMPTY:
            break
    cells[ground + place] = TAGGER if agent < state[TAGGERS] else RUNNER
    state[PLACES + agent], state[gone_entry(state, agent)] = place, 0


@rule(world.RESET)
def reset(state, rng):
    cells, size, whole, ground = state.view(np.int8), state[SIZE], whole_of(state), ground_of(state)
    cells[ground : ground + whole * whole] = WALL
    first = ground + (state[REACH] - 1) * (whole + 1)
    for y in range(1, size - 1):
        for x in range(1, size - 1):
            pillar = y % 2 == 0 and x % 2 == 0 and uniform(rng) * MILLION < state[PILLARS]
            if not pillar:
                cells[first + y * whole + x] = EMPTY
    state[TURN], state[LOST] = 0, 0
    for agent in range(agents_of(state)):
        _put(state, cells, agent, rng)
        state[PLACES + 2 * agents_of(state) + agent] = agent
    return OK


@inlined
def _over(state):
    return state[TURN] >= state[TURNS] or state[LOST] == state[RUNNERS]


@rule(world.MOVER)
def mover(state):
    return OVER if _over(state) else ALL


@inlined
def _move(state, cells, actions, rng):
    """Move all that are there, in an order drawn anew."""
    agents, whole, ground = agents_of(state), whole_of(state), ground_of(state)
    order = PLACES + 2 * agents
    shuffle(rng, state, order, order + agents)
    for rank in range(agents):
        agent = state[order + rank]
        if state[gone_entry(state, agent)]:
            continue
        place = state[PLACES + agent]
        target = place + step_of(actions[agent], whole)
        if cells[np.uint64(ground + target)] == EMPTY:
            cells[np.uint64(ground + target)] = cells[np.uint64(ground + place)]
            cells[np.uint64(ground + place)] = EMPTY
            state[PLACES + agent] = target


@inlined
def _catch(state, cells, rewards):
    """Take every runner beside a tagger off its cell; returns how many."""
    whole, ground, caught = whole_of(state), ground_of(state), 0
    for runner in range(state[TAGGERS], agents_of(state)):
        if state[gone_entry(state, runner)]:
            continue
        place, met = state[PLACES + runner], False
        for tagger in range(state[TAGGERS]):
            apart = abs(state[PLACES + tagger] - place)
            if apart in (1, whole):
                rewards[tagger] += 1.0
                met = True
        if met:
            rewards[runner] -= 1.0
            cells[np.uint64(ground + place)] = EMPTY
            state[gone_entry(state, runner)] = 1
            caught += 1
    return caught


@rule(world.STEP)
def step(state, actions, rng, rewards):
    if _over(state):
        return ILLEGAL
    cells, whole, ground = state.view(np.int8), whole_of(state), ground_of(state)
    for agent in range(agents_of(state)):
        if state[gone_entry(state, agent)]:
            continue
        if actions[agent] < 0 or actions[agent] > STAY:
            return ILLEGAL
        target = ground + state[PLACES + agent] + step_of(actions[agent], whole)
        if state[MASKED] and cells[np.uint64(target)] == WALL:
            return ILLEGAL
    _move(state, cells, actions, rng)
    state[TURN] += 1
    caught = _catch(state, cells, rewards)
    if caught and state[LEAVING]:
        state[LOST] += caught
        return LEFT
    if caught:
        for runner in range(state[TAGGERS], agents_of(state)):
            if state[gone_entry(state, runner)]:
                _put(state, cells, runner, rng)
    return LEFT if _over(state) else OK


@rule(world.ENDED)
def ended(state, agent):
    if state[gone_entry(state, agent)] or state[LOST] == state[RUNNERS]:
        return TERMINATED
    return TRUNCATED if state[TURN] >= state[TURNS] else HERE


@rule(world.OBSERVE)
def observe(state, agent, out):
    last = len(out) - 1
    see(state.view(np.uint8), corner_of(state, agent), whole_of(state), state[REACH], last, out.view(np.uint8))
    out[last] = agent >= state[TAGGERS]
    return OK


@rule(world.MASK)
def mask(state, agent, out):
    cells, whole, at = state.view(np.int8), whole_of(state), ground_of(state) + state[PLACES + agent]
    for move in range(STAY + 1):
        out[move] = cells[np.uint64(at + step_of(move, whole))] != WALL
    return OK
