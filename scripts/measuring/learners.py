"""How many steps a second learners do, one after another and stacked, in both precisions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from scoundrel_ray.network import make_network, parameter_count
from scoundrel_ray.spec import Spec
from scoundrel_ray.worlds import treasure_hunt
from scripts.entry import section

PRECISIONS = ("float32", "bfloat16")


def measure_learners(
    count: int,
    batch: int,
    quantiles: int,
    seconds: float,
    network: Mapping[str, Any] | None = None,
    spec: Spec | None = None,
) -> dict[str, Any]:
    """Steps of IQN learners, by default of treasure hunt's networks, on one thread and on random rows.

    All four ways take turns, so that a busy machine slows them alike; each has its best turn of at least three.

    Args:
        count: of learners.
        batch: rows of a step.
        quantiles: drawn for each row, of either network.
        seconds: spent on each way, of the thread's processor time.
        network: section of each learner's; None for conf/network/quantile.
        spec: of the world; None for treasure hunt's.

    Returns:
        learners, batch, quantiles, parameters (of a network), and steps_per_s of all learners together, by processor
        time: {"separate" or "stacked": {"float32" or "bfloat16": ...}}.
    """
    import torch

    from learners.iqn import IQNConfig
    from learners.stacking import random_rows

    spec, network = spec or treasure_hunt.make().spec, network or section("network", "quantile")
    shape = {"batch_size": batch, "quantiles": quantiles, "target_quantiles": quantiles, "device": "cpu"}
    rows = [random_rows(IQNConfig(**shape), spec, seed) for seed in range(count)]
    ways: dict[tuple[str, str], Callable[[], Any]] = {}
    for precision in PRECISIONS:
        settings = IQNConfig(**shape, precision=precision)
        learners = [settings.make(make_network(network, spec, seed), seed) for seed in range(count)]
        stack = settings.stack(learners)
        ways["separate", precision] = lambda learners=learners: [
            learner.step(own) for learner, own in zip(learners, rows, strict=True)
        ]
        ways["stacked", precision] = lambda stack=stack: stack.step(rows)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        best = _best_seconds(ways, seconds)
    finally:
        torch.set_num_threads(before)
    rates = {
        kind: {precision: count / best[kind, precision] for precision in PRECISIONS} for kind in ("separate", "stacked")
    }
    told = {
        "learners": count,
        "batch": batch,
        "quantiles": quantiles,
        "parameters": parameter_count(make_network(network, spec)),
    }
    return {**told, "steps_per_s": rates}


def _best_seconds(ways: dict[tuple[str, str], Callable[[], Any]], seconds: float) -> dict[tuple[str, str], float]:
    """Least seconds of a call of each, by turns, after one to warm up."""
    for way in ways.values():
        way()
    best, spent, turns = dict.fromkeys(ways, float("inf")), dict.fromkeys(ways, 0.0), 0
    while turns < 3 or min(spent.values()) < seconds:
        turns += 1
        for name, way in ways.items():
            if turns > 3 and spent[name] >= seconds:
                continue
            start = time.thread_time()
            way()
            taken = time.thread_time() - start
            spent[name] += taken
            best[name] = min(best[name], taken)
    return best
