"""The benchmarks' own machinery in miniature: both sides of self-play, the quality suite, a sweep's table."""

import csv
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from omegaconf import OmegaConf

from scoundrel_ray.evaluator import Constant
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig
from scripts.benchmarks import blob, quality, sides, signature, sweep
from scripts.benchmarks.figures import Figure
from scripts.benchmarks.sides import Measured, Setting, alone, in_turns, leaves_per_game, self_play
from scripts.entry import section
from tests.conftest import small_settings
from tests.scripts.test_arena_command import fake_run

SECONDS = 0.3


@pytest.fixture
def setting():
    """Tic-tac-toe with a small network."""
    return Setting.of(small_settings())


@pytest.mark.ray
@pytest.mark.parametrize("transport", ["ray", "shm", "local"])
def test_workers_around_a_server_are_measured(setting, local_ray, transport):
    measured = self_play(replace(setting, inference=replace(setting.inference, transport=transport)), SECONDS)
    assert measured.leaves_per_s > 0
    assert 1 < measured.mean_batch <= setting.rollout.workers * setting.rollout.games
    for share in (measured.padding_share, measured.busy_share, measured.wait_share):
        assert 0 <= share < 1
    assert measured.busy_share > 0 and measured.games_per_min(5.0) == pytest.approx(12 * measured.leaves_per_s)


@pytest.mark.ray
@pytest.mark.parametrize("leaf_by_leaf", [False, True])
def test_workers_that_share_nothing_are_measured(setting, local_ray, leaf_by_leaf):
    measured = alone(setting.with_rollout(workers=1), SECONDS, leaf_by_leaf)
    assert measured.leaves_per_s > 0
    if leaf_by_leaf:
        assert measured.mean_batch == 1
    else:
        assert 1 < measured.mean_batch <= setting.rollout.games


def test_leaves_of_a_game_are_those_of_its_decisions(setting):
    """Every decision takes the simulations of the config, less those that end the game; a game has 5 to 8 decisions."""
    search = build("search", setting.search, SearchConfig)
    assert 3 * search.simulations < leaves_per_game(setting) < 8 * search.simulations


def test_quality_says_what_many_leaves_and_another_precision_cost(tmp_path, monkeypatch):
    for name, value in (("_POSITIONS", 16), ("_DEALS", 4), ("_CACHED_ROWS", 400), ("_VARIANTS", [(4, 0.0), (4, 1.0)])):
        monkeypatch.setattr(quality, name, value)
    search = {**section("search", "puct"), "simulations": 16}
    figures = quality.run({"checkpoint": str(fake_run(tmp_path / "run")), "search": search})
    policies = [f for f in figures if f.case.endswith("policy")]
    points = [f for f in figures if f.unit == "points"]
    within, earlier = figures[-2:]
    assert len(figures) == len(policies) + len(points) + 2
    assert len(policies) == 3 and "bfloat16" in policies[-1].case and policies[-1].value > 0.5
    for f in policies:
        assert 0 <= f.value <= 1 and 0 <= f.baseline_value <= 1 and f.reached is not None
    for f in points:
        assert f"4 deals, mean and 95 % interval {f.details['mean']:+.2f}  [{f.details['lower end']:+.2f}" in f.case
        assert f.details["lower end"] <= f.details["mean"] <= f.value and f.reached is (f.value >= 0)
    assert len(points) == 2
    assert 0 < within.value < 1 and 0 < earlier.value < 1  # few positions: many are met again


def test_repeated_leaves_are_told_from_those_of_earlier_messages():
    remembering = quality.Remembering(Constant(2, 1))
    for message in ([1, 1, 2], [2, 2, 3], [1, 2, 3]):
        leaves = np.array(message, dtype=np.int8)[:, None]
        assert len(remembering.collect(remembering.submit(leaves)).values) == 3
    assert (remembering.asked, remembering.within, remembering.earlier) == (9, 2, 4)


def test_a_sweep_ends_with_one_table_of_all_units(tmp_path, capsys):
    """A suite's figures may have several units, and a point's figure needs no ratio."""
    for number in range(2):
        rate = Figure("rate", 100.0 * (number + 1), "leaves/s", "peer", 50.0, details={"mean batch": 8.0 + number})
        effort = Figure("effort", 7.0, "messages/CPU s")
        figures = [{**asdict(f), "ratio": f.ratio, "reached": f.reached} for f in (rate, effort)]
        overrides = {"suite": "inference", "rollout.workers": str(number + 1)}
        (tmp_path / str(number)).mkdir()
        text = json.dumps({"overrides": overrides, "figures": figures})
        (tmp_path / str(number) / "inference.json").write_text(text)
    sweep.Table().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}, "json": False}))
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("suite=inference", "rollout.workers", "200", "messages/CPU s", sweep.CSV))
    with (tmp_path / sweep.CSV).open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["rollout.workers"], row["leaves/s"], row["messages/CPU s"], row["ratio"]) for row in rows] == [
        ("1", "100.0", "", "2.0"), ("1", "", "7.0", ""), ("2", "200.0", "", "4.0"), ("2", "", "7.0", ""),
    ]  # fmt: skip
    assert (tmp_path / sweep.PLOT).stat().st_size > 1000


def test_the_best_of_each_sides_turns_counts():
    ours, theirs = (iter([Measured(rate, 1.0) for rate in rates]) for rates in ((3, 9, 5), (7, 2, 1)))
    best = in_turns(3, lambda: next(ours), lambda: next(theirs))
    assert [each.leaves_per_s for each in best] == [9, 7]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inference": {**section("inference", "shm"), "transport": "local"}}, "inference.transport: got 'local'"),
        ({"checkpoint": "no/such/run"}, "no/such/run"),
        ({"checkpoint": "of another game"}, "checkpoint: got a run of tic_tac_toe, wanted one of blob"),
    ],
)
def test_blobs_suite_refuses_what_it_cannot_measure_before_it_starts(settings, message, tmp_path):
    config = {**section("", "benchmark"), **settings}
    if config["checkpoint"] == "of another game":
        config["checkpoint"] = str(fake_run(tmp_path / "run"))
    with pytest.raises(InvalidConfig, match=message):
        blob.run(config)


@pytest.mark.ray
def test_what_goes_another_way_than_it_should_is_no_figure(setting, local_ray, monkeypatch):
    def served(setting, number, actor):
        evaluator = Constant(9, 2)
        evaluator.warning = "it is too small"
        return sides._Asked(evaluator)

    monkeypatch.setattr(sides, "_served", served)
    with pytest.raises(InvalidConfig, match=r"inference\.transport: got shm, but it is too small"):
        self_play(setting, SECONDS)


def test_a_signature_is_the_same_twice_and_tells_another_game_search_and_draw(monkeypatch):
    monkeypatch.setattr(signature, "_GAMES", {"tic_tac_toe": {}})
    first = signature.run({})
    assert signature.run({}) == first
    assert len({each.value for each in first}) == len(first) == len(signature._SEARCHES) + 3
    monkeypatch.setattr(signature, "_SEED", 8)
    assert not {each.value for each in signature.run({})} & {each.value for each in first}
