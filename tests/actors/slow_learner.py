"""A learner that takes a while for every step."""

import time
from dataclasses import dataclass

from learners.alphazero import AlphaZero, AlphaZeroConfig
from scoundrel_ray.network import Network

SLOW = {"_target_": "tests.actors.slow_learner.Slow", "batch_size": 32}


@dataclass(frozen=True)
class Slow(AlphaZeroConfig):
    """Settings of AlphaZero's learner, a tenth of a second slower at every step."""

    def make(self, network: Network, _seed: int) -> AlphaZero:
        return _SlowLearner(network, self)


class _SlowLearner(AlphaZero):
    def step(self, rows):
        time.sleep(0.1)
        return super().step(rows)
