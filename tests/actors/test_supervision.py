"""The supervisor without its actors: who may go on, what a failure leads to, and what a resumed run counts on."""

import os

import pytest

from actors.calls import Failure, RunFailed
from actors.room import Room
from actors.supervisor import Supervisor
from scoundrel_ray.experience.source import Progress
from tests.conftest import small_config

AGENTS = {"wide": {}, "narrow": {}}


@pytest.fixture
def supervisor(monkeypatch):
    """One whose parts ask nobody anything."""
    made = Supervisor(small_config(agents=AGENTS))
    for agent in made.agents.values():
        monkeypatch.setattr(agent, "train", lambda: None)
        monkeypatch.setattr(agent, "poll", lambda: None)
    return made


def test_workers_go_on_while_every_agent_wants_rows(supervisor, monkeypatch):
    asked = []
    monkeypatch.setattr(
        supervisor._workers, "ask", lambda progress, wanted, insert: wanted() and asked.append(progress)
    )
    supervisor._next_poll = 0.0
    supervisor.tick()
    supervisor.agents["narrow"]._status["may_insert"] = False
    supervisor._next_poll = 0.0
    supervisor.tick()
    assert asked == [Progress(0, {"wide": 0, "narrow": 0})]
    supervisor.agents["narrow"]._status["may_insert"] = True
    supervisor.pause(True)
    supervisor._next_poll = 0.0
    supervisor.tick()
    assert len(asked) == 1


def test_rows_that_are_lost_are_warned_of_and_what_fails_alive_ends_the_run(supervisor):
    supervisor._on_failure(Failure("replay of wide", "the node is gone", lost=True))
    (warning,) = supervisor.status()["warnings"]
    assert warning == "replay of wide: rows were lost with the node that held them: the node is gone"
    with pytest.raises(RunFailed, match=r"^learner of wide failed: a bug$"):
        supervisor._on_failure(Failure("learner of wide", "a bug"))


def test_the_death_of_an_agents_actor_is_a_matter_of_that_agent_whoever_was_asked(supervisor, monkeypatch):
    told = []
    for host in supervisor._hosts:
        monkeypatch.setattr(host, "_made", {"learner": None, "replay": None})
        monkeypatch.setattr(host, "on_death", lambda failure, _agents, host=host: told.extend(host.agents))
    supervisor._on_failure(Failure("inference", "killed", dead="learner of narrow", first=True))
    supervisor._on_failure(Failure("learner of wide", "killed", dead="replay of wide", first=True))
    assert told == ["narrow", "wide"]


def test_steps_are_those_of_the_slowest_agent(supervisor):
    supervisor.agents["wide"].steps, supervisor.agents["narrow"].steps = 7, 4
    assert (supervisor.steps, supervisor.all_steps) == (4, 11)


def test_a_resumed_run_counts_on():
    restarts = {"rollout": 2, "inference": 3, "learner": 4, "replay": 5}
    counters = {"games": 10, "trained_s": 60.0, "resumptions": 1, "restarts": restarts}
    agents = {name: {"counters": {"steps": 5, "restarts": {"learner": 2, "replay": 1}}} for name in AGENTS}
    status = Supervisor(small_config(agents=AGENTS), {"counters": counters, "agents": agents}).status()
    assert (status["games"], status["trained_s"], status["resumptions"], status["steps"]) == (10, 60.0, 2, 5)
    assert status["restarts"] == {"rollout": 2, "inference": 3, "learner": 4, "replay": 2}


def test_a_checkpoint_lets_learners_go_on_unless_the_run_is_at_rest(supervisor, monkeypatch):
    for agent in supervisor.agents.values():
        monkeypatch.setattr(agent, "asked_for_content", lambda: {})
        monkeypatch.setattr(agent, "content", lambda _given: {})
    for paused in (True, False):
        supervisor.pause(paused)
        supervisor.content()
        assert [agent._held for agent in supervisor.agents.values()] == [paused, paused]


def test_shared_memory_that_is_nearly_full_is_warned_of_once(supervisor, monkeypatch, tmp_path):
    """Of a file system that was small from the start Ray takes nothing, and nothing is said."""
    free = [2**30]

    def told(_place):
        return os.statvfs_result((65536, 4096, 2**20, 2**20, free[0] // 4096, *[0] * 5))

    def look():
        supervisor._next_poll = 0.0
        supervisor.tick()
        return supervisor.status()["warnings"]

    monkeypatch.setattr(os, "statvfs", told)
    monkeypatch.setattr(supervisor._workers, "ask", lambda *_asked: None)
    supervisor._room = Room(tmp_path)
    assert look() == []
    free[0] = 255 * 2**20
    (warning,) = look()
    assert warning.startswith(f"shared memory: {tmp_path} has 255 MiB left; if it fills up, Ray dies")
    free[0] = 2**20
    assert look() == [warning]
    assert Room(tmp_path).warning() == Room(tmp_path / "none").warning() == ""
