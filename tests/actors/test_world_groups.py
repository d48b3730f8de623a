"""Groups of learners whose processes are killed: their own agents go back, all others go on, and counts stay exact."""

import pytest
import ray

from actors.supervisor import Supervisor
from tests.actors.serial_rows import MODULE, count, gaps
from tests.actors.test_agents import agents_of, at_rest, restarts_of
from tests.actors.test_training import kill, tick_until
from tests.conftest import small_world_config

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

NAMES = ["agent_0", "agent_1", "agent_2"]
APART = "replays of agent_0, agent_1"
HOLDERS = {"agent_0": APART, "agent_1": APART, "agent_2": "learner of agent_2"}
VICTIMS = {
    "learners of agent_0, agent_1": {"agent_0": {"learner"}, "agent_1": {"learner"}},
    APART: {"agent_0": {"replay"}, "agent_1": {"replay"}},
    "learner of agent_2": {"agent_2": {"learner", "replay"}},
}
"""Processes, and what each agent loses with them."""


def started(kind, threads=1, **changes):
    """Two agents in a group with their replays apart, one in another with its replay beside it; and the last parts."""
    agents = {"agent_0": {}, "agent_1": {}, "agent_2": {"replay": {"place": "learner"}}}
    groups = [["agent_0", "agent_1"], ["agent_2"]]
    changes["cluster"] = {"learner_groups": groups, "stacking": "on", "learner_threads": threads}
    config, parts = small_world_config("treasure_hunt", kind, agents=agents, **changes), {}
    supervisor = Supervisor(config, last_part=parts.get)
    supervisor.start()
    assert set(supervisor.actors()) == {"rollout-0", *VICTIMS}
    return supervisor, parts


@pytest.fixture(scope="module")
def with_iqn(local_ray):
    """Rows are numbered, and the limiter lets learners go on while a replay is made again, and workers meanwhile."""
    source = {"_target_": f"{MODULE}.SerialWorldSource"}
    learner = {"_target_": f"{MODULE}.SerialIQN"}
    replay = {"_target_": f"{MODULE}.SerialReplay", "tolerance": 300.0, "samples_per_insert": 1.0}
    supervisor, parts = started("iqn", source=source, learner=learner, replay=replay)
    yield supervisor, parts
    supervisor.stop()


@pytest.fixture(scope="module")
def with_ppo(local_ray):
    supervisor, parts = started("ppo", threads=2, replay={"place": "actor"})
    yield supervisor, parts
    supervisor.stop()


def go_on(supervisor, more):
    """Let every agent make so many more steps."""
    before = {name: own["steps"] for name, own in agents_of(supervisor).items()}
    tick_until(supervisor, lambda: all(own["steps"] >= before[n] + more for n, own in agents_of(supervisor).items()))


def strike(supervisor, parts, victim, more):
    """Kill a process some steps after a checkpoint, and see who goes back to it, and that all go on."""
    lost = VICTIMS[victim]
    go_on(supervisor, more)
    parts.update(supervisor.content()["agents"])
    saved = {name: own["counters"]["steps"] for name, own in parts.items()}
    go_on(supervisor, more)
    before, restarts = agents_of(supervisor), {name: restarts_of(supervisor, name) for name in NAMES}
    kill(supervisor.actors()[victim])
    tick_until(supervisor, lambda: all(agents_of(supervisor)[name]["restoring"] for name in lost))
    at_death = {name: own["steps"] for name, own in agents_of(supervisor).items()}
    tick_until(supervisor, lambda: not any(own["restoring"] for own in agents_of(supervisor).values()))
    back = agents_of(supervisor)
    for name in NAMES:
        kinds = lost.get(name, set())
        wanted = {kind: times + (kind in kinds) for kind, times in restarts[name].items()}
        assert restarts_of(supervisor, name) == wanted
        if "learner" in kinds:
            assert saved[name] <= back[name]["steps"] < before[name]["steps"] + more
        else:
            assert back[name]["steps"] >= at_death[name]
    go_on(supervisor, more)  # how fast the others go on meanwhile is measured in test_world_kills


def assert_counts_agree(supervisor):
    """At rest every row that workers gave was inserted; returns what each replay holds."""
    supervisor.pause(True)
    tick_until(supervisor, lambda: at_rest(supervisor))
    agents = agents_of(supervisor)
    assert sum(own["rows_given"] for own in agents.values()) == supervisor.rows
    found = {}
    for name, own in agents.items():
        holder = supervisor.actors()[HOLDERS[name]]
        status, found[name] = ray.get([holder.replay_status.remote(name), holder.replay_state.remote(name)])
        assert status["inserted"] == own["rows_given"] and own["lost_rows"] == 0
        learner = supervisor.agents[name]._learner
        samples = ray.get(learner.samples.remote(name))
        batch = supervisor.config.agents[name].learner["batch_size"]
        under_way = status["sampled"] - samples - own["lost_samples"]
        assert under_way == 0 if name == "agent_2" else 0 <= under_way < 2 * batch, (name, own, status, samples)
    supervisor.pause(False)
    return found


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_takes_its_own_agents_back_to_the_checkpoint_and_no_others(with_iqn, victim):
    supervisor, parts = with_iqn
    strike(supervisor, parts, victim, 10)
    for name, state in assert_counts_agree(supervisor).items():
        inserted, rows_lost = state["inserted"] + state["lost"]["inserted"], state["lost"]["inserted"]
        assert count(state["given"]) + max(rows_lost, 0) == inserted
        if not restarts_of(supervisor, name)["replay"]:  # every row once: the replay refuses one that comes again
            assert rows_lost == 0 and gaps(state["given"]) == 0


@pytest.mark.parametrize("victim", VICTIMS)
def test_agents_that_want_rows_of_their_own_version_go_on_after_any_death(with_ppo, victim):
    """Whoever was made again knows of other versions than those who stay; nobody may wait for rows that are dropped."""
    supervisor, parts = with_ppo
    strike(supervisor, parts, victim, 3)
    for name, state in assert_counts_agree(supervisor).items():
        assert (state["rows"]["versions"][:, 0] == agents_of(supervisor)[name]["steps"]).all()
