"""A game as a world: its seats are agents that move in turn, and get their scores as the game ends.

Legend: C copies, P seats, A actions, S state size, O observation size.

Moves that are forced are played by themselves, so that whoever acts has a choice; seats that stay empty are not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import types

from scoundrel_ray.compiled import kernel
from scoundrel_ray.experience.lockstep import play_moves
from scoundrel_ray.game import MOST_LEGAL, RULES, Game, InvalidGame
from scoundrel_ray.rng import below
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import at_least
from scoundrel_ray.spec import Spec
from scoundrel_ray.world import HERE, TERMINATED, IllegalActions


def make(game: Mapping[str, Any], opening: int = 0) -> GameWorld:
    """The world of a game.

    Args:
        game: config section of its rules.
        opening: decisions that chance makes at the start, uniformly: for games in which all deals are alike, so that
            players who never draw do not play one game again and again.

    Raises:
        InvalidConfig: naming the option.
    """
    at_least("opening", opening, 0)
    rules = build("game", game, Game)
    return GameWorld(rules.name, tuple(f"seat_{seat}" for seat in range(rules.seats)), rules, opening)


@dataclass(frozen=True, eq=False)
class GameWorld:
    """A game in a world's place: the members of `scoundrel_ray.world.AnyWorld`. Build one from its config.

    Attributes:
        name: of the game.
        agents: seat_0 and so on.
        game: the rules.
        opening: see `make`.
        section: of a config that it was built from, for processes that must build it again; set by `config.build`.
    """

    name: str
    agents: tuple[str, ...]
    game: Game
    opening: int = 0
    section: Mapping[str, Any] = field(default_factory=dict)

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The game's spec, once for each seat."""
        return (self.game.spec,) * len(self.agents)

    def copies(self, streams: np.ndarray) -> GameCopies:
        """Fresh games, one for each random stream: [C, 4] uint64."""
        return GameCopies(self, streams)


class GameCopies:
    """Many games, stepped together: the members of `scoundrel_ray.world.AnyCopies`.

    Args:
        world: of the game.
        streams: [C, 4] uint64, of all chance in each.

    Attributes:
        states: [C, S] int32; to be read.
        observations: [P, C, O] int8, of each seat when it was last to move.
        masks: [P, C, A] int8, of each seat when it was last to move.
        rewards: [P, C] float32: scores of games that are over, else 0.
        ended: [P, C] int8, HERE or TERMINATED; seats that stay empty have ended.
        acting: [P, C] bool, whose move it is.
    """

    def __init__(self, world: GameWorld, streams: np.ndarray) -> None:
        if streams.dtype != np.uint64 or streams.ndim != 2 or streams.shape[1] != 4 or not len(streams):
            raise ValueError(f"streams are {streams.dtype} {list(streams.shape)}, wanted uint64 [copies, 4]")
        game, count = world.game, len(streams)
        self.world, self._game, self._streams = world, game, streams.copy()
        self.states = game.blank(count)
        self.observations = np.zeros((game.seats, count, game.observation_size), np.int8)
        self.masks = np.ones((game.seats, count, game.actions), np.int8)
        self.rewards = np.zeros((game.seats, count), np.float32)
        self.ended = np.full((game.seats, count), TERMINATED, np.int8)
        self.acting = np.zeros((game.seats, count), np.bool_)
        self._seats = np.full(count, -1, np.int64)
        self.renew()

    @property
    def over(self) -> np.ndarray:
        """[C] bool, which games are over."""
        return self._seats < 0

    def step(self, actions: np.ndarray) -> None:
        """Play a move in every game that is not over, and the forced ones that follow.

        Args:
            actions: [P, C] int16; those of seats that are not to move are not read.

        Raises:
            IllegalActions: naming the first game with a move that is not legal; no game has been stepped.
        """
        if actions.dtype != np.int16 or actions.shape != self.rewards.shape:
            raise ValueError(
                f"actions are {actions.dtype} {list(actions.shape)}, wanted int16 {list(self.ended.shape)}"
            )
        rows = np.flatnonzero(~self.over)
        seats = self._seats[rows]
        chosen = actions[seats, rows]
        known = (chosen >= 0) & (chosen < self._game.actions)
        wrong = ~known | (self.masks[seats, rows, np.where(known, chosen, 0)] == 0)
        if wrong.any():
            at = int(np.argmax(wrong))
            agent = self.world.agents[int(seats[at])]
            raise IllegalActions(f"{self.world.name}: not allowed in copy {int(rows[at])}: {agent} {int(chosen[at])}")
        self._play(rows, chosen)

    def renew(self) -> int:
        """Deal anew where a game is over; returns in how many copies."""
        rows = np.flatnonzero(self.over)
        for row in rows.tolist():
            self.states[row] = self._game.deal(self._streams[row])
            self.ended[: self._game.players(self.states[row]), row] = HERE
        self.rewards[:, rows] = 0.0
        self.observations[:, rows] = 0
        self._play(rows, np.full(len(rows), -1, np.int16))
        for _ in range(self.world.opening):
            self._play(*self._drawn(rows))
        return len(rows)

    def close(self) -> None:
        """Nothing is held but memory."""

    def _drawn(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Games of these that are not over, and a legal move in each, drawn uniformly."""
        going = rows[self._seats[rows] >= 0]
        counts = self.masks[self._seats[going], going].sum(axis=1)
        drawn = [
            np.flatnonzero(self.masks[self._seats[row], row])[below(self._streams[row], int(count))]
            for row, count in zip(going.tolist(), counts, strict=True)
        ]
        return going, np.array(drawn, np.int16)

    def _play(self, rows: np.ndarray, actions: np.ndarray) -> None:
        """Play moves, -1 for none, and the forced ones that follow; note who is to move and what they know."""
        seats = np.empty(len(rows), np.int64)
        broken = play_moves(self._game.rules, self.states, rows, actions, self._game.max_steps, seats)
        if broken >= 0:
            raise InvalidGame(f"game {self._game.name}: a player's action {int(actions[broken])} was refused")
        self._seats[rows] = seats
        wrong = _look(
            self._game.rules, self.states, rows, seats, self.observations, self.masks, self.rewards, self.ended,
            self.acting,
        )  # fmt: skip
        if wrong >= 0:
            raise InvalidGame(f"game {self._game.name}: rule observe or returns gave another status than 0")


@kernel(
    types.int64(
        RULES, types.int32[:, ::1], types.int64[::1], types.int64[::1], types.int8[:, :, ::1], types.int8[:, :, ::1],
        types.float32[:, ::1], types.int8[:, ::1], types.boolean[:, ::1],
    )
)  # fmt: skip
def _look(rules, states, rows, seats, observations, masks, rewards, ended, acting):
    """Note who is to move in games `rows` and what they know and may do, or what all seats got; a bad row, or -1."""
    legal, scores = np.empty(MOST_LEGAL, np.int16), np.empty(len(ended), np.float32)
    for i in range(len(rows)):
        row, mover = rows[i], seats[i]
        for seat in range(len(ended)):
            acting[seat, row] = False
        if mover >= 0:
            acting[mover, row] = True
            observations[mover, row, :] = 0
            masks[mover, row, :] = 0
            for j in range(rules.legal(states[row], legal)):
                masks[mover, row, legal[j]] = 1
            if rules.observe(states[row], mover, observations[mover, row]) != 0:
                return i
            continue
        scores[:] = 0.0
        if rules.returns(states[row], scores) != 0:
            return i
        for seat in range(len(ended)):
            if ended[seat, row] == HERE:
                ended[seat, row] = TERMINATED
                rewards[seat, row] = scores[seat]
    return -1
