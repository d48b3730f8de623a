"""What the suite makes of seeds that were learned; the commands that learn are stood in for."""

import json
import sys
from pathlib import Path

import pytest

from scoundrel_ray.settings.checks import InvalidConfig
from scripts.benchmarks import cartpole
from scripts.measuring.processes import spent

BURNS = "import time; end = time.process_time() + 0.6\nwhile time.process_time() < end: pass\n"


def test_processor_time_of_a_command_and_of_what_it_starts_is_summed_up(tmp_path):
    inner = f"import subprocess, sys\ncode = {BURNS!r}\nsubprocess.run([sys.executable, '-c', code])\n{BURNS}"
    code, cpu_s = spent([sys.executable, "-c", f"{inner}sys.exit(3)"], tmp_path / "log", 0.02)
    assert code == 3 and 1.0 < cpu_s < 3.0
    code, cpu_s = spent([sys.executable, "-c", BURNS], tmp_path / "log", 0.02)
    assert code == 0 and 0.5 < cpu_s < 1.5


@pytest.fixture
def commands(monkeypatch):
    """The commands that were run; ours returns 500 less its seed, theirs 480 less its seed, at 2 s and 3 s a seed."""
    run = []

    def stand_in(command, log):
        run.append(command[command.index("-m") + 1 :])
        if "scripts.train" in command:
            given = dict(each.split("=", 1) for each in command if "=" in each)
            Path(given["run_dir"]).mkdir()
            returns = {"trained": {"agent": {"mean": 500.0 - int(given["seed"])}}, "random": {"agent": {"mean": 20.0}}}
            (Path(given["run_dir"]) / "summary.json").write_text(json.dumps({"evaluation": {"returns": returns}}))
            return 0, 2.0
        Path(log).write_text("a warning\n" + json.dumps({"return": 480.0 - int(command[-2])}) + "\n")
        return 0, 3.0

    monkeypatch.setattr(cartpole, "spent", stand_in)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: True)
    return run


def test_seeds_are_counted_and_their_time_stands_beside_that_of_the_peer(commands):
    figures = cartpole.run({}, ["minutes=1"], ["iqn", "ppo"], 10, 475.0, 100).figures
    solved, time_of_iqn, _, _ = figures
    assert (solved.value, solved.baseline_value, solved.wanted, solved.reached) == (10, 6.0, 9, True)
    assert solved.details == {"least return": 491.0, "median return": 495.5}
    assert (time_of_iqn.value, time_of_iqn.baseline_value, time_of_iqn.most, time_of_iqn.reached) == (2, 3, 3, True)
    assert [each.baseline for each in figures] == ["dqn of Stable-Baselines3"] * 2 + ["ppo of Stable-Baselines3"] * 2
    ours = [command for command in commands if command[0] == "scripts.train"]
    assert [next(each for each in own if each.startswith("experiment=")) for own in ours[9:11]] == [
        "experiment=cartpole",
        "experiment=cartpole_ppo",
    ]
    assert all("episodes.count=100" in own and "minutes=1" in own for own in ours) and len(ours) == 20
    theirs = [command[1:] for command in commands if command[0] == "scripts.benchmarks.peer_sb3"]
    assert theirs == [[name, str(seed), "100"] for name in ("dqn", "ppo") for seed in range(10)]


def test_without_the_peer_there_is_nothing_to_compare_with(commands, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    solved, cpu = cartpole.run({}, [], ["ppo"], 2, 499.5, 5).figures
    assert (solved.value, solved.wanted, solved.reached) == (1, 2, False)
    assert solved.baseline_value is None and cpu.reached is None


def test_a_command_that_fails_is_told_with_its_last_line(monkeypatch):
    def fails(_command, log):
        Path(log).write_text("first\nagents: got none\n\n")
        return 2, 1.0

    monkeypatch.setattr(cartpole, "spent", fails)
    with pytest.raises(InvalidConfig, match=r"^-m scripts\.train .* ended with 2: agents: got none$"):
        cartpole.run({}, [], ["iqn"], 1, 475.0, 5)
    with pytest.raises(InvalidConfig, match=r"^suite\.learners"):
        cartpole.run({}, [], ["dqn"], 1, 475.0, 5)
