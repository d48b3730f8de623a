"""Every file of conf/ that a run can be composed of holds settings that pass the checks."""

from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra

from actors.checking import check_run
from scoundrel_ray.runs.plan import source_of
from scoundrel_ray.runs.settings import train_config
from scoundrel_ray.settings.build import composed
from scripts.entry import CONF

GROUPS = ("game", "world", "search", "network", "learner", "replay", "rollout", "inference", "cluster", "evaluation")
GROUPS += ("held_episodes@episodes", "experiment", "debug", "agents", "source")
CHOICES = [
    f"{group}={path.stem}" for group in GROUPS for path in sorted(Path(CONF, group.partition("@")[0]).glob("*.yaml"))
]

OF_A_WORLD = ["world=treasure_hunt", "source=world", "rollout=world", "agents=ten", "network=quantile", "learner=iqn"]
OF_PPO = ["learner=ppo", "replay=fragments", "network=actor_critic", "publish_steps=1"]
ONE = ["agents=one"]  # which acts for all
ENV = "world.env._target_=tests.worlds.tiny_environments."
COMPANIONS = {
    "evaluation=blob": ["game=blob"],  # made for that game alone
    **dict.fromkeys(("source=world", "rollout=world", "network=quantile", "learner=iqn"), OF_A_WORLD),
    **dict.fromkeys(
        ("replay=prioritised", "held_episodes@episodes=default", "agents=ten", "world=treasure_hunt"), OF_A_WORLD
    ),
    **{choice: [*OF_A_WORLD, *OF_PPO] for choice in OF_PPO[:3]},
    "agents=five": [*OF_A_WORLD, "world.agents=5"],
    "world=cleanup": [*OF_A_WORLD, "agents=five"],
    "world=tag": [*OF_A_WORLD, *ONE],
    "agents=tag": [*OF_A_WORLD, "world=tag"],
    "world=gymnasium": [*OF_A_WORLD, *ONE],
    "world=pettingzoo": [*OF_A_WORLD, *ONE, f"{ENV}parallel_stairs"],
}
"""What a choice is made for, where that is not the default run."""


def together(override):
    """Overrides of a run with this choice; of two of one group the choice's own, else the later one, is taken."""
    found = {}
    for each in [*COMPANIONS.get(override, []), override]:
        found[each.partition("=")[0]] = each
    return [*found.values()]


def checked(*overrides):
    """Compose a run, and check it."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = train_config(composed(hydra.compose("train", list(overrides))))
    source = source_of(config)
    check_run(config, source)
    return config, source


def test_companions_are_of_choices():
    assert set(COMPANIONS) <= set(CHOICES)


@pytest.mark.parametrize("override", CHOICES)
def test_composes_and_passes_the_checks(override):
    checked(*together(override))


@pytest.mark.parametrize("replay", ["uniform", "prioritised"])
def test_every_replay_can_lie_beside_its_learner(replay):
    config, _ = checked(*OF_A_WORLD, f"replay={replay}", "replay.place=learner")
    assert {agent.replay_place for agent in config.agents.values()} == {"learner"}


def test_fragments_can_lie_beside_their_learner():
    config, _ = checked(*together("replay=fragments"), "replay.place=learner")
    assert {agent.replay_place for agent in config.agents.values()} == {"learner"}


def test_the_experiment_of_ten_agents_has_ten_learners_in_one_process():
    config, source = checked("experiment=treasure_hunt")
    assert config.groups == (tuple(f"agent_{number}" for number in range(10)),)
    assert source.seating([*config.agents]) == tuple(range(10))
