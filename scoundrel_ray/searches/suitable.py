"""Whether a search suits a game and this machine; each refusal is one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scoundrel_ray.game import Game
from scoundrel_ray.searches.choice import GUMBEL, Parameters
from scoundrel_ray.searches.forest import most_bytes
from scoundrel_ray.searches.worlds import PER_WORLD, SHARED
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting

if TYPE_CHECKING:
    from scoundrel_ray.search import SearchConfig


def checked_parameters(game: Game, config: SearchConfig) -> Parameters:
    """Parameters of a search of `game`.

    Raises:
        InvalidSetting: for settings that make no sense together in this game.
    """
    parameters = config.parameters(game)
    if config.reuse and config.trees_per_game > 1:
        raise InvalidSetting(
            "reuse", f"got true with worlds {config.trees_per_game}, wanted one tree a game, whose subtree is kept"
        )
    if config.reuse and parameters.hidden and not parameters.shared:
        raise InvalidSetting(
            "reuse",
            f"got true with tree {PER_WORLD}, wanted tree {SHARED}: {game.name} hides something, so the next decision "
            "is searched in another world and nothing is kept",
        )
    if config.reuse and parameters.kind == GUMBEL:
        raise InvalidSetting("reuse", "got true, wanted false: kept visits would break the halving's schedule")
    return parameters


def check_evaluator(game: Game, config: SearchConfig, given: bool) -> None:
    """Refuse a search by playouts with an evaluator, and any other search without one.

    Raises:
        InvalidConfig: saying which of the two it is.
    """
    playouts_alone = not config.parameters(game).needs_evaluator
    if given and playouts_alone:
        raise InvalidConfig("search: got one that evaluates its leaves by playouts, wanted one that asks the network")
    if not given and not playouts_alone:
        raise InvalidConfig("search: got one that asks an evaluator and has none, wanted one by playouts")


def most_simulations(game: Game) -> int:
    """Largest number of simulations for which a tree can still number its edges."""
    return np.iinfo(np.int32).max // game.max_legal - 1


def check_memory(game: Game, config: SearchConfig, parameters: Parameters, games: int) -> None:
    """Refuse a forest that would not fit this machine's free memory.

    Raises:
        MemoryError: with the estimate, what is free and what to lower.
    """
    import psutil

    trees = games * config.trees_per_game
    wanted = most_bytes(game, trees, config.simulations, parameters.leaves, bool(parameters.shared))
    free = psutil.virtual_memory().available
    if wanted > free:
        raise MemoryError(
            f"search: {trees} trees of {config.simulations} simulations of {game.name} may need {wanted / 2**30:.1f} "
            f"GiB, {free / 2**30:.1f} GiB are free: lower search.simulations, search.worlds or rollout.games"
        )
    if config.simulations > most_simulations(game):
        raise MemoryError(
            f"search: a tree of {config.simulations} simulations of {game.name} may have more edges than the "
            f"{np.iinfo(np.int32).max} that it can number: lower search.simulations or take more search.shards"
        )
