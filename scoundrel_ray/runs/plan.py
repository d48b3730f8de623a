"""A run's plan: its agents, where their experience comes from, and who serves their networks. Plain data, no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from scoundrel_ray.experience.source import Source
from scoundrel_ray.runs.settings import TrainConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.spec import Spec

Section = Mapping[str, Any]


class AgentPlan(NamedTuple):
    """One learning identity.

    Attributes:
        spec: of the world that it lives in.
        network, learner, replay: sections with `_target_`.
        publish_steps: learner steps between two versions of its weights.
        symmetries: whether its rows are learned from in all guises.
        frozen: whether it plays and does not learn.
    """

    spec: Spec
    network: Section
    learner: Section
    replay: Section
    publish_steps: int
    symmetries: bool
    frozen: bool


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
        source: section with `_target_`.
        workers: processes that gather experience.
        serving: inference actors; none where every worker evaluates by itself.
        turns: whether workers and learners take turns, so that every run of the plan gives the same losses.
    """

    agents: Mapping[str, AgentPlan]
    source: Section
    workers: int
    serving: tuple[Serving, ...]
    turns: bool


def source_of(config: TrainConfig) -> Source:
    """The run's source of experience, built and checked.

    Raises:
        InvalidConfig: naming the key.
    """
    source = build("source", config.source, Source)
    source.check([*config.agents])
    return source


def plan_of(config: TrainConfig, spec: Spec) -> RunPlan:
    """The plan of a run whose agents live in the world of `spec`."""
    agents = {
        name: AgentPlan(spec, each.network, each.learner, each.replay, each.publish_steps, each.symmetries, each.frozen)
        for name, each in config.agents.items()
    }
    shared = config.inference.transport != "local"
    serving = (Serving("inference", tuple(agents)),) if shared else ()
    return RunPlan(agents, config.source, config.workers, serving, config.turns)
