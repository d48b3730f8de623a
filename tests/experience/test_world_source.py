"""A world as a source: who acts as whom, and what is refused."""

import numpy as np
import pytest

from scoundrel_ray.experience.behaviours import Sampled
from scoundrel_ray.experience.source import Collector, Requests, Source
from scoundrel_ray.experience.world_source import WorldSource
from scoundrel_ray.settings.build import build, check_members
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import Head
from tests.experience.test_world_steps import EPSILON, SAMPLED, evaluators_of, role, steps_of

HUNT = {"_target_": "scoundrel_ray.worlds.treasure_hunt.make", "agents": 3, "size": 7, "turns": 5}


def source(seats=None, world=HUNT, **rollout):
    return WorldSource(world, rollout, seats)


def test_a_world_is_a_source():
    made = build("source", {"_target_": f"{WorldSource.__module__}.WorldSource", "world": HUNT}, Source)
    check_members("source", made, Source)
    assert made.name == "treasure_hunt" and made.symmetries is None
    agents = {"a": role(made.built_world, SAMPLED)}
    collector = made.collector(agents, evaluators_of(made.built_world, agents), 0, (0, 0))
    check_members("collector", collector, Collector)


@pytest.mark.parametrize(
    ("seats", "agents", "owners"),
    [
        (None, ["anyone"], (0, 0, 0)),
        (None, ["agent_0", "agent_1", "agent_2"], (0, 1, 2)),
        (None, ["agent_2", "agent_0", "agent_1"], (1, 2, 0)),
        (["x", "y", "x"], ["x", "y"], (0, 1, 0)),
        (["x", "y", "x"], ["y", "x"], (1, 0, 1)),
        (["agent_1", "agent_1", "agent_0"], ["agent_0", "agent_1"], (1, 1, 0)),
    ],
)
def test_seats(seats, agents, owners):
    made = source(seats)
    made.check(agents)
    assert made.seating(agents) == owners
    assert made.specs(agents) == dict.fromkeys(agents, made.built_world.spec)


@pytest.mark.parametrize(
    ("seats", "agents", "message"),
    [
        (
            None,
            ["agent_0", "agent_1"],
            r"^agents: got agent_0, agent_1, wanted 'agent_2', too, as which",
        ),
        (None, ["agent_0"], r"^agents: got agent_0, wanted 'agent_1', too"),
        (None, ["agent_0", "agent_1", "agent_2", "agent_3"], r"^agents.agent_3: treasure_hunt has no such agent, only"),
        (["x", "x", "x"], ["x", "y"], r"^agents.y: treasure_hunt has no such agent"),
        (["x", "z", "x"], ["x", "y"], r"^agents: got x, y, wanted 'z', too, as which treasure_hunt's agent_1 acts"),
        (["x", "y"], ["x", "y"], r"source\.seats: got \['x', 'y'\], wanted one of the agents for each of agent_0, a"),
        ("xyx", ["x", "y"], r"source\.seats: got 'xyx', wanted one of the agents"),
    ],
)
def test_seats_that_cannot_be_taken_are_told(seats, agents, message):
    with pytest.raises(InvalidConfig, match=message):
        source(seats).seating(agents)
    with pytest.raises(InvalidConfig):
        source(seats).check(agents)


def test_agents_that_are_not_alike_need_agents_of_their_own():
    market = {
        "_target_": "scoundrel_ray.worlds.from_pettingzoo.make",
        "env": {"_target_": "tests.worlds.tiny_environments.Market"},
    }
    made = source(world=market)
    specs = made.specs(["buyer", "seller"])
    assert [*specs.values()] == [*made.built_world.specs] and specs["buyer"] != specs["seller"]
    with pytest.raises(InvalidConfig, match=r"^agents.one: seller observes or acts otherwise than others of its own"):
        made.specs(["one"])


def test_a_worker_that_the_source_makes_seats_agents_by_name():
    made = source(copies=4, steps=200)
    agents = {name: role(made.built_world, SAMPLED) for name in ("agent_1", "agent_2", "agent_0")}
    by_source = made.collector(agents, evaluators_of(made.built_world, agents), 7, (0, 1)).collect(timed=False)[0]
    by_hand = steps_of(
        made.built_world, (2, 0, 1), agents, evaluators_of(made.built_world, agents), 4, 200, 7, (0, 1)
    ).collect(timed=False)[0]
    assert [*by_source] == [*agents]
    for name in agents:
        np.testing.assert_array_equal(by_source[name], by_hand[name])


def test_what_a_source_says_of_behaviours_and_requests():
    made = source(copies=40)
    spec = made.built_world.spec
    assert made.heads(spec, EPSILON) == (Head("values", (4,)),)
    assert made.rows(spec, SAMPLED) == Sampled(length=4).rows(spec)
    assert made.requests(0, ["a"]) == Requests(3, 60)
    for ask in (made.heads, made.rows):
        with pytest.raises(InvalidConfig, match=r"^learns from searched decisions, and agents of treasure_hunt act by"):
            ask(spec, {})
