"""Self-play: hundreds of games in lockstep, in two half-groups: one is searched while the other is evaluated.

A plain object without Ray; actors/rollout.py puts it on a cluster.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.experience.lockstep import observe_games, play_moves
from scoundrel_ray.experience.rows import decision_dtype
from scoundrel_ray.experience.targets import tempered
from scoundrel_ray.game import Game, InvalidGame
from scoundrel_ray.search import Search, SearchConfig
from scoundrel_ray.settings.checks import InvalidConfig, at_least, within

HALVES = 2  # half-groups of a worker, each with one request under way


@dataclass(frozen=True)
class RolloutConfig:
    """Settings of self-play.

    Attributes:
        workers: rollout actors.
        games: games in lockstep in each worker, both half-groups together.
        threads: of a worker's kernels.
        temperature: exponent of visit counts when a move is drawn (PUCT and UCT).
        temperature_steps: decisions of a game drawn so; later ones play the most visited action.
        target_temperature: exponent 1 / T of the search's policy before it becomes a target: below 1 sharpens it.
        bootstrap: share of the search's own value in the value target; the rest is the game's outcome.
        rows: least rows that a worker gathers before it returns them.
        seconds: longest time it gathers, so that slow games still report.
    """

    workers: int = 2
    games: int = 512
    threads: int = 1
    temperature: float = 1.0
    temperature_steps: int = 1000
    target_temperature: float = 1.0
    bootstrap: float = 0.0
    rows: int = 4096
    seconds: float = 5.0

    def __post_init__(self) -> None:
        at_least("rollout.workers", self.workers, 1)
        at_least("rollout.games", self.games, 2)
        at_least("rollout.threads", self.threads, 1)
        at_least("rollout.temperature_steps", self.temperature_steps, 0)
        at_least("rollout.rows", self.rows, 1)
        within("rollout.temperature", self.temperature, 0.0, 100.0)
        within("rollout.target_temperature", self.target_temperature, 0.01, 100.0)
        within("rollout.bootstrap", self.bootstrap, 0.0, 1.0)
        within("rollout.seconds", self.seconds, 0.01, 3600.0)
        if self.games % HALVES:
            raise InvalidConfig(f"rollout.games: got {self.games}, wanted an even number (two half-groups)")


class HalfGroup:
    """Games in lockstep with one search between them, and the record of each game so far."""

    def __init__(self, game: Game, search_config: SearchConfig, config: RolloutConfig, seed: tuple[int, ...]) -> None:
        count = config.games // HALVES
        self.game = game
        self.config = config
        self.seed = seed
        self.search = Search(game, search_config, count, config.threads)
        self.ticket: Any = None
        self.version = 0
        self.states = game.blank(count)
        self.streams = np.zeros((count, 4), dtype=np.uint64)
        self.seats = np.zeros(count, dtype=np.int64)
        self.rows = np.zeros((count, game.max_steps), dtype=decision_dtype(game.spec))
        self.row_seats = np.zeros((count, game.max_steps), dtype=np.int64)
        self.root_values = np.zeros((count, game.max_steps, game.seats), dtype=np.float32)
        self.lengths = np.zeros(count, dtype=np.int64)
        self.dealt = 0  # in all, those that left nothing to decide included
        self.begun = self.finished = 0
        self.finished_rows: list[np.ndarray] = []
        self.gathered = 0
        self.finished_scores: list[np.ndarray] = []
        self.first_game_at = 0.0
        everyone = np.arange(count, dtype=np.int64)
        self._deal(everyone)
        self._begin(everyone)

    def search_by(self, search_config: SearchConfig) -> None:
        """Search with other settings from now on; the decisions under way are begun anew.

        A ticket must have been collected before.
        """
        count = len(self.states)
        self.search.close()
        self.search = Search(self.game, search_config, count, self.config.threads)
        self._begin(np.arange(count, dtype=np.int64))

    def settle(self) -> int:
        """Play the moves of all finished searches and start the next decisions; returns how many were played."""
        games = self.search.finished()
        if not len(games):
            return 0
        lengths = self.lengths[games]
        temperatures = np.where(lengths < self.config.temperature_steps, self.config.temperature, 0.0)
        streams = self.streams[games]
        decisions = self.search.decide(games, temperatures.astype(np.float32), streams)
        self.streams[games] = streams
        observations = np.empty((len(games), self.game.observation_size), dtype=np.int8)
        seats = self.seats[games]
        observe_games.launch(self.game.rules, self.states, games, seats, observations)
        rows = self.rows
        rows["observation"][games, lengths] = observations
        rows["actions"][games, lengths] = decisions.actions
        rows["policy"][games, lengths] = tempered(decisions.policy, self.config.target_temperature)
        rows["version"][games, lengths] = self.version
        self.row_seats[games, lengths] = seats
        self.root_values[games, lengths] = decisions.values
        self.lengths[games] += 1
        self._play(games, decisions.chosen)
        over = games[self.seats[games] < 0]
        going = games[self.seats[games] >= 0]
        if len(going):
            chosen = decisions.chosen[self.seats[games] >= 0]
            self.search.advance(going, chosen, self.states[going])
        for g in over:
            self._finish(int(g))
        if len(over):
            self._deal(over)
        self._begin(games)
        return len(games)

    def _begin(self, games: np.ndarray) -> None:
        streams = self.streams[games]
        self.search.begin(games, self.states[games], streams)
        self.streams[games] = streams

    def _play(self, games: np.ndarray, actions: np.ndarray) -> None:
        seats = np.empty(len(games), dtype=np.int64)
        broken = play_moves.launch(self.game.rules, self.states, games, actions, self.game.max_steps, seats)
        if broken >= 0:
            raise InvalidGame(
                f"game {self.game.name}: step refused action {int(actions[broken])} that legal gave, or no action was "
                "legal before the end; scoundrel_ray.conformance.check_game tells which"
            )
        self.seats[games] = seats

    def _deal(self, games: np.ndarray) -> None:
        """Fresh games, each dealt until there is something to decide."""
        self.search.forget(games)
        for g in games:
            for _ in range(1000):
                self.streams[g] = rng.stream(*self.seed, self.dealt)
                self.dealt += 1
                self.states[g] = self.game.deal(self.streams[g])
                self._play(np.array([g]), np.array([-1], dtype=np.int16))
                if self.seats[g] >= 0:
                    break
            else:
                raise InvalidGame(f"game {self.game.name}: 1000 deals in a row held no decision")
        self.begun += len(games)
        self.lengths[games] = 0

    def _finish(self, g: int) -> None:
        """Give the rows of a finished game their value targets and put them out."""
        length = int(self.lengths[g])
        scores = self.game.scores(self.states[g])
        outcome = self.game.values(scores)
        share = self.config.bootstrap
        by_seat = (1.0 - share) * outcome + share * self.root_values[g, :length]
        places = np.arange(self.game.seats)
        players = self.game.players(self.states[g])
        order = np.where(places < players, (self.row_seats[g, :length, None] + places) % players, places)
        rows = self.rows[g, :length].copy()
        rows["value"] = np.take_along_axis(by_seat, order, axis=1)
        self.finished_rows.append(rows)
        self.gathered += length
        if not self.finished_scores:
            self.first_game_at = time.time()
        self.finished_scores.append(scores)
        self.finished += 1


class Rollout:
    """A worker's self-play.

    Args:
        game, search_config, config: what is played and how.
        evaluator: answers leaves; None for a search that needs none.
        seed: path of the worker's random streams: a restarted worker must be given another.
    """

    def __init__(
        self,
        game: Game,
        search_config: SearchConfig,
        config: RolloutConfig,
        evaluator: Evaluator | None,
        seed: tuple[int, ...],
    ) -> None:
        self.game = game
        self.config = config
        self.evaluator = evaluator
        self.halves = [HalfGroup(game, search_config, config, (*seed, half)) for half in range(HALVES)]
        self._turn = 0

    def search_by(self, search_config: SearchConfig) -> None:
        """Search with other settings from now on, in the games under way, too.

        Raises:
            EvaluatorGone: if the last answers under the old settings do not come.
        """
        for half in self.halves:
            if half.ticket is not None:
                assert self.evaluator is not None
                self.evaluator.collect(half.ticket)
                half.ticket = None
            half.search_by(search_config)

    def play(self, rows: int | None = None, seconds: float | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Rows of the games finished in this call, and what it took.

        Args:
            rows: return once this many are gathered (default: the config's).
            seconds: or once this time has passed and at least one game is finished.

        Returns:
            rows: [n] of `decision_dtype(game.spec)`; whole games alone.
            report: scores [games, P] float32, decisions, leaves, messages, wait_s, total_s, version (of the oldest
                weights in rows), first_game_at (when the first game was over, seconds since the epoch); since the
                start, the games dealt (but for those that their deal decided) and finished, and those now under_way.
        """
        rows = self.config.rows if rows is None else rows
        seconds = self.config.seconds if seconds is None else seconds
        start = time.perf_counter()
        report: dict[str, Any] = {"decisions": 0, "leaves": 0, "messages": 0, "wait_s": 0.0}
        gathered = 0
        while gathered < rows and not (gathered and time.perf_counter() - start > seconds):
            half = self.halves[self._turn]
            self._turn = (self._turn + 1) % HALVES
            self._advance(half, report)
            gathered = sum(h.gathered for h in self.halves)
        done = [r for h in self.halves for r in h.finished_rows]
        scores = [s for h in self.halves for s in h.finished_scores]
        report["first_game_at"] = min(h.first_game_at for h in self.halves if h.finished_scores)
        for half in self.halves:
            half.finished_rows, half.finished_scores, half.gathered = [], [], 0
        out = np.concatenate(done)
        report["scores"] = np.stack(scores)
        report["version"] = int(out["version"].min())
        report["dealt"] = sum(h.begun for h in self.halves)
        report["finished"] = sum(h.finished for h in self.halves)
        report["under_way"] = sum(int((h.seats >= 0).sum()) for h in self.halves)
        report["total_s"] = time.perf_counter() - start
        return out, report

    def _advance(self, half: HalfGroup, report: dict[str, Any]) -> None:
        """Collect a half-group's answers, play what is decided, and ask for its next leaves."""
        if half.ticket is not None:
            assert self.evaluator is not None
            before = time.perf_counter()
            evaluation = self.evaluator.collect(half.ticket)
            report["wait_s"] += time.perf_counter() - before
            half.ticket = None
            half.version = evaluation.version
            half.search.backup(evaluation.logits, evaluation.values)
        report["decisions"] += half.settle()
        observations = half.search.select()
        if observations is None:  # every search ended on the way (or needs no evaluator): play those moves next turn
            return
        if self.evaluator is None:
            raise InvalidConfig("rollout: this search needs an evaluator and was given none")
        half.ticket = self.evaluator.submit(observations)
        report["leaves"] += len(observations)
        report["messages"] += 1

    def close(self) -> None:
        """End the searches' threads."""
        for half in self.halves:
            half.search.close()
