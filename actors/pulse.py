"""Whether the actors of a run are there: one that is alive and silent is killed, and then replaced like a dead one."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from actors.calls import Calls

ASK_EVERY_S = 2.0
START_S = 900.0  # until an actor's first answer: it may wait for resources, import torch and compile
_MOST_A_LOOK_S = 1.0


@dataclass
class _Asked:
    actor: Any
    since: float
    answered: bool = False  # ever
    waits: bool = False  # for an answer now


class Pulse:
    """Asks every actor again and again for its process id, on a thread of its own that nothing else keeps busy.

    Silence is counted in looks, each of one second at most: a run that was itself stopped, or whose clock jumped, does
    not take its actors for silent.

    Args:
        calls: of the run.
        silent_s: longest silence.
        restarted: whether Ray brings an actor of this name back by itself.
        clock: seconds.
    """

    def __init__(
        self,
        calls: Calls,
        silent_s: float,
        restarted: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls, self._silent_s, self._restarted, self._clock = calls, silent_s, restarted, clock
        self._last = clock()
        self._now = 0.0
        self._asked: dict[str, _Asked] = {}

    def look(self, actors: Mapping[str, Any]) -> Collection[str]:
        """Ask all of `actors`, by name, that are due; returns the names of those that were killed for their silence."""
        now = self._clock()
        self._now += min(max(now - self._last, 0.0), _MOST_A_LOOK_S)
        self._last = now
        killed = []
        for name, actor in actors.items():
            asked = self._asked.get(name)
            if asked is None or asked.actor is not actor:
                asked = self._asked[name] = _Asked(actor, self._now - ASK_EVERY_S)
            if asked.waits:
                if self._now - asked.since > (self._silent_s if asked.answered else START_S):
                    self._kill(name, asked)
                    killed.append(name)
            elif self._now - asked.since >= ASK_EVERY_S:
                self._ask(name, asked)
        return killed

    def _ask(self, name: str, asked: _Asked) -> None:
        asked.since, asked.waits = self._now, True

        def there(_pid: int) -> None:
            asked.answered, asked.waits = True, False

        def failed(_failure: Any) -> None:
            asked.answered, asked.waits = False, False  # whoever takes its place has to start

        self._calls.ask(f"pulse of {name}", asked.actor.pid.remote(), there, failed)

    def _kill(self, name: str, asked: _Asked) -> None:
        silent_s = self._now - asked.since
        self._calls.blame(asked.actor, f"it gave no sign for {silent_s:.0f} s and was killed")
        asked.answered, asked.since = False, self._now
        ray.kill(asked.actor, no_restart=not self._restarted(name))
