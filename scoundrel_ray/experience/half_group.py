"""A half of a worker's games, and the requests under way for their leaves; each agent is asked for its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.experience.lockstep import Lockstep


class HalfGroup:
    """Games in lockstep, and the requests under way for their leaves.

    Args:
        games: in lockstep.
        evaluators: the evaluator of each agent, by its number.
    """

    def __init__(self, games: Lockstep, evaluators: Sequence[Evaluator]) -> None:
        self.games = games
        self.evaluators = evaluators
        self._asked: list[tuple[int, np.ndarray | None, Any]] = []  # agent, its leaves' places, ticket
        self._leaves = 0

    def ask(self) -> int:
        """Ask each agent for the next leaves of its own decisions; returns how many requests that took."""
        observations = self.games.search.select()
        if observations is None:  # every search ended on the way, or needs no evaluator: its moves are played next
            self._leaves = 0
            return 0
        self._leaves = len(observations)
        if len(self.evaluators) == 1:
            self._asked = [(0, None, self.evaluators[0].submit(observations))]
            return 1
        owners = self.games.deciders[self.games.search.games_of_leaves()]
        for number in np.unique(owners):
            places = np.flatnonzero(owners == number)
            self._asked.append((int(number), places, self.evaluators[number].submit(observations[places])))
        return len(self._asked)

    @property
    def leaves(self) -> int:
        """Leaves under way."""
        return self._leaves if self._asked else 0

    def answer(self) -> None:
        """Wait for what was asked, and tell the search.

        Raises:
            EvaluatorGone: if answers do not come.
        """
        logits = values = None
        for number, places, ticket in self._asked:
            evaluation = self.evaluators[number].collect(ticket)
            self.games.versions[number] = evaluation.version
            if places is None:
                logits, values = evaluation.logits, evaluation.values
                continue
            if logits is None or values is None:
                logits = np.empty((self._leaves, evaluation.logits.shape[1]), dtype=np.float32)
                values = np.empty((self._leaves, evaluation.values.shape[1]), dtype=np.float32)
            logits[places], values[places] = evaluation.logits, evaluation.values
        self._asked = []
        if logits is not None and values is not None:
            self.games.search.backup(logits, values)

    def drop(self) -> None:
        """Wait for what was asked and forget it."""
        for number, _, ticket in self._asked:
            self.evaluators[number].collect(ticket)
        self._asked = []
