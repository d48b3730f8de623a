"""One decision on many cores: a position searched in shards, the same answer bit for bit wherever they ran.

A search of n simulations is cut into shards by n alone (`shard_budgets`), each a search of its own with a stream drawn
from the decision's key and the shard's number (root parallelisation: Chaslot, Winands and van den Herik 2008). Where
shards run, one after another, on threads or on other machines, changes nothing: their roots are summed in the order of
their numbers.

    position = PositionSearch(game, Uct(), Effort(simulations=80_000), ShardSearch(game, Uct(), threads=8))
    decisions = position.decide(state, stream)      one row

Legend: K shards, M most legal actions, P seats, S state size.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import psutil

from scoundrel_ray import rng
from scoundrel_ray.decision.solved import solved
from scoundrel_ray.game import Game
from scoundrel_ray.machine import cores
from scoundrel_ray.search import Search
from scoundrel_ray.searches.forest import Decisions, blank_decisions, most_bytes
from scoundrel_ray.searches.suitable import checked_parameters, most_simulations
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.settings.checks import InvalidSetting, at_least, one_of, switch, within

EXECUTORS = ("auto", "sequential", "threads", "ray")
# Fewer simulations than this a shard cost more strength than they win time; more shards than this serve no machine.
_LEAST_IN_SHARD = 1000
_MOST_SHARDS = 32
_MOST_PER_S = 2e6  # simulations, of a core
_SOLVED_PER_S = 1e5  # positions; a small part of what a core does
_WATCH_S = 0.05  # between two looks at the roots
_ROUND_S = 0.01  # between two looks at the clock


@dataclass(frozen=True)
class Effort:
    """What a decision may cost, and where it is searched.

    Attributes:
        simulations: in all shards together, of each redealt world if there are several; None if time_ms says how long.
        time_ms: wall-clock time of a decision instead; its result depends on the machine.
        executor: "sequential", "threads" (of this process), "ray" (search actors, also of other nodes), or "auto":
            whichever is fastest here for this many simulations.
        workers: threads or actors; 0 for all cores.
        shards: 0 for as many as the number of simulations makes worthwhile; 1 for a single tree.
        solve: whether positions that the game can solve (`Game.solve`) within as many positions as the search has
            simulations are solved instead.
    """

    simulations: int | None = 20_000
    time_ms: float | None = None
    executor: str = "auto"
    workers: int = 0
    shards: int = 0
    solve: bool = True

    def __post_init__(self) -> None:
        if (self.simulations is None) == (self.time_ms is None):
            raise InvalidSetting(
                "simulations",
                f"got {self.simulations!r} with time_ms {self.time_ms!r}, wanted one of the two and null for the other",
            )
        if self.simulations is not None:
            at_least("simulations", self.simulations, 1)
        if self.time_ms is not None:
            within("time_ms", self.time_ms, 1.0, 3.6e6)
        one_of("executor", self.executor, EXECUTORS)
        at_least("workers", self.workers, 0)
        at_least("shards", self.shards, 0)
        switch("solve", self.solve)
        if self.simulations is not None and self.shards > self.simulations:
            raise InvalidSetting("shards", f"got {self.shards}, wanted at most simulations, {self.simulations}")

    @property
    def cores(self) -> int:
        """Number of workers: as set, or all cores."""
        return self.workers or cores()


def shard_budgets(simulations: int, shards: int = 0) -> list[int]:
    """Simulations of each shard, a function of the arguments alone; differing by at most one.

    Args:
        simulations: in all.
        shards: how many; 0 to let the number of simulations decide.
    """
    count = shards or max(1, min(simulations // _LEAST_IN_SHARD, _MOST_SHARDS))
    return [simulations // count + (shard < simulations % count) for shard in range(count)]


class Task(NamedTuple):
    """A decision to search: plain data of some hundred bytes, the same for every shard.

    Attributes:
        state: [S] int32.
        key: from which, with a shard's number, its stream is made.
        budgets: simulations of each shard; with a time limit the most that there is room for.
        seconds: time limit, or None.
    """

    state: np.ndarray
    key: int
    budgets: tuple[int, ...]
    seconds: float | None


class Roots(NamedTuple):
    """The roots of some shards, in the order of their numbers.

    Attributes:
        visits: [K, M] int32.
        totals: [K, M, P] float32, sums of values.
    """

    visits: np.ndarray
    totals: np.ndarray


WatchRoots = Callable[[Roots], None]


class Executor(Protocol):
    """Where shards run."""

    def run(self, task: Task, watch: WatchRoots | None = None) -> Roots:
        """The roots of all shards of the task; the same from every executor unless the task has a time limit.

        Args:
            task: what to search.
            watch: called now and then with the roots so far, by executors of this process. What it raises ends the
                search. It does not change the result.
        """
        ...

    def close(self) -> None:
        """Give back threads or actors."""
        ...


class ShardSearch:
    """Runs shards in this process, on one thread or several: the executors `sequential` and `threads`.

    The forest is kept between decisions and made anew only for another number of shards or for larger ones.

    Args:
        game: the rules.
        config: of the search; its `simulations` are not looked at.
        threads: most at once.
    """

    def __init__(self, game: Game, config: Uct, threads: int = 1) -> None:
        self.game = game
        self.config = config
        self.threads = threads
        self._search: Search | None = None

    def run(self, task: Task, watch: WatchRoots | None = None) -> Roots:
        return self.run_some(task, 0, len(task.budgets), watch)

    def run_some(self, task: Task, first: int, count: int, watch: WatchRoots | None = None) -> Roots:
        """The roots of shards first .. first + count - 1.

        Raises:
            MemoryError: with an estimate, before anything is allocated, if the trees would not fit.
        """
        end = None if task.seconds is None else time.perf_counter() + task.seconds
        budgets = np.asarray(task.budgets[first : first + count], dtype=np.int64)
        search = self._search_for(count, int(budgets.max()))
        shards = np.arange(count, dtype=np.int64)
        streams = np.stack([rng.stream(task.key, shard) for shard in range(first, first + count)])
        search.begin(shards, np.repeat(task.state[None], count, axis=0), streams)
        budget = np.repeat(budgets, search.trees_per_game)
        still = np.zeros(count, dtype=np.float32)

        def roots() -> Roots:
            decisions = search.decide(shards, still, streams)
            return Roots(decisions.visits, decisions.totals)

        if end is None and watch is None:
            search.forest.budget[:] = budget
            search.run()
        else:
            self._run_in_rounds(search, budget, end, None if watch is None else lambda: watch(roots()))
        search.finished()
        return roots()

    def _run_in_rounds(
        self, search: Search, budget: np.ndarray, end: float | None, watch: Callable[[], None] | None
    ) -> None:
        """Search until the time or the room is spent; at least one simulation for each action.

        Rounds are of whole batches of simulations under way, so that where they end changes nothing.
        """
        batch = search.parameters.leaves
        done, step, shown = 0, max(64, search.game.max_legal), time.perf_counter()
        while done < budget.max():
            done = min(done + -(-step // batch) * batch, int(budget.max()))
            np.minimum(budget, done, out=search.forest.budget)
            start = time.perf_counter()
            search.run()
            now = time.perf_counter()
            if watch is not None and now - shown >= _WATCH_S:
                watch()
                shown = time.perf_counter()
            if end is not None and now >= end:
                return
            wanted = _ROUND_S if end is None else min(_ROUND_S, end - now)
            step = max(1, min(int(step * wanted / max(now - start, 1e-6)), 4 * step))

    def _search_for(self, shards: int, simulations: int) -> Search:
        known = self._search
        if (
            known is not None
            and known.config.simulations >= simulations
            and len(known.forest.nodes) == (shards * known.trees_per_game)
        ):
            return known
        self.close()
        config = dataclasses.replace(self.config, simulations=simulations, reuse=False)
        self._search = Search(self.game, config, shards, self.threads)
        return self._search

    def close(self) -> None:
        if self._search is not None:
            self._search.close()
            self._search = None


def merged(game: Game, state: np.ndarray, roots: Roots) -> Decisions:
    """Roots of all shards summed in their order: one row; it plays the most visited action, the first of equals."""
    legal = game.legal(state)
    count = len(legal)
    visits = roots.visits.sum(axis=0, dtype=np.int64)
    totals = roots.totals.astype(np.float64).sum(axis=0)
    spent = max(int(visits[:count].sum()), 1)
    row = blank_decisions(game, 1)
    row.actions[0] = -1
    row.actions[0, :count] = legal
    row.visits[0] = visits
    row.priors[0] = 0.0
    row.policy[0] = visits / spent
    row.totals[0] = totals
    row.values[0] = totals[:count].sum(axis=0) / spent
    row.chosen[0] = legal[int(np.argmax(visits[:count]))]
    return row


Watch = Callable[[Decisions], None]


class PositionSearch:
    """Searches one position after another, each with one effort.

    Args:
        game: the rules.
        config: of the search by playouts; `effort` says how many simulations.
        effort: what a decision may cost.
        executor: where shards run.

    Raises:
        InvalidSetting: for a search that this game does not suit, or one that reuses trees, which are made anew here.
    """

    def __init__(self, game: Game, config: Uct, effort: Effort, executor: Executor) -> None:
        checked_parameters(game, config)
        if config.reuse:
            raise InvalidSetting("reuse", "got true, wanted false: every position is searched in trees of its own")
        self.game = game
        self.config = config
        self.effort = effort
        self.executor = executor

    def decide(self, state: np.ndarray, stream: np.ndarray, watch: Watch | None = None) -> Decisions:
        """One row: what the search says of `state` [S], and the action it plays; advances `stream` by one word.

        `watch` is called now and then with what the search says so far; see `Executor.run`.
        """
        key = int(rng.next_word(stream))
        state = np.ascontiguousarray(state, dtype=np.int32)
        if self.effort.solve and (row := solved(self.game, state, self._positions())) is not None:
            return row
        task = Task(state, key, self._budgets(), self._seconds())
        show = None if watch is None else lambda roots: watch(merged(self.game, state, roots))
        return merged(self.game, state, self.executor.run(task, show))

    def _budgets(self) -> tuple[int, ...]:
        effort = self.effort
        if effort.simulations is not None:
            return tuple(shard_budgets(effort.simulations, effort.shards))
        return (self._room,) * (effort.shards or effort.cores)

    @functools.cached_property
    def _room(self) -> int:
        """Most simulations of a shard when time limits it; fixed, lest the forest be made anew at every decision."""
        shards = self.effort.shards or self.effort.cores
        return room(self.game, self.config, shards, self._seconds() or 0.0)

    def _positions(self) -> int:
        """Most positions to solve: no more work than the search would be."""
        effort = self.effort
        if effort.simulations is None:
            return int(_SOLVED_PER_S * (self._seconds() or 0.0))
        return effort.simulations * self.config.trees_per_game

    def _seconds(self) -> float | None:
        return None if self.effort.time_ms is None else self.effort.time_ms / 1000

    def close(self) -> None:
        """Give back threads or actors."""
        self.executor.close()


def room(game: Game, config: Uct, shards: int, seconds: float) -> int:
    """Simulations that each shard has room for when time alone limits it.

    About as many as any core does in that time, and no more than half of this machine's free memory holds.
    """
    leaves, shared = config.parameters(game).leaves, bool(config.parameters(game).shared)
    bytes_each = most_bytes(game, shards * config.trees_per_game, _LEAST_IN_SHARD, leaves, shared) / _LEAST_IN_SHARD
    fitting = int(psutil.virtual_memory().available / 2 / bytes_each)
    return max(_LEAST_IN_SHARD, min(int(_MOST_PER_S * seconds), fitting, most_simulations(game)))
