"""Ways of running agents: what each should do by the costs of its parts, and what is counted of a measured run."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from scoundrel_ray.runs.settings import train_config
from scripts.benchmarks import agents
from scripts.measuring import agent_runs
from scripts.measuring.agent_runs import (
    Measured,
    Moment,
    check_equal,
    never_training,
    run_settings,
    steadied,
)
from scripts.measuring.agent_ways import SEQUENTIAL, WAYS, Costs, predicted
from scripts.measuring.parallel_blocking import ParallelBlocking

TINY = ["experiment=treasure_hunt", "network.width=8", "learner.batch_size=64", "rollout.workers=2"]
TINY += ["rollout.copies=4", "rollout.steps=40"]
COSTS = Costs(in_turn_s=2.0, step_s=1.5, step_cpu_s=2.5, apart_s=64.0, stacked_s=32.0, shared_s=48.0)


def test_so_many_samples_an_insert_make_training_the_wanted_share_of_the_time_in_turn():
    for share in (0.15, 0.5, 0.8):
        ratio = COSTS.samples_per_insert(share, 64)
        training_s = ratio / 64 * COSTS.apart_s
        assert training_s / (COSTS.in_turn_s + training_s) == pytest.approx(share)
        rate = predicted(SEQUENTIAL, COSTS, ratio, 64, 10, 2)
        assert 1.0 - COSTS.in_turn_s * rate == pytest.approx(share), "the share reached is reckoned so"


@pytest.mark.parametrize(
    ("way", "ratio", "agents", "cores", "seconds"),
    [
        (SEQUENTIAL, 4.0, 10, 2, 2.0 + 4.0),
        ("blocking", 4.0, 10, 2, 1.5 + 4.0 / 2),
        ("blocking", 4.0, 2, 8, 1.5 + 4.0 / 2),  # no more cores than learners
        ("one_process", 4.0, 10, 2, 4.0),  # its one core
        ("one_process", 1.0, 10, 2, (2.5 + 1.0) / 2),  # all cores
        ("one_process", 0.1, 10, 2, 1.5),  # collection, which is no faster than alone
        ("spread", 4.0, 10, 2, (2.5 + 4.0) / 2),
        ("spread", 4.0, 2, 8, 4.0 / 2),
        ("spread", 0.1, 10, 2, 1.5),
        ("stacked", 4.0, 10, 2, (2.5 + 2.0) / 2),
        ("stacked", 8.0, 10, 2, 8.0 / 2),
        ("stacked", 0.1, 10, 2, 1.5),
        ("threads", 4.0, 10, 2, (2.5 + 3.0) / 2),
        ("threads", 8.0, 10, 8, 6.0 / 2),  # two threads, whatever the cores
        ("threads", 8.0, 10, 1, 2.5 + 6.0),
        ("threads", 8.0, 2, 8, 6.0 / 2),  # one learner on each
        ("threads", 8.0, 1, 8, 6.0),
        ("threads", 0.1, 10, 2, 1.5),
    ],
)
def test_a_prediction_is_the_busiest_of_what_a_way_needs(way, ratio, agents, cores, seconds):
    assert predicted(way, COSTS, ratio, 64, agents, cores) == pytest.approx(1.0 / seconds)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_a_run_of_the_same_agents_and_the_same_learners(way):
    settings = steadied(run_settings([*TINY, *WAYS[way].overrides], 3), 0.5)
    config, given = train_config(settings), train_config(run_settings(TINY, 3))
    assert [*config.agents] == ["agent_0", "agent_1", "agent_2"] and config.source["world"]["agents"] == 3
    for name, agent in config.agents.items():
        assert (agent.learner, agent.network) == (given.agents[name].learner, given.agents[name].network)
        assert agent.replay["samples_per_insert"] == 0.5
    assert config.turns == (way == SEQUENTIAL)
    assert len(config.groups) == (3 if way in ("blocking", "spread") else 1)
    assert config.cluster.stacking == {"one_process": "off", "stacked": "on", "threads": "on"}.get(way, "auto")
    assert config.cluster.learner_threads == (2 if way == "threads" else 1)


def test_a_band_holds_two_batches_and_two_stretches_of_every_worker():
    settings = run_settings(TINY, 2)
    assert (settings["replay"]["min_rows"], settings["learner"]["batch_size"]) == (2000, 64)
    assert steadied(settings, 0.64)["replay"]["tolerance"] == 1.0
    replay = steadied(settings, 0.01)["replay"]
    assert replay["tolerance"] * replay["min_rows"] * replay["samples_per_insert"] == pytest.approx(2 * 64)
    long = steadied(run_settings([*TINY, "rollout.steps=10000"], 2), 0.64)["replay"]
    assert long["tolerance"] * long["min_rows"] == 2 * 2 * 10000 / 2


def test_nothing_is_learned_from_for_as_long_as_a_measurement_lasts():
    replay = never_training(run_settings(TINY, 2), 10.0)["replay"]
    assert replay["min_rows"] == replay["capacity"] == 200_000 * 15


def ran(inserted, sampled):
    return Measured(2.0, 3.0, dict(enumerate(inserted)), dict(enumerate(sampled)), 64, {})


def test_a_run_is_no_faster_for_those_who_fall_behind():
    even = ran([1000, 1000], [640, 640])
    assert even.balanced_steps_per_s(0.64) == pytest.approx(1000.0) and even.agent_steps == 2000
    assert even.learner_steps_per_s == 10.0 and even.ratios == {0: 0.64, 1: 0.64}
    assert ran([2000, 2000], [640, 640]).balanced_steps_per_s(0.64) == pytest.approx(1000.0)  # learners behind
    assert ran([1000, 1000], [1280, 1280]).balanced_steps_per_s(0.64) == pytest.approx(1000.0)  # workers behind
    assert ran([2000, 2000], [1280, 640]).balanced_steps_per_s(0.64) == pytest.approx(1000.0)  # one learner behind
    assert ran([2000, 1000], [1280, 1280]).balanced_steps_per_s(0.64) == pytest.approx(1000.0)


def counted(inserted, sampled):
    names = ("agent_0", "agent_1")
    return Moment(0.0, {}, dict(zip(names, inserted, strict=True)), dict(zip(names, sampled, strict=True)))


def test_equal_steps_and_samples_are_asserted():
    config = train_config(steadied(run_settings(TINY, 2), 0.5))
    slack = 2 * 2 * (40 // 2 + 4)  # rows of an agent that two workers may have under way
    most = 1000 + 1000 + slack // 2  # samples owed: before the first batch, the band, and of rows under way
    for fine in (
        counted([9000, 9000], [4500, 4500]),
        counted([9000 + slack, 9000], [4500, 4500]),
        counted([9000, 9000], [4500 + 1000, 4500]),
        counted([9000, 9000], [4500, 4500 - most]),
        counted([9000, 9000], [0, 0]),
    ):
        check_equal(config, fine)
    for wrong, message in (
        (counted([9001 + slack, 9000], [4500, 4500]), f"agent_0 took {9001 + slack} steps, another agent 9000"),
        (counted([9000, 9000], [4500, 5501]), "agent_1 got 5501 samples of 9000 rows, wanted 0.5 an insert, 1000 more"),
        (counted([9000, 9000], [4500 - most - 1, 4500]), "agent_0 got"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_equal(config, wrong)


def test_a_measured_time_ends_where_as_much_is_owed_as_at_its_begin():
    told = [  # two agents, 0.5 samples an insert: owed by all since then
        ([1100, 1100], [500, 500]),  # 100
        ([1300, 1300], [560, 560]),  # 180: rows have come
        ([1300, 1300], [640, 640]),  # 20, of 280 samples: more than 2 %
        ([1300, 1300], [648, 648]),  # 4, of 296
        ([1300, 1300], [700, 700]),
    ]
    watch = object.__new__(agent_runs._Watch)
    left, advanced = iter(told), []
    watch._ratio, watch._advance = 0.5, lambda: advanced.append(0)
    watch._counts = lambda: counted(*next(left))[2:]
    watch.until_owed_as(counted([1000, 1000], [500, 500]), 60.0)
    assert [*left] == told[-1:] and advanced
    watch.until_owed_as(counted([0, 0], [0, 0]), 0.0)  # no time to look


@pytest.mark.parametrize(("count", "share", "kind"), [(5, 3, "stacked"), (2, 1, "separate"), (1, 1, "separate")])
def test_costs_of_learners_on_two_threads_are_those_of_half_of_them(monkeypatch, count, share, kind):
    rates = {("separate", 1): 5.0, ("stacked", 1): 4.0}
    monkeypatch.setattr(agents, "measured", lambda *_, **__: ran([4000] * count, [0] * count))
    bench = agents._Bench(TINY, count, "bfloat16", 1.0)
    monkeypatch.setattr(
        bench,
        "_learned",
        lambda learners: {
            "steps_per_s": {
                each: {"bfloat16": rates.get((each, learners), 10.0 * learners + (each == "stacked"))}
                for each in ("separate", "stacked")
            }
        },
    )
    costs = bench.alone().costs
    wanted = rates.get((kind, share), 10.0 * share + 1)
    assert costs.shared_s == pytest.approx(1 / wanted)
    assert costs.step_s == pytest.approx(2.0 / (4000 * count))


class Bench:
    """Two agents with batches of 64; a way does its prediction, times a factor of its own."""

    agents, batch, told = 2, 64, "2 agents"

    def __init__(self, factors):
        self.factors, self.asked = factors, []

    def way(self, way, ratio):
        self.asked.append((way, ratio))
        rate = predicted(way, COSTS, ratio, 64, 2, 2) * self.factors.get(way, 1.0)
        return ran([rate] * 2, [rate * ratio] * 2)  # in two seconds, of two agents


def test_ways_stand_beside_their_predictions_and_the_worst_of_all_is_claimed(monkeypatch):
    monkeypatch.setattr(agents, "cores", lambda: 2)
    bench, other = Bench({"spread": 0.5, "blocking": 0.1}), Bench({"spread": 0.95, "stacked": 0.92})
    half = agents._beside_predictions(bench, COSTS, 0.5, ["blocking", "spread", "stacked"])
    assert [way for way, _ in bench.asked] == [SEQUENTIAL, "blocking", "spread", "stacked"]
    assert {ratio for _, ratio in bench.asked} == {COSTS.samples_per_insert(0.5, 64)} == {half.samples_per_insert}
    assert half.reached == pytest.approx(0.5)
    assert agents._beside_predictions(Bench({SEQUENTIAL: 0.8}), COSTS, 0.5, []).reached == pytest.approx(0.6)
    assert half.of_prediction("spread") == pytest.approx(0.5) and half.of_prediction("stacked") == pytest.approx(1.0)
    # An agent-step in turn takes 2 + 2 s; spread, max(1.5, 2 / 2, 4.5 / 2) s at half of its prediction.
    assert half.of_turn("spread") == pytest.approx(4.0 / (2.25 / 0.5))
    shown = half.figures()
    assert [figure.wanted_ratio for figure in shown] == [None, None, 0.85, 0.85]
    assert [figure.ratio for figure in shown] == pytest.approx([1.0, 0.1, 0.5, 1.0])
    little = agents._beside_predictions(other, COSTS, 0.15, ["spread", "stacked"])
    claims = agents._claims([half, little])
    assert [claim.value for claim in claims] == pytest.approx([0.5, 0.92, 4.0 / 4.5])
    assert [claim.wanted for claim in claims] == [0.85, 0.9, 1.0] and [claim.reached for claim in claims] == [0, 1, 0]
    assert "each learner" in claims[0].case and "stacked" in claims[1].case and "50%" in claims[2].case


def test_everyone_learns_from_its_own_rows_of_all_workers_before_a_blocking_turn_is_over(monkeypatch):
    learned = {"a": [], "b": []}

    def agent(name):
        return SimpleNamespace(steps=3, turn=lambda rows, count, _get: learned[name].append((rows, count)))

    def ask(progress, wanted, insert):
        assert progress.learner_steps == 3 and wanted()
        for name, rows, count in (("a", "a of 0", 5), ("b", "b of 0", 6), ("b", "b of 1", 7), ("a", "a of 1", 8)):
            insert(name, rows, count)

    workers = SimpleNamespace(own_steps={}, ask=ask)
    monkeypatch.setattr(ParallelBlocking, "__init__", lambda run, _config: None)
    run = ParallelBlocking(train_config(run_settings(TINY, 2)))
    with ThreadPoolExecutor(2) as threads:
        run._agents, run._workers, run._calls, run._threads = {"a": agent("a"), "b": agent("b")}, workers, [], threads
        run.turn()
        assert learned == {"a": [("a of 0", 5), ("a of 1", 8)], "b": [("b of 0", 6), ("b of 1", 7)]}
