"""A worker process that plays episodes of missions; what it says of them depends on nothing else that it played."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import ray

from scoundrel_ray.missions import global_draws
from scoundrel_ray.missions.episode import MISSION, POLICY, Failure, Outcome, play
from scoundrel_ray.missions.mission import Mission, MissionConfig, seating
from scoundrel_ray.missions.policy import BatchOf, Driver, OwnPolicies, PolicyFailed, told
from scoundrel_ray.missions.processes import OnProcesses, Recipe
from scoundrel_ray.missions.record import Record, record_of
from scoundrel_ray.missions.wrappers import BATCH, PROCESS, InBatch, Wrapper, wrapped
from scoundrel_ray.settings.build import build

_remote: Any = ray.remote  # type checkers do not see what it adds
_BEGIN_S = 60.0  # imports, environments that are made, children that start


class Lineup(NamedTuple):
    """Policies that play a mission together, ready to be sent.

    Attributes:
        titles, shares: of the policies, by number.
        sections: that they are built from.
    """

    titles: tuple[str, ...]
    shares: tuple[float, ...]
    sections: tuple[Mapping[str, Any], ...]


Lined = tuple[str, str]  # mission, and member of a group


@dataclass(frozen=True)
class Job:
    """Episodes that are played side by side.

    Attributes:
        mission, member: names.
        episodes: their numbers.
    """

    mission: str
    member: str
    episodes: tuple[int, ...]

    @property
    def name(self) -> str:
        """For messages."""
        of = f" of {self.member}" if self.member else ""
        first, last = self.episodes[0], self.episodes[-1]
        return (
            f"{self.mission}{of}: episode{'' if first == last else 's'} {first}{'' if first == last else f' to {last}'}"
        )


class Played(NamedTuple):
    """What came of a job.

    Attributes:
        records: of its episodes.
        seconds: that they took.
    """

    records: list[Record]
    seconds: float


@_remote(num_cpus=0, max_restarts=0, max_task_retries=0, enable_task_events=False, concurrency_groups={"control": 1})
class MissionActor:
    """Plays episodes.

    Args:
        missions: by name.
        lineups: by mission and member.
        seed: of the evaluation.
        backend, threads: how policies are asked (see `scoundrel_ray.missions.wrappers.wrapped`).
    """

    def __init__(
        self,
        missions: Mapping[str, MissionConfig],
        lineups: Mapping[Lined, Lineup],
        seed: int,
        backend: str = BATCH,
        threads: int = 1,
    ) -> None:
        self._configs, self._lineups, self._seed = missions, lineups, seed
        self._backend, self._threads = backend, threads
        self._missions: dict[str, Mission] = {}
        self._drivers: dict[Lined, list[Driver]] = {}
        self._wrappers: dict[Lined, list[Wrapper]] = {}
        self._arrays: dict[Lined, Sequence[Mapping[str, Any]]] = {}
        self._since: float | None = None
        self._seconds = 0.0

    def play(self, job: Job, arrays: Sequence[Mapping[str, Any]]) -> Played | None:
        """Records of the job's episodes; None if they are to be played one by one: nobody knows which of them failed.

        Args:
            job: what to play.
            arrays: by number of the policy, settings that are arrays.
        """
        self._since = time.monotonic() + _BEGIN_S
        try:
            self._seconds = 0.0
            return Played(self._records(job, self._outcomes(job, arrays)), self._seconds)
        except _Apart:
            return None
        finally:
            self._since = None

    def film(self, job: Job, arrays: Sequence[Mapping[str, Any]]) -> tuple[list[Record], list[np.ndarray]]:
        """Records of a job of one episode, and its pictures; none of a mission that has none."""
        frames: list[np.ndarray] = []
        return self._records(job, self._outcomes(job, arrays, frames)), frames

    def _outcomes(
        self, job: Job, arrays: Sequence[Mapping[str, Any]], frames: list[np.ndarray] | None = None
    ) -> list[Outcome]:
        lineup = self._lineups[job.mission, job.member]
        mission = self._mission(job.mission)
        seats = {
            episode: seating(lineup.shares, len(mission.world.agents), self._seed, mission.name, episode)
            for episode in job.episodes
        }
        try:
            return self._played(job, mission, self._built(job, arrays), seats, frames)
        except PolicyFailed as error:
            failure = Failure(POLICY, str(error), "", 0)
        except Exception as error:
            failure = Failure(MISSION, told(error), "", 0)
        episode, *others = job.episodes
        if others:
            raise _Apart
        return [failed(episode, seats[episode], failure)]

    def _played(
        self, job: Job, mission: Mission, drivers: Sequence[Driver], seats: Mapping[int, np.ndarray],
        frames: list[np.ndarray] | None,
    ) -> list[Outcome]:  # fmt: skip
        """Outcomes, whoever draws from generators of the whole process (see `global_draws`)."""
        own = [each for each in drivers if isinstance(each, OwnPolicies | BatchOf)]
        first, *others = job.episodes
        for guarded in (False, True):
            for each in own:
                each.guarded = guarded
            global_draws.seed(self._seed + first)
            before = global_draws.state()
            if frames is not None:
                frames.clear()
            wrappers = [InBatch(each) for each in drivers] if guarded else self._wrapped(job, drivers)
            begun = time.monotonic()
            outcomes = play(mission, wrappers, seats, self._seed, frames, self._beat)
            self._seconds = time.monotonic() - begun
            drew = any([each.drew() for each in wrappers if isinstance(each, OnProcesses)])
            if guarded or not (drew or global_draws.touched(before)):
                break
            if others:
                raise _Apart
            if not own:
                break
        return outcomes

    def _records(self, job: Job, outcomes: Iterable[Outcome]) -> list[Record]:
        lineup, agents = self._lineups[job.mission, job.member], self._mission(job.mission).world.agents
        return [record_of(job.mission, job.member, self._seed, agents, lineup.titles, each) for each in outcomes]

    def _mission(self, name: str) -> Mission:
        if name not in self._missions:
            self._missions[name] = Mission(name, self._configs[name])
        return self._missions[name]

    def _built(self, job: Job, arrays: Sequence[Mapping[str, Any]]) -> list[Driver]:
        played = (job.mission, job.member)
        if played not in self._drivers:
            lineup, mission, made = self._lineups[played], self._mission(job.mission), []
            for title, section, own in zip(lineup.titles, lineup.sections, arrays, strict=True):
                global_draws.seed(self._seed)
                made.append(build(f"policies.{title}", {**section, **own}, Driver, mission))
            self._drivers[played], self._arrays[played] = made, arrays
        return self._drivers[played]

    def _wrapped(self, job: Job, drivers: Sequence[Driver]) -> list[Wrapper]:
        """The drivers, asked as the backend says; what was found to be faster is kept for further jobs."""
        played = (job.mission, job.member)
        if played not in self._wrappers:
            self._wrappers[played] = [self._wrap(job, number, each) for number, each in enumerate(drivers)]
        return self._wrappers[played]

    def _wrap(self, job: Job, number: int, driver: Driver) -> Wrapper:
        if self._backend != PROCESS or not driver.splits:
            return wrapped(driver, self._backend, self._threads)
        lineup, arrays = self._lineups[job.mission, job.member], self._arrays[job.mission, job.member]
        section = {**lineup.sections[number], **arrays[number]}
        recipe = Recipe(job.mission, self._configs[job.mission], lineup.titles[number], section, self._seed)
        return OnProcesses(recipe, self._mission(job.mission), max(self._threads, 2))

    def _beat(self) -> None:
        """A step has ended."""
        self._since = time.monotonic()

    @ray.method(concurrency_group="control")
    def at_step_s(self) -> float:
        """Seconds since the step under way began; 0 between jobs. A job's beginning is given a minute more."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    @ray.method(concurrency_group="control")
    def pid(self) -> int:
        """Process id; any answer says that the process is there."""
        return os.getpid()


class _Apart(Exception):
    """Episodes have to be played one by one."""


def failed(episode: int, seats: np.ndarray, failure: Failure) -> Outcome:
    """The outcome of an episode of which nothing is known but its failure."""
    count = len(seats)
    return Outcome(
        episode, seats, np.zeros(count), np.zeros(count, np.int64), ["cut"] * count, failure.step, "", failure
    )
