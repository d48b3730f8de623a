"""What records say: returns with intervals, by mission and policy, and by mission and agent."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from scoundrel_ray.evaluation import intervals
from scoundrel_ray.missions.record import Record

SMALL = 30  # samples, below which an interval is Student's, or Wilson's of successes
RESAMPLES = 2000
BOOTSTRAP, STUDENT, WILSON, NONE = "bootstrap", "t", "Wilson", "none"


class Mean(NamedTuple):
    """A mean of samples.

    Attributes:
        n: samples.
        mean: of them, NaN without any.
        low, high: of its 95 % interval, NaN below two samples.
        method: of the interval.
        iqm: mean of the middle half of the samples (interquartile mean).
    """

    n: int
    mean: float
    low: float
    high: float
    method: str
    iqm: float


def mean_of(samples: Sequence[float], seed: int, successes: bool = True) -> Mean:
    """The mean with its interval: by bootstrap (percentiles), or for few samples Student's t or Wilson's.

    **Source:** of the interquartile mean as a summary of returns: Agarwal et al. 2021, "Deep reinforcement learning at
    the edge of the statistical precipice".

    Args:
        samples: independent ones.
        seed: of the bootstrap's draws.
        successes: whether zeros and ones are taken for failures and successes.
    """
    values = np.asarray(samples, np.float64)
    count, nan = len(values), float("nan")
    if count == 0:
        return Mean(0, nan, nan, nan, NONE, nan)
    centre, iqm = float(values.mean()), float(stats.trim_mean(values, 0.25))
    if (
        successes and count < SMALL and np.isin(values, (0.0, 1.0)).all() and values.any()
    ):  # zeros alone may be anything
        found = intervals.share(int(values.sum()), count)
        return Mean(count, centre, found.low, found.high, WILSON, iqm)
    if count == 1:
        return Mean(1, centre, nan, nan, NONE, iqm)
    if (values == values[0]).all():
        return Mean(count, centre, centre, centre, STUDENT if count < SMALL else BOOTSTRAP, iqm)
    if count < SMALL:
        low, high = stats.t.interval(0.95, count - 1, centre, stats.sem(values))
        return Mean(count, centre, float(low), float(high), STUDENT, iqm)
    drawn = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return Mean(count, centre, float(low), float(high), BOOTSTRAP, iqm)


class Row(NamedTuple):
    """What records say of a policy, or an agent, in a mission.

    Attributes:
        mission, who: names of the mission, and of the policy or agent.
        returns: in an episode: the mean over the agents that the policy acted for. Of a group of policies, the samples
            are the means of its members.
        length: mean own steps of an agent.
        cut: share of its episodes that the mission's steps ended.
        failed: episodes without a result, in which it was to act.
    """

    mission: str
    who: str
    returns: Mean
    length: float
    cut: float
    failed: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "mission": self.mission,
            "who": self.who,
            **self.returns._asdict(),
            "length": self.length,
            "cut": self.cut,
            "failed": self.failed,
        }


class _Gathered:
    """Of a policy or an agent in a mission."""

    def __init__(self) -> None:
        self.returns: dict[str, list[float]] = {}  # by member of a group
        self.lengths: list[float] = []
        self.cut = self.failed = 0


By = Callable[[str, str], str]
"""What agents are put together by: of an agent's name and its policy's."""


def by_policy(groups: Mapping[str, str]) -> By:
    """By policies; members of a group by its name.

    Args:
        groups: for names of policies that are members of a group, the group's name.
    """
    return lambda _agent, policy: groups.get(policy, policy)


def by_agent(agent: str, _policy: str) -> str:
    """By agents, whoever acts for them."""
    return agent


def by_role(roles: Mapping[str, str]) -> By:
    """By the roles of their policies.

    Args:
        roles: by policy; "" for none.
    """
    return lambda _agent, policy: roles[policy]


def rows(records: Iterable[Record], by: By, seed: int) -> list[Row]:
    """A row for each mission and policy, agent or role, in the order in which records first name them.

    Args:
        records: of episodes; they are read once.
        by: which agents are put together; those of "" are left out.
        seed: of the intervals.
    """
    found: dict[tuple[str, str], _Gathered] = {}
    for record in records:
        for who, agents in _gathered(record, by).items():
            own = found.setdefault((record["mission"], who), _Gathered())
            if record["failure"] is not None:
                own.failed += 1
                continue
            own.returns.setdefault(record["member"], []).append(float(np.mean([each["return"] for each in agents])))
            own.lengths += [each["length"] for each in agents]
            own.cut += any(each["end"] == "cut" for each in agents)
    return [_row(mission, who, own, seed) for (mission, who), own in found.items()]


def _row(mission: str, who: str, own: _Gathered, seed: int) -> Row:
    by_member = [*own.returns.values()]
    samples = by_member[0] if len(by_member) == 1 else [float(np.mean(each)) for each in by_member]
    episodes = sum(map(len, by_member))
    length = float(np.mean(own.lengths)) if own.lengths else float("nan")
    cut = own.cut / episodes if episodes else float("nan")
    return Row(mission, who, mean_of(samples, seed), length, cut, own.failed)


def _gathered(record: Record, by: By) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for name, agent in record["agents"].items():
        who = by(name, agent["policy"])
        if who:
            found.setdefault(who, []).append(agent)
    return found


class Difference(NamedTuple):
    """Of two evaluations in the same episodes of a mission.

    Attributes:
        mission: its name.
        first, second: mean returns.
        difference: of the first over the second, episode by episode.
    """

    mission: str
    first: float
    second: float
    difference: Mean

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**self._asdict(), "difference": self.difference._asdict()}


def differences(first: Iterable[Record], second: Iterable[Record], by: tuple[By, By], seed: int) -> list[Difference]:
    """How much more agents got in the first evaluation, in the episodes that both have a result of.

    Args:
        first, second: records.
        by: of each evaluation, which agents count: those of ""  do not.
        seed: of the intervals.
    """
    means = [_means(records, own) for records, own in zip((first, second), by, strict=True)]
    shared: dict[str, list[tuple[float, float]]] = {}
    for key, own in means[0].items():
        if key in means[1]:
            shared.setdefault(key[0], []).append((own, means[1][key]))
    found = []
    for mission, pairs in shared.items():
        ours, theirs = np.array(pairs).T
        drawn = mean_of((ours - theirs).tolist(), seed, successes=False)
        found.append(Difference(mission, float(ours.mean()), float(theirs.mean()), drawn))
    return found


def _means(records: Iterable[Record], by: By) -> dict[tuple[str, int], float]:
    """Mean return by mission and episode, over members of a group, too."""
    found: dict[tuple[str, int], list[float]] = {}
    for record in records:
        own = [agent["return"] for agents in _gathered(record, by).values() for agent in agents]
        if own and record["failure"] is None:
            found.setdefault((record["mission"], record["episode"]), []).append(float(np.mean(own)))
    return {key: float(np.mean(each)) for key, each in found.items()}


_COLUMNS: tuple[str, ...] = (
    "mission", "member", "episode", "seed", "agent", "policy", "return", "length", "end", "steps", "hash", "failure"
)  # fmt: skip


def as_csv(records: Iterable[Record]) -> bytes:
    """A line for each agent of each episode, under a line of names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record in records:
        shared = {name: record[name] for name in ("mission", "member", "episode", "seed", "steps", "hash")}
        failure = record["failure"]["message"] if record["failure"] else ""
        for name, agent in record["agents"].items():
            writer.writerow({**shared, **agent, "agent": name, "failure": failure})
    return text.getvalue().encode()
