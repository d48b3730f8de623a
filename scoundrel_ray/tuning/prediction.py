"""How many leaves a second a setting of self-play should give on a machine whose costs were measured.

A worker has two half-groups of games and a message of m leaves under way for each: m = games / 2 x worlds x leaves x
the share of trees that ask in a step. A batch joins k messages: those of as many workers as `max_batch` lets in (the
other halves are searched meanwhile), or one where each worker has a server of its own. With S the wall time of the
search of m leaves, E that of a batch, R that of a message's round trip, all without contention, a second gives no more
leaves than

    search        workers x m / (S + a message's cost at the client)
    inference     servers x k x m / E
    round trip    2 x workers x m / (S + R + E)
    cores         cores / (seconds of all cores that a leaf takes: search + inference + messages)

On a CPU inference takes as many cores as torch has threads; a GPU keeps the one that waits for it busy. Limits that
lie close together cost more than the tightest of them: the prediction is (sum of limits ** -8) ** (-1 / 8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from scoundrel_ray.experience.lockstep import HALVES
from scoundrel_ray.tuning.batch_sizes import best_size, efficient_sizes, padded_seconds

LOCAL = "local"
_SHARPNESS = 8


@dataclass(frozen=True)
class LinearCost:
    """A cost that grows with a message: `fixed` + `per_leaf` x leaves, in seconds."""

    fixed: float
    per_leaf: float

    def at(self, leaves: float) -> float:
        """Seconds of a message."""
        return self.fixed + self.per_leaf * leaves

    @classmethod
    def through(cls, small: tuple[int, float], large: tuple[int, float]) -> LinearCost:
        """The line through two measured (leaves, seconds); neither part is negative, however noisy they are."""
        slope = max((large[1] - small[1]) / (large[0] - small[0]), 0.0)
        return cls(max(small[1] - slope * small[0], 0.0), slope)


@dataclass(frozen=True)
class SearchCosts:
    """What a search costs a worker that has a core to itself.

    Attributes:
        leaf_s: processor seconds of a leaf on one thread, by games in lockstep.
        filled: share of the trees that ask in a step; the others met the end of a game.
        speedup: by threads, 1 among them.
        leaves_factor: cost of a leaf with so many leaves a tree and step, over that with as many as given.
    """

    leaf_s: Mapping[int, float]
    filled: float = 1.0
    speedup: Mapping[int, float] = field(default_factory=lambda: {1: 1.0})
    leaves_factor: Mapping[int, float] = field(default_factory=dict)

    def seconds(self, games: int, leaves: int) -> float:
        """Processor seconds of a leaf on one thread.

        Between two measured numbers of games they are interpolated over the logarithm of that number.
        """
        return _between(self.leaf_s, games) * self.leaves_factor.get(leaves, 1.0)


@dataclass(frozen=True)
class InferenceCosts:
    """What an evaluation by a network costs in one precision.

    Attributes:
        batch_s: wall seconds of a batch by size, with one thread of torch.
        speedup: by threads with a batch each, 1 among them.
    """

    batch_s: Mapping[int, float]
    speedup: Mapping[int, float] = field(default_factory=lambda: {1: 1.0})

    @property
    def max_batch(self) -> int:
        """The size beyond which a leaf gets hardly cheaper."""
        return best_size(self.batch_s)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Static sizes to pad to."""
        return efficient_sizes(self.batch_s, self.max_batch)

    @property
    def leaf_s(self) -> float:
        """Wall seconds of a leaf in a batch of `max_batch`."""
        return self.batch_s[self.max_batch] / self.max_batch


@dataclass(frozen=True)
class TransportCosts:
    """What a message costs, by the number of its leaves, without the evaluation itself.

    Attributes:
        round_trip: wall seconds from the request to its answer.
        client, server: processor seconds at either end.
    """

    round_trip: LinearCost
    client: LinearCost
    server: LinearCost


@dataclass(frozen=True)
class MachineCosts:
    """What was measured on a machine for a game, a search and a network.

    Attributes:
        cores: of the machine.
        trees: of a game: its worlds.
        on_cpu: whether inference takes the cores that search wants.
        search, inference, transports: costs; inference in the precision in question, transports by name.
    """

    cores: int
    trees: int
    on_cpu: bool
    search: SearchCosts
    inference: InferenceCosts
    transports: Mapping[str, TransportCosts]


