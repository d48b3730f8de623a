"""Cleanup: a river fills with waste, and the more there is of it, the fewer apples grow. All agents act at once.

**Source:** Hughes et al. 2018, "Inequity aversion improves cooperation in intertemporal social dilemmas"; values are
those of the paper and of public code after it. The river is the upper third of the field, the orchard the lower third.

A turn: agents move one after another in an order that is drawn for the turn, so that of several agents who want one
cell each has the same chance; a cell with an agent or a wall cannot be entered, and who enters one with an apple eats
it and gets 1. Then all beams act at once. Then the river gets one more waste, by chance, on a cell that is drawn among
those without; then each empty cell of the orchard grows an apple by chance,

    apple_rate * (depletion - d) / (depletion - restoration), held within 0 and apple_rate,

where d is the share of the river under waste. At d >= depletion no waste comes any more. An episode begins with just so
much waste, and no apple; it is cut off after so many turns.

A beam is three cells wide: three rays, from the cells ahead of the agent. Each goes `beam` cells far, at most to a wall
or an agent. A clean ray takes the first waste that it meets, and ends there. A fine ray fines the agent that it meets;
who fires pays as well. An agent on waste covers it.

We depart from the source: an agent faces where it last went or tried to go, instead of turning; views do not turn with
it, and show neither beams nor where others face.

State: the header, TURN, the count of WASTES, for every agent its place and where it faces, the last order of moves,
what lies under every agent, then bytes: all cells (see `scoundrel_ray.worlds.grid`).
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray import world
from scoundrel_ray.compiled import rule
from scoundrel_ray.rng import below
from scoundrel_ray.settings.checks import InvalidSetting, at_least, one_of, switch, within
from scoundrel_ray.spec import Field
from scoundrel_ray.world import ALL, HERE, ILLEGAL, LEFT, OK, OVER, TRUNCATED, World, WorldRules
from scoundrel_ray.worlds import cleanup_turn
from scoundrel_ray.worlds.cleanup_guide import guide
from scoundrel_ray.worlds.cleanup_shown import picture, text
from scoundrel_ray.worlds.cleanup_state import (
    AGENT,
    AGENTS,
    CLEAN,
    FINING,
    GRASS,
    GROUND,
    HEIGHT,
    MILLION,
    PLACES,
    REACH,
    REWARDS,
    SATURATION,
    TURN,
    TURNS,
    UNSEEN,
    WALL,
    WASTE,
    WASTES,
    WATER,
    WIDTH,
    cell_of,
    corner_of,
    facing_entry,
    ground_of,
    orchard_row,
    river_of,
    third,
    under_entry,
    wide_of,
)
from scoundrel_ray.worlds.grid import MOVES, see

_LIMITS = {  # of options that are whole numbers
    "agents": (1, 1000), "width": (3, 127), "height": (5, 127), "reach": (1, 10), "frames": (1, 16),
    "turns": (1, 10**9), "beam": (1, 20), "fine": (0, 10**6), "fine_cost": (0, 10**6),
}  # fmt: skip


def make(
    agents: int = 5,
    width: int = 25,
    height: int = 18,
    reach: int = 7,
    frames: int = 1,
    turns: int = 1000,
    apple_rate: float = 0.05,
    waste_rate: float = 0.5,
    depletion: float = 0.4,
    restoration: float = 0.0,
    beam: int = 5,
    fining: bool = False,
    fine: int = 50,
    fine_cost: int = 1,
    reward: str = "selfish",
) -> World:
    """The world.

    Args:
        agents: N.
        width, height: cells, walls included.
        reach: cells that an agent sees in each direction.
        frames: views that an agent observes, the newest last.
        turns: of an episode.
        apple_rate: chance that an apple grows on an empty cell of the orchard in a turn, beside a clean river.
        waste_rate: chance of one more waste in a turn. Rates and shares are in steps of a millionth.
        depletion: share of the river under waste, from which on no apple grows.
        restoration: share up to which apples grow at `apple_rate`; below `depletion`.
        beam: cells that a beam goes.
        fining: whether agents have an action that fines others.
        fine, fine_cost: what a fined agent loses, and the one who fires.
        reward: "selfish", or "shared": every agent gets the mean of what all get.

    Raises:
        InvalidSetting: naming the option.
    """
    options = dict(locals())
    for name, (least, most) in _LIMITS.items():
        at_least(name, options[name], least)
        within(name, options[name], least, most)
    if (width - 2) * (height - 2) < 2 * agents:
        raise InvalidSetting("width", f"got {width}, wanted a larger one, with room for {agents} agents to walk")
    within("apple_rate", apple_rate, 0.0, 0.9)
    within("waste_rate", waste_rate, 0.0, 1.0)
    within("depletion", depletion, 1e-6, 1.0)
    within("restoration", restoration, 0.0, 1.0)
    switch("fining", fining)
    one_of("reward", reward, REWARDS)
    rates = [round(MILLION * each) for each in (apple_rate, waste_rate, depletion, restoration)]
    if rates[3] >= rates[2]:
        raise InvalidSetting("restoration", f"got {restoration!r}, wanted less than depletion, {depletion!r}")
    side, high, wide = 2 * reach + 1, height + 2 * (reach - 1), width + 2 * (reach - 1)
    saturation = -(-rates[2] * third(height) * (width - 2) // MILLION)
    header = (
        agents, width, height, reach, frames, turns, beam, int(fining), fine, fine_cost, REWARDS.index(reward),
        *rates, saturation,
    )  # fmt: skip
    return World(
        name="cleanup",
        version=1,
        agents=tuple(f"agent_{number}" for number in range(agents)),
        action_names=(*MOVES, "clean", *(["fine"] if fining else [])),
        state_size=PLACES + 4 * agents + (high * wide + 3) // 4,
        observation=(Field("views", frames * side * side, UNSEEN, AGENT), Field("facing", 1, 0, 3)),
        most_turns=turns,
        masked=False,
        rules=WorldRules(reset, mover, step, ended, observe, guide),
        text=text,
        picture=picture,
        header=header,
        options=options,
    )


@rule(world.RESET)
def reset(state, rng):
    cells, ground, agents = state.view(np.int8), ground_of(state), state[AGENTS]
    cells[ground : ground + wide_of(state) * (state[HEIGHT] + 2 * (state[REACH] - 1))] = WALL
    river, wanted = river_of(state), state[SATURATION]
    for number in range((state[HEIGHT] - 2) * (state[WIDTH] - 2)):
        cells[cell_of(state, 0, number)] = GROUND
    for number in range(river):
        dirty = below(rng, river - number) < wanted  # every choice of so many cells has the same chance
        wanted -= dirty
        cells[cell_of(state, 0, number)] = WASTE if dirty else WATER
        cells[cell_of(state, orchard_row(state), number)] = GRASS
    for agent in range(agents):
        while True:
            cell = cell_of(state, 0, below(rng, (state[HEIGHT] - 2) * (state[WIDTH] - 2)))
            if cells[cell] != AGENT:
                break
        state[under_entry(state, agent)] = cells[cell]
        cells[cell] = AGENT
        state[PLACES + agent] = cell - ground
        state[facing_entry(state, agent)] = below(rng, 4)
        state[PLACES + 2 * agents + agent] = agent
    state[TURN], state[WASTES] = 0, state[SATURATION]
    return OK


@rule(world.MOVER)
def mover(state):
    return OVER if state[TURN] >= state[TURNS] else ALL


@rule(world.STEP)
def step(state, actions, rng, rewards):
    if state[TURN] >= state[TURNS]:
        return ILLEGAL
    for agent in range(state[AGENTS]):
        if actions[agent] < 0 or actions[agent] > CLEAN + state[FINING]:
            return ILLEGAL
    cells = state.view(np.int8)
    cleanup_turn.move(state, cells, actions, rng, rewards)
    if state[FINING]:
        cleanup_turn.fine(state, cells, actions, rewards)
    cleanup_turn.clean(state, cells, actions)
    cleanup_turn.pollute(state, cells, rng)
    cleanup_turn.grow(state, cells, rng)
    state[TURN] += 1
    return LEFT if state[TURN] == state[TURNS] else OK


@rule(world.ENDED)
def ended(state, _agent):
    return TRUNCATED if state[TURN] >= state[TURNS] else HERE


@rule(world.OBSERVE)
def observe(state, agent, out):
    last = len(out) - 1
    see(state.view(np.uint8), corner_of(state, agent), wide_of(state), state[REACH], last, out.view(np.uint8))
    out[last] = state[facing_entry(state, agent)]
    return OK
