"""Episodes of missions, dealt to worker processes and recorded as they end; records do not depend on the workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import ray
from ray.exceptions import RayError

from actors.tasks import MOST_DEATHS, Ask, Lost, TaskPool
from scoundrel_ray.machine import cores
from scoundrel_ray.missions import global_draws
from scoundrel_ray.missions.episode import DEADLINE, MISSION, POLICY, WORKER, Failure, Outcome, play
from scoundrel_ray.missions.mission import Mission, MissionConfig, seating
from scoundrel_ray.missions.policy import BatchOf, Driver, OwnPolicies, PolicyFailed, told
from scoundrel_ray.missions.record import Key, Record, record_of
from scoundrel_ray.missions.wrappers import AUTO, BACKENDS, BATCH, InBatch, Wrapper, wrapped
from scoundrel_ray.players import Participant
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import at_least, one_of, within

_remote: Any = ray.remote  # type checkers do not see what it adds
_HASH_SEED = {"PYTHONHASHSEED": "0"}  # orders of sets, on which environments of others may depend
_LOOK_S = 0.5


class Lineup(NamedTuple):
    """Policies that play a mission together, ready to be sent.

    Attributes:
        titles, shares: of the policies, by number.
        sections: that they are built from.
    """

    titles: tuple[str, ...]
    shares: tuple[float, ...]
    sections: tuple[Mapping[str, Any], ...]


Played = tuple[str, str]  # mission, and member of a group


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

    @property
    def keys(self) -> list[Key]:
        """Of the records that it gives."""
        return [Key(self.mission, self.member, episode) for episode in self.episodes]


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
        lineups: Mapping[Played, Lineup],
        seed: int,
        backend: str = BATCH,
        threads: int = 1,
    ) -> None:
        self._configs, self._lineups, self._seed = missions, lineups, seed
        self._backend, self._threads = backend, threads
        self._missions: dict[str, Mission] = {}
        self._drivers: dict[Played, list[Driver]] = {}
        self._wrappers: dict[Played, list[Wrapper]] = {}
        self._since: float | None = None

    def play(self, job: Job, arrays: Sequence[Mapping[str, Any]]) -> list[Record] | None:
        """Records of the job's episodes; None if they are to be played one by one: nobody knows which of them failed.

        Args:
            job: what to play.
            arrays: by number of the policy, settings that are arrays.
        """
        self._since = time.monotonic()
        try:
            return self._records(job, self._outcomes(job, arrays))
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
            outcomes = play(mission, wrappers, seats, self._seed, frames, self._beat)
            if guarded or not global_draws.touched(before):
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
            self._drivers[played] = made
        return self._drivers[played]

    def _wrapped(self, job: Job, drivers: Sequence[Driver]) -> list[Wrapper]:
        """The drivers, asked as the backend says; what was found to be faster is kept for further jobs."""
        played = (job.mission, job.member)
        if played not in self._wrappers:
            self._wrappers[played] = [wrapped(each, self._backend, self._threads) for each in drivers]
        return self._wrappers[played]

    def _beat(self) -> None:
        """A step has ended."""
        self._since = time.monotonic()

    @ray.method(concurrency_group="control")
    def at_step_s(self) -> float:
        """Seconds since the step under way began; 0 between jobs."""
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


@dataclass(frozen=True)
class RunnerConfig:
    """How episodes are dealt.

    Attributes:
        jobs: worker processes; 0 for one a core.
        backend: how policies are asked: "batch" (all rows in one call), "sequence" (row by row), "thread", or "auto":
            on threads where a worker has cores to spare and that is found to be faster.
        step_deadline_s: longest that a step may take, 0 for no limit; beyond, its episode has failed. Results then
            depend on the machine's load.
    """

    jobs: int = 0
    backend: str = AUTO
    step_deadline_s: float = 0.0

    def __post_init__(self) -> None:
        at_least("jobs", self.jobs, 0)
        one_of("backend", self.backend, BACKENDS)
        within("step_deadline_s", self.step_deadline_s, 0.0, 86400.0)


def run(
    missions: Mapping[str, MissionConfig],
    lineups: Mapping[Played, Sequence[tuple[str, float, Participant]]],
    agents: Mapping[str, Sequence[str]],
    jobs: Sequence[Job],
    seed: int,
    workers: int,
    config: RunnerConfig,
    note: Callable[[list[Record]], None],
) -> None:
    """Play all jobs; records come as they end, in any order. Wants a connected Ray.

    Args:
        missions: by name.
        lineups: by mission and member, title, share and policy of each.
        agents: by mission, names of its agents.
        jobs: to be played.
        seed: of the evaluation.
        workers: processes.
        config: how episodes are dealt.
        note: called with records; what it raises ends everything.

    Raises:
        RuntimeError: if no worker can be made.
    """
    sent = {played: _sent(each) for played, each in lineups.items()}
    arrays = {played: ray.put([participant.arrays for _, _, participant in each]) for played, each in lineups.items()}
    threads, step_deadline_s = max(1, cores() // max(1, workers)), config.step_deadline_s
    pool = TaskPool(lambda: _make(missions, sent, seed, config.backend, threads), max(1, workers), gives_up=True)
    named = {job.name: job for job in jobs}

    def ask(job: Job) -> Ask:
        return lambda actor: actor.play.remote(job, arrays[job.mission, job.member])

    def singly(job: Job) -> None:
        apart = {each.name: each for each in (Job(job.mission, job.member, (episode,)) for episode in job.episodes)}
        named.update(apart)
        pool.add({name: ask(each) for name, each in apart.items()})

    def lost(job: Job, cause: str) -> Record:
        late = cause == _LATE
        failure = Failure(DEADLINE if late else WORKER, f"{cause}{'' if late else f' ({MOST_DEATHS} times)'}", "", 0)
        lineup, names = sent[job.mission, job.member], agents[job.mission]
        seats = seating(lineup.shares, len(names), seed, job.mission, job.episodes[0])
        outcome = failed(job.episodes[0], seats, failure)
        return record_of(job.mission, job.member, seed, names, lineup.titles, outcome)

    try:
        # A block in which a worker dies is played episode by episode at once: one of them may always kill it.
        pool.add({job.name: ask(job) for job in jobs if len(job.episodes) > 1}, most_deaths=1)
        pool.add({job.name: ask(job) for job in jobs if len(job.episodes) == 1})
        while pool.pending:
            for name, answer in pool.finished(_LOOK_S if step_deadline_s else None):
                job = named[name]
                if isinstance(answer, list):
                    note(answer)
                elif len(job.episodes) > 1:
                    singly(job)
                else:
                    assert isinstance(answer, Lost)
                    note([lost(job, answer.cause)])
            if step_deadline_s:
                _give_up_late(pool, step_deadline_s)
    finally:
        pool.close()


def film(
    missions: Mapping[str, MissionConfig],
    lineups: Mapping[Played, Sequence[tuple[str, float, Participant]]],
    job: Job,
    seed: int,
) -> tuple[list[Record], list[np.ndarray]]:
    """Record of a job of one episode, played in a process of its own, and its pictures. Wants a connected Ray."""
    policies = lineups[job.mission, job.member]
    actor = _make({job.mission: missions[job.mission]}, {(job.mission, job.member): _sent(policies)}, seed, BATCH, 1)
    try:
        return ray.get(actor.film.remote(job, [participant.arrays for _, _, participant in policies]))
    finally:
        ray.kill(actor)


def _sent(policies: Sequence[tuple[str, float, Participant]]) -> Lineup:
    titles, shares, participants = zip(*policies, strict=True)
    return Lineup(titles, shares, tuple(participant.section for participant in participants))


def _make(
    missions: Mapping[str, MissionConfig], lineups: Mapping[Played, Lineup], seed: int, backend: str, threads: int
) -> Any:
    """A worker."""
    made = MissionActor.options(runtime_env={"env_vars": _HASH_SEED})
    return made.remote(dict(missions), lineups, seed, backend, threads)


_LATE = "a step was not over within its deadline"


def _give_up_late(pool: TaskPool, deadline_s: float) -> None:
    """Give up tasks whose step goes on for too long."""
    asked = {actor.at_step_s.remote(): name for name, actor in pool.under_way}
    there, _ = ray.wait([*asked], num_returns=len(asked), timeout=_LOOK_S) if asked else ([], [])
    for answer in there:
        try:
            seconds = ray.get(answer)
        except RayError:  # it died
            continue
        if seconds > deadline_s:
            pool.give_up(asked[answer], _LATE)
