"""Ctrl-C and SIGTERM to every command, early, late and twice: exit 130, what is finished is kept, nothing stays.

All of them: python -m pytest -m faults tests/scripts/test_interrupts.py
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import matplotlib.image
import numpy as np
import psutil
import pytest

from inference.shm_directory import ROOT_VARIABLE
from scoundrel_ray.playing.record import load_all
from scoundrel_ray.runs import checkpoint
from tests.scripts.test_commands import SMALL, start

TRAIN = [*SMALL, "inference=shm", "run_dir=run", "minutes=0.2", "checkpoint_s=2"]
PLAYERS = ["game=connect_four", "baselines=[random,uct]", "evaluation.players.uct.simulations=1000"]
COMMANDS = {
    "train": TRAIN,
    "evaluate": [*PLAYERS, "games=1000", "evaluation.shard=50"],
    "arena": [*PLAYERS, "games=1000", "evaluation.shard=50"],
    "tune": ["game=tic_tac_toe", "network.width=16", "network.blocks=1", "seconds=0.3", "out=experiment/tuned.yaml"],
    "benchmark": ["suite=selfplay", "game=tic_tac_toe", "network=residual_mlp", "network.width=16", "seconds=3",
                  "repeats=1", "out=bench"],
    "play": ["game=tic_tac_toe"],
}  # fmt: skip
AT_WORK = {
    "train": "training: ",
    "evaluate": "evaluation: ",
    "arena": "arena: ",
    "tune": "measuring: ",
    "play": "seat ",
}


class Lines:
    """What a command prints, as it comes."""

    def __init__(self, stream):
        self.text = ""
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream):
        while text := os.read(stream.fileno(), 4096).decode(errors="replace"):
            self.text += text


def loaded(process):
    """Whether a command has come as far as numpy."""
    with contextlib.suppress(OSError):
        return "numpy" in Path(f"/proc/{process.pid}/maps").read_text()
    return True


def wait_until(happened, process):
    deadline = time.monotonic() + 300
    while not happened() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def interrupted(tmp_path, script, number, moment):
    """Run a command and strike; its exit code, what it printed, and what is wrong."""
    shared = tmp_path / "shm"
    shared.mkdir(exist_ok=True)
    process = start(
        script, *COMMANDS[script], cwd=tmp_path, environment={ROOT_VARIABLE: str(shared)}, stdin=subprocess.PIPE
    )
    out, err = Lines(process.stdout), Lines(process.stderr)
    wait_until(lambda: loaded(process), process)
    if moment != "start":
        wait_until(lambda: AT_WORK.get(script, "suite") in out.text + err.text, process)
    if isinstance(moment, float):
        time.sleep(moment)
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for _ in range(2 if moment == "twice" else 1):
        with contextlib.suppress(psutil.NoSuchProcess):
            children += psutil.Process(process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        time.sleep(0.3 if moment == "twice" else 0.0)
    process.wait(300)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive, alive
    time.sleep(0.1)
    assert "Traceback" not in out.text + err.text, out.text + err.text
    assert not list(shared.iterdir())
    return process.returncode, out.text, err.text


def check_files(directory):
    """Whatever lies there is whole."""
    assert not list(directory.rglob(".tmp-*"))
    for path in directory.rglob("*"):
        if path.name == "metrics.jsonl":
            assert all(json.loads(line) for line in path.read_text().splitlines())
        elif path.suffix == ".jsonl":
            assert load_all(path)
        elif path.suffix == ".json" and "checkpoints" not in path.parts:
            json.loads(path.read_text())
        elif path.suffix == ".png":
            assert matplotlib.image.imread(path).size
        elif path.is_dir() and path.name not in ("shm", "checkpoints", "multirun"):
            assert any(path.iterdir()), f"{path} is empty"
    if checkpoint.latest(directory / "run"):
        checkpoint.load_run(checkpoint.latest(directory / "run"))


SHORT = [("evaluate", signal.SIGTERM, "start"), ("tune", signal.SIGINT, "middle"), ("arena", signal.SIGINT, "twice")]
ALL = [
    (script, number, moment)
    for script in COMMANDS
    for number in (signal.SIGINT, signal.SIGTERM)
    for moment in ("start", "middle", "twice", *np.random.default_rng(1).uniform(0.0, 12.0, 3))
]


@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
@pytest.mark.parametrize(
    ("script", "number", "moment"),
    [*SHORT, *(pytest.param(*each, marks=pytest.mark.faults) for each in ALL if each not in SHORT)],
    ids=lambda value: getattr(value, "name", f"{value:.1f}s" if isinstance(value, float) else str(value)),
)
def test_an_interrupt_ends_a_command_cleanly(tmp_path, script, number, moment):
    code, out, err = interrupted(tmp_path, script, number, moment)
    ended = isinstance(moment, float) and code == 0  # it was over by then
    assert code == 130 or ended, (code, out, err)
    check_files(tmp_path)
