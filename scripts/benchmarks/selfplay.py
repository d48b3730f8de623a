"""Suite "selfplay": games a minute with batched inference, beside the same search asking leaf by leaf."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from scoundrel_ray.config import InferenceConfig, build
from scoundrel_ray.evaluator import Constant, Evaluation
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
    length = decisions_per_game(game)
    case = f"self-play, Scoundrel, Gumbel 32, {size:.1f} M parameters, {_WORKERS} workers x {_GAMES} games"
    return [
        Figure(
            f"{case}, mean batch {mean_batch:.0f}",
            60 * ours / length,
            "games/min",
            "the same search, leaf by leaf at batch 1 in float32",
            60 * theirs / length,
            wanted_ratio=20.0,
        )
    ]


def decisions_per_game(game: Game) -> float:
    """Mean over thousands of whole games: those that end in a short time are the short ones.

    A fresh network says the same of every leaf (its outputs start at zero), so a constant stands for it.
    """
    settings = build("search", section("search", "gumbel"), SearchConfig)
    rollout = Rollout(game, settings, RolloutConfig(games=64), Constant(game.actions, game.seats), (99,))
    rows, report = rollout.play(rows=100_000, seconds=1000.0)
    return len(rows) / len(report["scores"])


def _decisions_per_s(rollout: Rollout, seconds: float) -> float:
    """Over about `seconds` of self-play, after half as long to warm up."""
    rollout.play(rows=1 << 30, seconds=seconds / 2)
    decisions = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        decisions += rollout.play(rows=1 << 30, seconds=seconds / 4)[1]["decisions"]
    return decisions / (time.perf_counter() - start)


def batched(network: dict[str, Any], seconds: float, threads: int) -> tuple[float, float]:
    """Decisions a second and mean batch, by rollout actors around one inference actor."""
    import ray

    from actors.cluster import connected
    from inference.actor import InferenceActor

    _remote: Any = ray.remote  # type checkers do not see what it adds

    @_remote(num_cpus=0)
    class Worker:
        def __init__(self, actor: Any, number: int) -> None:
            from inference.remote import RemoteEvaluator

            game = game_of("scoundrel")
            evaluator = RemoteEvaluator(actor, f"rollout-{number}", "agent", 60.0)
            settings = build("search", section("search", "gumbel"), SearchConfig)
            self._rollout = Rollout(game, settings, RolloutConfig(games=_GAMES), evaluator, (number,))

        def play(self, seconds: float) -> float:
            return _decisions_per_s(self._rollout, seconds)

    section_ = {"_target_": "scoundrel_ray.games.scoundrel.make"}
    with connected():
        actor = InferenceActor.options(max_concurrency=16).remote(
            section_, network, InferenceConfig(threads=threads), ["agent"]
        )
        start = weights(make_network(network, build("game", section_, Game)))
        ray.get(actor.set_weights.remote("agent", 0, start))
        workers = [Worker.remote(actor, number) for number in range(_WORKERS)]
        rates = ray.get([worker.play.remote(seconds) for worker in workers])
        metrics: Any = ray.get(actor.metrics.remote())
    return sum(rates), metrics["leaves"] / metrics["batches"]


def leaf_by_leaf(network: dict[str, Any], seconds: float) -> float:
    """Decisions a second of as many processes, each with a network of its own at batch 1."""
    import ray

    from actors.cluster import connected

    _remote: Any = ray.remote  # type checkers do not see what it adds

    @_remote(num_cpus=0)
    class Worker:
        def __init__(self, number: int) -> None:
            from inference.model import Model

            game = game_of("scoundrel")
            model = Model(make_network(network, game), precision="float32", batch_sizes=(1,), threads=1)
            settings = build("search", section("search", "gumbel"), SearchConfig)
            self._rollout = Rollout(game, settings, RolloutConfig(games=4), LeafByLeaf(model), (number,))

        def play(self, seconds: float) -> float:
            return _decisions_per_s(self._rollout, seconds)

    with connected():
        workers = [Worker.remote(number) for number in range(_WORKERS)]
        return sum(ray.get([worker.play.remote(seconds) for worker in workers]))
