"""What a worker's search costs, with an evaluator that costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scoundrel_ray.evaluator import Constant
from scoundrel_ray.experience.lockstep import HALVES
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.tuning.metered import Rate, median_rate, metered
from scoundrel_ray.tuning.prediction import SearchCosts
from scoundrel_ray.tuning.setting import Setting

_WINDOWS = 3


def search_rate(setting: Setting, seconds: float) -> Rate:
    """Leaves a second of one worker alone: the median of windows that each hold a whole decision of every game."""
    game, search = setting.built_game(), build("search", setting.search, SearchConfig)
    decision = setting.rollout.games * search.trees_per_game * search.simulations
    passed = metered(
        lambda evaluators: setting.worker(evaluators, 0),
        dict.fromkeys(setting.agents, Constant(game.actions, game.seats)),
        seconds,
        seconds / 4,
        _WINDOWS * decision,
    )
    return median_rate(passed, _WINDOWS)


def search_costs(
    setting: Setting,
    seconds: float,
    games: Sequence[int],
    threads: Sequence[int],
    tick: Callable[[str], None] = lambda _: None,
) -> SearchCosts:
    """By games in lockstep, ascending, and by threads with the most games.

    Args:
        setting: what is searched.
        seconds: of each measurement.
        games: in lockstep to try.
        threads: to try, above 1.
        tick: told before each measurement.
    """
    search = build("search", setting.search, SearchConfig)
    rates = {}
    for count in games:
        tick(f"search, {count} games")
        rates[count] = search_rate(setting.with_rollout(games=count, threads=1), seconds)
    most, alone = games[-1], rates[games[-1]]
    speedup = {1: 1.0}
    for count in threads:
        tick(f"search, {count} threads")
        found = search_rate(setting.with_rollout(games=most, threads=count), seconds)
        speedup[count] = found.leaves_per_s / alone.leaves_per_s
    asked = most // HALVES * search.trees_per_game * search.parameters(setting.built_game()).leaves
    # Processor time, so that other work on the machine does not count.
    leaf_s = {count: found.leaf_s for count, found in rates.items()}
    return SearchCosts(leaf_s, min(alone.message / asked, 1.0), speedup)


def leaves_factors(
    setting: Setting,
    seconds: float,
    games: int,
    leaves: Sequence[int],
    tick: Callable[[str], None] = lambda _: None,
) -> dict[int, float]:
    """Cost of a leaf with so many leaves a tree and step, over that with the setting's own number."""
    alone = setting.with_rollout(games=games, threads=1)
    tick("search, leaves as given")
    own, factors = search_rate(alone, seconds), {}
    for count in leaves:
        tick(f"search, {count} leaves a tree")
        factors[count] = search_rate(alone.with_search(leaves=count), seconds).leaf_s / own.leaf_s
    return factors
