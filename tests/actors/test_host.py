"""The processes of a group, with stand-ins for them: what each holds, and who is renewed with what when one dies."""

import numpy as np
import pytest

from actors.agent import MOST_DEATHS_IN_A_ROW, Agent
from actors.calls import Calls, RunFailed
from actors.graph import actor_graph
from actors.host import Host
from scoundrel_ray.experience.source import Role
from scoundrel_ray.runs.plan import AgentPlan
from tests.actors.stand_ins import RAY, Kind
from tests.actors.test_one_agent import BATCH, Published, part_of, status, stretch
from tests.conftest import small_world_config

THREE = ("a", "b", "c")


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """Actors that were made, by kind."""
    for module in ("agent", "calls"):
        monkeypatch.setattr(f"actors.{module}.ray", RAY)
    kinds = {"replay": Kind(), "learner": Kind()}
    for name, kind in kinds.items():
        monkeypatch.setattr(f"actors.host.{name.capitalize()}Actor", kind)
    return kinds


class Setting:
    """A group at work.

    Args:
        beside: agents whose replays lie in the learners' process.
        parts: of the last checkpoint, by agent; tests may change them.
        weights: by agent, that it starts from.
    """

    def __init__(self, agents=THREE, beside=(), parts=None, weights=None, **changes):
        self.calls, self.parts, self.published = Calls(), parts or {}, {name: Published() for name in agents}
        plans = {name: AgentPlan(None, (), {}, {}, {}, Role(f"rows of {name}", {}), 5, True, False) for name in agents}
        plans = {name: plan._replace(beside=name in beside) for name, plan in plans.items()}
        config = small_world_config(**changes)
        self.host = Host(plans, config, None, self.calls, self.parts.get)
        self.host.start({}, weights or {})
        self.agents = {
            name: Agent(name, plan, config, self.host, self.calls, self.published[name], self.parts.get)
            for name, plan in plans.items()
        }
        told = {"replay_status": status(), "version": 0, "samples": 0, "stepping": ""}
        for agent in self.agents.values():
            agent.start(lambda _name, asked: told[asked.method])

    def wait(self):
        """Handle what was answered, and have a process that died made again, as the supervisor does."""
        for failure in self.calls.wait(0.0):
            if failure.first:
                assert failure.dead in self.host.actors
                self.host.on_death(failure, self.agents)

    def told(self, actor, method, value, agent=None):
        """Answer the question of one agent, or those of all, and handle the answer."""
        asked = [each for each in actor.questions(method) if agent in (None, each.arguments[0])]
        assert asked, method
        for each in asked:
            each.answer(value)
        self.wait()

    def train(self):
        for agent in self.agents.values():
            agent.train()

    def restored_by(self, actor):
        """Names of agents whose replays are to be restored by an actor."""
        return {asked.arguments[0] for asked in actor.questions("restore_replay")}


def states(learner):
    """Of the last checkpoint, what each learner of a process goes on from."""
    return {name: form.state for name, form in learner.made_of[0].items()}


@pytest.mark.parametrize(
    ("agents", "beside", "names"),
    [
        ("a", "", {"learner of a", "replay of a"}),
        ("a", "a", {"learner of a"}),
        ("ab", "", {"learners of a, b", "replays of a, b"}),
        ("abc", "b", {"learners of a to c", "replays of a to c"}),
        ("abc", "abc", {"learners of a to c"}),
    ],
)
def test_processes_are_named_by_their_agents_and_hold_each_replay_once(made, agents, beside, names):
    at = Setting(agents, beside)
    assert set(at.host.actors) == names
    (learner,), apart = made["learner"].made, set(agents) - set(beside)
    assert at.host.learner() is learner and set(learner.made_of[0]) == set(agents)
    assert set(learner.made_of[4]) == set(beside)
    assert len(made["replay"].made) == bool(apart)
    for name in agents:
        holder = at.host.replay(name)
        tables = learner.made_of[4] if name in beside else holder.made_of[0]
        assert holder is (learner if name in beside else made["replay"].made[0])
        assert tables[name].rows == f"rows of {name}"
    assert learner.made_of[5] is (at.host.replay(min(apart)) if apart else None)
    streams = {form.stream.tobytes() for each in (learner.made_of[4], *(r.made_of[0] for r in made["replay"].made))
               for form in each.values()}  # fmt: skip
    assert len(streams) == len(agents)


