"""Every world of conf/world is built by its file, with the defaults of its `make`, and keeps the contract."""

import inspect
import pkgutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from scoundrel_ray.conformance.of_worlds import check_world
from scoundrel_ray.settings.build import build, target_of
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.world import World

CONF = Path(__file__).parents[2] / "conf" / "world"


def sections():
    """Name -> section, of worlds of compiled rules; adapted environments are none."""
    for path in sorted(CONF.glob("*.yaml")):
        section = OmegaConf.to_container(OmegaConf.load(path))
        try:
            target_of("world", section, World)
        except InvalidConfig:
            continue
        yield path.stem, section


WORLDS = dict(sections())


def test_the_files_are_found():
    assert {"treasure_hunt", "cleanup", "tag"} <= set(WORLDS)


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_of_the_configs_keeps_the_contract(name):
    """As configured, but for fewer turns, as they are played through and checked one by one."""
    world = build("world", {**WORLDS[name], "turns": 12}, World)
    assert world.name == name and world.section["_target_"] == WORLDS[name]["_target_"]
    check_world(world, episodes=4, twins=1)


@pytest.mark.parametrize("name", WORLDS)
def test_a_file_says_what_is_the_default_of_every_option(name):
    make = pkgutil.resolve_name(WORLDS[name]["_target_"])
    defaults = {key: each.default for key, each in inspect.signature(make).parameters.items()}
    assert {key: value for key, value in WORLDS[name].items() if key != "_target_"} == defaults
    assert make().options == defaults
