"""Work in a child of this process: its result, its error, and its end."""

import contextlib
import os
import signal

import pytest

from scoundrel_ray.apart import in_child
from scoundrel_ray.settings.checks import InvalidSetting


def test_a_result_comes_back_and_nothing_else_that_the_child_did():
    kept = []

    def work():
        kept.append(1)
        return {"pid": os.getpid(), "kept": len(kept)}

    told = in_child(work)
    assert told["kept"] == 1 and told["pid"] != os.getpid() and kept == []


class Unreadable(Exception):
    """One that pickle writes, and cannot make again."""

    def __init__(self, first, second):
        super().__init__(f"{first}, {second}")


def fail_with(error):
    raise error


def test_an_error_is_raised_as_it_was_there():
    def work():
        raise InvalidSetting("key", "got 1, wanted 2")

    with pytest.raises(InvalidSetting) as here:
        work()
    with pytest.raises(InvalidSetting) as raised:
        in_child(work)
    assert str(raised.value) == str(here.value) and "got 1, wanted 2" in str(raised.value)
    with pytest.raises(RuntimeError, match=r"^Unreadable: first, second$"):
        in_child(lambda: fail_with(Unreadable("first", "second")))
    with pytest.raises(Exception, match="pickle"):
        in_child(lambda: lambda: None)


def test_an_end_without_an_answer_is_told():
    with pytest.raises(RuntimeError, match=r"ended without an answer, by SIGKILL$"):
        in_child(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(RuntimeError, match=r"ended without an answer, by exit code 0$"):
        in_child(interrupted)


def interrupted():
    raise KeyboardInterrupt


def test_no_child_outlives_an_interrupt_here(monkeypatch):
    children, fork = [], os.fork
    monkeypatch.setattr(os, "fork", lambda: children.append(fork()) or children[-1])
    before = signal.signal(signal.SIGALRM, lambda *_: interrupted())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)  # of this process: a fork has none
        with pytest.raises(KeyboardInterrupt):
            in_child(signal.pause)
    finally:
        signal.signal(signal.SIGALRM, before)
    (child,) = children
    try:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
