"""An agent by itself, with stand-ins for its actors: what it asks of whom, what it counts, and what it publishes."""

import dataclasses

import numpy as np
import pytest
from ray.exceptions import ObjectLostError

from actors.agent import Agent
from actors.calls import Calls, RunFailed
from actors.host import Host
from scoundrel_ray.experience.source import Role
from scoundrel_ray.runs.plan import AgentPlan
from scoundrel_ray.streams import Purpose, agent_stream
from tests.actors.stand_ins import RAY, Kind
from tests.conftest import small_config

BATCH = 32


class Published:
    """In place of the servers: versions in the order in which they were published, and whether one is on its way."""

    def __init__(self):
        self.versions, self.under_way = [], False

    def publish(self, _agent, version, _arrays):
        self.versions.append(version)

    def arriving(self, _agent):
        return self.under_way


@pytest.fixture
def ray(monkeypatch):
    for module in ("agent", "calls"):
        monkeypatch.setattr(f"actors.{module}.ray", RAY)
    kinds = {"ReplayActor": Kind(), "LearnerActor": Kind()}
    for name, kind in kinds.items():
        monkeypatch.setattr(f"actors.host.{name}", kind)
    return kinds


def status(inserted=0, sampled=0, may_insert=True):
    return {"rows": inserted, "inserted": inserted, "sampled": sampled, "ratio": 0.0, "may_insert": may_insert}


def stretch(steps, version):
    return {"metrics": {"loss": 1.0}, "steps": steps, "version": version, "wait_s": 0.5, "total_s": 1.0}


class Setting:
    """An agent at work, and what is around it."""

    def __init__(self, name="wide", gate=False, part=None, weights=None, last_part=None, **plan):
        config = small_config()
        if gate:
            config = dataclasses.replace(config, arena=dataclasses.replace(config.arena, every_s=1.0, gate=True))
        self.calls, self.published, self.part, self.seed = Calls(), Published(), last_part, config.seed
        plan = {"publish_steps": 5, "symmetries": True, "frozen": False, **plan}
        plan = AgentPlan(None, (), {}, {}, {}, Role("rows", {}), **plan)
        self.host = None
        if not plan.frozen:
            self.host = Host({name: plan}, config, None, self.calls, lambda _agent: self.part)
            self.host.start({name: part} if part else {}, {name: weights} if weights else {})
        self.agent = Agent(
            name, plan, config, self.host, self.calls, self.published, lambda _agent: self.part, weights, part
        )
        counters = part["counters"] if part else {}
        steps = counters.get("steps", 0)
        restored = status(part["replay"]["inserted"], part["replay"]["sampled"]) if part else None
        told = {
            "replay_status": status(),
            "restore_replay": restored,
            "version": steps,
            "samples": steps * BATCH,
            "stepping": "",
        }
        self.agent.start(lambda _name, asked: told[asked.method])

    @property
    def learner(self):
        return self.host.learner()

    @property
    def replay(self):
        return self.host.replay(self.agent.name)

    def wait(self):
        """Handle what was answered, and have actors that died made again."""
        for failure in self.calls.wait(0.0):
            if failure.first:
                self.host.on_death(failure, {self.agent.name: self.agent})

    def told(self, actor, method, value):
        """Answer a question that was asked, and handle it."""
        assert actor.questions(method), method
        actor.answer(method, value)
        self.wait()


def part_of(steps, inserted, sampled):
    return {
        "learner": {"learner": "state"},
        "replay": {"inserted": inserted, "sampled": sampled},
        "counters": {"steps": steps, "rows_given": inserted},
    }


