"""A run of several agents for some seconds, on a local Ray: what each agent took and learned, and what it cost.

Three bodies stand over the same parts: `Supervisor.tick` (all go on at their own pace), `Supervisor.turn` (one thing at
a time) and `ParallelBlocking.turn` (all workers, then all learners).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import hydra
from hydra.core.global_hydra import GlobalHydra

from scoundrel_ray.runs.plan import source_of
from scoundrel_ray.runs.settings import TrainConfig, train_config
from scoundrel_ray.settings.build import build, composed
from scoundrel_ray.spec import Spec
from scoundrel_ray.world import AnyWorld
from scripts.entry import CONF
from scripts.measuring.parallel_blocking import ParallelBlocking
from scripts.measuring.processes import cpu_seconds, megabytes

TICK, TURN, BLOCKING = "tick", "turn", "blocking"
_WARM_SHARE = 0.4  # of the measured time, before it
_AS_OWED = 0.02  # of the samples since then, by which what is owed at the end may differ from what was at the begin
_LOOK_S = 0.05  # between looks at what is owed
_START_S = 120.0  # longest that a run may take until all its learners have begun
_ANSWER_S = 120.0
_NO_SUCH_RATE = 200_000  # rows of an agent in a second


def run_settings(overrides: Sequence[str], agents: int) -> dict[str, Any]:
    """Composed settings of `python -m scripts.train` with `overrides`, of a world of so many agents.

    Every agent of the world has a network, a learner and a replay of its own, all by the run's settings.
    """
    GlobalHydra.instance().clear()  # that of the command, which has been composed by now
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        settings = composed(hydra.compose("train", [*overrides, f"world.agents={agents}"]))
    world = build("world", settings["world"], AnyWorld)
    return {**settings, "agents": {name: {} for name in world.agents}}


def specs_of(settings: Mapping[str, Any]) -> dict[str, Spec]:
    """What each agent of a run observes and may do."""
    config = train_config(settings)
    return source_of(config).specs([*config.agents])


def never_training(settings: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The settings with replays that give no batch for as long as a measurement of `seconds` lasts."""
    rows = int(_NO_SUCH_RATE * (1.0 + (1.0 + _WARM_SHARE) * seconds))
    return {**settings, "replay": {**settings["replay"], "capacity": rows, "min_rows": rows}}


def steadied(settings: Mapping[str, Any], samples_per_insert: float) -> dict[str, Any]:
    """The settings with so many samples an insert, held in a band that a run of seconds comes to the end of.

    In a wide band one side may be ahead all the time, and what it does is not what it can go on doing. To either side
    the band is at least two batches wide, and two stretches of every worker, so that neither has to come piece by
    piece, nor wait where all stretches end at once.
    """
    replay, rollout, batch = settings["replay"], settings["rollout"], settings["learner"]["batch_size"]
    rows = max(2 * batch / samples_per_insert, 2 * rollout["workers"] * rollout["steps"] / len(settings["agents"]))
    tolerance = max(1.0, rows / replay["min_rows"])
    return {**settings, "replay": {**replay, "samples_per_insert": samples_per_insert, "tolerance": tolerance}}


class Measured(NamedTuple):
    """What agents did in a measured time.

    Attributes:
        seconds: of it, on the wall.
        cpu_s: processor time of all processes of the run, Ray's own and this one.
        inserted, sampled: by agent, rows that its replay got and samples that it gave meanwhile. A row is an own step.
        batch: samples of a learner's step.
        megabytes: memory of the same processes at the end, those of a name together.
    """

    seconds: float
    cpu_s: float
    inserted: Mapping[str, int]
    sampled: Mapping[str, int]
    batch: int
    megabytes: Mapping[str, float]

    @property
    def agent_steps(self) -> int:
        """Of all agents."""
        return sum(self.inserted.values())

    @property
    def learner_steps_per_s(self) -> float:
        """Of all learners together."""
        return sum(self.sampled.values()) / self.batch / self.seconds

    @property
    def ratios(self) -> dict[str, float]:
        """Samples an insert, by agent."""
        return {name: self.sampled[name] / max(own, 1) for name, own in self.inserted.items()}

    def balanced_steps_per_s(self, samples_per_insert: float) -> float:
        """Agent-steps a second that were both taken and learned from, at the rate of the agent with the fewest.

        The lesser of what was inserted and of what was sampled over `samples_per_insert`: a run is no faster for
        learners that fall behind, nor for workers that do.
        """
        least = min(min(self.inserted[name], self.sampled[name] / samples_per_insert) for name in self.inserted)
        return len(self.inserted) * least / self.seconds


