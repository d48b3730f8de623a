"""What a network's batches cost, by size, in both precisions, on more threads."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from scoundrel_ray.network import make_network
from scoundrel_ray.spec import random_observations
from scoundrel_ray.tuning.batch_sizes import size_grid
from scoundrel_ray.tuning.prediction import InferenceCosts
from scoundrel_ray.tuning.setting import Setting

PRECISIONS = ("float32", "bfloat16")
_BATCH_S = 0.06  # spent on a size in a round
_CONCURRENT_S = 0.3  # of each round with several threads: the system spreads them over cores within some
_ROUNDS = 3
_LONGEST_S = 0.5  # a batch that takes longer is larger than anyone waits for
_MOST = {"cpu": 2048, "cuda": 16384}
_SETTLED = 0.02


def inference_costs(
    setting: Setting, device: str, threads: Sequence[int], tick: Callable[[str], None] = lambda _: None
) -> dict[str, InferenceCosts]:
    """By precision: "float32", "bfloat16", or the one that the setting names; the one to use comes first.

    Powers of two are tried in both, the steps between them in the faster.

    Args:
        setting: whose network.
        device: "cpu" or "cuda".
        threads: above 1, with a batch each, that come into question; a GPU wants none.
        tick: told before each measurement.
    """
    import torch

    from inference.model import Model

    game = setting.built_game()
    network = make_network(setting.network, game.spec)
    grid = size_grid(_MOST.get(device, _MOST["cuda"]))
    powers = [size for size in grid if size & (size - 1) == 0]
    observations = random_observations(game.spec, grid[-1])
    wanted = setting.inference.precision
    # With one thread it is this one that computes, so that other work on the machine does not count.
    clock = time.thread_time if device == "cpu" else time.perf_counter
    before = torch.get_num_threads()
    try:
        models = {
            name: Model(network, precision=name, batch_sizes=grid, device=device, threads=1)
            for name in (PRECISIONS if wanted == "auto" else (wanted,))
        }
        found = {}
        for name, model in models.items():
            tick(f"inference, {name}")
            found[name] = batch_seconds(model, observations, powers, clock)
        chosen = faster({name: InferenceCosts(seconds) for name, seconds in found.items()})
        tick(f"inference, {chosen}, steps")
        limit = max(found[chosen])
        between = [size for size in grid if size not in found[chosen] and size < limit]
        steps = batch_seconds(models[chosen], observations, between, clock)
        found[chosen] = dict(sorted({**found[chosen], **steps}.items()))
        largest, speedup = max(found[chosen]), {}
        for count in (1, *threads) if device == "cpu" else ():
            tick(f"inference, {count} threads")
            speedup[count] = batches_per_s(models[chosen], observations[:largest], count)
        speedup = {count: rate / speedup[1] for count, rate in speedup.items()} or {1: 1.0}
    finally:
        torch.set_num_threads(before)
    costs = {chosen: InferenceCosts(found[chosen], speedup)}
    return costs | {name: InferenceCosts(seconds) for name, seconds in found.items() if name != chosen}


def batches_per_s(model: Any, observations: np.ndarray, threads: int) -> float:
    """Batches that so many threads evaluate in a second, each its own; the best of several rounds."""

    def evaluate(end: float) -> int:
        count = 0
        while not count or time.perf_counter() < end:
            model.evaluate(observations)
            count += 1
        return count

    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            counts = list(pool.map(evaluate, [start + _CONCURRENT_S] * threads))
            best = max(best, sum(counts) / (time.perf_counter() - start))
    return best


def faster(costs: dict[str, InferenceCosts]) -> str:
    """The precision to use, as a model would choose it: bfloat16 if a leaf costs at least 1.1 times less in it."""
    from inference.model import GAIN_WANTED

    if len(costs) == 1:
        return next(iter(costs))
    gain = costs["float32"].leaf_s / costs["bfloat16"].leaf_s
    return "bfloat16" if gain >= GAIN_WANTED else "float32"


def batch_seconds(
    model: Any, observations: np.ndarray, sizes: Sequence[int], clock: Callable[[], float] = time.perf_counter
) -> dict[int, float]:
    """Median seconds of a batch by size, the least of several rounds over all, so that a busy moment hits one alone.

    Sizes ascend; larger ones are left out once a batch takes half a second, or a leaf has got no cheaper for two sizes
    that are each twice the one before.

    Args:
        model: that evaluates; it must not pad these sizes.
        observations: at least as many as the largest.
        sizes: ascending.
        clock: seconds.
    """
    seconds: dict[int, float] = {}
    for size in sizes:
        seconds[size] = _median_seconds(model, observations[:size], clock)
        if seconds[size] > _LONGEST_S or _settled(seconds):
            break
    for _ in range(_ROUNDS - 1):
        for size, least in seconds.items():
            seconds[size] = min(least, _median_seconds(model, observations[:size], clock))
    return seconds


def _settled(seconds: dict[int, float]) -> bool:
    """Whether the last two of three sizes, each at least twice the one before, made a leaf no cheaper."""
    last = list(seconds)[-3:]
    if len(last) < 3 or last[0] < 128 or last[1] < 2 * last[0] or last[2] < 2 * last[1]:
        return False
    return min(seconds[size] / size for size in last[1:]) > (1.0 - _SETTLED) * seconds[last[0]] / last[0]


def _median_seconds(model: Any, observations: np.ndarray, clock: Callable[[], float]) -> float:
    model.evaluate(observations)
    taken: list[float] = []
    end = clock() + _BATCH_S
    while not taken or clock() < end:
        start = clock()
        model.evaluate(observations)
        taken.append(clock() - start)
    return statistics.median(taken)
