"""What earlier versions wrote down is read as what it meant."""

import copy

import pytest
from omegaconf import OmegaConf

from inference.agent import agent_search
from scoundrel_ray.playing.record import GameRecord, load_all, save_all
from scoundrel_ray.runs.directory import saved_config
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.searches.gumbel import Gumbel
from scoundrel_ray.searches.puct import Puct
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.earlier import current, current_run

SEARCHES = "scoundrel_ray.searches"
OLD = {
    "game": {"_target_": "x", "worlds": 0},
    "search": {"_target_": f"{SEARCHES}.gumbel.Gumbel", "simulations": 32, "worlds": 3, "noise_share": 0.5},
    "evaluation_search": {"_target_": f"{SEARCHES}.puct.Puct", "simulations": 8, "worlds": 0, "noise_share": 0.0},
    "curriculum": [{"steps": 0, "worlds": 1, "simulations": 8}, {"steps": 9, "worlds": 0}, {"steps": 20, "leaves": 2}],
    "evaluation": {"players": {"uct": {"_target_": "actors.shards.uct", "simulations": 9, "worlds": 16}}},
    "names": ["a", {"_target_": f"{SEARCHES}.uct.Uct", "worlds": 1}],
}
NEW = {
    "game": {"_target_": "x", "worlds": 0},
    "search": {
        "_target_": f"{SEARCHES}.gumbel.Gumbel",
        "simulations": 32,
        "tree": "per_world",
        "worlds": 3,
        "noise_scale": 0.5,
    },
    "evaluation_search": {
        "_target_": f"{SEARCHES}.puct.Puct",
        "simulations": 8,
        "tree": "shared",
        "worlds": 1,
        "noise_share": 0.0,
    },
    "curriculum": [
        {"steps": 0, "tree": "per_world", "worlds": 1, "simulations": 8},
        {"steps": 9, "tree": "shared", "worlds": 1},
        {"steps": 20, "leaves": 2},
    ],
    "evaluation": {
        "players": {"uct": {"_target_": "actors.shards.uct", "simulations": 9, "tree": "per_world", "worlds": 16}}
    },
    "names": ["a", {"_target_": f"{SEARCHES}.uct.Uct", "tree": "per_world", "worlds": 1}],
}


def test_settings_of_an_earlier_version_are_renamed_and_those_of_this_one_kept():
    before = copy.deepcopy(OLD)
    assert current_run(OLD) == NEW
    assert current_run(NEW) == NEW
    assert before == OLD
    stages = [{"steps": 3, "worlds": 2}]  # of a run of this version: the search has its tree
    assert current_run({**NEW, "curriculum": stages})["curriculum"] == stages
    assert current({"a": 1}) == {"a": 1} and current(3) == 3


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        (OLD["search"], Gumbel(simulations=32, tree="per_world", worlds=3, noise_scale=0.5)),
        (OLD["evaluation_search"], Puct(simulations=8, tree="shared", noise_share=0.0)),
        (OLD["names"][1], Uct(tree="per_world", worlds=1)),
    ],
    ids=["gumbel", "puct", "uct"],
)
def test_they_make_the_search_that_they_made(section, wanted):
    assert build("search", current(section), SearchConfig) == wanted


def test_a_run_of_an_earlier_version_is_found_with_its_search(tmp_path):
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(OLD)))
    saved = saved_config(tmp_path)
    assert saved == NEW
    assert agent_search(saved["evaluation_search"], 64) == {**NEW["evaluation_search"], "simulations": 64}


def test_players_of_an_earlier_record_are_those_of_a_new_one(tmp_path):
    """Games of one player, recorded before and after, are of one player: its settings are equal."""
    for name, whole in (("old", OLD), ("new", NEW)):
        settings = {"trained": {"network": {}, "search": whole["search"]}, "uct": whole["evaluation"]["players"]["uct"]}
        save_all(tmp_path / name, [GameRecord({"_target_": "x"}, [1], players=["trained"], settings=settings)])
    (old,), (new,) = load_all(tmp_path / "old"), load_all(tmp_path / "new")
    assert old.settings == new.settings and repr(old.settings) == repr(new.settings)
