"""Actors at both ends of a transport: clients that ask and count, a server whose model answers at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.segment import Shape
from scoundrel_ray.evaluator import AgentEvaluator, Evaluation, Evaluator
from scoundrel_ray.game import Game
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.spec import random_observations, search_heads
from scripts.measuring.self_play import AGENT

SMALL, LARGE = 64, 2048  # leaves of a message
DEADLINE_S = 60.0
_UNDER_WAY = 2  # requests, as from two half-groups


class Instant:
    """A model that answers the same to all leaves, at once."""

    version, choice, batch_s = 0, "constant", 0.0

    def __init__(self, actions: int, seats: int) -> None:
        self._answer = Evaluation((np.zeros((LARGE, actions), np.float32), np.zeros((LARGE, seats), np.float32)), 0)

    def load(self, arrays: Mapping[str, np.ndarray], version: int) -> None:
        """Nothing to load."""

    def evaluate(self, observations: np.ndarray) -> Evaluation:
        """Zeros for at most `LARGE` leaves."""
        count = len(observations)
        return Evaluation(tuple(output[:count] for output in self._answer.outputs), 0)

    def padded_size(self, count: int) -> int:
        """The same size: nothing is padded."""
        return count


def message_seconds(evaluator: Evaluator, observations: np.ndarray, seconds: float) -> tuple[float, float]:
    """Wall and processor time of a message, this process's alone; one is under way at a time."""
    evaluator.collect(evaluator.submit(observations))
    count, start, used = 0, time.perf_counter(), time.process_time()
    while (taken := time.perf_counter() - start) < seconds:
        evaluator.collect(evaluator.submit(observations))
        count += 1
    return taken / count, (time.process_time() - used) / count


def messages_answered(evaluator: Evaluator, observations: np.ndarray, seconds: float) -> tuple[int, float]:
    """Messages answered, and the processor's seconds that this process took for them; two are under way at a time."""
    answered, used = 0, time.process_time()
    tickets = [evaluator.submit(observations) for _ in range(_UNDER_WAY)]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        evaluator.collect(tickets.pop(0))
        answered += 1
        tickets.append(evaluator.submit(observations))
    for ticket in tickets:
        evaluator.collect(ticket)
    return answered, time.process_time() - used


def client_class() -> Any:
    """An actor that asks an inference actor over a transport, "ray" or "shm"."""
    import ray

    _remote: Any = ray.remote  # type checkers do not see what it adds

    @_remote(num_cpus=0)
    class Client:
        def __init__(self, actor: Any, name: str, transport: str, section: Mapping[str, Any]) -> None:
            from inference.lines import through_actor
            from inference.remote import RemoteEvaluator
            from scoundrel_ray.settings.build import build

            self._game = game = build("game", section, Game)
            self._refusal = ""
            self._evaluator = AgentEvaluator(RemoteEvaluator(actor, name, DEADLINE_S), AGENT)
            if transport == "shm":
                shape = Shape.of(game.spec, search_heads(game.spec), _UNDER_WAY, LARGE)
                shared = through_actor(actor, name, [AGENT], DEADLINE_S, shape)
                self._evaluator = AgentEvaluator(shared, AGENT)
                if not shared.shared:
                    self._refusal = shared.warning or "the inference actor is on another node"

        def refusal(self) -> str:
            """Why requests go another way than they were meant to; "" if they do not."""
            return self._refusal

        def message_seconds(self, leaves: int, seconds: float) -> tuple[float, float]:
            return message_seconds(self._evaluator, random_observations(self._game.spec, leaves), seconds)

        def messages_answered(self, leaves: int, seconds: float) -> tuple[int, float]:
            return messages_answered(self._evaluator, random_observations(self._game.spec, leaves), seconds)

    return Client


def instant_actor() -> Any:
    """An inference actor whose model answers at once."""
    import ray

    from inference.actor import CONCURRENCY_GROUPS, Inference
    from inference.server import InferenceServer

    _remote: Any = ray.remote

    @_remote(num_cpus=0, concurrency_groups=CONCURRENCY_GROUPS)
    class InstantActor(Inference):
        def __init__(self, actions: int, seats: int) -> None:
            super().__init__(InferenceServer({AGENT: Instant(actions, seats)}, InferenceConfig()))

    return InstantActor
