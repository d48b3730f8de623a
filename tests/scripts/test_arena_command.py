"""The arena as a user runs it: named players, checkpoints of runs, bad input, an interrupt."""

import json
import shutil
import signal
import time

import pytest

from scoundrel_ray.game import Game
from scoundrel_ray.network import make_network, weights
from scoundrel_ray.playing.record import load_all
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import RunDirectory
from scoundrel_ray.settings.build import build
from scoundrel_ray.storage.weights import pack_weights
from tests.conftest import noisy, small_settings
from tests.scripts.test_commands import ROOT, start


def fake_run(path, game="tic_tac_toe", versions=(1,), **changes):
    """A run's directory with untrained weights in its checkpoints."""
    settings = small_settings(game, **changes)
    directory = RunDirectory.new(path, settings)
    made = build("game", settings["game"], Game)
    for version in versions:
        arrays = noisy(weights(make_network(settings["network"], made.spec, seed=version)), version)
        packed = pack_weights(arrays, made.spec, settings["network"], version)
        checkpoint.save(path, {checkpoint.weights_file("agent"): packed}, keep=len(versions))
    directory.close()
    return path


def test_help_lists_the_settings(run):
    code, out, _ = run("arena", "--help")
    assert code == 0 and "anchor" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["games=0", "game=connect_four"], "games: got 0, wanted an integer >= 1"),
        (["gmes=3"], "Key 'gmes' is not in struct"),
        ([], "runs: got none, wanted run directories (or game=... to rate named players alone)"),
        (["runs=a"], "runs: got 'a', wanted a list of run directories"),
        (["runs=[nowhere]"], "run nowhere: cannot read"),
        (["runs=[nowhere]", "game=connect_four"], "game: got one beside runs"),
        (["game=connect_four", "baselines=[random]"], "runs, baselines: got random, wanted at least 2 players"),
        (["game=tic_tac_toe", "baselines=[random,heuristic]"], "such baselines as have a say in tic_tac_toe"),
        (["game=connect_four", "baselines=[random,chess]"], "evaluation.baselines: got 'chess', wanted one of"),
        (["game=scoundrel", "anchor=uct"], "anchor: got 'uct', wanted one of random, heuristic"),
        (["game=scoundrel", "simulations=9"], "simulations: got one without runs, wanted evaluation.players"),
        (["game=scoundrel", "plot=a.jpg"], "plot: got 'a.jpg', wanted a .png file"),
        (["game=scoundrel", "records=."], "records: got '.', wanted a file in a directory"),
        (
            [
                "game=scoundrel",
                "+evaluation.players.old={_target_: inference.agent.trained, weights: no}",
                "baselines=[random,old]",
            ],
            "run no: cannot read no/config.yaml: ",
        ),
        (["game=scoundrel", "all=1"], "all: got 1, wanted true or false"),
        (["game=scoundrel", "json=maybe"], "json: got 'maybe', wanted true or false"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_a_failure(run, arguments, message, tmp_path):
    code, out, err = run("arena", *arguments, cwd=tmp_path)
    assert code == 2
    assert err.count("\n") == 1 and err.startswith("error: ") and message in err, err
    assert "Traceback" not in out + err
    assert not list(tmp_path.iterdir())  # nothing was started


@pytest.mark.ray
def test_named_players_are_rated_by_any_number_of_workers(run, tmp_path):
    """Games are rounded up to whole deals; JSON stands alone on stdout; every game is kept."""
    small = ["game=connect_four", "baselines=[random,uct]", "games=19", "evaluation.shard=6", "json=true"]
    small += ["evaluation.players.uct.simulations=60", "anchor=random"]
    results = []
    for workers in (1, 2):
        code, out, err = run("arena", *small, f"evaluation.workers={workers}", f"out={tmp_path / str(workers)}")
        assert code == 0 and "less random's" in err, err
        results.append(json.loads(out))
    assert results[0] == results[1]
    result = results[0]
    assert [rating["player"] for rating in result["ratings"]] == ["uct", "random"]
    assert result["ratings"][1]["elo"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    (pairing,) = result["pairings"]
    assert pairing["deals"] == 10 and pairing["lost"] > 7 and -2 <= pairing["difference"]["value"] < -1
    (directory,) = (tmp_path / "1").iterdir()
    assert (directory / "arena.png").exists() and len(load_all(directory / "arena.jsonl")) == 20


@pytest.mark.ray
def test_a_game_of_one_seat_and_one_of_three(run, tmp_path):
    code, out, err = run("arena", "game=scoundrel", "games=40", "json=true", f"out={tmp_path / 'out'}")
    assert code == 0, err
    (pairing,) = json.loads(out)["pairings"]
    assert (pairing["first"], pairing["second"], pairing["deals"]) == ("random", "heuristic", 40)
    assert pairing["difference"]["high"] < 0

    shutil.copy(ROOT / "tests" / "evaluation" / "high_card.py", tmp_path / "my_high_card.py")
    (tmp_path / "conf" / "game").mkdir(parents=True)
    (tmp_path / "conf" / "game" / "high_card.yaml").write_text("_target_: my_high_card.make\nseats: 3\n")
    code, out, err = run(
        "arena", "--config-dir", tmp_path / "conf", "game=high_card", "games=100", "json=true", cwd=tmp_path
    )
    assert code == 0, err
    result = json.loads(out)
    assert result["ratings"][0]["player"] == "heuristic" and result["pairings"][0]["deals"] == 34
    (file,) = tmp_path.glob("runs/arenas/*-high card/arena.jsonl")
    assert len(load_all(file)) == 2 * 34 * 3  # one among copies of the other, and the other way round


@pytest.mark.ray
def test_checkpoints_of_runs_meet(run, tmp_path):
    first, second = fake_run(tmp_path / "a" / "run"), fake_run(tmp_path / "b" / "run", versions=(2, 3))
    small = ["games=8", "simulations=4", "baselines=[random]", "json=true", f"out={tmp_path / 'out'}"]
    code, out, err = run("arena", f"runs=[{first},{second}]", *small)
    assert code == 0, err
    result = json.loads(out)
    assert sorted(rating["player"] for rating in result["ratings"]) == ["a/run", "b/run", "random"]
    assert result["agents"]["b/run"] == {
        "weights": str(second / "checkpoints" / "000002" / "agent.safetensors"),
        "version": 3,
    }
    kept = RunDirectory(second)
    for version, source in ((1, first / "checkpoints" / "000001"), (3, second / "checkpoints" / "000002")):
        kept.save_version("agent", (source / "agent.safetensors").read_bytes(), version)
    kept.close()
    code, out, err = run("arena", f"runs=[{second}]", "all=true", *small)
    assert code == 0, err
    assert set(json.loads(out)["agents"]) == {"run/1", "run/2", "run/3"}  # the last is there twice

    code, _, err = run("arena", f"runs=[{first},{first}]", *small)
    assert code == 2 and "runs: got a second player named a/run, wanted directories of different names" in err
    other = fake_run(tmp_path / "c", "connect_four")
    code, _, err = run("arena", f"runs=[{first},{other}]", *small)
    assert code == 2 and "made for another game: game is 'connect_four', wanted 'tic_tac_toe'" in err
    empty = fake_run(tmp_path / "d", versions=())
    code, _, err = run("arena", f"runs=[{empty}]", *small)
    assert code == 2 and "it has no checkpoint yet" in err


@pytest.mark.ray
def test_a_trained_agent_is_a_player_as_any_other(run, tmp_path):
    """It is named by `_target_` in every command that plays, and is the same player as one that a run gives."""
    run_directory = fake_run(tmp_path / "run")
    old = f"{{_target_: inference.agent.trained, weights: {run_directory}, simulations: 4}}"
    small = ["games=8", "json=true", f"plot={tmp_path / 'plot.png'}"]
    named = ["game=tic_tac_toe", f"+evaluation.players.old={old}", "baselines=[old,random]", *small]
    code, out, err = run("evaluate", *named, f"records={tmp_path / 'evaluate.jsonl'}")
    assert code == 0, err
    assert json.loads(out)["standings"][0]["player"] == "old"
    code, out, err = run("arena", *named, f"records={tmp_path / 'arena.jsonl'}")
    assert code == 0, err
    (file,) = run_directory.rglob("agent.safetensors")
    alone = ["simulations=4", "baselines=[random]", *small]
    code, out, err = run("arena", f"runs=[{run_directory}]", *alone, f"records={tmp_path / 'run.jsonl'}")
    assert code == 0 and json.loads(out)["agents"]["run"]["weights"] == str(file), err
    evaluated, met, wanted = (load_all(tmp_path / f"{name}.jsonl") for name in ("evaluate", "arena", "run"))
    assert evaluated == met and [record.actions for record in met] == [record.actions for record in wanted]
    assert met[0].settings["old"] == wanted[0].settings["run"]
    assert set(met[0].settings["old"]) == {"network", "search", "weights"}

    save = tmp_path / "game.json"
    code, out, err = run(
        "play", "game=tic_tac_toe", "seats=[old,random]", f"+players.old={old}", "seed=1", f"save={save}"
    )
    assert code == 0 and "old in seat 0: " in out and "random in seat 1: " in out, err
    assert json.loads(save.read_text())["players"] == ["old", "random"]


@pytest.mark.ray
def test_a_player_that_kills_its_process_is_one_line(run, tmp_path):
    players = "{_target_: tests.actors.dying_players.AlwaysDies}"
    code, out, err = run(
        "evaluate", "game=connect_four", f"+evaluation.players.bad={players}", "baselines=[random,bad]", "games=8",
        f"plot={tmp_path / 'plot.png'}",
    )  # fmt: skip
    assert code == 2 and err.count("error: ") == 1 and "Traceback" not in out + err, err
    assert "error: games 0 to 7 of random against bad: its actor died 3 times" in err


@pytest.mark.ray
def test_an_interrupt_keeps_what_was_played(tmp_path):
    records = tmp_path / "arena.jsonl"
    process = start(
        "arena", "game=connect_four", "baselines=[random,uct]", "games=100000", "evaluation.shard=20", "cpus=1",
        "evaluation.players.uct.simulations=200", "evaluation.workers=1", f"records={records}",
        f"plot={tmp_path / 'arena.png'}",
    )  # fmt: skip
    deadline = time.monotonic() + 300
    stdout = process.stdout
    assert stdout is not None
    while not (line := stdout.readline()).startswith("arena: "):  # of the progress
        assert line and time.monotonic() < deadline, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in err, err
    kept = load_all(records.with_name("arena.part.jsonl"))
    assert kept and f"({len(kept)} games)" in out
    assert not records.exists()
