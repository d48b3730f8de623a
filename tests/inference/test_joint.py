"""Requests with rows of several agents: in the server, through shared memory, and in a server of one's own."""

import os
import threading
import time

import numpy as np
import pytest

from inference.build import Served
from inference.joint import JointRequest, evaluate
from inference.local import OwnServer, ServerEvaluator
from inference.model import NonFiniteOutput
from inference.segment import Shape
from inference.server import InferenceServer
from inference.shm import ClientEnd, ShmEvaluator
from inference.shm_directory import ROOT_VARIABLE
from inference.shm_server import ShmServer
from scoundrel_ray.evaluator import AgentEvaluator, EvaluatorGone
from scoundrel_ray.game import Game
from scoundrel_ray.network import make_network, weights
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.spec import random_observations
from tests.inference.test_shm import GAME, NETWORK, PATIENCE_S, Echo

TEN = [f"agent_{number}" for number in range(10)]
SHAPE = Shape(slots=2, leaves=40, observation_size=4, heads=((2,), (1,)), agents=10)


def leaves(first, count=3):
    """Each begins with a number of its own, from `first` on."""
    rows = np.zeros((count, 4), dtype=np.int8)
    rows[:, 0] = first + np.arange(count)
    return rows


def number_of(agent):
    """Weights of an agent: what it answers as its value, and their version."""
    return float(TEN.index(agent)) / 16, 100 + TEN.index(agent)


def assert_answers(answers, parts):
    """What `Echo` says, by each agent's own weights."""
    assert len(answers) == len(parts)
    for answer, (agent, rows) in zip(answers, parts, strict=True):
        value, version = number_of(agent)
        np.testing.assert_array_equal(answer.logits, rows[:, :1] * np.array([1, 2], np.float32))
        np.testing.assert_array_equal(answer.values, np.full((len(rows), 1), value, np.float32))
        assert answer.version == version


