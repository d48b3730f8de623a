"""Learner actor: a Ray shell that samples from the replay, steps a plain learner and hands out its weights."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError

from scoundrel_ray.runs.plan import AgentPlan
from scoundrel_ray.runs.settings import TrainConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import within_section
from scoundrel_ray.streams import Purpose, agent_seed, agent_stream, generator, generator_state, restore_generator
from scoundrel_ray.symmetry import Symmetries

_remote: Any = ray.remote  # type checkers do not see what it adds
_WITHOUT_REPLAY_S = 0.1  # before a stretch that its dead replay cut short ends: the supervisor replaces it meanwhile


# It says that it is there on a thread of its own, whatever its learner is at.
@_remote(concurrency_groups={"control": 1}, enable_task_events=False)  # pyright: ignore[reportCallIssue]
class LearnerActor:
    """Trains one agent's network, in stretches that the supervisor asks for.

    Args:
        agent: its name.
        plan: of the agent.
        replay: handle of its replay actor.
        seed: of the run.
        threads: of torch.
        symmetries: the guises that rows are learned from in; None for rows as they are.
        state: of a checkpoint to go on from (see `state`).
        weights: float32 by name, to start from in place of fresh ones.
    """

    def __init__(
        self,
        agent: str,
        plan: AgentPlan,
        replay: Any,
        seed: int,
        threads: int,
        symmetries: Symmetries | None = None,
        state: Mapping[str, Any] | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        import torch

        from learners.learner import LearnerSettings
        from scoundrel_ray.network import load, make_network

        torch.set_num_threads(threads)
        settings = build(f"agents.{agent}.learner", plan.learner, LearnerSettings)
        network = make_network(plan.network, plan.spec, agent_seed(seed, Purpose.NETWORK, agent))
        if weights is not None:
            load(network, weights)
        with within_section(f"agents.{agent}.learner"):
            self._learner = settings.make(network, agent_seed(seed, Purpose.LEARNER, agent))
        self._batch_size = settings.batch_size
        self._symmetries = symmetries
        self._guises = generator(agent_stream(seed, Purpose.SYMMETRIES, agent))
        if state is not None:
            self._learner.restore(state["learner"])
            restore_generator(self._guises, state["guises"])
        self._replay = replay
        self._next: Any = None

    def train(self, most_steps: int, seconds: float, ahead: bool = True) -> dict[str, Any]:
        """Up to `most_steps` steps, or as many as the replay feeds within `seconds`.

        Args:
            most_steps, seconds: of the stretch.
            ahead: whether the next batch is always under way, so that sampling overlaps with learning.

        Returns:
            metrics: means over the steps of whatever the learner gives, and weights_lag (versions between a row's
                weights and the learner's) where rows have a version.
            steps, version, wait_s (for batches), total_s.
        """
        start = time.perf_counter()
        sums: dict[str, float] = {}
        steps, waited_s = 0, 0.0
        while steps < most_steps and (left := seconds - (time.perf_counter() - start)) > 0:
            before = time.perf_counter()
            try:
                rows = self._batch(left if ahead else 0.0, ahead)
            except RayActorError:  # the replay: what was learned until now counts
                self._next = None
                time.sleep(_WITHOUT_REPLAY_S)
                break
            finally:
                waited_s += time.perf_counter() - before
            if rows is None:
                if not ahead:
                    break
                continue  # held back for as long as we could wait
            steps += 1
            for name, value in self._step(rows).items():
                sums[name] = sums.get(name, 0.0) + float(value)
        return {
            "metrics": {name: value / steps for name, value in sums.items()},
            "steps": steps,
            "version": self._learner.version,
            "wait_s": waited_s,
            "total_s": time.perf_counter() - start,
        }

    def _step(self, rows: np.ndarray) -> dict[str, float]:
        if self._symmetries is not None:
            rows = self._symmetries.see(rows, self._guises.integers(len(self._symmetries), size=len(rows)))
        metrics = dict(self._learner.step(rows))
        if "version" in (rows.dtype.names or ()):
            metrics["weights_lag"] = self._learner.version - 1 - float(rows["version"].mean())
        return metrics

    def _batch(self, seconds: float, ahead: bool) -> np.ndarray | None:
        """The batch under way; with `ahead`, the next one is asked for behind it."""
        ask = self._replay.sample.remote
        mine = self._next or ask(self._batch_size, seconds)
        self._next = None
        rows: Any = ray.get(mine)
        if rows is not None and ahead:
            self._next = ask(self._batch_size, seconds)
        return rows

    def attach(self, replay: Any) -> int:
        """Take batches from another replay from now on; returns the samples taken so far."""
        self._replay, self._next = replay, None
        return self._learner.version * self._batch_size

    def version(self) -> int:
        """Version of the weights: steps done."""
        return self._learner.version

    def samples(self) -> int:
        """Samples learned from so far."""
        return self._learner.version * self._batch_size

    def weights(self) -> dict[str, np.ndarray]:
        """The weights that rollouts should use now."""
        return self._learner.weights()

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs to go on bit for bit."""
        return {"learner": self._learner.state(), "guises": generator_state(self._guises)}

    @ray.method(concurrency_group="control")
    def pid(self) -> int:
        """Process id; any answer says that the process is there."""
        return os.getpid()


def make_learner(
    agent: str,
    plan: AgentPlan,
    config: TrainConfig,
    replay: Any,
    symmetries: Symmetries | None,
    state: Mapping[str, Any] | None,
    weights: Mapping[str, np.ndarray] | None,
) -> Any:
    """Handle of a new learner of an agent (see `LearnerActor`)."""
    cluster = config.cluster
    options = LearnerActor.options(num_cpus=cluster.learner_cpus, num_gpus=cluster.learner_gpus)
    return options.remote(agent, plan, replay, config.seed, cluster.learner_threads, symmetries, state, weights)
