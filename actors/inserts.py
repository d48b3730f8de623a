"""Rows on their way to a replay: none is counted twice, and none is forgotten when the replay dies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actors.calls import Calls, Failure


class Inserts:
    """Inserts that a replay has not confirmed yet.

    Args:
        agent: whose rows they are.
        name: of the replay.
        calls: of the run.
        counters: of a checkpoint to go on from; empty for a fresh run.
        confirmed: called with the replay's status after each insert.

    Attributes:
        given: rows that replays confirmed.
        lost: rows that died with the node that held them.
    """

    def __init__(
        self,
        agent: str,
        name: str,
        calls: Calls,
        counters: Mapping[str, Any],
        confirmed: Callable[[dict[str, Any]], None],
    ) -> None:
        self.given = int(counters.get("rows_given", 0))
        self.lost = int(counters.get("lost_rows", 0))
        self._agent, self._name, self._calls, self._confirmed = agent, name, calls, confirmed
        self._rows: dict[int, tuple[Any, int]] = {}
        self._sent: set[int] = set()
        self._count = 0
        self._replay: Any = None
        self._held = False

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> int:
        """Rows of the inserts."""
        return sum(count for _, count in self._rows.values())

    @property
    def sent(self) -> int:
        """Inserts that the replay was asked for and did not confirm yet."""
        return len(self._sent)

    def add(self, rows: Any, count: int) -> None:
        """Have the replay store rows, given by reference: now, or once there is one and rows are not held."""
        self._count += 1
        self._rows[self._count] = (rows, count)
        self._send()

    def hold(self, held: bool) -> None:
        """Whether rows that come are kept here for now."""
        self._held = held
        self._send()

    def attach(self, replay: Any) -> None:
        """Send all to this replay that an earlier one did not confirm; what that one stored died with it.

        Args:
            replay: handle of its actor; None while there is none.
        """
        self._replay = replay
        self._sent.clear()
        self._send()

    def _send(self) -> None:
        if self._replay is None or self._held:
            return
        for number, (rows, count) in list(self._rows.items()):
            if number not in self._sent:
                self._sent.add(number)
                self._ask(number, count, self._replay.insert.remote(self._agent, rows))

    def _ask(self, number: int, count: int, answer: Any) -> None:
        def done(status: dict[str, Any]) -> None:
            if number not in self._rows:  # an earlier replay's word, after all
                return
            self._forget(number)
            self.given += count
            self._confirmed(status)

        def failed(failure: Failure) -> None:
            if failure.lost and number in self._rows:
                self._forget(number)
                self.lost += count

        self._calls.ask(self._name, answer, done, failed)

    def _forget(self, number: int) -> None:
        del self._rows[number]
        self._sent.discard(number)