@pytest.mark.usefixtures("ray")
def test_an_agent_that_may_go_on_begins_nothing_by_itself():
    """In a run in turn nobody but `turn` asks for a stretch, also after a checkpoint."""
    at = Setting()
    at.agent.hold(True)
    at.agent.train()
    at.agent.hold(False)
    assert not at.learner.questions("train") and not len(at.calls)
    at.agent.train()
    assert len(at.learner.questions("train")) == 1


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("drops", [False, True])
def test_workers_wait_for_an_agent_once_all_that_it_wants_is_on_its_way(drops):
    at = Setting(drops=drops)
    agent = at.agent
    assert not agent.holds(10**6)  # its replay tells of no such bound
    agent.poll()
    at.told(at.replay, "replay_status", {**status(4), "room": 100})
    assert not agent.holds(99) and agent.holds(100) != drops
    agent.insert("reference", 30)
    assert not agent.holds(69) and agent.holds(70) != drops
    at.told(at.replay, "insert", {**status(34), "room": 70})
    assert not agent.holds(69) and agent.holds(70) != drops
    agent.poll()
    at.told(at.replay, "replay_status", {**status(34, may_insert=False), "room": 0})
    assert agent.holds(0) != drops


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("room", [None, 100])
def test_workers_wait_for_weights_on_their_way_if_older_ones_give_rows_that_are_dropped(room):
    at = Setting(drops=False)
    at.agent.poll()
    at.told(at.replay, "replay_status", status(4) if room is None else {**status(4), "room": room})
    assert not at.agent.holds(0)
    at.published.under_way = True
    assert at.agent.holds(0) == (room is not None)


def die_as(at, kind):
    dead = getattr(at, kind)
    dead.die()
    at.wait()
    assert getattr(at, kind) is not dead


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("gate", [False, True])
def test_a_gated_agents_weights_are_published_by_nobody_but_the_arena(gate):
    """Not even those of a learner that was made again: what rollouts use then is still there."""
    at = Setting(gate=gate, last_part=part_of(5, 100, 64))
    at.agent.train()
    at.told(at.learner, "train", stretch(5, 5))
    assert at.agent.newest[0] == 5 and at.published.versions == ([0] if gate else [0, 5])
    die_as(at, "learner")
    at.told(at.learner, "version", 5)
    assert at.agent.newest[0] == 5 and at.published.versions == ([0] if gate else [0, 5, 5])


def starts_from(at):
    form = at.learner.made_of[0][at.agent.name]
    return form.state, form.weights


def test_actors_are_made_with_the_agents_own_stream_and_with_the_weights_that_it_starts_from(ray):
    given = {"w": np.ones(2, np.float32)}
    at = Setting("narrow", weights=given)
    stream = at.replay.made_of[0]["narrow"].stream
    np.testing.assert_array_equal(stream, agent_stream(at.seed, Purpose.SAMPLES, "narrow"))
    assert at.learner.made_of[5] is at.replay and starts_from(at) == (None, given)
    at.agent.train()
    die_as(at, "learner")  # before the first checkpoint: from the given weights again
    assert starts_from(at) == (None, given)
    at.part = part_of(5, 100, 64)
    die_as(at, "learner")
    assert starts_from(at) == (at.part["learner"], None)
    resumed = Setting("narrow", weights=given, part=at.part)
    assert starts_from(resumed) == (at.part["learner"], None)
    assert len(ray["LearnerActor"].made) == 4


@pytest.mark.usefixtures("ray")
def test_a_frozen_agent_is_its_weights_alone():
    given = {"w": np.ones(2, np.float32)}
    at = Setting(frozen=True, weights=given)
    assert at.agent.newest == (0, given) and at.published.versions == [0]
    at.agent.train()
    at.agent.poll()
    assert at.agent.rests and not len(at.calls) and at.agent.asked_for_content() == {} == at.agent.report(1.0)


@pytest.mark.usefixtures("ray")
def test_what_was_counted_before_a_run_was_resumed_counts():
    part = part_of(5, 100, 5 * BATCH + 9 + BATCH)  # steps, samples that were lost, the batch under way
    part["counters"] |= {"lost_rows": 7, "lost_samples": 9, "restarts": {"learner": 1, "replay": 2}}
    found = Setting(part=part).agent.status()
    assert (found["steps"], found["rows_given"], found["lost_rows"], found["lost_samples"]) == (5, 100, 7, 9 + BATCH)
    assert found["restarts"] == {"learner": 1, "replay": 2}


@pytest.mark.usefixtures("ray")
def test_of_two_answers_of_the_replay_the_one_that_counts_more_is_the_newer():
    at = Setting()
    at.agent.insert("first", 10)
    at.agent.insert("second", 20)
    first, second = at.replay.questions("insert")
    second.answer(status(30, may_insert=False))
    at.wait()
    assert at.agent.status()["inserted"] == 30 and not at.agent.may_insert
    first.answer(status(10))
    at.wait()
    assert at.agent.status()["inserted"] == 30 and not at.agent.may_insert
    assert at.agent.status()["rows_given"] == 30


