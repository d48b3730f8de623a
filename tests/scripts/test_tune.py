"""`scripts.tune`: what it chooses from made-up costs, the settings' file that it writes, and the command as a whole."""

import io
import json
from dataclasses import replace
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from rich.console import Console

from scoundrel_ray.experience.selfplay import RolloutConfig
from scoundrel_ray.runs.settings import train_config
from scoundrel_ray.settings.build import composed
from scoundrel_ray.settings.checks import InvalidConfig
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
from scoundrel_ray.tuning.setting import Setting
from scripts.entry import CONF, section
from scripts.measuring import tuner
from scripts.measuring.self_play import Measured
from scripts.measuring.tuner import Options, Tried, Tuned, applied, check_search, tune
from scripts.tuning.overlay import checked_out, overlay, overlay_text, train_command
from scripts.tuning.report import described, show
from tests.scripts import forked

ROOT = Path(__file__).resolve().parents[2]
INSTANT = TransportCosts(LinearCost(1e-5, 0.0), LinearCost(1e-5, 0.0), LinearCost(1e-5, 0.0))
SMALL = ("game=tic_tac_toe", "network.width=16", "network.blocks=1", "search.simulations=8", "search.considered=4")


@pytest.fixture
def setting():
    """Tic-tac-toe, a small search and a small network."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return Setting.of(composed(hydra.compose("tune", list(SMALL))))


def made_costs(transports=("shm", "ray", "local"), cores=2):
    return MachineCosts(
        cores,
        trees=1,
        on_cpu=True,
        search=SearchCosts({32: 2e-6, 1024: 1e-6}, speedup={1: 1.0, 2: 1.8}),
        inference=InferenceCosts({size: 1e-3 + 1e-5 * size for size in (1, 64, 128, 256, 512)}, {1: 1.0, 2: 1.7}),
        transports=dict.fromkeys(transports, INSTANT),
    )


def made_tuned(setting, point, gpus=0.0):
    costs = made_costs()
    found = predict(costs, point)
    chosen = applied(setting, costs, "float32", "cpu", point)
    return Tuned(
        chosen, Tried(point, found), [Tried(point, found)], costs, {"float32": costs.inference}, {},
        verdict(costs, found), ["a note"], gpus,
    )  # fmt: skip


def test_a_search_without_a_network_is_refused(setting):
    with pytest.raises(InvalidConfig, match="wanted one that asks a network"):
        check_search(
            Setting(setting.game, section("search", "uct"), setting.network, setting.rollout, setting.inference)
        )


# -- choosing


def with_made_costs(monkeypatch, costs, factors=None):
    monkeypatch.setattr(tuner, "_measured_costs", lambda *_: (costs, {"float32": costs.inference}, {}))
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
        run = hydra.compose("train", [f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine", *SMALL])
    config = train_config(composed(run))
    assert RolloutConfig(**config.source["rollout"]) == tuned.setting.rollout
    assert config.workers == tuned.setting.rollout.workers
    assert config.inference == tuned.setting.inference
    assert config.source["search"]["leaves"] == 1 and config.source["search"]["simulations"] == 8
    assert config.cluster.inference_gpus == config.cluster.learner_gpus == gpus
    assert set(overlay(tuned)) == {"rollout", "inference", "search"} | ({"cluster"} if gpus else set())


def test_batch_sizes_end_where_no_more_leaves_can_come(setting):
    costs = made_costs()
    few = applied(setting, costs, "float32", "cpu", Point(1, 1, 32, 1, "shm", 1)).inference
    assert few.max_batch == few.batch_sizes[-1] == 64
    many = applied(setting, costs, "float32", "cpu", Point(4, 1, 2048, 1, "shm", 1)).inference
    assert many.max_batch == costs.inference.max_batch and many.batch_sizes == costs.inference.batch_sizes


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
def test_bad_input_is_one_line(run, arguments, message, tmp_path):
    code, out, err = run("tune", *arguments, cwd=tmp_path)
    assert code == 2 and not out
    assert err.count("\n") == 1 and err.startswith("error: ") and message in err, err
    assert not list(tmp_path.iterdir())


def test_a_cluster_is_not_this_machine(tmp_path, tmp_path_factory):
    told = tmp_path_factory.mktemp("told")
    code, _, err = forked.run("tune", [], tmp_path, told, RAY_ADDRESS="127.0.0.1:1")
    assert code == 2 and err.startswith("error: RAY_ADDRESS: got one") and err.count("\n") == 1


def test_the_tables_show_steps_and_what_is_left_out(setting):
    console = Console(record=True, width=240, file=io.StringIO())
    tuned = made_tuned(setting, Point(3, 2, 128, 1, "shm", 2))
    stepped = InferenceCosts({64: 1e-3, 96: 1.4e-3, 128: 2.6e-3, 256: 4e-3})
    show(console, replace(tuned, precisions={"float32": stepped}, refused={"ray": "no reason"}), setting)
    told = console.export_text()
    assert "(a step: +39%)" in told and "transport ray" in told and "cannot be used: no reason" in told
    assert tuned.verdict in told and "a note" in told and "as given: it is strength" in told


@pytest.mark.ray
def test_tuned_settings_train(run, tmp_path):
    """The JSON alone on stdout, a file beside it, and the very command that it names starts a run with it."""
    code, out, err = run("tune", *SMALL, "seconds=0.2", "confirm=false", "json=true", cwd=tmp_path)
    assert code == 0, err
    found = json.loads(out)
    assert found["limit"] in ("search", "inference", "round trip", "cores") and found["verdict"] in err
    assert found["best"]["predicted"]["leaves_per_s"] > 0 and found["best"]["measured"] is None
    assert set(found["costs"]["inference"]) == {"float32", "bfloat16"}
    assert (tmp_path / found["out"]).exists()
    assert f"train with it:\n  {found['command']}\n" in err
    words = found["command"].split()
    assert words[:3] == ["python", "-m", "scripts.train"] and set(SMALL) <= set(words)
    code, out, err = run(
        "train", *words[3:], "debug=smoke", "network.width=16", "evaluation.games=0", "minutes=0.05", "run_dir=run",
        cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, err
    settings = OmegaConf.to_container(OmegaConf.load(tmp_path / "run" / "config.yaml"))
    assert settings["inference"] == {**settings["inference"], **found["recommended"]["inference"]}