class Node:
    """A server of ten agents that workers in this process attach to, and another in its place after `die`."""

    def __init__(self):
        self.made = []
        self.start()

    def start(self, ready=TEN, threads=1):
        self.models = {agent: Echo() for agent in TEN}
        self.server = InferenceServer(self.models, InferenceConfig(threads=threads, request_deadline_s=PATIENCE_S))
        self.shm = ShmServer(self.server)
        self.made.append((self.server, self.shm, self.models))
        self.up = True
        for agent in ready:
            self.trained(agent)

    def trained(self, agent):
        value, version = number_of(agent)
        self.server.set_weights(agent, version, {"number": value})

    def client(self, agents=TEN, deadline_s=PATIENCE_S, shape=SHAPE, name="worker"):
        def attach(seconds):
            if not self.up:
                raise EvaluatorGone("is down")
            return self.shm.attach(name, agents, os.getpid(), shape)

        return ShmEvaluator(attach, ServerEvaluator(self.server, name, deadline_s), name, agents, deadline_s, shape)

    def die(self):
        self.up = False
        self.shm.close()

    def waiting(self):
        return self.server.metrics()["waiting"]

    def wait_for(self, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    def close(self):
        for server, shm, models in self.made:
            for model in models.values():
                model.open.set()
            shm.close()
            server.close()


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    made = Node()
    yield made
    made.close()
    assert not list(tmp_path.iterdir())


class Replies:
    """What a request was answered, as often as it was."""

    def __init__(self):
        self.came = threading.Semaphore(0)
        self.answers = []

    def __call__(self, answer):
        self.answers.append(answer)
        self.came.release()


MIXED = [("agent_7", leaves(1, 5)), ("agent_2", leaves(20, 1)), ("agent_4", leaves(40, 9))]


# -- the server -----------------------------------------------------------------------------------------------------


def test_all_parts_are_answered_in_their_order_by_each_agents_own_weights(node):
    assert_answers(evaluate(node.server, "worker", MIXED), MIXED)
    assert node.server.metrics()["requests"] == 3  # the batcher joins the rows of one agent across workers


def test_the_reply_comes_once_and_after_the_last_part(node):
    replies = Replies()
    node.models["agent_2"].open.clear()  # the second of the three
    JointRequest(node.server, "worker", MIXED, replies)
    assert node.models["agent_2"].entered.acquire(timeout=PATIENCE_S)
    assert node.waiting() == 1 and node.server.metrics()["requests"] == 1  # all were submitted before any was awaited
    assert not replies.answers
    node.models["agent_2"].open.set()
    assert replies.came.acquire(timeout=PATIENCE_S)
    assert_answers(*replies.answers, MIXED)


def test_parts_that_several_threads_answer_are_counted_right(node):
    node.start(threads=4)
    replies = [Replies() for _ in range(300)]
    asked = []
    for number, reply in enumerate(replies):
        parts = [(agent, leaves(number % 50, 1 + (number + place) % 3)) for place, agent in enumerate(TEN)]
        asked.append(parts[number % 10 :] + parts[: number % 10])
        JointRequest(node.server, f"worker-{number % 3}", asked[-1], reply)
    for reply, parts in zip(replies, asked, strict=True):
        assert reply.came.acquire(timeout=PATIENCE_S)
        assert_answers(*reply.answers, parts)


def test_an_error_of_any_part_is_that_of_the_request(node):
    parts = [("agent_1", leaves(1)), ("agent_2", leaves(-1)), ("agent_3", leaves(2)), ("agent_4", leaves(-1))]
    with pytest.raises(NonFiniteOutput, match="weights version 102"):
        evaluate(node.server, "worker", parts)
    assert node.models["agent_3"].asked == [2, 3, 4]
    assert_answers(evaluate(node.server, "worker", MIXED), MIXED)


def test_a_request_that_cannot_be_taken_leaves_nothing_behind(node):
    node.start(ready=())
    with pytest.raises(ValueError, match="'nobody' is not served"):
        evaluate(node.server, "worker", [*MIXED, ("nobody", leaves(1))])
    with pytest.raises(ValueError, match="worker has no part"):
        evaluate(node.server, "worker", [])
    assert node.waiting() == 0


def test_a_withdrawn_request_is_withdrawn_whole(node):
    node.start(ready=["agent_7"])
    replies = Replies()
    request = JointRequest(node.server, "worker", MIXED, replies)
    node.wait_for(lambda: node.waiting() == 2)  # the first part is answered already
    request.withdraw()
    assert node.waiting() == 0
    for agent in TEN:
        node.trained(agent)
    assert_answers(evaluate(node.server, "other", MIXED), MIXED)
    assert not replies.answers


def test_the_deadline_tells_which_agents_have_no_weights(node):
    node.start(ready=["agent_7", "agent_4"])
    node.server.deadline_s = 0.2
    wanted = r"no answer for agents agent_7, agent_2, agent_4, no weights yet for agent_2, within 0.2 s, for 15 leaves"
    with pytest.raises(EvaluatorGone, match=wanted):
        evaluate(node.server, "worker", MIXED)
    assert node.waiting() == 0


# -- shared memory --------------------------------------------------------------------------------------------------


def test_ten_agents_ring_one_doorbell_and_are_rung_by_one(node, monkeypatch):
    rung, heard, ring, hear = [], [], ClientEnd.ring, ClientEnd.hear

    def noted(line, seconds):
        records = hear(line, seconds)
        heard.extend(records)
        return records

    monkeypatch.setattr(ClientEnd, "ring", lambda line, *record: (rung.append(record), ring(line, *record)))
    monkeypatch.setattr(ClientEnd, "hear", noted)
    client = node.client()
    halves = [[(agent, leaves(half + 3 * place, 3)) for place, agent in enumerate(TEN)] for half in (0, 50)]
    tickets = [client.submit(half) for half in halves]
    for ticket, half in zip(tickets, halves, strict=True):
        assert_answers(client.collect(ticket), half)
    assert rung == sorted(heard) == [(1, 0), (2, 1)]
    assert node.server.metrics()["requests"] == 20 and node.shm.attached == 1
    client.close()


def test_any_agents_in_any_order_get_what_one_agent_gets_alone(node):
    client = node.client()
    generator = np.random.default_rng(0)
    for step in range(60):
        names = generator.permutation(TEN)[: generator.integers(1, 11)].tolist()
        parts = [(agent, leaves(int(generator.integers(100)), int(generator.integers(1, 5)))) for agent in names]
        tickets = [client.submit(parts), AgentEvaluator(client, parts[-1][0]).submit(parts[-1][1])]
        assert [ticket.slot for ticket in tickets] == [0, 1], step
        wanted = [(agent, rows.copy()) for agent, rows in parts]
        for _, rows in parts:
            rows[:] = 99  # the arrays may be reused at once
        alone = client.collect(tickets[1])
        together = client.collect(tickets[0])
        assert_answers([*together, *alone], [*wanted, wanted[-1]])
    client.close()


def test_the_bell_rings_after_the_last_part_and_not_before(node):
    client = node.client()
    last = node.models["agent_4"]
    last.open.clear()
    ticket = client.submit(MIXED)
    assert last.entered.acquire(timeout=PATIENCE_S)
    node.wait_for(lambda: node.server.metrics()["requests"] == 2)
    assert client._line.hear(0.2) == [] and client._line.segment.reply(0).sequence == 0
    last.open.set()
    assert_answers(client.collect(ticket), MIXED)
    client.close()


def test_an_error_of_one_part_arrives_as_it_was_raised(node):
    client = node.client()
    parts = [("agent_1", leaves(1)), ("agent_2", leaves(-1)), ("agent_3", leaves(2))]
    with pytest.raises(NonFiniteOutput, match="weights version 102: not finite"):
        client.collect(client.submit(parts))
    assert_answers(client.collect(client.submit(MIXED)), MIXED)
    client.close()


def test_a_request_that_was_given_up_is_withdrawn_whole_and_its_late_answers_are_not_taken(node):
    client = node.client(deadline_s=0.2)
    node.models["agent_7"].open.clear()
    ticket = client.submit(MIXED)
    assert node.models["agent_7"].entered.acquire(timeout=PATIENCE_S)
    wanted = r"worker: the inference actor of agents agent_7, agent_2, agent_4 gave no answer; .* for 15 leaves"
    with pytest.raises(EvaluatorGone, match=wanted):
        client.collect(ticket)
    client._deadline_s = PATIENCE_S
    parts = [("agent_2", leaves(70, 2)), ("agent_7", leaves(90, 2))]
    again = client.submit(parts)
    assert again.slot == 0
    node.wait_for(lambda: node.waiting() == 2)
    node.models["agent_7"].open.set()
    assert_answers(client.collect(again), parts)
    assert node.models["agent_4"].asked == [] and node.models["agent_2"].asked == [70, 71]
    client.close()


def test_what_a_gone_worker_asked_for_all_its_agents_is_withdrawn(node):
    node.shm.close()
    node.server.close()
    node.start(ready=())
    client = node.client()
    client.submit(MIXED)
    node.wait_for(lambda: node.waiting() == 3)
    client.close()
    node.wait_for(lambda: node.waiting() == 0)


def test_a_server_that_dies_with_half_of_the_parts_answered_is_replaced_and_asked_for_all(node):
    client = node.client()
    node.models["agent_2"].open.clear()
    others = [(agent, leaves(60, 2)) for agent in reversed(TEN)]
    tickets = [client.submit(MIXED), client.submit(others)]
    assert node.models["agent_2"].entered.acquire(timeout=PATIENCE_S)
    node.wait_for(lambda: node.server.metrics()["requests"])
    node.die()
    threading.Timer(0.2, node.start).start()
    assert_answers(client.collect(tickets[1]), others)
    assert_answers(client.collect(tickets[0]), MIXED)
    assert client.shared
    former, _, models = node.made[0]
    models["agent_2"].open.set()
    former.close()  # its answers come, to nobody
    assert_answers(client.collect(client.submit(MIXED)), MIXED)
    client.close()


def test_a_server_that_ends_with_half_of_the_parts_answered_is_asked_again_for_all(node):
    client = node.client(deadline_s=0.3)
    node.models["agent_2"].open.clear()
    ticket = client.submit(MIXED)
    assert node.models["agent_2"].entered.acquire(timeout=PATIENCE_S)
    ended = threading.Thread(target=node.server.close)
    ended.start()
    node.models["agent_2"].open.set()
    ended.join()
    with pytest.raises(EvaluatorGone, match=r"the server was closed; waited 0.3 s for 15 leaves"):
        client.collect(ticket)
    client.close()


def test_a_refusal_while_several_agents_are_under_way_sends_them_by_call(node):
    client = node.client()
    node.die()
    tickets = [client.submit(MIXED), client.submit(MIXED[:1])]
    node.up = True  # the server still answers calls, its listener has ended
    assert_answers(client.collect(tickets[0]), MIXED)
    assert_answers(client.collect(tickets[1]), MIXED[:1])
    assert not client.shared


def test_parts_that_fit_one_by_one_and_not_together_go_by_call(node):
    client = node.client(shape=SHAPE._replace(leaves=14))
    tickets = [client.submit(MIXED), client.submit(MIXED[::2])]
    assert [ticket.slot for ticket in tickets] == [-1, 0]
    assert client.shared and "some have 15 leaves, a slot holds 14" in client.warning
    for ticket, parts in zip(tickets, (MIXED, MIXED[::2]), strict=True):
        assert_answers(client.collect(ticket), parts)
    client.close()


SPOILT = {
    "an agent that is not there": (1, (10, 1), "agent number 10, of 10 agents"),
    "more leaves than a slot has": (1, (2, 27), "41 leaves"),
    "more leaves than memory has": (2, (4, 2**32 - 1), "leaves"),
}


@pytest.mark.parametrize("how", [*SPOILT])
def test_a_table_of_parts_that_no_client_writes_is_answered_with_an_error(node, monkeypatch, how):
    place, entry, wanted = SPOILT[how]
    client, other = node.client(), node.client(name="other")
    ring = client._line.ring

    def spoilt(sequence, slot):
        client._line.segment._arrays[slot][0][place] = entry
        ring(sequence, slot)

    with monkeypatch.context() as patch:
        patch.setattr(client._line, "ring", spoilt)
        ticket = client.submit(MIXED)
    with pytest.raises(ValueError, match=wanted):
        client.collect(ticket)
    for each in (client, other):
        assert_answers(each.collect(each.submit(MIXED)), MIXED)
        each.close()
    assert node.server.metrics()["requests"] == 6


def test_a_client_whose_agents_are_not_as_many_as_its_segment_has_is_refused(node):
    client = node.client(shape=SHAPE._replace(agents=3))
    assert not client.shared and "10 agents were named for a segment of 3" in client.warning
    assert_answers(client.collect(client.submit(MIXED)), MIXED)


def test_one_worker_may_have_several_lines(node):
    lines = [node.client(TEN[:4], shape=SHAPE._replace(agents=4)), node.client(TEN[4:], shape=SHAPE._replace(agents=6))]
    node.wait_for(lambda: node.shm.attached == 2)
    parts = [[("agent_3", leaves(1)), ("agent_0", leaves(5))], [("agent_9", leaves(1)), ("agent_4", leaves(5))]]
    tickets = [line.submit(own) for line, own in zip(lines, parts, strict=True)]
    for line, ticket, own in zip(lines, tickets, parts, strict=True):
        assert_answers(line.collect(ticket), own)
    assert node.shm.attached == 2
    for line in lines:
        line.close()


# -- a server of one's own ------------------------------------------------------------------------------------------


def test_arrays_that_were_asked_about_in_this_process_may_be_used_again_at_once(node):
    evaluator = ServerEvaluator(node.server, "worker", PATIENCE_S)
    node.models["agent_7"].open.clear()
    used = [(agent, rows.copy()) for agent, rows in MIXED]
    ticket = evaluator.submit(used)
    for _, rows in used:
        rows[:] = 99
    node.models["agent_7"].open.set()
    assert_answers(evaluator.collect(ticket), MIXED)


@pytest.mark.parametrize("at_once", [False, True])
def test_an_own_server_answers_for_several_agents_as_for_each_alone(at_once):
    spec = build("game", GAME, Game).spec
    config = InferenceConfig(precision="float32", batch_sizes=(8, 64), device="cpu")
    own = OwnServer(dict.fromkeys(("a", "b"), Served(spec, NETWORK)), config, "worker", at_once)
    for number, agent in enumerate(("a", "b")):
        generator = np.random.default_rng(number)
        shapes = weights(make_network(NETWORK, spec)).items()
        own.set_weights(agent, 5 + number, {n: generator.normal(0, 0.1, a.shape).astype(np.float32) for n, a in shapes})
    parts = [("b", random_observations(spec, 7, 1)), ("a", random_observations(spec, 5, 2))]
    joint = own.evaluators["a"].joint
    assert joint is own.evaluators["b"].joint
    together, before = joint.collect(joint.submit(parts)), own.metrics()["batches"]
    assert before == 2
    for answer, (agent, rows), version in zip(together, parts, (6, 5), strict=True):
        alone = own.evaluators[agent].collect(own.evaluators[agent].submit(rows))
        assert answer.version == alone.version == version
        for one, other in zip(answer.outputs, alone.outputs, strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="observations are int8"):
        joint.collect(joint.submit([parts[0], ("a", np.zeros((2, 3), np.int8))]))
