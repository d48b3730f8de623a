"""`scripts.tune`: its measurements on made-up parts, the settings' file that it writes, and the command as a whole."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import hydra
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from rich.console import Console

from scoundrel_ray.evaluator import Constant
from scoundrel_ray.runs.settings import train_config
from scoundrel_ray.settings.build import composed
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.tuning.prediction import (
    Costs,
    EvaluationCosts,
    Line,
    Point,
    SearchCosts,
    TransportCosts,
    predict,
    verdict,
)
from scripts.benchmarks.sides import Measured, Setting
from scripts.entry import CONF, section
from scripts.tuning import evaluation, tuner
from scripts.tuning.metered import Passed, median_rate, metered, rate
from scripts.tuning.overlay import checked_out, overlay, overlay_text, train_command
from scripts.tuning.report import described, show
from scripts.tuning.search import leaves_factors, search_costs
from scripts.tuning.transport import transport_costs
from scripts.tuning.tuner import Options, Tried, Tuned, applied, check_search, tune

ROOT = Path(__file__).resolve().parents[2]
INSTANT = TransportCosts(Line(1e-5, 0.0), Line(1e-5, 0.0), Line(1e-5, 0.0))
SMALL = ("game=tic_tac_toe", "network.width=16", "network.blocks=1", "search.simulations=8", "search.considered=4")


@pytest.fixture
def setting():
    """Tic-tac-toe, a small search and a small network."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return Setting.of(composed(hydra.compose("tune", list(SMALL))))


def made_costs(transports=("shm", "ray", "local"), cores=2):
    return Costs(
        cores,
        trees=1,
        on_cpu=True,
        search=SearchCosts({32: 2e-6, 1024: 1e-6}, speedup={1: 1.0, 2: 1.8}),
        evaluation=EvaluationCosts({size: 1e-3 + 1e-5 * size for size in (1, 64, 128, 256, 512)}, {1: 1.0, 2: 1.7}),
        transports=dict.fromkeys(transports, INSTANT),
    )


def made_tuned(setting, point, gpus=0.0):
    costs = made_costs()
    found = predict(costs, point)
    chosen = applied(setting, costs, "float32", "cpu", point)
    return Tuned(
        chosen, Tried(point, found), [Tried(point, found)], costs, {"float32": costs.evaluation}, {},
        verdict(costs, found), ["a note"], gpus,
    )  # fmt: skip


# -- the parts


class Worker:
    """Sends messages of ten leaves; what is called counts."""

    def __init__(self, evaluator, clock):
        self.evaluator, self.clock, self.closed = evaluator, clock, 0

    def play(self, rows, seconds):
        while True:
            self.clock[0] += 1.0
            self.evaluator.collect(self.evaluator.submit(np.zeros((10, 3), np.int8)))

    def close(self):
        self.closed += 1


@pytest.mark.parametrize(
    ("seconds", "leaves", "messages"),
    [(20.0, 0, 20), (2.0, 0, 8), (5.0, 190, 19), (5.0, 10_000, 20)],
    ids=["seconds", "messages", "leaves", "patience"],
)
def test_a_measurement_ends_with_enough_seconds_messages_and_leaves(seconds, leaves, messages):
    clock, made = [0.0], []

    def worker(evaluator):
        evaluator.clock = lambda: clock[0]
        made.append(Worker(evaluator, clock))
        return made[-1]

    passed = metered(worker, Constant(2, 1), seconds, 10.0, leaves)
    assert len(passed) - 1 == messages
    assert passed[0].at >= 10.0  # warmed up
    assert rate(passed).leaves_per_s == pytest.approx(10.0)
    assert made[0].closed == 1


def test_rates_count_each_message_until_the_next():
    passed = [Passed(0.0, 10, 0.0, 0.0), Passed(1.0, 30, 0.5, 0.2), Passed(4.0, 99, 2.0, 0.8)]
    found = rate(passed)
    assert found.leaves_per_s == 10.0 and found.message == 20.0
    assert found.wait_share == 0.5 and found.leaf_s == pytest.approx(0.02)


def test_one_busy_moment_does_not_count():
    at = np.cumsum([0.0, *[1.0] * 20, *[50.0] * 10, *[1.0] * 20])
    assert median_rate([Passed(float(t), 7, 0.0, 0.0) for t in at], 5).leaves_per_s == pytest.approx(7.0)


