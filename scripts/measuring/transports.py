"""What a message costs over each transport that works here, and how many pass, with a model that answers at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scoundrel_ray.evaluator import AgentEvaluator
from scoundrel_ray.game import Game
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import random_observations
from scoundrel_ray.tuning.prediction import LOCAL, LinearCost, TransportCosts
from scripts.measuring.clients import (
    DEADLINE_S,
    LARGE,
    SMALL,
    Instant,
    client_class,
    instant_actor,
    message_seconds,
)
from scripts.measuring.figures import Figure
from scripts.measuring.searches import game_of
from scripts.measuring.self_play import AGENT, end

_CLIENT = "tune"
_CLIENTS = 2
_LEAVES = 64 * 3  # of a message: 64 games, three worlds each
_ROUNDS = 3
_ROUND_S = 2.0


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
        costs = [LinearCost.through((SMALL, low), (LARGE, high)) for low, high in zip(small, large, strict=True)]
        found[name] = TransportCosts(*costs)
    return found, refused


def _local(game: Game, seconds: float) -> dict[int, tuple[float, float, float]]:
    """Of a server in this process, by leaves: round trip, and all processor time as the client's."""
    from inference.local import ServerEvaluator
    from inference.server import InferenceServer

    server = InferenceServer({AGENT: Instant(game.actions, game.seats)}, InferenceConfig())
    server.set_weights(AGENT, 0, {})
    try:
        evaluator = AgentEvaluator(ServerEvaluator(server, _CLIENT, DEADLINE_S), AGENT)
        sizes = {size: random_observations(game.spec, size) for size in (SMALL, LARGE)}
        return {size: (*message_seconds(evaluator, leaves, seconds), 0.0) for size, leaves in sizes.items()}
    finally:
        server.close()


def _through_actor(game: Game, transport: str, seconds: float) -> tuple[dict[int, tuple[float, float, float]], str]:
    """By leaves: round trip, processor time at the client, at the server; and why it does not work, "" if it does."""
    import psutil
    import ray

    actor = instant_actor().options(max_concurrency=8).remote(game.actions, game.seats)
    client = client_class().remote(actor, _CLIENT, transport, game.section)
    try:
        ray.get(actor.set_weights.remote(AGENT, 0, {}))
        refusal: Any = ray.get(client.refusal.remote())
        if refusal:
            return {}, refusal
        server, measured = psutil.Process(ray.get(actor.pid.remote())), {}
        for size in (SMALL, LARGE):
            before = sum(server.cpu_times()[:2])
            round_trip, used = ray.get(client.message_seconds.remote(size, seconds))
            server_s = (sum(server.cpu_times()[:2]) - before) * round_trip / seconds
            measured[size] = (round_trip, used, server_s)
        return measured, ""
    finally:
        end([client], [actor])


def transport_figures() -> list[Figure]:
    """Shared memory beside Ray calls, to an actor whose answers cost nothing: leaves a second, messages a CPU second.

    The two take turns, so that a busy moment of the machine falls on both; of each figure the best turn counts. Wants a
    connected Ray.

    Raises:
        InvalidConfig: if shared memory cannot be had here.
    """
    import psutil
    import ray

    game = game_of("scoundrel")
    best: dict[tuple[str, str], float] = {}
    actor = instant_actor().options(max_concurrency=8 + 4 * _CLIENTS).remote(game.actions, game.seats)
    asking = {
        transport: [client_class().remote(actor, f"{transport}-{i}", transport, game.section) for i in range(_CLIENTS)]
        for transport in ("ray", "shm")
    }
    try:
        ray.get(actor.set_weights.remote(AGENT, 0, {}))
        server = psutil.Process(ray.get(actor.pid.remote()))
        for clients in asking.values():
            for refusal in ray.get([client.refusal.remote() for client in clients]):
                if refusal:
                    raise InvalidConfig(f"suite: shared memory cannot be measured here: {refusal}")
            ray.get([client.messages_answered.remote(_LEAVES, 0.25 * _ROUND_S) for client in clients])
        for transport in [*asking] * _ROUNDS:
            before = sum(server.cpu_times()[:2])
            counts = ray.get([client.messages_answered.remote(_LEAVES, _ROUND_S) for client in asking[transport]])
            server_s = sum(server.cpu_times()[:2]) - before
            messages, client_s = (sum(column) for column in zip(*counts, strict=True))
            turn = {
                "leaves/s": _LEAVES * messages / _ROUND_S,
                "at the client": messages / client_s,
                "at the server": messages / max(server_s, 0.01),
            }
            for name, value in turn.items():
                best[transport, name] = max(best.get((transport, name), 0.0), value)
    finally:
        end([*asking["ray"], *asking["shm"]], [actor])
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
