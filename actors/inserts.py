"""Rows on their way to a replay: none is counted twice, and none is forgotten when the replay dies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actors.calls import Calls, Failure


class Inserts:
    """Inserts that a replay has not confirmed yet.

    Args:
        name: of the replay.
        calls: of the run.
        counters: of a checkpoint to go on from; empty for a fresh run.

    Attributes:
        given: rows that replays confirmed.
        lost: rows that died with the node that held them.
    """

    def __init__(self, name: str, calls: Calls, counters: Mapping[str, Any]) -> None:
        self.given = int(counters.get("rows_given", 0))
        self.lost = int(counters.get("lost_rows", 0))
        self._name, self._calls = name, calls
        self._rows: dict[int, tuple[Any, int]] = {}
        self._sent: set[int] = set()
        self._count = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Any, count: int) -> None:
        """Note rows, by reference, to be sent."""
        self._count += 1
        self._rows[self._count] = (rows, count)

    def send(self, replay: Any, confirmed: Callable[[dict[str, Any]], None], again: bool = False) -> None:
        """Send what was not sent yet.

        Args:
            replay: handle of its actor.
            confirmed: called with the replay's status after each insert.
            again: also send what a replay did not confirm before it died; what it stored died with it.
        """
        if again:
            self._sent.clear()
        for number, (rows, count) in list(self._rows.items()):
            if number not in self._sent:
                self._sent.add(number)
                self._send(number, count, replay.insert.remote(rows), confirmed)

    def _send(self, number: int, count: int, answer: Any, confirmed: Callable[[dict[str, Any]], None]) -> None:
        def done(status: dict[str, Any]) -> None:
            self._forget(number)
            self.given += count
            confirmed(status)

        def failed(failure: Failure) -> None:
            if failure.lost:
                self._forget(number)
                self.lost += count

        self._calls.ask(self._name, answer, done, failed)

    def _forget(self, number: int) -> None:
        del self._rows[number]
        self._sent.discard(number)
