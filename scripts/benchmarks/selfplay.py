"""Suite "selfplay": games a minute with batched inference, beside the same search asking leaf by leaf.

What plays comes from the command line: game=, search=, network=, rollout.*, inference.*. With -m and several values of
some keys it is a sweep, which ends with one table, CSV and plot of all its points (see `sweep`).
"""

from __future__ import annotations

from typing import Any

from scoundrel_ray.network import make_network, parameter_count
from scoundrel_ray.searches.worlds import PER_WORLD
from scripts.benchmarks.figures import Figure
from scripts.benchmarks.sides import Setting, alone, leaves_per_game, self_play

_LEAF_BY_LEAF_GAMES = 4  # in lockstep: more would only take longer to get under way
_WANTED_RATIO = 20.0


def run(config: dict[str, Any]) -> list[Figure]:
    """One setting, and the baseline unless baseline=false."""
    from actors.cluster import connected

    setting = Setting.of(config)
    game = setting.built_game()
    leaves = leaves_per_game(setting)
    theirs = None
    with connected():
        ours = self_play(setting, config["seconds"])
        if config["baseline"]:
            theirs = alone(setting.with_rollout(games=_LEAF_BY_LEAF_GAMES), config["seconds"], leaf_by_leaf=True)
    return [
        Figure(
            describe(setting, parameter_count(make_network(setting.network, game)), game.name),
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
    ]


def describe(setting: Setting, parameters: int, game: str) -> str:
    """A setting in a line."""
    search = setting.search
    name = str(search["_target_"]).rpartition(".")[2]
    worlds = f"{search['worlds']} worlds x " if search["tree"] == PER_WORLD else ""
    return (
        f"self-play, {game}, {name} {worlds}{search['simulations']}, {parameters / 1e6:.1f} M parameters, "
        f"{setting.rollout.workers} workers x {setting.rollout.games} games over {setting.inference.transport}"
    )
