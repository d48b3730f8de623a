"""What records say: means, intervals by the formulas, groups, and a table of all agents."""

import csv
import io
import math

import numpy as np
import pytest
from scipy import stats

from scoundrel_ray.missions.summary import (
    RESAMPLES,
    as_csv,
    by_agent,
    by_policy,
    by_role,
    differences,
    mean_of,
    rows,
)


def record(mission="m", member="", episode=0, failure=None, **agents):
    """A record; agents are (policy, return, end)."""
    told = {
        name: {"policy": policy, "return": None if failure else own, "length": 4, "end": None if failure else end}
        for name, (policy, own, end) in agents.items()
    }
    return {
        "mission": mission, "member": member, "episode": episode, "seed": 42 + episode, "steps": 9, "hash": "0f",
        "failure": failure, "agents": told,
    }  # fmt: skip


def test_few_samples_have_students_interval():
    values = [1.0, 2.0, 4.0, 8.0]
    found = mean_of(values, 0)
    half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    assert (found.n, found.mean, found.method) == (4, 3.75, "t")
    assert (found.low, found.high) == pytest.approx((3.75 - half, 3.75 + half))
    assert found.iqm == 3.0  # of 2 and 4
    assert mean_of([5.0, 5.0], 0)[2:5] == (5.0, 5.0, "t")


def test_few_successes_have_wilsons_interval():
    found = mean_of([1.0] * 7 + [0.0] * 3, 0)
    wilson = stats.binomtest(7, 10).proportion_ci(method="wilson")
    assert found.method == "Wilson" and (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=1e-6)
    assert mean_of([0.0] * 5, 0).method == "t", "zeros alone may be anything"


def test_many_samples_have_a_seeded_bootstrap():
    values = np.random.default_rng(1).exponential(3.0, 400)
    found = mean_of(values, 5)
    assert found == mean_of(values, 5) and found != mean_of(values, 6) and found.method == "bootstrap"
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)
    slow = np.random.default_rng(5).integers(400, size=(RESAMPLES, 400))
    means = sorted(float(np.mean([values[at] for at in row])) for row in slow[:RESAMPLES])
    assert found.low == pytest.approx(np.percentile(means, 2.5)) and found.high == pytest.approx(
        np.percentile(means, 97.5)
    )


def test_one_sample_or_none_has_no_interval():
    one, none = mean_of([3.0], 0), mean_of([], 0)
    assert (one.mean, one.method) == (3.0, "none") and math.isnan(one.low)
    assert none.n == 0 and math.isnan(none.mean)


RECORDS = [
    record(episode=0, x=("a", 1.0, "terminated"), y=("b", 10.0, "cut"), z=("b", 20.0, "terminated")),
    record(episode=1, x=("b", 5.0, "terminated"), y=("a", 3.0, "terminated"), z=("b", 7.0, "truncated")),
    record(episode=2, failure={"message": "it, died"}, x=("a", 0.0, ""), y=("b", 0.0, ""), z=("b", 0.0, "")),
    record("n", x=("a", 2.0, "terminated")),
]


def test_a_policys_return_is_the_mean_of_those_that_it_acts_for():
    found = rows(RECORDS, by_policy({}), 0)
    assert [(row.mission, row.who) for row in found] == [("m", "a"), ("m", "b"), ("n", "a")]
    assert [row.returns.mean for row in found] == [2.0, (15.0 + 6.0) / 2, 2.0]
    assert [row.returns.n for row in found] == [2, 2, 1] and [row.failed for row in found] == [1, 1, 0]
    assert [row.cut for row in found] == [0.0, 0.5, 0.0] and found[0].length == 4.0


def test_an_agents_return_is_its_own_whoever_acts_for_it():
    found = rows(RECORDS, by_agent, 0)
    assert [(row.mission, row.who, row.returns.mean) for row in found] == [
        ("m", "x", 3.0), ("m", "y", 6.5), ("m", "z", 13.5), ("n", "x", 2.0)
    ]  # fmt: skip


def test_of_a_group_the_samples_are_its_members_means():
    own = [
        record(member=member, episode=episode, x=(member, base + episode, "terminated"), y=("b", 1.0, "terminated"))
        for member, base in (("p", 0.0), ("q", 10.0), ("r", 20.0))
        for episode in range(3)
    ]
    group, other = rows(own, by_policy({"p": "g", "q": "g", "r": "g"}), 0)
    assert group.who == "g" and group.returns.n == 3 and group.returns.mean == 11.0
    low, high = stats.t.interval(0.95, 2, 11.0, 10 / math.sqrt(3))
    assert (group.returns.low, group.returns.high) == pytest.approx((low, high))
    assert other.who == "b" and other.returns.mean == 1.0


def test_a_line_for_each_agent():
    found = list(csv.DictReader(io.StringIO(as_csv(RECORDS).decode())))
    assert len(found) == 10 and found[1] == {
        "mission": "m", "member": "", "episode": "0", "seed": "42", "agent": "y", "policy": "b", "return": "10.0",
        "length": "4", "end": "cut", "steps": "9", "hash": "0f", "failure": "",
    }  # fmt: skip
    assert found[6]["failure"] == "it, died" and found[6]["return"] == ""


def test_roles_are_told_apart_and_who_has_none_is_left_out():
    found = rows(RECORDS, by_role({"a": "focal", "b": ""}), 0)
    assert [(row.mission, row.who, row.returns.mean) for row in found] == [("m", "focal", 2.0), ("n", "focal", 2.0)]


def test_two_evaluations_are_compared_episode_by_episode():
    other = [
        record(episode=1, x=("c", 1.0, "cut"), y=("c", 2.0, "cut")),
        record(episode=0, x=("c", 0.5, "cut")),
        record(episode=7, x=("c", 100.0, "cut")),
        record("k", x=("c", 100.0, "cut")),
    ]
    (found,) = differences(RECORDS, other, (by_role({"a": "focal", "b": ""}), by_agent), 0)
    assert (found.mission, found.first, found.second) == ("m", 2.0, 1.0)
    assert found.difference == mean_of([1.0 - 0.5, 3.0 - 1.5], 0), "of episodes that both have"
    (equal,) = differences(other[:2], other[:2], (by_agent, by_agent), 0)
    assert equal.difference[:4] == (2, 0.0, 0.0, 0.0)
