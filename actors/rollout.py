"""Rollout actor: a Ray shell around a source's collector, with an evaluator for each agent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import psutil
import ray

from inference.build import Served
from inference.segment import Shape
from inference.shm import ShmEvaluator, evaluator_to
from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.experience.source import Source
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.spec import search_heads

_remote: Any = ray.remote  # type checkers do not see what it adds


# Weights and questions have a thread of their own, so that they need not wait for the end of a stretch.
@_remote(concurrency_groups={"control": 1}, enable_task_events=False)  # pyright: ignore[reportCallIssue]
class RolloutActor:
    """Gathers experience and returns it, by agent.

    It is not restarted by Ray: the supervisor makes another with a new `incarnation`, hence new random streams.

    Args:
        source: config section.
        agents: by name, the type of the rows that each learns from; None for one that does not learn.
        served: by name, the form of each agent's network.
        inference: its config.
        servers: handles of the inference actors, by the agents that they serve; empty for networks in this process.
        stream: path of its random streams: seed, worker and incarnation.
        turns: whether networks in this process answer at once, one request at a time; then batches never depend on
            who comes first.
    """

    def __init__(
        self,
        source: dict[str, Any],
        agents: Mapping[str, np.dtype | None],
        served: Mapping[str, Served],
        inference: InferenceConfig,
        servers: Mapping[str, Any],
        stream: tuple[int, int, int],
        turns: bool = False,
    ) -> None:
        seed, worker, incarnation = stream
        self._source = build("source", source, Source)
        self._client = f"rollout-{worker}.{incarnation}"
        self._inference, self._servers = inference, dict(servers)
        self._steps = 0
        self._server: Any = None
        if not servers:
            from inference.local import OwnServer

            self._server = OwnServer(served, inference, self._client, at_once=turns)
        self._evaluators = {agent: self._evaluator(agent, 0) for agent in agents}
        self._collector = self._source.collector(agents, self._evaluators, seed, (worker, incarnation))

    def _evaluator(self, agent: str, learner_steps: int) -> Evaluator:
        if self._server is not None:
            return self._server.evaluator(agent)
        shape = Shape.of(self._source.spec, search_heads(self._source.spec), *self._source.requests(learner_steps))
        return evaluator_to(self._servers[agent], self._inference, self._client, agent, shape)

    def collect(self, learner_steps: int, timed: bool = True) -> tuple[Any, ...]:
        """Report of one stretch, and the rows of each agent that learns (see `Collector.collect`).

        The report also has memory_bytes (of the process), warning (what the user should know, "" for nothing) and
        rows (how many each agent got).
        """
        self._collector.prepare(learner_steps)
        self._make_room(learner_steps)
        rows, report = self._collector.collect(timed)
        report["memory_bytes"] = _memory_bytes()
        warnings = [each.warning for each in self._evaluators.values() if isinstance(each, ShmEvaluator)]
        report["warning"] = next(filter(None, warnings), "")
        report["rows"] = {agent: len(own) for agent, own in rows.items()}
        return report, *rows.values()

    def _make_room(self, learner_steps: int) -> None:
        """Attach again where requests need slots of another size after `learner_steps` steps."""
        before, now = self._source.requests(self._steps), self._source.requests(learner_steps)
        self._steps = learner_steps
        if before == now:
            return
        for agent, evaluator in self._evaluators.items():
            if isinstance(evaluator, ShmEvaluator):
                evaluator.close()  # nothing is under way: other settings drop what was asked under the old ones
                self._evaluators[agent] = self._evaluator(agent, learner_steps)
        self._collector.ask_through(self._evaluators)

    @ray.method(concurrency_group="control")
    def set_weights(self, agent: str, version: int, arrays: Mapping[str, np.ndarray]) -> None:
        """See `InferenceActor.set_weights`; for the server in this process."""
        self._server.set_weights(agent, version, arrays)

    @ray.method(concurrency_group="control")
    def metrics(self) -> dict[str, Any]:
        """See `InferenceActor.metrics`; for the server in this process."""
        return self._server.metrics()

    @ray.method(concurrency_group="control")
    def pid(self) -> int:
        """Process id; any answer says that the process is there."""
        return os.getpid()


def _memory_bytes() -> int:
    """This process's memory; pages that it shares with others, of libraries and of Ray's store, count in part."""
    memory = psutil.Process().memory_full_info()
    return getattr(memory, "pss", memory.uss)
