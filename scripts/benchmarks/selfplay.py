"""Suite "selfplay": games a minute with batched inference, beside the same search asking leaf by leaf.

What plays comes from the command line: game=, search=, network=, rollout.*, inference.*. With -m and several values of
some keys it is a sweep, which ends with one table, CSV and plot of all its points (see `sweep`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scoundrel_ray.network import make_network, parameter_count
from scoundrel_ray.settings.checks import switch, within
from scoundrel_ray.tuning.setting import Setting
from scripts.measuring.figures import Figure, Figures
from scripts.measuring.self_play import alone, leaves_per_game, self_play

_LEAF_BY_LEAF_GAMES = 4  # in lockstep: more would only take longer to get under way
_WANTED_RATIO = 20.0


def run(settings: Mapping[str, Any], seconds: float, baseline: bool) -> Figures:
    """The figure of one setting, beside the baseline unless baseline=false."""
    from actors.cluster import connected

    within("suite.seconds", seconds, 0.1, 3600.0)
    switch("suite.baseline", baseline)
    setting = Setting.of(settings)
    leaves = leaves_per_game(setting)
    theirs = None
    with connected():
        ours = self_play(setting, seconds)
        if baseline:
            theirs = alone(setting.with_rollout(games=_LEAF_BY_LEAF_GAMES), seconds, leaf_by_leaf=True)
    figure = Figure(
        setting.described(parameter_count(make_network(setting.network, setting.built_game().spec))),
        ours.games_per_min(leaves),
        "games/min",
        "the same search, leaf by leaf at batch 1 in float32" if theirs else None,
        theirs.games_per_min(leaves) if theirs else None,
        wanted_ratio=_WANTED_RATIO if theirs else None,
        details={
            "mean batch": ours.mean_batch,
            "leaves/s": ours.leaves_per_s,
            "padding share": ours.padding_share,
            "inference busy share": ours.busy_share,
            "worker wait share": ours.wait_share,
        },
    )
    return Figures([figure])
