"""Copies of a world, stepped together: who acts, what is seen, what each gets, who left, and what is refused."""

import dataclasses

import numpy as np
import pytest

from scoundrel_ray import rng, world
from scoundrel_ray.compiled import rule
from scoundrel_ray.conformance.of_worlds import check_world
from scoundrel_ray.copies import Copies
from scoundrel_ray.world import HERE, LEFT, OK, OVER, TERMINATED, TRUNCATED, IllegalActions, InvalidWorld
from scoundrel_ray.worlds import treasure_hunt
from tests.worlds import stairs
from tests.worlds.stairs import AGENTS, LEAP, STAY, TURN, TURNS, UP


@rule(world.MOVER)
def mover_in_turn(state):
    return OVER if state[TURN] >= state[TURNS] else state[TURN] % state[AGENTS]


@rule(world.STEP)
def step_gives_all(state, actions, _rng, rewards):
    """Who acts gets its action, and all others one half."""
    who = state[TURN] % state[AGENTS]
    for agent in range(state[AGENTS]):
        rewards[agent] += actions[who] if agent == who else 0.5
    state[TURN] += 1
    return LEFT if state[TURN] == state[TURNS] else OK


def copies_of(world, count, seed=0):
    return Copies(world, np.stack([rng.stream(seed, number) for number in range(count)]))


def play(copies, *by_agent):
    """A step in which every copy does the same."""
    copies.step(np.repeat(np.array(by_agent, np.int16)[:, None], copies.rewards.shape[1], axis=1))


def test_the_small_world_keeps_the_contract():
    check_world(stairs.make(), episodes=10, twins=3)


def test_who_leaves_has_its_last_reward_and_sight_and_takes_no_part_any_more():
    copies = copies_of(stairs.make(), 2)
    assert copies.acting.all() and (copies.masks == 1).all()
    play(copies, LEAP, UP, STAY)
    np.testing.assert_allclose(copies.rewards[:, 0], [2.2, 1.2, 0.2], rtol=1e-6)
    assert copies.masks[:, 0].tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 1]]
    assert copies.observations[:, 1].tolist() == [[2, 1], [1, 1], [0, 1]]
    play(copies, LEAP, STAY, STAY)
    np.testing.assert_allclose(copies.rewards[:, 0], [4.2, 1.2, 0.2], rtol=1e-6)
    assert copies.ended[:, 0].tolist() == [TERMINATED, HERE, HERE]
    assert copies.acting[:, 0].tolist() == [False, True, True]
    assert copies.observations[0, 0].tolist() == [4, 2]
    for turn in range(3, 6):
        play(copies, 77, STAY, STAY)  # nobody reads the action of who has left
        assert copies.observations[:, 0].tolist() == [[4, 2], [1, turn], [0, turn]]
        np.testing.assert_allclose(copies.rewards[1:, 0], [1.1, 0.1], rtol=1e-6)
    assert copies.renew() == 0
    play(copies, 0, STAY, STAY)
    assert copies.over.all() and not copies.acting.any()
    assert copies.ended[:, 0].tolist() == [TERMINATED, TRUNCATED, TRUNCATED]
    assert copies.observations[:, 0].tolist() == [[4, 2], [1, 6], [0, 6]]
    before = copies.states.copy()
    play(copies, 0, 0, 0)  # those that are over stay as they are
    np.testing.assert_array_equal(copies.states, before)
    assert copies.renew() == 2
    assert copies.acting.all() and not copies.rewards.any() and not copies.ended.any()
    assert (copies.observations == 0).all()


def test_copies_that_end_apart_are_renewed_apart():
    copies = copies_of(stairs.make(agents=1), 2)
    copies.step(np.array([[LEAP, STAY]], np.int16))
    copies.step(np.array([[LEAP, STAY]], np.int16))
    assert copies.over.tolist() == [True, False] and copies.renew() == 1
    assert copies.observations[0].tolist() == [[0, 0], [0, 2]]


def test_in_turn_each_is_given_what_all_moves_brought_it_since_its_own_last_one():
    rules = stairs.make().rules._replace(mover=mover_in_turn, step=step_gives_all)
    copies = copies_of(dataclasses.replace(stairs.make(turns=5), rules=rules), 2)
    assert copies.acting[:, 1].tolist() == [True, False, False]
    for turn, given in enumerate([[2, 0.5, 0.5], [2.5, 2, 1], [3, 2.5, 2], [2, 3, 2.5], [2.5, 2, 3]]):
        copies.step(np.array([[2] * 2 if agent == turn % 3 else [77] * 2 for agent in range(3)], np.int16))
        assert copies.rewards.T.tolist() == [given] * 2
        assert copies.acting[:, 1].tolist() == [turn < 4 and agent == (turn + 1) % 3 for agent in range(3)]
    assert copies.over.all() and (copies.ended == TRUNCATED).all()


def test_an_action_out_of_range_of_who_is_in_turn_is_named_with_its_copy():
    copies = copies_of(treasure_hunt.make(agents=2), 3)
    with pytest.raises(IllegalActions, match=r"^treasure_hunt: not allowed in copy 1: agent_0 9$"):
        copies.step(np.array([[0, 9, 0], [5, 5, 5]], np.int16))
    assert copies.acting.tolist() == [[False, True, True], [True, False, False]]


def test_an_action_that_is_masked_is_named_with_its_copy():
    copies = copies_of(stairs.make(), 2)
    play(copies, UP, UP, UP)
    with pytest.raises(IllegalActions, match=r"^stairs: not allowed in copy 1: climber_0 1, climber_1 2, climber_2 0$"):
        copies.step(np.array([[0, 1], [0, 2], [0, 0]], np.int16))
    with pytest.raises(ValueError, match=r"wanted int16 \[3, 2\] in C order"):
        copies.step(np.zeros((2, 3), np.int16))


@rule(world.RESET)
def reset_fails(state, _rng):
    return -1 if state[stairs.TURNS] == 5 else 3


@rule(world.STEP)
def step_fails(_state, _actions, _rng, _rewards):
    return -1


def test_a_rule_that_fails_is_named_with_its_status_below_zero_too():
    made = stairs.make()
    with pytest.raises(InvalidWorld, match=r"^world stairs: rule step returned status -1, wanted 0, 1 or 2$"):
        play(copies_of(dataclasses.replace(made, rules=made.rules._replace(step=step_fails)), 2), STAY, STAY, STAY)
    for turns, status in ((5, -1), (6, 3)):
        failing = dataclasses.replace(stairs.make(turns=turns), rules=made.rules._replace(reset=reset_fails))
        with pytest.raises(InvalidWorld, match=rf"^world stairs: rule reset returned status {status}, wanted 0$"):
            copies_of(failing, 2)


def test_a_copy_is_the_same_among_any_others():
    """Its stream alone decides; results depend on no number of copies."""
    world, dice = treasure_hunt.make(agents=2, size=8, turns=6, spawn=0.1), np.random.default_rng(0)
    many = copies_of(world, 5)
    alone = Copies(world, many.streams[3:4] * 0 + rng.stream(0, 3))
    for _ in range(30):
        actions = dice.integers(0, 4, size=(2, 5)).astype(np.int16)
        many.step(actions)
        alone.step(actions[:, 3:4].copy())
        assert many.renew() == 5 * alone.renew()
        np.testing.assert_array_equal(many.states[3], alone.states[0])
        np.testing.assert_array_equal(many.observations[:, 3], alone.observations[:, 0])
        np.testing.assert_array_equal(many.rewards[:, 3], alone.rewards[:, 0])
