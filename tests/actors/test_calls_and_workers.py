"""Questions, servers and workers of a run, with stand-ins for Ray: what deaths mean, who gets which weights."""

from types import SimpleNamespace

import pytest
from ray.exceptions import ObjectLostError, RayTaskError

from actors.calls import Calls, RunFailed
from actors.servers import Servers
from actors.workers import Workers
from scoundrel_ray.experience.source import Progress, Role
from scoundrel_ray.runs.plan import AgentPlan, RunPlan, Serving
from tests.actors.stand_ins import RAY, Actor, Kind
from tests.conftest import small_config

pytestmark = pytest.mark.usefixtures("ray")


@pytest.fixture
def ray(monkeypatch):
    for module in ("calls", "servers", "workers"):
        monkeypatch.setattr(f"actors.{module}.ray", RAY)
    kinds = SimpleNamespace(servers=Kind(), workers=Kind())
    monkeypatch.setattr("actors.servers.InferenceActor", kinds.servers)
    monkeypatch.setattr("actors.workers.RolloutActor", kinds.workers)
    return kinds


def plan_of(serving, names=("wide", "narrow")):
    plan = AgentPlan(SimpleNamespace(), (), {}, {}, {}, Role("type", {}), 5, True, False)
    return RunPlan(dict.fromkeys(names, plan), tuple((name,) for name in names), {}, 2, serving, False, 2)


# Questions


def test_a_death_is_that_of_the_actor_that_died_and_is_the_first_once():
    calls, asked, dead = Calls(), Actor(), Actor()
    calls.register("asked", asked)
    calls.register("dead", dead)
    told = []
    for _ in range(2):
        question = asked.weights.remote()
        calls.ask("asked", question, None, told.append)
        question.fail(dead.death)
    failures = calls.wait(0.0)
    assert failures == told and not len(calls)
    assert [(each.asked, each.dead, each.first, each.lost) for each in failures] == [
        ("asked", "dead", True, False),
        ("asked", "dead", False, False),
    ]


def test_another_actor_of_the_same_name_dies_a_death_of_its_own():
    calls = Calls()
    for _ in range(2):
        actor = calls.register("worker", Actor())
        calls.ask("worker", actor.collect.remote(), None)
        actor.die()
        (failure,) = calls.wait(0.0)
        assert failure.dead == "worker" and failure.first


@pytest.mark.parametrize("within_a_task", [False, True])
def test_rows_lost_with_their_node_are_no_death(within_a_task):
    calls, actor = Calls(), Actor()
    question, lost = actor.insert.remote(), ObjectLostError("00", None, "")
    calls.ask("replay", question, None)
    if within_a_task:
        error = RayTaskError.__new__(RayTaskError)  # its own __init__ wants a Ray
        error.cause = lost
        question.fail(error)
    else:
        question.fail(lost)
    (failure,) = calls.wait(0.0)
    assert failure.lost and not failure.dead


# Servers


def metrics(incarnation="a", leaves=0, alive_s=10.0, **more):
    counters = dict.fromkeys(("batches", "padded_leaves", "requests", "busy_s", "queue_wait_s"), 0)
    versions = {"leaves_by_version": {}, "precision": {}, "batch_histogram": {}}
    return {"incarnation": incarnation, "leaves": leaves, "alive_s": alive_s, **counters, **versions, **more}


def served(*serving):
    """Servers of a run whose agents have weights, and the questions that are theirs."""
    calls = Calls()
    servers = Servers(small_config(), plan_of(serving), calls, poll_s=0.5, warn=lambda *_told, **_how: None)
    servers.start(lambda _name, _asked: metrics(leaves=100))
    for agent, version in (("wide", 3), ("narrow", 4)):
        servers.publish(agent, version, f"weights of {agent}")
    return servers, calls


def sent(actor):
    return [asked.arguments for asked in actor.questions("set_weights")]


