"""The suites of `scripts.benchmark` as a config group, a sweep's table, what single suites refuse and find."""

import contextlib
import csv
import inspect
import json
import typing

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_object
from omegaconf import OmegaConf

from scoundrel_ray.copies import Copies
from scoundrel_ray.settings.build import composed
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.tuning.prediction import Point
from scoundrel_ray.tuning.setting import Setting
from scripts.benchmarks import agents, blob, evaluation, signature, sweep, tuning, worlds
from scripts.entry import CONF, section
from scripts.measuring.figures import Figure, Report
from scripts.measuring.self_play import Measured
from tests.scripts import forked
from tests.scripts.test_arena_command import fake_run
from tests.scripts.test_tune import made_tuned
from tests.worlds import stairs

SUITES = sorted(path.stem for path in (CONF / "suite").glob("*.yaml"))
SHARED = {"repeats": 7, "threads": 5, "seconds": 1.5, "checkpoint": "a/run", "baseline": False}


def settings_of(*overrides):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return composed(hydra.compose("benchmark", list(overrides)))


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_takes_its_settings_and_declares_a_report(suite):
    settings = settings_of(f"suite={suite}")
    own = dict(settings["suite"])
    function = get_object(own.pop("_target_"))
    parameters = list(inspect.signature(function).parameters)
    assert parameters == ["settings", *own], "the YAML holds all settings of the function, and no others"
    assert issubclass(typing.get_type_hints(function)["return"], Report)


def test_shared_settings_reach_every_suite_that_takes_them():
    for suite in SUITES:
        own = settings_of(f"suite={suite}", *(f"{key}={value}" for key, value in SHARED.items()))["suite"]
        assert {key: own[key] for key in SHARED if key in own} == {key: SHARED[key] for key in SHARED if key in own}
    settings = settings_of("suite=search", "suite.repeats=2")
    assert settings["suite"]["repeats"] == 2 and settings["repeats"] == 3


OWN = """
from scripts.measuring.figures import Figure, Figures, Signatures

def run(settings, number: int, repeats: int) -> Figures:
    if number < 0:
        raise ValueError(f"suite.number: got {number}")
    return Figures([Figure(f"{settings['game']['_target_']}, {repeats}", float(number), "apples/s")])

def hashes(settings, number: int) -> Signatures:
    return Signatures({"one": f"{number:x}"})

def silent(settings, number: int):
    raise AssertionError("was called")
"""


@pytest.fixture
def own_suites(tmp_path):
    """Suites in a module of the user's own, and the YAML files that name them."""
    (tmp_path / "my_suites.py").write_text(OWN)
    (tmp_path / "conf" / "suite").mkdir(parents=True)
    for name in ("run", "hashes", "silent"):
        text = f"_target_: my_suites.{name}\nnumber: 3\n" + ("repeats: ${repeats}\n" if name == "run" else "")
        (tmp_path / "conf" / "suite" / f"my_{name}.yaml").write_text(text)
    return tmp_path


def benchmark(directory, told, *arguments):
    told.mkdir()
    return forked.run("benchmark", ["--config-dir", "conf", *arguments], directory, told)


def test_a_suite_of_the_users_own_is_measured_saved_and_swept(own_suites, tmp_path_factory):
    told = tmp_path_factory.mktemp("told")
    own = ["suite=my_run", "game=tic_tac_toe", "repeats=2", "out=found"]
    code, out, err = benchmark(own_suites, told / "once", *own, "json=true")
    assert code == 0, err
    document = json.loads(out)
    assert document["suite"] == "my_run" and document["overrides"]["repeats"] == "2"
    assert document["command"] == f"python -m scripts.benchmark {' '.join(own)} json=true"
    assert document["figures"][0]["case"] == "scoundrel_ray.games.tic_tac_toe.make, 2"
    assert document["environment"]["cores"] >= 1 and document["config"]["suite"]["number"] == 3
    assert json.loads((own_suites / "found" / "my_run.json").read_text()) == document
    assert (own_suites / "found" / "my_run.png").exists()

    code, out, err = benchmark(own_suites, told / "sweep", "-m", *own, "suite.number=4,5")
    assert code == 0, err
    (table,) = (own_suites / "found").glob("sweep-*/sweep.csv")
    with table.open() as file:
        assert [(row["suite.number"], row["apples/s"]) for row in csv.DictReader(file)] == [("4", "4.0"), ("5", "5.0")]


