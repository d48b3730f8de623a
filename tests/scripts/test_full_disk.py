"""Commands whose disk is full, at every kind of write: python -m pytest -m faults tests/scripts/test_full_disk.py

A small file system in memory is mounted for each test, which only root may do.
"""

import json
import subprocess

import pytest

from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import newest_checkpoint
from tests.scripts.test_commands import SMALL, _wait_for, start

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
