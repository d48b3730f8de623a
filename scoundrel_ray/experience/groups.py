"""Groups of a worker's games: one group is searched while the leaves of the others are evaluated.

A group holds games whose decider is the same agent, so that it takes one request, to that agent's network. Groups last
for one request: whoever is to decide next in a game, it joins the next group of that agent. With one agent these are
always the same two halves.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.experience.lockstep import HALVES, Lockstep


class Group(NamedTuple):
    """Games whose leaves are under way.

    Attributes:
        agent: number of the agent that decides in all of them.
        games: [n] int64, ascending.
        leaves: in the request; 0 if every search ended on the way, or needs no evaluator.
        ticket: of the request; None without leaves.
    """

    agent: int
    games: np.ndarray
    leaves: int
    ticket: Any


class Groups:
    """The groups under way, and the games that wait to join one.

    As many groups are under way as there are agents, but two at least, and no more than two of an agent.

    Args:
        lockstep: the games.
        evaluators: the evaluator of each agent, by its number; empty for a search that asks none.
        agents: how many there are.
    """

    def __init__(self, lockstep: Lockstep, evaluators: Sequence[Evaluator], agents: int) -> None:
        self.evaluators = evaluators
        self._lockstep, self._agents = lockstep, agents
        self._under_way: deque[Group] = deque()
        self._waiting = np.arange(lockstep.games)

    def ask(self) -> int | None:
        """Ask for the leaves of the next group; returns how many they are, or None if no group may be made now."""
        found = self._half() if self._agents == 1 else self._of_an_agent()
        if found is None:
            return None
        agent, games = found
        observations = self._lockstep.search.select(games)
        leaves = 0 if observations is None else len(observations)
        ticket = None if observations is None else self.evaluators[agent].submit(observations)
        self._under_way.append(Group(agent, games, leaves, ticket))
        return leaves

    def _half(self) -> tuple[int, np.ndarray] | None:
        """What `_of_an_agent` gives where there is one agent: the half that waits."""
        if len(self._under_way) >= HALVES:
            return None
        half = self._lockstep.games // HALVES
        games, self._waiting = self._waiting[:half], self._waiting[half:]
        return 0, games

    def _of_an_agent(self) -> tuple[int, np.ndarray] | None:
        """Number and games of the agent that most games wait for, unless no group may be made now."""
        deciders = self._lockstep.deciders(self._waiting)
        agent = self._next(deciders)
        if agent is None:
            return None
        # More than half of the games would leave too few to search meanwhile, should all come to the same agent.
        chosen = np.flatnonzero(deciders == agent)[: self._lockstep.games // HALVES]
        games = np.sort(self._waiting[chosen])
        self._waiting = np.delete(self._waiting, chosen)
        return agent, games

    def _next(self, deciders: np.ndarray) -> int | None:
        """The agent that most games wait for, unless as many groups are under way as may be."""
        if len(self._under_way) >= max(HALVES, self._agents):
            return None
        waiting = np.bincount(deciders, minlength=self._agents)
        for agent, groups in Counter(group.agent for group in self._under_way).items():
            if groups >= HALVES:
                waiting[agent] = 0
        return int(waiting.argmax()) if waiting.any() else None

    def answer(self) -> np.ndarray:
        """Wait for the oldest group's answer, and tell the search; returns the group's games.

        Raises:
            EvaluatorGone: if it does not come.
        """
        group = self._under_way.popleft()
        self._waiting = np.concatenate([self._waiting, group.games])
        if group.leaves:
            evaluation = self.evaluators[group.agent].collect(group.ticket)
            self._lockstep.versions[group.agent] = evaluation.version
            self._lockstep.search.backup(evaluation.logits, evaluation.values, group.games)
        return group.games

    def drop(self) -> None:
        """Wait for all that was asked and forget it."""
        for group in self._under_way:
            if group.leaves:
                self.evaluators[group.agent].collect(group.ticket)
        self._under_way.clear()
        self._waiting = np.arange(self._lockstep.games)
