"""Hundreds of games side by side with one search between them, and the record of each so far.

Legend: G games, P seats, S state size, L most legal actions.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numba import types

from scoundrel_ray.compiled import kernel
from scoundrel_ray.experience.rows import decision_dtype
from scoundrel_ray.experience.seating import Seating
from scoundrel_ray.experience.targets import tempered, value_targets
from scoundrel_ray.game import MOST_LEGAL, RULES, Game, InvalidGame
from scoundrel_ray.search import Search, SearchConfig
from scoundrel_ray.streams import Purpose, stream

HALVES = 2
"""Parts of a worker's games that number their deals by themselves; requests under way for an agent at most."""


@kernel(types.int64(RULES, types.int32[:, ::1], types.int64[::1], types.int16[::1], types.int64, types.int64[::1]))
def play_moves(rules, states, games, actions, most_steps, seats):
    """Play actions[i] in states[games[i]], then forced moves up to the next decision; seats[i] is whose, or -1.

    With an action of -1 only forced moves are played. Returns the row that broke a rule of the contract, or -1.
    """
    legal = np.empty(MOST_LEGAL, np.int16)
    for i in range(games.shape[0]):
        state = states[games[i]]
        if actions[i] >= 0 and rules.step(state, actions[i]) != 0:
            return i
        seat = rules.seat(state)
        steps = 0
        while seat >= 0:
            count = rules.legal(state, legal)
            if count > 1:
                break
            if count < 1 or steps > most_steps or rules.step(state, legal[0]) != 0:
                return i
            steps += 1
            seat = rules.seat(state)
        seats[i] = seat
    return -1


@kernel(types.int64(RULES, types.int32[:, ::1], types.int64[::1], types.int64[::1], types.int8[:, ::1]))
def observe_games(rules, states, games, seats, observations):
    """Fill observations [G, O] with what the mover of each of `games` knows."""
    for i in range(games.shape[0]):
        rules.observe(states[games[i]], seats[i], observations[i])
    return 0


