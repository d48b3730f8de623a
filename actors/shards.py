"""Where one decision is searched: in this process, or by search actors on other processes and nodes.

Search actors are made once, warmed, and kept; a decision's state travels as its few bytes. Where one dies, its shards
are searched again by another (see `actors.tasks`): a shard's result depends on the task alone.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np
import ray

from actors.tasks import Ask, TaskPool
from scoundrel_ray import rng
from scoundrel_ray.decision.auto import AutoExecutor
from scoundrel_ray.decision.shards import Effort, Executor, PositionSearch, Roots, ShardSearch, Task, WatchRoots
from scoundrel_ray.game import Game
from scoundrel_ray.players import PositionPlayer
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.searches.worlds import SHARED
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig

_remote: Any = ray.remote  # type checkers do not see what it adds


# A task pool replaces actors that die and counts how often: Ray itself must do neither.
@_remote(num_cpus=0, max_restarts=0, max_task_retries=0, enable_task_events=False, concurrency_groups={"control": 1})
class SearchActor:
    """Runs shards.

    Args:
        game: config section.
        config: of the search.
    """

    def __init__(self, game: dict[str, Any], config: Uct) -> None:
        self._shards = ShardSearch(build("game", game, Game), config)

    def run(self, state: bytes, key: int, budgets: tuple[int, ...], seconds: float | None, first: int, count: int):
        """`Roots` of shards first .. first + count - 1 of a task, as a plain tuple."""
        task = Task(np.frombuffer(state, dtype=np.int32), key, budgets, seconds)
        return tuple(self._shards.run_some(task, first, count))

    @ray.method(concurrency_group="control")
    def pid(self) -> int:
        """Process id; any answer says that the process is there."""
        return os.getpid()


class RayExecutor:
    """Spreads a task's shards over search actors. It needs a connected Ray.

    Args:
        game: the rules; with the config section that it was built from, for the actors.
        config: of the search.
        workers: actors.

    Raises:
        ValueError: for a game that was not built from a config section.
    """

    def __init__(self, game: Game, config: Uct, workers: int) -> None:
        if not game.section:
            raise ValueError(f"search actors build the game {game.name} from its config section, and it has none")
        self._workers = workers
        self._pool = TaskPool(lambda: SearchActor.remote(dict(game.section), config), workers)
        # Every actor is made and every kernel loaded before the first decision is waited for.
        state = game.deal(rng.stream(0))
        try:
            self.run(Task(state, 0, (1,) * workers, None))
        except BaseException:
            self.close()
            raise

    @property
    def actors(self) -> list[Any]:
        """Handles of the search actors."""
        return self._pool.actors

    def run(self, task: Task, watch: WatchRoots | None = None) -> Roots:
        """See `scoundrel_ray.decision.shards.Executor`. Actors are not watched.

        Raises:
            RuntimeError: if actors died again and again.
        """
        state = np.ascontiguousarray(task.state, dtype=np.int32).tobytes()
        shards = len(task.budgets)
        edges = [shards * i // self._workers for i in range(self._workers + 1)]

        def part(first: int, count: int) -> Ask:
            return lambda actor: actor.run.remote(state, task.key, task.budgets, task.seconds, first, count)

        parts = {
            f"search of shards {first} to {stop - 1} of {shards}": part(first, stop - first)
            for first, stop in itertools.pairwise(edges)
            if stop > first
        }
        roots = dict(self._pool.run(parts))
        return Roots(*(np.concatenate(arrays) for arrays in zip(*(roots[name] for name in parts), strict=True)))

    def close(self) -> None:
        """End the actors."""
        self._pool.close()


def executor_for(game: Game, config: Uct, effort: Effort) -> Executor:
    """The executor of an effort's shards. Search actors need a connected Ray, and a game built from a config section.

    Raises:
        InvalidConfig: for search actors without a Ray.
    """
    if effort.executor == "sequential":
        return ShardSearch(game, config)
    if effort.executor == "threads":
        return ShardSearch(game, config, effort.cores)
    connected = ray.is_initialized()
    actors = effort.workers or (int(ray.cluster_resources().get("CPU", 0)) if connected else 0)
    if effort.executor == "auto":
        remote = (actors, lambda: RayExecutor(game, config, actors)) if connected and len(ray.nodes()) > 1 else None
        return AutoExecutor(game, config, effort.workers, remote)
    if not connected:
        raise InvalidConfig("search.executor: got 'ray', wanted another: no Ray is connected")
    return RayExecutor(game, config, max(actors, 1))


def uct(
    game: Game,
    simulations: int | None = 20_000,
    time_ms: float | None = None,
    executor: str = "auto",
    workers: int = 0,
    shards: int = 0,
    leaves: int = 1,
    tree: str = SHARED,
    worlds: int = 1,
    exploration: float = 0.5,
    playouts: str = "heuristic",
    virtual_loss: float = 1.0,
    cheating: bool = False,
    solve: bool = True,
) -> PositionPlayer:
    """A player that searches every position by UCT; see `Effort` and `Uct` for the settings."""
    effort = Effort(simulations, time_ms, executor, workers, shards, solve)
    config = Uct(
        tree=tree,
        worlds=worlds,
        exploration=exploration,
        playouts=playouts,
        leaves=leaves,
        virtual_loss=virtual_loss,
        cheating=cheating,
    )
    return PositionPlayer(PositionSearch(game, config, effort, executor_for(game, config, effort)))
