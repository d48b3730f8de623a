"""Inference actor: a Ray shell around `inference.server.InferenceServer`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ray

from inference.build import Served, make_server
from inference.joint import evaluate
from inference.segment import Shape
from inference.server import InferenceServer
from inference.shm_directory import Attachment
from inference.shm_server import ShmServer
from scoundrel_ray.evaluator import Part
from scoundrel_ray.runs.settings import InferenceConfig

_remote: Any = ray.remote  # type checkers do not see what it adds

# Evaluations block a thread each. Weights and questions have threads of their own: were all others blocked by requests
# that wait for the first weights, those would never come. One thread for weights keeps them in order.
CONCURRENCY_GROUPS = {"weights": 1, "control": 1}


class Inference:
    """Answers calls, and requests through shared memory, with a server.

    Args:
        server: that evaluates.
    """

    def __init__(self, server: InferenceServer) -> None:
        self._server = server
        self._shm = ShmServer(server)

    def evaluate(self, client: str, parts: Sequence[Part]) -> list[tuple[tuple[np.ndarray, ...], int]]:
        """Outputs and weights version for each part (see `inference.joint.evaluate`)."""
        return [(answer.outputs, answer.version) for answer in evaluate(self._server, client, parts)]

    @ray.method(concurrency_group="control")
    def attach(self, client: str, agents: Sequence[str], node: str, pid: int, shape: tuple[Any, ...]) -> Attachment:
        """Shared memory for a client in process `pid` on a node of Ray, or why not (see `ShmServer.attach`).

        It is detached when it closes its FIFOs, as the kernel does for a process that dies.
        """
        if node != ray.get_runtime_context().get_node_id():
            return Attachment(refusal="the inference actor is on another node", expected=True)
        return self._shm.attach(client, agents, pid, Shape(*shape))

    @ray.method(concurrency_group="weights")
    def set_weights(self, agent: str, version: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Returns once the agent's next batch has these weights (see `InferenceServer.set_weights`)."""
        self._server.set_weights(agent, version, arrays)

    @ray.method(concurrency_group="control")
    def metrics(self) -> dict[str, Any]:
        """Counters since this process started (see `InferenceServer.metrics`), and how many clients are `attached`."""
        return {**self._server.metrics(), "attached": self._shm.attached}

    @ray.method(concurrency_group="control")
    def pid(self) -> int:
        """Process id; any answer says that the process is there."""
        return os.getpid()

    @ray.method(concurrency_group="control")
    def close(self) -> None:
        """End the server and remove what it shared; what still waits fails with EvaluatorGone."""
        self._shm.close()
        self._server.close()


@_remote(concurrency_groups=CONCURRENCY_GROUPS, enable_task_events=False)  # pyright: ignore[reportCallIssue]
class InferenceActor(Inference):
    """Evaluates for all workers, in shared batches.

    Whoever makes it sets `max_concurrency` to at least the requests that can be under way at once (see
    `scoundrel_ray.experience.source.Requests`), and `max_restarts=-1`: it comes back without weights, which must be
    sent again, and workers ask again.

    Args:
        agents: those served by name, each with weights of its own.
        config: of the inference.
    """

    def __init__(self, agents: Mapping[str, Served], config: InferenceConfig) -> None:
        super().__init__(make_server(agents, config))
