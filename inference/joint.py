"""A request with rows of several agents: the server batches each agent's part by itself, and one answer goes back."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence

from inference.batcher import Request
from inference.errors import named
from inference.server import InferenceServer
from scoundrel_ray.evaluator import Evaluation, EvaluatorGone, Part

JointReply = Callable[[list[Evaluation] | Exception], None]


class JointRequest:
    """The parts of a request, each of which waits in the server as a request of its own.

    Args:
        server: that answers.
        client: who asks.
        parts: one or more. The arrays must stay as they are until the reply.
        reply: called once, from a device thread, when the last part was answered: with the answers in the order of the
            parts, or with the first of them that is an error.

    Raises:
        ValueError: for an agent that is not served, or if there is no part.
        QueueFull: if too many requests wait.
        EvaluatorGone: if the server has ended.
    """

    def __init__(self, server: InferenceServer, client: str, parts: Sequence[Part], reply: JointReply) -> None:
        if not parts:
            raise ValueError(f"inference: a request of {client} has no part")
        self._server, self._reply = server, reply
        self._answers: list[Evaluation | Exception | None] = [None] * len(parts)
        self._lock = threading.Lock()  # answers come from all device threads
        self._left = len(parts)
        self._requests: list[Request] = []
        try:
            for number, (agent, observations) in enumerate(parts):
                answered = functools.partial(self._answered, number)
                self._requests.append(server.submit(client, agent, observations, answered))
        except Exception:
            self.withdraw()  # the reply never comes: the parts that were not submitted are left
            raise

    def withdraw(self) -> None:
        """Remove the parts that still wait; if there are any, the reply never comes."""
        for request in self._requests:
            self._server.withdraw(request)

    def _answered(self, number: int, answer: Evaluation | Exception) -> None:
        with self._lock:
            self._answers[number] = answer
            self._left -= 1
            if self._left:
                return
        found: list[Evaluation] = []
        for each in self._answers:
            if isinstance(each, Exception):
                self._reply(each)
                return
            assert each is not None
            found.append(each)
        self._reply(found)


def evaluate(server: InferenceServer, client: str, parts: Sequence[Part]) -> list[Evaluation]:
    """What the agents' networks answer to their parts, in the same order; waits for it.

    Raises:
        EvaluatorGone: if the server ended, or gave no answer within the deadline of its config.
        Exception: whatever a model raised for its part, and as of `JointRequest`.
    """
    answered = threading.Event()
    answers: list[list[Evaluation] | Exception] = []

    def reply(answer: list[Evaluation] | Exception) -> None:
        answers.append(answer)
        answered.set()

    request = JointRequest(server, client, parts, reply)
    if not answered.wait(server.deadline_s):
        request.withdraw()
        agents = [agent for agent, _ in parts]
        untrained = [agent for agent in agents if not server.has_weights(agent)]
        why = f", no weights yet for {', '.join(untrained)}" if untrained else ""
        raise EvaluatorGone(
            f"inference: no answer for {named(agents)}{why}, within {server.deadline_s:g} s, "
            f"for {sum(len(rows) for _, rows in parts)} leaves of {client}"
        )
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]
