"""From a game, a search and a network to the settings that this machine plays fastest with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import psutil

from scoundrel_ray.game import Game
from scoundrel_ray.machine import cores
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.searches.choice import UCT
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.tuning.grid import (
    Ranked,
    filled,
    first_round,
    powers_of_two,
    preferred,
    rank,
    second_round,
    worker_bytes,
)
from scoundrel_ray.tuning.prediction import LOCAL, InferenceCosts, MachineCosts, Point, Prediction, verdict
from scoundrel_ray.tuning.search_costs import leaves_factors, search_costs
from scoundrel_ray.tuning.setting import Setting
from scripts.measuring.network_costs import inference_costs
from scripts.measuring.self_play import Measured, gpu_share, self_play
from scripts.measuring.transports import transport_costs

_TRIED_GAMES = (32, 256, 1024)
_MORE_LEAVES = (2, 4, 8)
_SIMULATIONS_A_LEAF = 4  # at least so many for each leaf under way, or the tree would hardly steer them
_GAIN_FOR_LEAVES = 1.1  # wanted for the strength that they cost
_BUSY = 0.15
_NOISE = 0.05  # between measurements this close together the prediction decides
_FINALISTS = 2  # besides the best predicted
_TURNS_IN_A_CROWD = 3
_MEMORY_SHARE = 0.6  # of what is free, for the workers; the rest is the learner's, the replay's and everyone's

Tick = Callable[[str, float], None]


@dataclass(frozen=True)
class Options:
    """How to tune.

    Attributes:
        device: "cpu" or "cuda", of the inference.
        seconds: of each confirmation; the parts take a quarter as long each.
        confirm: measure the best predicted points for real.
        quality: keep the leaves a tree unless batches cannot be filled otherwise.
    """

    device: str
    seconds: float
    confirm: bool
    quality: bool


@dataclass(frozen=True)
class Tried:
    """A point with what it should do and, if it was tried, did (at its best)."""

    point: Point
    predicted: Prediction
    measured: Measured | None = None


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Attributes:
        setting: the given one at the best point.
        best: that point.
        tried: all points that were measured, or the predicted best of each transport.
        costs: of this machine.
        precisions: costs by precision, the one to use first.
        refused: transports that do not work here, and why.
        verdict: the limiting side, and what would help.
        notes: what else the user should know.
        gpus: that the inference actor and the learner should reserve, each.
    """

    setting: Setting
    best: Tried
    tried: list[Tried]
    costs: MachineCosts
    precisions: dict[str, InferenceCosts]
    refused: dict[str, str]
    verdict: str
    notes: list[str] = field(default_factory=list)
    gpus: float = 0.0


def tune(setting: Setting, options: Options, tick: Tick = lambda _what, _seconds: None) -> Tuned:
    """Measure the parts, predict all points, try the best. Wants a connected Ray.

    Args:
        setting: game, search and network; its rollout and inference give all that is not tuned.
        options: see `Options`.
        tick: told before each measurement, with the seconds that it may take.

    Raises:
        InvalidConfig: for a search that asks no network.
        MemoryError: if the least number of games does not fit.
    """
    game, search = check_search(setting)
    crowd = crowded()
    memory = int(_MEMORY_SHARE * psutil.virtual_memory().available)
    given = search.parameters(game).leaves
    costs, precisions, refused = _measured_costs(setting, options, memory, tick)
    ranked = rank(costs, game, search, [given], memory)
    notes: list[str] = []
    more = _more_leaves(setting, search, given)
    if more and (not options.quality or not filled(costs, ranked)):
        costs, ranked, notes = _with_leaves(setting, options, costs, ranked, more, memory, tick)
    gpus = gpu_share() if options.device == "cuda" else 0.0

    def at(point: Point) -> Setting:
        return applied(setting, costs, next(iter(precisions)), options.device, point)

    if options.confirm:
        tried, best = _confirmed(ranked, at, options, _TURNS_IN_A_CROWD if crowd else 1, tick)
    else:
        tried, best = [Tried(*pair) for pair in first_round(ranked)], Tried(*preferred(ranked))
    limit = verdict(costs, best.predicted)
    return Tuned(at(best.point), best, tried, costs, precisions, refused, limit, [*crowd, *notes], gpus)


def check_search(setting: Setting) -> tuple[Game, SearchConfig]:
    """Game and search, built. Refuses a search that answers its leaves itself."""
    game, search = setting.built_game(), build("search", setting.search, SearchConfig)
    if search.parameters(game).kind == UCT:
        raise InvalidConfig("search: got one that plays its leaves out itself, wanted one that asks a network")
    return game, search


def crowded() -> list[str]:
    """A note, if other work takes much of this machine now; it takes a second to see."""
    busy = psutil.cpu_percent(interval=1.0) / 100
    if busy < _BUSY:
        return []
    return [f"Other work took {busy:.0%} of this machine's cores at the start: what was measured is low and uncertain."]


