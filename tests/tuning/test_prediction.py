"""What is predicted of a setting from made-up costs, what limits it, and which settings are tried."""

from dataclasses import replace

import pytest

from scoundrel_ray.game import Game
from scoundrel_ray.searches.puct import Puct
from scoundrel_ray.settings.build import build
from scoundrel_ray.tuning.grid import (
    GAMES,
    filled,
    first_round,
    powers_of_two,
    preferred,
    rank,
    second_round,
    worker_bytes,
)
from scoundrel_ray.tuning.prediction import (
    InferenceCosts,
    LinearCost,
    MachineCosts,
    Point,
    SearchCosts,
    TransportCosts,
    predict,
    verdict,
)
from scripts.entry import section

SIZES = (1, 8, 64, 256, 512, 1024)
FREE = TransportCosts(LinearCost(0.0, 0.0), LinearCost(0.0, 0.0), LinearCost(0.0, 0.0))
CALLS = TransportCosts(LinearCost(2e-3, 1e-6), LinearCost(1e-3, 1e-7), LinearCost(1e-3, 1e-7))


def costs(leaf_s=1e-6, fixed_s=1e-3, row_s=1e-5, cores=4, on_cpu=True, **changes):
    """A machine whose batches cost fixed_s + row_s a leaf."""
    made = MachineCosts(
        cores,
        trees=1,
        on_cpu=on_cpu,
        search=SearchCosts({32: 2 * leaf_s, 1024: leaf_s}, speedup={1: 1.0, 2: 1.8}),
        inference=InferenceCosts({size: fixed_s + row_s * size for size in SIZES}, {1: 1.0, 2: 1.7}),
        transports={"shm": FREE, "ray": CALLS, "local": FREE},
    )
    return replace(made, **changes)


def point(workers=2, threads=1, games=512, leaves=1, transport="shm", inference_threads=1):
    return Point(workers, threads, games, leaves, transport, inference_threads)


@pytest.fixture(scope="module")
def game():
    return build("game", section("game", "connect_four"), Game)


def test_search_costs_lie_between_what_was_measured():
    search = SearchCosts({32: 4.0, 128: 2.0}, leaves_factor={4: 0.5})
    assert [search.seconds(games, 1) for games in (8, 32, 64, 128, 4096)] == [4.0, 4.0, 3.0, 2.0, 2.0]
    assert search.seconds(64, 4) == 1.5


def test_a_line_has_no_negative_parts():
    assert LinearCost.through((10, 1.0), (20, 3.0)) == LinearCost(0.0, 0.2)
    assert LinearCost.through((10, 1.0), (20, 0.5)) == LinearCost(1.0, 0.0)
    assert LinearCost.through((10, 2.0), (20, 3.0)).at(30) == pytest.approx(4.0)


def test_a_lone_worker_on_many_cores_is_as_fast_as_its_device():
    """By hand: messages of 256 leaves, one a batch, 3.56 ms; its search of 0.32 ms hides behind the other half's."""
    found = predict(costs(leaf_s=1e-6, cores=64), point(workers=1))
    assert found.message == found.batch == 256
    assert found.limits["inference"] == pytest.approx(256 / 3.56e-3)
    assert found.limit == "inference"
    assert 0.9 * found.limits["inference"] <= found.leaves_per_s <= found.limits["inference"]
    assert found.busy["inference"] > 0.9 and found.busy["search"] < 0.2


def test_batches_join_the_messages_of_all_workers_up_to_the_best_size():
    made = costs()
    assert made.inference.max_batch == 1024
    assert predict(made, point(workers=2)).batch == 512
    assert predict(made, point(workers=8)).batch == 1024
    assert predict(made, point(workers=8, transport="local")).batch == 256
    assert predict(made, point(workers=1, games=4096)).batch == 2048  # a message stays whole
    assert predict(made, point(games=512, leaves=2)).message == 512


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("transport", ["shm", "ray", "local"])
def test_nothing_gets_slower_on_a_better_machine(workers, transport):
    at = point(workers=workers, transport=transport)
    before = predict(costs(), at).leaves_per_s
    slow_messages = {name: CALLS for name in ("shm", "ray", "local")}
    assert predict(costs(cores=8), at).leaves_per_s > before
    assert predict(costs(leaf_s=5e-7), at).leaves_per_s > before
    assert predict(costs(row_s=5e-6), at).leaves_per_s > before
    assert predict(costs(transports=slow_messages), at).leaves_per_s <= before
    assert (
        predict(costs(on_cpu=False), replace(at, inference_threads=2)).leaves_per_s
        > predict(costs(), replace(at, inference_threads=2)).leaves_per_s
    )


