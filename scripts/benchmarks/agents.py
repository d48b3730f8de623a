"""Suite "agents": a learner for each agent, all at their own pace, beside taking turns and beside a prediction.

Three groups of figures: the parts alone, and runs end to end; every way of running, beside what it should do by the
costs of its parts, which were measured alone, in the same run and before it; and whether what is claimed of all of them
holds. Every way has the same precision, and the same samples an insert within the band of its replays' limiters, which
is asserted, as is that all agents took as many steps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scoundrel_ray.machine import cores
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting, at_least, one_of, within
from scripts.measuring.agent_runs import TICK, TURN, Measured, measured, run_settings, specs_of, steadied
from scripts.measuring.agent_ways import SEQUENTIAL, THREADS, WAYS, Costs, predicted
from scripts.measuring.figures import Figure, Figures
from scripts.measuring.learners import PRECISIONS, measure_learners

_COLLECTED, _LEARNED, _MEMORY_MB = 100_000.0, 200.0, 1500.0
_END_TO_END = {0.64: 22_000.0, 0.1: 65_000.0}  # by samples an insert
_FASTEST = "threads"  # of the ways, end to end
_RATE = "agent-steps/s"


def run(
    settings: Mapping[str, Any],
    run: Sequence[str],
    agents: Sequence[int],
    shares: Sequence[float],
    ways: Sequence[str],
    ratios: Sequence[float],
    precision: str,
    seconds: float,
) -> Figures:
    """Figures of the parts alone, of runs end to end, of each way of running, and of what is claimed of them."""
    _check(run, agents, shares, ways, ratios, precision, seconds)
    from actors.cluster import connected

    overrides = [*run, f"learner.precision={precision}", f"inference.precision={precision}"]
    benches = [_Bench(overrides, count, precision, seconds) for count in agents]
    most = benches[list(agents).index(max(agents))]
    with connected():
        alone = [bench.alone() for bench in benches]
        parts = alone[benches.index(most)]
        whole = [(ratio, most.way(_FASTEST, ratio), most.way(SEQUENTIAL, ratio)) for ratio in ratios]
        found = [
            _beside_predictions(bench, own.costs, share, ways)
            for bench, own in zip(benches, alone, strict=True)
            for share in shares
        ]
    figures = [
        *_of_parts(most, parts),
        *(_end_to_end(most, *each) for each in whole),
        *_of_memory(most, whole, found),
        *(figure for each in found for figure in each.figures()),
        *_claims(found),
    ]
    return Figures(figures)


def _check(
    run: Sequence[str],
    agents: Sequence[int],
    shares: Sequence[float],
    ways: Sequence[str],
    ratios: Sequence[float],
    precision: str,
    seconds: float,
) -> None:
    if isinstance(run, str) or not isinstance(run, Sequence):
        raise InvalidSetting("suite.run", f"got {run!r}, wanted a list of settings of scripts.train")
    if os.environ.get("RAY_ADDRESS"):
        raise InvalidConfig("RAY_ADDRESS: got a cluster, wanted none: costs are of this machine's processes")
    if not agents:
        raise InvalidSetting("suite.agents", "got none, wanted a list of numbers")
    for count in agents:
        at_least("suite.agents", count, 1)
    for share in shares:
        within("suite.shares", share, 0.01, 0.99)
    for way in ways:
        one_of("suite.ways", way, WAYS)
    for ratio in ratios:
        within("suite.ratios", ratio, 0.001, 1000.0)
    one_of("suite.precision", precision, PRECISIONS)
    within("suite.seconds", seconds, 0.1, 3600.0)


class _Alone(NamedTuple):
    """Parts alone.

    Attributes:
        collected, in_turn: without training, by the run's workers, and by one worker on one core.
        learned: see `measure_learners`.
        costs: that follow.
    """

    collected: Measured
    in_turn: Measured
    learned: Mapping[str, Any]
    costs: Costs


class _Bench:
    """Measures runs of so many agents.

    Args:
        overrides: of `scripts.train`, for every way.
        agents: of the world.
        precision: of learners and of inference.
        seconds: of a run.
    """

    def __init__(self, overrides: Sequence[str], agents: int, precision: str, seconds: float) -> None:
        self.agents, self.precision = agents, precision
        self._overrides, self._seconds = overrides, seconds
        self._settings = run_settings(overrides, agents)
        learner = self._settings["learner"]
        self._spec = next(iter(specs_of(self._settings).values()))
        self.batch = int(learner["batch_size"])
        self._quantiles, self._targets = learner["quantiles"], learner["target_quantiles"]
        self.acting = int(self._settings["network"]["acting_quantiles"])

    def alone(self) -> _Alone:
        """The parts alone."""
        turn = run_settings([*self._overrides, *WAYS[SEQUENTIAL].overrides], self.agents)
        collected = measured(self._settings, self._seconds, TICK, trains=False)
        in_turn = measured(turn, self._seconds, TURN, trains=False)
        learned = self._learned(self.agents)
        rates, share = learned["steps_per_s"], -(-self.agents // THREADS)
        shared = self._learned(share)["steps_per_s"]["stacked" if share > 1 else "separate"]
        costs = Costs(
            in_turn_s=in_turn.seconds / in_turn.agent_steps,
            step_s=collected.seconds / collected.agent_steps,
            step_cpu_s=collected.cpu_s / collected.agent_steps,
            apart_s=1 / rates["separate"][self.precision],
            stacked_s=1 / rates["stacked"][self.precision],
            shared_s=1 / shared[self.precision],
        )
        return _Alone(collected, in_turn, learned, costs)

    def _learned(self, learners: int) -> dict[str, Any]:
        """What so many learners do alone, in a process that ends with it: its memory is none of later runs'."""
        import ray

        measure: Any = ray.remote(num_cpus=0, max_calls=1)(measure_learners)
        network = self._settings["network"]
        asked = measure.remote(learners, self.batch, self._quantiles, self._seconds / 4, network, self._spec)
        return ray.get(asked)

    def way(self, way: str, samples_per_insert: float) -> Measured:
        """A way of running with so many samples an insert."""
        settings = run_settings([*self._overrides, *WAYS[way].overrides], self.agents)
        return measured(steadied(settings, samples_per_insert), self._seconds, WAYS[way].body)

    @property
    def told(self) -> str:
        """What stands beside every rate."""
        return f"{self.agents} agents, {self.precision}, K {self.acting}"

    @property
    def told_of_steps(self) -> str:
        """What stands beside every rate of learners."""
        return f"{self.agents} learners, batch {self.batch}, {self._quantiles} x {self._targets} quantiles"


