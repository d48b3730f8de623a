"""`check_world` finds whatever breaks the contract, and says where."""

import dataclasses

import numpy as np
import pytest

from scoundrel_ray import world
from scoundrel_ray.compiled import rule
from scoundrel_ray.conformance.of_worlds import check_world
from scoundrel_ray.rng import below
from scoundrel_ray.world import ALL, HERE, ILLEGAL, LEFT, OK, TERMINATED, InvalidWorld
from tests.worlds import stairs
from tests.worlds.stairs import STEPS, TOP, TURN

RIGHT = stairs.make().rules
RIGHT_STEP, RIGHT_ENDED = RIGHT.step._dispatcher, RIGHT.ended._dispatcher


@rule(world.RESET)
def reset_forgets_nothing(state, _rng):
    state[TURN] = 0  # and leaves the steps as they were, which is right in a fresh state alone
    state[0] += 1
    return OK


@rule(world.MOVER)
def mover_for_ever(_state):
    return ALL


@rule(world.MOVER)
def mover_unknown(_state):
    return 7


@rule(world.STEP)
def step_says_nothing_of_who_left(state, actions, rng, rewards):
    status = RIGHT_STEP(state, actions, rng, rewards)
    return OK if status == LEFT else status


@rule(world.STEP)
def step_says_that_somebody_left(state, actions, rng, rewards):
    status = RIGHT_STEP(state, actions, rng, rewards)
    return LEFT if status == OK else status


@rule(world.STEP)
def step_takes_every_action(state, actions, rng, rewards):
    status = RIGHT_STEP(state, actions, rng, rewards)
    return OK if status == ILLEGAL else status


@rule(world.STEP)
def step_changes_actions(state, actions, rng, rewards):
    for agent in range(state[0]):
        actions[agent] = min(max(actions[agent], 0), 1)
    return RIGHT_STEP(state, actions, rng, rewards)


@rule(world.STEP)
def step_half_refuses(state, actions, rng, rewards):
    state[STEPS] += actions[0] == 3
    return RIGHT_STEP(state, actions, rng, rewards)


@rule(world.STEP)
def step_gives_nan(state, actions, rng, rewards):
    status = RIGHT_STEP(state, actions, rng, rewards)
    if status != 1:
        rewards[0] = np.nan
    return status


@rule(world.STEP)
def step_writes_beyond(state, actions, rng, rewards):
    status = RIGHT_STEP(state, actions, rng, rewards)
    if status != 1:
        rewards[len(rewards)] = 1.0
    return status


@rule(world.ENDED)
def ended_comes_back(state, agent):
    how = RIGHT_ENDED(state, agent)
    return HERE if how == TERMINATED and state[TURN] > 4 else how


@rule(world.OBSERVE)
def observe_out_of_range(state, agent, out):
    out[0], out[1] = state[STEPS + agent] - 1, state[TURN]
    return OK


@rule(world.OBSERVE)
def observe_changes(state, agent, out):
    state[STEPS + agent] = min(state[STEPS + agent] + 1, TOP)
    out[0], out[1] = state[STEPS + agent], state[TURN]
    return OK


@rule(world.MASK)
def mask_of_nothing(_state, _agent, out):
    out[:] = 0
    return OK


@rule(world.MASK)
def mask_half_written(state, agent, out):
    out[0] = out[1] = 1
    if state[STEPS + agent] == 0:
        out[2] = 1
    return OK


@rule(world.GUIDE)
def guide_leaps_always(_state, _agent, _rng):
    return 2


@rule(world.GUIDE)
def guide_unknown(_state, _agent, rng):
    return below(rng, 2) + 3


BROKEN = [
    ("reset", reset_forgets_nothing, "rule reset gave the header"),
    ("mover", mover_for_ever, "rule mover gave -1, wanted an agent that is still there"),
    ("mover", mover_unknown, "rule mover gave 7, wanted 0 to 2"),
    ("step", step_says_nothing_of_who_left, "as no step said that an agent left"),
    ("step", step_says_that_somebody_left, "rule step gave LEFT = 2, wanted 0: no agent ended"),
    ("step", step_takes_every_action, "rule step gave status 0 for action"),
    ("step", step_changes_actions, "rule step gave changed actions, wanted untouched ones"),
    ("step", step_half_refuses, "rule step gave a change by action 3 of agent 0, wanted none: it is refused"),
    ("step", step_gives_nan, "rule step gave rewards"),
    ("step", step_writes_beyond, "rule step gave a write outside the arrays"),
    ("ended", ended_comes_back, "rule ended gave 0 for agent"),
    ("observe", observe_out_of_range, "rule observe gave step [-1] to agent 0, wanted 0 to 5"),
    ("observe", observe_changes, "rule observe gave a changed state, wanted an untouched one"),
    ("mask", mask_of_nothing, "rule mask gave [0, 0, 0] to agent 0"),
    ("mask", mask_half_written, "rule mask gave two results for one state"),
    ("guide", guide_leaps_always, "rule guide gave 2, then 2, to agent"),
    ("guide", guide_unknown, "to agent 0, wanted twice the same one of [0, 1, 2]"),
]


@pytest.mark.parametrize(("name", "broken", "told"), BROKEN, ids=[each.__name__ for _, each, _ in BROKEN])
def test_a_broken_rule_is_named(name, broken, told):
    whole = stairs.make()
    made = dataclasses.replace(whole, rules=whole.rules._replace(**{name: broken}))
    with pytest.raises(InvalidWorld) as found:
        check_world(made, episodes=20, twins=0)
    assert told in str(found.value) and "; state: reset(stream(0, " in str(found.value)


def test_masks_of_a_world_that_says_that_it_has_none_are_named():
    made = dataclasses.replace(stairs.make(), masked=False)
    with pytest.raises(InvalidWorld, match=r"rule mask gave .* wanted 1 everywhere: masked is False"):
        check_world(made, episodes=4, twins=0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"agents": ("a", "a", "b")}, "wanted different names"), ({"action_names": ("x", "x", "y")}, "different action"),
     ({"most_turns": 0}, "most_turns is 0"), ({"header": (1,) * 99}, "a header of 99"),
     ({"rules": RIGHT._replace(step=stairs.mask)}, "rule step has signature"),
     ({"observation": ()}, "at least one field")],
)  # fmt: skip
def test_what_makes_no_world_is_named(changes, told):
    with pytest.raises(InvalidWorld, match=told):
        dataclasses.replace(stairs.make(), **changes)
