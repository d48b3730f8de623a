"""What a source of experience offers: self-play of a game, steps of a world, whatever gives rows to learn from.

A source is a settings class with the members of `Source`, named in YAML by its `_target_`. Workers build it from its
section, each makes a `Collector`, and Ray knows nothing of either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.spec import Head, Spec
from scoundrel_ray.symmetry import Symmetries


class Requests(NamedTuple):
    """What a collector asks at most of whoever answers for its agents.

    Attributes:
        under_way: requests at once, of all agents together.
        leaves: rows of a request, of all agents together.
    """

    under_way: int
    leaves: int


class Role(NamedTuple):
    """What a source must know of an agent.

    Attributes:
        rows: type of the rows that it learns from; None if it does not learn.
        behaviour: section of how it acts (see `scoundrel_ray.experience.behaviours`); empty where a search decides.
    """

    rows: np.dtype | None
    behaviour: Mapping[str, Any]


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        learner_steps: of the agent that has done the fewest.
        own_steps: by agent, what it did itself (its decisions), over all workers.
    """

    learner_steps: int
    own_steps: Mapping[str, int]


class Collector(Protocol):
    """A worker's experience, gathered in stretches."""

    def prepare(self, progress: Progress) -> None:
        """Take the settings that hold from here on; requests made under other settings are dropped."""
        ...

    def ask_through(self, evaluators: Mapping[str, Evaluator]) -> None:
        """Ask other evaluators from now on; nothing may be under way."""
        ...

    def collect(self, timed: bool = True) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Rows by agent and a report of one stretch.

        Args:
            timed: False for a stretch that no clock ends, so that it is the same in every run.

        Returns:
            rows: [n] for each agent that learns, of the type that it asked for.
            report: plain data with at least the keys of `Report`.
        """
        ...

    def close(self) -> None:
        """End what it runs."""
        ...


class Report(NamedTuple):
    """Keys that every collector's report has.

    Attributes:
        episodes: episodes that ended in the stretch.
        first_at: when the first of them ended, seconds since the epoch.
        agents: by name, metrics of the stretch: name -> (mean, weight).
        decisions: decisions taken.
        own_steps: by agent, those that it took.
        leaves: leaves evaluated.
        messages: requests sent.
        wait_s: seconds of waiting for evaluations.
        total_s: seconds of the stretch.
    """

    episodes: int
    first_at: float
    agents: dict[str, dict[str, tuple[float, float]]]
    decisions: int
    own_steps: dict[str, int]
    leaves: int
    messages: int
    wait_s: float
    total_s: float


class Source(Protocol):
    """A member of conf/source."""

    @property
    def name(self) -> str:
        """Of the game or world."""
        ...

    def specs(self, agents: Sequence[str]) -> dict[str, Spec]:
        """What each of these agents observes and may do.

        Raises:
            InvalidConfig: for agents that the source has no place for.
        """
        ...

    def heads(self, spec: Spec, behaviour: Mapping[str, Any]) -> tuple[Head, ...]:
        """What the network of an agent must answer with.

        Args:
            spec: of the agent.
            behaviour: section (see `Role`).

        Raises:
            InvalidConfig: for a behaviour that the source cannot gather by.
        """
        ...

    def rows(self, spec: Spec, behaviour: Mapping[str, Any]) -> np.dtype:
        """Type of a row of an agent with every field that the source gives; arguments as of `heads`."""
        ...

    @property
    def symmetries(self) -> Symmetries | None:
        """Symmetries of the world's rows; None if it has none."""
        ...

    def check(self, agents: Sequence[str]) -> None:
        """Refuse settings that cannot be used with these agents.

        Raises:
            InvalidConfig: naming the key.
        """
        ...

    def requests(self, learner_steps: int, agents: Sequence[str]) -> Requests:
        """What a collector asks at most, after `learner_steps` steps.

        An evaluator of any of these agents can have all of it under way.
        """
        ...

    def collector(
        self, agents: Mapping[str, Role], evaluators: Mapping[str, Evaluator], seed: int, path: Sequence[int]
    ) -> Collector:
        """A worker's collector.

        Args:
            agents: by name.
            evaluators: by name, who answers for each agent's network. A joint evaluator may be behind several, and
                can then be asked for them in one request (see `scoundrel_ray.evaluator.lines`).
            seed: of the run.
            path: of the worker's random streams: worker and incarnation.
        """
        ...
