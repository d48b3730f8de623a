"""The rate of a worker's self-play over a few seconds, whether or not a game ends in them."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from scoundrel_ray.evaluator import Evaluation, Evaluator
from scoundrel_ray.experience.selfplay import SelfPlay

_WARM_MESSAGES = 4
_LEAST_MESSAGES = 8
_PATIENCE = 4.0  # times the seconds asked for, if messages are slow


class TimeIsUp(Exception):
    """Ends a stretch of self-play from inside."""


class Passed(NamedTuple):
    """A message: when it was sent, its leaves, and the seconds that its thread had waited and computed by then."""

    at: float
    leaves: int
    waited: float
    computed: float


class Rate(NamedTuple):
    """What a worker did a second, what a leaf took of this thread's processor time, and the mean message."""

    leaves_per_s: float
    leaf_s: float
    message: float
    wait_share: float


@dataclass
class Meter:
    """What passes through a worker's evaluators; it raises `TimeIsUp` when that is enough.

    `SelfPlay.play` returns finished games alone, and with a large network the first is minutes away.

    Attributes:
        enough: of the messages so far, whether to stop.
        clock: seconds, never going back.
        passed: messages so far.
        waited_s: seconds that the worker waited for answers so far.
    """

    enough: Callable[[list[Passed]], bool]
    clock: Callable[[], float] = time.perf_counter
    passed: list[Passed] = field(default_factory=list)
    waited_s: float = 0.0


@dataclass
class Metered:
    """An evaluator that notes what passes through another.

    Attributes:
        evaluator: that answers.
        meter: where it is noted; that of all evaluators of a worker.
    """

    evaluator: Evaluator
    meter: Meter

    def submit(self, observations: np.ndarray) -> Any:
        """Ticket of the other evaluator."""
        meter = self.meter
        meter.passed.append(Passed(meter.clock(), len(observations), meter.waited_s, time.thread_time()))
        if meter.enough(meter.passed):
            raise TimeIsUp
        return self.evaluator.submit(observations)

    def collect(self, ticket: Any) -> Evaluation:
        """Answer of the other evaluator."""
        before = self.meter.clock()
        evaluation = self.evaluator.collect(ticket)
        self.meter.waited_s += self.meter.clock() - before
        return evaluation


def metered(
    worker: Callable[[Mapping[str, Evaluator]], SelfPlay],
    evaluators: Mapping[str, Evaluator],
    seconds: float,
    warm_s: float,
    leaves: int = 0,
) -> list[Passed]:
    """Messages of a worker's self-play after a time to warm up.

    Args:
        worker: makes the worker around an evaluator for each agent.
        evaluators: that answer it, by agent.
        seconds: to measure, and up to four times as long for eight messages and `leaves`.
        warm_s: before that, two messages of each half-group at least.
        leaves: wanted.
    """
    warm, gathered = 0, 0  # messages before the measurement, leaves in it

    def enough(passed: list[Passed]) -> bool:
        nonlocal warm, gathered
        if not warm:
            if len(passed) > _WARM_MESSAGES and passed[-1].at >= passed[0].at + warm_s:
                warm = len(passed) - 1
            return False
        gathered += passed[-2].leaves
        taken = passed[-1].at - passed[warm].at
        plenty = len(passed) - 1 - warm >= _LEAST_MESSAGES and gathered >= leaves
        return taken >= seconds and (plenty or taken >= _PATIENCE * seconds)

    meter = Meter(enough)
    made = worker({agent: Metered(evaluator, meter) for agent, evaluator in evaluators.items()})
    try:
        while True:
            made.play(rows=1 << 30, seconds=3600.0)
    except TimeIsUp:
        return meter.passed[warm:]
    finally:
        made.close()


def rate(passed: list[Passed]) -> Rate:
    """Rate of consecutive messages; the leaves of each count for the time to the next."""
    first, last = passed[0], passed[-1]
    taken = last.at - first.at
    counts = [message.leaves for message in passed[:-1]]
    return Rate(
        sum(counts) / taken,
        (last.computed - first.computed) / sum(counts),
        statistics.fmean(counts),
        (last.waited - first.waited) / taken,
    )


def median_rate(passed: list[Passed], windows: int) -> Rate:
    """The medians of the rates in so many windows of equal numbers of messages."""
    edges = [(len(passed) - 1) * i // windows for i in range(windows + 1)]
    rates = [rate(passed[low : high + 1]) for low, high in itertools.pairwise(edges) if high > low]
    return Rate(*(statistics.median(column) for column in zip(*rates, strict=True)))
