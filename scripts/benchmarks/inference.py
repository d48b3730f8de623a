"""Suite "inference": leaves a second of a model by batch and precision, of an inference actor by message size, and of
the transports between an actor and its clients.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from scoundrel_ray.machine import cores
from scoundrel_ray.network import make_network, parameter_count, random_observations, weights
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.settings.checks import InvalidConfig
from scripts.benchmarks.figures import Figure, least_seconds
from scripts.benchmarks.search import game_of
from scripts.entry import section
from scripts.tuning.transport import instant_actor

_SECONDS = 5.0
_CLIENTS = 2
_LEAVES = 64 * 3  # of a message: 64 games, three worlds each
_ROUNDS = 3
_ROUND_S = 2.0


def run(config: dict[str, Any]) -> list[Figure]:
    """A model alone, an actor with as many clients as cores, the transports with no model to wait for."""
    clients = config["threads"] or cores()
    return [*model_alone(config["repeats"]), *through_actor(clients), *transport_alone()]


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

    rates = {}
    with connected():
        made = InferenceActor.options(max_concurrency=8 + 2 * clients)
        actor = made.remote(game, network, InferenceConfig(), ["agent"])
        built = game_of("scoundrel")
        ray.get(actor.set_weights.remote("agent", 0, weights(make_network(network, built))))
        asking = [client_class().remote(actor, f"client-{i}", "ray") for i in range(clients)]
        for size in (1, 64, 256, 1024):
            observations = random_observations(built.observation, size)
            ray.get([client.ask.remote(observations, 0.5) for client in asking])
            counts = ray.get([client.ask.remote(observations, _SECONDS) for client in asking])
            rates[size] = size * sum(messages for messages, _ in counts) / _SECONDS
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


def transport_alone() -> list[Figure]:
    """Shared memory beside Ray calls, to an actor whose answers cost nothing: leaves a second, messages a CPU second.

    The two take turns, so that a busy moment of the machine falls on both; of each figure the best turn counts.
    """
    import psutil
    import ray

    from actors.cluster import connected

    built = game_of("scoundrel")
    observations = random_observations(built.observation, _LEAVES)
    best: dict[tuple[str, str], float] = {}
    with connected():
        actor = instant_actor().options(max_concurrency=8 + 4 * _CLIENTS).remote(built.actions, built.seats)
        ray.get(actor.set_weights.remote("agent", 0, {}))
        server = psutil.Process(ray.get(actor.pid.remote()))
        asking = {
            transport: [client_class().remote(actor, f"{transport}-{i}", transport) for i in range(_CLIENTS)]
            for transport in ("ray", "shm")
        }
        for clients in asking.values():
            for warning in ray.get([client.warning.remote() for client in clients]):
                if warning:
                    raise InvalidConfig(f"suite: shared memory cannot be measured here: {warning}")
            ray.get([client.ask.remote(observations, 0.5) for client in clients])
        for transport in [*asking] * _ROUNDS:
            before = sum(server.cpu_times()[:2])
            counts = ray.get([client.ask.remote(observations, _ROUND_S) for client in asking[transport]])
            server_s = sum(server.cpu_times()[:2]) - before
            messages, client_s = (sum(column) for column in zip(*counts, strict=True))
            turn = {
                "leaves/s": _LEAVES * messages / _ROUND_S,
                "at the client": messages / client_s,
                "at the server": messages / max(server_s, 0.01),
            }
            for name, value in turn.items():
                best[transport, name] = max(best.get((transport, name), 0.0), value)
    case = f"transport alone, {_CLIENTS} clients, 2 x {_LEAVES} leaves under way each: shared memory"
    return [
        Figure(case, best["shm", "leaves/s"], "leaves/s", "Ray calls", best["ray", "leaves/s"], wanted_ratio=1.8),
        *(
            Figure(
                f"{case}, {side}", best["shm", side], "messages/CPU s", "Ray calls", best["ray", side], wanted=10_000
            )
            for side in ("at the client", "at the server")
        ),
    ]


def client_class() -> Any:
    """An actor that asks another, with two requests under way, as from two half-groups."""
    import ray

    _remote: Any = ray.remote  # type checkers do not see what it adds
    most = _LEAVES

    @_remote(num_cpus=0)
    class Client:
        def __init__(self, actor: Any, name: str, transport: str) -> None:
            from inference.remote import RemoteEvaluator
            from inference.segment import Shape
            from inference.shm import through_actor
            from scoundrel_ray.games.scoundrel import make

            game = make()
            shape = Shape(2, most, game.observation_size, game.actions, game.seats)
            self._evaluator: Any = RemoteEvaluator(actor, name, "agent", 60.0)
            if transport == "shm":
                self._evaluator = through_actor(actor, name, "agent", 60.0, shape)

        def warning(self) -> str:
            """Why requests go another way than they were meant to; "" if they do not."""
            return getattr(self._evaluator, "warning", "")

        def ask(self, observations: np.ndarray, seconds: float) -> tuple[int, float]:
            """Messages answered, and the processor's seconds that this process took for them."""
            evaluator, answered, used = self._evaluator, 0, time.process_time()
            tickets = [evaluator.submit(observations) for _ in range(2)]
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                evaluator.collect(tickets.pop(0))
                answered += 1
                tickets.append(evaluator.submit(observations))
            for ticket in tickets:
                evaluator.collect(ticket)
            return answered, time.process_time() - used

    return Client
