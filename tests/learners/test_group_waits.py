"""Whoever waits for a group of learners is told: no wake is lost, and no end of the group leaves anybody waiting."""

import threading

import pytest

from learners import group as group_module
from tests.learners.group_stand_ins import (
    LONG_S,
    PATIENCE_S,
    Asked,
    Endless,
    Given,
    Plain,
    member,
    rows_of,
    train,
)


def test_a_wake_between_a_look_and_the_wait_is_not_lost(groups, monkeypatch):
    monkeypatch.setattr(group_module, "_LOOK_S", LONG_S)
    made = []
    looks = Given(None, None, rows_of(0, 1), before=lambda: len(looks.ahead) < 3 and made[0].wake())
    made.append(groups({"a": member(Plain(), looks)}))
    assert train(made[0], "a", 1)["steps"] == 1


def test_a_wake_ends_a_wait(groups, monkeypatch):
    monkeypatch.setattr(group_module, "_LOOK_S", LONG_S)
    looked = threading.Event()
    batches = Given(None, before=looked.set)
    group = groups({"a": member(Plain(), batches)})
    asked = Asked(group.train, "a", 1, LONG_S)
    assert looked.wait(PATIENCE_S)
    batches.script = [*batches.script, rows_of(0, 1)]
    group.wake()
    assert asked.result()["steps"] == 1


def test_an_agent_that_waits_for_batches_holds_nobody_up(groups, monkeypatch):
    monkeypatch.setattr(group_module, "_LOOK_S", LONG_S)
    looked = threading.Event()
    group = groups({"a": member(Plain(), Given(before=looked.set)), "b": member(Plain(), Endless(1))})
    waiting = Asked(group.train, "a", 1, LONG_S)
    assert looked.wait(PATIENCE_S)
    assert train(group, "b", 3)["steps"] == 3 and waiting.is_alive()
    Asked(group.close).result()
    with pytest.raises(RuntimeError, match="ending"):
        waiting.result()


def test_close_ends_open_stretches_and_later_ones_with_an_error(groups):
    looked = threading.Event()
    group = groups({"a": member(Plain(), Given(rows_of(0, 1), before=looked.set)), "b": member(Plain(), Endless(1))})
    asked = Asked(group.train, "a", 5, LONG_S)
    assert looked.wait(PATIENCE_S)
    Asked(group.close).result()
    for each in (asked, Asked(group.train, "b", 1, LONG_S)):
        with pytest.raises(RuntimeError, match=r"^the learners' process is ending$"):
            each.result()
    Asked(group.close).result()
    assert not group._thread.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("where", ["step", "take", "weights"])
def test_whatever_ends_the_thread_is_told_to_all_who_wait_and_to_those_who_ask_later(groups, where, monkeypatch):
    monkeypatch.setattr(group_module, "_LOOK_S", LONG_S)
    looked, learner, batches = threading.Event(), Plain(), Endless(1)
    broken = ValueError("broken")
    if where == "step":
        learner.fails = {1: broken}
    elif where == "take":
        batches = Given(rows_of(0, 1), broken)
    group = groups({"a": member(Plain(), Given(before=looked.set)), "b": member(learner, batches)})
    if where == "weights":

        def weights():
            raise broken

        learner.weights = weights
    waiting = Asked(group.train, "a", 1, LONG_S)
    assert looked.wait(PATIENCE_S)
    with pytest.raises(ValueError, match="broken"):
        Asked(group.train, "b", 3, LONG_S).result()
    for each in (waiting, *(Asked(group.train, name, 1, LONG_S) for name in "ab")):
        with pytest.raises(ValueError, match="broken"):
            each.result()


def test_two_stretches_of_one_agent_at_once_are_refused(groups):
    looked = threading.Event()
    batches = Given(before=looked.set)
    group = groups({"a": member(Plain(), batches)})
    first = Asked(group.train, "a", 1, LONG_S)
    assert looked.wait(PATIENCE_S)
    with pytest.raises(RuntimeError, match=r"^learner of a: asked for a stretch while one is under way$"):
        train(group, "a", 1)
    batches.script = [rows_of(0, 1)]
    group.wake()
    assert first.result()["steps"] == 1
