"""The server: it answers requests of many clients in shared batches. Its device threads alone run the models.

A plain object without Ray: inference/actor.py puts it on a cluster.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

import numpy as np

from inference.batcher import Batcher, Request
from scoundrel_ray.evaluator import Evaluation, EvaluatorGone
from scoundrel_ray.runs.settings import InferenceConfig

Reply = Callable[[Evaluation | Exception], None]

_VERSIONS_KEPT = 8  # of an agent, in the counts of leaves by version


class Evaluates(Protocol):
    """What the server needs of a model; `inference.model.Model` is the real one."""

    @property
    def version(self) -> int: ...

    @property
    def choice(self) -> str: ...

    @property
    def batch_s(self) -> float: ...

    def load(self, arrays: Mapping[str, np.ndarray], version: int) -> None: ...

    def evaluate(self, observations: np.ndarray) -> Evaluation: ...

    def padded_size(self, count: int) -> int: ...


def static_sizes(config: InferenceConfig) -> tuple[int, ...]:
    """Sizes that models pad batches to and cut larger batches by: the config's sizes within `max_batch`.

    If the config has larger sizes, `max_batch` itself takes their place, so that a full batch is padded no further.
    """
    within = tuple(size for size in config.batch_sizes if size <= config.max_batch)
    if within == config.batch_sizes or config.max_batch in within:
        return within
    return (*within, config.max_batch)


class _Asked(NamedTuple):
    observations: np.ndarray
    reply: Reply


class _Weights(NamedTuple):
    agent: str
    version: int
    arrays: Mapping[str, np.ndarray]
    loaded: Future[None]


class InferenceServer:
    """Evaluates for several agents, each with a model whose weights are exchanged between batches.

    An agent's requests wait until its first weights are set: a server that came back after a death must not answer
    with untrained ones.

    Args:
        models: by agent, each with the sizes of `static_sizes`.
        config: when batches start and how long a request may take.
        clock: seconds, never going back.

    Attributes:
        deadline_s: how long a request may take.
    """

    def __init__(
        self,
        models: Mapping[str, Evaluates],
        config: InferenceConfig,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = dict(models)
        self.deadline_s = config.request_deadline_s
        self._clock = clock
        self._batcher = Batcher(
            max_batch=config.max_batch,
            deadline_s=config.deadline_ms / 1000,
            share=config.share,
            batch_s={agent: model.batch_s for agent, model in self._models.items()},
        )
        self._largest = static_sizes(config)[-1]
        self._held = set(self._models)
        self._fresh: deque[_Weights] = deque()
        self._gone: EvaluatorGone | None = None
        self._changed = threading.Condition()
        self._counters: dict[str, int] = dict.fromkeys(("requests", "errors", "leaves", "batches", "padded_leaves"), 0)
        self._seconds = {"queue_wait_s": 0.0, "busy_s": 0.0}
        self._histogram: dict[int, int] = {}
        self._by_version: dict[str, dict[int, int]] = {agent: {} for agent in self._models}
        self._incarnation = secrets.token_hex(8)
        self._start = clock()
        # Each takes batches of its own. Threads of torch's wait for each other at every layer: two are 1.8 times as
        # fast as one with a large network (these 2.0 times), slower than one with a small network (these 1.9 times).
        self._threads = [
            threading.Thread(target=self._serve, name=f"inference-device-{number}", daemon=True)
            for number in range(config.threads)
        ]
        for thread in self._threads:
            thread.start()

    def has_weights(self, agent: str) -> bool:
        """Whether an agent's requests are answered already."""
        return agent not in self._held

    def submit(self, client: str, agent: str, observations: np.ndarray, reply: Reply) -> Request:
        """The request, now waiting; `reply` is called once with its answer, from a device thread.

        The array must stay as it is until then.

        Raises:
            ValueError: for an agent that is not served.
            QueueFull: if too many requests wait.
            EvaluatorGone: if the server has ended.
        """
        self._check_served(agent)
        with self._changed:
            self._check_alive()
            asked = _Asked(observations, reply)
            request = self._batcher.put(client, agent, len(observations), asked, self._clock())
            self._changed.notify()
            return request

    def withdraw(self, request: Request) -> bool:
        """Remove a request; returns whether it was still waiting. If so, its `reply` is never called."""
        with self._changed:
            return self._batcher.withdraw(request)

    def set_weights(self, agent: str, version: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Returns once the agent's next batch has these weights, whatever their version.

        Raises:
            ValueError: for an agent that is not served, and for arrays that do not fit; the old ones stay.
            EvaluatorGone: if the server has ended, or did not come to it within the deadline of the config.
        """
        self._check_served(agent)
        fresh = _Weights(agent, version, arrays, Future())
        with self._changed:
            self._check_alive()
            self._fresh.append(fresh)
            self._changed.notify()
        try:
            fresh.loaded.result(self.deadline_s)
        except TimeoutError:
            raise EvaluatorGone(
                f"inference: version {version} of agent {agent} was not loaded within {self.deadline_s:g} s"
            ) from None

    def metrics(self) -> dict[str, Any]:
        """Counters since the start, as plain data.

        Returns:
            incarnation: a token of this server, so that a reader notices a restart.
            requests, errors: answered requests, and failed ones.
            leaves, batches, padded_leaves: of the answered requests: leaves, batches (a request that was cut made
                several), and rows evaluated, padding included.
            queue_wait_s: seconds from arrival to batch, summed over requests.
            busy_s, alive_s: seconds of evaluation, the mean of the device threads; since the start.
            waiting: requests now in the queue.
            batch_histogram: batches by the power of two at or above their leaves.
            version: of each agent that has weights.
            leaves_by_version: for each agent, leaves by the version that answered them; the last eight versions.
            precision: for each agent, its precision and why.
        """
        with self._changed:
            return {
                "incarnation": self._incarnation,
                **self._counters,
                "queue_wait_s": self._seconds["queue_wait_s"],
                "busy_s": self._seconds["busy_s"] / len(self._threads),
                "alive_s": self._clock() - self._start,
                "waiting": len(self._batcher),
                "batch_histogram": {str(size): self._histogram[size] for size in sorted(self._histogram)},
                "version": {a: m.version for a, m in self._models.items() if a not in self._held},
                "leaves_by_version": {agent: dict(leaves) for agent, leaves in self._by_version.items()},
                "precision": {agent: model.choice for agent, model in self._models.items()},
            }

    def close(self) -> None:
        """End the device threads after the batches under way; what still waits fails with EvaluatorGone."""
        with self._changed:
            if self._gone is None:
                self._gone = EvaluatorGone("inference: the server was closed")
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _check_served(self, agent: str) -> None:
        if agent not in self._models:
            raise ValueError(f"inference: agent {agent!r} is not served, only {', '.join(self._models)}")

    def _check_alive(self) -> None:
        if self._gone is not None:
            raise EvaluatorGone(str(self._gone))

    # -- the device threads ---------------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            while (work := self._next()) is not None:
                if isinstance(work, _Weights):
                    self._load(work)
                else:
                    self._answer(work)
        except BaseException as error:
            with self._changed:
                self._gone = EvaluatorGone(f"inference: a device thread ended: {error!r}")
                self._changed.notify_all()
            raise
        finally:
            self._fail_waiting()

    def _next(self) -> list[Request] | _Weights | None:
        """A batch or new weights, waiting for either; None to end."""
        with self._changed:
            while self._gone is None:
                if self._fresh:
                    return self._fresh.popleft()
                now = self._clock()
                requests, ask_again = self._batcher.take(now, held=self._held)
                if requests:
                    self._seconds["queue_wait_s"] += sum(now - request.arrived for request in requests)
                    if len(self._batcher):
                        self._changed.notify()  # another thread that is free may have a batch in what is left
                    return requests
                self._changed.wait(None if ask_again is None else max(ask_again - now, 0.0))
            return None

    def _load(self, fresh: _Weights) -> None:
        try:
            self._models[fresh.agent].load(fresh.arrays, fresh.version)
        except Exception as error:
            fresh.loaded.set_exception(error)
            return
        with self._changed:
            self._held.discard(fresh.agent)
        fresh.loaded.set_result(None)

    def _answer(self, requests: Sequence[Request]) -> None:
        """Evaluate requests of one agent together, or each by itself if that fails, so that errors stay at home."""
        agent = requests[0].agent
        model = self._models[agent]
        leaves = sum(request.count for request in requests)
        start = self._clock()
        try:
            parts = [request.payload.observations for request in requests]
            evaluation = model.evaluate(parts[0] if len(parts) == 1 else np.concatenate(parts))
            padded = model.padded_size(leaves)
        except Exception as error:
            alone = len(requests) == 1
            with self._changed:
                self._done(requests if alone else (), start)
                self._counters["errors"] += int(alone)
            if alone:
                _reply(requests[0], error)
            else:
                for request in requests:
                    self._answer([request])
            return
        with self._changed:  # before the replies, so that whoever has an answer finds it counted
            self._done(requests, start)
            self._count(agent, evaluation.version, len(requests), leaves, padded)
        at = 0
        for request in requests:
            part = slice(at, at + request.count)
            at += request.count
            _reply(request, Evaluation(tuple(output[part] for output in evaluation.outputs), evaluation.version))

    def _done(self, requests: Sequence[Request], start: float) -> None:
        """Tell the batcher of requests that are about to be answered; the caller holds the lock.

        This comes before the replies: else a client that asks again at once would seem to have one request more under
        way than it ever has, and batches would wait for what cannot come.
        """
        now = self._clock()
        self._seconds["busy_s"] += now - start
        self._batcher.done(requests, now)

    def _count(self, agent: str, version: int, requests: int, leaves: int, padded: int) -> None:
        """Count answered requests, in batches as the model cuts them; the caller holds the lock."""
        full, rest = divmod(leaves, self._largest)
        batches = [self._largest] * full + [rest] * (rest > 0)
        new = {"requests": requests, "leaves": leaves, "batches": len(batches), "padded_leaves": padded}
        for name, count in new.items():
            self._counters[name] += count
        for size in batches:
            power = 1 << (size - 1).bit_length()
            self._histogram[power] = self._histogram.get(power, 0) + 1
        by_version = self._by_version[agent]
        by_version[version] = by_version.pop(version, 0) + leaves  # the last to answer is the last in the mapping
        if len(by_version) > _VERSIONS_KEPT:
            del by_version[next(iter(by_version))]

    def _fail_waiting(self) -> None:
        with self._changed:
            requests = self._batcher.clear()
            fresh, self._fresh = self._fresh, deque()
        gone = str(self._gone)
        for request in requests:
            _reply(request, EvaluatorGone(gone))
        for weights in fresh:
            weights.loaded.set_exception(EvaluatorGone(gone))


def _reply(request: Request, answer: Evaluation | Exception) -> None:
    try:
        request.payload.reply(answer)
    except Exception:  # one client's callback must not end the thread that serves all
        logging.getLogger(__name__).exception("reply to %s failed", request.client)
