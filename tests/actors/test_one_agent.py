"""An agent by itself, with stand-ins for its actors: what it asks of whom, what it counts, and what it publishes."""

import dataclasses

import pytest

from actors.agent import Agent
from actors.calls import Calls
from scoundrel_ray.runs.plan import AgentPlan
from tests.actors.stand_ins import RAY, Kind
from tests.conftest import small_config

BATCH = 32


class Published:
    """In place of the servers: versions in the order in which they were published."""

    def __init__(self):
        self.versions = []

    def publish(self, _agent, version, _arrays):
        self.versions.append(version)


@pytest.fixture
def ray(monkeypatch):
    for module in ("agent", "calls"):
        monkeypatch.setattr(f"actors.{module}.ray", RAY)
    kinds = {"ReplayActor": Kind(), "LearnerActor": Kind()}
    for name, kind in kinds.items():
        monkeypatch.setattr(f"actors.agent.{name}", kind)
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
        plan = AgentPlan(None, {}, {}, {}, **{"publish_steps": 5, "symmetries": True, "frozen": False, **plan})
        self.agent = Agent(
            name, plan, config, None, None, self.calls, self.published, lambda _agent: self.part, weights, part
        )
        counters = part["counters"] if part else {}
        told = {"status": status(), "restore": status(), "version": counters.get("steps", 0)}
        self.agent.start(lambda _name, asked: told[asked.method])

    @property
    def learner(self):
        return self.agent.actors["learner"]

    @property
    def replay(self):
        return self.agent.actors["replay"]

    def wait(self):
        """Handle what was answered, and have actors that died made again."""
        for failure in self.calls.wait(0.0):
            assert self.agent.owns(failure.dead)
            self.agent.on_death(failure)

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


def die_as(at, kind):
    at.agent.actors[kind].die()
    at.wait()


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
