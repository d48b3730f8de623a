"""Inference actor: a Ray shell around `inference.server.InferenceServer`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray

from inference.build import make_server
from scoundrel_ray.config import InferenceConfig, build
from scoundrel_ray.game import Game

_remote: Any = ray.remote  # type checkers do not see what it adds


# Evaluations block a thread each. Weights and questions have threads of their own: were all others blocked by requests
# that wait for the first weights, those would never come. One thread for weights keeps them in order.
@_remote(concurrency_groups={"weights": 1, "control": 1})  # pyright: ignore[reportCallIssue]
class InferenceActor:
    """Evaluates for all workers, in shared batches.

    Whoever makes it sets `max_concurrency` to at least the requests that can be under way at once (two for each
    worker), and `max_restarts=-1`: it comes back without weights, which must be sent again, and workers ask again.

    Args:
        game, network: config sections.
        config: of the inference.
        agents: names of those served, each with weights of its own.
    """

    def __init__(
        self, game: dict[str, Any], network: dict[str, Any], config: InferenceConfig, agents: list[str]
    ) -> None:
        self._server = make_server(build("game", game, Game), network, config, agents)

    def evaluate(self, client: str, agent: str, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Logits, values and weights version for [B, O] int8 (see `InferenceServer.evaluate`)."""
        logits, values, version = self._server.evaluate(client, agent, observations)
        return logits, values, version

    @ray.method(concurrency_group="weights")
    def set_weights(self, agent: str, version: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Returns once the agent's next batch has these weights (see `InferenceServer.set_weights`)."""
        self._server.set_weights(agent, version, arrays)

    @ray.method(concurrency_group="control")
    def metrics(self) -> dict[str, Any]:
        """Counters since this process started (see `InferenceServer.metrics`)."""
        return self._server.metrics()

    @ray.method(concurrency_group="control")
    def pid(self) -> int:
        """Process id, for tests that kill it."""
        return os.getpid()
