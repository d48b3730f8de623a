"""Policies in child processes: the same outcomes as beside the mission, and what they draw from is known."""

import os

import pytest

from scoundrel_ray.missions.mission import MissionConfig
from scoundrel_ray.missions.policy import PolicyFailed
from scoundrel_ray.missions.processes import OnProcesses, Recipe
from scoundrel_ray.missions.shared import Shared, memory, size_of
from scoundrel_ray.missions.wrappers import InBatch
from tests.missions.test_episode import WORLDS, mission_of, outcomes, plain

OWN = "tests.missions.own_policies"


def own(name, **data):
    return {"_target_": "scoundrel_ray.missions.drivers.own", "policy": f"{OWN}.{name}", "data": data}


RANDOM = {"_target_": "scoundrel_ray.missions.drivers.random"}


def recipes(name, sections):
    return [Recipe(name, MissionConfig(WORLDS[name]), f"p{at}", section, 7) for at, section in enumerate(sections)]


def both(name, sections, episodes, processes=2):
    """Outcomes beside the mission, and with each policy in children."""
    mission = mission_of(name)
    here = outcomes(mission, [recipe.build(mission) for recipe in recipes(name, sections)], episodes)
    ways = [OnProcesses(recipe, mission, processes) for recipe in recipes(name, sections)]
    left = iter(ways)
    try:
        there = outcomes(mission, [InBatch] * len(ways), episodes, wrap=lambda _: next(left))
        drew = [way.drew() for way in ways]
    finally:
        for way in ways:
            way.close()
    return [plain(each) for each in here], [plain(each) for each in there], drew


@pytest.mark.parametrize("name", ["hunt", "market", "pole", "blob"])
def test_outcomes_are_those_of_policies_beside_the_mission(name):
    sections = [own("Remembers", offset=2), RANDOM]
    here, there, drew = both(name, sections if name == "market" else [*sections, own("Rows", times=3)], range(4), 3)
    assert there == here and all(each[-1] is None for each in here) and drew == [False] * len(drew)


@pytest.mark.parametrize("what", ["raises", "exits", "true", "high", "build"])
def test_failures_are_those_of_policies_beside_the_mission(what):
    here, there, _ = both("hunt", [own("Bad", what=what), own("Bad", what=what)], range(4))
    assert there == here and [each[-1] is None for each in here] == [True, True, False, True]


def test_what_is_drawn_from_generators_of_the_process_is_known():
    assert both("hunt", [own("Global"), own("Remembers")], [0])[2] == [True, False]


def test_a_batch_that_fails_as_a_whole_fails_as_a_whole():
    mission = mission_of("pole")
    (recipe,) = recipes("pole", [own("ShortRows", what="list")])
    way = OnProcesses(recipe, mission, 1)
    with pytest.raises(PolicyFailed, match="act_batch gave"):
        outcomes(mission, [None], range(4), wrap=lambda _: way)
    way.close()


def test_more_copies_later_are_no_trouble_and_children_end():
    mission = mission_of("hunt")
    (recipe,) = recipes("hunt", [own("Remembers")])
    way, beside = OnProcesses(recipe, mission, 2), recipe.build(mission)
    for episodes in ([0], [1, 2, 3], [4], range(6)):
        found = outcomes(mission, [None], episodes, wrap=lambda _: way)
        assert [plain(each) for each in found] == [plain(each) for each in outcomes(mission, [beside], episodes)]
    pids = [child._process.pid for child in way._children]
    assert len(pids) == 2
    way.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_arrays_of_both_sides_are_the_same_memory():
    specs = mission_of("market").world.specs
    file = memory(size_of(specs, 3))
    one, other = Shared(file, specs, 3), Shared(file, specs, 3)
    os.close(file)
    arrays = [*zip(one.observations, other.observations, strict=True), *zip(one.masks, other.masks, strict=True)]
    arrays += [
        (getattr(one, name), getattr(other, name)) for name in ("count", "agents", "places", "streams", "actions")
    ]
    for value, (here, there) in enumerate(arrays, 1):
        assert here.shape == there.shape and not here.any()
        here[:] = value
    for value, (_, there) in enumerate(arrays, 1):
        assert (there == value).all(), "no two overlap"
