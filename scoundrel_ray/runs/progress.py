"""Progress of long work: a bar with the time left at a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_FIRST_S = 2.0  # after which whoever started long work hears that it goes on


class ProgressBar:
    """One piece of work, shown until its block ends.

    Args:
        what: name of the work.
        console: to show it on.
        every_s: seconds between plain lines where the console is no terminal; the first comes after two.
    """

    def __init__(self, what: str, console: Console, every_s: float = 15.0) -> None:
        self._what = what
        self._console = console
        self._every_s = every_s
        self._next = time.monotonic() + min(every_s, _FIRST_S)
        self._first: tuple[float, float] | None = None  # time and share of the first call of `show`
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True)
            self._task = self._bar.add_task(what, total=1.0, note="")

    def __enter__(self) -> ProgressBar:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, share: float, note: str = "") -> None:
        """Show how much is done, from 0 to 1, with a short note."""
        if self._bar:
            self._bar.update(self._task, completed=min(share, 1.0), note=note)
            return
        now = time.monotonic()
        since, before = self._first = self._first or (now, share)
        if now < self._next:
            return
        self._next = now + self._every_s
        left = f", about {(now - since) * (1 - share) / (share - before):.0f} s left" if share > before else ""
        self._console.print(f"{self._what}: {share:.0%}{left}{'; ' if note else ''}{note}")
