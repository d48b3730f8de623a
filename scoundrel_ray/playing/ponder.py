"""Thinking while a person thinks: the same decisions as without it, only earlier.

Of searches that a time limit ends no two are alike anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np

from scoundrel_ray.game import OVER, Game
from scoundrel_ray.players import Searcher
from scoundrel_ray.searches.forest import Decisions


class _Stopped(Exception):
    """Ends a search that is no longer wanted."""


class Ponderer:
    """Searches, in a thread of its own, a person's position and then those that its choices lead to, likeliest first.

    A position is searched as it would be when asked for, with the stream that belongs to it, so an answer found here is
    the one that would have been found then. Between `start` and `stop` nobody else may use the players.

    Args:
        game: the rules.
        searcher: who decides in a seat, or hints to the person there; None where nobody searches.
        stream: the stream of the decision after so many actions of the game.
    """

    def __init__(
        self, game: Game, searcher: Callable[[int], Searcher | None], stream: Callable[[int], np.ndarray]
    ) -> None:
        self.game = game
        self._searcher = searcher
        self._stream = stream
        self._known: dict[tuple[int, bytes], Decisions] = {}
        self._unwanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def start(self, state: np.ndarray, moves: int) -> None:
        """Think about a person's decision after `moves` actions, until `stop`."""
        self.stop()
        self._known = {key: row for key, row in self._known.items() if key[0] == moves}
        self._unwanted.clear()
        self._thread = threading.Thread(target=self._think, args=(state.copy(), moves), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; what is known stays.

        Raises:
            Exception: what went wrong in the thread.
        """
        if self._thread is not None:
            self._unwanted.set()
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def known(self, state: np.ndarray, moves: int) -> Decisions | None:
        """The decision in `state` [S] after `moves` actions, if it was finished."""
        return self._known.get((moves, state.tobytes()))

    def _think(self, state: np.ndarray, moves: int) -> None:
        try:
            row = self._decide(state, moves)
            for after, taken in self._replies(state, row) if row else ():
                self._decide(after, moves + taken)
        except _Stopped:
            pass
        except Exception as error:
            self._error = error

    def _decide(self, state: np.ndarray, moves: int) -> Decisions | None:
        key, searcher = (moves, state.tobytes()), self._searcher(self.game.seat(state))
        if key not in self._known and searcher is not None:
            self._known[key] = searcher.decide(state[None], self._stream(moves)[None], self._watch)
        return self._known.get(key)

    def _watch(self, _row: Decisions) -> None:
        if self._unwanted.is_set():
            raise _Stopped

    def _replies(self, state: np.ndarray, row: Decisions) -> Iterator[tuple[np.ndarray, int]]:
        """The decisions of other seats that the person's choices lead to, and the actions until there.

        In a game that hides something, what a choice leads to may tell what nobody may know yet: none.
        """
        person = self.game.seat(state)
        if self.game.hidden:
            return
        for i in np.argsort(-row.visits[0], kind="stable"):
            if row.actions[0, i] < 0:
                continue
            after, taken = self.game.step(state, int(row.actions[0, i])), 1
            while len(legal := self.game.legal(after)) == 1:
                after, taken = self.game.step(after, int(legal[0])), taken + 1
            if self.game.seat(after) not in (OVER, person):
                yield after, taken
