"""A world small enough to be worked out by hand: agents climb at once, some leave early, masks forbid leaps.

Each agent stands on a step, 0 at first; `up` takes it one up and `leap` two, which may be done only from an even step.
It gets its new step, and all others one tenth. On step 4 or above it is at the top and ends; after 6 turns the others
are cut off.
"""

import numpy as np

from scoundrel_ray import world
from scoundrel_ray.compiled import rule
from scoundrel_ray.spec import Field
from scoundrel_ray.world import ALL, HERE, ILLEGAL, LEFT, OK, OVER, TERMINATED, TRUNCATED, World, WorldRules

AGENTS, TURNS, TURN, STEPS = 0, 1, 2, 3
STAY, UP, LEAP = range(3)
TOP = 4


@rule(world.RESET)
def reset(state, _rng):
    for entry in range(TURN, len(state)):
        state[entry] = 0
    return OK


@rule(world.MOVER)
def mover(state):
    if state[TURN] >= state[TURNS]:
        return OVER
    for agent in range(state[AGENTS]):
        if state[STEPS + agent] < TOP:
            return ALL
    return OVER


@rule(world.STEP)
def step(state, actions, _rng, rewards):
    for agent in range(state[AGENTS]):
        at, action = state[STEPS + agent], actions[agent]
        if at < TOP and (action < STAY or action > LEAP or (action == LEAP and at % 2)):
            return ILLEGAL
    state[TURN] += 1
    left = state[TURN] == state[TURNS]
    for agent in range(state[AGENTS]):
        if state[STEPS + agent] >= TOP:
            continue
        state[STEPS + agent] += actions[agent]
        left |= state[STEPS + agent] >= TOP
        for other in range(state[AGENTS]):
            rewards[other] += state[STEPS + agent] if other == agent else 0.1
    return LEFT if left else OK


@rule(world.ENDED)
def ended(state, agent):
    if state[STEPS + agent] >= TOP:
        return TERMINATED
    return TRUNCATED if state[TURN] >= state[TURNS] else HERE


@rule(world.OBSERVE)
def observe(state, agent, out):
    out[0], out[1] = state[STEPS + agent], state[TURN]
    return OK


@rule(world.MASK)
def mask(state, agent, out):
    out[:] = 1
    out[LEAP] = 1 - state[STEPS + agent] % 2
    return OK


@rule(world.GUIDE)
def guide(state, agent, _rng):
    return UP if state[STEPS + agent] % 2 else LEAP


def make(agents=3, turns=6):
    return World(
        name="stairs",
        version=1,
        agents=tuple(f"climber_{number}" for number in range(agents)),
        action_names=("stay", "up", "leap"),
        state_size=STEPS + agents,
        observation=(Field("step", 1, 0, TOP + 1), Field("turn", 1, 0, turns, "number")),
        most_turns=turns,
        masked=True,
        rules=WorldRules(reset, mover, step, ended, observe, guide, mask),
        text=lambda state: " ".join(map(str, state[TURN:])),
        picture=lambda state: np.zeros((4, 4, 3), np.uint8),
        header=(agents, turns),
        options={"agents": agents, "turns": turns},
    )