def applied(setting: Setting, costs: MachineCosts, precision: str, device: str, point: Point) -> Setting:
    """A setting at a point, with the batch sizes that may come up there."""
    sizes, max_batch = costs.inference.batch_sizes, costs.inference.max_batch
    most = point.games * costs.trees * point.leaves * (1 if point.transport == LOCAL else point.workers)
    largest = next((size for size in sizes if size >= most), max_batch)
    inference = replace(
        setting.inference,
        transport=point.transport,
        device=device,
        precision=precision,
        threads=point.inference_threads,
        max_batch=largest,
        batch_sizes=tuple(size for size in sizes if size <= largest),
    )
    found = replace(setting, inference=inference)
    found = found.with_rollout(workers=point.workers, threads=point.threads, games=point.games)
    return found.with_search(leaves=point.leaves) if "leaves" in setting.search else found


def _measured_costs(
    setting: Setting, options: Options, memory: int, tick: Tick
) -> tuple[MachineCosts, dict[str, InferenceCosts], dict[str, str]]:
    game, search = check_search(setting)
    count, part_s = cores(), options.seconds / 4
    on_cpu = options.device == "cpu"
    several = [threads for threads in powers_of_two(count) if threads > 1]
    leaves = search.parameters(game).leaves
    games = [n for n in _TRIED_GAMES if worker_bytes(game, search, Point(1, 1, n, leaves, "ray", 1)) <= memory]
    found = search_costs(setting, part_s, games or [_TRIED_GAMES[0]], several, lambda what: tick(what, 2 * part_s))
    precisions = inference_costs(setting, options.device, several if on_cpu else (), lambda what: tick(what, 4.0))
    # Workers reserve no GPU, so none is to have a network of its own there.
    names = ("shm", "ray", LOCAL) if on_cpu else ("shm", "ray")
    transports, refused = transport_costs(game, names, part_s / 2, lambda what: tick(what, 2.0 + part_s))
    inference = next(iter(precisions.values()))
    costs = MachineCosts(count, search.trees_per_game, on_cpu, found, inference, transports)
    return costs, precisions, refused


def _more_leaves(setting: Setting, search: SearchConfig, given: int) -> list[int]:
    """Numbers of leaves a tree that may come into question beyond the given one."""
    most = search.simulations // _SIMULATIONS_A_LEAF
    return [count for count in _MORE_LEAVES if "leaves" in setting.search and given < count <= most]


def _with_leaves(
    setting: Setting, options: Options, costs: MachineCosts, ranked: Ranked, more: list[int], memory: int, tick: Tick
) -> tuple[MachineCosts, Ranked, list[str]]:
    """With more leaves a tree: any if strength is given up for speed, else the fewest that gain enough."""
    game, search = check_search(setting)
    given, games = search.parameters(game).leaves, max(costs.search.leaf_s)
    factors = leaves_factors(setting, options.seconds / 4, games, more, lambda what: tick(what, options.seconds / 2))
    costs = replace(costs, search=replace(costs.search, leaves_factor=factors))
    note = "search.leaves was raised, which costs some strength a simulation"
    if not options.quality:
        wider = rank(costs, game, search, [given, *more], memory)
        return costs, wider, [f"{note}: quality=false"] if preferred(wider)[0].leaves > given else []
    for count in more:
        wider = rank(costs, game, search, [count], memory)
        if wider[0][1].leaves_per_s >= _GAIN_FOR_LEAVES * ranked[0][1].leaves_per_s:
            return costs, wider, [f"{note}: batches could not be filled otherwise"]
    return costs, ranked, []


def _confirmed(
    ranked: Ranked, at: Callable[[Point], Setting], options: Options, turns: int, tick: Tick
) -> tuple[list[Tried], Tried]:
    """All points that were tried, and the one to take.

    First the best over each transport, then what lies beside the best of these; then the two best and the best
    predicted again, in turns. Of each point its best counts.
    """
    tried: dict[Point, Tried] = {}

    def try_out(pairs: Ranked) -> None:
        for point, predicted in pairs:
            tick(f"self-play, {point}", confirmation_s(options))
            again = Tried(point, predicted, self_play(at(point), options.seconds))
            tried[point] = max(again, tried.get(point, again), key=_leaves_per_s)  # other work only slows

    try_out(first_round(ranked))
    try_out(second_round(ranked, {point: _leaves_per_s(each) for point, each in tried.items()}))
    best = sorted(tried.values(), key=_leaves_per_s)[-_FINALISTS:]
    finalists = {each.point: each.predicted for each in (next(iter(tried.values())), *best)}
    for _ in range(turns):
        try_out([*finalists.items()])
    return list(tried.values()), _winner([tried[point] for point in finalists])


def _winner(finalists: list[Tried]) -> Tried:
    """The fastest; of those as fast within the noise, the one that should be."""
    most = max(map(_leaves_per_s, finalists))
    near = [each for each in finalists if _leaves_per_s(each) >= (1.0 - _NOISE) * most]
    return max(near, key=lambda each: each.predicted.leaves_per_s)


def expected_seconds(options: Options) -> float:
    """About what a whole tuning takes: the parts, whatever the machine has, and the confirmations."""
    return 25.0 + 3.0 * options.seconds + (9 * confirmation_s(options) if options.confirm else 0.0)


def confirmation_s(options: Options) -> float:
    """What a confirmation takes, its actors' start included; there are up to nine, and six more in a crowd."""
    return 1.5 * options.seconds + 3.0


def _leaves_per_s(tried: Tried) -> float:
    return tried.measured.leaves_per_s if tried.measured else tried.predicted.leaves_per_s