def _of_parts(bench: _Bench, alone: _Alone) -> list[Figure]:
    """Collection without training, and training without collection."""
    collected, in_turn, rates = alone.collected, alone.in_turn, alone.learned["steps_per_s"]
    base = rates["separate"]["float32"]
    ways = [("separate", "bfloat16"), ("stacked", "float32"), ("stacked", "bfloat16")]
    return [
        Figure(
            f"collection alone: {bench.told}", collected.agent_steps / collected.seconds, _RATE,
            "one worker on one core", in_turn.agent_steps / in_turn.seconds, wanted=_COLLECTED,
            details=_of_processors(collected),
        ),
        *(
            Figure(
                f"training alone: {bench.told_of_steps}, {kind} in {precision}, one core", rates[kind][precision],
                "steps/CPU s of all", "one after another in float32", base,
                wanted=_LEARNED if (kind, precision) == ways[-1] else None,
                details={"parameters of a network": alone.learned["parameters"]},
            )
            for kind, precision in ways
        ),
    ]  # fmt: skip


def _of_processors(run: Measured) -> dict[str, float]:
    return {"agent-steps/CPU s": run.agent_steps / run.cpu_s, "cores used": run.cpu_s / run.seconds}


def _of_samples(run: Measured, samples_per_insert: float) -> dict[str, float]:
    """What is asserted to be equal, and what was reached of it by the agents with the least and with the most."""
    ratios, steps = run.ratios.values(), run.inserted.values()
    return {
        "samples an insert": samples_per_insert,
        "  least": min(ratios),
        "  most": max(ratios),
        "own steps/s, least": min(steps) / run.seconds,
        "  most own steps/s": max(steps) / run.seconds,
        "learner steps/s of all": run.learner_steps_per_s,
    }


def _end_to_end(bench: _Bench, ratio: float, ours: Measured, in_turn: Measured) -> Figure:
    return Figure(
        f"end to end: {bench.told}, {ratio:g} samples an insert, {WAYS[_FASTEST].title}",
        ours.balanced_steps_per_s(ratio),
        _RATE,
        WAYS[SEQUENTIAL].title,
        in_turn.balanced_steps_per_s(ratio),
        wanted=_END_TO_END.get(ratio),
        details={**_of_samples(ours, ratio), **_of_processors(ours)},
    )