class Lockstep:
    """Games side by side. Each decision is searched, and played once its search is finished.

    Args:
        game: the rules.
        search_config: settings of the search.
        games: G, a multiple of `HALVES`.
        settings: of the self-play (see `scoundrel_ray.experience.selfplay.RolloutConfig`).
        seating: who sits where.
        seed: of the run.
        path: of the random streams: worker and incarnation.

    Attributes:
        games: G.
        owners: [G, P] int8, number of the agent in each seat (see `Seating`).
        versions: version of each agent's weights, set by whoever evaluates.
        begun, finished: games ever, without deals that left nothing to decide.
        gathered: rows in `finished_rows`.
        finished_rows: of each half, by game: rows and their owners, not taken yet.
        finished_games: of each half, by game: scores and owners of the seats.
    """

    def __init__(
        self,
        game: Game,
        search_config: SearchConfig,
        games: int,
        settings: Any,
        seating: Seating,
        seed: int,
        path: tuple[int, ...],
    ) -> None:
        self.game, self.games = game, games
        self.settings = settings
        self.search = Search(game, search_config, games, settings.threads)
        self.versions = np.zeros(len(seating.agents), dtype=np.int32)
        self.owners = np.full((games, game.seats), -1, dtype=np.int8)
        self._seating = seating
        self._seed, self._path = seed, path
        self._states = game.blank(games)
        self._streams = np.zeros((games, 4), dtype=np.uint64)
        self._seats = np.zeros(games, dtype=np.int64)
        self._rows = np.zeros((games, game.max_steps), dtype=decision_dtype(game.spec))
        self._row_seats = np.zeros((games, game.max_steps), dtype=np.int64)
        self._root_values = np.zeros((games, game.max_steps, game.seats), dtype=np.float32)
        self._lengths = np.zeros(games, dtype=np.int64)
        self._dealt = [0] * HALVES  # in each half, those that left nothing to decide included
        self.begun = self.finished = 0
        self.gathered = 0
        self.finished_rows: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(HALVES)]
        self.finished_games: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(HALVES)]
        everyone = np.arange(games, dtype=np.int64)
        self._deal(everyone)
        self._begin(everyone)

    @property
    def under_way(self) -> int:
        """Games that are not over."""
        return int((self._seats >= 0).sum())

    def deciders(self, games: np.ndarray) -> np.ndarray:
        """Number of the agent that decides in each of `games` [n]: [n] int8."""
        return self.owners[games, self._seats[games]]

    def search_by(self, search_config: SearchConfig) -> None:
        """Search with other settings from now on; the decisions under way are begun anew.

        The new search must not get answers to leaves of the old one.
        """
        self.search.close()
        self.search = Search(self.game, search_config, self.games, self.settings.threads)
        self._begin(np.arange(self.games, dtype=np.int64))

    def settle(self, among: np.ndarray) -> int:
        """Play the moves of the searches that are finished, and start the next decisions.

        Args:
            among: [n] int64, ascending: games to look at.

        Returns:
            How many moves were played.
        """
        games = self.search.finished(among)
        if not len(games):
            return 0
        decisions = self._decide(games)
        self._play(games, decisions.chosen)
        over = games[self._seats[games] < 0]
        going = games[self._seats[games] >= 0]
        if len(going):
            chosen = decisions.chosen[self._seats[games] >= 0]
            self.search.advance(going, chosen, self._states[going])
        for g in over:
            self._finish(int(g))
        if len(over):
            self._deal(over)
        self._begin(games)
        return len(games)

    def take(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows and scores of the games finished since the last call, by half; whole games alone.

        Returns:
            rows: [n] of `decision_dtype`.
            row_owners: [n] int8, number of the agent that decided each.
            scores: [games, P] float32.
            owners: [games, P] int8.
        """
        rows, row_owners = (np.concatenate(c) for c in zip(*itertools.chain(*self.finished_rows), strict=True))
        scores, owners = (np.stack(c) for c in zip(*itertools.chain(*self.finished_games), strict=True))
        for kept in (*self.finished_rows, *self.finished_games):
            kept.clear()
        self.gathered = 0
        return rows, row_owners, scores, owners

    def _decide(self, games: np.ndarray) -> Any:
        """Decisions of finished searches, each noted as a row of its game."""
        lengths, seats = self._lengths[games], self._seats[games]
        temperatures = np.where(lengths < self.settings.temperature_steps, self.settings.temperature, 0.0)
        streams = self._streams[games]
        decisions = self.search.decide(games, temperatures.astype(np.float32), streams)
        self._streams[games] = streams
        observations = np.empty((len(games), self.game.observation_size), dtype=np.int8)
        observe_games.launch(self.game.rules, self._states, games, seats, observations)
        rows = self._rows
        rows["observation"][games, lengths] = observations
        rows["actions"][games, lengths] = decisions.actions
        rows["policy"][games, lengths] = tempered(decisions.policy, self.settings.target_temperature)
        rows["version"][games, lengths] = self.versions[self.owners[games, seats]]
        self._row_seats[games, lengths] = seats
        self._root_values[games, lengths] = decisions.values
        self._lengths[games] += 1
        return decisions

    def _begin(self, games: np.ndarray) -> None:
        streams = self._streams[games]
        self.search.begin(games, self._states[games], streams)
        self._streams[games] = streams

    def _play(self, games: np.ndarray, actions: np.ndarray) -> None:
        seats = np.empty(len(games), dtype=np.int64)
        broken = play_moves.launch(self.game.rules, self._states, games, actions, self.game.max_steps, seats)
        if broken >= 0:
            raise InvalidGame(
                f"game {self.game.name}: step refused action {int(actions[broken])} that legal gave, or no action was "
                "legal before the end; scoundrel_ray.conformance.check_game tells which"
            )
        self._seats[games] = seats

    def _deal(self, games: np.ndarray) -> None:
        """Fresh games, each dealt until there is something to decide."""
        self.search.forget(games)
        for g in games:
            half = self._half(g)
            for _ in range(1000):
                self._streams[g] = stream(self._seed, Purpose.GAMES, *self._path, half, self._dealt[half])
                self._dealt[half] += 1
                self._states[g] = self.game.deal(self._streams[g])
                self._play(np.array([g]), np.array([-1], dtype=np.int16))
                if self._seats[g] >= 0:
                    break
            else:
                raise InvalidGame(f"game {self.game.name}: 1000 deals in a row held no decision")
            number, drawn = self._dealt[half] - 1, None
            if self._seating.draws:
                drawn = stream(self._seed, Purpose.SEATING, *self._path, half, number)
            self.owners[g] = self._seating.draw(self.game.players(self._states[g]), drawn)
        self.begun += len(games)
        self._lengths[games] = 0

    def _finish(self, g: int) -> None:
        """Give the rows of a finished game their value targets and put them out."""
        length = int(self._lengths[g])
        state, seats = self._states[g], self._row_seats[g, :length]
        scores = self.game.scores(state)
        rows = self._rows[g, :length].copy()
        values = self._root_values[g, :length]
        rows["value"] = value_targets(self.game, state, scores, seats, values, self.settings.bootstrap)
        half = self._half(g)
        self.finished_rows[half].append((rows, self.owners[g, seats]))
        self.finished_games[half].append((scores, self.owners[g].copy()))
        self.gathered += length
        self.finished += 1

    def _half(self, g: int) -> int:
        """The half that a game is in."""
        return int(g) * HALVES // self.games

    def close(self) -> None:
        """End the search's threads."""
        self.search.close()
