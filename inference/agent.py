"""A trained agent as a player: its network in this process, its search around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inference.local import LocalEvaluator
from inference.model import Model
from scoundrel_ray.game import Game
from scoundrel_ray.network import load, make_network
from scoundrel_ray.players import SearchPlayer
from scoundrel_ray.runs.directory import saved_config, trained_weights
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.searches.worlds import SHARED, check_worlds
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import at_least


def network_player(
    game: Game,
    network: Mapping[str, Any],
    search: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    games: int,
    agent: str = "agent",
) -> SearchPlayer:
    """A player that searches with a network, in float32, so that its play is the same on every machine of a kind.

    Args:
        game: the rules.
        network, search: config sections.
        arrays: the network's weights.
        games: positions searched at once.
        agent: for messages.
    """
    net = make_network(network, game)
    load(net, arrays)
    model = Model(net, agent=agent, precision="float32")
    return SearchPlayer(game, build("search", search, SearchConfig), LocalEvaluator(model), games)


def agent_search(
    config: Mapping[str, Any], simulations: int = 0, tree: str | None = None, worlds: int | None = None
) -> dict[str, Any]:
    """Section of the search that a run's agent plays with.

    Args:
        config: the run's settings.
        simulations: 0 for the run's own.
        tree: "shared" or "per_world" (see `scoundrel_ray.searches.worlds`), None for the run's own.
        worlds: redealt worlds with a tree each; None for the run's own, or for 1 if `tree` is given as "shared".

    Raises:
        InvalidSetting: naming what is wrong with the three.
    """
    at_least("simulations", simulations, 0)
    section = dict(config["evaluation_search"])
    if simulations:
        section["simulations"] = simulations
    if tree is not None:
        section |= {"tree": tree, "worlds": 1} if tree == SHARED else {"tree": tree}
    if worlds is not None:
        section["worlds"] = worlds
    if tree is not None or worlds is not None:
        check_worlds(section["tree"], section["worlds"])
    return section


def player_of_run(
    run: Path, game: Game, games: int = 1, simulations: int = 0, tree: str | None = None, worlds: int | None = None
) -> SearchPlayer:
    """The trained agent of a run.

    Args:
        run: its directory.
        game: to play; must be the one that it was trained for.
        games: positions searched at once.
        simulations, tree, worlds: of its search; see `agent_search`.

    Raises:
        InvalidConfig: if there is no such run, no checkpoint in it, or a search cannot be so.
        StorageError: if it was trained for another game.
    """
    config = saved_config(run)
    saved = trained_weights(run, game)
    return network_player(game, saved.network, agent_search(config, simulations, tree, worlds), saved.arrays, games)
