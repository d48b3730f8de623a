"""Commands without room on the disk or in shared memory: python -m pytest -m faults tests/scripts/test_no_room.py

Small file systems in memory are mounted, which only root may do.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inference.shm_directory import ROOT_VARIABLE
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import METRICS, newest_checkpoint
from scoundrel_ray.runs.metrics import read
from tests.scripts.test_commands import ROOT, SMALL, _wait_for, start

pytestmark = [pytest.mark.ray, pytest.mark.faults]


@pytest.fixture
def disk(tmp_path):
    """A directory with room for 4 MB on a file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place):
    """Leave no room at all."""
    with (place / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"0" * 4096)
        except OSError:
            return


def assert_refused(code, out, err):
    assert code == 2 and err.count("\n") == 1 and "No space left on device" in err, (out, err)
    assert err.startswith("error: cannot write ") and "Traceback" not in out + err


def test_a_run_keeps_its_last_whole_checkpoint_and_can_go_on_once_there_is_room(disk, run):
    """Nothing more can be written from some moment on: the run goes on, and in the end it is told."""
    path = disk / "run"
    process = start("train", *SMALL, f"run_dir={path}", "minutes=0.6", "checkpoint_s=1", "evaluation.games=0")
    _wait_for(lambda: (last := checkpoint.latest(path)) and int(last.name) > 4, process)
    fill(disk)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2 and "Traceback" not in err, err
    assert "could not be saved, checkpoint " in err and "the run tries again" in err
    assert err.splitlines()[-1].startswith("error: the last state could not be saved, checkpoint ")
    assert f"go on from there with resume={path}" in err.splitlines()[-1]
    assert "No space left on device" in err.splitlines()[-1]
    saved = checkpoint.load_run(newest_checkpoint(path))
    assert saved["counters"]["games"] > 0
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    code, out, err = run("train", f"resume={path}", "minutes=0.7")
    assert code == 2 and err == f"error: run directory {path}: cannot write to it: Read-only file system\n", (out, err)
    subprocess.run(["mount", "-o", "remount,rw,size=64m", disk], check=True)
    (disk / "filling").unlink(missing_ok=True)
    code, _, err = run("train", f"resume={path}", "minutes=0.7", "evaluation.games=20")
    assert code == 0, err
    summary = json.loads((path / "summary.json").read_text())
    assert summary["games"] > saved["counters"]["games"] and (path / "curves.png").stat().st_size


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("evaluate", ["game=tic_tac_toe", "games=20", "baselines=[random,heuristic,uct]"]),
        ("arena", ["game=tic_tac_toe", "games=20", "baselines=[random,uct]"]),
        ("tune", ["game=tic_tac_toe", "network.width=16", "network.blocks=1", "seconds=0.2", "quality=false"]),
        ("benchmark", ["suite=selfplay", "game=tic_tac_toe", "seconds=1", "repeats=1", "network.width=16"]),
        ("play", ["game=tic_tac_toe", "seats=[agent,agent]", "player.simulations=50"]),
        ("train", [*SMALL, "minutes=0.1"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_that_can_write_nothing_says_so_in_a_line_after_what_it_found(disk, run, script, arguments):
    (disk / "conf" / "experiment").mkdir(parents=True)
    fill(disk)
    more = {
        "tune": [f"out={disk / 'conf' / 'experiment' / 'tuned.yaml'}"],
        "benchmark": [f"out={disk / 'bench'}"],
        "play": [f"save={disk / 'game.json'}"],
    }
    code, out, err = run(script, *arguments, *more.get(script, []), cwd=disk)
    assert_refused(code, out, err)
    told = {"evaluate": "held deals", "arena": "Elo", "benchmark": "suite selfplay", "play": "points"}
    assert told.get(script, "") in out
    assert not list(disk.rglob(".tmp-*"))
    left = {path.name for path in disk.rglob("*") if path.is_file() and path.stat().st_size}
    assert left == {"filling"}


def test_shared_memory_that_fills_up_in_mid_run_costs_speed_and_no_more(disk, tmp_path):
    """Who holds a segment keeps it; the next inference actor has none to give, and requests go by calls."""
    path = tmp_path / "run"
    process = start(
        "train", *SMALL, "inference=shm", f"run_dir={path}", "steps=1000000", "minutes=1", "checkpoint_s=1",
        "evaluation.games=0", environment={ROOT_VARIABLE: str(disk)},
    )  # fmt: skip
    _wait_for(lambda: checkpoint.latest(path), process)
    fill(disk)
    before = checkpoint.latest(path)
    _wait_for(lambda: checkpoint.latest(path) != before, process)
    (own,) = (each for each in disk.iterdir() if each.is_dir())
    os.kill(int(own.name.split("-")[3]), signal.SIGKILL)  # the inference actor
    games = read(path / METRICS)[-1]["rollout/games"]
    _wait_for(lambda: read(path / METRICS)[-1]["rollout/games"] > games + 200, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert err.count("requests go by Ray calls, not through shared memory: ") == 1, err
    assert "No space left on device" in err or "is too small: a segment takes" in err, err
    saved = checkpoint.load_run(newest_checkpoint(path))
    assert saved["counters"]["games"] > games + 200 and saved["counters"]["restarts"]["inference"] == 1
    assert [each.name for each in disk.iterdir()] == ["filling"]


def test_states_larger_than_rays_object_store_are_saved(tmp_path):
    """Ray puts them on the disk, and reads them from there."""
    process = start(
        "train", *SMALL, "network.width=1024", "network.blocks=5", f"run_dir={tmp_path / 'run'}", "minutes=0.7",
        "checkpoint_s=5", "evaluation.games=0", environment={"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "80000000"},
    )  # fmt: skip
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "could not be saved" not in err, err
    last = newest_checkpoint(tmp_path / "run")
    assert int(last.name) > 1 and sum(file.stat().st_size for file in last.iterdir()) > 80e6
    checkpoint.load_run(last)


def test_a_run_whose_ray_dies_for_want_of_shared_memory_goes_on_from_its_checkpoint(run, tmp_path):
    """It is warned of before, which is all that Ray lets us do."""
    path = tmp_path / "run"
    inside = [
        "unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=600m tmpfs /dev/shm && exec "$@"', "sh",
        sys.executable, "-m", "scripts.train", *SMALL, "inference=shm", f"run_dir={path}", "minutes=5",
        "checkpoint_s=1", "evaluation.games=0",
    ]  # fmt: skip
    environment = {**os.environ, "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "200000000", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(inside, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: checkpoint.latest(path), process)
    shared = Path(f"/proc/{process.pid}/root/dev/shm")
    (shared / "most").write_bytes(b"0" * 400 * 2**20)
    before = checkpoint.latest(path)
    _wait_for(lambda: checkpoint.latest(path) != before, process)
    fill(shared)
    _, err = process.communicate(timeout=300)
    assert process.returncode != 0 and "shared memory: /dev/shm has " in err and "MiB left" in err, err
    saved = checkpoint.load_run(newest_checkpoint(path))
    code, _, err = run("train", f"resume={path}", f"steps={saved['agents']['agent']['counters']['steps'] + 30}")
    assert code == 0, err
