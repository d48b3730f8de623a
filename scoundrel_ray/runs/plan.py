"""A run's plan: its agents, where their experience comes from, and who serves their networks. Plain data, no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from scoundrel_ray.experience.rows import UnknownRows, check_given
from scoundrel_ray.experience.source import Role, Source
from scoundrel_ray.runs.settings import AgentSettings, TrainConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import Head, Spec

Section = Mapping[str, Any]


class LearnerSettings(Protocol):
    """What a plan asks of a learner's settings: a part of `learners.learner.LearnerSettings`."""

    def row_dtype(self, spec: Spec) -> np.dtype: ...


class AgentPlan(NamedTuple):
    """One learning identity.

    Attributes:
        spec: of the world that it lives in.
        heads: what its network must answer with.
        network, learner, replay: sections with `_target_`.
        role: what the source must know of it.
        publish_steps: learner steps between two versions of its weights.
        symmetries: whether its rows are learned from in all guises.
        frozen: whether it plays and does not learn.
        drops: whether rows are dropped that its replay does not want yet; else workers wait for it.
        beside: whether its replay lives in its learner's process.
    """

    spec: Spec
    heads: tuple[Head, ...]
    network: Section
    learner: Section
    replay: Section
    role: Role
    publish_steps: int
    symmetries: bool
    frozen: bool
    drops: bool = False
    beside: bool = False

    @property
    def has_policy(self) -> bool:
        """Whether its network answers with a policy's logits first, and not with values of actions."""
        return bool(self.heads) and self.heads[0].name == "logits"


def with_policy(agents: Mapping[str, AgentPlan]) -> list[str]:
    """Names of the agents that have a policy."""
    return [name for name, plan in agents.items() if plan.has_policy]


class Serving(NamedTuple):
    """An inference actor.

    Attributes:
        name: of the actor.
        agents: whose networks it serves.
    """

    name: str
    agents: tuple[str, ...]


class RunPlan(NamedTuple):
    """What a run is made of.

    Attributes:
        agents: by name.
        groups: names of the agents whose learners share a process; every agent that learns is in one.
        source: section with `_target_`.
        workers: processes that gather experience.
        serving: inference actors; none where every worker evaluates by itself.
        turns: whether workers and learners take turns, so that every run of the plan gives the same losses.
        shards: of the experience: as many as workers, or those of a run in turn, dealt to its workers.
    """

    agents: Mapping[str, AgentPlan]
    groups: tuple[tuple[str, ...], ...]
    source: Section
    workers: int
    serving: tuple[Serving, ...]
    turns: bool
    shards: int

    def shards_of(self, worker: int) -> range:
        """Numbers of the shards that a worker gathers."""
        return range(worker, self.shards, self.workers)


def source_of(config: TrainConfig) -> Source:
    """The run's source of experience, built and checked.

    Raises:
        InvalidConfig: naming the key.
    """
    source = build("source", config.source, Source)
    source.check([*config.agents])
    return source


def agent_plan(name: str, agent: AgentSettings, source: Source, spec: Spec) -> AgentPlan:
    """The plan of one agent.

    Args:
        name: of the agent.
        agent: its settings.
        source: of the run.
        spec: of the agent, as the source gives it.

    Raises:
        InvalidConfig: naming the key, for a learner that does not learn from what the source gives.
    """
    key = f"agents.{name}.learner"
    learner = build(key, agent.learner, LearnerSettings)
    behaviour = getattr(learner, "behaviour", {})
    try:
        heads, given = source.heads(spec, behaviour), source.rows(spec, behaviour)
        rows = learner.row_dtype(spec)
        check_given(rows, given)
    except (InvalidConfig, UnknownRows) as error:
        raise InvalidConfig(f"{key}: {error}") from error
    role = Role(None if agent.frozen else rows, behaviour)
    return AgentPlan(
        spec=spec, heads=heads, network=agent.network, learner=agent.learner, replay=agent.replay, role=role,
        publish_steps=agent.publish_steps, symmetries=agent.symmetries, frozen=agent.frozen,
        drops=agent.when_behind == "drop", beside=agent.replay_place == "learner",
    )  # fmt: skip


def plan_of(config: TrainConfig, source: Source) -> RunPlan:
    """The plan of a run.

    Args:
        config: of the run.
        source: built from it.

    Raises:
        InvalidConfig: as `agent_plan`.
    """
    specs = source.specs([*config.agents])
    agents = {name: agent_plan(name, each, source, specs[name]) for name, each in config.agents.items()}
    shared = config.inference.transport != "local"
    serving = (Serving("inference", tuple(agents)),) if shared else ()
    shards = config.turn_shards if config.turns else config.workers
    return RunPlan(agents, config.groups, config.source, config.workers, serving, config.turns, shards)