@dataclass(frozen=True)
class Point:
    """A setting of self-play: rollout.workers, .threads and .games, search.leaves, inference.transport and .threads."""

    workers: int
    threads: int
    games: int
    leaves: int
    transport: str
    inference_threads: int

    def __str__(self) -> str:
        several = f" x {self.leaves} leaves a tree" if self.leaves > 1 else ""
        return (
            f"{self.workers} workers x {self.games} games{several}, {self.threads} search threads, {self.transport}, "
            f"{self.inference_threads} inference threads"
        )


@dataclass(frozen=True)
class Prediction:
    """What a point should do.

    Attributes:
        leaves_per_s: of all workers together.
        message, batch: mean leaves.
        limits: most leaves a second by search, inference, round trip and cores, each by itself.
        shares: of the processor time of a leaf: search, inference, messages.
        busy: shares of the time: workers searching, inference under way, cores at work.
    """

    leaves_per_s: float
    message: float
    batch: float
    limits: Mapping[str, float]
    shares: Mapping[str, float]
    busy: Mapping[str, float]

    @property
    def limit(self) -> str:
        """Name of the tightest limit."""
        return min(self.limits, key=lambda name: self.limits[name])


def predict(costs: MachineCosts, point: Point) -> Prediction:
    """What a setting should do by the formula above."""
    inference, transport = costs.inference, costs.transports[point.transport]
    own_server = point.transport == LOCAL
    message = max(point.games / HALVES * costs.trees * point.leaves * costs.search.filled, 1.0)
    joined = 1 if own_server else max(1, min(point.workers, int(inference.max_batch / message)))
    batch = joined * message
    batch_s = padded_seconds(inference.batch_s, inference.batch_sizes, math.ceil(batch))
    apart_s = batch_s / inference.speedup[point.inference_threads]  # from one batch to the next
    leaf_s = costs.search.seconds(point.games, point.leaves)
    search_s = message * leaf_s / costs.search.speedup[point.threads]
    client_s, server_s = transport.client.at(message), transport.server.at(message)
    processor_s = {
        "search": leaf_s,
        "inference": apart_s * (point.inference_threads if costs.on_cpu else 1) / batch,
        "messages": (client_s + server_s) / message,
    }
    limits = {
        "search": point.workers * message / (search_s + client_s),
        "inference": (point.workers if own_server else 1) * batch / apart_s,
        "round trip": HALVES * point.workers * message / (search_s + transport.round_trip.at(message) + batch_s),
        "cores": costs.cores / sum(processor_s.values()),
    }
    least = min(limits.values())
    rate = least * sum((least / limit) ** _SHARPNESS for limit in limits.values()) ** (-1 / _SHARPNESS)
    shares = {name: seconds / sum(processor_s.values()) for name, seconds in processor_s.items()}
    busy = {name: rate / limits[name] for name in ("search", "inference", "cores")}
    return Prediction(rate, message, batch, limits, shares, busy)


def verdict(costs: MachineCosts, prediction: Prediction) -> str:
    """The limiting side with its share of the time, and what would help: a sentence or two."""
    limit, shares, busy = prediction.limit, prediction.shares, prediction.busy
    largest = max(shares, key=lambda name: shares[name])
    split = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    if limit == "cores":
        advice = {
            "search": "more cores or nodes would help; a GPU or a smaller network would not",
            "inference": "a GPU or a smaller network would help; more workers would not"
            if costs.on_cpu
            else "fewer waits for the device would help: a larger batch, or a smaller network",
            "messages": "fewer and larger messages would help: more games or worlds in lockstep",
        }[largest]
        return f"The cores, which search and inference share, are the limit; their time goes to {split}: {advice}."
    if limit == "inference":
        return (
            f"Inference is the limit, busy {busy['inference']:.0%} of the time while search is {busy['search']:.0%}"
            + (
                ": a GPU or a smaller network would help; more workers would not."
                if costs.on_cpu
                else ": a smaller network or a second device would help; more workers or cores would not."
            )
        )
    if limit == "search":
        return (
            f"Search is the limit, busy {busy['search']:.0%} of the time while inference is {busy['inference']:.0%}: "
            "more cores or nodes would help; a faster device would not."
        )
    return (
        f"The round trip of messages is the limit (search busy {busy['search']:.0%}, inference "
        f"{busy['inference']:.0%}): more games or worlds in lockstep would help; a faster device would not."
    )


def _between(points: Mapping[int, float], x: int) -> float:
    """On the line through the two measured neighbours, over log2 of x; beyond the ends what was measured there."""
    known = sorted(points)
    if x <= known[0] or x >= known[-1]:
        return points[known[0] if x <= known[0] else known[-1]]
    above = next(k for k in known if k >= x)
    below = known[known.index(above) - 1]
    share = math.log2(x / below) / math.log2(above / below)
    return (1.0 - share) * points[below] + share * points[above]