def test_the_table_of_actors_has_the_processes_of_every_group():
    names = {"agent_0": {"replay": {"place": "learner"}}, "agent_1": {}, "agent_2": {}}
    config = small_world_config(agents=names, cluster={"learner_groups": [["agent_0"], ["agent_1", "agent_2"]]})
    told = [row["actor"] for row in actor_graph(config)]
    assert told == ["rollout", "learner of agent_0", "replays of agent_1, agent_2", "learners of agent_1, agent_2"]
    assert [row["count"] for row in actor_graph(config)] == [1] * 4


@pytest.mark.parametrize(("turns", "stacking"), [(False, "on"), (True, "never")])
def test_learners_of_a_run_in_turn_measure_nothing(made, turns, stacking):
    Setting(turns=turns, cluster={"stacking": "on"})
    assert made["learner"].made[0].made_of[3] == stacking


def test_learners_that_die_go_on_from_the_last_checkpoint_and_replays_apart_stay(made):
    given = {"c": {"w": np.ones(2, np.float32)}, "elsewhere": {}}
    at = Setting(parts={"a": part_of(5, 100, 64), "b": part_of(10, 200, 128)}, weights=given)
    at.train()
    replay, dead = at.host.replay("a"), at.host.learner()
    assert dead.made_of[0]["c"].weights is given["c"]
    dead.die()
    at.wait()
    new = at.host.learner()
    assert new is not dead and at.host.replay("a") is replay and len(made["replay"].made) == 1
    assert states(new) == {"a": at.parts["a"]["learner"], "b": at.parts["b"]["learner"], "c": None}
    assert new.made_of[0]["c"].weights is given["c"] and new.made_of[0]["a"].weights is None
    assert new.made_of[5] is replay and not at.restored_by(replay) and all(a.may_insert for a in at.agents.values())
    for agent in at.agents.values():
        assert agent.restarts == {"learner": 1, "replay": 0}
        assert agent.status()["restoring"] == ["learner"] and not agent.rests
    at.train()
    assert not new.questions("train")
    for name, steps in (("a", 5), ("b", 10), ("c", 0)):
        at.told(new, "version", steps, name)
        at.told(new, "samples", steps * BATCH, name)
        at.told(replay, "replay_status", status(300, steps * BATCH + 7), name)
    assert [asked.arguments[0] for asked in new.questions("train")] == list(THREE)
    assert {name: agent.steps for name, agent in at.agents.items()} == {"a": 5, "b": 10, "c": 0}
    assert [own.versions for own in at.published.values()] == [[0, 5], [0, 10], [0, 0]]
    assert all(agent.status()["lost_samples"] == 7 for agent in at.agents.values())


def test_replays_apart_that_die_are_filled_again_and_learners_stay(made):
    at = Setting(beside="b", parts={name: part_of(5, 100, 64) for name in THREE})
    at.train()
    for name, agent in at.agents.items():
        agent.insert(f"rows for {name}", 10)
    learner, dead = at.host.learner(), at.host.replay("a")
    dead.die()
    at.wait()
    new = at.host.replay("a")
    assert new is at.host.replay("c") is not dead and at.host.learner() is learner
    assert len(made["replay"].made) == 2 and len(made["learner"].made) == 1
    assert {name: agent.restarts for name, agent in at.agents.items()} == {
        "a": {"learner": 0, "replay": 1}, "b": {"learner": 0, "replay": 0}, "c": {"learner": 0, "replay": 1},
    }  # fmt: skip
    assert [agent.may_insert for agent in at.agents.values()] == [False, True, False]
    attached = learner.questions("attach")
    assert [asked.arguments for asked in attached] == [("a", new), ("c", new)]
    for name, samples in (("a", 96), ("c", 160)):
        at.told(learner, "attach", samples, name)
    filled = {asked.arguments[0]: asked for asked in new.questions("restore_replay")}
    assert set(filled) == {"a", "c"}
    for name, samples in (("a", 96), ("c", 160)):
        assert filled[name].arguments[1] is at.parts[name]["replay"]
        assert filled[name].keywords == {"inserted": 0, "sampled": samples}
        at.told(new, "restore_replay", status(0, samples), name)
    assert [asked.arguments for asked in new.questions("insert")] == [("a", "rows for a"), ("c", "rows for c")]
    assert all(agent.may_insert for agent in at.agents.values())


