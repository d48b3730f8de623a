"""What tests share: small settings of a run, shared memory of their own, and a local Ray that ends with its tests."""

import copy
import functools

import numpy as np
import pytest

from inference.shm_directory import ROOT_VARIABLE, shared_root
from scoundrel_ray.runs.settings import train_config
from scoundrel_ray.settings import handed
from scoundrel_ray.settings.build import build
from scoundrel_ray.world import AnyWorld
from scripts.entry import section

SMALL = {
    "search": {"simulations": 8, "considered": 4},
    "evaluation_search": {"simulations": 8, "considered": 4},
    "network": {"width": 16, "blocks": 1},
    "learner": {"batch_size": 32},
    "replay": {"capacity": 4000, "min_rows": 200},
    "rollout": {"games": 16, "rows": 100, "seconds": 0.3},
    "inference": {"precision": "float32"},
    "evaluation": {"games": 40, "shard": 20, "baselines": ["random"]},
    "report_s": 0.2,
    "checkpoint_s": 1000.0,
    "publish_steps": 5,
}


def small_settings(game="tic_tac_toe", /, **changes):
    """Plain composed settings of a run that takes seconds; `changes` go by top-level key, sections merged.

    The agents are replaced, and the source is made of the other sections, as in conf/source.
    """
    settings = section("", "train")
    settings["game"] = section("game", game)
    for key, value in [*SMALL.items(), *changes.items()]:
        merged = isinstance(value, dict) and key != "agents"
        settings[key] = {**settings[key], **value} if merged else value
    settings["source"] |= {key: settings[key] for key in ("game", "search", "rollout", "curriculum")}
    return settings


def small_config(game="tic_tac_toe", /, **changes):
    return train_config(small_settings(game, **changes))


WORLD_MEMBERS = {
    "iqn": {"network": "quantile", "replay": "uniform"},
    "ppo": {"network": "actor_critic", "replay": "fragments"},
}
SMALL_WORLD = {
    "treasure_hunt": {"agents": 3, "size": 7, "turns": 10, "spawn": 0.05, "frames": 1},
    "iqn": {"batch_size": 32, "precision": "float32"},
    "ppo": {"batch_size": 64, "length": 8, "minibatch": 32, "epochs": 2},
    "quantile": {"width": 16, "cosines": 8, "acting_quantiles": 2},
    "actor_critic": {"width": 16},
    "uniform": {"capacity": 4000, "min_rows": 100, "tolerance": 2.0},
    "prioritised": {"capacity": 4000, "min_rows": 100, "tolerance": 2.0},
    "fragments": {"capacity": 64},
}


_section = functools.cache(section)  # composing takes its time


def small_world_member(group, name, /, **changes):
    """Section of a member of a world's run, small; `changes` with a `_target_` replace it."""
    if "_target_" in changes:
        return changes
    return {**copy.deepcopy(_section(group, name)), **SMALL_WORLD.get(name, {}), **changes}


def small_world_settings(world="treasure_hunt", learner="iqn", /, **changes):
    """Plain composed settings of a run of a world that takes seconds; `changes` go as in `small_settings`.

    Its agents are those of the world.
    """
    settings = copy.deepcopy(_section("", "train")) | {"game": None, "search": None, "evaluation_search": None}
    settings["world"] = small_world_member("world", world, **changes.pop("world", {}))
    settings["learner"] = small_world_member("learner", learner)
    for group, name in WORLD_MEMBERS[learner].items():
        settings[group] = small_world_member(group, name)
    settings["publish_steps"] = 1 if learner == "ppo" else 5
    settings["rollout"] = {**_section("rollout", "world"), "workers": 1, "copies": 8, "steps": 100, "seconds": 0.3}
    if "agents" not in changes:
        settings["agents"] = {name: {} for name in build("world", settings["world"], AnyWorld).agents}
    settings["source"] = {"_target_": "scoundrel_ray.experience.world_source.WorldSource", "seats": None}
    settings |= {"report_s": 0.2, "checkpoint_s": 1000.0}
    small = {
        "inference": {"precision": "float32", "transport": "local"},
        "cluster": {"stacking": "off"},
        "episodes": {"count": 8, "during": 4, "shard": 4},
    }
    for key, value in [*small.items(), *changes.items()]:
        merged = isinstance(value, dict) and key != "agents"
        settings[key] = {**settings[key], **value} if merged else value
    settings["source"] |= {key: settings[key] for key in ("world", "rollout")}
    return settings


def small_world_config(world="treasure_hunt", learner="iqn", /, **changes):
    return train_config(small_world_settings(world, learner, **changes))


def noisy(arrays, seed):
    """Weights that play otherwise than others: the heads of fresh networks are all zero, and play alike."""
    generator = np.random.default_rng(seed)
    return {name: array + generator.normal(0, 0.2, array.shape).astype(np.float32) for name, array in arrays.items()}


@pytest.fixture(scope="session", autouse=True)
def members():
    """What these tests write into files may name members that lie in tests/."""
    handed.allow("tests")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """What this machine's executors cost is not for tests to write down."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def shared_memory(tmp_path_factory):
    """Where the servers of these tests, here and in processes that they start, share memory: nobody else sweeps it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ROOT_VARIABLE, str(tmp_path_factory.mktemp("shm")))
        yield


def shared_by(pid):
    """The one directory of shared memory of the process with this number."""
    (path,) = [path for path in shared_root().iterdir() if path.name.split("-")[3] == str(pid)]
    return path


@pytest.fixture(scope="module")
def local_ray():
    from actors.cluster import connected

    with connected(2):
        yield
