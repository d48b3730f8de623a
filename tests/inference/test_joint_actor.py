"""Requests with rows of several agents to an inference actor, over both transports, and when it is killed."""

import os
import signal
import threading

import numpy as np
import pytest
import ray

from inference.actor import InferenceActor
from inference.build import Served
from inference.lines import evaluators_to
from inference.model import NonFiniteOutput
from inference.remote import RemoteEvaluator
from inference.segment import Shape
from scoundrel_ray.evaluator import AgentEvaluator
from scoundrel_ray.game import Game
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.spec import random_observations, search_heads
from tests.inference.test_remote import in_process, network
from tests.inference.test_shm import GAME, NETWORK, PATIENCE_S, incarnation, metrics, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def spec():
    return build("game", GAME, Game).spec


@pytest.fixture
def actor(spec):
    config = InferenceConfig(precision="float32", batch_sizes=(8, 64, 256), device="cpu")
    made = InferenceActor.options(num_cpus=0, max_restarts=-1, max_concurrency=4).remote(
        dict.fromkeys(NAMES, Served(spec, NETWORK)), config
    )
    set_weights(made)
    yield made
    ray.get(made.close.remote(), timeout=PATIENCE_S)
    ray.kill(made)


def set_weights(actor):
    for number, agent in enumerate(NAMES):
        sent = actor.set_weights.remote(agent, 10 + number, network(number)[1])
        ray.get(sent, timeout=PATIENCE_S)


def joint_to(actor, spec, transport, client="worker"):
    """The joint evaluator of all agents."""
    shape = Shape.of(spec, search_heads(spec), 2, 200)
    config = InferenceConfig(transport=transport, request_deadline_s=PATIENCE_S)
    views = evaluators_to(dict.fromkeys(NAMES, actor), config, client, dict.fromkeys(NAMES, shape))
    (joint,) = {view.joint for view in views.values()}
    return joint


def end(joint):
    if not isinstance(joint, RemoteEvaluator):
        assert joint.shared and not joint.warning
        joint.close()


def parts_of(spec, *counts, seed=0):
    """Rows of the agents, the last one first."""
    sized = zip(reversed(NAMES), counts, strict=True)
    return [(agent, random_observations(spec, count, seed + count)) for agent, count in sized]


def submitted(joint, parts):
    """Ticket for the parts, whose arrays are used again at once."""
    used = [(agent, rows.copy()) for agent, rows in parts]
    ticket = joint.submit(used)
    for _, rows in used:
        rows[:] = 0
    return ticket


def assert_right(answers, parts, models):
    assert len(answers) == len(parts)
    for answer, (agent, rows) in zip(answers, parts, strict=True):
        wanted = models[agent].submit(rows)
        assert answer.version == wanted.version
        for one, other in zip(answer.outputs, wanted.outputs, strict=True):
            # Not bit for bit: a leaf may be evaluated in a batch of another size.
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
            assert one.flags.writeable  # compiled rules take no others


@pytest.fixture(scope="module")
def models():
    return {agent: in_process(number, 10 + number) for number, agent in enumerate(NAMES)}


@pytest.mark.parametrize("transport", ["ray", "shm"])
def test_several_agents_in_one_request_get_what_each_gets_alone(actor, spec, models, transport):
    joint = joint_to(actor, spec, transport)
    asked = [parts_of(spec, 3, 90, 40), parts_of(spec, 50, 1, 7)]
    tickets = [submitted(joint, parts) for parts in asked]
    for ticket, parts in zip(tickets, asked, strict=True):
        assert_right(joint.collect(ticket), parts, models)
    for agent, rows in asked[0]:
        view = AgentEvaluator(joint, agent)
        assert_right([view.collect(view.submit(rows))], [(agent, rows)], models)
    with pytest.raises(ValueError, match=r"observations are int8 \[2, 3\], wanted int8 \[B, 96\]"):
        joint.collect(joint.submit([*parts_of(spec, 3, 90, 40)[:2], ("a", np.zeros((2, 3), np.int8))]))
    end(joint)


def test_one_call_is_made_for_all_agents(actor, spec, monkeypatch):
    calls, ask = [], RemoteEvaluator._ask
    monkeypatch.setattr(RemoteEvaluator, "_ask", lambda self, parts: (calls.append(len(parts)), ask(self, parts))[1])
    before = metrics(actor)["requests"]
    joint = joint_to(actor, spec, "ray")
    joint.collect(joint.submit(parts_of(spec, 5, 6, 7)))
    assert calls == [3] and metrics(actor)["requests"] == before + 3


@pytest.mark.parametrize("transport", ["ray", "shm"])
def test_weights_that_give_nan_to_one_agent_are_named(actor, spec, transport):
    broken = {name: np.full_like(array, np.nan) for name, array in network()[1].items()}
    ray.get(actor.set_weights.remote("b", 12, broken), timeout=PATIENCE_S)
    joint = joint_to(actor, spec, transport)
    with pytest.raises(NonFiniteOutput, match="agent b, weights version 12"):
        joint.collect(joint.submit(parts_of(spec, 5, 6, 7)))
    end(joint)


@pytest.mark.parametrize("transport", ["ray", "shm"])
def test_a_server_killed_under_load_answers_all_parts_after_it_came_back(actor, spec, models, transport):
    before, stop, failures, counts = metrics(actor)["incarnation"], threading.Event(), [], []

    def ask(client):
        try:
            joint, asked, done = joint_to(actor, spec, transport, f"worker-{client}"), [], 0
            while not stop.is_set() or asked:
                while not stop.is_set() and len(asked) < 2:
                    parts = parts_of(spec, 5 + done % 7, 40, 3, seed=100 * client + done)
                    asked.append((parts, submitted(joint, parts)))
                    done += 1
                parts, ticket = asked.pop(0)
                assert_right(joint.collect(ticket), parts, models)
            end(joint)
            counts.append(done)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: metrics(actor)["requests"] > 100)
    os.kill(ray.get(actor.pid.remote(), timeout=PATIENCE_S), signal.SIGKILL)
    wait_until(lambda: incarnation(actor, before))
    set_weights(actor)
    wait_until(lambda: metrics(actor)["requests"] > 100)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not failures and len(counts) == 2 and min(counts) > 10
