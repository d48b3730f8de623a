"""A training run from its first actor to its last checkpoint: when to report, when to save, when to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from actors.arena import RunArena
from actors.calls import RunFailed
from actors.episodes import RunEpisodes
from actors.host import Part
from actors.moment import NotSaved
from actors.supervisor import Supervisor
from scoundrel_ray.experience.selfplay import SelfPlaySource
from scoundrel_ray.experience.source import Source
from scoundrel_ray.experience.world_source import WorldSource
from scoundrel_ray.machine import give_back_freed_memory
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import PAUSE, START, RunDirectory, named_weights, start_weights, versions
from scoundrel_ray.runs.metrics import MetricsLog
from scoundrel_ray.runs.plan import RunPlan
from scoundrel_ray.runs.settings import TrainConfig
from scoundrel_ray.settings.checks import InvalidSetting
from scoundrel_ray.storage.durable import StorageError
from scoundrel_ray.storage.weights import first_difference, pack_weights

_TRY_AGAIN_S = 30.0  # until the next try to save, after one that failed
_LAST_TRIES, _LAST_PAUSE_S = 3, 2.0  # at the end of a run


class Unsaved(RunFailed):
    """A run ended well, but its last state could not be saved."""


class Training:
    """One run, to be started, run and ended once. It needs a connected Ray.

    Args:
        config: of the run.
        source: built from it.
        run: where everything is written; held by the caller.
        restored: content of the checkpoint to go on from (see `runs.checkpoint.load_run`).
        plan: made of `config` and `source` before; made here where it is not given.

    Attributes:
        supervisor: of its actors.
        stopped: whether the run was asked to end.
        paused: whether the run rests.

    Raises:
        InvalidConfig, StorageError: for weights that an agent cannot start from.
    """

    def __init__(
        self,
        config: TrainConfig,
        source: Source,
        run: RunDirectory,
        restored: Mapping[str, Any] | None = None,
        plan: RunPlan | None = None,
    ) -> None:
        self.config = config
        self._specs = source.specs([*config.agents])
        self._game = source.built_game if isinstance(source, SelfPlaySource) else None
        self.directory = run
        self.stopped = False
        self.paused = False
        weights = {name: self._given_weights(name) for name in config.agents}
        self.supervisor = Supervisor(
            config, restored, {name: own for name, own in weights.items() if own is not None}, self._last_part, plan
        )
        last_step = self.supervisor.all_steps if restored else None
        self._log = MetricsLog(run.path, last_step, self.supervisor.trained_s / 60)
        self._next_report = self._next_save = 0.0
        self._arena_states: Mapping[str, Any] = (restored or {}).get("arena", {})
        self._arenas: dict[str, RunArena] = {}
        self._of_arenas: dict[str, Any] = {}  # the last matches and held episodes, until they are reported
        self._episodes: RunEpisodes | None = None
        if isinstance(source, WorldSource):
            self._episodes = RunEpisodes(
                config.episodes, source, [*config.agents], run.path, lambda text: self.supervisor.warn("episodes", text)
            )

    def _given_weights(self, agent: str) -> Mapping[str, np.ndarray] | None:
        """Weights that an agent starts from in place of fresh ones."""
        own = self.config.agents[agent]
        if own.weights is None:
            return None
        saved = named_weights(own.weights, self._specs[agent])
        if difference := first_difference(dict(saved.network), dict(own.network)):
            raise InvalidSetting(f"agents.{agent}.network", f"of {own.weights} {difference}")
        return saved.arrays

    def _last_part(self, agent: str) -> Part | None:
        """An agent's part of the last checkpoint, if there is one."""
        if checkpoint.latest(self.directory.path) is None:
            return None
        return checkpoint.newest_whole(self.directory.path, lambda each: checkpoint.load_part(each, agent))

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
            RunFailed: naming the actor that failed, and whether the last state could be saved.
        """
        try:
            self.supervisor.start()
            self._keep_start()
            self._go_on(show)
        finally:
            for arena in self._arenas.values():
                arena.stop()
            self.supervisor.stop()

    def _keep_start(self) -> None:
        for name in self.config.learning:
            if not (self.directory.path / START / checkpoint.weights_file(name)).exists():
                arrays = self.supervisor.weights(name)
                self.directory.save_start(name, arrays, self._specs[name], dict(self.config.agents[name].network))
            if self.config.arena.every_s and self._game is not None:
                start = start_weights(self.directory.path, self._specs[name], name).arrays
                state = self._arena_states.get(name)
                self._arenas[name] = RunArena(name, self.config, self._game, start, state, self._warn_of(name))
                if state is not None and self.config.arena.gate:
                    self.supervisor.publish(name, *self._arenas[name].best)

    def _warn_of(self, name: str) -> Callable[[str], None]:
        return lambda text: self.supervisor.warn(f"arena of {name}", text)

    def _go_on(self, show: Callable[[dict[str, Any] | None], None]) -> None:
        """The run's loop, to its last checkpoint; see `run`."""
        now = time.monotonic()
        self._next_report, self._next_save = now + self.config.report_s, now + self.config.checkpoint_s
        advance = self.supervisor.turn if self.config.turns else self.supervisor.tick
        try:
            while self.share < 1.0 and not self.stopped:
                self._pause_if_asked()
                if self.config.turns and self.paused:
                    time.sleep(1.0)
                else:
                    advance()
                self._hold_matches()
                show(self._report_if_due())
                if time.monotonic() >= self._next_save and not self.paused:
                    self._try_to_save()
            for tries_left in reversed(range(_LAST_TRIES)):
                if self._try_to_save(tries_left):
                    break
        except Unsaved:
            raise
        except RunFailed as failure:
            raise RunFailed(f"{failure}; {self._save_after_failure()}") from failure
        show(self._reported())

    def _report_if_due(self) -> dict[str, Any] | None:
        now = time.monotonic()
        left = 60 * self.config.minutes - self.supervisor.trained_s
        # The last report covers what is left, and should cover enough to say something.
        if now < self._next_report or left < self.config.report_s / 2:
            return None
        self._next_report = now + self.config.report_s
        return self._reported()

    def _reported(self) -> dict[str, Any]:
        """A report, written down if that can be done: a full disk ends no run."""
        of_arenas, self._of_arenas = self._of_arenas, {}
        report = {**self.supervisor.report(), **of_arenas}
        try:
            self._log.write(report)
        except OSError as error:
            self.supervisor.warn("metrics", f"a report could not be written: {error}")
        return report

    def _pause_if_asked(self) -> None:
        """Rest for as long as the file PAUSE lies in the run's directory; once all is at rest the state is saved."""
        asked = (self.directory.path / PAUSE).exists()
        if asked != self.paused:
            self.paused = asked
            self.supervisor.pause(asked)
            if asked:
                self._try_to_save()

    def _hold_matches(self) -> None:
        """Begin and judge the arenas' matches, and held episodes, as they fall due."""
        if self.paused:
            return
        if self._episodes is not None and not self.config.turns:
            self._of_arenas.update(self.supervisor.measured(self._episodes))
        for name, arena in self._arenas.items():
            ended = arena.tick(self.supervisor.trained_s, self.supervisor.agents[name].newest)
            if ended is not None:
                self._of_arenas.update(ended)
                if ended.get(f"arena/{name}/promoted") and self.config.arena.gate:
                    self.supervisor.publish(name, *arena.best)

    def _try_to_save(self, tries_left: int | None = None) -> bool:
        """Whether a checkpoint was written; if not, the last whole one stays, the user is told, and the run goes on.

        Args:
            tries_left: how often it may fail yet; None for as often as it likes.

        Raises:
            Unsaved: if it may not fail again.
        """
        try:
            self.save()
            give_back_freed_memory()  # that of all agents' rows, which would lie idle until the next checkpoint
            return True
        except (NotSaved, StorageError) as error:
            stays = f"could not be saved, {self._last_name()} stays: {error}"
        if tries_left == 0:
            raise Unsaved(f"the last state {stays}{self._from_there()}")
        self.supervisor.warn("checkpoint", f"{stays}; the run tries again", once=False)
        self._next_save = time.monotonic() + min(self.config.checkpoint_s, _TRY_AGAIN_S)
        if tries_left is not None:
            time.sleep(_LAST_PAUSE_S)
        return False

    def _last_name(self) -> str:
        last = checkpoint.latest(self.directory.path)
        return f"checkpoint {last.name}" if last else "no other"

    def _save_after_failure(self) -> str:
        """Save what learners and replays still know; returns a clause on what was saved and how to go on."""
        try:
            older = self.save(failed=True)
        except (RunFailed, NotSaved, StorageError) as error:
            return f"its last state could not be saved ({error}), {self._last_name()} stays{self._from_there()}"
        but = f" (of {', '.join(older)}: that of the checkpoint before)" if older else ""
        return f"its last state is saved{but}, go on from it with resume={self.directory.path}"

    def _from_there(self) -> str:
        """How to go on from the last checkpoint; "" if there is none."""
        return f"; go on from there with resume={self.directory.path}" if checkpoint.latest(self.directory.path) else ""

    def save(self, failed: bool = False) -> list[str]:
        """Write a checkpoint and remove those that are too old.

        Args:
            failed: see `Supervisor.content`.

        Returns:
            Agents that did not give their state, of which the checkpoint holds what the one before held.

        Raises:
            NotSaved: if the state could not be gathered.
            StorageError: if it could not be written; the checkpoint before stays.
            RunFailed: if an actor failed meanwhile.
        """
        content = self.supervisor.content(failed)
        weights = {}
        for name, arrays in content["weights"].items():
            steps = content["agents"][name]["counters"]["steps"]
            weights[name] = self._packed(name, steps, arrays)
            self._keep_version(name, weights[name], steps)
            if name in self._arenas and self.config.arena.gate:
                weights[name] = self._packed(name, *self._arenas[name].best)
        older = [name for name in self.config.agents if name not in content["agents"]]
        if set(older) >= set(self.config.learning):
            raise NotSaved(f"{', '.join(older)} did not give its state")
        for name in older:
            content["agents"][name], weights[name] = self._kept(name)
        if self._arenas:
            content["arena"] = {name: arena.state() for name, arena in self._arenas.items()}
        checkpoint.save(self.directory.path, checkpoint.packed({**content, "weights": weights}), self.config.keep)
        self._next_save = time.monotonic() + self.config.checkpoint_s
        return older

    def _kept(self, agent: str) -> tuple[Part, bytes]:
        """An agent's part of the last checkpoint, and its weights."""
        last = checkpoint.latest(self.directory.path)
        if last is None:
            raise NotSaved(f"{agent} did not give its state, and there is no checkpoint before")
        name = checkpoint.weights_file(agent)
        return checkpoint.load_part(last, agent), checkpoint.load(last, [name])[name]

    def _keep_version(self, agent: str, weights: bytes, steps: int) -> None:
        """Keep an agent's weights for good, if it is time."""
        every_s = self.config.keep_version_every_s
        if every_s and self.supervisor.trained_s >= every_s * (len(versions(self.directory.path, agent)) + 1):
            self.directory.save_version(agent, weights, steps)

    def _packed(self, agent: str, version: int, arrays: Mapping[str, np.ndarray]) -> bytes:
        return pack_weights(arrays, self._specs[agent], dict(self.config.agents[agent].network), version)
