"""How fast a worker plays and searches, measured on made-up and on real workers."""

import itertools

import numpy as np
import pytest

from scoundrel_ray.evaluator import Constant
from scoundrel_ray.tuning.metered import Passed, median_rate, metered, rate
from scoundrel_ray.tuning.search_costs import leaves_factors, search_costs
from scoundrel_ray.tuning.setting import Setting
from tests.conftest import small_settings


class Worker:
    """Sends messages of ten leaves, to each agent's evaluator in turn; what is called counts."""

    def __init__(self, evaluators, clock):
        self.evaluators, self.clock, self.closed = itertools.cycle(evaluators.values()), clock, 0

    def play(self, rows, seconds):
        while True:
            self.clock[0] += 1.0
            evaluator = next(self.evaluators)
            evaluator.collect(evaluator.submit(np.zeros((10, 3), np.int8)))

    def close(self):
        self.closed += 1


@pytest.mark.parametrize(
    ("seconds", "leaves", "messages"),
    [(20.0, 0, 20), (2.0, 0, 8), (5.0, 190, 19), (5.0, 10_000, 20)],
    ids=["seconds", "messages", "leaves", "patience"],
)
@pytest.mark.parametrize("agents", [("agent",), ("wide", "narrow")])
def test_a_measurement_ends_with_enough_seconds_messages_and_leaves(seconds, leaves, messages, agents):
    """Messages to all agents count together."""
    clock, made = [0.0], []

    def worker(evaluators):
        assert [*evaluators] == [*agents]
        for each in evaluators.values():
            each.meter.clock = lambda: clock[0]
        made.append(Worker(evaluators, clock))
        return made[-1]

    passed = metered(worker, {name: Constant(2, 1) for name in agents}, seconds, 10.0, leaves)
    assert len(passed) - 1 == messages
    assert passed[0].at >= 10.0  # warmed up
    assert rate(passed).leaves_per_s == pytest.approx(10.0)
    assert made[0].closed == 1


def test_rates_count_each_message_until_the_next():
    passed = [Passed(0.0, 10, 0.0, 0.0), Passed(1.0, 30, 0.5, 0.2), Passed(4.0, 99, 2.0, 0.8)]
    found = rate(passed)
    assert found.leaves_per_s == 10.0 and found.message == 20.0
    assert found.wait_share == 0.5 and found.leaf_s == pytest.approx(0.02)


def test_one_busy_moment_does_not_count():
    at = np.cumsum([0.0, *[1.0] * 20, *[50.0] * 10, *[1.0] * 20])
    assert median_rate([Passed(float(t), 7, 0.0, 0.0) for t in at], 5).leaves_per_s == pytest.approx(7.0)


def test_a_real_search_is_measured():
    setting = Setting.of(small_settings())
    told = []
    found = search_costs(setting, 0.05, [8, 32], [2], told.append)
    assert set(found.leaf_s) == {8, 32} and set(found.speedup) == {1, 2}
    assert all(seconds > 0 for seconds in found.leaf_s.values()) and 0 < found.filled <= 1
    assert told == ["search, 8 games", "search, 32 games", "search, 2 threads"]
    factors = leaves_factors(setting, 0.05, 32, [2, 4])
    assert set(factors) == {2, 4} and all(factor > 0 for factor in factors.values())
