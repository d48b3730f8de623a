"""Suite "inference": leaves a second of a model by batch and precision, of an inference actor by message size, and of
the transports between an actor and its clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scoundrel_ray.machine import cores
from scoundrel_ray.network import make_network, parameter_count, weights
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.settings.checks import at_least
from scoundrel_ray.spec import random_observations
from scripts.entry import section
from scripts.measuring.clients import client_class
from scripts.measuring.figures import Figure, Figures
from scripts.measuring.searches import game_of
from scripts.measuring.timing import least_seconds
from scripts.measuring.transports import transport_figures

_SECONDS = 5.0


def run(settings: Mapping[str, Any], repeats: int, threads: int) -> Figures:
    """Figures of a model alone, of an actor with as many clients as threads, of the transports with no model."""
    at_least("suite.repeats", repeats, 1)
    at_least("suite.threads", threads, 0)
    from actors.cluster import connected

    figures = model_alone(repeats)
    with connected():
        return Figures([*figures, *through_actor(threads or cores()), *transport_figures()])


def model_alone(repeats: int) -> list[Figure]:
    """The 5 M-parameter network on one core: each precision and batch beside batch 1 in float32."""
    from inference.model import Model

    game = game_of("scoundrel")
    network = make_network(section("network", "residual_mlp_large"), game.spec)
    observations = random_observations(game.spec, 1024)

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
    """Figures of messages of many leaves to one actor beside messages of one leaf, a small network behind both.

    Wants a connected Ray.
    """
    import ray

    from inference.actor import InferenceActor
    from inference.build import Served

    network = {**section("network", "residual_mlp"), "width": 64, "blocks": 1}
    made = InferenceActor.options(max_concurrency=8 + 2 * clients)
    built = game_of("scoundrel")
    actor = made.remote({"agent": Served(built.spec, network)}, InferenceConfig())
    ray.get(actor.set_weights.remote("agent", 0, weights(make_network(network, built.spec))))
    asking = [client_class().remote(actor, f"client-{i}", "ray", dict(built.section)) for i in range(clients)]
    rates = {}
    for size in (1, 64, 256, 1024):
        ray.get([client.messages_answered.remote(size, 0.5) for client in asking])
        counts = ray.get([client.messages_answered.remote(size, _SECONDS) for client in asking])
        rates[size] = size * sum(messages for messages, _ in counts) / _SECONDS
    for each in (*asking, actor):
        ray.kill(each)
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
