"""How a driver is asked: in one call, row by row, or on several threads. What it answers is the same in every way.

In a step all wrappers are handed what they are asked (`submit`) before anybody's answers are waited for (`collect`), so
that those who work elsewhere work at the same time, and beside those who work here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from scoundrel_ray.missions.policy import Asked, Body, Driver, PolicyFailed

AUTO, SEQUENCE, BATCH, THREAD, PROCESS = "auto", "sequence", "batch", "thread", "process"
BACKENDS = (AUTO, SEQUENCE, BATCH, THREAD, PROCESS)
GAIN_WANTED = 1.3  # times as fast: policies in plain Python come to 0.8 to 1.1 on two cores
_TRIED = 5  # steps of each way
_WORTH_S = 3e-4  # of all rows: what takes less is not worth the hand-over to threads


class Wrapper(Protocol):
    """Asks a driver."""

    @property
    def elsewhere(self) -> bool:
        """Whether it works between `submit` and `collect`, and not in `collect` alone."""
        ...

    def begin(self, bodies: Mapping[tuple[int, int], Body]) -> None:
        """See `Driver.begin`."""
        ...

    def submit(self, asked: Asked) -> None:
        """Take what is asked in a step; its streams are advanced by the time of `collect`."""
        ...

    def collect(self) -> np.ndarray:
        """Actions: [k] int16, waiting for them.

        Raises:
            PolicyFailed: see `Driver.act`.
        """
        ...

    def close(self) -> None:
        """End threads."""
        ...


class InBatch:
    """All rows in one call.

    Args:
        driver: that is asked.
    """

    elsewhere = False

    def __init__(self, driver: Driver) -> None:
        self.begin = driver.begin
        self._driver = driver
        self._asked: Asked | None = None

    def submit(self, asked: Asked) -> None:
        """See `Wrapper.submit`."""
        self._asked = asked

    def collect(self) -> np.ndarray:
        """See `Wrapper.collect`."""
        assert self._asked is not None
        return answered(self._driver, self._asked)

    def close(self) -> None:
        """Nothing is held."""


class InSequence(InBatch):
    """A call for each row."""

    def collect(self) -> np.ndarray:
        """See `Wrapper.collect`."""
        asked = self._asked
        assert asked is not None
        rows = np.array_split(np.arange(len(asked.agents)), len(asked.agents))
        return joined(asked, [(row, _answer(self._driver, asked, row)) for row in rows])


class OnThreads:
    """Rows shared out to threads: for drivers that release Python's lock while they work.

    Args:
        driver: that is asked; calls for different rows may overlap.
        threads: how many.
    """

    elsewhere = True

    def __init__(self, driver: Driver, threads: int) -> None:
        self.begin = driver.begin
        self._driver, self._threads = driver, threads
        self._pool = ThreadPoolExecutor(threads, "policies")
        self._asked: Asked | None = None
        self._parts: list[tuple[np.ndarray, Future[_Answer]]] = []

    def submit(self, asked: Asked) -> None:
        """See `Wrapper.submit`."""
        self._asked = asked
        self._parts = [
            (rows, self._pool.submit(_answer, self._driver, asked, rows))
            for rows in np.array_split(np.arange(len(asked.agents)), self._threads)
            if len(rows)
        ]

    def collect(self) -> np.ndarray:
        """See `Wrapper.collect`."""
        assert self._asked is not None
        return joined(self._asked, [(rows, answer.result()) for rows, answer in self._parts])

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


_Answer = tuple[np.ndarray | None, np.ndarray, PolicyFailed | None]
"""Actions of a part (None if it failed as a whole), its streams afterwards, and why it failed."""


def answered(driver: Driver, asked: Asked) -> np.ndarray:
    """A driver's actions: [k] int16.

    Raises:
        PolicyFailed: see `Driver.act`; where it names rows, it has the actions of all others.
    """
    before = asked.streams.copy()
    try:
        return driver.act(asked)
    except PolicyFailed as error:
        if not error.rows or error.actions is not None:
            raise
        failed = dict(error.rows)
    left = np.array([row for row in range(len(asked.agents)) if row not in failed], np.int64)
    actions, streams = np.zeros(len(asked.agents), np.int16), before[left]
    if len(left):
        try:
            actions[left] = answered(driver, Asked(asked.copies, asked.agents[left], asked.places[left], streams))
        except PolicyFailed as error:
            if not error.rows:
                raise
            failed |= {int(left[row]): message for row, message in error.rows.items()}
            assert error.actions is not None
            actions[left] = error.actions
    asked.streams[left] = streams
    raise PolicyFailed("failed", failed, actions)


def _answer(driver: Driver, asked: Asked, rows: np.ndarray) -> _Answer:
    streams = asked.streams[rows].copy()
    try:
        actions = answered(driver, Asked(asked.copies, asked.agents[rows], asked.places[rows], streams))
        return actions, streams, None
    except PolicyFailed as error:
        return error.actions, streams, error


def joined(asked: Asked, parts: Sequence[tuple[np.ndarray, _Answer]]) -> np.ndarray:
    """Actions of all rows, of answers for some each; their streams are written back.

    Raises:
        PolicyFailed: of all that failed.
    """
    actions = np.zeros(len(asked.agents), np.int16)
    failed: dict[int, str] = {}
    for rows, (own, streams, error) in parts:
        asked.streams[rows] = streams
        if error is not None:
            if not error.rows:
                raise error
            failed |= {int(rows[row]): message for row, message in error.rows.items()}
        assert own is not None
        actions[rows] = own
    if failed:
        raise PolicyFailed("failed", failed, actions)
    return actions


class Faster:
    """All rows in one call, or on threads: whichever is found to be faster in the first steps.

    Args:
        driver: that is asked; calls for different rows may overlap.
        threads: how many.
        clock: seconds.
    """

    def __init__(self, driver: Driver, threads: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.begin = driver.begin
        self._driver, self._threads, self._clock = driver, threads, clock
        self._ways: list[Wrapper] = [InBatch(driver), OnThreads(driver, threads)]
        self._least = [float("inf"), float("inf")]  # seconds of a row
        self._turn, self._rows, self._since = 0, 0, 0.0

    @property
    def elsewhere(self) -> bool:
        """See `Wrapper.elsewhere`."""
        return len(self._ways) == 1 and self._ways[0].elsewhere

    @property
    def chosen(self) -> str:
        """BATCH or THREAD; "" until that is known."""
        return "" if len(self._ways) > 1 else THREAD if self._ways[0].elsewhere else BATCH

    def submit(self, asked: Asked) -> None:
        """See `Wrapper.submit`."""
        self._rows, self._since = len(asked.agents), self._clock()
        self._way.submit(asked)

    def collect(self) -> np.ndarray:
        """See `Wrapper.collect`."""
        actions = self._way.collect()
        if len(self._ways) > 1 and self._rows >= self._threads:
            number, taken = self._turn % 2, self._clock() - self._since
            self._turn += 1
            self._least[number] = min(self._least[number], taken / self._rows)
            if self._turn == 2 * _TRIED or (number == 0 and taken < _WORTH_S):
                slower = 0 if self._least[0] >= GAIN_WANTED * self._least[1] else 1
                self._ways.pop(slower).close()
        return actions

    @property
    def _way(self) -> Wrapper:
        return self._ways[self._turn % 2 if len(self._ways) > 1 else 0]

    def close(self) -> None:
        """End the threads."""
        for way in self._ways:
            way.close()


def wrapped(driver: Driver, backend: str, threads: int) -> Wrapper:
    """A driver, asked in one of the ways; one that cannot be asked so is asked in batches.

    Args:
        driver: to be asked.
        backend: SEQUENCE, BATCH, THREAD, or AUTO for the fastest of the latter two.
        threads: of a driver.
    """
    if backend == SEQUENCE:
        return InSequence(driver)
    if backend == THREAD and driver.splits:
        return OnThreads(driver, max(threads, 2))
    if backend == AUTO and driver.splits and threads > 1:
        return Faster(driver, threads)
    return InBatch(driver)
