"""The register of who draws what: fixed numbers, and draws of an agent that depend on nobody else."""

import itertools

import numpy as np
import pytest

from scoundrel_ray.streams import (
    Purpose,
    agent_seed,
    agent_stream,
    generator,
    generator_state,
    restore_generator,
    stream,
)

# What runs of the past have drawn by: a number that changes makes other runs of the same seed.
REGISTER = {"NETWORK": 1, "GAMES": 2, "SAMPLES": 3, "SYMMETRIES": 4, "SEATING": 5, "LEARNER": 6}
REGISTER |= {"WORLDS": 7, "ACTIONS": 8, "HELD_EPISODES": 9, "MISSIONS": 10, "MISSION_SEATS": 11}


def test_the_register_is_fixed_and_every_purpose_has_a_number_of_its_own():
    assert {name: int(purpose) for name, purpose in Purpose.__members__.items()} == REGISTER
    assert len(set(REGISTER.values())) == len(REGISTER)


def test_an_agents_stream_differs_by_seed_purpose_and_name():
    keys = list(itertools.product((0, 1), Purpose, ("agent", "wide", "narrow", "wide_2")))
    assert len({agent_stream(*key).tobytes() for key in keys}) == len(keys)
    assert len({agent_seed(*key) for key in keys}) == len(keys)


def test_an_agents_stream_is_a_function_of_the_three_alone():
    """Numbers of today, so that whoever else is drawn for, before or after, in whatever process, changes nothing."""
    wanted = [3096407237251928513, 13600891621524804926, 18205612951262547500, 13]
    assert agent_stream(3, Purpose.NETWORK, "wide").tolist() == wanted
    for other in ("narrow", "agent"):
        agent_stream(3, Purpose.NETWORK, other)
    assert agent_stream(3, Purpose.NETWORK, "wide").tolist() == wanted
    assert agent_seed(3, Purpose.NETWORK, "wide") == wanted[0] >> 33


@pytest.mark.parametrize("name", ["a", "agent", "x" * 200])
def test_a_seed_of_an_agent_is_one_that_libraries_take(name):
    assert all(0 <= agent_seed(seed, purpose, name) < 2**31 for seed in range(50) for purpose in Purpose)


def test_a_generator_goes_on_from_its_state():
    drawer, other = generator(stream(1)), generator(stream(2))
    drawer.integers(1000, size=7, dtype=np.int32)  # an odd number leaves half a word drawn
    restore_generator(other, generator_state(drawer))
    for dtype in (np.int32, np.int64):
        np.testing.assert_array_equal(
            other.integers(1000, size=9, dtype=dtype), drawer.integers(1000, size=9, dtype=dtype)
        )
