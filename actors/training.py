"""A training run from its first actor to its last checkpoint: when to report, when to save, when to end."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from actors.arena import RunArena
from actors.supervisor import RunFailed, Supervisor
from scoundrel_ray.experience import curriculum
from scoundrel_ray.game import Game
from scoundrel_ray.machine import cores
from scoundrel_ray.players import Player
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import PAUSE, START, WEIGHTS, RunDirectory, agents, start_weights
from scoundrel_ray.runs.metrics import MetricsLog
from scoundrel_ray.runs.settings import TrainConfig
from scoundrel_ray.search import SearchConfig, check_evaluator, checked_parameters
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig, within_section
from scoundrel_ray.storage.durable import StorageError
from scoundrel_ray.storage.weights import pack_weights


def check_members(config: TrainConfig, game: Game) -> None:
    """Make what the sections name once, so that a wrong setting is told before anything starts.

    Raises:
        InvalidConfig: naming the key.
    """
    from learners.learner import LearnerConfig
    from scoundrel_ray.network import check_device, make_network

    stages = [
        (f"curriculum[{place}]", curriculum.section_at(config.search, config.curriculum, stage[curriculum.STEPS]))
        for place, stage in enumerate(config.curriculum)
    ]
    for key, section in (("search", config.search), *stages, ("evaluation_search", config.evaluation_search)):
        search = build(key, section, SearchConfig)
        with within_section(key):
            checked_parameters(game, search)
    check_evaluator(game, build("evaluation_search", config.evaluation_search, SearchConfig), True)
    network = make_network(config.network, game.spec)
    learner = build("learner", config.learner, LearnerConfig)
    if not os.environ.get("RAY_ADDRESS"):  # else its actors may have devices that this machine lacks
        learner.make(network, config.seed)
        check_device("inference.device", config.inference.device)
        _check_resources(config)
    if learner.batch_size > config.replay.most_batch:
        raise InvalidConfig(
            f"learner.batch_size: got {learner.batch_size}, wanted at most {config.replay.most_batch}, what "
            "replay.min_rows, samples_per_insert and tolerance let through at once"
        )
    for name in config.evaluation.baselines:
        build(f"evaluation.players.{name}", config.evaluation.players[name], Player, game)


def _check_resources(config: TrainConfig) -> None:
    """Refuse to wait for what a Ray of this machine alone will never have."""
    import torch

    cluster, workers = config.cluster, config.rollout.workers
    inference = int(config.inference.transport != "local")
    cpus = cluster.rollout_cpus * workers + cluster.inference_cpus * inference + cluster.learner_cpus
    gpus = cluster.inference_gpus * inference + cluster.learner_gpus
    for name, wanted, there in (
        ("cpus", cpus, cluster.cpus or cores()),
        ("gpus", gpus, torch.cuda.device_count()),
    ):
        if wanted > there:
            raise InvalidConfig(
                f"cluster.*_{name}: the actors reserve {wanted:g} in all, wanted at most this machine's {there}"
            )


class Training:
    """One run, to be started, run and ended once. Wants a connected Ray.

    Args:
        config: of the run.
        game: built from it.
        run: where everything is written; held by the caller.
        restored: content of the checkpoint to go on from.

    Attributes:
        supervisor: of its actors.
        stopped: it was asked to end.
        paused: it rests.
    """

    def __init__(
        self, config: TrainConfig, game: Game, run: RunDirectory, restored: Mapping[str, Any] | None = None
    ) -> None:
        self.config = config
        self.game = game
        self.directory = run
        self.stopped = False
        self.supervisor = Supervisor(config, game, restored=restored)
        self._log = MetricsLog(run.path, self.supervisor.steps if restored else None)
        self._next_report = self._next_save = 0.0
        self._arena_state = restored.get("arena") if restored else None
        self._arena: RunArena | None = None
        self._of_arena: dict[str, Any] = {}  # the last match, until it is reported
        self.paused = False

    def stop(self) -> None:
        """Ask the run to save and end soon; may be called from a signal handler."""
        self.stopped = True

    @property
    def share(self) -> float:
        """How much of the run is done, from 0 to 1."""
        done = self.supervisor.trained_s / (60 * self.config.minutes)
        if self.config.steps:
            done = max(done, self.supervisor.steps / self.config.steps)
        return min(done, 1.0)

    def run(self, show: Callable[[dict[str, Any] | None], None]) -> None:
        """Train until the time or the steps are spent, or `stop` is called; the last state is saved either way.

        Args:
            show: called with each report, and with None between two, so that a progress bar can move.

        Raises:
            RunFailed: with the first cause, and whether the last state could be saved; what was saved before stays.
            StorageError: if a checkpoint cannot be written; older ones stay.
        """
        supervisor = self.supervisor
        try:
            supervisor.start()
            start = self.directory.path / START
            if not start.exists():
                self.directory.save_start(supervisor.weights(), self.game, self.config.network)
            if self.config.arena.every_s:
                best = start_weights(self.directory.path, self.game).arrays
                warn = functools.partial(supervisor.warn, "arena")
                self._arena = RunArena(self.config, self.game, best, self._arena_state, warn)
                if self.config.arena.gate:
                    supervisor.publish(*self._arena.best)
            self._train(show)
        finally:
            if self._arena is not None:
                self._arena.stop()
            supervisor.stop()
            self._log.close()

    def _train(self, show: Callable[[dict[str, Any] | None], None]) -> None:
        """From the first report to the last checkpoint; see `run`."""
        now = time.monotonic()
        self._next_report, self._next_save = now + self.config.report_s, now + self.config.checkpoint_s
        try:
            while self.share < 1.0 and not self.stopped:
                self._pause_if_asked()
                self.supervisor.tick()
                self._hold_matches()
                show(self._report_if_due())
                if time.monotonic() >= self._next_save and not self.paused:
                    self.save()
            self.save()
        except RunFailed as failure:
            raise RunFailed(f"{failure}; {self._save_after_failure()}") from failure
        report = self._report()
        self._log.write(report)
        show(report)

    def _report_if_due(self) -> dict[str, Any] | None:
        now = time.monotonic()
        left = 60 * self.config.minutes - self.supervisor.trained_s
        # The last report covers what is left, and should cover enough to say something.
        if now < self._next_report or left < self.config.report_s / 2:
            return None
        self._next_report = now + self.config.report_s
        report = self._report()
        self._log.write(report)
        return report

    def _report(self) -> dict[str, Any]:
        of_arena, self._of_arena = self._of_arena, {}
        return {**self.supervisor.report(), **of_arena}

    def _pause_if_asked(self) -> None:
        """Rest for as long as the file PAUSE lies in the run's directory; once all is at rest the state is saved."""
        asked = (self.directory.path / PAUSE).exists()
        if asked != self.paused:
            self.paused = asked
            self.supervisor.pause(asked)
            if asked:
                self.save()

    def _hold_matches(self) -> None:
        """Begin and judge the arena's matches as they fall due."""
        if self._arena is None or self.paused:
            return
        told = self._arena.tick(self.supervisor.trained_s, self.supervisor.newest)
        if told is not None:
            self._of_arena.update(told)
            if told.get("arena/promoted") and self.config.arena.gate:
                self.supervisor.publish(*self._arena.best)

    def _save_after_failure(self) -> str:
        """Save what the learner and the replay still know; what became of it."""
        try:
            self.save(failed=True)
        except (RunFailed, StorageError) as error:
            last = checkpoint.latest(self.directory.path)
            return f"its last state could not be saved ({error}), {last.name if last else 'no other'} stays"
        return f"its last state is saved, go on from it with resume={self.directory.path}"

    def save(self, failed: bool = False) -> None:
        """Write a checkpoint and remove those that are too old.

        Args:
            failed: see `Supervisor.content`.
        """
        content = self.supervisor.content(failed)
        if self._arena is not None:
            content["arena"] = self._arena.state()
        steps = content["counters"]["steps"]
        newest = self._packed(steps, content.pop("weights"))
        if self.config.agent_s and self.supervisor.trained_s >= self.config.agent_s * (
            len(agents(self.directory.path)) + 1
        ):
            self.directory.save_agent(newest, steps)
        agent = newest
        if self._arena is not None and self.config.arena.gate:
            agent = self._packed(*self._arena.best)
        checkpoint.save(self.directory.path, {WEIGHTS: agent, **content}, self.config.keep)
        self._next_save = time.monotonic() + self.config.checkpoint_s

    def _packed(self, version: int, arrays: Mapping[str, np.ndarray]) -> bytes:
        return pack_weights(arrays, self.game.spec, dict(self.config.network), version)
