"""The transport by calls to a Ray actor, which works across nodes: one call for each request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from scoundrel_ray.evaluator import Evaluation, EvaluatorGone

_PAUSE_S = 0.1  # between asking an actor that is gone and asking again


@dataclass
class Ticket:
    """A request under way.

    Attributes:
        observations: [B, O], kept to ask again.
        reference: to the answer.
    """

    observations: np.ndarray
    reference: Any


class RemoteEvaluator:
    """An evaluator that asks an inference actor, and asks again when the actor died and came back.

    The deadline counts from the moment an answer is waited for: a worker may do other work between `submit` and
    `collect`.

    Args:
        actor: handle of an `inference.actor.InferenceActor`.
        client: who asks, one name for each worker: the actor judges by it what may still join a batch.
        agent: whose network is asked.
        deadline_s: longest that an answer is waited for, restarts of the actor included.
    """

    def __init__(self, actor: Any, client: str, agent: str, deadline_s: float) -> None:
        self._actor = actor
        self._client = client
        self._agent = agent
        self._deadline_s = deadline_s

    def submit(self, observations: np.ndarray) -> Ticket:
        """Ticket for [B, O]; the array may be reused at once."""
        kept = observations.copy()
        return Ticket(kept, self._ask(kept))

    def collect(self, ticket: Ticket) -> Evaluation:
        """Answer to a ticket, waiting for it.

        Raises:
            EvaluatorGone: if none came within the deadline, however often it was asked for.
            Exception: what the model raised.
        """
        end = time.monotonic() + self._deadline_s
        why = "gave no answer"
        while True:
            try:
                left = max(end - time.monotonic(), 0.0)
                outputs, version = ray.get(ticket.reference, timeout=left)
                # What Ray gives cannot be written to, and compiled rules take nothing of that kind.
                return Evaluation(tuple(np.require(output, requirements="W") for output in outputs), version)
            except GetTimeoutError:
                raise self._gone(ticket, why) from None
            except RayTaskError as error:
                if not isinstance(error.cause, EvaluatorGone):
                    raise error.cause from None
                why = str(error.cause)
            except RayActorError as error:
                why = f"is down ({_first_line(error)})"
            left = end - time.monotonic()
            if left <= _PAUSE_S:
                raise self._gone(ticket, why)
            time.sleep(_PAUSE_S)
            ticket.reference = self._ask(ticket.observations)

    def _ask(self, observations: np.ndarray) -> Any:
        return self._actor.evaluate.remote(self._client, self._agent, observations)

    def _gone(self, ticket: Ticket, why: str) -> EvaluatorGone:
        return EvaluatorGone(
            f"{self._client}: the inference actor of agent {self._agent} {why}; "
            f"waited {self._deadline_s:g} s for {len(ticket.observations)} leaves"
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
