"""Rollout actor: a Ray shell around a source's collector, with an evaluator for each agent."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import psutil
import ray

from inference.build import Served
from inference.lines import evaluators_to
from inference.segment import Shape
from inference.shm import ShmEvaluator
from scoundrel_ray.evaluation.episodes import TRAINED, Episodes, play_episodes, players_for
from scoundrel_ray.evaluator import AgentEvaluator, lines
from scoundrel_ray.experience.rows import counted
from scoundrel_ray.experience.source import Progress, Source
from scoundrel_ray.runs.plan import AgentPlan, with_policy
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.settings.build import build

_remote: Any = ray.remote  # type checkers do not see what it adds


# Weights and questions have a thread of their own, so that they need not wait for the end of a stretch.
@_remote(concurrency_groups={"control": 1}, enable_task_events=False)  # pyright: ignore[reportCallIssue]
class RolloutActor:
    """Gathers experience and returns it, by agent.

    It is not restarted by Ray: the supervisor makes another with a new `incarnation`, hence new random streams.

    Args:
        source: config section.
        agents: plans by name.
        own: whether networks answer in this process.
        inference: its config.
        servers: handles of the inference actors, by the agents that they serve; empty if `own`.
        stream: path of its random streams: seed, worker and incarnation.
        shards: numbers of the shards of experience that it gathers.
        turns: whether networks in this process answer at once, one request at a time; then batches never depend on
            who comes first.
    """

    def __init__(
        self,
        source: dict[str, Any],
        agents: Mapping[str, AgentPlan],
        own: bool,
        inference: InferenceConfig,
        servers: Mapping[str, Any],
        stream: tuple[int, int, int],
        shards: Sequence[int],
        turns: bool = False,
    ) -> None:
        seed, worker, incarnation = stream
        self._source = build("source", source, Source)
        self._client = f"rollout-{worker}.{incarnation}"
        self._inference, self._servers = inference, dict(servers)
        self._agents = dict(agents)
        self._steps = 0
        self._server: Any = None
        if own:
            from inference.local import OwnServer

            served = {name: Served(plan.spec, dict(plan.network)) for name, plan in agents.items()}
            self._server = OwnServer(served, inference, self._client, at_once=turns)
        self._evaluators = self._connected(0)
        roles = {name: plan.role for name, plan in agents.items()}
        self._collectors = {
            shard: self._source.collector(roles, self._evaluators, seed, (shard, incarnation)) for shard in shards
        }

    def _connected(self, learner_steps: int) -> dict[str, AgentEvaluator]:
        """An evaluator for each agent, with room for what is asked after `learner_steps` steps."""
        if self._server is not None:
            return self._server.evaluators
        requests = self._source.requests(learner_steps, [*self._agents])
        shapes = {agent: Shape.of(plan.spec, plan.heads, *requests) for agent, plan in self._agents.items()}
        return evaluators_to(self._servers, self._inference, self._client, shapes)

    def _shared(self) -> list[ShmEvaluator]:
        """What asks through shared memory."""
        behind = [line.evaluator for line in lines(self._evaluators.values())]
        return [each for each in behind if isinstance(each, ShmEvaluator)]

    def collect(self, shard: int, progress: Progress, timed: bool = True) -> tuple[Any, ...]:
        """Report of one stretch of a shard, and the rows of each agent that learns (see `Collector.collect`).

        The report also has memory_bytes (of the process), warning (what the user should know, "" for nothing) and
        rows (what those that each agent got count as, see `scoundrel_ray.experience.rows.counted`).
        """
        collector = self._collectors[shard]
        collector.prepare(progress)
        self._make_room(progress.learner_steps)
        rows, report = collector.collect(timed)
        report["memory_bytes"] = _memory_bytes()
        report["warning"] = next(filter(None, (each.warning for each in self._shared())), "")
        report["rows"] = {agent: counted(own) for agent, own in rows.items()}
        return report, *rows.values()

    def play_episodes(
        self, kinds: Sequence[str], seed: int, count: int, seen: bool, draw: bool
    ) -> tuple[dict[str, Episodes], list[np.ndarray]]:
        """Held episodes of a world, played without exploration (see `scoundrel_ray.evaluation.episodes`).

        Args:
            kinds: who plays them, in turn: "trained", "random" or "rule".
            seed: of the episodes.
            count: of each kind.
            seen: whether pictures of the first trained one are given.
            draw: whether agents with a policy draw their actions by it.
        """
        source: Any = self._source
        world, agents = source.built_world, [*self._agents]
        frames: list[np.ndarray] = []
        found = {}
        for kind in kinds:
            trained = kind == TRAINED
            seats = [agents[owner] for owner in source.seating(agents)] if trained else [kind] * len(world.agents)
            drawing = with_policy(self._agents) if draw else ()
            players = players_for(world, seats, self._evaluators, seed, 0, drawing)
            found[kind] = play_episodes(world, players, seed, 0, count, frames if trained and seen else None)
        return found, frames

    def _make_room(self, learner_steps: int) -> None:
        """Attach again where requests need slots of another size after `learner_steps` steps."""
        agents, shared = [*self._agents], self._shared()
        before, now = self._source.requests(self._steps, agents), self._source.requests(learner_steps, agents)
        self._steps = learner_steps
        if before == now or not shared:
            return
        for each in shared:
            each.close()  # nothing is under way: other settings drop what was asked under the old ones
        self._evaluators = self._connected(learner_steps)
        for collector in self._collectors.values():
            collector.ask_through(self._evaluators)

    @ray.method(concurrency_group="control")
    def set_weights(self, agent: str, version: int, arrays: Mapping[str, np.ndarray]) -> None:
        """See `InferenceActor.set_weights`; for the server in this process."""
        self._server.set_weights(agent, version, arrays)

    @ray.method(concurrency_group="control")
    def metrics(self) -> dict[str, Any]:
        """See `InferenceActor.metrics`; for the server in this process."""
        return self._server.metrics()

    @ray.method(concurrency_group="control")
    def stuck(self, seconds: float) -> str:
        """Which environment has not come back for so many seconds, with its seed and step; "" if none has."""
        asked = [getattr(collector, "stuck", None) for collector in self._collectors.values()]
        return next(filter(None, (stuck(seconds) for stuck in asked if stuck is not None)), "")

    @ray.method(concurrency_group="control")
    def pid(self) -> int:
        """Process id; any answer says that the process is there."""
        return os.getpid()


def _memory_bytes() -> int:
    """This process's memory; pages that it shares with others, of libraries and of Ray's store, count in part."""
    memory = psutil.Process().memory_full_info()
    return getattr(memory, "pss", memory.uss)
