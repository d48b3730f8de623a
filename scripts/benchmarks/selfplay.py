"""Suite "selfplay": games a minute with batched inference, beside the same search asking leaf by leaf.

What plays comes from the command line: game=, search=, network=, rollout.*, inference.*. With -m and several values of
some keys it is a sweep, which ends with one table, CSV and plot of all its points (see `sweep`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from scoundrel_ray.network import make_network, parameter_count
from scoundrel_ray.settings.checks import at_least, switch, within
from scoundrel_ray.tuning.setting import Setting
from scripts.measuring.figures import Figure, Figures
from scripts.measuring.self_play import alone, in_turns, leaves_per_game, self_play

_LEAF_BY_LEAF_GAMES = 4  # in lockstep: more would only take longer to get under way
_WANTED_RATIO = 20.0
_WANTED_OF_ONE = 0.9


def run(settings: Mapping[str, Any], seconds: float, baseline: bool, agents: int, repeats: int) -> Figures:
    """The figure of one setting, beside the baseline unless baseline=false; of several agents beside one, in turns."""
    from actors.cluster import connected

    within("suite.seconds", seconds, 0.1, 3600.0)
    switch("suite.baseline", baseline)
    setting = Setting.of(settings)
    at_least("suite.agents", agents, 1)
    if agents > 1:
        with connected():
            return Figures([beside_one_agent(setting, agents, seconds, repeats)])
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


def beside_one_agent(setting: Setting, agents: int, seconds: float, turns: int) -> Figure:
    """Leaves a second of several agents at one table, each with a network of its own, beside one agent alone.

    The games in lockstep are the same in all; wants a connected Ray.
    """
    several = setting.with_agents(agents)
    ours, theirs = in_turns(turns, partial(self_play, several, seconds), partial(self_play, setting, seconds))
    return Figure(
        several.described(parameter_count(make_network(setting.network, setting.built_game().spec))),
        ours.leaves_per_s,
        "leaves/s",
        "one agent, as many games",
        theirs.leaves_per_s,
        wanted_ratio=_WANTED_OF_ONE,
        details={"mean batch": ours.mean_batch, "mean batch of one agent": theirs.mean_batch},
    )
