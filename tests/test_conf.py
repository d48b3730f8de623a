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

GROUPS = ("game", "search", "network", "learner", "replay", "rollout", "inference", "cluster", "evaluation")
GROUPS += ("experiment", "debug", "agents", "source")
OF_WORLDS = {"learner=ppo", "replay=fragments", "network=actor_critic"}  # which self-play does not feed
CHOICES = [f"{group}={path.stem}" for group in GROUPS for path in sorted(Path(CONF, group).glob("*.yaml"))]
CHOICES = [choice for choice in CHOICES if choice not in OF_WORLDS]


@pytest.mark.parametrize("override", CHOICES)
def test_composes_and_passes_the_checks(override):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        own = ["game=blob"] if override == "evaluation=blob" else []  # made for that game alone
        config = train_config(composed(hydra.compose("train", [override, *own])))
    check_run(config, source_of(config))
