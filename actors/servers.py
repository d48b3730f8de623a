"""Who serves inference in a run: inference actors, or every worker for itself; and the newest weights of each agent."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import RayError

from actors.calls import Calls, Failure, RunFailed
from inference.actor import InferenceActor
from inference.build import Served
from scoundrel_ray.runs.plan import RunPlan
from scoundrel_ray.runs.settings import TrainConfig

_CLOSE_S = 20.0
_COUNTERS = ("leaves", "batches", "padded_leaves", "requests", "busy_s", "alive_s", "queue_wait_s")


class Servers:
    """Sends each agent's newest weights to its servers, and notices servers that came back without weights.

    Args:
        config, plan: of the run.
        calls: of the run.
        poll_s: seconds between two looks at a server.
        warn: called with the name of a server, and what the user is to be warned of.
    """

    def __init__(
        self, config: TrainConfig, plan: RunPlan, calls: Calls, poll_s: float, warn: Callable[..., None]
    ) -> None:
        self.restarts = 0
        self._config, self._plan, self._calls, self._poll_s = config, plan, calls, poll_s
        self._actors: dict[str, Any] = {}
        self._agents: dict[str, tuple[str, ...]] = {}  # served by each
        self._weights: dict[str, tuple[int, Any]] = {}
        self._sent: Counter[str] = Counter()  # weights of each agent that no server has confirmed yet
        self._metrics: dict[str, dict[str, Any]] = {}
        self._reported: dict[str, dict[str, Any]] = {}
        self._silent: dict[str, int] = {}  # polls of each in a row that found it dead
        self._cause: dict[str, str] = {}  # of the last death of each
        self._warn = warn

    @property
    def served(self) -> dict[str, Served]:
        """Form of each agent's network."""
        return {name: Served(agent.spec, dict(agent.network)) for name, agent in self._plan.agents.items()}

    @property
    def by_agent(self) -> dict[str, Any]:
        """The inference actor of each agent; empty where every worker serves itself."""
        return {agent: self._actors[each.name] for each in self._plan.serving for agent in each.agents}

    @property
    def restarting(self) -> set[str]:
        """Names of the servers that Ray brings back after a death."""
        return {each.name for each in self._plan.serving}

    @property
    def actors(self) -> dict[str, Any]:
        """Inference actors by name."""
        return {each.name: self._actors[each.name] for each in self._plan.serving if each.name in self._actors}

    def start(self, get: Callable[[str, Any], Any]) -> None:
        """Make the inference actors; returns when they answer.

        Args:
            get: blocks for an answer (see `Supervisor.get`).
        """
        cluster, served = self._config.cluster, self.served
        for each in self._plan.serving:
            made = InferenceActor.options(
                num_cpus=cluster.inference_cpus,
                num_gpus=cluster.inference_gpus,
                max_restarts=-1,
                max_concurrency=8 + self._plan.workers * max(2, len(each.agents)),
            ).remote({agent: served[agent] for agent in each.agents}, self._config.inference)
            self._actors[each.name] = self._calls.register(each.name, made)
            self._agents[each.name] = each.agents
        for name, actor in self._actors.items():
            self._metrics[name] = get(name, actor.metrics.remote())

    def join(self, name: str, actor: Any) -> None:
        """Serve a worker that evaluates for itself, in place of the one that had its name."""
        self._actors[name], self._agents[name] = actor, tuple(self._plan.agents)
        for known in (self._metrics, self._reported, self._silent):
            known.pop(name, None)
        for agent in self._weights:
            self._send(name, agent)

    def publish(self, agent: str, version: int, arrays: Any) -> None:
        """Send one version of an agent's weights, by reference, to whoever serves it."""
        self._weights[agent] = (version, arrays)
        for name, agents in self._agents.items():
            if agent in agents:
                self._send(name, agent)

    def published(self, agent: str) -> tuple[int, Any]:
        """Version of the weights that rollouts use now, and a reference to their arrays."""
        return self._weights[agent]

    def arriving(self, agent: str) -> bool:
        """Whether any server has not confirmed weights of an agent yet."""
        return self._sent[agent] > 0

    def _send(self, name: str, agent: str) -> None:
        self._sent[agent] += 1

        def over(_told: Any) -> None:
            self._sent[agent] -= 1

        sent = self._actors[name].set_weights.remote(agent, *self._weights[agent])
        self._calls.ask(f"weights of {agent} at {name}", sent, over, over)

    def poll(self) -> None:
        """Ask all servers for their counters, but for those that have not answered yet."""
        asked = self._calls.names
        for name, actor in self._actors.items():
            question = f"metrics of {name}"
            if question not in asked:
                self._calls.ask(question, actor.metrics.remote(), functools.partial(self._on_metrics, name))

    def _on_metrics(self, name: str, metrics: Mapping[str, Any]) -> None:
        known = self._metrics.get(name)
        self._silent.pop(name, None)
        if known is not None and metrics["incarnation"] != known["incarnation"]:
            self.restarts += 1
            self._reported.pop(name, None)
            self._warn(name, f"died and is back: {self._cause.pop(name, 'nobody saw why')}", once=False)
            for agent in self._agents[name]:
                self._send(name, agent)
        self._metrics[name] = dict(metrics)

    def on_death(self, failure: Failure) -> None:
        """Wait for Ray to bring an inference actor back; polling then finds it without weights.

        Raises:
            RunFailed: if it did not come back for as long as workers wait for an answer.
        """
        self._cause.setdefault(failure.dead, failure.cause)
        if not failure.asked.startswith("metrics of"):
            return
        self._silent[failure.dead] = self._silent.get(failure.dead, 0) + 1
        if self._silent[failure.dead] * self._poll_s > self._config.inference.request_deadline_s:
            raise RunFailed(f"{failure.dead} did not come back: {failure.cause}")

    def precision(self, agent: str) -> str:
        """Which number format an agent's inference uses, and why."""
        known = (each["precision"].get(agent) for each in self._metrics.values())
        return next(filter(None, known), "not known yet")

    def version(self, agent: str) -> int | None:
        """Newest version of an agent's weights that answered a leaf; None if none did."""
        versions = [v for now in self._metrics.values() for v in now["leaves_by_version"].get(agent, ())]
        return max(versions, default=None)

    def status(self) -> dict[str, dict[str, Any]]:
        """Newest counters of each server, by name (see `InferenceServer.metrics`)."""
        return {name: dict(metrics) for name, metrics in self._metrics.items()}

    def report(self, least_s: float) -> dict[str, Any]:
        """What inference did since the last report, summed over who serves it.

        Args:
            least_s: seconds that a rate must cover at least.
        """
        before, self._reported = self._reported, dict(self._metrics)
        new = dict.fromkeys(_COUNTERS, 0.0)
        bins: dict[str, int] = {}
        leaves_per_s = 0.0
        for server, now in self._metrics.items():
            old = before.get(server, {})  # counters run from a process's start
            for name in _COUNTERS:
                new[name] += now[name] - old.get(name, 0)
            alive_s = now["alive_s"] - old.get("alive_s", 0)
            leaves_per_s += (now["leaves"] - old.get("leaves", 0)) / alive_s if alive_s else 0.0
            for size, count in now["batch_histogram"].items():
                bins[size] = bins.get(size, 0) + count - old.get("batch_histogram", {}).get(size, 0)
        return {
            **{f"inference/{agent}/version": self.version(agent) for agent in self._plan.agents},
            "inference/leaves_per_s": leaves_per_s if new["alive_s"] >= least_s else None,
            "inference/mean_batch": share(new["leaves"], new["batches"]),
            "inference/batch_histogram": bins,
            "inference/busy_share": share(new["busy_s"], new["alive_s"]),
            "inference/padding_share": share(new["padded_leaves"] - new["leaves"], new["padded_leaves"]),
            "inference/queue_wait_ms": share(1000 * new["queue_wait_s"], new["requests"]),
            "inference/restarts": self.restarts,
        }

    def stop(self) -> None:
        """End the inference actors, and remove their shared memory."""
        for actor in self.actors.values():
            if self._config.inference.transport == "shm":
                # If it cannot answer, the next server on its node sweeps.
                with contextlib.suppress(RayError):
                    ray.get(actor.close.remote(), timeout=_CLOSE_S)
            ray.kill(actor)


def share(part: float, whole: float) -> float | None:
    """The part as a share of the whole; None if the whole is 0."""
    return part / whole if whole else None
