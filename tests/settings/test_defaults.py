"""A setting has one default: what conf/ says and what the code takes without it are the same, wherever both say it."""

import dataclasses
import inspect
from pathlib import Path

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from actors.shards import uct
from scoundrel_ray.decision.shards import Effort
from scoundrel_ray.experience.selfplay import RolloutConfig
from scoundrel_ray.games import scoundrel_state
from scoundrel_ray.runs import settings as runs
from scripts.entry import CONF, section

# What stands on one side alone, and why. Everything else must stand on both.
ONLY_IN_CODE = {
    "search/uct": {"cheating"},  # for benchmarks: conf/evaluation/strength says it where it is wanted
    "player/uct": {"virtual_loss", "cheating"},
    "network/residual_mlp": {"seed"},  # the run's
    "network/card_transformer": {"seed"},
    "network/actor_critic": {"seed"},
    "network/quantile": {"seed"},
}
# Both depend on conf/player, which code alone does not read.
OF_PLAYERS = {"players", "baselines"}


def targets():
    """Path and YAML of every member's base file; other files are presets: they list another, or rename the member."""
    found = []
    for path in sorted(CONF.glob("*/*.yaml")):
        content = OmegaConf.to_container(OmegaConf.load(path))
        name = content.get("_target_", "")
        text = path.read_text(encoding="utf-8")
        if "${" in text or "???" in text:  # its settings are those of other sections, or have no default
            continue
        if name and (path.parent.name in ("player", "learner", "replay") or path.stem in name):
            found.append((f"{path.parent.name}/{path.stem}", get_object(name)))
    return found


TARGETS = targets()
MEMBERS = {name: target for name, target in TARGETS if name != "game/scoundrel"}  # its options have a table


def records():
    """Key and kind of every record of settings: the sections of a run, the run itself and, of the run, the arena."""
    kinds = {kind for kind in vars(runs).values() if dataclasses.is_dataclass(kind) and kind.__module__}
    named = {**runs._RECORDS, "rollout": RolloutConfig, "": runs.TrainConfig}
    of_agents = {runs.AgentSettings}  # what an agent leaves out is the run's, or nothing
    assert kinds <= set(named.values()) | of_agents, "a record of settings without a section"
    return named


def plain(value):
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def defaults(target):
    """Name and default of each setting of a class or function that has one."""
    parameters = inspect.signature(target).parameters.values()
    assert not [p for p in parameters if p.kind is p.VAR_KEYWORD], f"{target} hides its settings"
    return {p.name: plain(p.default) for p in parameters if p.default is not p.empty}


def test_members_and_records_are_found():
    assert {"search/uct", "search/puct", "search/gumbel", "learner/alphazero", "player/uct", "game/blob"} <= set(
        MEMBERS
    )
    assert {"learner/alphazero", "replay/uniform", "network/residual_mlp", "network/card_transformer"} <= set(MEMBERS)
    assert set(records()) == {"rollout", "inference", "cluster", "evaluation", "arena", "episodes", ""}
    groups = {path.parent.name for path in CONF.glob("*/*.yaml")}
    records_of = {"rollout", "inference", "cluster", "evaluation", "held_episodes", "mission"}
    of_sections = {"agents", "source", "experiment", "debug", "suite", "mission_set", "policy"}  # made of the others
    assert groups == {name.partition("/")[0] for name in MEMBERS} | records_of | of_sections


@pytest.mark.parametrize("name", MEMBERS)
def test_members_have_the_defaults_of_conf(name):
    written = {key: plain(value) for key, value in section(*name.split("/")).items() if key != "_target_"}
    code = defaults(MEMBERS[name])
    assert set(code) - set(written) == ONLY_IN_CODE.get(name, set())
    assert {key: code[key] for key in code if key in written} == {key: written[key] for key in written if key in code}


@pytest.mark.parametrize("key", records(), ids=lambda key: key or "train")
def test_records_have_the_defaults_of_a_training_run(key):
    settings = section("", "train")
    written = settings[key] if key else settings
    code = {}
    for field in dataclasses.fields(records()[key]):
        if field.default is not dataclasses.MISSING:
            code[field.name] = plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            code[field.name] = plain(field.default_factory())
    of_sections = {name for name, value in code.items() if dataclasses.is_dataclass(value)}  # compared by themselves
    left = set(code) - of_sections - (OF_PLAYERS if key == "evaluation" else set())
    assert left and left <= set(written)
    assert {name: code[name] for name in left} == {name: plain(written[name]) for name in left}


def test_the_options_of_scoundrel_begin_with_its_default():
    written = section("game", "scoundrel")
    assert written.pop("_target_")
    assert written == {option: readings[0] for option, readings in scoundrel_state.OPTIONS.items()}


def test_an_effort_has_the_defaults_of_the_player_that_makes_it():
    code = defaults(uct)
    assert defaults(Effort) == {field.name: code[field.name] for field in dataclasses.fields(Effort)}


def test_no_conf_file_is_overlooked():
    """Every file with a member is compared, or is a preset of one that is."""
    compared = {Path(CONF, f"{name}.yaml") for name, _ in TARGETS}
    for path in set(CONF.glob("*/*.yaml")) - compared:
        name = OmegaConf.load(path).get("_target_")
        if path.parent.name in ("suite", "source", "policy") or path.stem in ("trained", "pettingzoo"):
            continue  # their settings are those of other sections, or have no default
        assert name is None or any(get_object(name) is target for _, target in TARGETS), path
