"""Learners and replays as a user may write them: one that has all that is wanted, and some that lack something."""

from dataclasses import dataclass

import numpy as np

from learners.alphazero import AlphaZero, AlphaZeroConfig
from scoundrel_ray.experience.replay import UniformReplay


@dataclass(frozen=True)
class OwnLearner:
    """Learns from observations and values alone."""

    batch_size: int = 8

    def row_dtype(self, spec):
        return np.dtype([("observation", spec.dtype, (spec.observation_size,)), ("value", np.float32, (spec.values,))])

    def make(self, network, seed):
        return AlphaZero(network, AlphaZeroConfig(device="cpu"))


@dataclass(frozen=True)
class ForeignRows(OwnLearner):
    """Wants a field that self-play does not give."""

    def row_dtype(self, spec):
        return np.dtype([("observation", spec.dtype, (spec.observation_size,)), ("reward", np.float32)])


@dataclass(frozen=True)
class OtherRows(OwnLearner):
    """Wants a field of another type than self-play's."""

    def row_dtype(self, spec):
        return np.dtype([("value", np.float64, (spec.values,))])


class WithoutState:
    """A learner that cannot be kept."""

    version = 0

    def step(self, rows):
        return {}

    def weights(self):
        return {}


@dataclass(frozen=True)
class MakesWithoutState(OwnLearner):
    def make(self, network, seed):
        return WithoutState()


@dataclass(frozen=True)
class WithoutRows:
    """Settings of a learner that do not say what it reads."""

    batch_size: int = 8

    def make(self, network, seed):
        return WithoutState()


@dataclass(frozen=True)
class OwnReplay:
    """A replay like any other."""

    most_batch: int = 1000

    def make(self, dtype, stream):
        return UniformReplay(capacity=100, min_rows=1).make(dtype, stream)


class WithoutRestore:
    """A replay that cannot go on."""

    def insert(self, rows):
        pass

    def sample(self, count):
        return None

    def status(self):
        return {}

    def state(self):
        return {}


@dataclass(frozen=True)
class MakesWithoutRestore(OwnReplay):
    def make(self, dtype, stream):
        return WithoutRestore()


@dataclass(frozen=True)
class WithoutMost:
    """Settings of a replay that do not say how much it gives."""

    def make(self, dtype, stream):
        return WithoutRestore()
