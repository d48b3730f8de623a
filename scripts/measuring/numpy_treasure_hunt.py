"""Treasure hunt as one writes it with numpy alone: what the compiled world is measured against.

Rules, codes and options are those of `scoundrel_ray.worlds.treasure_hunt`, without its code; the interface is that of
a PettingZoo ParallelEnv. In a step all agents move, one after the other, then things appear, and all look: so the first
agent sees what it sees in the compiled world, and the others what they would see there if they acted next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

UNSEEN, EMPTY, WALL, GEM, FOOD, BONE, AGENT = range(7)
VALUES = {EMPTY: 0.0, WALL: -1.0, GEM: 10.0, FOOD: 5.0, BONE: -10.0, AGENT: 0.0}
MOVES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])  # up, down, left, right

Step = tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]


class NumpyTreasureHunt:
    """One environment; call `reset` first.

    Args:
        agents, size, reach, frames, turns, spawn: as in `scoundrel_ray.worlds.treasure_hunt.make`.

    Attributes:
        possible_agents, agents: names of all, and of those that are there: nobody once the episode is over.
        board: [size + 2 (reach - 1)] * 2 int8, with walls around as far as an agent can see.
        places: [N, 2] row and column of every agent.
        views: [N, frames, side, side] int8, what every agent saw, the newest last.
        turn: turns that are over.
    """

    places: Any

    def __init__(self, agents: int, size: int, reach: int, frames: int, turns: int, spawn: float) -> None:
        self.possible_agents = [f"agent_{number}" for number in range(agents)]
        self.agents: list[str] = []
        self.reach, self.turns, self.spawn = reach, turns, spawn
        self.board = np.full((size + 2 * (reach - 1),) * 2, WALL, dtype=np.int8)
        self.inside = self.board[reach:-reach, reach:-reach]
        self.views = np.zeros((agents, frames, 2 * reach + 1, 2 * reach + 1), dtype=np.int8)
        self.turn = 0
        self.rng = np.random.default_rng()

    def reset(self, seed: int | None = None) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Begin an episode; observations [O] int8 and infos of all agents."""
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.agents, self.turn = list(self.possible_agents), 0
        self.inside[:] = EMPTY
        self.views[:] = UNSEEN
        self.place(self.draw_places())
        self.appear()
        return self.look(), {name: {} for name in self.agents}

    def step(self, actions: dict[str, int]) -> Step:
        """Move all agents; observations, rewards, whether terminated and whether truncated, and infos, by agent."""
        rewards = {name: self.move(number, actions[name]) for number, name in enumerate(self.agents)}
        self.turn += 1
        over = self.turn >= self.turns
        if not over:
            self.appear()
        observations = self.look()
        terminated, truncated = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, over)
        infos: dict[str, dict[str, Any]] = {name: {} for name in self.agents}
        if over:
            self.agents = []
        return observations, rewards, terminated, truncated, infos

    def draw_places(self) -> np.ndarray:
        """[N, 2] different cells."""
        chosen = self.rng.choice(self.inside.size, size=len(self.agents), replace=False)
        return np.stack(np.unravel_index(chosen, self.inside.shape), axis=1) + self.reach

    def place(self, places: np.ndarray) -> None:
        """Put the agents on the board."""
        self.places = places
        self.board[places[:, 0], places[:, 1]] = AGENT

    def appear(self) -> None:
        """Things appear on empty cells, each with the same chance, of any kind alike."""
        chosen = (self.inside == EMPTY) & (self.rng.random(self.inside.shape) < self.spawn)
        self.inside[chosen] = self.rng.integers(GEM, BONE + 1, size=int(chosen.sum()))

    def move(self, agent: int, action: int) -> float:
        """Move one agent where nothing is in its way; the value of what it walks onto or into."""
        place = self.places[agent]
        target = place + MOVES[action]
        held = int(self.board[tuple(target)])
        if held not in (WALL, AGENT):
            self.board[tuple(place)] = EMPTY
            self.board[tuple(target)] = AGENT
            self.places[agent] = target
        return VALUES[held]

    def look(self) -> dict[str, np.ndarray]:
        """What every agent sees now and saw at its last turns, the newest last; the caller may keep it."""
        return {name: self.observe(number) for number, name in enumerate(self.agents)}

    def observe(self, agent: int) -> np.ndarray:
        """[O] int8, what one agent sees; called once a turn."""
        (row, column), reach = self.places[agent], self.reach
        view = self.board[row - reach : row + reach + 1, column - reach : column + reach + 1]
        self.views[agent] = np.concatenate((self.views[agent, 1:], view[None]))
        return self.views[agent].flatten()


class TunedNumpyTreasureHunt(NumpyTreasureHunt):
    """The same as fast as we could make it: places are Python's numbers, and all views are shifted at once."""

    _MOVES = MOVES.tolist()

    def place(self, places: np.ndarray) -> None:
        """Put the agents on the board; their places are tuples from here on."""
        super().place(places)
        self.places = [(row, column) for row, column in places.tolist()]

    def move(self, agent: int, action: int) -> float:
        """Move one agent where nothing is in its way; the value of what it walks onto or into."""
        row, column = self.places[agent]
        down, right = self._MOVES[action]
        target = (row + down, column + right)
        held = int(self.board[target])
        if held not in (WALL, AGENT):
            self.board[row, column] = EMPTY
            self.board[target] = AGENT
            self.places[agent] = target
        return VALUES[held]

    def look(self) -> dict[str, np.ndarray]:
        """What every agent sees now and saw at its last turns, the newest last; the caller may keep it."""
        reach, views = self.reach, self.views
        views[:, :-1] = views[:, 1:]
        for agent, (row, column) in enumerate(self.places):
            views[agent, -1] = self.board[row - reach : row + reach + 1, column - reach : column + reach + 1]
        return {name: views[agent].flatten() for agent, name in enumerate(self.agents)}
