"""Picks where a decision is searched: measured costs of this machine, and the executor that they say is fastest."""

from __future__ import annotations

import itertools
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from scoundrel_ray import rng
from scoundrel_ray.decision.shards import Executor, Roots, ShardSearch, Task, WatchRoots
from scoundrel_ray.game import Game
from scoundrel_ray.machine import cores
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.storage.durable import StorageError, write_file

_THRESHOLD = 2000  # simulations from which threads are taken before anything is measured
# Simulations of a shard. Threads that were just woken may share a core until the system moves one, after milliseconds.
_MEASURED = 10_000
_TRIES = 8
_GAIN_WANTED = 1.05  # over a simpler executor, lest a tie be decided by chance


@dataclass(frozen=True)
class ExecutorCosts:
    """What executors cost on one machine, for one game, search and number of threads.

    Attributes:
        simulation_s: of one simulation on one core.
        threads_s: of a decision on threads, beside its simulations.
        slowdown: of a simulation while all threads search, at least 1.
    """

    simulation_s: float
    threads_s: float
    slowdown: float


def measure_costs(game: Game, config: Uct, threads: int) -> ExecutorCosts:
    """Costs on this machine, now; takes a few tenths of a second. The least of several tries counts."""
    state, one, many = game.deal(rng.stream(0)), ShardSearch(game, config), ShardSearch(game, config, threads)
    try:
        simulation_s = (
            _least_seconds(one, Task(state, 1, (_MEASURED,), None)) - _least_seconds(one, Task(state, 1, (1,), None))
        ) / (_MEASURED - 1)
        # Beyond what the same shards take one after another, so that what every executor does cancels out.
        few = Task(state, 1, (1,) * threads, None)
        threads_s = max(_least_seconds(many, few) - _least_seconds(one, few), 0.0)
        together = _least_seconds(many, Task(state, 1, (_MEASURED,) * threads, None)) - threads_s
    finally:
        one.close()
        many.close()
    return ExecutorCosts(simulation_s, threads_s, max(together / (simulation_s * _MEASURED), 1.0))


def least(one: ExecutorCosts, other: ExecutorCosts) -> ExecutorCosts:
    """The lesser of each cost."""
    return ExecutorCosts(*(min(pair) for pair in zip(astuple(one), astuple(other), strict=True)))


def _least_seconds(executor: Executor, task: Task) -> float:
    executor.run(task)
    least = float("inf")
    for _ in range(_TRIES):
        start = time.perf_counter()
        executor.run(task)
        least = min(least, time.perf_counter() - start)
    return least


class AutoExecutor:
    """Runs each task where it is predicted to be fastest; its result is the same anywhere.

    Before costs are known, tasks of fewer than 2,000 simulations run one shard after another, larger ones on threads.
    They are measured after the first task, once a process; a file keeps the least that were ever measured on this
    machine, since other work on it only adds, and serves until then.

    Args:
        game: the rules.
        config: of the search.
        workers: most threads; 0 for all cores.
        remote: how many search actors there could be, and what makes the executor that has them; they come into
            question if they are more than the threads, and are made when they are first predicted to be faster.
        cache: file of known costs; None for `cache_path()`.

    Attributes:
        chosen: name of the executor that ran the last task.
    """

    def __init__(
        self,
        game: Game,
        config: Uct,
        workers: int = 0,
        remote: tuple[int, Callable[[], Executor]] | None = None,
        cache: Path | None = None,
    ) -> None:
        self.game = game
        self.config = config
        self.threads = min(workers or cores(), cores())
        self.chosen = ""
        self.costs: ExecutorCosts | None = None
        self._measured = False
        self._cache = cache or cache_path()
        self._key = _cost_key(game, config, self.threads)
        self._executors: dict[str, Executor] = {
            "sequential": ShardSearch(game, config),
            "threads": ShardSearch(game, config, self.threads),
        }
        self._actors, self._make_actors = remote or (0, None)
        self._actors_s = 0.0  # of a decision by actors, beside its simulations; measured once they are made

    def run(self, task: Task, watch: WatchRoots | None = None) -> Roots:
        """See `scoundrel_ray.decision.shards.Executor`."""
        if not self._measured:
            self.costs = read_costs(self._cache, self._key)
        self.chosen = self.choose(task)
        if self.chosen == "ray" and self._make_actors is not None:
            self._executors["ray"], self._make_actors = self._make_actors(), None
            few = Task(task.state, 1, (1,) * self._actors, None)
            self._actors_s = _least_seconds(self._executors["ray"], few)
            self.chosen = self.choose(task)
        roots = self._executors[self.chosen].run(task, watch)
        if not self._measured and self.threads > 1:
            costs = measure_costs(self.game, self.config, self.threads)
            self.costs = costs if self.costs is None else least(costs, self.costs)
            write_costs(self._cache, self._key, self.costs)
        self._measured = True
        return roots

    def choose(self, task: Task) -> str:
        """Name of the executor that is predicted to be fastest for a task."""
        budgets = task.budgets
        if self.threads == 1 and self._actors <= 1:
            return "sequential"
        if len(budgets) == 1:  # only playouts of one tree may be spread, and where they are so is for the user to say
            return "sequential"
        if task.seconds is not None:
            return "threads" if self.threads > 1 else "sequential"
        if self.costs is None:
            return "threads" if sum(budgets) >= _THRESHOLD and self.threads > 1 else "sequential"
        predicted = self.predict(budgets)
        best = "sequential"
        for name in ("threads", "ray"):
            if name in predicted and predicted[name] * _GAIN_WANTED < predicted[best]:
                best = name
        return best

    def predict(self, budgets: Sequence[int]) -> dict[str, float]:
        """Seconds that a task should take, by executor. Wants known costs."""
        assert self.costs is not None
        c = self.costs
        seconds = {"sequential": c.simulation_s * sum(budgets)}
        if self.threads > 1:
            seconds["threads"] = c.threads_s + c.simulation_s * c.slowdown * _longest(budgets, self.threads)
        if self._actors > self.threads:
            seconds["ray"] = self._actors_s + c.simulation_s * c.slowdown * _longest(budgets, self._actors)
        return seconds

    def close(self) -> None:
        """End threads and actors."""
        for executor in self._executors.values():
            executor.close()


def _longest(budgets: Sequence[int], workers: int) -> int:
    """Simulations of the worker that has most of them, each with a run of neighbouring shards."""
    workers = min(workers, len(budgets))
    edges = [len(budgets) * i // workers for i in range(workers + 1)]
    return max(sum(budgets[low:high]) for low, high in itertools.pairwise(edges))


def cache_path() -> Path:
    """Where costs are kept: scoundrel_ray/costs.json in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "scoundrel_ray" / "costs.json"


def _cost_key(game: Game, config: Uct, threads: int) -> str:
    """What costs depend on: the machine, the game, the search and the threads."""
    options = json.dumps(dict(game.options), sort_keys=True)
    search = json.dumps({**asdict(config), "simulations": None}, sort_keys=True)
    return f"{platform.node()}, {cores()} cores: {game.name} {game.version} {options}, {search}, {threads} threads"


def read_costs(path: Path, key: str) -> ExecutorCosts | None:
    """Known costs, or None; a file that is missing or damaged is as good as empty."""
    try:
        return ExecutorCosts(**{name: float(value) for name, value in json.loads(path.read_text())[key].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_costs(path: Path, key: str, costs: ExecutorCosts) -> None:
    """Add costs to the file; nothing depends on its success."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    try:
        write_file(
            path, json.dumps({**(known if isinstance(known, dict) else {}), key: asdict(costs)}, indent=1).encode()
        )
    except StorageError:
        return
