"""The transport without transport: a model, or a server, in the caller's own process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np

from inference.build import Served, make_server
from inference.server import InferenceServer
from scoundrel_ray.evaluator import Evaluation, Evaluator, EvaluatorGone
from scoundrel_ray.runs.settings import InferenceConfig


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
        """Ticket for observations [B, O]; the array may be reused at once."""
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


class AtOnce:
    """An evaluator that asks a server in this process and waits: each request is a batch of its own.

    What it answers never depends on who asks at the same time.

    Args:
        server: to ask.
        client: who asks.
        agent: whose network is asked.
    """

    def __init__(self, server: InferenceServer, client: str, agent: str) -> None:
        self._server = server
        self._client = client
        self._agent = agent

    def submit(self, observations: np.ndarray) -> Evaluation:
        """The answer itself.

        Raises:
            EvaluatorGone: if none came within the deadline.
            Exception: what the model raised.
        """
        return self._server.evaluate(self._client, self._agent, observations)

    def collect(self, ticket: Evaluation) -> Evaluation:
        """The ticket."""
        return ticket


class OwnServer:
    """A worker's own server and the evaluators that ask it.

    Args:
        served: by agent, the form of its network.
        config: of the inference.
        client: who asks.
        at_once: whether each request is a batch of its own, in float32 unless the config names another precision.
    """

    def __init__(
        self, served: Mapping[str, Served], config: InferenceConfig, client: str, at_once: bool = False
    ) -> None:
        if at_once and config.precision == "auto":
            config = dataclasses.replace(config, precision="float32")  # which is faster may differ from run to run
        self._server = make_server(served, config)
        self._client, self._at_once, self._deadline_s = client, at_once, config.request_deadline_s

    def evaluator(self, agent: str) -> Evaluator:
        """An evaluator that asks for an agent."""
        if self._at_once:
            return AtOnce(self._server, self._client, agent)
        return ServerEvaluator(self._server, self._client, agent, self._deadline_s)

    def set_weights(self, agent: str, version: int, arrays: Mapping[str, np.ndarray]) -> None:
        """See `InferenceServer.set_weights`."""
        self._server.set_weights(agent, version, arrays)

    def metrics(self) -> dict[str, Any]:
        """See `InferenceServer.metrics`."""
        return self._server.metrics()
