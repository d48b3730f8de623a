"""Learner actor: a Ray shell that samples from the replay, steps a plain learner and hands out its weights."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray

from scoundrel_ray.game import Game
from scoundrel_ray.settings.build import build

_remote: Any = ray.remote  # type checkers do not see what it adds


@_remote
class LearnerActor:
    """Trains one agent's network, in stretches that the supervisor asks for.

    Args:
        game, network, learner: config sections.
        replay: handle of the replay actor.
        seed: of the network's first weights and of the learner.
        threads: of torch.
        state: of a checkpointed learner to go on from.
    """

    def __init__(
        self,
        game: dict[str, Any],
        network: dict[str, Any],
        learner: dict[str, Any],
        replay: Any,
        seed: int,
        threads: int,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        import torch

        from learners.learner import LearnerConfig
        from scoundrel_ray.network import make_network

        torch.set_num_threads(threads)
        settings = build("learner", learner, LearnerConfig)
        self._learner = settings.make(make_network(network, build("game", game, Game).spec, seed), seed)
        if state is not None:
            self._learner.restore(state)
        self._replay = replay
        self._next: Any = None

    def train(self, most_steps: int, seconds: float) -> dict[str, Any]:
        """Up to `most_steps` steps, or as many as the replay feeds within `seconds`.

        The batch after the one in use is always under way, so sampling overlaps with learning.

        Returns:
            metrics: means over the steps, weights_lag (versions between a row's weights and the learner's) included.
            steps, version, wait_s (for batches), total_s.
        """
        start = time.perf_counter()
        sums: dict[str, float] = {}
        steps, waited_s = 0, 0.0
        while steps < most_steps and (left := seconds - (time.perf_counter() - start)) > 0:
            before = time.perf_counter()
            rows = self._batch(left)
            waited_s += time.perf_counter() - before
            if rows is None:  # held back for as long as we could wait
                continue
            metrics = dict(self._learner.step(rows))
            metrics["weights_lag"] = self._learner.version - 1 - float(rows["version"].mean())
            steps += 1
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + value
        return {
            "metrics": {name: value / steps for name, value in sums.items()},
            "steps": steps,
            "version": self._learner.version,
            "wait_s": waited_s,
            "total_s": time.perf_counter() - start,
        }

    def _batch(self, seconds: float) -> np.ndarray | None:
        """The batch under way, and another asked for behind it."""
        ask = self._replay.sample.remote
        mine = self._next or ask(self._learner.batch_size, seconds)
        self._next = None
        rows: Any = ray.get(mine)
        if rows is not None:
            self._next = ask(self._learner.batch_size, seconds)
        return rows

    def version(self) -> int:
        """Of the weights: steps done."""
        return self._learner.version

    def weights(self) -> dict[str, np.ndarray]:
        """The weights that rollouts should use now."""
        return self._learner.weights()

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs to go on bit for bit."""
        return self._learner.state()

    def pid(self) -> int:
        """Process id, for tests that kill it."""
        return os.getpid()
