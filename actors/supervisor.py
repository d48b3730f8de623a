"""The supervisor: it wires the parts of a run, keeps each of them busy, and has actors replaced that die.

    rollout workers --rows by agent--> replays --batches--> learners --weights--> inference --answers--> rollout workers

Two short bodies stand over the same parts: `tick`, where all go on at their own pace and nothing blocks, and `turn`,
where workers and learners take turns, so that every run gives the same losses.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from actors.agent import Agent
from actors.calls import Calls, Failure, RunFailed
from actors.episodes import RunEpisodes
from actors.host import Host, Part
from actors.moment import content
from actors.pulse import Pulse
from actors.room import Room
from actors.servers import Servers
from actors.workers import Workers
from scoundrel_ray.experience.source import Progress, Source
from scoundrel_ray.notices import warn
from scoundrel_ray.runs.plan import RunPlan, plan_of
from scoundrel_ray.runs.settings import TrainConfig
from scoundrel_ray.settings.build import build

POLL_S = 0.5
ANSWER_S = 120.0
_COUNTERS = ("games", "rows", "own_steps", "trained_s", "resumptions", "restarts")  # of a checkpoint


class Supervisor:
    """A run's actors.

    Args:
        config: of the run.
        restored: content of a checkpoint to go on from.
        weights: by agent, float32 arrays by name that it starts from in place of fresh ones.
        last_part: gives an agent's part of the last checkpoint, if there is one, for actors that die.
        plan: of the run; made of `config` where it is not given.

    Attributes:
        agents: by name.
        trained_s: seconds of training, over all resumptions.
    """

    def __init__(
        self,
        config: TrainConfig,
        restored: Mapping[str, Any] | None = None,
        weights: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        last_part: Callable[[str], Part | None] = lambda _agent: None,
        plan: RunPlan | None = None,
    ) -> None:
        self.config = config
        source = build("source", config.source, Source)
        self.plan = plan or plan_of(config, source)
        counters = restored["counters"] if restored else {}
        self.trained_s = float(counters.get("trained_s", 0.0))
        self.resumptions = int(counters.get("resumptions", -1)) + 1
        self.warnings: dict[str, str] = {}
        self._calls = Calls()
        self._servers = Servers(config, self.plan, self._calls, POLL_S, self.warn)
        self._parts, self._weights = restored["agents"] if restored else {}, dict(weights or {})
        self._hosts = [
            Host({name: self.plan.agents[name] for name in names}, config, source.symmetries, self._calls, last_part)
            for names in self.plan.groups
        ]
        hosts = {name: host for host in self._hosts for name in host.agents}
        self.agents = {
            name: Agent(
                name, plan, config, hosts.get(name), self._calls, self._servers, last_part, self._weights.get(name),
                self._parts.get(name),
            )
            for name, plan in self.plan.agents.items()
        }  # fmt: skip
        self._workers = Workers(config, self.plan, self._calls, self._servers, self.resumptions, self.warn)
        self._workers.episodes, self._workers.rows = int(counters.get("games", 0)), int(counters.get("rows", 0))
        self._workers.own_steps |= counters.get("own_steps", {})
        self._workers.restarts = int(counters.get("restarts", {}).get("rollout", 0))
        self._servers.restarts = int(counters.get("restarts", {}).get("inference", 0))
        self._pulse = Pulse(self._calls, config.cluster.silent_s, lambda name: name in self._servers.restarting)
        self._room = Room()
        self._paused = False
        self._next_poll = 0.0
        self._last_tick = self._last_report = time.monotonic()

    def start(self) -> None:
        """Make all actors; returns when the first weights are where they are needed.

        Raises:
            RunFailed: naming the actor that could not be made, and why.
        """
        self._servers.start(self.get)
        for host in self._hosts:
            host.start(self._parts, self._weights)
        self._parts, self._weights = {}, {}
        for agent in self.agents.values():
            agent.start(self.get)
        self._workers.start()
        self._last_tick = self._last_report = time.monotonic()

    def tick(self) -> None:
        """Wait a moment for answers, handle them, and let every part go on that may.

        Raises:
            RunFailed: when an actor failed, or died again and again.
        """
        if not self._paused:
            for agent in self.agents.values():
                agent.train()
            self._workers.ask(self.progress, self._wanted, lambda name, *rows: self.agents[name].insert(*rows))
        failures = self._calls.wait(min(max(self._next_poll - time.monotonic(), 0.0), POLL_S))
        self._pass_time()
        for failure in failures:
            self._on_failure(failure)
        if time.monotonic() >= self._next_poll:
            self._next_poll = time.monotonic() + POLL_S
            self._pulse.look(self.actors())
            self.warn("shared memory", self._room.warning())
            self._servers.poll()
            self._workers.look()
            for agent in self.agents.values():
                agent.poll()

    def _wanted(self) -> bool:
        """Whether another worker is to gather experience."""
        return not any(agent.holds(self._workers.expected(agent.name)) for agent in self._learning())

    def turn(self) -> None:
        """One stretch of each shard, then all that each agent can learn from it, one after another.

        Raises:
            RunFailed: when an actor failed or died: what is to be repeated exactly is not mended.
        """
        for shard in range(self.plan.shards):
            self._wait_for_weights()
            counts, rows = self._workers.turn(shard, self.progress, ANSWER_S)
            for agent, own in rows.items():
                self.agents[agent].turn(own, counts[agent], self.get)
        self._servers.poll()
        self._wait_for_weights()
        self._pass_time()

    def _wait_for_weights(self) -> None:
        while len(self._calls):
            for failure in self._calls.wait(POLL_S):
                raise RunFailed(f"{failure.dead or failure.asked} failed: {failure.cause}")

    def _pass_time(self) -> None:
        now = time.monotonic()
        passed_s = 0.0 if self._paused else now - self._last_tick
        self.trained_s += passed_s
        for agent in self._learning():
            agent.pass_time(passed_s)
        self._last_tick = now

    def _on_failure(self, failure: Failure) -> None:
        """Have a dead actor replaced, or end the run if an actor failed."""
        if failure.lost:
            self.warn(failure.asked, f"rows were lost with the node that held them: {failure.cause}")
        elif not failure.dead:
            raise RunFailed(f"{failure.asked} failed: {failure.cause}")
        elif failure.dead in self._workers.actors:
            if failure.first:
                self.warn(failure.dead, f"died and is replaced: {failure.cause}", once=False)
            self._workers.on_death(failure)
        elif failure.dead in self._servers.actors:
            self._servers.on_death(failure)
        elif failure.first:
            self.warn(failure.dead, f"died and is made again from the last checkpoint: {failure.cause}", once=False)
            next(host for host in self._hosts if failure.dead in host.actors).on_death(failure, self.agents)

    def get(self, name: str, answer: Any) -> Any:
        """An answer that nothing can go on without.

        Raises:
            RunFailed: naming the actor, if it died, failed or did not answer in time.
        """
        wanted = self.config.cluster
        hint = f"; are its resources free? (reserved by cluster.*_cpus and *_gpus: {wanted})"
        return self._calls.get(name, answer, ANSWER_S, hint)

    def pause(self, paused: bool) -> None:
        """Whether to rest: what is under way is finished, nothing new is begun, and the time does not count."""
        self._paused = paused
        for agent in self.agents.values():
            agent.hold(paused)

    def warn(self, name: str, text: str, once: bool = True) -> None:
        """Tell the user what an actor warns of: its own log is in Ray's directory, where nobody looks.

        Args:
            name: of the actor.
            text: one line; "" for nothing.
            once: whether to be silent if any actor said the same before.
        """
        # Without its figures: the free memory, for one, differs from worker to worker.
        kind = re.sub(r"[\d.]+", "#", text) if once else f"{name}: {text} ({len(self.warnings)})"
        if text and kind not in self.warnings:
            self.warnings[kind] = f"{name}: {text}"
            warn(__name__, f"{name}: {text}")

    # Weights

    def publish(self, agent: str, version: int, arrays: Any) -> None:
        """Have rollouts use these weights of an agent."""
        self._servers.publish(agent, version, arrays)

    def weights(self, agent: str) -> dict[str, np.ndarray]:
        """The weights of an agent that rollouts use now."""
        return self.get(f"learner of {agent}", self._servers.published(agent)[1])

    def told(self, agent: str) -> dict[str, Any]:
        """What is to be known of an agent at the end: see `Agent.status`; its own steps, what its workers last told of
        it, and how its inference and its steps are made, with what was measured to choose that.
        """
        own = self.agents[agent]
        return {
            **own.status(),
            "own_steps": self.own_steps[agent],
            **self._workers.newest(agent),
            "inference": self._servers.precision(agent),
            "stepping": own.stepping,
        }

    def measured(self, episodes: RunEpisodes) -> dict[str, Any]:
        """Metrics of held episodes that ended since the last call; the first worker plays those that are due."""
        return episodes.tick(self.trained_s, self._workers.actors["rollout-0"], self._calls)

    # Telling

    def _learning(self) -> list[Agent]:
        return [agent for agent in self.agents.values() if not agent.plan.frozen]

    @property
    def steps(self) -> int:
        """Learner steps of the agent that has done the fewest."""
        return min(agent.steps for agent in self._learning())

    @property
    def progress(self) -> Progress:
        """How far the run is, for its workers."""
        return Progress(self.steps, self.own_steps)

    @property
    def all_steps(self) -> int:
        """Learner steps of all agents together."""
        return sum(agent.steps for agent in self._learning())

    @property
    def games(self) -> int:
        """Games finished, over all resumptions."""
        return self._workers.episodes

    @property
    def rows(self) -> int:
        """Rows that workers returned, for all agents, over all resumptions."""
        return self._workers.rows

    @property
    def own_steps(self) -> dict[str, int]:
        """What each agent did itself, over all workers and resumptions."""
        return dict(self._workers.own_steps)

    @property
    def first_game_at(self) -> float | None:
        """When the first game ended, seconds since the epoch."""
        return self._workers.first_at

    @property
    def restarts(self) -> dict[str, int]:
        """How often actors were replaced, by kind."""
        learners = {kind: sum(agent.restarts[kind] for agent in self._learning()) for kind in ("learner", "replay")}
        return {"rollout": self._workers.restarts, "inference": self._servers.restarts, **learners}

    def actors(self) -> dict[str, Any]:
        """Handles of all actors now, by name."""
        owned = {name: made for host in self._hosts for name, made in host.actors.items()}
        return {**self._servers.actors, **self._workers.actors, **owned}

    def status(self) -> dict[str, Any]:
        """What the run is doing, as plain data.

        Returns:
            agents: by name, see `Agent.status`. workers: see `Workers.status`. servers: see `Servers.status`.
            games, steps, trained_s, paused, resumptions; restarts by kind; warnings, one line each.
        """
        return {
            "agents": {name: agent.status() for name, agent in self.agents.items()},
            "workers": self._workers.status(),
            "servers": self._servers.status(),
            "games": self.games,
            "steps": self.steps,
            "trained_s": self.trained_s,
            "paused": self._paused,
            "resumptions": self.resumptions,
            "restarts": self.restarts,
            "warnings": list(self.warnings.values()),
        }

    def report(self) -> dict[str, Any]:
        """Metrics since the last report, flat, by name; None where nothing happened, or too short a time for a rate.

        Names begin with the part and, where a metric is an agent's, its name: learner/<agent>/loss.
        """
        now = time.monotonic()
        seconds, least_s = now - self._last_report, self.config.report_s / 2
        self._last_report = now
        per_s = 1.0 / seconds if seconds >= least_s else None
        report = {"minutes": self.trained_s / 60, "steps": self.all_steps}
        for agent in self.agents.values():
            report |= agent.report(per_s)
        return {**report, **self._workers.report(per_s), **self._servers.report(least_s)}

    def content(self, failed: bool = False) -> dict[str, Any]:
        """What a checkpoint of this moment holds (see `actors.moment.content`).

        Args:
            failed: whether the run has failed. Then nothing goes on meanwhile, and agents that do not answer are
                left out.

        Raises:
            NotSaved: naming an actor that did not give its state in time.
            RunFailed: as `tick`.
        """
        moving = not failed and not self.plan.turns

        def counters() -> dict[str, Any]:
            return {name: getattr(self, name) for name in _COUNTERS}

        try:
            tick = self.tick if moving else None
            return content(self.agents, counters, tick, self._calls.get, ANSWER_S, whole=not failed)
        finally:
            if not failed:
                self.pause(self._paused)

    def stop(self) -> None:
        """End the actors, and remove the shared memory of the inference."""
        self._workers.stop()
        for host in self._hosts:
            host.stop()
        self._servers.stop()