BOTH = [("wide", 3, "weights of wide"), ("narrow", 4, "weights of narrow")]


def test_weights_are_sent_to_those_who_serve_the_agent(ray):
    served(Serving("one", ("wide",)), Serving("other", ("narrow",)))
    assert [sent(actor) for actor in ray.servers.made] == [BOTH[:1], BOTH[1:]]


def test_weights_are_on_their_way_until_every_server_of_the_agent_has_the_newest_or_is_dead(ray):
    servers, calls = served(Serving("one", ("wide",)), Serving("other", ("wide", "narrow")))
    one, other = ray.servers.made

    def arriving():
        calls.wait(0.0)
        return servers.arriving("wide"), servers.arriving("narrow")

    assert arriving() == (True, True) and not servers.arriving("a third")
    other.answer("set_weights")
    assert arriving() == (True, False)
    servers.publish("wide", 5, "newer weights")
    one.questions("set_weights")[0].answer()
    other.answer("set_weights")
    assert arriving() == (True, False)  # the newer ones
    one.die()
    assert arriving() == (False, False)


def test_a_server_that_came_back_gets_all_weights_again_and_counts_from_nothing(ray):
    servers, calls = served(Serving("inference", ("wide", "narrow")))
    (actor,) = ray.servers.made
    actor.answer("set_weights")
    servers.report(1.0)
    for incarnation, leaves, restarts in (("a", 120, 0), ("b", 5, 1)):
        servers.poll()
        actor.answer("metrics", metrics(incarnation, leaves, alive_s=20.0 if incarnation == "a" else 1.0))
        calls.wait(0.0)
        assert sent(actor) == (BOTH if restarts else []) and servers.restarts == restarts
    assert servers.report(0.5)["inference/leaves_per_s"] == 5.0  # no rate below nothing


def test_a_worker_that_serves_itself_gets_all_weights_when_it_joins():
    servers, _ = served()
    worker = Actor()
    servers.join("rollout-0", worker)
    assert sent(worker) == BOTH


def test_the_version_of_an_agent_is_the_newest_that_answered_a_leaf():
    servers, calls = served(Serving("one", ("wide", "narrow")))
    (actor,) = servers.actors.values()
    assert servers.version("wide") is None
    servers.poll()
    actor.answer("metrics", metrics(leaves_by_version={"wide": {3: 10, 5: 2}, "narrow": {9: 1}}))
    calls.wait(0.0)
    assert servers.version("wide") == 5 and servers.version("narrow") == 9


def test_a_server_is_given_up_when_it_was_dead_for_as_long_as_workers_wait_without_a_break():
    servers, calls = served(Serving("inference", ("wide", "narrow")))
    (actor,) = servers.actors.values()
    most = int(small_config().inference.request_deadline_s / 0.5)

    def look(dead):
        servers.poll()
        question = actor.questions("metrics")[-1]
        if dead:
            question.fail(actor.death)
        else:
            question.answer(metrics())
        for failure in calls.wait(0.0):
            servers.on_death(failure)

    for _ in range(most):
        look(dead=True)
    look(dead=False)
    for _ in range(most):
        look(dead=True)
    with pytest.raises(RunFailed, match="inference did not come back"):
        look(dead=True)


# Workers


def stretch(**rows):
    told = {"warning": "", "episodes": 4, "first_at": 7.0, "leaves": 0, "messages": 0, "decisions": 0, "agents": {}}
    return {**told, "own_steps": {"wide": 3}, "rows": rows, "wait_s": 0.0, "total_s": 1.0, "memory_bytes": 1}


