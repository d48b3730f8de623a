"""Who sits where at a table of several agents.

Legend: N agents, P seats.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scoundrel_ray.settings.checks import InvalidSetting

EMPTY = -1


class Seating:
    """Seats for each game: drawn anew, or the same in all.

    Args:
        agents: names, N of them.
        seats: P.
        fixed: the agent of each seat; None to draw. Seats are then given out as equally as can be: every agent sits
            in the same number of seats, but for those that are left over, which go to agents drawn at random.

    Raises:
        InvalidSetting: for a fixed seating of another length, with an unknown agent, or without one of the agents.
    """

    def __init__(self, agents: Sequence[str], seats: int, fixed: Sequence[str] | None = None) -> None:
        self.agents = tuple(agents)
        self.seats = seats
        self._fixed: np.ndarray | None = None
        if fixed is not None:
            self._fixed = self._numbers(fixed)

    def _numbers(self, fixed: Sequence[str]) -> np.ndarray:
        known = ", ".join(self.agents)
        if len(fixed) != self.seats:
            raise InvalidSetting("seats", f"got {list(fixed)}, wanted {self.seats} of {known}, one for each seat")
        for seat, name in enumerate(fixed):
            if name not in self.agents:
                raise InvalidSetting("seats", f"got {name!r} in seat {seat}, wanted one of {known}")
        for name in self.agents:
            if name not in fixed:
                raise InvalidSetting("seats", f"got {list(fixed)}, wanted a seat for {name}, too")
        return np.array([self.agents.index(name) for name in fixed], dtype=np.int8)

    @property
    def draws(self) -> bool:
        """Whether anything is left to chance."""
        return self._fixed is None and len(self.agents) > 1

    def draw(self, players: int, stream: np.ndarray | None) -> np.ndarray:
        """Number of the agent in each seat: [P] int8, EMPTY from seat `players` on.

        Args:
            players: how many of the seats play.
            stream: [4] uint64, of the draw; None if nothing is left to chance.
        """
        out = np.full(self.seats, EMPTY, dtype=np.int8)
        if self._fixed is not None:
            out[:players] = self._fixed[:players]
        elif len(self.agents) == 1:
            out[:players] = 0
        else:
            assert stream is not None
            generator = np.random.Generator(np.random.PCG64(int(stream[0])))
            rounds = -(-players // len(self.agents))
            dealt = np.concatenate([generator.permutation(len(self.agents)) for _ in range(rounds)])[:players]
            out[:players] = generator.permutation(dealt)
        return out
