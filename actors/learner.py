"""Learner actor: a Ray shell that samples from the replay, steps a plain learner and hands out its weights."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import ray


class Starved(RuntimeError):
    """The replay gave no batch within the deadline; the message says what it had."""


@ray.remote
class LearnerActor:
    """Trains one agent's network, in stretches that the supervisor asks for.

    Args:
        game, network, learner: config sections.
        replay: handle of the replay actor.
        seed: of the network's first weights.
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
        state: dict[str, Any] | None = None,
    ) -> None:
        import torch

        from learners import make_learner

        torch.set_num_threads(threads)
        self._learner = make_learner(game, network, learner, seed)
        if state is not None:
            self._learner.restore(state)
        self._replay = replay
        self._batch = self._learner.batch_size
        self._next: Any = None

    def train(self, most_steps: int, seconds: float) -> dict[str, Any]:
        """Up to `most_steps` steps, or as many as the replay feeds within `seconds`; returns their mean metrics.

        The batch after the one in use is always under way, so sampling overlaps with learning.
        """
        start = time.perf_counter()
        waited_s = 0.0
        steps = 0
        sums: dict[str, float] = {}
        lag = 0.0
        while steps < most_steps:
            left = seconds - (time.perf_counter() - start)
            if left <= 0:
                break
            if self._next is None:
                self._next = self._replay.sample.remote(self._batch, left)
            before = time.perf_counter()
            rows: np.ndarray | None = ray.get(self._next)
            self._next = None
            waited_s += time.perf_counter() - before
            if rows is None:  # the limiter held it back for as long as we could wait
                continue
            if steps + 1 < most_steps:
                self._next = self._replay.sample.remote(self._batch, max(left, 0.1))
            metrics = self._learner.step(rows)
            lag += self._learner.version - float(rows["version"].mean())
            steps += 1
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + value
        report: dict[str, Any] = {name: value / steps for name, value in sums.items()} if steps else {}
        if steps:
            report["weights_lag"] = lag / steps
        return {
            "metrics": report,
            "steps": steps,
            "version": self._learner.version,
            "wait_s": waited_s,
            "total_s": time.perf_counter() - start,
        }

    def weights(self) -> dict[str, np.ndarray]:
        """The weights that rollouts should use now."""
        return self._learner.weights()

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs to go on bit for bit."""
        return self._learner.state()

    def pid(self) -> int:
        """Process id, for tests that kill it."""
        return os.getpid()
