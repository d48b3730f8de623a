"""The settings that come into question on a machine, within its memory, and those worth measuring for real."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from scoundrel_ray.experience.lockstep import HALVES
from scoundrel_ray.experience.rows import decision_dtype
from scoundrel_ray.game import Game
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.searches.forest import most_bytes
from scoundrel_ray.tuning.prediction import LOCAL, MachineCosts, Point, Prediction, predict

GAMES = (32, 64, 128, 256, 512, 1024, 2048)
_WORKER_BYTES = 150 << 20
_TORCH_BYTES = 180 << 20  # on top, where a worker has a network of its own
_TIE = 0.02  # within which the smaller of two settings is better: fewer processes, fresher games
_FILLED = 0.5  # of max_batch: below it a batch counts as not filled

Ranked = list[tuple[Point, Prediction]]


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4 ... and `most` itself."""
    return sorted({1 << n for n in range(most.bit_length())} | {most})


def worker_bytes(game: Game, search: SearchConfig, point: Point) -> int:
    """Upper bound of a worker's memory: process, forests of both half-groups and the games' rows."""
    shared = bool(search.parameters(game).shared)
    trees = point.games // HALVES * search.trees_per_game
    forests = HALVES * most_bytes(game, trees, search.simulations, point.leaves, shared)
    rows = point.games * game.max_steps * decision_dtype(game.spec).itemsize
    return forests + rows + _WORKER_BYTES + (_TORCH_BYTES if point.transport == LOCAL else 0)


def rank(costs: MachineCosts, game: Game, search: SearchConfig, leaves: Sequence[int], memory_bytes: int) -> Ranked:
    """All settings that fit, with what they should do, the fastest first.

    Args:
        costs: of this machine.
        game, search: what is played and searched.
        leaves: numbers of leaves a tree and step that come into question.
        memory_bytes: that all workers together may take.

    Raises:
        MemoryError: if none fits, with what the smallest wants.
    """
    most_workers = 2 * costs.cores
    inference_threads = sorted(costs.inference.speedup)
    grid = itertools.product(
        sorted(
            {*range(1, min(most_workers, 4) + 1), *powers_of_two(most_workers), max(costs.cores - 1, 1), costs.cores}
        ),
        sorted(costs.search.speedup),
        GAMES,
        leaves,
        costs.transports,
        inference_threads,
    )
    points = [point for point in itertools.starmap(Point, grid) if point.workers * point.threads <= most_workers]
    sizes = {
        key: worker_bytes(game, search, Point(1, 1, *key, 1))
        for key in {(point.games, point.leaves, point.transport) for point in points}
    }
    fitting = [p for p in points if p.workers * sizes[p.games, p.leaves, p.transport] <= memory_bytes]
    if not fitting:
        raise MemoryError(
            f"rollout: the smallest worker may need {min(sizes.values()) / 2**20:.0f} MiB, {memory_bytes / 2**20:.0f} "
            "MiB may be taken: lower search.simulations or search.worlds"
        )
    ranked = [(point, predict(costs, point)) for point in fitting]
    return sorted(ranked, key=lambda pair: -pair[1].leaves_per_s)


def filled(costs: MachineCosts, ranked: Ranked) -> bool:
    """Whether any of these settings gives batches of half the size that the device wants."""
    return any(prediction.batch >= _FILLED * costs.inference.max_batch for _, prediction in ranked)


def preferred(ranked: Ranked) -> tuple[Point, Prediction]:
    """The smallest of the settings that are as good as the fastest."""
    near = [pair for pair in ranked if pair[1].leaves_per_s >= (1.0 - _TIE) * ranked[0][1].leaves_per_s]
    return min(near, key=lambda pair: _size(pair[0]))


def first_round(ranked: Ranked) -> Ranked:
    """What to measure first: the best over each transport, as the model errs most between them; the fastest first."""
    chosen = [
        preferred([pair for pair in ranked if pair[0].transport == transport])
        for transport in dict.fromkeys(point.transport for point, _ in ranked)
    ]
    return sorted(chosen, key=lambda pair: -pair[1].leaves_per_s)


def second_round(ranked: Ranked, measured: Mapping[Point, float]) -> Ranked:
    """What to measure then: beside the best so far, the best with fewer workers, with more, and with other games."""
    best = max(measured, key=lambda point: measured[point])
    same = [pair for pair in ranked if pair[0].transport == best.transport and pair[0] not in measured]
    groups = (
        [pair for pair in same if pair[0].workers < best.workers],
        [pair for pair in same if pair[0].workers > best.workers],
        [pair for pair in same if pair[0].workers == best.workers and pair[0].games != best.games],
    )
    return [preferred(group) for group in groups if group]


def _size(point: Point) -> tuple[int, ...]:
    return point.leaves, point.workers * point.threads + point.inference_threads, point.workers, point.games
