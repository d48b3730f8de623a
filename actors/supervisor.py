"""The supervisor: makes the actors of a run, keeps every one of them busy, replaces those that die, saves and stops.

    rollout workers --rows--> replay --batches--> learner --weights--> inference --answers--> rollout workers

It holds one table of answers it waits for, each with what to do when it comes; nothing in it blocks on one actor.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError, RayError

from actors.learner import LearnerActor
from actors.replay import ReplayActor
from actors.rollout import RolloutActor
from inference.actor import InferenceActor
from scoundrel_ray.config import TrainConfig
from scoundrel_ray.game import Game
from scoundrel_ray.metrics import Window

_POLL_S = 0.5
_TRAIN_S = 5.0
_MOST_RESTARTS_IN_A_ROW = 5


class RunFailed(RuntimeError):
    """The run cannot go on; the message names the actor that failed first and why."""


class Supervisor:
    """One agent's training run.

    Args:
        config: of the run.
        game: built from it.
        run_dir: where the inference actor may write its compiled files.
        agent: name of the learning identity.
        restored: content of a checkpoint to go on from (see `checkpoint_content`).
    """

    def __init__(
        self, config: TrainConfig, game: Game, agent: str = "agent", restored: Mapping[str, Any] | None = None
    ) -> None:
        self.config = config
        self.game = game
        self.agent = agent
        self.window = Window()
        counters = dict(restored["counters"]) if restored else {}
        self.steps = int(counters.get("steps", 0))
        self.games = int(counters.get("games", 0))
        self.rows = int(counters.get("rows", 0))
        self.trained_s = float(counters.get("trained_s", 0.0))
        self.resumptions = int(counters.get("resumptions", -1)) + 1
        self.restarts = {"rollout": 0, "inference": 0}
        self.version = 0
        self.start_weights: dict[str, np.ndarray] | None = None
        self._restored = restored
        self._pending: dict[Any, Callable[[Any], None]] = {}
        self._owners: dict[Any, str] = {}
        self._idle: set[int] = set()
        self._workers: dict[int, Any] = {}
        self._incarnations: dict[int, int] = {}
        self._failures_in_a_row: dict[int, int] = {}
        self._weights: tuple[int, Any] | None = None
        self._inference_incarnation: str | None = None
        self._inference_before: dict[str, Any] = {}
        self._replay_status: dict[str, Any] = {}
        self._last_report = time.monotonic()
        self._last_tick = time.monotonic()

    # -- making actors ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make all actors and wait until the first weights are where they are needed."""
        config = self.config
        cluster = config.cluster
        self.replay = ReplayActor.options(num_cpus=0, max_concurrency=4 + config.rollout.workers).remote(
            dict(config.game), config.replay, config.seed
        )
        self.learner = LearnerActor.options(num_cpus=cluster.learner_cpus, num_gpus=cluster.learner_gpus).remote(
            dict(config.game),
            dict(config.network),
            dict(config.learner),
            self.replay,
            config.seed,
            1,
            self._restored["learner"] if self._restored else None,
        )
        self.inference = InferenceActor.options(
            num_cpus=cluster.inference_cpus,
            num_gpus=cluster.inference_gpus,
            max_restarts=-1,
            max_concurrency=4 + 2 * config.rollout.workers,
        ).remote(dict(config.game), dict(config.network), config.inference, [self.agent])
        if self._restored:
            self._get(self.replay.restore.remote(self._restored["replay"]), "replay")
        self._publish(self._get(self.learner.version.remote(), "learner"), self.learner.weights.remote())
        for worker in range(config.rollout.workers):
            self._make_worker(worker)
        self._ask_learner()
        self._poll()
