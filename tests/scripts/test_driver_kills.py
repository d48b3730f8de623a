"""A training command that is killed again and again, and resumed.

The long form: python -m pytest -m faults tests/scripts/test_driver_kills.py
"""

import os
import signal
import sys
import time

import numpy as np
import psutil
import pytest

from inference.shm_directory import ROOT_VARIABLE
from scoundrel_ray.runs.checkpoint import latest
from tests.actors.serial_rows import MODULE
from tests.actors.test_kills import check_saved
from tests.scripts.test_commands import SMALL, _wait_for, start

NUMBERED = [
    f"{section}._target_={MODULE}.{name}"
    for section, name in (("source", "SerialSource"), ("learner", "SerialAlphaZero"), ("replay", "SerialReplay"))
]


@pytest.mark.faults
@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="shared memory as files is Linux's")
def test_twenty_kills_of_the_command_lose_no_checkpoint_and_count_no_row_twice(tmp_path):
    path, shared, generator = tmp_path / "run", tmp_path / "shm", np.random.default_rng(0)
    shared.mkdir()
    own = {"environment": {ROOT_VARIABLE: str(shared)}}
    more = [*SMALL, *NUMBERED, "inference=shm", f"run_dir={path}", "minutes=600", "checkpoint_s=2", "keep=3"]
    process, agents = start("train", *more, **own), []
    for _ in range(20):
        before = latest(path)
        _wait_for(lambda before=before: latest(path) not in (None, before), process)
        time.sleep(generator.uniform(0.0, 2.5))
        children = psutil.Process(process.pid).children(recursive=True)
        agents += [child for child in children if child.name().endswith("Agent")]  # of Ray; they take a minute
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=300)
        _, alive = psutil.wait_procs([child for child in children if child not in agents], timeout=60)
        assert not alive  # nobody stays behind
        check_saved(path, lossless=True)
        process = start("train", f"resume={path}", f"modules=[{MODULE}]", "evaluation.games=0", **own)
    before = latest(path)
    _wait_for(lambda: latest(path) != before, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    check_saved(path, lossless=True)
    assert not psutil.wait_procs(agents, timeout=180)[1]
    assert not list(shared.iterdir()) and not list(path.rglob(".tmp-*"))