def test_hashes_are_told_and_kept_nowhere(own_suites, tmp_path_factory):
    before = sorted(own_suites.rglob("*"))
    told = tmp_path_factory.mktemp("told")
    code, out, err = benchmark(own_suites, told / "table", "suite=my_hashes", "suite.number=255")
    assert code == 0 and "one" in out and "ff" in out and "written" not in out + err
    code, out, err = benchmark(own_suites, told / "json", "suite=my_hashes", "json=true")
    assert code == 0 and json.loads(out)["signatures"] == {"one": "3"} and "written" not in err
    assert [path for path in sorted(own_suites.rglob("*")) if "__pycache__" not in str(path)] == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["suite=my_silent"], "suite._target_: my_suites.silent makes no Report"),
        (["suite=my_run", "suite.number=-1"], "suite.number: got -1"),
        (["suite=my_run", "suite.size=1"], "Key 'size' is not in struct"),
        (
            ["suite=my_speed"],
            "Could not find 'suite/my_speed'; wanted one of agents, blob, cartpole, evaluation, footprint, inference, "
            "my_hashes",
        ),
        (["suite=my_run", "+suite.size=1"], "got an unexpected keyword argument 'size'"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_suite_is_one_line(own_suites, tmp_path_factory, arguments, message):
    code, _, err = benchmark(own_suites, tmp_path_factory.mktemp("told") / "err", *arguments)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err, err
    assert "provider" not in err


def test_a_sweep_ends_with_one_table_of_all_units(tmp_path, capsys):
    """A suite's figures may have several units, and a point's figure needs no ratio."""
    for number in range(2):
        rate = Figure("rate", 100.0 * (number + 1), "leaves/s", "peer", 50.0, details={"mean batch": 8.0 + number})
        effort = Figure("effort", 7.0, "messages/CPU s")
        figures = [figure.as_dict() for figure in (rate, effort)]
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inference": {**section("inference", "shm"), "transport": "local"}}, "inference.transport: got 'local'"),
        ({"checkpoint": "no/such/run"}, "no/such/run"),
        ({"checkpoint": "of another game"}, r"suite\.checkpoint: got a run of tic_tac_toe, wanted one of blob"),
        ({"repeats": 0}, r"suite\.repeats: got 0"),
        ({"seconds": 0}, r"suite\.seconds: got 0"),
    ],
)
def test_blobs_suite_refuses_what_it_cannot_measure_before_it_starts(settings, message, tmp_path):
    config = {**section("", "benchmark"), **settings}
    if config["checkpoint"] == "of another game":
        config["checkpoint"] = str(fake_run(tmp_path / "run"))
    with pytest.raises(InvalidConfig, match=message):
        blob.run(config, *(config[key] for key in ("repeats", "seconds", "checkpoint")))


def test_what_tune_recommends_stands_beside_the_best_of_a_sweep(monkeypatch):
    settings = settings_of("suite=tuning", "game=tic_tac_toe", "network=residual_mlp", "search.simulations=8")
    tuned = made_tuned(Setting.of(settings), Point(3, 1, 32, 1, "shm", 1))
    asked = []

    def self_play(setting, seconds):
        asked.append(seconds)
        return Measured(1000.0 * setting.rollout.workers, 10.0)

    monkeypatch.setattr("actors.cluster.connected", contextlib.nullcontext)
    monkeypatch.setattr(tuning, "tune", lambda *_: tuned)
    monkeypatch.setattr(tuning, "self_play", self_play)
    (figure,) = tuning.run(settings, seconds=8.0).figures
    assert figure.value == 3000.0 and figure.baseline_value == 4000.0 and figure.reached is False
    assert "tuned: self-play, tic_tac_toe" in figure.case and "3 workers x 32 games over shm" in figure.case
    assert "4 workers" in figure.baseline and {*asked} == {2.0}, "a quarter of the seconds for each"


def test_a_signature_is_the_same_twice_and_tells_another_game_search_and_draw(monkeypatch):
    monkeypatch.setattr(signature, "_GAMES", {"tic_tac_toe": {}})
    monkeypatch.setattr(signature, "_TRAINED", "tic_tac_toe")
    first = signature.run({}).hashes
    assert signature.run({}).hashes == first
    assert len(set(first.values())) == len(first) == len(signature._SEARCHES) + 3
    monkeypatch.setattr(signature, "_SEED", 8)
    assert not {*signature.run({}).hashes.values()} & {*first.values()}


def test_worlds_are_measured_beside_their_baselines():
    settings = settings_of("suite=worlds", "suite.agent_steps=3000", "suite.copies=[3]", "repeats=2")["suite"]
    del settings["_target_"]
    figures = worlds.run({}, **settings).figures
    assert [each.case.split(",")[0] for each in figures] == ["treasure_hunt"] * 2 + ["cleanup", "tag"]
    assert figures[0].case == "treasure_hunt, 10 agents, 3 copies, one core"
    assert all(each.value >= each.details["median"] > 0 for each in figures)
    assert all(each.baseline_value > 0 for each in figures[:2]) and figures[2].baseline is None
    assert [each.wanted_ratio for each in figures] == [100.0, None, None, None]


