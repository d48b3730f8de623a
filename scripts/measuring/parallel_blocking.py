"""A run whose phases wait for each other: all workers collect, then all learners train at the same time.

It has no place in the framework: it stands here to be measured beside what has.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from scoundrel_ray.experience.source import Progress
from scoundrel_ray.runs.plan import plan_of, source_of
from scoundrel_ray.runs.settings import TrainConfig

_ANSWER_S, _POLL_S = 120.0, 0.5


class ParallelBlocking:
    """Such a run's actors, as `actors.supervisor.Supervisor` has them.

    Args:
        config: of the run.
    """

    def __init__(self, config: TrainConfig) -> None:
        from actors.agent import Agent
        from actors.calls import Calls
        from actors.host import Host
        from actors.servers import Servers
        from actors.workers import Workers

        source = source_of(config)
        plan = plan_of(config, source)
        self._calls = Calls()
        self._servers = Servers(config, plan, self._calls, _POLL_S, _unheard)
        self._hosts = [
            Host({name: plan.agents[name] for name in names}, config, source.symmetries, self._calls, _no_part)
            for names in plan.groups
        ]
        hosts = {name: host for host in self._hosts for name in host.agents}
        self._agents = {
            name: Agent(name, own, config, hosts[name], self._calls, self._servers, _no_part)
            for name, own in plan.agents.items()
        }
        self._workers = Workers(config, plan, self._calls, self._servers, 0, _unheard)
        self._threads = ThreadPoolExecutor(len(self._agents))

    def start(self) -> None:
        """Make all actors; returns when the first weights are where they are needed."""
        self._servers.start(self._get)
        for host in self._hosts:
            host.start({}, {})
        for agent in self._agents.values():
            agent.start(self._get)
        self._workers.start()
        self._answered()

    def _get(self, name: str, answer: Any) -> Any:
        return self._calls.get(name, answer, _ANSWER_S)

    def _answered(self) -> None:
        """Wait for all that was asked."""
        from actors.calls import RunFailed

        while len(self._calls):
            for failure in self._calls.wait(_POLL_S):
                raise RunFailed(f"{failure.dead or failure.asked} failed: {failure.cause}")

    def turn(self) -> None:
        """One stretch of all workers, then all that every agent can learn from it; each phase waits for the other."""
        came: dict[str, list[tuple[Any, int]]] = {name: [] for name in self._agents}
        steps = min(agent.steps for agent in self._agents.values())
        self._workers.ask(
            Progress(steps, dict(self._workers.own_steps)),
            lambda: True,
            lambda name, rows, count: came[name].append((rows, count)),
        )
        self._answered()
        learned = [self._threads.submit(partial(self._learn, name, own)) for name, own in came.items()]
        for each in learned:
            each.result()
        self._answered()

    def _learn(self, name: str, came: Sequence[tuple[Any, int]]) -> None:
        for rows, count in came:
            self._agents[name].turn(rows, count, self._get)

    def status(self) -> dict[str, Any]:
        """As `Supervisor.status`: agents."""
        return {"agents": {name: agent.status() for name, agent in self._agents.items()}}

    def actors(self) -> dict[str, Any]:
        """As `Supervisor.actors`: those that hold replays."""
        return {name: made for host in self._hosts for name, made in host.actors.items()}

    def stop(self) -> None:
        """End the actors, and remove the shared memory of the inference."""
        self._threads.shutdown(cancel_futures=True)
        self._workers.stop()
        for host in self._hosts:
            host.stop()
        self._servers.stop()


def _unheard(*_told: Any, **_settings: Any) -> None:
    """Warnings are the supervisor's to tell."""


def _no_part(_agent: str) -> None:
    return None
