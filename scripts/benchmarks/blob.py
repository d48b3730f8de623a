"""Suite "blob": Blob's figures in one run: shared batches beside batches of one search alone, beside leaf by leaf; the
transports alone; UCT beside OpenSpiel's; with checkpoint=, a run of Blob's, whether batches cost quality.

Four players, rounds of five cards, a network of 4.9 M parameters. The published rounds a minute that stand in the
cases' names (1049, 741 and 310 at 2 x 20, 3 x 30 and 5 x 50) were measured with 32 processes and an RTX 4060.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scoundrel_ray.game import Game
from scoundrel_ray.network import make_network, parameter_count
from scoundrel_ray.runs.directory import saved_config
from scoundrel_ray.search import Search
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.searches.worlds import PER_WORLD
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig, at_least, one_of, within
from scoundrel_ray.tuning.setting import Setting
from scripts.entry import section
from scripts.measuring.figures import Figure, Figures
from scripts.measuring.quality import quality_figures
from scripts.measuring.searches import deals, decide_once, game_of
from scripts.measuring.self_play import alone, in_turns, leaves_per_game, self_play
from scripts.measuring.timing import least_seconds
from scripts.measuring.transports import transport_figures

_WIDTH = 944  # 4.9 M parameters
_WORKERS = 4
_GAMES = 256  # in lockstep in each worker
_PUBLISHED = {(2, 20): 1049, (3, 30): 741, (5, 50): 310}
_MAIN = (3, 30)
_LEAST_BATCH = 256


def run(settings: Mapping[str, Any], repeats: int, seconds: float, checkpoint: str | None) -> Figures:
    """Figures of all rows; those of quality only with a run's checkpoint."""
    from actors.cluster import connected

    at_least("suite.repeats", repeats, 1)
    within("suite.seconds", seconds, 0.1, 3600.0)
    main = setting_of(settings, *_MAIN)
    one_of("inference.transport", main.inference.transport, ("ray", "shm"))
    if checkpoint is not None:
        check_game(checkpoint, main.built_game())
    figures = []
    with connected():
        transports = transport_figures()  # which fails in seconds, if at all
        for worlds, simulations in _PUBLISHED:
            figures += against_leaf_by_leaf(setting_of(settings, worlds, simulations), seconds, repeats)
        figures += against_one_search(main, seconds, repeats)
    figures += [beside_open_spiel(simulations, repeats) for simulations in (1000, 10_000)]
    figures += transports
    if checkpoint is not None:
        figures += quality_figures(checkpoint, main.search)
    return Figures(figures)


def check_game(checkpoint: str, game: Game) -> None:
    """Refuse a run of another game."""
    played = build("game", saved_config(Path(checkpoint))["game"], Game)
    if played.name != game.name:
        raise InvalidConfig(f"suite.checkpoint: got a run of {played.name}, wanted one of {game.name}")


def setting_of(settings: Mapping[str, Any], worlds: int, simulations: int) -> Setting:
    """PUCT over so many worlds, in 4 workers of 256 games; the inference and the rest are the command line's."""
    setting = Setting.of({
        **settings,
        "game": section("game", "blob"),
        "search": {**section("search", "puct"), "tree": PER_WORLD, "worlds": worlds, "simulations": simulations},
        "network": {**section("network", "residual_mlp_large"), "width": _WIDTH},
    })  # fmt: skip
    return setting.with_rollout(workers=_WORKERS, games=_GAMES)


def against_leaf_by_leaf(setting: Setting, seconds: float, turns: int) -> list[Figure]:
    """Rounds a minute of shared batches beside the sequential original, and the mean batch."""
    worlds, simulations = setting.search["worlds"], setting.search["simulations"]
    leaves = leaves_per_game(setting)
    ours, theirs = in_turns(
        turns,
        partial(self_play, setting, seconds),
        partial(alone, setting.with_rollout(games=4), seconds, leaf_by_leaf=True),
    )
    size = parameter_count(make_network(setting.network, setting.built_game().spec)) / 1e6
    case = f"Blob, {worlds} worlds x {simulations}, {size:.1f} M parameters, {_WORKERS} workers"
    main = (worlds, simulations) == _MAIN
    details = {"mean batch": ours.mean_batch, "leaves/s": ours.leaves_per_s, "inference busy share": ours.busy_share}
    return [
        Figure(
            f"{case} (published: {_PUBLISHED[worlds, simulations]}, another machine)",
            ours.games_per_min(leaves),
            "rounds/min",
            "the same search, leaf by leaf at batch 1 in float32",
            theirs.games_per_min(leaves),
            wanted_ratio=25.0 if main else None,
            details=details,
        ),
        *([Figure(f"{case}: mean batch", ours.mean_batch, "leaves", wanted=_LEAST_BATCH)] if main else []),
    ]


def against_one_search(setting: Setting, seconds: float, turns: int) -> list[Figure]:
    """Shared batches beside batches within a search: every worker with its own network and one game at a time."""
    # As many leaves of a tree at a time as it has simulations: batches of up to worlds x simulations.
    # Without virtual losses they would soon meet one another's leaves, and a tree's batch ends there.
    within = setting.with_search(leaves=setting.search["simulations"], virtual_loss=1.0).with_rollout(games=2)
    leaves, leaves_within = leaves_per_game(setting), leaves_per_game(within)
    figures = []
    for workers in (1, 2, 4):
        ours, theirs = in_turns(
            turns,
            partial(self_play, setting.with_rollout(workers=workers), seconds),
            partial(alone, within.with_rollout(workers=workers), seconds, leaf_by_leaf=False),
        )
        figures.append(
            Figure(
                f"Blob, 3 worlds x 30, {workers} workers, one server for all",
                ours.games_per_min(leaves),
                "rounds/min",
                f"batches within a search, mean {theirs.mean_batch:.0f}, nothing shared",
                theirs.games_per_min(leaves_within),
                wanted_ratio=1.0,
                details={"mean batch": ours.mean_batch},
            )
        )
    return figures


def beside_open_spiel(simulations: int, repeats: int) -> Figure:
    """UCT over many worlds with random playouts, from the first bid, beside OpenSpiel's C++ ISMCTS."""
    theirs = None
    if importlib.util.find_spec("pyspiel"):
        import pyspiel

        game = pyspiel.load_game("oh_hell(players=4,num_tricks_fixed=5)")
        state, dice = game.new_initial_state(), np.random.default_rng(0)
        while state.is_chance_node():
            state.apply_action(int(dice.choice([action for action, _ in state.chance_outcomes()])))

        def search() -> None:
            bot = pyspiel.ISMCTSBot(
                0, pyspiel.RandomRolloutEvaluator(1, 0), 1.0, simulations, -1,
                pyspiel.ISMCTSFinalPolicyType.MAX_VISIT_COUNT, False, True,
            )  # fmt: skip
            bot.step(state)

        theirs = simulations / least_seconds(search, repeats)
    game_ = game_of("blob")
    search_ = Search(game_, Uct(simulations=simulations), 1)
    states = deals(game_, 1)
    return Figure(
        f"UCT over many worlds, Blob, 4 players, 5 cards, {simulations:,} simulations, random playouts, one core",
        simulations / least_seconds(lambda: decide_once(search_, states), repeats),
        "simulations/s",
        "OpenSpiel ISMCTSBot on oh_hell (C++; it resamples the dealt cards alone)",
        theirs,
        wanted_ratio=3.0,
    )