def test_a_real_search_is_measured(setting):
    told = []
    found = search_costs(setting, 0.05, [8, 32], [2], told.append)
    assert set(found.leaf_s) == {8, 32} and set(found.speedup) == {1, 2}
    assert all(seconds > 0 for seconds in found.leaf_s.values()) and 0 < found.filled <= 1
    assert told == ["search, 8 games", "search, 32 games", "search, 2 threads"]
    factors = leaves_factors(setting, 0.05, 32, [2, 4])
    assert set(factors) == {2, 4} and all(factor > 0 for factor in factors.values())


class SteppedModel:
    """A batch takes as long as it is told, by a clock that it moves."""

    def __init__(self, seconds, clock):
        self.seconds, self.clock, self.asked = seconds, clock, []

    def evaluate(self, observations):
        self.asked.append(len(observations))
        self.clock[0] += self.seconds(len(observations))


def test_batches_are_timed_by_size():
    clock = [0.0]
    model = SteppedModel(lambda size: 1e-3 * (size if size <= 96 else 1.3 * size), clock)
    found = evaluation.batch_seconds(model, np.zeros((512, 1), np.int8), [64, 96, 97], lambda: clock[0])
    assert found == pytest.approx({64: 0.064, 96: 0.096, 97: 0.1261})


def test_larger_batches_are_left_out_once_they_bring_nothing():
    clock = [0.0]
    sizes = [1 << n for n in range(12)]
    observations = np.zeros((2048, 1), np.int8)

    def timed(seconds):
        return evaluation.batch_seconds(SteppedModel(seconds, clock), observations, sizes, lambda: clock[0])

    slow = timed(lambda size: 0.002 * size)
    assert max(slow) == 256  # 0.512 s
    flat = timed(lambda size: 1e-4 * size)
    assert max(flat) == 512  # twice no cheaper than 128
    falling = timed(lambda size: 1e-3 + 1e-7 * size)
    assert max(falling) == 2048


def test_bfloat16_must_gain_a_tenth():
    def costs(gain):
        return {"float32": EvaluationCosts({64: 1.0}), "bfloat16": EvaluationCosts({64: 1.0 / gain})}

    assert evaluation.faster(costs(1.05)) == "float32" and evaluation.faster(costs(1.2)) == "bfloat16"
    assert evaluation.faster({"bfloat16": EvaluationCosts({64: 1.0})}) == "bfloat16"


def test_a_server_in_the_same_process_is_measured(setting):
    found, refused = transport_costs(setting.built_game(), ("local",), 0.05)
    assert not refused
    assert found["local"].round_trip.at(64) > 0 and found["local"].server.at(64) == 0.0


@pytest.mark.ray
def test_transports_between_actors_are_measured(setting, local_ray):
    found, refused = transport_costs(setting.built_game(), ("ray", "shm"), 0.2)
    assert "ray" in found and {*found, *refused} == {"ray", "shm"}
    assert all(costs.round_trip.at(64) > 0 for costs in found.values())


def test_a_search_without_a_network_is_refused(setting):
    with pytest.raises(InvalidConfig, match="wanted one that asks a network"):
        check_search(
            Setting(setting.game, section("search", "uct"), setting.network, setting.rollout, setting.inference)
        )


# -- choosing


def with_made_costs(monkeypatch, costs, factors=None):
    monkeypatch.setattr(tuner, "_measured_costs", lambda *_: (costs, {"float32": costs.evaluation}, {}))
    monkeypatch.setattr(tuner, "leaves_factors", lambda _s, _t, _g, more, _tick: factors or dict.fromkeys(more, 0.5))
    monkeypatch.setattr(tuner, "crowded", list)


def test_quality_keeps_the_leaves_that_batches_do_not_need(monkeypatch, setting):
    with_made_costs(monkeypatch, made_costs())
    kept = tune(setting, Options("cpu", 0.1, confirm=False, quality=True))
    assert kept.setting.search["leaves"] == 1 and not kept.notes
    fast = tune(setting, Options("cpu", 0.1, confirm=False, quality=False))
    assert fast.setting.search["leaves"] == 2 and "quality=false" in fast.notes[0]  # 8 simulations allow no more
    assert fast.setting.search["simulations"] == kept.setting.search["simulations"] == 8


