"""Self-play of one setting for a few seconds: the real workers' parts around the real server, or each on its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from scoundrel_ray.evaluator import AgentEvaluator, Constant, Evaluation, Evaluator, lines
from scoundrel_ray.network import check_device, make_network, weights
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import search_heads
from scoundrel_ray.tuning.metered import Rate, metered, rate
from scoundrel_ray.tuning.setting import Setting

AGENT = "agent"
_GAMES_FOR_LENGTH = 64
_ROWS_FOR_LENGTH = 50_000
_CLOSE_S = 20.0
_WARM_SHARE = 0.4  # of the measured time, before it


@dataclass(frozen=True)
class Measured:
    """What workers did.

    Attributes:
        leaves_per_s: of all workers together.
        mean_batch, padding_share, busy_share: of the evaluation; shares of rows and of time.
        wait_share: of the workers' time, waiting for answers.
    """

    leaves_per_s: float
    mean_batch: float
    padding_share: float = 0.0
    busy_share: float = 0.0
    wait_share: float = 0.0

    def games_per_min(self, leaves: float) -> float:
        """With so many leaves a game (see `leaves_per_game`)."""
        return 60 * self.leaves_per_s / leaves


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
        return Evaluation(
            tuple(np.concatenate(rows) for rows in zip(*(part.outputs for part in parts), strict=True)), 0
        )


def leaves_per_game(setting: Setting) -> float:
    """Mean over thousands of whole games: few end in a short time, and those are the short ones.

    A fresh network says the same of every leaf (its outputs start at zero), so a constant stands for it.
    """
    game = setting.built_game()
    alike = setting.with_rollout(games=_GAMES_FOR_LENGTH, threads=1)
    worker = alike.worker(dict.fromkeys(setting.agents, Constant(game.actions, game.seats)), 99)
    rows, report = worker.play(rows=_ROWS_FOR_LENGTH, seconds=1000.0)
    # Games under way have had leaves and decisions, too, but no rows yet.
    return sum(map(len, rows.values())) / len(report["scores"]) * report["leaves"] / report["decisions"]


def self_play(setting: Setting, seconds: float) -> Measured:
    """What a setting does over its transport; no game need end. Wants a connected Ray.

    Args:
        setting: what plays, and how.
        seconds: to measure, after 0.4 times as long to warm up; longer if messages are slow.

    Raises:
        InvalidConfig: if workers' requests do not go the way that the setting names.
    """
    import ray

    from inference.actor import InferenceActor

    count, inference = setting.rollout.workers, setting.inference
    arrays = ray.put(weights(make_network(setting.network, setting.built_game().spec)))
    servers, workers = [], []
    try:
        if inference.transport != "local":
            most = 8 + count * max(2, len(setting.agents))
            made = InferenceActor.options(max_concurrency=most, num_cpus=0, num_gpus=_gpus(inference))
            servers = [made.remote(_served_forms(setting), inference)]
            ray.get([servers[0].set_weights.remote(agent, 0, arrays) for agent in setting.agents])
        workers = _workers(setting, _served, *servers)
        for warning in ray.get([worker.prepare.remote(arrays) for worker in workers]):
            if warning:
                raise InvalidConfig(f"inference.transport: got {inference.transport}, but {warning}")
        before: Any = ray.get([asked.metrics.remote() for asked in servers or workers])
        rates: list[Rate] = ray.get([worker.play.remote(seconds) for worker in workers])
        after: Any = ray.get([asked.metrics.remote() for asked in servers or workers])
        if not servers:
            ray.get([worker.close.remote() for worker in workers])
    finally:
        end(workers, servers)
    leaves, batches, padded, busy_s, alive_s = (
        sum(part[name] for part in after) - sum(part[name] for part in before)
        for name in ("leaves", "batches", "padded_leaves", "busy_s", "alive_s")
    )
    return Measured(
        sum(rate.leaves_per_s for rate in rates),
        leaves / batches,
        1.0 - leaves / padded,
        busy_s / alive_s,
        sum(rate.wait_share for rate in rates) / count,
    )


def end(workers: Sequence[Any], servers: Sequence[Any]) -> None:
    """End actors, also after an interrupt: servers remove their shared memory first."""
    import ray
    from ray.exceptions import RayError

    from actors.cluster import undisturbed

    with undisturbed():
        for server in servers:
            with contextlib.suppress(RayError):
                ray.get(server.close.remote(), timeout=_CLOSE_S)
        for actor in [*workers, *servers]:  # at once: one that is left to end by itself may hang on its way out
            ray.kill(actor)


def alone(setting: Setting, seconds: float, leaf_by_leaf: bool) -> Measured:
    """As `self_play`, with a network in each worker, asked at once for its leaves or one by one in float32: baselines
    that share nothing.
    """
    import ray

    workers = _workers(setting, _leaf_by_leaf if leaf_by_leaf else _own_network)
    try:
        ray.get([worker.prepare.remote() for worker in workers])
        rates: list[Rate] = ray.get([worker.play.remote(seconds) for worker in workers])
    finally:
        for worker in workers:
            ray.kill(worker)
    leaves = sum(rate.leaves_per_s for rate in rates)
    messages = sum(rate.leaves_per_s / rate.message for rate in rates)
    return Measured(leaves, 1.0 if leaf_by_leaf else leaves / messages)


def in_turns(turns: int, *sides: Callable[[], Measured]) -> list[Measured]:
    """The fastest of `turns` measurements of each side: other work on the machine only slows, and falls on all."""
    measured = [[side() for side in sides] for _ in range(turns)]
    return [max(own, key=lambda each: each.leaves_per_s) for own in zip(*measured, strict=True)]


class _Asked(NamedTuple):
    """What a worker asks for each agent, and the server behind it if that is its own."""

    evaluators: Mapping[str, Evaluator]
    server: Any = None


_Makes = Callable[..., _Asked]


def _served(setting: Setting, number: int, actor: Any = None) -> _Asked:
    """Through the setting's transport: to an inference actor, or to a server in the worker if there is none."""
    game, inference, name = setting.built_game(), setting.inference, f"rollout-{number}"
    if actor is None:
        from inference.build import make_server
        from inference.local import ServerEvaluator

        server = make_server(_served_forms(setting), inference)
        joint = ServerEvaluator(server, name, inference.request_deadline_s)
        return _Asked({agent: AgentEvaluator(joint, agent) for agent in setting.agents}, server)
    from inference.lines import evaluators_to
    from inference.segment import Shape

    shape = Shape.of(game.spec, search_heads(game.spec), *setting.source().requests(0, setting.agents))
    servers, shapes = dict.fromkeys(setting.agents, actor), dict.fromkeys(setting.agents, shape)
    return _Asked(evaluators_to(servers, inference, name, shapes))


