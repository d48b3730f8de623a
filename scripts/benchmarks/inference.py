"""Suite "inference": leaves a second of a model by batch and precision, and of an inference actor by message size."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from scoundrel_ray.config import InferenceConfig
from scoundrel_ray.network import make_network, parameter_count, random_observations, weights
from scripts.benchmarks.figures import Figure, least_seconds
from scripts.benchmarks.search import game_of
from scripts.entry import section

_SECONDS = 5.0


def run(config: dict[str, Any]) -> list[Figure]:
    """A model alone, then an actor with as many clients as cores."""
    return [*model_alone(config["repeats"]), *through_actor(config["threads"] or os.cpu_count() or 1)]


def model_alone(repeats: int) -> list[Figure]:
    """The 5 M-parameter network on one core: each precision and batch beside batch 1 in float32."""
    from inference.model import Model

    game = game_of("scoundrel")
    network = make_network(section("network", "residual_mlp_large"), game)
    observations = random_observations(game.observation, 1024)

    def rate(precision: str, batch: int) -> float:
        model = Model(network, precision=precision, batch_sizes=(batch,), threads=1)
        calls = max(1, 256 // batch)

        def evaluate() -> None:
            for _ in range(calls):
                model.evaluate(observations[:batch])

        return calls * batch / least_seconds(evaluate, repeats)

    single = rate("float32", 1)
    size = parameter_count(network) / 1e6
    return [
        Figure(
            f"residual MLP of {size:.1f} M parameters, batch {batch}, {precision}, one core",
            rate(precision, batch),
            "leaves/s",
            "batch 1, float32",
            single,
        )
        for precision in ("float32", "bfloat16")
        for batch in (64, 512, 1024)
    ]


def through_actor(clients: int) -> list[Figure]:
    """Messages of many leaves to one actor beside messages of one leaf, a small network behind both."""
    import ray

    from actors.cluster import connected
    from inference.actor import InferenceActor

    game = {"_target_": "scoundrel_ray.games.scoundrel.make"}
    network = {**section("network", "residual_mlp"), "width": 64, "blocks": 1}

    _remote: Any = ray.remote  # type checkers do not see what it adds

    @_remote(num_cpus=0)
    class Client:
        def __init__(self, actor: Any, name: str) -> None:
            from inference.remote import RemoteEvaluator

            self._evaluator = RemoteEvaluator(actor, name, "agent", 60.0)

        def ask(self, observations: np.ndarray, seconds: float) -> int:
            """Leaves answered; two requests are always under way, as from two half-groups."""
            evaluator, answered = self._evaluator, 0
            tickets = [evaluator.submit(observations) for _ in range(2)]
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                answered += len(evaluator.collect(tickets.pop(0)).values)
                tickets.append(evaluator.submit(observations))
            for ticket in tickets:
                evaluator.collect(ticket)
            return answered

    rates = {}
    with connected():
        made = InferenceActor.options(max_concurrency=8 + 2 * clients)
        actor = made.remote(game, network, InferenceConfig(), ["agent"])
        built = game_of("scoundrel")
        ray.get(actor.set_weights.remote("agent", 0, weights(make_network(network, built))))
        asking = [Client.remote(actor, f"client-{i}") for i in range(clients)]
        for size in (1, 64, 256, 1024):
            observations = random_observations(built.observation, size)
            ray.get([client.ask.remote(observations, 0.5) for client in asking])
            rates[size] = sum(ray.get([client.ask.remote(observations, _SECONDS) for client in asking])) / _SECONDS
    return [
        Figure(
            f"inference actor over Ray calls, {clients} clients, {size} leaves a message, network of width 64",
            rate,
            "leaves/s",
            "one leaf a message",
            rates[1],
        )
        for size, rate in rates.items()
        if size > 1
    ]
