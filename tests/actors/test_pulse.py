"""Actors that are alive and silent are named, killed and replaced; nobody is blamed for a clock that jumps."""

import os
import signal
from types import SimpleNamespace

import pytest
import ray

from actors.pulse import ASK_EVERY_S, START_S, Pulse
from tests.actors.test_agents import assert_counts_agree, started
from tests.actors.test_training import tick_until


class Asked:
    """Calls that a test answers."""

    def __init__(self):
        self.under_way, self.blamed = {}, {}

    def ask(self, name, reference, handle, failed=None):
        assert name not in self.under_way
        self.under_way[name] = handle, failed

    def blame(self, actor, cause):
        self.blamed[actor.name] = cause

    def answer(self, name):
        self.under_way.pop(f"pulse of {name}")[0](1)

    def fail(self, name):
        self.under_way.pop(f"pulse of {name}")[1](None)


def an_actor(name):
    return SimpleNamespace(name=name, pid=SimpleNamespace(remote=lambda: name))


@pytest.fixture
def watched(monkeypatch):
    """A pulse over fake actors: look(seconds later) -> killed; and whom it killed, with whether Ray restarts them."""
    killed, clock, calls = [], [0.0], Asked()
    monkeypatch.setattr("actors.pulse.ray.kill", lambda actor, no_restart: killed.append((actor.name, no_restart)))
    pulse = Pulse(calls, 30.0, lambda name: name == "inference", lambda: clock[0])
    actors = {name: an_actor(name) for name in ("rollout-0", "inference")}

    def look(seconds):
        """Looks of half a second for so long; who was killed."""
        found = []
        for _ in range(int(2 * seconds)):
            clock[0] += 0.5
            found += pulse.look(actors)
        return found

    return SimpleNamespace(look=look, calls=calls, killed=killed, actors=actors, clock=clock, pulse=pulse)


def answer_all(watched):
    for name in list(watched.calls.under_way):
        watched.calls.answer(name.removeprefix("pulse of "))


def test_whoever_falls_silent_is_killed_by_name_and_nobody_else(watched):
    watched.look(1)
    answer_all(watched)
    watched.look(ASK_EVERY_S)
    watched.calls.answer("rollout-0")
    for _ in range(20):
        assert not watched.look(1)
        if "pulse of rollout-0" in watched.calls.under_way:
            watched.calls.answer("rollout-0")
    assert watched.look(15) == ["inference"]
    assert watched.killed == [("inference", False)]  # Ray brings it back
    assert watched.calls.blamed == {"inference": "it gave no sign for 30 s and was killed"}
    watched.calls.fail("inference")
    watched.look(5)
    assert watched.killed == [("inference", False)]  # it has to start


def test_an_actor_that_never_answered_has_time_to_start(watched):
    assert not watched.look(START_S - 10)
    assert watched.look(20) == ["rollout-0", "inference"] and watched.killed[0] == ("rollout-0", True)


def test_one_that_took_the_place_of_another_has_time_to_start(watched):
    watched.look(1)
    answer_all(watched)
    watched.look(ASK_EVERY_S)
    watched.calls.fail("rollout-0")
    watched.actors["rollout-0"] = an_actor("rollout-0")
    assert watched.look(40) == ["inference"]


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_jumps_makes_nobody_silent(watched, jump):
    watched.look(1)
    answer_all(watched)
    watched.look(ASK_EVERY_S)
    watched.clock[0] += jump
    assert not watched.look(5)
    assert sorted(watched.look(30)) == ["inference", "rollout-0"]  # from looks alone


@pytest.fixture(scope="module")
def at_work(local_ray):
    """A supervisor that takes actors for silent after three seconds, and the agents' parts of its last checkpoint."""
    parts = {}
    supervisor = started(parts.get, cluster={"silent_s": 3.0}, rollout={"workers": 1}, inference={"transport": "shm"})
    tick_until(supervisor, lambda: supervisor.steps > 20)
    parts.update(supervisor.content()["agents"])
    yield supervisor
    supervisor.stop()


@pytest.mark.ray
@pytest.mark.parametrize("name", ["rollout-0", "inference", "learner of wide", "replay of wide"])
def test_a_stopped_actor_is_named_killed_and_replaced_and_the_run_goes_on(at_work, name):
    kind = name.split()[0].split("-")[0]
    steps, restarts, told = at_work.steps, at_work.restarts[kind], len(at_work.status()["warnings"])
    tick_until(at_work, lambda: at_work.steps > steps + 10)
    pid = ray.get(at_work.actors()[name].pid.remote())
    others = {other: each for other, each in at_work.actors().items() if other != name}
    tick_until(at_work, lambda: name in at_work._pulse._asked and at_work._pulse._asked[name].answered)
    os.kill(pid, signal.SIGSTOP)
    tick_until(at_work, lambda: at_work.restarts[kind] == restarts + 1, 60.0)
    tick_until(at_work, lambda: not any(own["restoring"] for own in at_work.status()["agents"].values()), 60.0)
    steps, games = at_work.steps, at_work.games
    tick_until(at_work, lambda: at_work.steps > steps + 10 and at_work.games > games + 50, 60.0)
    (line,) = at_work.status()["warnings"][told:]
    assert line.startswith(f"{name}: died and is ") and "it gave no sign for " in line
    assert all(at_work.actors()[other] is each for other, each in others.items())
    assert_counts_agree(at_work)


@pytest.mark.ray
def test_one_that_is_stopped_and_goes_on_in_time_is_left_alone(at_work):
    for name, actor in at_work.actors().items():
        pid, told = ray.get(actor.pid.remote()), len(at_work.status()["warnings"])
        os.kill(pid, signal.SIGSTOP)
        end = at_work.trained_s + 1.0
        tick_until(at_work, lambda end=end: at_work.trained_s > end)
        os.kill(pid, signal.SIGCONT)
        steps = at_work.steps
        tick_until(at_work, lambda since=steps: at_work.steps > since + 5)
        assert at_work.actors()[name] is actor and len(at_work.status()["warnings"]) == told
