"""The processes of a group of agents that learn side by side: their learners, and their replays.

Replays live in a process of their own, or with the learners. A process that dies is made again for all its agents, from
their parts of the last checkpoint; the processes of other groups go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import ray

from actors.calls import Calls, Failure
from actors.learner import LearnerActor, LearnerForm
from actors.replay import ReplayActor, TableForm
from scoundrel_ray.runs.plan import AgentPlan
from scoundrel_ray.runs.settings import TrainConfig
from scoundrel_ray.streams import Purpose, agent_stream
from scoundrel_ray.symmetry import Symmetries

Part = Mapping[str, Any]  # of a checkpoint: `learner`, `replay` and `counters`
Kinds = frozenset[str]  # "learner" and "replay": what a process holds

LEARNER, REPLAY = "learner", "replay"
_SPARE_CALLS = 8


class Agent(Protocol):
    """What a host tells each of its agents (see `actors.agent.Agent`)."""

    def on_death(self, lost: Kinds, failure: Failure) -> None: ...

    def on_renewed(self, lost: Kinds) -> None: ...


class Host:
    """The processes of one group.

    Args:
        agents: plans by name; all of them learn.
        config: of the run.
        symmetries: of rows; None without.
        calls: of the run.
        last_part: gives an agent's part of the last checkpoint; None while there is none.

    Attributes:
        agents: plans by name.
    """

    def __init__(
        self,
        agents: Mapping[str, AgentPlan],
        config: TrainConfig,
        symmetries: Symmetries | None,
        calls: Calls,
        last_part: Callable[[str], Part | None],
    ) -> None:
        self.agents = dict(agents)
        self._config, self._symmetries, self._calls, self._last_part = config, symmetries, calls, last_part
        self._apart = [name for name, plan in agents.items() if not plan.beside]  # replays in a process of their own
        self._made: dict[str, Any] = {}
        self._weights: dict[str, Mapping[str, np.ndarray]] = {}
        self._names = process_names([*agents])

    def start(self, parts: Mapping[str, Part], weights: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Make the processes.

        Args:
            parts: of the checkpoint that the run goes on from, by agent.
            weights: by agent, float32 by name that it starts from in place of fresh ones.
        """
        self._weights = {agent: weights[agent] for agent in self.agents if agent in weights}
        self._make_replay()
        self._make_learner(parts)

    def learner(self) -> Any:
        """Handle of the process that trains the agents."""
        return self._made[LEARNER]

    def replay(self, agent: str) -> Any:
        """Handle of the process that holds an agent's rows."""
        return self._made[REPLAY if agent in self._apart else LEARNER]

    @property
    def actors(self) -> dict[str, Any]:
        """Handles of the processes by name."""
        return {self._names[kind]: made for kind, made in self._made.items()}

    def on_death(self, failure: Failure, agents: Mapping[str, Agent]) -> None:
        """Make a process that died again: its learners go on from the last checkpoint, its replays are empty at first.

        Args:
            failure: the first that tells of this death.
            agents: of the run, by name.

        Raises:
            RunFailed: if it died again and again.
        """
        kind = next(kind for kind, name in self._names.items() if name == failure.dead)
        if kind == REPLAY:
            lost = dict.fromkeys(self._apart, frozenset([REPLAY]))
        else:
            lost = {agent: frozenset([LEARNER] if agent in self._apart else [LEARNER, REPLAY]) for agent in self.agents}
        for agent, kinds in lost.items():
            agents[agent].on_death(kinds, failure)
        if kind == REPLAY:
            self._make_replay()
        else:
            parts = {agent: part for agent in self.agents if (part := self._last_part(agent)) is not None}
            self._make_learner(parts)
        for agent, kinds in lost.items():
            agents[agent].on_renewed(kinds)

    def _make_replay(self) -> None:
        if self._apart:
            options = ReplayActor.options(max_concurrency=self._threads(), num_cpus=0)
            self._register(REPLAY, options.remote({agent: self._table(agent) for agent in self._apart}))

    def _make_learner(self, parts: Mapping[str, Part]) -> None:
        cluster, forms = self._config.cluster, {}
        for agent, plan in self.agents.items():
            state = parts[agent]["learner"] if agent in parts else None
            symmetries = self._symmetries if plan.symmetries else None
            forms[agent] = LearnerForm(plan, symmetries, state, None if state else self._weights.get(agent))
        tables = {agent: self._table(agent) for agent in self.agents if agent not in self._apart}
        options = LearnerActor.options(
            num_cpus=cluster.learner_cpus, num_gpus=cluster.learner_gpus, max_concurrency=self._threads()
        )
        made = options.remote(
            forms,
            self._config.seed,
            cluster.learner_threads,
            "never" if self._config.turns else cluster.stacking,
            tables,
            self._made.get(REPLAY),
        )
        self._register(LEARNER, made)

    def _register(self, kind: str, made: Any) -> None:
        self._made[kind] = self._calls.register(self._names[kind], made)

    def _table(self, agent: str) -> TableForm:
        plan = self.agents[agent]
        assert plan.role.rows is not None
        return TableForm(dict(plan.replay), plan.role.rows, agent_stream(self._config.seed, Purpose.SAMPLES, agent))

    def _threads(self) -> int:
        """Calls that may be under way at once: a stretch or a sample of each agent, and an insert of each worker."""
        return _SPARE_CALLS + len(self.agents) * (1 + self._config.workers)

    def stop(self) -> None:
        """End the processes."""
        for made in self._made.values():
            ray.kill(made)


def process_names(agents: Sequence[str]) -> dict[str, str]:
    """Names of a group's processes, by what they hold."""
    names = ", ".join(agents) if len(agents) <= 2 else f"{agents[0]} to {agents[-1]}"
    several = "s" if len(agents) > 1 else ""
    return {kind: f"{kind}{several} of {names}" for kind in (LEARNER, REPLAY)}
