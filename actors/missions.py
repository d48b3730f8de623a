"""Episodes of missions, dealt to worker processes and recorded as they end; records do not depend on the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from actors.mission_actor import Job, Lineup, MissionActor, Played, failed
from actors.tasks import MOST_DEATHS, Ask, Lost, TaskPool
from scoundrel_ray.machine import cores
from scoundrel_ray.missions.episode import DEADLINE, WORKER, Failure
from scoundrel_ray.missions.mission import MissionConfig, seating
from scoundrel_ray.missions.record import Record, record_of
from scoundrel_ray.missions.wrappers import AUTO, BACKENDS, BATCH
from scoundrel_ray.players import Participant
from scoundrel_ray.settings.checks import at_least, one_of, within

_HASH_SEED = {"PYTHONHASHSEED": "0"}  # orders of sets, on which environments of others may depend
_LOOK_S = 0.5


@dataclass(frozen=True)
class RunnerConfig:
    """How episodes are dealt.

    Attributes:
        jobs: worker processes; 0 for one a core.
        backend: how policies are asked: "batch" (all rows in one call), "sequence" (row by row), "thread", "process"
            (in children, which keep their agents' policies), or "auto": on threads where a worker has cores to spare
            and that is found to be faster.
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
