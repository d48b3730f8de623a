"""A world as a source of experience: who acts as whom, and what each agent's behaviour asks and gives."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.experience.behaviours import Behaviour
from scoundrel_ray.experience.source import Requests, Role
from scoundrel_ray.experience.world_steps import HALVES, StepsConfig, WorldSteps
from scoundrel_ray.settings.build import build, settings_of
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting, within_section
from scoundrel_ray.spec import Head, Spec
from scoundrel_ray.symmetry import Symmetries
from scoundrel_ray.world import AnyWorld


@dataclass(frozen=True)
class WorldSource:
    """Settings of a world as a source of experience.

    Attributes:
        world: section with `_target_`.
        rollout: section of a worker's settings.
        seats: for each agent of the world, in order, the run's agent that it acts and learns as. None for the one of
            its own name, or for the run's only agent.
    """

    world: Mapping[str, Any]
    rollout: Mapping[str, Any] = field(default_factory=dict)
    seats: Sequence[str] | None = None

    @functools.cached_property
    def built_world(self) -> AnyWorld:
        """The world."""
        return build("world", self.world, AnyWorld)

    @functools.cached_property
    def settings(self) -> StepsConfig:
        """Checked settings of a worker."""
        return settings_of("rollout", self.rollout, StepsConfig)

    @property
    def name(self) -> str:
        """Of the world."""
        return self.built_world.name

    @property
    def symmetries(self) -> Symmetries | None:
        """None: worlds have no symmetries yet."""
        return None

    def seating(self, agents: Sequence[str]) -> tuple[int, ...]:
        """For each agent of the world, the number of the run's agent that it acts as.

        Raises:
            InvalidConfig: for an agent that has no seat, or a seat without an agent.
        """
        seats, names = self.seats, self.built_world.agents
        if seats is None:
            seats = names if len(agents) > 1 or agents[0] in names else [agents[0]] * len(names)
        if isinstance(seats, str) or not isinstance(seats, Sequence) or len(seats) != len(names):
            raise InvalidSetting("source.seats", f"got {seats!r}, wanted one of the agents for each of {_told(names)}")
        for seat, name in zip(seats, names, strict=True):
            if seat not in agents:
                raise InvalidConfig(
                    f"agents: got {_told(agents)}, wanted {seat!r}, too, as which {self.name}'s {name} acts"
                )
        for agent in agents:
            if agent not in seats:
                raise InvalidConfig(f"agents.{agent}: {self.name} has no such agent, only {_told(names)}")
        return tuple([*agents].index(seat) for seat in seats)

    def specs(self, agents: Sequence[str]) -> dict[str, Spec]:
        """What each agent observes and may do (see `Source.specs`)."""
        found: dict[str, Spec] = {}
        for spec, owner, name in zip(
            self.built_world.specs, self.seating(agents), self.built_world.agents, strict=True
        ):
            if found.setdefault(agents[owner], spec) != spec:
                raise InvalidConfig(f"agents.{agents[owner]}: {name} observes or acts otherwise than others of its own")
        return found

    def heads(self, spec: Spec, behaviour: Mapping[str, Any]) -> tuple[Head, ...]:
        """What the agent's behaviour asks (see `Source.heads`)."""
        return self._behaviour(behaviour).heads(spec)

    def rows(self, spec: Spec, behaviour: Mapping[str, Any]) -> np.dtype:
        """Type of the rows that the behaviour gives."""
        return self._behaviour(behaviour).rows(spec)

    def _behaviour(self, section: Mapping[str, Any]) -> Behaviour:
        if not section:
            raise InvalidConfig(
                f"learns from searched decisions, and agents of {self.name} act by their networks; wanted a learner "
                "for worlds, such as learner=iqn or learner=ppo"
            )
        return build("behaviour", section, Behaviour)

    def check(self, agents: Sequence[str]) -> None:
        """Refuse settings that cannot be used with these agents (see `Source.check`)."""
        _ = self.settings
        with within_section("source"):
            self.seating(agents)

    def requests(self, learner_steps: int, agents: Sequence[str]) -> Requests:
        """A request for each half, of all its copies once for each agent of the world at most, and one for episodes
        that measure agents.
        """
        return Requests(HALVES + 1, self.settings.copies // HALVES * len(self.built_world.agents))

    def collector(
        self, agents: Mapping[str, Role], evaluators: Mapping[str, Evaluator], seed: int, path: Sequence[int]
    ) -> WorldSteps:
        """A worker's steps (see `Source.collector`)."""
        owners = self.seating([*agents])
        return WorldSteps(self.built_world, self.settings, owners, agents, evaluators, seed, path)


def _told(names: Sequence[str]) -> str:
    return ", ".join(names)
