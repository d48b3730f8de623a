"""An evaluation of 400 episodes, killed at random five times and gone on with other jobs: the undisturbed one's bytes.

python -m pytest -m faults tests/scripts/test_mission_kills.py
"""

import random
import signal
import subprocess
import sys
import time

import pytest

from tests.missions import own_policies
from tests.scripts.test_missions_command import ROOT, same

KILLS, MISSIONS, EPISODES = 5, 20, 20
SMALL = "world: {_target_: scoundrel_ray.worlds.treasure_hunt.make, agents: 3, size: 9, turns: "
POLICIES = f"policies=[random,{{policy: {own_policies.__name__}.Slow, name: slow}}]"


@pytest.mark.faults
@pytest.mark.ray
def test_an_evaluation_killed_at_random_comes_to_the_same_bytes(run, tmp_path):
    missions = ",".join(f"{{name: m{number}, {SMALL}{4 + number % 5}}}}}" for number in range(MISSIONS))
    shared = ["evaluate", f"missions=[{missions}]", POLICIES, f"episodes={EPISODES}"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    code, _, err = run(*shared, f"results={undisturbed}")
    assert code == 0, err
    dice, there = random.Random(7), [0]
    for number in range(KILLS):
        command = [sys.executable, "-m", "scripts.evaluate", *shared[1:], f"results={killed}", f"jobs={1 + number % 3}"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        file, wanted = killed / "episodes.unsorted.jsonl", there[-1] + 10 + dice.randrange(40)
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            if file.exists() and len(file.read_bytes().splitlines()) >= wanted:
                time.sleep(dice.random() / 10)
                process.send_signal(signal.SIGKILL)
            time.sleep(0.01)
        assert process.wait() == -signal.SIGKILL, "killed under way"
        there.append(len(file.read_bytes().splitlines()))
    assert 0 < there[-1] < MISSIONS * EPISODES
    code, out, err = run(*shared, f"results={killed}", "jobs=2")
    assert code == 0, err
    assert f" {0} of {MISSIONS * EPISODES} " not in out and same(undisturbed, killed)
