"""What tests share: small settings of a run, shared memory of their own, and a local Ray that ends with its tests."""

import numpy as np
import pytest

from inference.shm_directory import ROOT_VARIABLE, shared_root
from scoundrel_ray.runs.settings import train_config
from scoundrel_ray.settings import handed
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
