"""Which waiting requests make the next batch, and when: no thread, no clock, no device; the time is passed in.

A batch is worth waiting for only as long as others are about to join it. What may still come is known from what each
client sent lately: how many leaves a request has, and how many requests it has under way at once (two, if it searches
one half-group while the other is evaluated). When it comes is not known. So a request waits no longer than one more
batch would cost: such a wait loses at most as much as a start at once might have lost, as in the problem of whether to
rent or to buy (Karlin et al. 1988, "Competitive snoopy caching").
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

LIVE_S = 1.0
"""A client that neither sent nor was answered for so long is no longer waited for."""

_RECENT = 8  # requests of a client, of each agent that it asks, that its supply is judged by
_MOST_WAITING = 4096
_ROUNDING = 1e-9


class QueueFull(RuntimeError):
    """More requests wait than the queue holds; the message says how many."""


@dataclass(eq=False)
class Request:
    """Leaves of one client that stay together.

    Attributes:
        client, agent: who asks, and whose network is asked.
        count: of leaves.
        payload: whatever the caller needs to answer it.
        arrived: time, in seconds of the caller's clock.
        offered: when the device was first free for the request while it was the oldest of its agent; infinite until
            then. The wait for others counts from here, whatever the device does for other agents.
    """

    client: str
    agent: str
    count: int
    payload: Any
    arrived: float
    offered: float = math.inf


class Take(NamedTuple):
    """The batcher's answer: a batch, or when to look again.

    Attributes:
        requests: the next batch, of one agent; empty if none should start yet.
        ask_again: time of the next look without a new request; None if only an event can change the answer.
    """

    requests: list[Request]
    ask_again: float | None


@dataclass
class _Asked:
    """What a client asked for an agent: leaves of the newest requests, and the number of the last one."""

    counts: deque[int] = field(default_factory=lambda: deque(maxlen=_RECENT))
    last: int = 0


@dataclass
class _Client:
    seen: float
    waiting: int = 0
    on_device: int = 0
    requests: int = 0
    under_way: deque[int] = field(default_factory=lambda: deque(maxlen=_RECENT))
    asked: dict[str, _Asked] = field(default_factory=dict)

    def note(self, agent: str, count: int) -> None:
        """Count a request for an agent, which waits already."""
        self.requests += 1
        self.under_way.append(self.waiting + self.on_device)
        known = self.asked.setdefault(agent, _Asked())
        known.counts.append(count)
        known.last = self.requests

    def slots(self) -> int:
        """Requests that the client has under way while it waits for answers."""
        return max(self.under_way)

    def supply(self, agent: str) -> float:
        """Leaves that the client can have ready for an agent at a time; 0 if it asks for others alone by now.

        A client that asks for many agents in rotation comes back to each only after all others.
        """
        known = self.asked.get(agent)
        if known is None or self.requests - known.last >= _RECENT * len(self.asked):
            return 0.0
        return self.slots() * sum(known.counts) / len(known.counts)


class Batcher:
    """A bounded queue that gives batches of whole requests of one agent, oldest first.

    Args:
        max_batch: most leaves in a batch; a larger request goes alone, for the model to cut.
        deadline_s: longest that a request waits for others while the device is free.
        share: of what live clients can supply, enough to start.
        batch_s: by agent, what one more batch costs whatever its size: its requests wait no longer than that.
        most_waiting: requests held.
    """

    def __init__(
        self,
        *,
        max_batch: int,
        deadline_s: float,
        share: float,
        batch_s: Mapping[str, float] | None = None,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        self._max_batch = max_batch
        self._deadline_s = deadline_s
        self._share = share
        self._batch_s = dict(batch_s or {})
        self._most_waiting = most_waiting
        self._queues: dict[str, deque[Request]] = {}
        self._ready: dict[str, int] = {}
        self._clients: dict[str, _Client] = {}
        self._size = 0
        self._free_since = 0.0  # when a batch was last answered

    def __len__(self) -> int:
        """Requests that wait."""
        return self._size

    def put(self, client: str, agent: str, count: int, payload: Any, now: float) -> Request:
        """The request, now waiting.

        Raises:
            QueueFull: if it does not fit.
        """
        if self._size >= self._most_waiting:
            raise QueueFull(f"inference: {self._size} requests wait, and the queue holds no more")
        request = Request(client, agent, count, payload, now)
        self._queues.setdefault(agent, deque()).append(request)
        self._ready[agent] = self._ready.get(agent, 0) + count
        self._size += 1
        known = self._clients.setdefault(client, _Client(now))
        known.seen = now
        known.waiting += 1
        known.note(agent, count)
        return request

    def take(self, now: float, device_free: bool = True, held: Collection[str] = ()) -> Take:
        """The next batch, or when to look again.

        Args:
            now: not earlier than in any call before.
            device_free: whether the device is free; if not, no batch is given.
            held: agents that cannot be evaluated yet; their requests wait without a deadline.
        """
        self._forget(now)
        if not device_free:
            return Take([], None)
        candidates = [q for agent, q in self._queues.items() if q and agent not in held]
        candidates.sort(key=lambda q: q[0].arrived)
        for queue in candidates:
            if math.isinf(queue[0].offered):
                queue[0].offered = max(queue[0].arrived, self._free_since)
            if self._fires(queue[0], now):
                return Take(self._pop(queue), None)
        if not candidates:
            return Take([], None)
        # A client that falls silent makes the rest enough, before a long deadline does.
        silent = [c.seen + LIVE_S for c in self._clients.values() if not c.waiting and not c.on_device]
        return Take([], min([*(self._deadline(queue[0]) for queue in candidates), *silent]))

    def done(self, requests: Sequence[Request], now: float) -> None:
        """Note that a batch given by `take` was answered."""
        for request in requests:
            client = self._clients[request.client]
            client.on_device -= 1
            client.seen = now
        self._free_since = now

    def withdraw(self, request: Request) -> bool:
        """Remove a request; returns whether it was still waiting."""
        queue = self._queues.get(request.agent, ())
        if request not in queue:
            return False
        queue.remove(request)  # pyright: ignore[reportAttributeAccessIssue]
        self._left(request)
        return True

    def clear(self) -> list[Request]:
        """Remove all requests that wait; returns them, oldest first."""
        requests = sorted((r for queue in self._queues.values() for r in queue), key=lambda r: r.arrived)
        for request in requests:
            self.withdraw(request)
        return requests

    def _fires(self, oldest: Request, now: float) -> bool:
        ready = self._ready[oldest.agent]
        if ready >= self._max_batch or now >= self._deadline(oldest):
            return True
        clients = self._clients.values()
        if all(client.waiting >= client.slots() for client in clients):
            return True
        supply = sum(client.supply(oldest.agent) for client in clients)
        return ready >= self._share * supply - _ROUNDING

    def _deadline(self, oldest: Request) -> float:
        longest = min(self._deadline_s, self._batch_s.get(oldest.agent, self._deadline_s))
        return oldest.offered + longest

    def _pop(self, queue: deque[Request]) -> list[Request]:
        """Whole requests from the front, as many as a batch holds and at least one."""
        requests: list[Request] = []
        leaves = 0
        # It stops at the first that does not fit: a smaller one from behind would overtake it.
        while queue and (not requests or leaves + queue[0].count <= self._max_batch):
            request = queue.popleft()
            leaves += request.count
            self._left(request)
            self._clients[request.client].on_device += 1
            requests.append(request)
        return requests

    def _left(self, request: Request) -> None:
        self._size -= 1
        self._ready[request.agent] -= request.count
        self._clients[request.client].waiting -= 1

    def _forget(self, now: float) -> None:
        """Drop clients that are gone; a client with a request here is not gone."""
        gone = [
            name
            for name, client in self._clients.items()
            if not client.waiting and not client.on_device and now >= client.seen + LIVE_S
        ]
        for name in gone:
            del self._clients[name]
