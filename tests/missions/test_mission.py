"""Missions: shares of the agents, who sits where, and what an episode's seed is."""

from collections import Counter

import numpy as np
import pytest

from scoundrel_ray.missions.mission import Mission, MissionConfig, seating, seats
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.streams import stream
from tests.missions.test_episode import WORLDS, mission_of


@pytest.mark.parametrize(
    ("shares", "agents", "wanted"),
    [
        ([1.0], 5, [5]),
        ([0.5, 0.5], 4, [2, 2]),
        ([0.5, 0.5], 5, [3, 2]),  # equal remainders: the first
        ([2.0, 1.0], 4, [3, 1]),  # 2.67 and 1.33
        ([1.0, 1.0, 1.0], 10, [4, 3, 3]),
        ([0.1, 0.9], 3, [0, 3]),
        ([0.0, 1.0], 3, [0, 3]),
        ([5.0, 3.0, 1.0], 7, [4, 2, 1]),  # 3.89, 2.33, 0.78
    ],
)
def test_agents_are_shared_out_by_the_largest_remainder(shares, agents, wanted):
    assert seats(shares, agents) == wanted


def test_who_sits_where_is_drawn_for_the_seed_the_mission_and_the_episode():
    drawn = [seating([0.7, 0.3], 10, 1, "hunt", episode).tolist() for episode in range(50)]
    assert all(Counter(each) == {0: 7, 1: 3} for each in drawn) and len({*map(tuple, drawn)}) > 25
    assert drawn == [seating([7, 3], 10, 1, "hunt", episode).tolist() for episode in range(50)]
    for other in (seating([0.7, 0.3], 10, 2, "hunt", 0), seating([0.7, 0.3], 10, 1, "tag", 0)):
        assert other.tolist() != drawn[0]
    often = np.mean(drawn, axis=0)
    assert (often > 0.05).all() and (often < 0.7).all(), "nobody sits in one place for ever"
    assert seating([1.0], 3, 1, "hunt", 0).tolist() == [0, 0, 0]


def test_episode_k_happens_in_a_world_of_seed_plus_k():
    mission = mission_of("hunt")
    for seed, episode in ((5, 3), (8, 0)):
        states = mission.begin(seed, [episode]).states
        np.testing.assert_array_equal(states, mission.world.copies(stream(8)[None]).states)
    copies = mission_of("poles").begin(30, [1, 5])
    again = mission_of("pole").begin(31, [0, 4])
    np.testing.assert_array_equal(copies.observations, again.observations)


def test_a_bodys_stream_is_of_its_seed_mission_episode_and_agent_alone():
    mission = mission_of("hunt")
    other = Mission("else", MissionConfig(WORLDS["hunt"]))
    drawn = {
        tuple(where.body(seed, episode, agent).stream.tolist())
        for where in (mission, other)
        for seed in (1, 2)
        for episode in range(3)
        for agent in range(3)
    }
    assert len(drawn) == 2 * 2 * 3 * 3
    bigger = Mission("hunt", MissionConfig({**WORLDS["hunt"], "agents": 5}))
    assert bigger.body(1, 2, 1).stream.tolist() == mission.body(1, 2, 1).stream.tolist()
    assert mission.body(1, 2, 1).rng.random() == mission.body(1, 2, 1).rng.random()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"world": 3}, "world: got 3"),
        ({"world": WORLDS["hunt"], "steps": -1}, "steps: got -1"),
        ({"world": {"_target_": "scoundrel_ray.games.blob.make"}}, "makes no AnyWorld"),
    ],
)
def test_bad_settings_are_one_line(section, message):
    with pytest.raises(InvalidConfig, match=message):
        Mission("m", MissionConfig(**section))