def test_a_rehearsed_game_is_played_again_with_its_renewals():
    """Of a world with masks, in which agents leave at different times, and that has no baseline."""
    world = stairs.make()
    game = worlds.rehearsed(world, 5, 400)
    copies, acted = Copies(world, game.streams), 0
    for actions, over in zip(game.actions, game.renewed, strict=True):
        acted += int(copies.acting.sum())
        copies.step(actions)
        assert copies.over.any() == over
        copies.renew()
    assert acted == game.agent_steps and 400 <= acted < 415 and True in game.renewed
    assert {0, 1, 2} == {int(each) for actions in game.actions for each in actions.ravel()}
    (figure,) = worlds.of_world(world, 5, 400, 1)
    assert figure.value > 0 and figure.baseline is None and figure.reached is None


@pytest.mark.parametrize(
    ("change", "message"),
    [({"worlds": ["hunt"]}, r"suite\.worlds: got 'hunt'"), ({"copies": [0]}, r"suite\.copies: got 0"),
     ({"agent_steps": 0}, r"suite\.agent_steps: got 0"), ({"repeats": 0}, r"suite\.repeats: got 0")],
)  # fmt: skip
def test_worlds_that_cannot_be_measured_are_named(change, message):
    settings = {"worlds": ["treasure_hunt"], "copies": [4], "agent_steps": 10, "repeats": 1, **change}
    with pytest.raises(InvalidConfig, match=message):
        worlds.run({}, **settings)


AGENTS = {
    "run": [
        "experiment=treasure_hunt", "network.width=8", "network.acting_quantiles=2", "learner.batch_size=8",
        "rollout.copies=8", "rollout.steps=80", "replay.min_rows=20", "replay.capacity=1000",
    ],
    "agents": [2],
    "shares": [0.5],
    "ways": ["blocking", "stacked"],
    "ratios": [],
    "precision": "float32",
    "seconds": 1.0,
}  # fmt: skip


@pytest.mark.ray
def test_ways_of_running_agents_are_measured_beside_their_predictions():
    figures = {figure.case: figure for figure in agents.run({}, **AGENTS).figures}
    collected, *learned = [figure for case, figure in figures.items() if "alone" in case]
    assert collected.value > 0 and collected.baseline_value > 0 and collected.details["cores used"] > 0
    assert [figure.baseline for figure in learned] == ["one after another in float32"] * 3
    ways = {case.split(": ")[1]: figure for case, figure in figures.items() if "time in turn: " in case}
    assert [case.split(",")[0] for case in ways] == ["in turn", "all workers", "asynchronous"]
    ratio = {figure.details["samples an insert"] for figure in ways.values()}
    assert len(ratio) == 1, "equal for all"
    for figure in ways.values():
        assert figure.value > 0 and figure.baseline_value > 0
        assert figure.details["  least"] == pytest.approx(*ratio, rel=0.5)
        assert figure.details["learner steps/s of all"] > 0
    claimed = [figure for figure in figures.values() if figure.unit == "x"]
    stacked = next(figure for case, figure in ways.items() if "stacked" in case)
    assert claimed[0].value == pytest.approx(stacked.ratio) and claimed[0].wanted == 0.85
    assert claimed[1].value == pytest.approx(stacked.details["times as fast as in turn"]) and claimed[1].wanted == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [({"run": "debug=smoke"}, r"suite\.run: got 'debug"), ({"agents": []}, r"suite\.agents: got none"),
     ({"agents": [0]}, r"suite\.agents: got 0"), ({"shares": [1.0]}, r"suite\.shares: got 1"),
     ({"ways": ["fast"]}, r"suite\.ways: got 'fast'"), ({"ratios": [0]}, r"suite\.ratios: got 0"),
     ({"precision": "half"}, r"suite\.precision: got 'half'"), ({"seconds": 0}, r"suite\.seconds: got 0")],
)  # fmt: skip
def test_runs_of_agents_that_cannot_be_measured_are_named(change, message):
    with pytest.raises(InvalidConfig, match=message):
        agents.run({}, **{**AGENTS, **change})


def test_ways_to_play_missions_are_measured_and_come_to_the_same():
    for figure in (evaluation._auto(1), evaluation._batches(1), evaluation._vector(6, 1)):
        assert figure.value > 0 and figure.reached is not None


@pytest.mark.parametrize("name", ["missions", "episodes", "rounds", "copies", "repeats"])
def test_counts_of_missions_are_checked(name):
    counts = {"missions": 1, "episodes": 1, "rounds": 1, "copies": 1, "repeats": 1, name: 0}
    with pytest.raises(InvalidConfig, match=rf"suite\.{name}: got 0"):
        evaluation.run({}, **counts)