def _served_forms(setting: Setting) -> dict[str, Any]:
    """Form of each agent's network, for a server."""
    from inference.build import Served

    return dict.fromkeys(setting.agents, Served(setting.built_game().spec, dict(setting.network)))


def _own_network(setting: Setting, number: int) -> _Asked:
    from inference.local import LocalEvaluator
    from inference.model import Model
    from inference.server import static_sizes

    network, inference = make_network(setting.network, setting.built_game().spec), setting.inference
    model = Model(
        network,
        precision=inference.precision,
        batch_sizes=static_sizes(inference),
        device=inference.device,
        threads=1,
    )
    return _Asked(dict.fromkeys(setting.agents, LocalEvaluator(model)))


def _leaf_by_leaf(setting: Setting, number: int) -> _Asked:
    from inference.model import Model

    network = make_network(setting.network, setting.built_game().spec)
    device = setting.inference.device
    one_by_one = LeafByLeaf(Model(network, precision="float32", batch_sizes=(1,), device=device, threads=1))
    return _Asked(dict.fromkeys(setting.agents, one_by_one))


def _workers(setting: Setting, make: _Makes, *actors: Any) -> list[Any]:
    import ray

    _remote: Any = ray.remote  # type checkers do not see what it adds

    @_remote(num_cpus=0)
    class Worker:
        def __init__(self, number: int) -> None:
            self._evaluators, self._server = make(setting, number, *actors)
            self._make = lambda evaluators: setting.worker(evaluators, number)

        def prepare(self, arrays: Any = None) -> str:
            """Weights for a server of its own; once this returns, all is made and compiled. Returns a warning if
            requests go another way than through the setting's transport, else "".
            """
            if self._server is not None:
                for agent in setting.agents:
                    self._server.set_weights(agent, 0, arrays)
            self._make(self._evaluators).close()
            warnings = (getattr(line.evaluator, "warning", "") for line in lines(self._evaluators.values()))
            return next(filter(None, warnings), "")

        def play(self, seconds: float) -> Rate:
            return rate(metered(self._make, self._evaluators, seconds, _WARM_SHARE * seconds))

        def metrics(self) -> dict[str, Any]:
            return self._server.metrics()

        def close(self) -> None:
            self._server.close()

    return [Worker.remote(number) for number in range(setting.rollout.workers)]


def _gpus(inference: InferenceConfig) -> float:
    on_gpu = check_device("inference.device", inference.device).type == "cuda"
    return gpu_share() if on_gpu else 0.0


def gpu_share() -> float:
    """GPUs for inference, and as many for the learner: one each, or half of the only one."""
    import torch

    return 1.0 if torch.cuda.device_count() > 1 else 0.5