@pytest.mark.usefixtures("ray")
def test_only_a_learners_step_ends_a_row_of_deaths():
    at = Setting()
    for steps in (5, 5, 0):
        at.agent.train()
        at.told(at.learner, "train", stretch(steps, 5))
        die_as(at, "learner")
        for method, value in (("version", 0), ("samples", 0)):
            at.told(at.learner, method, value)
        at.told(at.replay, "replay_status", status())
    with pytest.raises(RunFailed, match="learner of wide died 3 times in a row"):
        for _ in range(2):
            at.told(at.learner, "train", stretch(0, 0))
            die_as(at, "learner")


@pytest.mark.usefixtures("ray")
def test_a_replay_that_is_made_again_gets_every_row_that_no_checkpoint_holds_once():
    at = Setting(last_part=part_of(5, 100, 64))
    at.agent.insert("confirmed", 10)
    at.told(at.replay, "insert", status(10))
    at.agent.insert("under way", 20)
    die_as(at, "replay")
    assert not at.agent.may_insert
    at.agent.insert("meanwhile", 30)
    assert not at.replay.asked
    at.told(at.learner, "attach", 5 * BATCH)
    (restored,) = at.replay.questions("restore_replay")
    assert restored.arguments == ("wide", at.part["replay"])
    assert restored.keywords == {"inserted": 10, "sampled": 5 * BATCH}
    at.told(at.replay, "restore_replay", status(10, 5 * BATCH))
    assert [asked.arguments[1] for asked in at.replay.questions("insert")] == ["under way", "meanwhile"]
    assert at.agent.may_insert and at.agent.status()["rows_given"] == 10
    at.told(at.replay, "insert", status(60, 5 * BATCH))
    assert at.agent.status()["rows_given"] == 60 and not at.agent.status()["inserts_under_way"]


@pytest.mark.usefixtures("ray")
def test_a_replay_that_dies_before_the_first_checkpoint_is_empty_and_counts_on():
    at = Setting()
    at.agent.insert("gone", 10)
    at.told(at.replay, "insert", status(10))
    at.agent.poll()
    die_as(at, "replay")
    at.told(at.learner, "attach", 2 * BATCH)
    (state,), (restored,) = at.replay.questions("replay_state"), at.replay.questions("restore_replay")
    assert restored.arguments == ("wide", state) and restored.keywords == {"inserted": 10, "sampled": 2 * BATCH}
    at.told(at.replay, "restore_replay", status(10, 2 * BATCH))
    assert at.agent.status()["rows_given"] == 10 == at.agent.status()["inserted"]


@pytest.mark.usefixtures("ray")
def test_rows_wait_for_the_last_filling_of_a_new_replay():
    """A learner that dies while its new replay is filled has it filled again: what was stored between would be gone."""
    at = Setting(last_part=part_of(5, 100, 64))
    at.agent.insert("rows", 20)
    die_as(at, "replay")
    at.told(at.learner, "attach", 9 * BATCH)
    at.calls.ask("weights of wide at inference", at.agent.newest[1], print)  # which it still owes
    die_as(at, "learner")
    at.told(at.replay, "restore_replay", status(100, 9 * BATCH))
    assert not at.replay.questions("insert") and not at.agent.may_insert
    at.told(at.learner, "attach", 5 * BATCH)
    at.told(at.replay, "restore_replay", status(100, 5 * BATCH))
    assert [asked.arguments for asked in at.replay.questions("insert")] == [("wide", "rows")]
    assert [asked.method for asked in at.replay.asked] == ["restore_replay", "restore_replay", "insert"]


@pytest.mark.usefixtures("ray")
def test_rows_that_died_with_their_node_are_counted_and_not_sent_again():
    at = Setting(last_part=part_of(5, 100, 64))
    at.agent.insert("lost", 10)
    at.agent.insert("kept", 20)
    lost, kept = at.replay.questions("insert")
    lost.fail(ObjectLostError("00", None, ""))
    kept.answer(status(20))
    (failure,) = at.calls.wait(0.0)
    assert failure.lost
    found = at.agent.status()
    assert (found["lost_rows"], found["rows_given"], found["inserts_under_way"]) == (10, 20, 0)
