"""The supervisor: makes the actors of a run, keeps every one of them busy, replaces those that die.

    rollout workers --rows--> replay --batches--> learner --weights--> inference --answers--> rollout workers

It holds one table of answers that it waits for, each with what to do when it comes; nothing in it blocks on one actor
but the start and a checkpoint, which have deadlines.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, ObjectLostError, RayActorError, RayError, RayTaskError

from actors.learner import LearnerActor
from actors.replay import ReplayActor
from actors.rollout import RolloutActor
from inference.actor import InferenceActor
from inference.build import Served
from scoundrel_ray.experience.curriculum import section_at
from scoundrel_ray.game import Game
from scoundrel_ray.runs.metrics import Window
from scoundrel_ray.runs.settings import TrainConfig

_POLL_S = 0.5
_TRAIN_S = 5.0
_ANSWER_S = 120.0
_CLOSE_S = 5.0
_MOST_DEATHS_IN_A_ROW = 5
_STREAMS_PER_RESUMPTION = 1_000_000


class RunFailed(RuntimeError):
    """The run cannot go on; the message names the actor that failed first and why."""


def actor_graph(config: TrainConfig) -> list[dict[str, Any]]:
    """The actors of a run, with what each reserves and what flows to whom: plain rows for a table."""
    c = config.cluster
    shared = config.inference.transport != "local"
    leaves = {
        "ray": "leaves -> inference",
        "shm": "leaves -> inference (shared memory on its node)",
        "local": "leaves evaluated in its own process",
    }[config.inference.transport]
    rows = [
        ("rollout", config.rollout.workers, c.rollout_cpus, 0.0, f"finished games -> replay; {leaves}"),
        ("inference", int(shared), c.inference_cpus, c.inference_gpus, "priors and values -> rollout"),
        ("replay", 1, 0.0, 0.0, "batches -> learner"),
        ("learner", 1, c.learner_cpus, c.learner_gpus, f"weights -> {'inference' if shared else 'rollout'}"),
    ]
    return [dict(zip(("actor", "count", "cpus", "gpus", "sends"), row, strict=True)) for row in rows if row[1]]


class Supervisor:
    """One agent's training, actors and all.

    Args:
        config: of the run.
        game: built from it.
        agent: name of the learning identity.
        restored: content of a checkpoint to go on from: `learner`, `replay` and `counters`.
    """

    def __init__(
        self, config: TrainConfig, game: Game, agent: str = "agent", restored: Mapping[str, Any] | None = None
    ) -> None:
        self.config = config
        self.game = game
        self.agent = agent
        counters = restored["counters"] if restored else {}
        self.steps = int(counters.get("steps", 0))
        self.games = int(counters.get("games", 0))
        self.trained_s = float(counters.get("trained_s", 0.0))
        self.resumptions = int(counters.get("resumptions", -1)) + 1
        self.restarts = dict(counters.get("restarts", {"rollout": 0, "inference": 0}))
        self.first_game_at: float | None = None
        self._restored = restored
        self._window = Window()
        self._pending: dict[Any, tuple[str, Callable[[Any], None]]] = {}
        self._workers: dict[int, Any] = {}
        self._incarnations: dict[int, int] = {}
        self._deaths_in_a_row: dict[str, int] = {}
        self._idle: set[int] = set()
        self._warned: dict[str, str] = {}
        self._replay_status: dict[str, Any] = {}
        self._weights: tuple[int, Any] = (0, None)
        # Who serves inference: one actor for all, or every worker for itself; with the newest counters of each.
        self._servers: dict[str, Any] = {}
        self._metrics: dict[str, dict[str, Any]] = {}
        self._reported: dict[str, dict[str, Any]] = {}
        self._saving = self._learner_rests = self._paused = False
        self.newest: tuple[int, Any] = (0, None)  # version and weights that the learner gave last
        self._next_poll = 0.0
        self._last_tick = self._last_report = time.monotonic()

    # Making actors

    def start(self) -> None:
        """Make all actors; returns when the first weights are where they are needed.

        Raises:
            RunFailed: naming the actor that could not be made, and why.
        """
        config, cluster, restored = self.config, self.config.cluster, self._restored
        game = dict(config.game)
        self.replay = ReplayActor.options(max_concurrency=8 + config.rollout.workers, num_cpus=0).remote(
            game, config.replay, config.seed
        )
        self.learner = LearnerActor.options(num_cpus=cluster.learner_cpus, num_gpus=cluster.learner_gpus).remote(
            game, dict(config.network), dict(config.learner), self.replay, config.seed, cluster.learner_threads,
            restored["learner"] if restored else None,
        )  # fmt: skip
        if config.inference.transport != "local":
            self._servers["inference"] = InferenceActor.options(
                num_cpus=cluster.inference_cpus,
                num_gpus=cluster.inference_gpus,
                max_restarts=-1,
                max_concurrency=8 + 2 * config.rollout.workers,
            ).remote({self.agent: Served(self.game.spec, dict(config.network))}, config.inference)
        if restored:
            self._get("replay", self.replay.restore.remote(restored["replay"]))
        self._replay_status = self._get("replay", self.replay.status.remote())
        version = self._get("learner", self.learner.version.remote())
        for name, server in self._servers.items():
            self._metrics[name] = self._get(name, server.metrics.remote())
        self.newest = (version, self.learner.weights.remote())
        self.publish(*self.newest)
        for worker in range(config.rollout.workers):
            self._make_worker(worker)
        self._ask_learner()
        self._last_tick = self._last_report = time.monotonic()
        self._restored = None

    def _make_worker(self, worker: int) -> None:
        """A fresh rollout worker in this place, with streams that no earlier one had."""
        config = self.config
        incarnation = self._incarnations.get(worker, self.resumptions * _STREAMS_PER_RESUMPTION - 1) + 1
        self._incarnations[worker] = incarnation
        name, local = f"rollout-{worker}", config.inference.transport == "local"
        self._workers[worker] = RolloutActor.options(num_cpus=config.cluster.rollout_cpus).remote(
            dict(config.game), dict(config.search), dict(config.network), config.rollout, config.inference,
            None if local else self._servers["inference"], self.agent, (config.seed, worker, incarnation),
        )  # fmt: skip
        if local:
            self._servers[name] = self._workers[worker]
            self._metrics.pop(name, None)
            self._reported.pop(name, None)
            self._send_weights(name)
        self._ask_worker(worker)

    # Asking, and being told

    def tick(self) -> None:
        """Wait a moment for answers and handle those that came.

        Raises:
            RunFailed: when an actor failed, or one died that holds what cannot be made again.
        """
        if not self._pending:  # all is at rest; ray.wait would not wait for nothing
            time.sleep(max(self._next_poll - time.monotonic(), 0.0))
        ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=_POLL_S)
        now = time.monotonic()
        self.trained_s += 0.0 if self._paused else now - self._last_tick
        self._last_tick = now
        for reference in ready:
            name, handle = self._pending.pop(reference)
            try:
                handle(reference)
                self._deaths_in_a_row[name] = 0
            except RayActorError as error:
                self._replace(_dead_actor(error) or name, error, name)
            except ObjectLostError:
                self._window.add("lost_blocks", 1)  # rows that died with the node that held them
            except RayError as error:
                raise RunFailed(f"{name} failed: {_last_line(error)}") from error
        if now >= self._next_poll:
            self._next_poll = now + _POLL_S
            self._ask("replay", self.replay.status.remote(), self._on_replay_status)
            asked = {name for name, _ in self._pending.values()}
            for name, server in self._servers.items():
                if f"metrics of {name}" not in asked:
                    handle = functools.partial(self._on_metrics, name)
                    self._ask(f"metrics of {name}", server.metrics.remote(), handle)
        if self._replay_status["may_insert"] and not self._paused:
            for worker in sorted(self._idle):
                self._ask_worker(worker)
            self._idle.clear()

    def _ask(self, name: str, reference: Any, handle: Callable[[Any], None]) -> None:
        self._pending[reference] = (name, handle)

    def _replace(self, kind: str, error: RayActorError, name: str) -> None:
        """Go on after the death of a `kind` of actor, which left the question to `name` unanswered, or end the run."""
        if kind in ("learner", "replay"):
            raise RunFailed(f"{kind} died: {_last_line(error)}")
        self._deaths_in_a_row[name] = self._deaths_in_a_row.get(name, 0) + 1
        cause = _last_line(error)
        if kind == "rollout":
            if not name.startswith("rollout-"):
                return  # its weights or metrics: it is replaced where its games are missed
            if self._deaths_in_a_row[name] > _MOST_DEATHS_IN_A_ROW:
                raise RunFailed(f"{name} died {_MOST_DEATHS_IN_A_ROW + 1} times in a row: {cause}")
            self.restarts["rollout"] += 1
            self._make_worker(int(name.removeprefix("rollout-")))
        elif self._deaths_in_a_row[name] * _POLL_S > self.config.inference.request_deadline_s:
            raise RunFailed(f"inference did not come back: {cause}")
        # Otherwise Ray brings the inference actor back, and polling finds it without weights.

    def _ask_worker(self, worker: int) -> None:
        search = section_at(self.config.search, self.config.curriculum, self.steps)
        rows, report = self._workers[worker].play.options(num_returns=2).remote(search)
        self._ask(f"rollout-{worker}", report, lambda answer: self._on_games(worker, rows, answer))

    def _on_games(self, worker: int, rows: Any, answer: Any) -> None:
        report: Any = ray.get(answer)
        scores = report["scores"]
        self.games += len(scores)
        if self.first_game_at is None:
            self.first_game_at = report["first_game_at"]
        own = scores[:, 0].astype(np.float64)
        self._window.add("score", float(own.mean()), len(own))
        self._window.add("won", float(self.game.won(scores)[:, 0].mean()), len(own))
        for name in ("decisions", "leaves", "messages", "wait_s", "total_s", "memory_bytes"):
            self._window.add(name, report[name])
        self.warn(f"rollout-{worker}", report["warning"])
        self._ask("replay", self.replay.insert.remote(rows), self._on_replay_status)
        if self._replay_status["may_insert"] and not self._paused:
            self._ask_worker(worker)
        else:
            self._idle.add(worker)

    def warn(self, name: str, text: str) -> None:
        """Tell the user, once, what workers warn of: their own logs are in Ray's directory, where nobody looks."""
        kind = re.sub(r"[\d.]+", "#", text)  # figures such as the free memory differ from worker to worker
        if text and kind not in self._warned:
            self._warned[kind] = text
            log = logging.getLogger(__name__)
            log.setLevel(logging.WARNING)  # the commands quieten their libraries, and mean no such thing as this
            log.warning("%s: %s", name, text)

    def _on_replay_status(self, answer: Any) -> None:
        status: Any = ray.get(answer)
        self._replay_status = status

    def _ask_learner(self) -> None:
        self._learner_rests = False
        self._ask("learner", self.learner.train.remote(self.config.publish_steps, _TRAIN_S), self._on_trained)

    def _on_trained(self, answer: Any) -> None:
        report: Any = ray.get(answer)
        self.steps = report["version"]
        for name, value in report["metrics"].items():
            self._window.add(f"learner/{name}", value, report["steps"])
        self._window.add("learner_steps", report["steps"])
        self._window.add("learner_wait_s", report["wait_s"])
        self._window.add("learner_total_s", report["total_s"])
        if report["steps"]:
            self.newest = (report["version"], self.learner.weights.remote())
            if not self.config.arena.gate:
                self.publish(*self.newest)
        if self._saving or self._paused:
            self._learner_rests = True
        else:
            self._ask_learner()

    def publish(self, version: int, arrays: Any) -> None:
        """Send one version, by reference, to whoever serves inference."""
        self._weights = (version, arrays)
        for name in self._servers:
            self._send_weights(name)

    def _send_weights(self, name: str) -> None:
        sent = self._servers[name].set_weights.remote(self.agent, *self._weights)
        self._ask(f"weights of {name}", sent, ray.get)

    def _on_metrics(self, name: str, answer: Any) -> None:
        metrics: Any = ray.get(answer)
        known = self._metrics.get(name)
        if name == "inference" and known and metrics["incarnation"] != known["incarnation"]:
            self.restarts["inference"] += 1
            self._reported.pop(name, None)
            self._send_weights(name)
        self._metrics[name] = metrics

    def _get(self, name: str, answer: Any) -> Any:
        """An answer that nothing can go on without.

        Raises:
            RunFailed: naming the actor, if it died, failed or did not answer in time.
        """
        try:
            return ray.get(answer, timeout=_ANSWER_S)
        except GetTimeoutError as error:
            wanted = self.config.cluster
            raise RunFailed(
                f"{name} did not answer within {_ANSWER_S:.0f} s; are its resources free? (reserved by "
                f"cluster.*_cpus and *_gpus: {wanted})"
            ) from error
        except RayError as error:
            raise RunFailed(f"{name} failed: {_last_line(error)}") from error

    def pause(self, paused: bool) -> None:
        """Whether to rest: what is under way is finished, nothing new is begun, and the time does not count."""
        if self._paused and not paused and self._learner_rests:
            self._ask_learner()
        self._paused = paused

    # Telling

    def report(self) -> dict[str, Any]:
        """Metrics since the last report, flat, by name; None where nothing happened, or too short a time for a rate."""
        now = time.monotonic()
        seconds = now - self._last_report
        self._last_report = now
        per_s = 1.0 / seconds if seconds >= self.config.report_s / 2 else None
        window, self._window = self._window, Window()
        total, mean = window.total, window.mean
        names = ("loss", "policy_loss", "value_loss", "value_error", "policy_entropy", "target_entropy")
        names += ("gradient_norm", "learning_rate", "weights_lag")
        return {
            "minutes": self.trained_s / 60,
            "learner/steps": self.steps,
            **{f"learner/{name}": mean(f"learner/{name}") for name in names},
            "learner/steps_per_s": per_s and total("learner_steps") * per_s,
            "learner/wait_share": _share(total("learner_wait_s"), total("learner_total_s")),
            "rollout/games": self.games,
            "rollout/score": mean("score"),
            "rollout/win_rate": mean("won"),
            "rollout/games_per_min": per_s and 60 * window.weight("score") * per_s,
            "rollout/decisions_per_s": per_s and total("decisions") * per_s,
            "rollout/leaves_per_message": _share(total("leaves"), total("messages")),
            "rollout/wait_share": _share(total("wait_s"), total("total_s")),
            "rollout/memory_mb": _share(total("memory_bytes"), 1e6 * window.weight("memory_bytes")),
            "rollout/restarts": self.restarts["rollout"],
            **self._inference_report(),
            "replay/rows": self._replay_status["rows"],
            "replay/ratio": self._replay_status["ratio"],
        }

    def _inference_report(self) -> dict[str, Any]:
        """What inference did since the last report, summed over who serves it; counters run from a process's start."""
        before, self._reported = self._reported, dict(self._metrics)
        new = dict.fromkeys(_COUNTERS, 0.0)
        bins: dict[str, int] = {}
        leaves_per_s = 0.0
        for server, now in self._metrics.items():
            old = before.get(server, {})
            for name in _COUNTERS:
                new[name] += now[name] - old.get(name, 0)
            alive_s = now["alive_s"] - old.get("alive_s", 0)
            leaves_per_s += (now["leaves"] - old.get("leaves", 0)) / alive_s if alive_s else 0.0
            for size, count in now["batch_histogram"].items():
                bins[size] = bins.get(size, 0) + count - old.get("batch_histogram", {}).get(size, 0)
        versions = [version for now in self._metrics.values() for version in now["leaves_by_version"][self.agent]]
        return {
            "inference/version": max(versions, default=None),
            "inference/leaves_per_s": leaves_per_s if new["alive_s"] >= self.config.report_s / 2 else None,
            "inference/mean_batch": _share(new["leaves"], new["batches"]),
            "inference/batch_histogram": bins,
            "inference/busy_share": _share(new["busy_s"], new["alive_s"]),
            "inference/padding_share": _share(new["padded_leaves"] - new["leaves"], new["padded_leaves"]),
            "inference/queue_wait_ms": _share(1000 * new["queue_wait_s"], new["requests"]),
            "inference/restarts": self.restarts["inference"],
        }

    def weights(self) -> dict[str, np.ndarray]:
        """Those that rollouts use now."""
        return self._get("learner", self._weights[1])

    def precision(self) -> str:
        """Which number format inference uses, and why."""
        return next((metrics["precision"][self.agent] for metrics in self._metrics.values()), "not known yet")

    def content(self, failed: bool = False) -> dict[str, Any]:
        """What a checkpoint of this moment holds: `learner`, `replay`, `counters` and `weights` (arrays).

        Play goes on meanwhile, for the learner may be waiting for rows; but it starts no stretch beyond this moment.

        Args:
            failed: the run has: no actor is heeded but the two that are asked, and the learner's stretch runs out.

        Raises:
            RunFailed: if an actor does not give its state.
        """
        counters = {
            "games": self.games,
            "trained_s": self.trained_s,
            "resumptions": self.resumptions,
            "restarts": dict(self.restarts),
        }
        asked = {
            "learner": self.learner.state.remote(),
            "weights": self.learner.weights.remote(),
            "steps": self.learner.version.remote(),
            "replay": self.replay.state.remote(),
        }
        waiting, deadline = list(asked.values()), time.monotonic() + _ANSWER_S
        self._saving = True
        while waiting and time.monotonic() < deadline:
            if not failed:
                self.tick()
            _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_POLL_S if failed else 0)
        self._saving = False
        if self._learner_rests and not self._paused and not failed:
            self._ask_learner()
        given = {name: self._get("replay" if name == "replay" else "learner", asked[name]) for name in asked}
        steps = given.pop("steps")
        self.steps = max(self.steps, steps)  # further than it has told so far
        return {**given, "counters": {"steps": steps, **counters}}

    def stop(self) -> None:
        """End the actors, and remove the shared memory of the inference."""
        actors = [*self._workers.values()]
        actors += [getattr(self, name) for name in ("learner", "replay") if hasattr(self, name)]
        for actor in actors:
            ray.kill(actor)
        if "inference" in self._servers:
            if self.config.inference.transport == "shm":
                # If it cannot answer, the next server on its node sweeps.
                with contextlib.suppress(RayError):
                    ray.get(self._servers["inference"].close.remote(), timeout=_CLOSE_S)
            ray.kill(self._servers["inference"])


_COUNTERS = ("leaves", "batches", "padded_leaves", "requests", "busy_s", "alive_s", "queue_wait_s")


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _dead_actor(error: RayActorError) -> str | None:
    """Which kind of actor died: not always the one that was asked, which may itself have asked another."""
    found = re.search(r"class_name: (\w+)Actor", str(error))
    return found.group(1).lower() if found else None


def _last_line(error: BaseException) -> str:
    """The line of a Ray error that says what happened; the actor's traceback is above it."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception) and not isinstance(error, RayActorError):
        return f"{type(error.cause).__name__}: {error.cause}"
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].partition(" Some common causes")[0] if lines else type(error).__name__