def measured(settings: Mapping[str, Any], seconds: float, body: str, trains: bool = True) -> Measured:
    """Run the settings' agents for `seconds`, after 0.4 to 2.4 times as long to warm up. Wants a connected Ray.

    Rows come in stretches, and where workers are held at the limiters' band they come seldom. So the measured time goes
    on, for as long again at most, until the replays owe their learners as many samples as they did when it began.

    Args:
        settings: composed, of a run.
        seconds: to measure; see above.
        body: TICK, TURN or BLOCKING.
        trains: whether agents learn (see `never_training`).

    Raises:
        AssertionError: if agents did not take equal numbers of steps, or learned from more or fewer samples than
            their limiters allow.
        RunFailed: if an actor fails.
    """
    from actors.cluster import undisturbed
    from actors.supervisor import Supervisor

    config = train_config(settings if trains else never_training(settings, seconds))
    run: Any = ParallelBlocking(config) if body == BLOCKING else Supervisor(config)
    advance = run.tick if body == TICK else run.turn
    try:
        run.start()
        watch = _Watch(config, run, advance)
        watch.until_begun(trains)
        watch.pass_time(_WARM_SHARE * seconds)
        watch.cross_band(2 * seconds if trains else 0.0)
        before = watch.moment()
        watch.pass_time(seconds)
        watch.until_owed_as(before, seconds if trains else 0.0)
        after, memory = watch.moment(), megabytes()
    finally:
        with undisturbed():
            run.stop()
    check_equal(config, after)
    return Measured(
        seconds=after.at - before.at,
        cpu_s=sum(used - before.cpu_s.get(process, 0.0) for process, used in after.cpu_s.items()),
        inserted={name: own - before.inserted[name] for name, own in after.inserted.items()},
        sampled={name: own - before.sampled[name] for name, own in after.sampled.items()},
        batch=settings["learner"]["batch_size"],
        megabytes=memory,
    )


class Moment(NamedTuple):
    """Counts of a run at a moment.

    Attributes:
        at: when, in seconds.
        cpu_s: processor time by process.
        inserted, sampled: by agent, since the run's start.
    """

    at: float
    cpu_s: Mapping[int, float]
    inserted: Mapping[str, int]
    sampled: Mapping[str, int]


class _Watch:
    """Lets a run go on, and counts."""

    def __init__(self, config: TrainConfig, run: Any, advance: Any) -> None:
        self._config, self._run, self._advance = config, run, advance
        self._ratio = next(iter(config.agents.values())).replay["samples_per_insert"]  # all agents' own

    def until_begun(self, trains: bool) -> None:
        """Until every agent has rows and, if it is to learn, has learned."""
        end, kind = time.monotonic() + _START_S, "sampled" if trains else "inserted"
        while not all(status[kind] for status in self._run.status()["agents"].values()):
            if time.monotonic() > end:
                raise RuntimeError(f"no agent-steps, or no learner steps, within {_START_S:.0f} s")
            self._advance()

    def pass_time(self, seconds: float) -> None:
        """So long, and on until rows have come: what workers have not returned yet cannot be counted."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._advance()
        given = self._given()
        while self._given() == given:
            self._advance()

    def cross_band(self, most_s: float) -> None:
        """Until more rows have come than the limiters' bands hold: by then whoever is slower is held at an end."""
        replay = next(iter(self._config.agents.values())).replay
        rows, end = replay["min_rows"] * (1 + 2 * replay["tolerance"]), time.monotonic() + most_s
        while self._given() < rows and time.monotonic() < end:
            self._advance()

    def _given(self) -> int:
        return min(status["rows_given"] for status in self._run.status()["agents"].values())

    def until_owed_as(self, before: Moment, most_s: float) -> None:
        """Until all replays together owe their learners as many samples as they did then."""
        end = time.monotonic() + most_s
        while time.monotonic() < end:
            inserted, sampled = self._counts()
            owed = self._ratio * _since(before.inserted, inserted) - _since(before.sampled, sampled)
            if abs(owed) <= _AS_OWED * _since(before.sampled, sampled):
                return
            look = time.monotonic() + _LOOK_S
            while time.monotonic() < look:
                self._advance()

    def moment(self) -> Moment:
        """Counts as they are now."""
        inserted, sampled = self._counts()
        return Moment(time.perf_counter(), cpu_seconds(), inserted, sampled)

    def _counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Rows inserted and samples given since the run's start, by agent."""
        import ray

        from actors.host import process_names

        actors, asked = self._run.actors(), {}
        for names in self._config.groups:
            named = process_names(names)
            for name in names:
                kind = "learner" if self._config.agents[name].replay_place == "learner" else "replay"
                holder = actors[named[kind]]
                asked[name] = holder.replay_status.remote(name)
        told = dict(zip(asked, ray.get([*asked.values()], timeout=_ANSWER_S), strict=True))
        inserted, sampled = ({name: own[kind] for name, own in told.items()} for kind in ("inserted", "sampled"))
        return inserted, sampled


def _since(before: Mapping[str, int], now: Mapping[str, int]) -> int:
    return sum(now.values()) - sum(before.values())


def check_equal(config: TrainConfig, moment: Moment) -> None:
    """Raises:
    AssertionError: naming an agent that took more steps than another, or got more or fewer samples than its limiter
        allows, since the run's start.
    """
    rollout = config.source["rollout"]
    # Of each worker two stretches may be on their way to the replays, to some of them before others.
    under_way = 2 * config.workers * (rollout["steps"] // len(config.agents) + rollout["copies"])
    least = min(moment.inserted.values())
    for name, agent in config.agents.items():
        inserted, sampled, replay = moment.inserted[name], moment.sampled[name], agent.replay
        if inserted > least + under_way:
            raise AssertionError(f"{name} took {inserted} steps, another agent {least}")
        ratio, first = replay["samples_per_insert"], replay["min_rows"] * replay["samples_per_insert"]
        owed, buffer = inserted * ratio - sampled, replay["tolerance"] * first
        if sampled and not -buffer <= owed <= first + buffer + ratio * under_way:
            raise AssertionError(
                f"{name} got {sampled} samples of {inserted} rows, wanted {ratio} an insert, {buffer:.0f} more or less"
            )
