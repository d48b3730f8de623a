"""The transport by calls to a Ray actor, which works across nodes: one call for each request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from inference.errors import named
from scoundrel_ray.evaluator import Evaluation, EvaluatorGone, Part

_PAUSE_S = 0.1  # between asking an actor that is gone and asking again


@dataclass
class Ticket:
    """A request under way.

    Attributes:
        parts: kept to ask again.
        reference: to the answers.
    """

    parts: list[Part]
    reference: Any


class RemoteEvaluator:
    """A joint evaluator that asks an inference actor, and asks again when the actor died and came back.

    The deadline counts from the moment an answer is waited for: a worker may do other work between `submit` and
    `collect`.

    Args:
        actor: handle of an `inference.actor.InferenceActor`.
        client: who asks, one name for each worker: the actor judges by it what may still join a batch.
        deadline_s: longest that an answer is waited for, restarts of the actor included.
    """

    def __init__(self, actor: Any, client: str, deadline_s: float) -> None:
        self._actor = actor
        self._client = client
        self._deadline_s = deadline_s

    def submit(self, parts: Sequence[Part]) -> Ticket:
        """See `JointEvaluator.submit`."""
        kept = [(agent, rows.copy()) for agent, rows in parts]
        return Ticket(kept, self._ask(kept))

    def collect(self, ticket: Ticket) -> list[Evaluation]:
        """See `JointEvaluator.collect`; `EvaluatorGone` comes at the deadline, however often it was asked by then."""
        end = time.monotonic() + self._deadline_s
        why = "gave no answer"
        while True:
            try:
                left = max(end - time.monotonic(), 0.0)
                answers: Any = ray.get(ticket.reference, timeout=left)
                # What Ray gives cannot be written to, and compiled rules take nothing of that kind.
                return [
                    Evaluation(tuple(np.require(output, requirements="W") for output in outputs), version)
                    for outputs, version in answers
                ]
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
            ticket.reference = self._ask(ticket.parts)

    def _ask(self, parts: list[Part]) -> Any:
        return self._actor.evaluate.remote(self._client, parts)

    def _gone(self, ticket: Ticket, why: str) -> EvaluatorGone:
        return EvaluatorGone(
            f"{self._client}: the inference actor of {named([agent for agent, _ in ticket.parts])} {why}; "
            f"waited {self._deadline_s:g} s for {sum(len(rows) for _, rows in ticket.parts)} leaves"
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