class Crew:
    """Two workers of a run, and the rows that they gave, by agent."""

    def __init__(self, resumptions=0, learning=("wide", "narrow")):
        self.calls, self.rows = Calls(), []
        plan, config = plan_of((Serving("inference", ("wide", "narrow")),)), small_config()
        servers = Servers(config, plan, self.calls, 0.5, lambda *_told, **_how: None)
        servers.start(lambda _name, _asked: metrics())
        for name, agent in plan.agents.items():
            if name not in learning:
                plan.agents[name] = agent._replace(role=Role(None, {}))
        self.workers = Workers(config, plan, self.calls, servers, resumptions, lambda _name, _text: None)
        self.workers.start()

    def ask(self, wanted=lambda: True):
        self.workers.ask(Progress(3, {}), wanted, lambda *given: self.rows.append(given))

    def tell(self, name, report):
        (asked,) = self.workers.actors[name].questions("collect")
        asked.answer(report)
        assert self.calls.wait(0.0) == []
        return asked.others

    def lose(self, name):
        self.workers.actors[name].die()
        for failure in self.calls.wait(0.0):
            self.workers.on_death(failure)

    def streams(self):
        return [actor.made_of[5] for actor in self.workers.actors.values()]


def test_no_two_workers_ever_draw_from_the_same_streams():
    seed, crew = small_config().seed, Crew()
    assert crew.streams() == [(seed, 0, 0), (seed, 1, 0)]
    crew.ask()
    crew.lose("rollout-1")
    assert crew.streams() == [(seed, 0, 0), (seed, 1, 1)] and crew.workers.restarts == 1
    again = Crew(resumptions=1).streams()
    assert [number for _, number, _ in again] == [0, 1] and min(stream[2] for stream in again) >= 10**6


def test_every_agent_gets_its_own_rows_and_an_idle_worker_is_asked_once():
    crew = Crew()
    crew.ask()
    wide, narrow = crew.tell("rollout-0", stretch(wide=10, narrow=20))
    assert crew.rows == [("wide", wide, 10), ("narrow", narrow, 20)]
    crew.ask()
    assert [len(actor.questions("collect")) for actor in crew.workers.actors.values()] == [1, 1]
    status = crew.workers.status()["rollout-0"]
    assert (status["stretches"], status["episodes"], status["rows"], status["rests"]) == (1, 4, 30, False)


def test_workers_are_asked_while_rows_are_wanted_beyond_those_that_are_to_come():
    crew = Crew()
    assert crew.workers.expected("wide") == 0
    crew.ask()
    crew.tell("rollout-0", stretch(wide=10, narrow=20))
    assert (crew.workers.expected("wide"), crew.workers.expected("narrow")) == (10, 20)  # of the other worker
    crew.ask(lambda: False)
    assert crew.workers.status()["rollout-0"]["rests"]
    crew.tell("rollout-1", stretch(wide=30, narrow=0))
    assert crew.workers.expected("wide") == 0  # nobody is at work
    crew.ask(lambda: crew.workers.expected("wide") < 30)
    assert [each["rests"] for each in crew.workers.status().values()] == [False, True]
    crew.ask(lambda: crew.workers.expected("wide") < 31)
    assert crew.workers.expected("wide") == 60 and crew.workers.expected("narrow") == 0


def test_what_a_worker_did_is_not_told_of_the_one_that_took_its_place():
    crew = Crew()
    crew.ask()
    crew.tell("rollout-0", stretch(wide=10, narrow=20))
    crew.ask()
    crew.lose("rollout-0")
    status = crew.workers.status()["rollout-0"]
    assert (status["incarnation"], status["stretches"], status["rows"], status["rests"]) == (1, 0, 0, True)
    assert crew.workers.episodes == 4


def test_only_deaths_without_a_stretch_between_end_the_run():
    crew = Crew()
    for _ in range(7):
        crew.ask()
        crew.tell("rollout-0", stretch(wide=1, narrow=1))
        crew.ask()
        crew.lose("rollout-0")
    for _ in range(4):
        crew.ask()
        crew.lose("rollout-0")
    crew.ask()
    with pytest.raises(RunFailed, match="rollout-0 died 6 times in a row"):
        crew.lose("rollout-0")
