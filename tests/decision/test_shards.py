"""One decision in shards: the same answer wherever they run; budgets, time limits, and the choice of an executor."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.shards import executor_for, uct
from scoundrel_ray import rng
from scoundrel_ray.decision import auto as auto_executor
from scoundrel_ray.decision import shards as parallel
from scoundrel_ray.decision.auto import AutoExecutor, ExecutorCosts, measure_costs, read_costs, write_costs
from scoundrel_ray.decision.shards import Effort, PositionSearch, ShardSearch, Task, shard_budgets
from scoundrel_ray.games import connect_four, scoundrel
from scoundrel_ray.search import Search, first_row, search_one
from scoundrel_ray.searches.forest import most_bytes
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.settings.checks import InvalidConfig

GAMES = {"scoundrel": scoundrel.make(), "connect_four": connect_four.make()}
SCOUNDREL = GAMES["scoundrel"]


def game_by_rule(game, seed):
    """The states of a game played by the playout rule, its end left out."""
    state, stream = game.deal(rng.stream(seed)), rng.stream(seed, 1)
    while game.seat(state) >= 0:
        yield state
        state = game.step(state, int(game.rules.playout(state, stream)))


def assert_same(decisions, others):
    for name, one, other in zip(decisions._fields, decisions, others, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


@given(simulations=st.integers(1, 10**9), shards=st.integers(0, 100))
def test_budgets_add_up_and_differ_by_at_most_one(simulations, shards):
    shards = min(shards, simulations)
    budgets = shard_budgets(simulations, shards)
    assert sum(budgets) == simulations and max(budgets) - min(budgets) <= 1 and min(budgets) >= 1
    assert len(budgets) == shards or shards == 0
    assert budgets == shard_budgets(simulations, shards)


def test_small_searches_are_one_tree_and_large_ones_enough_for_every_core():
    assert len(shard_budgets(500)) == len(shard_budgets(1999)) == 1
    assert len(shard_budgets(2000)) == 2
    assert len(shard_budgets(8000)) == 8
    assert len(shard_budgets(80_000)) == 32


@pytest.mark.parametrize(
    "config", [Uct(), Uct(tree="per_world", worlds=3), Uct(leaves=8)], ids=["one tree", "worlds", "under way"]
)
@pytest.mark.parametrize("name", GAMES)
def test_the_answer_is_the_same_wherever_it_was_searched(name, config, tmp_path):
    game = GAMES[name]
    effort = Effort(simulations=1003, shards=5)
    executors = [ShardSearch(game, config, threads) for threads in (1, 2, 3, 8)]
    executors.append(AutoExecutor(game, config, cache=tmp_path / "costs.json"))
    state = game.deal(rng.stream(3))
    answers = []
    for executor in executors:
        position = PositionSearch(game, config, effort, executor)
        stream = rng.stream(9)
        answers.append([position.decide(state, stream) for _ in range(2)])
        position.close()
    for answer in answers[1:]:
        for one, other in zip(answers[0], answer, strict=True):
            assert_same(one, other)
    first, second = answers[0]
    assert first.visits.sum() == 1003 * config.trees_per_game
    assert (first.visits != second.visits).any(), "the second decision has a key of its own"


def test_roots_are_the_sum_of_plain_searches():
    """A slow transcription: every shard searched by itself with its own stream, then added up."""
    effort, config = Effort(simulations=900, shards=4), Uct()
    state = SCOUNDREL.deal(rng.stream(5))
    stream = rng.stream(11)
    key = int(rng.next_word(stream.copy()))
    got = PositionSearch(SCOUNDREL, config, effort, ShardSearch(SCOUNDREL, config)).decide(state, stream)
    rows = [
        first_row(search_one(Search(SCOUNDREL, Uct(simulations=225), 1), state, rng.stream(key, shard)))
        for shard in range(4)
    ]
    wanted = {name: sum(row[name] for row in rows) for name in ("visits", "totals")}
    row = first_row(got)
    np.testing.assert_array_equal(row["visits"], wanted["visits"])
    np.testing.assert_allclose(row["totals"], wanted["totals"], rtol=1e-6)
    np.testing.assert_allclose(row["policy"], wanted["visits"] / 900, rtol=1e-6)
    np.testing.assert_allclose(row["values"], wanted["totals"].sum(axis=0) / 900, rtol=1e-6)
    assert row["chosen"] == row["actions"][np.argmax(wanted["visits"])]


def test_a_smaller_search_after_a_larger_one_is_as_if_fresh():
    executor, config = ShardSearch(SCOUNDREL, Uct()), Uct()
    state = SCOUNDREL.deal(rng.stream(5))

    def decide(simulations, executor):
        return PositionSearch(SCOUNDREL, config, Effort(simulations=simulations), executor).decide(state, rng.stream(1))

    decide(5000, executor)
    for simulations in (700, 5000, 700):
        assert_same(decide(simulations, executor), decide(simulations, ShardSearch(SCOUNDREL, config)))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_time_limit_ends_the_search_and_every_action_was_tried(threads):
    effort = Effort(simulations=None, time_ms=30.0, workers=threads)
    position = PositionSearch(SCOUNDREL, Uct(), effort, ShardSearch(SCOUNDREL, Uct(), threads))
    state = SCOUNDREL.deal(rng.stream(5))
    decisions = position.decide(state, rng.stream(1))
    legal = len(SCOUNDREL.legal(state))
    assert (decisions.visits[0, :legal] > 0).all() and not decisions.visits[0, legal:].any()
    position.close()


def test_the_room_of_a_long_search_is_what_memory_holds(monkeypatch):
    free = SimpleNamespace(available=2**30)
    monkeypatch.setattr(parallel.psutil, "virtual_memory", lambda: free)
    most = parallel.room(SCOUNDREL, Uct(), 2, 3600.0)
    parameters = Uct().parameters(SCOUNDREL)
    held = most_bytes(SCOUNDREL, 2, most, parameters.leaves, bool(parameters.shared))
    assert 0.3 * 2**30 < held < 0.8 * 2**30
    assert parallel.room(SCOUNDREL, Uct(), 2, 0.01) == 20_000
    free.available = 2**60
    assert (parallel.room(SCOUNDREL, Uct(), 2, 1e6) + 1) * SCOUNDREL.max_legal <= 2**31


def test_a_time_limit_ends_early_when_its_room_is_full():
    task = Task(SCOUNDREL.deal(rng.stream(5)), 1, (300, 300), 3600.0)
    assert ShardSearch(SCOUNDREL, Uct()).run(task).visits.sum() == 600


def test_the_end_of_a_game_is_solved_within_as_many_positions_as_simulations():
    stream = rng.stream(2)
    states = (state for seed in itertools.count() for state in game_by_rule(SCOUNDREL, seed))
    state = next(s for s in states if len(SCOUNDREL.legal(s)) > 1 and SCOUNDREL.solve(SCOUNDREL, s, 2000) is not None)
    exact = SCOUNDREL.solve(SCOUNDREL, state, 2000)[:, 0]
    legal = SCOUNDREL.legal(state)
    solved = uct(SCOUNDREL, simulations=2000, executor="sequential").decide(state[None], stream[None])
    row = first_row(solved)
    assert row["chosen"] == legal[np.argmax(exact)] and row["values"][0] == exact.max()
    np.testing.assert_array_equal(row["totals"][:, 0], exact)
    assert (row["visits"] == 1).all() and row["policy"].sum() == 1 and (solved.actions[0, len(legal) :] == -1).all()
    few = uct(SCOUNDREL, simulations=2, executor="sequential").decide(state[None], stream[None])
    searched = uct(SCOUNDREL, simulations=2000, solve=False, executor="sequential").decide(state[None], stream[None])
    assert few.visits.sum() == 2 and searched.visits.sum() == 2000


@pytest.mark.parametrize(
    "config", [Uct(), Uct(tree="per_world", worlds=2), Uct(leaves=8)], ids=["one tree", "worlds", "under way"]
)
def test_watching_changes_nothing(config, monkeypatch):
    monkeypatch.setattr(parallel, "_WATCH_S", 0.0)
    effort, state = Effort(simulations=1003, shards=3), SCOUNDREL.deal(rng.stream(5))
    answers, told = [], []
    for watch in (None, told.append):
        position = PositionSearch(SCOUNDREL, config, effort, ShardSearch(SCOUNDREL, config, 2))
        answers.append(position.decide(state, rng.stream(1), watch))
        position.close()
    assert_same(*answers)
    seen = [int(row.visits.sum()) for row in told]
    assert len(seen) > 1 and seen == sorted(seen) and 0 < seen[0] < seen[-1] <= answers[0].visits.sum()


def test_what_a_watcher_raises_ends_the_search(monkeypatch):
    monkeypatch.setattr(parallel, "_WATCH_S", 0.0)

    def enough(_row):
        raise InterruptedError

    position = PositionSearch(SCOUNDREL, Uct(), Effort(simulations=10**6, shards=1), ShardSearch(SCOUNDREL, Uct()))
    state = SCOUNDREL.deal(rng.stream(5))
    with pytest.raises(InterruptedError):
        position.decide(state, rng.stream(1), enough)
    position.effort = Effort(simulations=500)
    fresh = PositionSearch(SCOUNDREL, Uct(), Effort(simulations=500), ShardSearch(SCOUNDREL, Uct()))
    assert_same(position.decide(state, rng.stream(2)), fresh.decide(state, rng.stream(2)))


def test_positions_are_searched_by_their_own_streams():
    player = uct(SCOUNDREL, simulations=300, executor="threads", workers=2, shards=2)
    states = np.stack([SCOUNDREL.deal(rng.stream(i)) for i in range(4)])
    together = player.decide(states, rng.streams(4, 1))
    alone = player.decide(states[2:3], rng.streams(4, 1)[2:3])
    assert_same(alone, type(together)(*(column[2:3] for column in together)))
    np.testing.assert_array_equal(player.choose(states, rng.streams(4, 1)), together.chosen)
    player.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"simulations": 0}, "simulations: got 0, wanted an integer >= 1"),
        ({"workers": -1}, "workers: got -1, wanted an integer >= 0"),
        ({"time_ms": 5.0}, "simulations: got 20000 with time_ms 5.0, wanted one of the two"),
        ({"simulations": None}, "simulations: got None with time_ms None, wanted one of the two"),
        ({"simulations": None, "time_ms": 0.0}, "time_ms: got 0.0, wanted a number from 1"),
        ({"executor": "gpu"}, "executor: got 'gpu', wanted one of auto, sequential, threads, ray"),
        ({"simulations": 3, "shards": 4}, "shards: got 4, wanted at most simulations, 3"),
    ],
)
def test_wrong_efforts_are_one_line(settings, message):
    with pytest.raises(InvalidConfig, match=f"^{message}") as caught:
        Effort(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("simulations", [10**8, 10**12])
def test_more_nodes_than_memory_are_refused_before_anything_is_allocated(simulations, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1 << 30))
    player = uct(SCOUNDREL, simulations=simulations, shards=1, executor="sequential")
    with pytest.raises(MemoryError, match=r"^search: .*lower search\.simulations"):
        player.choose(SCOUNDREL.deal(rng.stream(1))[None], rng.streams(1, 1))


def test_search_actors_want_a_ray():
    with pytest.raises(InvalidConfig, match="no Ray is connected"):
        executor_for(SCOUNDREL, Uct(), Effort(executor="ray"))


# The choice of an executor


class Fake:
    """An executor that notes what it ran."""

    def __init__(self):
        self.ran = []

    def run(self, task, watch=None):
        self.ran.append(len(task.budgets))
        return ShardSearch(SCOUNDREL, Uct()).run(task)

    def close(self):
        pass


@pytest.fixture
def auto(monkeypatch, tmp_path):
    """An executor for eight cores whose costs are said, not measured."""
    monkeypatch.setattr(auto_executor, "cores", lambda: 8)

    def make(costs, **settings):
        monkeypatch.setattr(auto_executor, "measure_costs", lambda *_: costs)
        return AutoExecutor(SCOUNDREL, Uct(), cache=tmp_path / "costs.json", **settings)

    return make


def task_of(simulations, seconds=None):
    return Task(SCOUNDREL.deal(rng.stream(1)), 1, tuple(shard_budgets(simulations)), seconds)


def test_a_threshold_decides_until_costs_are_known(auto):
    executor = auto(ExecutorCosts(1e-6, 1.0, 1.0))
    assert [executor.choose(task_of(n)) for n in (500, 1999, 2000, 80_000)] == ["sequential"] * 2 + ["threads"] * 2
    executor.run(task_of(2000))
    assert executor.chosen == "threads"
    executor.run(task_of(2000))
    assert executor.chosen == "sequential", "a start of a second is not worth it"
    executor.close()


@pytest.mark.parametrize("start_s", [1e-5, 1e-3, 1e-1])
@pytest.mark.parametrize("slowdown", [1.0, 3.0, 9.0])
def test_the_fastest_by_prediction_is_taken(auto, start_s, slowdown):
    executor = auto(ExecutorCosts(1e-6, start_s, slowdown))
    executor.costs = ExecutorCosts(1e-6, start_s, slowdown)
    for simulations in (2000, 8000, 80_000):
        budgets = shard_budgets(simulations)
        one = 1e-6 * simulations
        edges = [len(budgets) * i // min(8, len(budgets)) for i in range(min(8, len(budgets)) + 1)]
        many = start_s + slowdown * 1e-6 * max(sum(budgets[a:b]) for a, b in itertools.pairwise(edges))
        assert executor.predict(budgets) == pytest.approx({"sequential": one, "threads": many})
        if abs(one - many) > 0.1 * max(one, many):
            assert executor.choose(task_of(simulations)) == ("threads" if many < one else "sequential")
    executor.close()


def test_a_single_tree_and_a_time_limit(auto):
    executor = auto(ExecutorCosts(1e-6, 0.0, 1.0))
    assert executor.choose(task_of(500)) == "sequential"
    assert executor.choose(task_of(80_000, seconds=1.0)) == "threads"
    executor.close()


def test_actors_are_made_when_more_cores_are_worth_it_and_measured_then(auto):
    made = []

    def make_actors():
        made.append(Fake())
        return made[-1]

    executor = auto(ExecutorCosts(1e-6, 1e-4, 1.0), remote=(32, make_actors))
    executor.run(task_of(500))
    assert not made
    executor.costs = ExecutorCosts(1.0, 1e-4, 1.0)
    executor.run(task_of(80_000))
    assert len(made) == 1 and executor.chosen == "ray" and made[0].ran[-1] == 32
    executor.costs = ExecutorCosts(1e-9, 1e-4, 1.0)
    executor.run(task_of(80_000))
    assert executor.chosen != "ray"
    executor.close()


def test_costs_are_kept_for_the_machine_the_game_and_the_search(auto, tmp_path):
    executor = auto(ExecutorCosts(1e-6, 0.25, 1.5))
    executor.run(task_of(500))
    later = auto(ExecutorCosts(2e-6, 0.5, 1.25))
    later.run(task_of(500))
    assert later.costs == ExecutorCosts(1e-6, 0.25, 1.25), "the least of both"
    path = tmp_path / "costs.json"
    assert read_costs(path, later._key) == ExecutorCosts(1e-6, 0.25, 1.25)
    assert read_costs(path, "another machine") is None
    write_costs(path, "another machine", ExecutorCosts(1.0, 2.0, 3.0))
    assert read_costs(path, later._key) is not None
    path.write_text("{damaged")
    assert read_costs(path, later._key) is None
    write_costs(path, "k", ExecutorCosts(1.0, 2.0, 3.0))
    assert read_costs(path, "k") == ExecutorCosts(1.0, 2.0, 3.0)
    write_costs(path / "below" / "a file", "k", ExecutorCosts(1.0, 2.0, 3.0))  # no error
    executor.close()
    later.close()


def test_costs_can_be_measured():
    costs = measure_costs(SCOUNDREL, Uct(), 2)
    assert 0 < costs.simulation_s < 1 and 0 <= costs.threads_s < 10 and costs.slowdown >= 1
