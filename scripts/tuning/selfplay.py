"""Whole self-play at one setting for a few seconds: the real workers' parts around the real server."""

from __future__ import annotations

from typing import Any

from scoundrel_ray.config import build
from scoundrel_ray.network import make_network, weights
from scoundrel_ray.rollout import Rollout
from scoundrel_ray.search import SearchConfig
from scripts.benchmarks.sides import AGENT, Measured, Setting
from scripts.tuning.metered import metered, rate

_WARM_SHARE = 0.4


def self_play(setting: Setting, seconds: float, gpus: float = 0.0) -> Measured:
    """What a setting does over any transport, decisions aside (they are 0): no game need end. Wants a connected Ray.

    Args:
        setting: what plays, and how.
        seconds: to measure, after 0.4 times as long to warm up; longer if messages are slow.
        gpus: that the inference actor reserves.
    """
    import ray

    from inference.actor import InferenceActor

    count, inference = setting.rollout.workers, setting.inference
    start = ray.put(weights(make_network(setting.network, setting.built_game())))
    servers, workers = [], []
    try:
        if inference.transport != "local":
            made = InferenceActor.options(max_concurrency=8 + 2 * count, num_cpus=0, num_gpus=gpus)
            servers = [made.remote(dict(setting.game), dict(setting.network), inference, [AGENT])]
            ray.get(servers[0].set_weights.remote(AGENT, 0, start))
        made = _worker_class()
        workers = [made.remote(setting, number, *servers) for number in range(count)]
        ray.get([worker.prepare.remote(start) for worker in workers])
        before: Any = ray.get([asked.metrics.remote() for asked in servers or workers])
        rates = ray.get([worker.play.remote(seconds) for worker in workers])
        after: Any = ray.get([asked.metrics.remote() for asked in servers or workers])
        ray.get([asked.close.remote() for asked in servers or workers])
    finally:
        for actor in [*workers, *servers]:
            ray.kill(actor)
    leaves, batches, padded, busy_s, alive_s = (
        sum(part[name] for part in after) - sum(part[name] for part in before)
        for name in ("leaves", "batches", "padded_leaves", "busy_s", "alive_s")
    )
    return Measured(
        0.0,
        sum(rate.leaves_per_s for rate in rates),
        leaves / batches,
        1.0 - leaves / padded,
        busy_s / alive_s,
        sum(rate.wait_share for rate in rates) / count,
    )


def _worker_class() -> Any:
    import ray

    _remote: Any = ray.remote  # type checkers do not see what it adds

    @_remote(num_cpus=0)
    class Worker:
        def __init__(self, setting: Setting, number: int, actor: Any = None) -> None:
            from actors.rollout import request_shape
            from inference.shm import evaluator_to

            game, search = setting.built_game(), build("search", setting.search, SearchConfig)
            name, deadline_s = f"rollout-{number}", setting.inference.request_deadline_s
            self._server: Any = None
            if actor is None:
                from inference.build import make_server
                from inference.local import ServerEvaluator

                self._server = make_server(game, setting.network, setting.inference, [AGENT])
                self._evaluator: Any = ServerEvaluator(self._server, name, AGENT, deadline_s)
            else:
                shape = request_shape(game, search, setting.rollout)
                self._evaluator = evaluator_to(actor, setting.inference, name, AGENT, shape)
            self._make = lambda evaluator: Rollout(game, search, setting.rollout, evaluator, (number,))

        def prepare(self, arrays: Any) -> None:
            """Weights for a server of its own; once this returns, all is made and compiled."""
            if self._server is not None:
                self._server.set_weights(AGENT, 0, arrays)
            self._make(self._evaluator).close()

        def play(self, seconds: float) -> Any:
            return rate(metered(self._make, self._evaluator, seconds, _WARM_SHARE * seconds))

        def metrics(self) -> dict[str, Any]:
            return self._server.metrics()

        def close(self) -> None:
            self._server.close()

    return Worker
