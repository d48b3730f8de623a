"""What searches and players ask: observations in, a network's heads out. Networks, playouts and constants answer alike.

Legend: B rows (leaves of searches), O observation size, A actions, P seats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Evaluation(NamedTuple):
    """Answer for B rows.

    Attributes:
        outputs: one array [B, ...] float32 for each head of the network (see `scoundrel_ray.spec.Head`), in its order.
        version: of the weights that gave it.
    """

    outputs: tuple[np.ndarray, ...]
    version: int

    @property
    def logits(self) -> np.ndarray:
        """Of a network that searches ask: [B, A], unnormalised log-probabilities of the observer's actions, illegal
        ones included.
        """
        return self.outputs[0]

    @property
    def values(self) -> np.ndarray:
        """Of a network that searches ask: [B, P] in [-1, 1]; column k is for the seat k places after the observer (see
        `scoundrel_ray.game.seat_after`).
        """
        return self.outputs[1]


class Evaluator(Protocol):
    """Evaluates in two halves, so that a worker searches one group while the other is evaluated."""

    def submit(self, observations: np.ndarray) -> Any:
        """Ticket for [B, O] of the spec's dtype; the array may be reused at once."""
        ...

    def collect(self, ticket: Any) -> Evaluation:
        """Answer to a ticket, waiting for it.

        Raises:
            EvaluatorGone: if the evaluator died or did not answer within its deadline; submit again.
        """
        ...


Part = tuple[str, np.ndarray]
"""Rows of one agent in a request of several: its name, and [B, O] of its spec's dtype."""


class JointEvaluator(Protocol):
    """Evaluates for several agents: a request holds rows of some of them, and is answered as a whole."""

    def submit(self, parts: Sequence[Part]) -> Any:
        """Ticket for one part or more; the arrays may be reused at once."""
        ...

    def collect(self, ticket: Any) -> list[Evaluation]:
        """Answers to the parts of a ticket, in their order, waiting for the last of them.

        Raises:
            EvaluatorGone: if the evaluator died or did not answer within its deadline; submit again.
            Exception: what the evaluation of any part raised.
        """
        ...


class AgentEvaluator:
    """An evaluator of one agent that asks a joint evaluator.

    Args:
        joint: that answers for several agents.
        agent: name of the one that is asked for.
    """

    def __init__(self, joint: JointEvaluator, agent: str) -> None:
        self.joint = joint
        self.agent = agent

    def submit(self, observations: np.ndarray) -> Any:
        """See `Evaluator.submit`."""
        return self.joint.submit([(self.agent, observations)])

    def collect(self, ticket: Any) -> Evaluation:
        """See `Evaluator.collect`."""
        return self.joint.collect(ticket)[0]


class Alone:
    """A joint evaluator of one agent alone, whatever its name is.

    Args:
        evaluator: that answers for it.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def submit(self, parts: Sequence[Part]) -> Any:
        """See `JointEvaluator.submit`."""
        ((_, observations),) = parts
        return self._evaluator.submit(observations)

    def collect(self, ticket: Any) -> list[Evaluation]:
        """See `JointEvaluator.collect`."""
        return [self._evaluator.collect(ticket)]


class Line(NamedTuple):
    """Agents that one request can be made for.

    Attributes:
        evaluator: that is asked.
        agents: names of its agents, by the place of each one's evaluator among those that were given.
    """

    evaluator: JointEvaluator
    agents: dict[int, str]


def lines(evaluators: Iterable[Evaluator]) -> list[Line]:
    """The fewest lines by which all these are asked: one for each joint evaluator, and for each other evaluator."""
    found: dict[Any, Line] = {}
    for place, evaluator in enumerate(evaluators):
        if isinstance(evaluator, AgentEvaluator):
            found.setdefault(id(evaluator.joint), Line(evaluator.joint, {})).agents[place] = evaluator.agent
        else:
            found["", place] = Line(Alone(evaluator), {place: ""})
    return [*found.values()]


class EvaluatorGone(RuntimeError):
    """The evaluator died or missed its deadline; the message names it. What was asked must be asked again."""


class Constant:
    """The same logits and values for every leaf: for tests, and to measure a search alone.

    Args:
        actions: A.
        seats: P.
        value: of the observer's seat; the others get minus it.
    """

    def __init__(self, actions: int, seats: int, value: float = 0.0) -> None:
        self._logits = np.zeros((1, actions), dtype=np.float32)
        self._values = np.full((1, seats), -value, dtype=np.float32)
        self._values[:, 0] = value

    def submit(self, observations: np.ndarray) -> int:
        return len(observations)

    def collect(self, ticket: int) -> Evaluation:
        return Evaluation((np.repeat(self._logits, ticket, axis=0), np.repeat(self._values, ticket, axis=0)), 0)
