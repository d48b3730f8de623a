"""Suite "selfplay": games a minute with batched inference, beside the same search asking leaf by leaf."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from scoundrel_ray.config import InferenceConfig, build
from scoundrel_ray.evaluator import Evaluation
from scoundrel_ray.game import Game
from scoundrel_ray.network import make_network, parameter_count, weights
from scoundrel_ray.rollout import Rollout, RolloutConfig
from scoundrel_ray.search import SearchConfig
from scripts.benchmarks.figures import Figure
from scripts.benchmarks.search import game_of
from scripts.entry import section

_WORKERS = 2
_GAMES = 1024  # in lockstep in each worker


class LeafByLeaf:
    """An evaluator that runs its network once for every leaf: the baseline."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def submit(self, observations: np.ndarray) -> np.ndarray:
        """The observations themselves."""
        return observations.copy()

    def collect(self, ticket: np.ndarray) -> Evaluation:
        """The answers, one by one."""
        parts = [self._model.evaluate(row[None]) for row in ticket]
        logits = np.concatenate([part.logits for part in parts])
        return Evaluation(logits, np.concatenate([part.values for part in parts]), 0)


def run(config: dict[str, Any]) -> list[Figure]:
    """Two workers of Scoundrel with a network of 5 M parameters, Gumbel search of 32 simulations."""
    game = game_of("scoundrel")
    network = section("network", "residual_mlp_large")
    size = parameter_count(make_network(network, game)) / 1e6
    ours, mean_batch = batched(network, config["seconds"], config["inference_threads"])
    theirs = leaf_by_leaf(network, config["seconds"])
    case = f"self-play, Scoundrel, Gumbel 32, {size:.1f} M parameters, {_WORKERS} workers x {_GAMES} games"
    return [
        Figure(
            f"{case}, mean batch {mean_batch:.0f}",
            ours,
            "games/min",
            "the same search, leaf by leaf at batch 1 in float32",
            theirs,
            wanted_ratio=20.0,
        )
    ]


def _games_per_min(played: list[tuple[int, float, int, int]]) -> float:
    """From each worker's (decisions, seconds, rows, games): decisions a minute over decisions a game.

    Lockstep games end in waves, so games counted in a short time would be chance.
    """
    rows, games = sum(p[2] for p in played), sum(p[3] for p in played)
    return 60 * sum(decisions / seconds for decisions, seconds, _, _ in played) * games / rows


def _play(rollout: Rollout, seconds: float) -> tuple[int, float, int, int]:
    """Decisions, seconds, rows and games of about `seconds` of self-play, after as long to warm up."""
    rollout.play(rows=1 << 30, seconds=seconds / 2)
    decisions, rows, games = 0, 0, 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        played, report = rollout.play(rows=1 << 30, seconds=seconds / 4)
        decisions += report["decisions"]
        rows += len(played)
        games += len(report["scores"])
    return decisions, time.perf_counter() - start, rows, games


def batched(network: dict[str, Any], seconds: float, threads: int) -> tuple[float, float]:
    """Games a minute and mean batch, by rollout actors around one inference actor."""
    import ray

    from actors.cluster import connected
    from inference.actor import InferenceActor

    @ray.remote(num_cpus=0)
    class Worker:
        def __init__(self, actor: Any, number: int) -> None:
            from inference.remote import RemoteEvaluator

            game = game_of("scoundrel")
            evaluator = RemoteEvaluator(actor, f"rollout-{number}", "agent", 60.0)
            settings = build("search", section("search", "gumbel"), SearchConfig)
            self._rollout = Rollout(game, settings, RolloutConfig(games=_GAMES), evaluator, (number,))

        def play(self, seconds: float) -> tuple[int, float, int, int]:
            return _play(self._rollout, seconds)

    section_ = {"_target_": "scoundrel_ray.games.scoundrel.make"}
    with connected():
        actor = InferenceActor.options(max_concurrency=16).remote(
            section_, network, InferenceConfig(threads=threads), ["agent"]
        )
        start = weights(make_network(network, build("game", section_, Game)))
        ray.get(actor.set_weights.remote("agent", 0, start))
        workers = [Worker.remote(actor, number) for number in range(_WORKERS)]
        played = ray.get([worker.play.remote(seconds) for worker in workers])
        metrics = ray.get(actor.metrics.remote())
    return _games_per_min(played), metrics["leaves"] / metrics["batches"]


def leaf_by_leaf(network: dict[str, Any], seconds: float) -> float:
    """Games a minute of as many processes, each with a network of its own at batch 1."""
    import ray

    from actors.cluster import connected

    @ray.remote(num_cpus=0)
    class Worker:
        def __init__(self, number: int) -> None:
            from inference.model import Model

            game = game_of("scoundrel")
            model = Model(make_network(network, game), precision="float32", batch_sizes=(1,), threads=1)
            settings = build("search", section("search", "gumbel"), SearchConfig)
            self._rollout = Rollout(game, settings, RolloutConfig(games=4), LeafByLeaf(model), (number,))

        def play(self, seconds: float) -> tuple[int, float, int, int]:
            return _play(self._rollout, seconds)

    with connected():
        workers = [Worker.remote(number) for number in range(_WORKERS)]
        return _games_per_min(ray.get([worker.play.remote(seconds) for worker in workers]))