'''

    def _make_worker(self, worker: int) -> None:
        """A fresh rollout worker in this place, with streams that no earlier one had."""
        config = self.config
        incarnation = self._incarnations.get(worker, -1) + 1
        self._incarnations[worker] = incarnation
        self._workers[worker] = RolloutActor.options(num_cpus=config.cluster.rollout_cpus).remote(
            dict(config.game),
            dict(config.search),
            config.rollout,
            self.inference,
            self.agent,
            config.seed,
            worker,
            # A resumed run must not replay the streams of the one it goes on from.
            incarnation + 1000 * self.resumptions,
            config.inference.request_deadline_s,
        )
        self._ask_worker(worker)

    # -- asking and being told ----------------------------------------------------------------------------------

    def _wait_for(self, name: str, reference: Any, handler: Callable[[Any], None]) -> None:
        self._pending[reference] = handler
        self._owners[reference] = name

    def tick(self, seconds: float) -> None:
        """Wait up to `seconds` for answers and handle those that came.

        Raises:
            RunFailed: when an actor that holds what cannot be made again has died.
        """
        now = time.monotonic()
        self.trained_s += now - self._last_tick
        self._last_tick = now
        ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=seconds)
        for reference in ready:
            handler = self._pending.pop(reference)
            name = self._owners.pop(reference)
            try:
                handler(reference)
            except RayActorError as error:
                self._bury(name, error)
            except RayError as error:
                cause = getattr(error, "cause", None) or error
                raise RunFailed(f"{name} failed: {_first_line(cause)}") from error
        for worker in sorted(self._idle):
            if self._replay_status.get("may_insert", True):
                self._idle.discard(worker)
                self._ask_worker(worker)

    def _bury(self, name: str, error: Exception) -> None:
        """Replace a dead actor, or end the run with the first cause."""
        kind, _, number = name.partition("-")
        if kind == "rollout":
            worker = int(number)
            self._failures_in_a_row[worker] = self._failures_in_a_row.get(worker, 0) + 1
            if self._failures_in_a_row[worker] > _MOST_RESTARTS_IN_A_ROW:
                raise RunFailed(f"{name} died {_MOST_RESTARTS_IN_A_ROW} times in a row: {_first_line(error)}")
            self.restarts["rollout"] += 1
            self._make_worker(worker)
        elif kind == "inference":  # Ray brings it back; polling finds it without weights and sends them
            self.restarts["inference"] += 1
            self._wait_for("inference", self.inference.metrics.remote(), self._on_inference)
        else:
            raise RunFailed(f"{name} died: {_first_line(error)}; go on from the last checkpoint with resume=")

    def _ask_worker(self, worker: int) -> None:
        rows, report = self._workers[worker].play.options(num_returns=2).remote()
        self._wait_for(f"rollout-{worker}", report, lambda r: self._on_games(worker, rows, r))

    def _on_games(self, worker: int, rows: Any, reference: Any) -> None:
        report = ray.get(reference)
        self._failures_in_a_row[worker] = 0
        scores = report["scores"]
        self.games += len(scores)
        add = self.window.add
        add("games", len(scores))
        for score in scores[:, 0]:
            add("score", float(score))
            add("won", float(score > self.game.win_above))
        for name in ("decisions", "leaves", "messages", "wait_s", "total_s"):
            add(name, report[name])
        self.window.add("rss_bytes", report["rss_bytes"])
        self._wait_for("replay", self.replay.insert.remote(rows), self._on_inserted)
        if self._replay_status.get("may_insert", True):
            self._ask_worker(worker)
        else:
            self._idle.add(worker)

    def _on_inserted(self, reference: Any) -> None:
        self._replay_status = ray.get(reference)

    def _ask_learner(self) -> None:
        self._wait_for("learner", self.learner.train.remote(self.config.publish_steps, _TRAIN_S), self._on_trained)

    def _on_trained(self, reference: Any) -> None:
        report = ray.get(reference)
        self.steps += report["steps"]
        for name, value in report["metrics"].items():
            self.window.add(f"learner/{name}", value, report["steps"])
        self.window.add("learner_wait_s", report["wait_s"])
        self.window.add("learner_total_s", report["total_s"])
        if report["steps"]:
            self._publish(report["version"], self.learner.weights.remote())
        if not self.config.steps or self.steps < self.config.steps:
            self._ask_learner()

    def _publish(self, version: int, arrays: Any) -> None:
        """Send one version, by reference, to the inference actor."""
        self._weights = (version, arrays)
        self.version = version
        self._wait_for("inference", self.inference.set_weights.remote(self.agent, version, arrays), ray.get)

    def _poll(self) -> None:
        self._wait_for("inference", self.inference.metrics.remote(), self._on_inference)
        self._wait_for("replay", self.replay.status.remote(), self._on_inserted)

    def _on_inference(self, reference: Any) -> None:
        metrics = ray.get(reference)
        incarnation = metrics["incarnation"]
        if self._inference_incarnation not in (None, incarnation) and self._weights is not None:
            self._inference_before = {}
            self._publish(*self._weights)
        self._inference_incarnation = incarnation
        self._inference_now = metrics
        # Asked again at the pace of the loop, not of the actor.

    def _get(self, reference: Any, name: str, seconds: float = 120.0) -> Any:
        """An answer that nothing can go on without.

        Raises:
            RunFailed: naming the actor, if it died, failed or did not answer in time.
        """
        try:
            return ray.get(reference, timeout=seconds)
        except RayError as error:
            raise RunFailed(f"{name} failed: {_first_line(getattr(error, 'cause', None) or error)}") from error


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