def test_replays_beside_learners_die_and_come_back_with_them():
    at = Setting(beside="ab", parts={"a": part_of(5, 100, 5 * BATCH)})
    at.train()
    dead, apart = at.host.learner(), at.host.replay("c")
    for name, agent in at.agents.items():
        agent.insert("rows", 30)
        at.told(at.host.replay(name), "insert", status(30, 6 * BATCH), name)
    dead.die()
    at.wait()
    new = at.host.learner()
    assert [at.host.replay(name) for name in THREE] == [new, new, apart]
    assert [agent.restarts["replay"] for agent in at.agents.values()] == [1, 1, 0]
    assert [agent.may_insert for agent in at.agents.values()] == [False, False, True]
    assert not new.questions("insert")
    assert [asked.arguments for asked in new.questions("attach")] == [("a", new), ("b", new)]
    for name, steps in (("a", 5), ("b", 0), ("c", 0)):
        at.told(new, "version", steps, name)
        at.told(new, "samples", steps * BATCH, name)
    at.told(apart, "replay_status", status(30, 6 * BATCH))
    assert [asked.arguments[0] for asked in new.questions("train")] == ["c"]  # others wait for their replays
    at.told(new, "attach", 5 * BATCH, "a")
    at.told(new, "attach", 0, "b")
    filled = {asked.arguments[0]: asked for asked in new.questions("restore_replay")}
    assert filled["a"].arguments[1] is at.parts["a"]["replay"]
    (empty,) = new.questions("replay_state")
    assert filled["b"].arguments[1] is empty and empty.arguments == ("b",)
    for name in "ab":  # all that was ever given and taken counts, though the rows are gone
        assert filled[name].keywords == {"inserted": 30, "sampled": 6 * BATCH}
        at.told(new, "restore_replay", status(30, 6 * BATCH), name)
    assert {asked.arguments[0] for asked in new.questions("train")} == set(THREE)
    assert [agent.status()["lost_samples"] for agent in at.agents.values()] == [BATCH, 6 * BATCH, 6 * BATCH]


def test_all_agents_know_of_a_death_before_the_process_is_made_again_and_are_renewed_after_it(made):
    class Noting:
        def __init__(self, name):
            self.name = name

        def on_death(self, lost, _failure):
            noted.append(("death", self.name, set(lost), len(made["learner"].made)))

        def on_renewed(self, lost):
            noted.append(("renewed", self.name, set(lost), len(made["learner"].made)))

    at, noted = Setting("ab", beside="b"), []
    at.agents["a"].train()
    at.host.learner().die()
    (failure,) = at.calls.wait(0.0)
    at.host.on_death(failure, {name: Noting(name) for name in "ab"})
    both = {"a": {"learner"}, "b": {"learner", "replay"}}
    assert noted == [("death", name, both[name], 1) for name in "ab"] + [("renewed", n, both[n], 2) for n in "ab"]


@pytest.mark.parametrize("kind", ["learner", "replay"])
def test_processes_that_die_again_and_again_end_the_run_by_their_name(made, kind):
    at = Setting("ab")
    with pytest.raises(RunFailed, match=f"{kind}s of a, b died {MOST_DEATHS_IN_A_ROW} times in a row: The actor died"):
        for times in range(1, MOST_DEATHS_IN_A_ROW + 1):
            dead = at.host.learner() if kind == "learner" else at.host.replay("a")
            at.calls.ask("whoever asks", dead.something.remote(), print)
            dead.die()
            at.wait()
            assert len(made[kind].made) == times + 1
    assert len(made[kind].made) == MOST_DEATHS_IN_A_ROW


def test_what_a_dead_process_owes_another_agent_yet_begins_no_second_stretch():
    """The death is known by the first question that fails; those of other agents may fail, or be answered, later."""
    at = Setting()
    at.train()
    dead = at.host.learner()
    first, fails_later, answered_later = dead.questions("train")
    first.fail(dead.death)
    at.wait()
    new = at.host.learner()
    for name in THREE:
        at.told(new, "version", 0, name)
        at.told(new, "samples", 0, name)
        at.told(at.host.replay(name), "replay_status", status(), name)
    assert [asked.arguments[0] for asked in new.questions("train")] == list(THREE)
    fails_later.fail(dead.death)
    answered_later.answer(stretch(5, 35))
    at.wait()
    at.train()
    assert [asked.arguments[0] for asked in new.questions("train")] == list(THREE)
    assert at.agents["c"].steps == 0 and at.published["c"].versions == [0, 0]


def test_trained_agents_replays_are_asked_at_once_whether_workers_may_go_on():
    at = Setting("a")
    at.agents["a"].insert("rows", 10)
    at.told(at.host.replay("a"), "insert", status(10, may_insert=False))
    at.train()
    at.told(at.host.learner(), "train", stretch(1, 1))
    at.told(at.host.replay("a"), "replay_status", status(10, 10))
    assert at.agents["a"].may_insert
