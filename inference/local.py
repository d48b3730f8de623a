"""The transport without transport: a model, or a server, in the caller's own process."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

import numpy as np

from inference.server import InferenceServer
from scoundrel_ray.evaluator import Evaluation, EvaluatorGone


class _Evaluates(Protocol):
    def evaluate(self, observations: np.ndarray) -> Evaluation: ...


class LocalEvaluator:
    """An evaluator that answers at once, by a model of its own.

    Args:
        model: an `inference.model.Model`, or anything that evaluates like one.
    """

    def __init__(self, model: _Evaluates) -> None:
        self._model = model

    def submit(self, observations: np.ndarray) -> Evaluation:
        """The answer itself.

        Raises:
            Exception: what the model raises.
        """
        return self._model.evaluate(observations)

    def collect(self, ticket: Evaluation) -> Evaluation:
        """The ticket."""
        return ticket


class ServerEvaluator:
    """An evaluator that asks a server in this process: its device thread works while the caller searches.

    Args:
        server: to ask.
        client: who asks.
        agent: whose network is asked.
        deadline_s: longest that an answer is waited for.
    """

    def __init__(self, server: InferenceServer, client: str, agent: str, deadline_s: float) -> None:
        self._server = server
        self._client = client
        self._agent = agent
        self._deadline_s = deadline_s

    def submit(self, observations: np.ndarray) -> Future[Evaluation]:
        """Ticket for [B, O] int8; the array may be reused at once."""
        ticket: Future[Evaluation] = Future()

        def reply(answer: Evaluation | Exception) -> None:
            if isinstance(answer, Exception):
                ticket.set_exception(answer)
            else:
                ticket.set_result(answer)

        self._server.submit(self._client, self._agent, observations.copy(), reply)
        return ticket

    def collect(self, ticket: Future[Evaluation]) -> Evaluation:
        """Answer to a ticket, waiting for it.

        Raises:
            EvaluatorGone: if none came within the deadline.
            Exception: what the model raised.
        """
        try:
            return ticket.result(self._deadline_s)
        except TimeoutError as error:
            raise EvaluatorGone(
                f"inference in this process: no answer for agent {self._agent} within {self._deadline_s:g} s"
            ) from error
