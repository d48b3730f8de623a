"""Suite "parallel": one Scoundrel decision by every executor, over simulations and workers, equal results asserted."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.decision.auto import AutoExecutor
from scoundrel_ray.decision.shards import Effort, Executor, PositionSearch, ShardSearch
from scoundrel_ray.game import Game
from scoundrel_ray.machine import cores
from scoundrel_ray.searches.forest import Decisions
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import at_least
from scripts.measuring.figures import Figure, Figures

_SIMULATIONS = (500, 2000, 8000, 80_000)
_WORKERS = (1, 2, 4, 8, 16)
_UNIT = "decisions/s"


def run(settings: Mapping[str, Any], repeats: int) -> Figures:
    """Figures of threads and search actors beside one core, of the automatic choice beside the best fixed one."""
    at_least("suite.repeats", repeats, 1)
    from actors.cluster import connected
    from actors.shards import RayExecutor

    game = build("game", {"_target_": "scoundrel_ray.games.scoundrel.make"}, Game)
    present = cores()
    once, _ = timed(game, {"one core": ShardSearch(game, Uct())}, 100_000, repeats)
    figures = [Figure("100,000 simulations, one core", 1 / once["one core"], _UNIT, wanted=4)]
    with connected(), tempfile.TemporaryDirectory() as scratch:
        for workers in _WORKERS:
            executors: dict[str, Executor] = {
                "one core": ShardSearch(game, Uct()),
                "threads": ShardSearch(game, Uct(), workers),
                "search actors": RayExecutor(game, Uct(), workers),
                "auto": AutoExecutor(game, Uct(), workers, cache=Path(scratch) / "costs.json"),
            }
            for simulations in _SIMULATIONS:
                case = f"{simulations:,} simulations, {workers} workers"
                seconds, answers = timed(game, executors, simulations, repeats)
                for name, answer in answers.items():
                    check_equal(answer, answers["one core"], f"{case}, {name}")
                for name in ("threads", "search actors"):
                    full = name == "threads" and simulations == _SIMULATIONS[-1] and workers <= present
                    figures.append(
                        Figure(
                            f"{case}: {name}", 1 / seconds[name], _UNIT, "one core", 1 / seconds["one core"],
                            wanted_ratio=0.85 * workers if full else None,
                        )
                    )  # fmt: skip
                best = min(seconds[name] for name in executors if name != "auto")
                figures.append(
                    Figure(f"{case}: auto", 1 / seconds["auto"], _UNIT, "best of the three", 1 / best, wanted_ratio=0.9)
                )
            for executor in executors.values():
                executor.close()
    return Figures(figures)


def timed(
    game: Game, executors: dict[str, Executor], simulations: int, repeats: int
) -> tuple[dict[str, float], dict[str, Decisions]]:
    """Least seconds of a decision from the deal by each executor, and what it says.

    They take turns, so that a busy moment of the machine falls on all of them, of ten decisions each: the first after
    another's turn finds the processor's caches cold. Every second round goes backwards, as what another left running
    is still felt.
    """
    state, config = game.deal(rng.stream(3)), Uct()
    effort = Effort(simulations=simulations)
    positions = {name: PositionSearch(game, config, effort, executor) for name, executor in executors.items()}
    answers = {name: position.decide(state, rng.stream(5)) for name, position in positions.items()}
    seconds = dict.fromkeys(positions, float("inf"))
    for turn in range(repeats):
        for name, position in list(positions.items())[:: -1 if turn % 2 else 1]:
            for _ in range(10):
                start = time.perf_counter()
                position.decide(state, rng.stream(5))
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds, answers


def check_equal(got: Decisions, wanted: Decisions, case: str) -> None:
    """Raises:
    AssertionError: naming the case, if two decisions differ anywhere.
    """
    for name, one, other in zip(got._fields, got, wanted, strict=True):
        if not np.array_equal(one, other):
            raise AssertionError(f"{case}: {name} differs from one core's")
