"""One decision of a search on this thread: what suites that time searches share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.game import Game
from scoundrel_ray.search import Search
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.settings.build import build
from scripts.measuring.timing import least_seconds

Evaluate = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def game_of(name: str) -> Game:
    """A game of conf/game with its default options."""
    return build("game", {"_target_": f"scoundrel_ray.games.{name}.make"}, Game)


def deals(game: Game, count: int) -> np.ndarray:
    """[count, S] states to search."""
    return np.stack([game.deal(rng.stream(i)) for i in range(count)])


def decide_once(search: Search, states: np.ndarray, evaluate: Evaluate | None = None) -> None:
    """Take one decision in every place of a search."""
    games = np.arange(len(states), dtype=np.int64)
    search.begin(games, states, rng.streams(len(states), 1))
    search.run(evaluate)
    search.finished()
    search.decide(games, np.zeros(len(states), dtype=np.float32), rng.streams(len(states), 2))


def uct_rate(game: Game, simulations: int, repeats: int) -> float:
    """Simulations a second of one UCT search from the deal, on this thread."""
    search = Search(game, Uct(simulations=simulations), 1)
    states = deals(game, 1)
    return simulations / least_seconds(lambda: decide_once(search, states), repeats)
