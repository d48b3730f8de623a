"""Suite "tuning": the settings that `scripts.tune` recommends beside the best of a sweep, in the same run.

What plays comes from the command line: game=, search=, network=, inference.*. Every point of a small grid is measured
once, with everything but the grid's keys as configured; then the best few and the recommended one in turns, since the
best of many noisy figures is too good to be true. It wants a quiet machine: what other work takes differs from point to
point.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scoundrel_ray.network import make_network, parameter_count
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import within
from scoundrel_ray.tuning.setting import Setting
from scripts.measuring.figures import Figure, Figures
from scripts.measuring.self_play import self_play
from scripts.measuring.tuner import Options, tune

_WORKERS = (1, 2, 4)
_GAMES = (64, 256, 1024)
_FINALISTS = 3
_TURNS = 3
_POINT_SHARE = 0.25  # of `seconds`: a point of the sweep, a confirmation of the tuning, a turn of the final
_WANTED_RATIO = 0.9


def run(settings: Mapping[str, Any], seconds: float) -> Figures:
    """The figure of the tuned settings beside the winner of a sweep."""
    from actors.cluster import connected
    from scoundrel_ray.network import check_device

    within("suite.seconds", seconds, 0.1, 3600.0)
    setting, point_s = Setting.of(settings), _POINT_SHARE * seconds
    device = check_device("inference.device", setting.inference.device).type
    with connected():
        tuned = tune(setting, Options(device, point_s, confirm=True, quality=True))
        swept = sweep(setting, point_s, [*tuned.costs.transports])
        finalists = [point for point, _ in swept[:_FINALISTS]]
        turns = [
            [self_play(point, point_s).leaves_per_s for point in (tuned.setting, *finalists)] for _ in range(_TURNS)
        ]
    ours, *theirs = (statistics.median(column) for column in zip(*turns, strict=True))
    best = max(range(len(theirs)), key=lambda i: theirs[i])
    size = parameter_count(make_network(setting.network, setting.built_game().spec))
    predicted = tuned.best.predicted
    return Figures(
        [
            Figure(
                f"tuned: {tuned.setting.described(size)}",
                ours,
                "leaves/s",
                f"best of {len(swept)} points of a sweep: {_short(finalists[best])}",
                theirs[best],
                wanted_ratio=_WANTED_RATIO,
                details={
                    "predicted leaves/s": predicted.leaves_per_s,
                    "predicted batch": predicted.batch,
                    "worst of the sweep, leaves/s": swept[-1][1],
                },
            )
        ]
    )


def sweep(setting: Setting, seconds: float, transports: list[str]) -> list[tuple[Setting, float]]:
    """Every point of the grid that fits into memory with its leaves a second, the fastest first."""
    swept: list[tuple[Setting, float]] = []
    for workers, games, transport in itertools.product(_WORKERS, _GAMES, transports):
        inference = replace(setting.inference, transport=transport)
        point = replace(setting, inference=inference).with_rollout(workers=workers, games=games)
        if _fits(point):
            swept.append((point, self_play(point, seconds).leaves_per_s))
    return sorted(swept, key=lambda pair: -pair[1])


def _fits(setting: Setting) -> bool:
    import psutil

    from scoundrel_ray.tuning.grid import worker_bytes
    from scoundrel_ray.tuning.prediction import Point

    r, search = setting.rollout, build("search", setting.search, SearchConfig)
    game = setting.built_game()
    leaves = search.parameters(game).leaves
    point = Point(r.workers, r.threads, r.games, leaves, setting.inference.transport, setting.inference.threads)
    return r.workers * worker_bytes(game, search, point) < psutil.virtual_memory().available


def _short(setting: Setting) -> str:
    r = setting.rollout
    return f"{r.workers} workers x {r.games} games over {setting.inference.transport}"
