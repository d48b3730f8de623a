"""Evaluations of missions by their command: the same bytes for any jobs and after any kill; bad input is one line."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from scripts.entry import CONF
from tests.missions import own_policies

ROOT = Path(__file__).resolve().parents[2]
OWN = own_policies.__name__
HUNT = "{name: hunt, world: {_target_: scoundrel_ray.worlds.treasure_hunt.make, agents: 3, size: 9, turns: 8}}"
POLE = "{name: pole, world: {_target_: scoundrel_ray.worlds.from_gymnasium.make, id: CartPole-v1}}"
POLICIES = f"policies=[random,{{policy: {OWN}.Remembers, name: mine, data: {{offset: 1}}, role: focal}}]"
SAME = ("episodes.jsonl", "episodes.csv", "summary.json")


def same(first, second):
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in SAME)


@pytest.mark.ray
def test_results_are_the_same_for_any_jobs_and_nothing_but_json_is_on_stdout(run, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    missions = f"missions=[{HUNT},tic_tac_toe,{POLE}]"
    code, out, err = run("evaluate", missions, POLICIES, "episodes=5", f"results={a}", "jobs=1", "verify=3")
    assert code == 0, err
    assert "mine" in out and "focal" in out and "seat_0" in out and "15 episodes" not in err
    code, out, err = run("evaluate", missions, POLICIES, "episodes=5", f"results={b}", "jobs=2", "json=true")
    assert code == 0, err
    found = json.loads(out)
    assert found["failed"] == 0 and found["timing"]["jobs"] == 2 and same(a, b)
    lines = [json.loads(line) for line in (a / "episodes.jsonl").read_text().splitlines()]
    assert [(each["mission"], each["episode"], each["seed"]) for each in lines] == [
        (name, k, 42 + k) for name in ("hunt", "tic_tac_toe", "pole") for k in range(5)
    ]
    assert Image.open(a / "summary.png").size[0] > 100

    code, out, err = run("evaluate", f"compare=[{a},{b}]")
    assert code == 0 and "returns in the same episodes" in out, err
    loud = f"policies=[{{policy: {OWN}.Loud, name: random}}]"
    code, out, err = run("evaluate", missions, loud, "episodes=1", f"results={tmp_path / 'c'}", "json=true")
    assert code == 0 and json.loads(out)["failed"] == 0, "whatever a policy prints"
    code, _, err = run("evaluate", missions, loud, "episodes=5", f"results={b}")
    assert code == 2 and "holds another evaluation: lineups" in err and err.count("\n") == 1


@pytest.mark.ray
def test_one_episode_again_is_the_same_and_a_film(run, tmp_path):
    whole, one = tmp_path / "whole", tmp_path / "one"
    for path, which in ((whole, "episodes=3"), (one, "episode=2")):
        code, out, err = run("evaluate", f"missions=[{HUNT}]", "policies=[rule]", which, f"results={path}")
        assert code == 0, err
    assert (whole / "episodes.jsonl").read_bytes().endswith((one / "episodes.jsonl").read_bytes())
    assert Image.open(one / "hunt-2.gif").n_frames == 25 and "hunt-2.gif" in out


@pytest.mark.ray
def test_an_evaluation_that_is_killed_goes_on_to_the_same_bytes(run, tmp_path):
    slow = f"policies=[{{policy: {OWN}.Slow, name: slow}}]"
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    missions = f"missions=[{HUNT},{POLE}]"
    code, _, err = run("evaluate", missions, slow, "episodes=6", f"results={undisturbed}")
    assert code == 0, err
    dice = random.Random(3)
    for jobs in (1, 2):
        command = [sys.executable, "-m", "scripts.evaluate", missions, slow, "episodes=6", f"jobs={jobs}"]
        process = subprocess.Popen([*command, f"results={killed}"], cwd=ROOT, stdout=subprocess.DEVNULL)
        file, wanted, end = killed / "episodes.unsorted.jsonl", 2 * jobs + dice.randrange(2), time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            if file.exists() and len(file.read_bytes().splitlines()) >= wanted:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.02)
        assert process.wait() == -signal.SIGKILL, "killed under way"
        assert not (killed / "episodes.jsonl").exists()
    code, out, err = run("evaluate", missions, slow, "episodes=6", f"results={killed}", "jobs=2")
    assert code == 0, err
    assert " 0 of 12 " not in out and same(undisturbed, killed)


@pytest.mark.ray
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "terminate"])
def test_an_interrupted_evaluation_keeps_what_was_finished(ending, run, tmp_path):
    path = tmp_path / "r"
    command = [sys.executable, "-m", "scripts.evaluate", f"missions=[{HUNT}]", "episodes=200", "jobs=1"]
    slow = f"policies=[{{policy: {OWN}.Slow, name: slow}}]"
    process = subprocess.Popen(
        [*command, slow, f"results={path}"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    file, end = path / "episodes.unsorted.jsonl", time.monotonic() + 120
    while not (file.exists() and file.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(ending)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err.decode() == "interrupted\n"
    lines = file.read_bytes().splitlines(keepends=True)
    assert 3 <= len(lines) < 200 and all(json.loads(line)["failure"] is None and line.endswith(b"\n") for line in lines)


@pytest.mark.ray
def test_threads_are_verified_and_what_depends_on_more_than_its_seed_is_found_out(run, tmp_path):
    missions = f"missions=[{HUNT}]"
    code, _, err = run(
        "evaluate", missions, "policies=[random]", "episodes=4", "backend=thread", f"results={tmp_path / 'a'}"
    )
    assert code == 0, err
    own = f"policies=[{{policy: {OWN}.Unseeded, name: own}}]"
    code, _, err = run("evaluate", missions, own, "episodes=4", "backend=thread", f"results={tmp_path / 'b'}")
    assert code == 2 and "verify: hunt, episode" in err and "came out otherwise" in err


@pytest.mark.ray
def test_failures_are_told_at_once_and_end_an_evaluation_where_that_is_wanted(run, tmp_path):
    bad = f"policies=[{{policy: {OWN}.Bad, name: own, data: {{what: raises, episode: 1}}}}]"
    common = ("evaluate", f"missions=[{HUNT}]", bad, "episodes=4", "jobs=1")
    code, out, err = run(*common, f"results={tmp_path / 'a'}")
    assert code == 0, err
    assert "failed: hunt, episode 1, seed 43, agent_0, step 7: RuntimeError: no idea" in out
    found = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert found["failed"] == 1 and found["by_policy"][0]["n"] == 3 and found["by_policy"][0]["failed"] == 1
    code, out, err = run(*common, f"results={tmp_path / 'b'}", "fail=first")
    assert code == 2 and "of 4 episodes failed; what was finished stands in" in err
    assert (tmp_path / "b" / "episodes.unsorted.jsonl").exists()


BAD = [
    (["missions=[tresure_hunt]"], "missions: got 'tresure_hunt', wanted treasure_hunt"),
    (["missions=[xyz*]"], "missions: got 'xyz*', wanted "),
    (["missions=[{world: {}}]"], "missions[0].name: got None, wanted a name"),
    (["missions=[{name: m, world: {_target_: no.such.thing}}]"], "cannot import 'no.such.thing'"),
    (
        ["missions=[tag]", "policies=[rnadom]"],
        "policies: got 'rnadom', wanted a run's directory, a weights file",
    ),
    (["missions=[tag]", "policies=[no.such.Policy]"], "policy no.such.Policy: cannot be imported: ModuleNotFoundError"),
    (["missions=[tag]", f"policies=[{OWN}.Neither]"], "wanted a class with act, or with act_batch"),
    (["missions=[tag]", f"policies=[{OWN}.os]"], "wanted a class with act, or with act_batch"),
    (["missions=[cartpole]", "policies=[rule]"], "mission cartpole has no rule-based player"),
    (["missions=[tag]", "policies=[uct]"], "plays games, and mission tag is none"),
    (["missions=[tag]", "policies=[{policy: random, share: 0}]"], "shares that sum to 0"),
    (["missions=[tag]", "episodes=0"], "episodes: got 0, wanted a number of at least 1"),
    (["missions=[tag]", "episode=-1"], "episode: got -1"),
    (["missions=[tag]", "fail=0"], "fail: got 0, wanted first, never"),
    (["missions=[tag]", "fail=always"], "fail: got 'always'"),
    (["missions=[tag]", "jobs=-1"], "jobs: got -1"),
    (["missions=[tag]", "seed=-1"], "seed: got -1"),
    (["missions=[tag]", "backend=magic"], "backend: got 'magic'"),
    (["missions=[tag]", "steps=-2"], "steps: got -2"),
    (["missions=[tag]", "verify=-2"], "verify: got -2"),
    (["missions=[tag]", "policies=[conf/train.yaml]"], "cannot read conf/train.yaml: damaged, or no weights file"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD, ids=[" ".join(each) for each, _ in BAD])
def test_bad_input_is_one_line_before_anything_starts(overrides, message, tmp_path, here, capsys):
    from hydra import compose, initialize_config_dir

    from scripts.entry import _guard
    from scripts.evaluate import measure

    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("evaluate", [*overrides, f"results={tmp_path / 'r'}"])
        assert _guard(measure, config) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and not (tmp_path / "r").exists()


@pytest.fixture
def here(monkeypatch):
    """Hydra as no command has left it."""
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    monkeypatch.chdir(ROOT)
    yield
    GlobalHydra.instance().clear()