def test_leaves_are_raised_where_batches_cannot_be_filled(monkeypatch, setting):
    monkeypatch.setattr("scoundrel_ray.tuning.grid.GAMES", (32,))
    costs = made_costs()
    with_made_costs(monkeypatch, costs)
    found = tune(setting.with_search(simulations=32), Options("cpu", 0.1, confirm=False, quality=True))
    assert found.setting.search["leaves"] == 2
    assert "could not be filled" in found.notes[0]


def test_the_best_that_was_measured_is_recommended(monkeypatch, setting):
    with_made_costs(monkeypatch, made_costs())
    tried = []

    def self_play(at, seconds):
        tried.append(at)
        speed = 100.0 if at.inference.transport == "ray" else 1.0
        return Measured(speed * at.rollout.workers, 10.0)

    monkeypatch.setattr(tuner, "self_play", self_play)
    told = []
    found = tune(setting, Options("cpu", 0.1, confirm=True, quality=True), lambda what, seconds: told.append(seconds))
    assert found.setting.inference.transport == "ray"
    assert found.best.measured.leaves_per_s == max(each.measured.leaves_per_s for each in found.tried)
    assert len({each.point for each in found.tried}) == len(found.tried) <= 6
    assert len(told) == len(tried) == len(found.tried) + 3  # the two best and the best predicted, once more
    monkeypatch.setattr(tuner, "crowded", lambda: ["other work"])
    before = len(tried)
    assert "other work" in tune(setting, Options("cpu", 0.1, confirm=True, quality=True)).notes
    assert len(tried) == 2 * before + 6  # in three turns


def test_of_two_as_fast_the_better_predicted_is_taken(setting):
    def tried(workers, measured):
        point = Point(workers, 1, 256, 1, "local", 1)
        return Tried(point, predict(made_costs(), point), Measured(measured, 10.0))

    slow, fast = tried(1, 100.0), tried(2, 97.0)
    assert fast.predicted.leaves_per_s > slow.predicted.leaves_per_s
    assert tuner._winner([slow, fast]) is fast
    assert tuner._winner([slow, tried(2, 90.0)]) is slow


def test_other_work_on_the_machine_is_told_of(monkeypatch):
    monkeypatch.setattr(tuner.psutil, "cpu_percent", lambda interval: 5.0)
    assert tuner.crowded() == []
    monkeypatch.setattr(tuner.psutil, "cpu_percent", lambda interval: 70.0)
    assert "70%" in tuner.crowded()[0]


# -- what is written


