"""Episodes of missions, dealt to worker processes and recorded as they end; records do not depend on the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from actors.mission_actor import Job, Lined, Lineup, MissionActor, Played, failed
from actors.tasks import MOST_DEATHS, Lost, TaskPool
from scoundrel_ray.machine import cores
from scoundrel_ray.missions.episode import DEADLINE, WORKER, Failure
from scoundrel_ray.missions.mission import MissionConfig, seating
from scoundrel_ray.missions.plan import BLOCK_S, Blocks
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
        block_s: seconds that episodes which are played side by side are to last for.
    """

    jobs: int = 0
    backend: str = AUTO
    step_deadline_s: float = 0.0
    block_s: float = BLOCK_S

    def __post_init__(self) -> None:
        at_least("jobs", self.jobs, 0)
        one_of("backend", self.backend, BACKENDS)
        within("step_deadline_s", self.step_deadline_s, 0.0, 86400.0)


def run(
    missions: Mapping[str, MissionConfig],
    lineups: Mapping[Lined, Sequence[tuple[str, float, Participant]]],
    agents: Mapping[str, Sequence[str]],
    todo: Mapping[Lined, Sequence[int]],
    seed: int,
    workers: int,
    config: RunnerConfig,
    note: Callable[[list[Record]], None],
) -> dict[Lined, Blocks]:
    """Play episodes; records come as they end, in any order. Wants a connected Ray.

    Args:
        missions: by name.
        lineups: by mission and member, title, share and policy of each.
        agents: by mission, names of its agents.
        todo: by mission and member, numbers of the episodes to be played.
        seed: of the evaluation.
        workers: processes.
        config: how episodes are dealt.
        note: called with records; what it raises ends everything.

    Returns:
        How they were dealt, by mission and member.

    Raises:
        RuntimeError: if no worker can be made.
    """
    sent = {played: _sent(each) for played, each in lineups.items()}
    arrays = {played: ray.put([participant.arrays for _, _, participant in each]) for played, each in lineups.items()}
    workers, threads = max(1, workers), max(1, cores() // max(1, workers))
    pool = TaskPool(lambda: _make(missions, sent, seed, config.backend, threads), workers, gives_up=True)
    dealt = {played: Blocks(episodes, workers, config.block_s) for played, episodes in todo.items()}
    under_way: dict[str, Job] = {}

    def add(job: Job) -> None:
        under_way[job.name] = job
        # A block in which a worker dies is played episode by episode at once: one of them may always kill it.
        deaths = 1 if len(job.episodes) > 1 else MOST_DEATHS
        pool.add({job.name: lambda actor: actor.play.remote(job, arrays[job.mission, job.member])}, deaths)

    def feed() -> None:
        """Have a block waiting beside those that workers are at."""
        for (mission, member), blocks in dealt.items():
            while blocks.left and len(under_way) <= workers:
                add(Job(mission, member, blocks.deal()))

    def lost(job: Job, cause: str) -> Record:
        late = cause == _LATE
        failure = Failure(DEADLINE if late else WORKER, f"{cause}{'' if late else f' ({MOST_DEATHS} times)'}", "", 0)
        lineup, names = sent[job.mission, job.member], agents[job.mission]
        seats = seating(lineup.shares, len(names), seed, job.mission, job.episodes[0])
        outcome = failed(job.episodes[0], seats, failure)
        return record_of(job.mission, job.member, seed, names, lineup.titles, outcome)

    try:
        feed()
        while under_way:
            for name, answer in pool.finished(_LOOK_S if config.step_deadline_s else None):
                job = under_way.pop(name)
                if isinstance(answer, Played):
                    dealt[job.mission, job.member].took(len(answer.records), answer.seconds)
                    note(answer.records)
                elif len(job.episodes) > 1:
                    for episode in job.episodes:
                        add(Job(job.mission, job.member, (episode,)))
                else:
                    assert isinstance(answer, Lost)
                    note([lost(job, answer.cause)])
            if config.step_deadline_s:
                _give_up_late(pool, config.step_deadline_s)
            feed()
    finally:
        pool.close()
    return dealt


def film(
    missions: Mapping[str, MissionConfig],
    lineups: Mapping[Lined, Sequence[tuple[str, float, Participant]]],
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
    missions: Mapping[str, MissionConfig], lineups: Mapping[Lined, Lineup], seed: int, backend: str, threads: int
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
