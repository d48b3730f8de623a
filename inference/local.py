"""The transport without transport: a model, or a server, in the caller's own process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

import numpy as np

from inference.build import Served, make_server
from inference.errors import named
from inference.joint import JointRequest, evaluate
from inference.server import InferenceServer
from scoundrel_ray.evaluator import AgentEvaluator, Evaluation, EvaluatorGone, Part
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


class Ticket(NamedTuple):
    """A request under way.

    Attributes:
        agents: that it is for.
        answers: to come.
    """

    agents: list[str]
    answers: Future[list[Evaluation]]


class ServerEvaluator:
    """A joint evaluator that asks a server in this process: its device thread works while the caller searches.

    Args:
        server: to ask.
        client: who asks.
        deadline_s: longest that an answer is waited for.
    """

    def __init__(self, server: InferenceServer, client: str, deadline_s: float) -> None:
        self._server = server
        self._client = client
        self._deadline_s = deadline_s

    def submit(self, parts: Sequence[Part]) -> Ticket:
        """See `JointEvaluator.submit`."""
        ticket = Ticket([agent for agent, _ in parts], Future())

        def reply(answer: list[Evaluation] | Exception) -> None:
            if isinstance(answer, Exception):
                ticket.answers.set_exception(answer)
            else:
                ticket.answers.set_result(answer)

        JointRequest(self._server, self._client, [(agent, rows.copy()) for agent, rows in parts], reply)
        return ticket

    def collect(self, ticket: Ticket) -> list[Evaluation]:
        """See `JointEvaluator.collect`."""
        try:
            return ticket.answers.result(self._deadline_s)
        except TimeoutError as error:
            raise EvaluatorGone(
                f"inference in this process: no answer for {named(ticket.agents)} within {self._deadline_s:g} s"
            ) from error


class AtOnce:
    """A joint evaluator that asks a server in this process and waits: each part is a batch of its own.

    What it answers never depends on who asks at the same time.

    Args:
        server: to ask.
        client: who asks.
    """

    def __init__(self, server: InferenceServer, client: str) -> None:
        self._server = server
        self._client = client

    def submit(self, parts: Sequence[Part]) -> list[Evaluation]:
        """The answers themselves.

        Raises:
            EvaluatorGone: if one did not come within the deadline.
            Exception: what the model raised.
        """
        return [answer for part in parts for answer in evaluate(self._server, self._client, [part])]

    def collect(self, ticket: list[Evaluation]) -> list[Evaluation]:
        """The ticket."""
        return ticket


class OwnServer:
    """A worker's own server and the evaluators that ask it.

    Args:
        served: by agent, the form of its network.
        config: of the inference.
        client: who asks.
        at_once: whether what is asked for an agent is a batch of its own, in float32 unless the config names another
            precision.

    Attributes:
        evaluators: by agent; one joint evaluator is behind them.
    """

    def __init__(
        self, served: Mapping[str, Served], config: InferenceConfig, client: str, at_once: bool = False
    ) -> None:
        if at_once and config.precision == "auto":
            config = dataclasses.replace(config, precision="float32")  # which is faster may differ from run to run
        self._server, wait_s = make_server(served, config), config.request_deadline_s
        asked = AtOnce(self._server, client) if at_once else ServerEvaluator(self._server, client, wait_s)
        self.evaluators = {agent: AgentEvaluator(asked, agent) for agent in served}

    def set_weights(self, agent: str, version: int, arrays: Mapping[str, np.ndarray]) -> None:
        """See `InferenceServer.set_weights`."""
        self._server.set_weights(agent, version, arrays)

    def metrics(self) -> dict[str, Any]:
        """See `InferenceServer.metrics`."""
        return self._server.metrics()
