"""A small spec, networks and random transitions for the tests of the IQN learner."""

import numpy as np

from learners.iqn import IQNConfig
from scoundrel_ray.experience.rows import transition_dtype
from scoundrel_ray.networks.quantile import QuantileNetwork
from scoundrel_ray.spec import Field, Spec, random_observations

SPEC = Spec("test", (Field("codes", 3, 0, 4), Field("far", 2, 0, 9, "number")), 3, 1, 3)


def network_of(seed=1, spec=SPEC, **settings):
    return QuantileNetwork(spec, **{"width": 12, "cosines": 8, "acting_quantiles": 4, "seed": seed, **settings})


def config_of(**settings):
    return IQNConfig(**{"device": "cpu", "precision": "float32", "batch_size": 32, "target_every": 3, **settings})


def learner_of(seed=1, spec=SPEC, network=None, **settings):
    return config_of(**settings).make(network_of(seed, spec, **(network or {})), seed)


def random_rows(count=32, seed=0, spec=SPEC, weighted=False):
    """Transitions with masks that leave at least one action, a fifth of them terminations."""
    generator = np.random.default_rng(seed)
    dtype = transition_dtype(spec)
    if weighted:
        dtype = np.dtype([*((name, dtype[name]) for name in dtype.names), ("key", np.int64), ("weight", np.float32)])
    rows = np.zeros(count, dtype)
    rows["observation"] = random_observations(spec, count, seed)
    rows["next_observation"] = random_observations(spec, count, seed + 1000)
    rows["action"] = generator.integers(spec.actions, size=count)
    rows["reward"] = generator.normal(size=count)
    rows["discount"] = np.where(generator.random(count) < 0.2, 0.0, 0.97)
    rows["next_mask"] = generator.integers(2, size=(count, spec.actions))
    rows["next_mask"][np.arange(count), generator.integers(spec.actions, size=count)] = 1
    if weighted:
        rows["weight"] = generator.uniform(0.1, 1.0, count)
    return rows


def assert_same(got, wanted):
    """Two trees of plain data and arrays are equal bit for bit."""
    if isinstance(wanted, dict):
        assert got.keys() == wanted.keys()
        for name in wanted:
            assert_same(got[name], wanted[name])
    elif isinstance(wanted, np.ndarray):
        np.testing.assert_array_equal(got, wanted)
    else:
        assert got == wanted