def test_more_workers_help_until_the_cores_are_taken():
    made = costs(leaf_s=1e-4, row_s=1e-7, cores=4)
    rates = [predict(made, point(workers=workers)).leaves_per_s for workers in (1, 2, 4, 8)]
    assert rates[1] > 1.8 * rates[0] and rates[2] > 1.2 * rates[1]
    assert rates[3] < 1.2 * rates[2] and rates[3] <= 4 / 1e-4


@pytest.mark.parametrize(
    ("made", "at", "limit", "said"),
    [
        (costs(cores=2, row_s=1e-4), point(transport="local"), "cores", "a GPU or a smaller network would help"),
        (costs(cores=2, leaf_s=1e-3), point(workers=4), "cores", "more cores or nodes would help; a GPU"),
        (
            costs(cores=2, leaf_s=1e-8, row_s=1e-8, fixed_s=1e-7),
            point(workers=4, games=2, transport="ray"), "cores", "larger messages",
        ),
        (costs(cores=64, row_s=1e-4), point(), "inference", "more workers would not"),
        (costs(cores=64, on_cpu=False), point(workers=32), "inference", "a second device would help"),
        (costs(cores=64, on_cpu=False, row_s=1e-8, leaf_s=1e-4), point(), "search", "a faster device would not"),
        (
            costs(cores=64, on_cpu=False, row_s=1e-8, leaf_s=1e-8),
            point(workers=1, games=2, transport="ray"), "round trip", "more games or worlds",
        ),
    ],
)  # fmt: skip
def test_the_limiting_side_is_named_with_what_would_help(made, at, limit, said):
    found = predict(made, at)
    assert found.limit == limit
    assert said in verdict(made, found)
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert all(0.0 <= share <= 1.0 for share in found.busy.values())


def test_powers_of_two_end_with_the_number_itself():
    assert powers_of_two(1) == [1] and powers_of_two(6) == [1, 2, 4, 6] and powers_of_two(8) == [1, 2, 4, 8]


def test_the_memory_limit_holds(game):
    search = Puct(simulations=64)
    most = 3 * worker_bytes(game, search, point(games=256))
    ranked = rank(costs(), game, search, [1], most)
    assert ranked
    assert all(p.workers * worker_bytes(game, search, p) <= most for p, _ in ranked)
    everything = rank(costs(), game, search, [1], 1 << 60)
    assert len(everything) > len(ranked)
    assert {p.games for p, _ in everything} == set(GAMES)
    with pytest.raises(MemoryError, match=r"lower search\.simulations or search\.worlds"):
        rank(costs(), game, search, [1], 1 << 20)


def test_a_network_of_its_own_costs_a_worker_memory(game):
    search = Puct()
    extra = worker_bytes(game, search, point(transport="local")) - worker_bytes(game, search, point())
    assert extra == 180 << 20


def test_ranked_from_fast_to_slow_within_the_cores(game):
    ranked = rank(costs(cores=4), game, Puct(), [1, 2], 1 << 60)
    rates = [found.leaves_per_s for _, found in ranked]
    assert rates == sorted(rates, reverse=True)
    assert all(p.workers * p.threads <= 8 and p.threads <= 2 and p.inference_threads <= 2 for p, _ in ranked)
    assert {p.leaves for p, _ in ranked} == {1, 2}


def test_of_equals_the_smallest_is_preferred(game):
    """Nothing but inference takes time, one batch after another: one worker with few games does as well as any."""
    inference = InferenceCosts({size: 1e-5 * size for size in SIZES})
    made = costs(leaf_s=1e-9, cores=64, on_cpu=False, inference=inference, transports={"shm": FREE})
    ranked = rank(made, game, Puct(), [1], 1 << 60)
    best, found = preferred(ranked)
    assert best.workers == 1 and best.games == GAMES[0]
    assert found.leaves_per_s >= 0.98 * ranked[0][1].leaves_per_s


def test_rounds_try_each_transport_then_the_neighbours_of_the_best(game):
    ranked = rank(costs(), game, Puct(), [1], 1 << 60)
    first = first_round(ranked)
    assert sorted(p.transport for p, _ in first) == ["local", "ray", "shm"]
    measured = {p: float(p.transport == "ray") for p, _ in first}
    best = next(p for p, rate in measured.items() if rate)
    second = second_round(ranked, measured)
    assert 2 <= len(second) <= 3
    assert all(p.transport == "ray" and p != best for p, _ in second)


def test_batches_count_as_filled_from_half_the_best_size_on(game):
    assert filled(costs(), rank(costs(), game, Puct(), [1], 1 << 60))
    few = [pair for pair in rank(costs(), game, Puct(), [1], 1 << 60) if pair[0].games * pair[0].workers <= 256]
    assert not filled(costs(), few)
