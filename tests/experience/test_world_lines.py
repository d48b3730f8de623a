"""Agents of a world whose evaluators have one joint evaluator behind them are asked in one request."""

import numpy as np
import pytest

from inference.lines import evaluators_to
from inference.remote import RemoteEvaluator
from inference.segment import Shape
from scoundrel_ray.evaluator import AgentEvaluator, lines
from scoundrel_ray.experience.world_source import WorldSource
from scoundrel_ray.runs.settings import InferenceConfig
from tests.conftest import small_world_member
from tests.experience.slow_world_steps import Hashed
from tests.experience.test_world_steps import EPSILON, SAMPLED, WORLDS, evaluators_of, role, steps_of


class Joint:
    """Answers by each agent's own `Hashed`; `asked` holds the name and rows of each part of every request."""

    def __init__(self, evaluators):
        self._evaluators, self.asked = evaluators, []

    def submit(self, parts):
        self.asked.append([(agent, len(rows)) for agent, rows in parts])
        return [(agent, self._evaluators[agent].submit(rows)) for agent, rows in parts]

    def collect(self, ticket):
        return [self._evaluators[agent].collect(own) for agent, own in ticket]


def joined(evaluators, *teams):
    """Views of the evaluators, those of a team with one joint evaluator behind them; and the joint evaluators."""
    behind = [Joint({agent: evaluators[agent] for agent in team}) for team in teams]
    views = {agent: AgentEvaluator(joint, agent) for joint, team in zip(behind, teams, strict=True) for agent in team}
    return {**evaluators, **views}, behind


def messages(evaluators, behind, teams):
    """Requests that were made until now, to joint evaluators and to those of one agent."""
    alone = [evaluator for name, evaluator in evaluators.items() if name not in "".join(teams)]
    return sum(len(each.asked) for each in (*behind, *alone))


@pytest.mark.parametrize("teams", [["abc"], ["cb", "a"], ["ca"]], ids=["all", "two lines", "one asked alone"])
@pytest.mark.parametrize("owners", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("kind", [*WORLDS])
def test_rows_are_those_of_agents_that_are_asked_one_by_one(kind, owners, teams):
    world = WORLDS[kind]()
    agents = {"a": role(world, EPSILON), "b": role(world, SAMPLED), "c": role(world, EPSILON, learns=False)}
    apart, together = evaluators_of(world, agents), evaluators_of(world, agents)
    for number, name in enumerate(agents):
        apart[name].version = together[name].version = 10 * number
    views, behind = joined(together, *teams)
    one_by_one = steps_of(world, owners, agents, apart)
    at_once = steps_of(world, owners, agents, views)
    for _ in range(2):
        before = messages(together, behind, teams)
        wanted, report = one_by_one.collect(timed=False)
        rows, told = at_once.collect(timed=False)
        assert [*rows] == [*wanted] == ["a", "b"]
        assert any(len(own) for own in rows.values())
        for name in rows:
            np.testing.assert_array_equal(rows[name], wanted[name])
        assert told["own_steps"] == report["own_steps"] and told["leaves"] == report["leaves"]
        assert told["messages"] == messages(together, behind, teams) - before
    for fast in (one_by_one, at_once):
        fast.close()


def test_agents_that_act_at_once_send_one_message_for_a_half():
    world = WORLDS["at once"]()
    agents = {name: role(world, SAMPLED) for name in "abc"}
    views, (joint,) = joined(evaluators_of(world, agents), "abc")
    report = steps_of(world, (0, 1, 2), agents, views, copies=8, steps=12).collect(timed=False)[1]
    # Both halves at first, then whichever was answered.
    assert joint.asked == [[(name, 4) for name in "abc"]] * 3
    assert (report["messages"], report["leaves"]) == (3, 36)


def test_a_request_has_the_agents_that_act_and_no_others():
    world = WORLDS["in order"]()
    agents = {name: role(world, SAMPLED) for name in "abc"}
    views, (joint,) = joined(evaluators_of(world, agents), "abc")
    steps_of(world, (0, 1, 2), agents, views, copies=4, steps=12).collect(timed=False)
    assert joint.asked[:6] == [[("a", 2)], [("a", 2)], [("b", 2)], [("b", 2)], [("c", 2)], [("c", 2)]]


def test_lines_are_as_few_as_joint_evaluators_and_keep_the_order():
    spread = {name: Hashed(name, 3) for name in "abcde"}
    views, (first, second) = joined(spread, "ac", "db")
    found = lines(views.values())
    assert [[*line.agents.items()] for line in found] == [[(0, "a"), (2, "c")], [(1, "b"), (3, "d")], [(4, "")]]
    assert [line.evaluator for line in found[:2]] == [first, second]
    one = Hashed("same", 3)  # what is no view is asked for one agent at a time
    assert [line.agents for line in lines([one, one])] == [{0: ""}, {1: ""}]
    ((alone, _),) = lines([one])
    rows = np.zeros((2, 4), np.int8)
    (answer,) = alone.collect(alone.submit([("any", rows)]))
    np.testing.assert_array_equal(answer.outputs[0][0], one.preferences(rows[0]))


@pytest.mark.parametrize(
    ("behaviours", "served_by", "wanted"),
    [
        ((SAMPLED, SAMPLED), {}, [["tagger_0", "tagger_1", "runner_0", "runner_1"]]),
        ((SAMPLED, EPSILON), {}, [["tagger_0", "tagger_1"], ["runner_0", "runner_1"]]),
        ((SAMPLED, SAMPLED), {"runner_0": "another"}, [["tagger_0", "tagger_1", "runner_1"], ["runner_0"]]),
    ],
    ids=["one form", "other heads", "another actor"],
)
def test_agents_of_one_form_and_one_actor_share_a_line(behaviours, served_by, wanted):
    """A team of tag learns by PPO, and the other as it does or by IQN, whose networks answer something else."""
    source = WorldSource(small_world_member("world", "tag", taggers=2, runners=2), {"copies": 8})
    names = source.built_world.agents
    requests, specs = source.requests(0, names), source.specs(names)
    shapes = {
        name: Shape.of(specs[name], source.heads(specs[name], behaviours[name.startswith("runner")]), *requests)
        for name in names
    }
    servers = {name: served_by.get(name, "inference") for name in names}
    found = evaluators_to(servers, InferenceConfig(transport="ray"), "worker", shapes)
    assert [(name, view.agent) for name, view in found.items()] == [(name, name) for name in names]
    assert all(isinstance(view.joint, RemoteEvaluator) for view in found.values())
    assert [[*line.agents.values()] for line in lines(found.values())] == wanted