@pytest.mark.parametrize("gpus", [0.0, 0.5])
def test_the_file_composes_to_checked_settings_of_a_run(tmp_path, setting, gpus):
    tuned = made_tuned(setting, Point(3, 2, 128, 1, "shm", 2), gpus)
    out = checked_out(str(tmp_path / "experiment" / "mine.yaml"))
    out.parent.mkdir()
    out.write_text(overlay_text(tuned, described(tuned, "a machine, 2 cores, cpu")))
    assert out.read_text().startswith("# @package _global_\n")
    assert "\n  batch_sizes: [" in out.read_text() and "# a note\n" in out.read_text()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        overridden = hydra.compose("train", [f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine", *SMALL])
    config = train_config(composed(overridden))
    assert config.rollout == tuned.setting.rollout
    assert config.inference == tuned.setting.inference
    assert config.search["leaves"] == 1 and config.search["simulations"] == 8
    assert config.cluster.inference_gpus == config.cluster.learner_gpus == gpus
    assert set(overlay(tuned)) == {"rollout", "inference", "search"} | ({"cluster"} if gpus else set())


def test_batch_sizes_end_where_no_more_leaves_can_come(setting):
    costs = made_costs()
    few = applied(setting, costs, "float32", "cpu", Point(1, 1, 32, 1, "shm", 1)).inference
    assert few.max_batch == few.batch_sizes[-1] == 64
    many = applied(setting, costs, "float32", "cpu", Point(4, 1, 2048, 1, "shm", 1)).inference
    assert many.max_batch == costs.evaluation.max_batch and many.batch_sizes == costs.evaluation.batch_sizes


@pytest.mark.parametrize("out", ["tuned.yaml", "experiment/tuned", 3, None, "/dev/null/experiment/tuned.yaml"])
def test_a_file_that_train_could_not_take_is_refused(out):
    with pytest.raises(InvalidConfig, match="out: got"):
        checked_out(out)


def test_the_command_takes_along_what_was_tuned_for():
    overrides = [
        "game=blob",
        "search.tree=per_world",
        "search.worlds=3",
        "+network.seed=4",
        "seconds=1",
        "out=a/experiment/b.yaml",
        "searching=1",
    ]
    assert train_command(Path("a/experiment/b.yaml"), overrides) == (
        "python -m scripts.train --config-dir a experiment=b game=blob search.tree=per_world search.worlds=3 "
        "+network.seed=4"
    )
    assert train_command(CONF / "experiment" / "c.yaml", []) == "python -m scripts.train experiment=c"
    assert "'game.players=[3,4]'" in train_command(Path("a/experiment/b.yaml"), ["game.players=[3,4]"])


# -- the command


def command(script, *arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", f"scripts.{script}", *map(str, arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search=uct"], "search: got one that plays its leaves out itself"),
        (["out=tuned.yaml"], "out: got 'tuned.yaml', wanted a .yaml file in a directory named 'experiment'"),
        (["seconds=0"], "seconds: got 0, wanted a number from 0.2"),
        (["quality=7"], "quality: got 7, wanted true or false"),
        (["inference.device=gpu7"], "inference.device: got 'gpu7', which torch cannot use here"),
        (["network.width=0"], "network.width: got 0"),
        (["workers=3"], "Key 'workers' is not in struct"),
    ],
    ids=str,
)
def test_bad_input_is_one_line(arguments, message, tmp_path):
    code, out, err = command("tune", *arguments, cwd=tmp_path)
    assert code == 2 and not out
    assert err.count("\n") == 1 and err.startswith("error: ") and message in err, err
    assert not list(tmp_path.iterdir())


def test_a_cluster_is_not_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    code, _, err = command("tune", cwd=tmp_path)
    assert code == 2 and err.startswith("error: RAY_ADDRESS: got one") and err.count("\n") == 1


def test_the_tables_show_steps_and_what_is_left_out(setting):
    console = Console(record=True, width=240, file=io.StringIO())
    tuned = made_tuned(setting, Point(3, 2, 128, 1, "shm", 2))
    stepped = EvaluationCosts({64: 1e-3, 96: 1.4e-3, 128: 2.6e-3, 256: 4e-3})
    show(console, replace(tuned, precisions={"float32": stepped}, refused={"ray": "no reason"}), setting)
    told = console.export_text()
    assert "(a step: +39%)" in told and "transport ray" in told and "cannot be used: no reason" in told
    assert tuned.verdict in told and "a note" in told and "as given: it is strength" in told


@pytest.mark.ray
def test_tuned_settings_train(tmp_path):
    """The JSON alone on stdout, a file beside it, and the very command that it names starts a run with it."""
    code, out, err = command("tune", *SMALL, "seconds=0.2", "confirm=false", "json=true", cwd=tmp_path)
    assert code == 0, err
    found = json.loads(out)
    assert found["limit"] in ("search", "evaluation", "round trip", "cores") and found["verdict"] in err
    assert found["best"]["predicted"]["leaves_per_s"] > 0 and found["best"]["measured"] is None
    assert set(found["costs"]["evaluation"]) == {"float32", "bfloat16"}
    assert (tmp_path / found["out"]).exists()
    assert f"train with it:\n  {found['command']}\n" in err
    words = found["command"].split()
    assert words[:3] == ["python", "-m", "scripts.train"] and set(SMALL) <= set(words)
    code, out, err = command(
        "train", *words[3:], "debug=smoke", "network.width=16", "evaluation.games=0", "minutes=0.05", "run_dir=run",
        cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, err
    settings = OmegaConf.to_container(OmegaConf.load(tmp_path / "run" / "config.yaml"))
    assert settings["inference"] == {**settings["inference"], **found["recommended"]["inference"]}
