"""Self-play of one setting, measured: workers around one server, or each with a network of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scoundrel_ray.checks import InvalidConfig
from scoundrel_ray.config import InferenceConfig, build, record
from scoundrel_ray.evaluator import Constant, Evaluation
from scoundrel_ray.game import Game
from scoundrel_ray.network import make_network, weights
from scoundrel_ray.rollout import Rollout, RolloutConfig
from scoundrel_ray.search import SearchConfig

AGENT = "agent"
_GAMES_FOR_LENGTH = 64
_ROWS_FOR_LENGTH = 50_000


@dataclass(frozen=True)
class Setting:
    """What plays, and how.

    Attributes:
        game, search, network: config sections.
        rollout, inference: their configs.
    """

    game: Mapping[str, Any]
    search: Mapping[str, Any]
    network: Mapping[str, Any]
    rollout: RolloutConfig
    inference: InferenceConfig

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Setting:
        """From a composed config with these sections."""
        return cls(
            config["game"], config["search"], config["network"],
            record("rollout", config["rollout"], RolloutConfig),
            record("inference", config["inference"], InferenceConfig),
        )  # fmt: skip

    def built_game(self) -> Game:
        """The rules."""
        return build("game", self.game, Game)

    def with_search(self, **settings: Any) -> Setting:
        """With other settings of the search."""
        return replace(self, search={**self.search, **settings})

    def with_rollout(self, **settings: Any) -> Setting:
        """With other settings of the rollout."""
        return replace(self, rollout=replace(self.rollout, **settings))


@dataclass(frozen=True)
class Measured:
    """What a side did.

    Attributes:
        decisions_per_s, leaves_per_s: of all workers together.
        mean_batch, padding_share, busy_share: of the evaluation; shares of rows and of time.
        wait_share: of the workers' time, waiting for answers.
    """

    decisions_per_s: float
    leaves_per_s: float
    mean_batch: float
    padding_share: float = 0.0
    busy_share: float = 0.0
    wait_share: float = 0.0

    def games_per_min(self, length: float) -> float:
        """With `length` decisions a game."""
        return 60 * self.decisions_per_s / length


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


def decisions_per_game(setting: Setting) -> float:
    """Mean over thousands of whole games: those that end in a short time are the short ones.

    A fresh network says the same of every leaf (its outputs start at zero), so a constant stands for it.
    """
    game = setting.built_game()
    search = build("search", setting.search, SearchConfig)
    config = RolloutConfig(games=_GAMES_FOR_LENGTH)
    rollout = Rollout(game, search, config, Constant(game.actions, game.seats), (99,))
    rows, report = rollout.play(rows=_ROWS_FOR_LENGTH, seconds=1000.0)
    return len(rows) / len(report["scores"])


def played(rollout: Rollout, seconds: float) -> dict[str, float]:
    """What a worker did a second over about `seconds` of self-play, after half as long to warm up."""
    rollout.play(rows=1 << 30, seconds=seconds / 2)
    sums = dict.fromkeys(("decisions", "leaves", "messages", "wait_s"), 0.0)
    start = time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        report = rollout.play(rows=1 << 30, seconds=min(seconds / 4, seconds - taken))[1]
        for name in sums:
            sums[name] += report[name]
    return {name: total / taken for name, total in sums.items()}


def shared(setting: Setting, seconds: float) -> Measured:
    """Rollout workers around one inference actor, over the setting's transport."""
    import ray

    from actors.cluster import connected
    from actors.rollout import request_shape
    from inference.actor import InferenceActor
    from inference.shm import evaluator_to

    if setting.inference.transport == "local":
        raise InvalidConfig("inference.transport: got local, wanted one that shares an inference actor: ray or shm")
    _remote: Any = ray.remote  # type checkers do not see what it adds

    @_remote(num_cpus=0)
    class Worker:
        def __init__(self, actor: Any, number: int) -> None:
            game, search = setting.built_game(), build("search", setting.search, SearchConfig)
            shape = request_shape(game, search, setting.rollout)
            evaluator = evaluator_to(actor, setting.inference, f"rollout-{number}", AGENT, shape)
            self._rollout = Rollout(game, search, setting.rollout, evaluator, (number,))

        def play(self, seconds: float) -> dict[str, float]:
            return played(self._rollout, seconds)

    count = setting.rollout.workers
    with connected():
        actor = InferenceActor.options(max_concurrency=8 + 2 * count).remote(
            dict(setting.game), dict(setting.network), setting.inference, [AGENT]
        )
        start = weights(make_network(setting.network, setting.built_game()))
        ray.get(actor.set_weights.remote(AGENT, 0, start))
        workers = [Worker.remote(actor, number) for number in range(count)]
        rates = ray.get([worker.play.remote(seconds) for worker in workers])
        metrics: Any = ray.get(actor.metrics.remote())
        ray.get(actor.close.remote())
        for each in (*workers, actor):  # at once: one that is left to end by itself may hang on its way out
            ray.kill(each)
    return Measured(
        sum(rate["decisions"] for rate in rates),
        sum(rate["leaves"] for rate in rates),
        metrics["leaves"] / metrics["batches"],
        1.0 - metrics["leaves"] / metrics["padded_leaves"],
        metrics["busy_s"] / metrics["alive_s"],
        sum(rate["wait_s"] for rate in rates) / count,
    )


def alone(setting: Setting, seconds: float, leaf_by_leaf: bool) -> Measured:
    """Workers that share nothing: a network in each, asked once a leaf in float32, or once a step of its games."""
    import ray

    from actors.cluster import connected

    _remote: Any = ray.remote  # type checkers do not see what it adds

    @_remote(num_cpus=0)
    class Worker:
        def __init__(self, number: int) -> None:
            from inference.local import LocalEvaluator
            from inference.model import Model

            game = setting.built_game()
            network = make_network(setting.network, game)
            if leaf_by_leaf:
                evaluator: Any = LeafByLeaf(Model(network, precision="float32", batch_sizes=(1,), threads=1))
            else:
                inference = setting.inference
                model = Model(network, precision=inference.precision, batch_sizes=inference.batch_sizes, threads=1)
                evaluator = LocalEvaluator(model)
            search = build("search", setting.search, SearchConfig)
            self._rollout = Rollout(game, search, setting.rollout, evaluator, (number,))

        def play(self, seconds: float) -> dict[str, float]:
            return played(self._rollout, seconds)

    with connected():
        workers = [Worker.remote(number) for number in range(setting.rollout.workers)]
        rates = ray.get([worker.play.remote(seconds) for worker in workers])
        for worker in workers:
            ray.kill(worker)
    leaves, messages = (sum(rate[name] for rate in rates) for name in ("leaves", "messages"))
    return Measured(
        sum(rate["decisions"] for rate in rates), leaves, 1.0 if leaf_by_leaf else leaves / max(messages, 1.0)
    )
