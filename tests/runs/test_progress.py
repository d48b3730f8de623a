"""Plain lines about long work, where no terminal is."""

import io

import pytest
from rich.console import Console

from scoundrel_ray.runs import progress
from scoundrel_ray.runs.progress import ProgressBar


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_counts_from_what_was_done_before(clock):
    console = Console(file=io.StringIO(), width=100)
    with ProgressBar("training", console, every_s=10.0) as bar:
        bar.show(0.5, "resumed")  # half was done by an earlier process
        clock[0] += 1.9
        bar.show(0.51)  # not yet
        clock[0] += 0.1
        bar.show(0.52)  # that it goes on is said soon
        clock[0] += 9.0
        bar.show(0.55)  # not yet: a line in ten seconds
        clock[0] += 9.0
        bar.show(0.6, "step 7")
        clock[0] += 20.0
        bar.show(0.6)
    assert console.file.getvalue().splitlines() == [
        "training: 52%, about 48 s left",
        "training: 60%, about 80 s left; step 7",
        "training: 60%, about 160 s left",
    ]


def test_nothing_is_said_of_the_time_left_before_anything_is_done(clock):
    console = Console(file=io.StringIO(), width=100)
    with ProgressBar("evaluation", console, every_s=1.0) as bar:
        for _ in range(2):
            bar.show(0.0, "starting actors")
            clock[0] += 2.0
        bar.show(0.0, "starting actors")
    assert console.file.getvalue().splitlines() == ["evaluation: 0%; starting actors"] * 2