def _of_memory(
    bench: _Bench, whole: Sequence[tuple[float, Measured, Measured]], found: Sequence[_Compared]
) -> list[Figure]:
    """Memory of the runs end to end, beside runs with a process for each learner where there were any."""
    if not whole:
        return []
    ours = max((run.megabytes for _, run, _ in whole), key=_total)
    spread = [
        _total(run.megabytes) for each in found if each.bench is bench for run in [each.runs.get("spread")] if run
    ]
    return [
        Figure(
            f"memory of all processes: {bench.told}, {WAYS[_FASTEST].title}",
            _total(ours),
            "MB",
            WAYS["spread"].title if spread else None,
            max(spread, default=None),
            most=_MEMORY_MB,
            details=ours,
        )
    ]


def _total(megabytes: Mapping[str, float]) -> float:
    return sum(megabytes.values())


class _Compared(NamedTuple):
    """Ways of running with equal samples an insert.

    Attributes:
        bench: that measured them.
        share: of the time in turn that training was to take, by the costs.
        reached: the share that it took.
        samples_per_insert: that follow.
        predictions, runs: by way; agent-steps a second, and what was measured after that.
    """

    bench: _Bench
    share: float
    reached: float
    samples_per_insert: float
    predictions: Mapping[str, float]
    runs: Mapping[str, Measured]

    def rate(self, way: str) -> float:
        """Agent-steps a second, each with its samples learned from."""
        return self.runs[way].balanced_steps_per_s(self.samples_per_insert)

    def of_prediction(self, way: str) -> float:
        """Measured over predicted."""
        return self.rate(way) / self.predictions[way]

    def of_turn(self, way: str) -> float:
        """Times as fast as in turn."""
        return self.rate(way) / self.rate(SEQUENTIAL)

    @property
    def asynchronous(self) -> list[str]:
        """Ways in which collecting and training go on side by side."""
        return [way for way in self.runs if not WAYS[way].waits]

    def figures(self) -> list[Figure]:
        """A figure for each way."""
        told = f"{self.bench.told}, training {self.share:.0%} of the time in turn"
        return [
            Figure(
                f"{told}: {WAYS[way].title}",
                self.rate(way),
                _RATE,
                "its prediction",
                self.predictions[way],
                wanted_ratio=None if WAYS[way].waits else _least_of_prediction(self.share),
                details={
                    "times as fast as in turn": self.of_turn(way),
                    **({"share reached": self.reached} if way == SEQUENTIAL else {}),
                    **_of_samples(run, self.samples_per_insert),
                    "cores used": run.cpu_s / run.seconds,
                },
            )
            for way, run in self.runs.items()
        ]


def _least_of_prediction(share: float) -> float:
    return 0.9 if share <= 0.15 else 0.85


def _beside_predictions(bench: _Bench, costs: Costs, share: float, ways: Sequence[str]) -> _Compared:
    """All ways at one share of training; each prediction is made before anything is measured."""
    ratio, ways = costs.samples_per_insert(share, bench.batch), list(dict.fromkeys([SEQUENTIAL, *ways]))
    predictions = {way: predicted(way, costs, ratio, bench.batch, bench.agents, cores()) for way in ways}
    runs = {way: bench.way(way, ratio) for way in ways}
    reached = 1.0 - costs.in_turn_s * runs[SEQUENTIAL].agent_steps / runs[SEQUENTIAL].seconds
    return _Compared(bench, share, reached, ratio, predictions, runs)


def _claims(found: Sequence[_Compared]) -> list[Figure]:
    """What is claimed of every asynchronous way: the worst of all."""
    told = [(each, way) for each in found for way in each.asynchronous]
    if not told:
        return []
    figures = []
    for share in dict.fromkeys(each.share for each, _ in told):
        least, where = min((each.of_prediction(way), _where(each, way)) for each, way in told if each.share == share)
        wanted = _least_of_prediction(share)
        figures.append(
            Figure(f"least of the prediction at {share:.0%} training: {where}", least, "x", wanted=wanted)
        )  # fmt: skip
    least, where = min((each.of_turn(way), _where(each, way)) for each, way in told)
    return [*figures, Figure(f"never slower than in turn; least: {where}", least, "x", wanted=1.0)]


def _where(each: _Compared, way: str) -> str:
    return f"{each.bench.agents} agents, {each.share:.0%} training, {WAYS[way].title}"
