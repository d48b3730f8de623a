"""Memory of a command's processes, read while it runs; what the suite makes of the readings."""

import os
import subprocess
import sys

import pytest

from scoundrel_ray.settings.checks import InvalidConfig
from scripts.benchmarks.footprint import Footprint, run
from scripts.measuring.processes import Memory, _name, cpu_seconds, megabytes, together, watched
from tests.conftest import small_settings

GROWS = """
import subprocess, sys, time
inner = "import time; kept = bytearray(60 << 20); time.sleep(2)"
other = subprocess.Popen([sys.executable, "-c", inner])
kept = []
for _ in range(20):
    kept.append(bytearray(1 << 20))
    time.sleep(0.1)
print("said")
sys.exit(other.wait() or 3)
"""


def test_every_process_of_a_command_is_read_and_growth_is_seen(tmp_path):
    code, found = watched([sys.executable, "-c", GROWS], 0.05, tmp_path / "log")
    assert code == 3 and (tmp_path / "log").read_text() == "said\n"
    own, other = found
    assert own.name == "command" and other.megabytes[len(other.megabytes) // 2] > 60
    growth = own.growth(0.0)
    assert growth is not None and 100 < growth < 900  # 1.05 MB in 0.1 s at most


def test_processor_time_and_memory_of_this_process_and_its_children_are_read():
    code = "kept = bytearray(90 << 20); sum(range(3 * 10**6)); print('there', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"there\n"
        used, sizes = cpu_seconds(), megabytes()
        child.communicate(b"\n")
    assert used[child.pid] > 0.01 and used[os.getpid()] > 0.0
    assert sizes["command"] > 10 and sum(sizes.values()) - sizes["command"] > 90
    assert child.pid not in cpu_seconds()


def test_growth_is_the_slope_of_the_readings_that_count():
    memory = Memory("x", 1, [0, 60, 120, 180], [100, 10, 12, 14])
    assert memory.growth(60) == pytest.approx(2.0)
    assert memory.growth(120) is None  # two readings are no trend
    at_the_end = Memory("x", 1, [0, 60, 120, 180, 181], [10, 10, 10, 10, 900])
    assert at_the_end.growth(0, 180) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["ray::LearnerActor.train"], "LearnerActor"),
        (["ray::ReplayActor"], "ReplayActor"),
        (["ray::IDLE"], ""),
        ([], ""),
        (["/x/gcs_server", "--log_dir=/a.b"], "gcs_server"),
        (["/usr/bin/python", "-u", "/x/dashboard/agent.py", "--node"], "agent"),
    ],
)
def test_processes_are_named_by_what_they_are(command, name):
    assert _name(command) == name


def test_what_grows_too_fast_is_told():
    steady, leaking = Memory("a", 1, [0, 60, 120], [5, 5, 5]), Memory("b", 2, [0, 60, 120], [5, 6, 7])
    total = together([steady, leaking, Memory("short", 3, [60], [40])])
    assert (total.seconds, total.megabytes) == ([0, 60, 120], [10, 51, 12])
    table = Footprint([steady, leaking], total, 0.0, 120.0, 9.0, 0.2).table()
    assert list(table.columns[-1].cells) == ["0.2 reached", "0.2 MISSED", ""]
    assert [list(column.cells)[2] for column in table.columns[:5]] == ["all together", "10", "12", "51", "12"]
    assert list(Footprint([leaking], total, 0.0, 120.0, 9.0, None).table().columns[-1].cells) == ["", ""]


def test_a_command_that_fails_is_one_line():
    with pytest.raises(InvalidConfig, match=r"^suite\.run: scripts\.train ended with 2: error: report_s: got -1"):
        run(small_settings(), ["report_s=-1"], 0.02, 0.1, 0.2)
