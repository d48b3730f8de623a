"""What a message costs over each transport that works here, with a model that answers at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from inference.segment import Shape
from scoundrel_ray.evaluator import Evaluation, Evaluator
from scoundrel_ray.game import Game
from scoundrel_ray.network import random_observations
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.tuning.prediction import LOCAL, Line, TransportCosts
from scripts.benchmarks.sides import AGENT

SMALL, LARGE = 64, 2048
_CLIENT = "tune"
_DEADLINE_S = 60.0


class Instant:
    """A model that answers the same to all leaves, at once."""

    version, choice, batch_s = 0, "constant", 0.0

    def __init__(self, actions: int, seats: int) -> None:
        self._answer = Evaluation(np.zeros((LARGE, actions), np.float32), np.zeros((LARGE, seats), np.float32), 0)

    def load(self, arrays: Mapping[str, np.ndarray], version: int) -> None:
        """Nothing to load."""

    def evaluate(self, observations: np.ndarray) -> Evaluation:
        """Zeros for at most `LARGE` leaves."""
        count = len(observations)
        return Evaluation(self._answer.logits[:count], self._answer.values[:count], 0)

    def padded_size(self, count: int) -> int:
        """Nothing is padded."""
        return count


def message_seconds(evaluator: Evaluator, observations: np.ndarray, seconds: float) -> tuple[float, float]:
    """Wall and processor time of a message, this process's alone; one is under way at a time."""
    evaluator.collect(evaluator.submit(observations))
    count, start, used = 0, time.perf_counter(), time.process_time()
    while (taken := time.perf_counter() - start) < seconds:
        evaluator.collect(evaluator.submit(observations))
        count += 1
    return taken / count, (time.process_time() - used) / count


def transport_costs(
    game: Game, names: tuple[str, ...], seconds: float, tick: Callable[[str], None] = lambda _: None
) -> tuple[dict[str, TransportCosts], dict[str, str]]:
    """Costs by transport, and why those that are left out do not work here. Wants a connected Ray.

    Args:
        game: whose leaves travel.
        names: transports to try.
        seconds: of each measurement; there are two for each transport.
        tick: told before each transport.
    """
    found: dict[str, TransportCosts] = {}
    refused: dict[str, str] = {}
    for name in names:
        tick(f"transport, {name}")
        measured: dict[int, tuple[float, float, float]] = {}
        if name == LOCAL:
            measured = _local(game, seconds)
        else:
            measured, refusal = _through_actor(game, name, seconds)
            if refusal:
                refused[name] = refusal
                continue
        small, large = measured[SMALL], measured[LARGE]
        lines = [Line.through((SMALL, low), (LARGE, high)) for low, high in zip(small, large, strict=True)]
        found[name] = TransportCosts(*lines)
    return found, refused


def _local(game: Game, seconds: float) -> dict[int, tuple[float, float, float]]:
    """Costs of a server in this process, by leaves: round trip, and all processor time as the client's."""
    from inference.local import ServerEvaluator
    from inference.server import InferenceServer

    server = InferenceServer({AGENT: Instant(game.actions, game.seats)}, InferenceConfig())
    server.set_weights(AGENT, 0, {})
    try:
        evaluator = ServerEvaluator(server, _CLIENT, AGENT, _DEADLINE_S)
        sizes = {size: random_observations(game.observation, size) for size in (SMALL, LARGE)}
        return {size: (*message_seconds(evaluator, leaves, seconds), 0.0) for size, leaves in sizes.items()}
    finally:
        server.close()


def _through_actor(game: Game, transport: str, seconds: float) -> tuple[dict[int, tuple[float, float, float]], str]:
    """Costs by leaves (round trip, processor time of the client and of the server), and why it does not work or ""."""
    import psutil
    import ray

    actor = instant_actor().options(max_concurrency=8).remote(game.actions, game.seats)
    client = _client_class().remote(actor, transport, game.section)
    try:
        ray.get(actor.set_weights.remote(AGENT, 0, {}))
        refusal: Any = ray.get(client.refusal.remote())
        if refusal:
            return {}, refusal
        server, measured = psutil.Process(ray.get(actor.pid.remote())), {}
        for size in (SMALL, LARGE):
            before = sum(server.cpu_times()[:2])
            round_trip, used = ray.get(client.ask.remote(size, seconds))
            server_s = (sum(server.cpu_times()[:2]) - before) * round_trip / seconds
            measured[size] = (round_trip, used, server_s)
        ray.get(actor.close.remote())
        return measured, ""
    finally:
        ray.kill(client)
        ray.kill(actor)


def _client_class() -> Any:
    import ray

    _remote: Any = ray.remote  # type checkers do not see what it adds

    @_remote(num_cpus=0)
    class Client:
        def __init__(self, actor: Any, transport: str, section: Mapping[str, Any]) -> None:
            from inference.remote import RemoteEvaluator
            from inference.shm import through_actor
            from scoundrel_ray.settings.build import build

            self._game = game = build("game", section, Game)
            self._refusal = ""
            self._evaluator: Evaluator = RemoteEvaluator(actor, _CLIENT, AGENT, _DEADLINE_S)
            if transport == "shm":
                shape = Shape(2, LARGE, game.observation_size, game.actions, game.seats)
                self._evaluator = shared = through_actor(actor, _CLIENT, AGENT, _DEADLINE_S, shape)
                if not shared.shared:
                    self._refusal = shared.warning or "the inference actor is on another node"

        def refusal(self) -> str:
            return self._refusal

        def ask(self, leaves: int, seconds: float) -> tuple[float, float]:
            return message_seconds(self._evaluator, random_observations(self._game.observation, leaves), seconds)

    return Client


def instant_actor() -> Any:
    import ray

    from inference.actor import CONCURRENCY_GROUPS, Inference
    from inference.server import InferenceServer

    _remote: Any = ray.remote

    @_remote(num_cpus=0, concurrency_groups=CONCURRENCY_GROUPS)
    class InstantActor(Inference):
        def __init__(self, actions: int, seats: int) -> None:
            super().__init__(InferenceServer({AGENT: Instant(actions, seats)}, InferenceConfig()))

    return InstantActor
