"""The transport through shared memory: in one process with a model that says what it was asked, then with actors."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import ray

from inference.actor import InferenceActor
from inference.build import Served, make_server
from inference.lines import through_actor
from inference.local import ServerEvaluator
from inference.model import NonFiniteOutput
from inference.remote import RemoteEvaluator
from inference.segment import Shape, doorbell
from inference.server import InferenceServer
from inference.shm import ShmEvaluator
from inference.shm_directory import ROOT_VARIABLE, Attachment
from inference.shm_server import ShmServer
from scoundrel_ray.evaluator import AgentEvaluator, Evaluation, EvaluatorGone
from scoundrel_ray.game import Game
from scoundrel_ray.network import make_network, weights
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.spec import random_observations, search_heads
from tests.conftest import shared_by

PATIENCE_S = 300.0
SHAPE = Shape(slots=2, leaves=8, observation_size=4, heads=((2,), (1,)))


class Echo:
    """Answers [b, 2b] to a leaf that begins with b, and its weights' number as its value; -1 is an error."""

    choice, batch_s = "as told", 1.0

    def __init__(self):
        self.version = 0
        self.number = 0.0
        self.asked = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)

    def load(self, arrays, version):
        self.number, self.version = float(arrays["number"]), version

    def evaluate(self, observations):
        self.entered.release()
        assert self.open.wait(PATIENCE_S)
        self.asked.extend(observations[:, 0].tolist())
        if (observations[:, 0] == -1).any():
            raise NonFiniteOutput(f"agent x, weights version {self.version}: not finite")
        logits = observations[:, :1] * np.array([[1, 2]], dtype=np.float32)
        return Evaluation(
            (logits.astype(np.float32), np.full((len(observations), 1), self.number, dtype=np.float32)), self.version
        )

    def padded_size(self, count):
        return count


class View(AgentEvaluator):
    """An evaluator of one agent, with all that the joint evaluator behind it has."""

    def __getattr__(self, name):
        return getattr(self.joint, name)


class Node:
    """A server that workers in this process attach to, and another in its place after `die`."""

    def __init__(self):
        self.made = []
        self.start()

    def start(self, ready=True):
        self.model = Echo()
        self.server = InferenceServer({"x": self.model}, InferenceConfig())
        self.shm = ShmServer(self.server)
        self.made.append((self.server, self.shm, self.model))
        self.up = True
        if ready:
            self.server.set_weights("x", 1, {"number": 0.25})

    def attach(self, client, shape):
        def attach(seconds):
            if not self.up:
                raise EvaluatorGone("is down")
            return self.shm.attach(client, ["x"], os.getpid(), shape)

        return attach

    def client(self, name="worker", deadline_s=PATIENCE_S, shape=SHAPE, attach=None):
        calls = ServerEvaluator(self.server, name, deadline_s)
        return View(ShmEvaluator(attach or self.attach(name, shape), calls, name, ["x"], deadline_s, shape), "x")

    def die(self):
        """As the kernel does it to a killed process: FIFOs close, and nothing is answered any more."""
        self.up = False
        self.shm.close()

    def close(self):
        for server, shm, model in self.made:
            model.open.set()
            shm.close()
            server.close()

    def wait_for(self, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    made = Node()
    yield made
    made.close()
    assert not list(tmp_path.iterdir())


def leaves(first, count=3):
    return np.full((count, 4), first, dtype=np.int8)


def assert_echo(got, first, count=3):
    np.testing.assert_array_equal(got.logits, np.tile(np.array([[first, 2 * first]], np.float32), (count, 1)))
    np.testing.assert_array_equal(got.values, np.full((count, 1), 0.25, np.float32))


def test_two_requests_under_way_are_told_apart(node):
    client = node.client()
    asked = leaves(5, 8)
    tickets = [client.submit(asked)]
    asked[:] = 7  # the array may be reused at once
    tickets.append(client.submit(asked[:2]))
    assert [ticket.slot for ticket in tickets] == [0, 1]
    second, first = client.collect(tickets[1]), client.collect(tickets[0])
    for _ in range(20):  # an answer stays what it is, whatever is asked later
        client.collect(client.submit(leaves(9, 8)))
    assert_echo(second, 7, 2)
    assert_echo(first, 5, 8)
    assert_echo(client.collect(tickets[0]), 5, 8)
    client.close()


def test_what_fits_no_slot_goes_by_call(node, caplog):
    client = node.client()
    tickets = [client.submit(leaves(4, 9)), *(client.submit(leaves(first)) for first in (1, 2, 3))]
    assert [ticket.slot for ticket in tickets] == [-1, 0, 1, -1]
    assert client.shared and "some have 9 leaves, a slot holds 8" in client.warning
    client.collect(client.submit(leaves(4, 10)))
    assert len(caplog.messages) == 1  # told once
    assert_echo(client.collect(tickets[0]), 4, 9)
    for first, ticket in zip((1, 2, 3), tickets[1:], strict=True):
        assert_echo(client.collect(ticket), first)
    client.close()


def test_errors_arrive_as_they_were_raised(node):
    client = node.client()
    with pytest.raises(NonFiniteOutput, match="agent x, weights version 1: not finite"):
        client.collect(client.submit(leaves(-1)))
    assert_echo(client.collect(client.submit(leaves(1))), 1)
    client.close()


def test_an_agent_that_is_not_served_is_named(node):
    client = node.client(attach=lambda seconds: node.shm.attach("worker", ["nobody"], os.getpid(), SHAPE))
    with pytest.raises(ValueError, match="agent 'nobody' is not served"):
        client.collect(client.submit(leaves(1)))
    client.close()


def test_a_worker_of_another_game_is_told(node):
    shape = SHAPE._replace(heads=((5,), (1,)))
    client = node.client(shape=shape)
    with pytest.raises(ValueError, match=r"outputs are .*\(3, 2\).*, wanted .*\(3, 5\)"):
        client.collect(client.submit(leaves(1)))
    client.close()


def test_a_closed_client_is_forgotten_and_its_files_removed(node):
    client, other = node.client(), node.client("other")
    directory = node.shm._directory.path
    assert node.shm.attached == 2 and len(list(directory.iterdir())) == 6
    client.close()
    node.wait_for(lambda: len(list(directory.iterdir())) == 3)
    assert node.shm.attached == 1
    assert_echo(other.collect(other.submit(leaves(1))), 1)
    other.close()


def test_a_client_that_attaches_again_takes_the_place_of_its_former_self(node):
    node.attach("worker", SHAPE)(1.0)  # it never opens what it was told
    client = node.client()
    node.wait_for(lambda: node.shm.attached == 1)
    assert_echo(client.collect(client.submit(leaves(1))), 1)
    client.close()


def test_one_that_died_before_it_opened_anything_makes_room_when_another_comes(node):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    node.shm.attach("dead", ["x"], dead.pid, SHAPE)
    client = node.client()
    node.wait_for(lambda: node.shm.attached == 1)
    client.close()


def test_the_deadline_names_who_waited_for_what_and_a_late_answer_is_not_taken(node):
    client = node.client("rollout-3", deadline_s=0.2)
    node.model.open.clear()
    held = client.submit(leaves(1))
    assert node.model.entered.acquire(timeout=PATIENCE_S)
    waiting = client.submit(leaves(2, 5))
    for ticket, count in ((held, 3), (waiting, 5)):
        with pytest.raises(EvaluatorGone, match=rf"rollout-3: .* agent x gave no answer; .*0.2 s for {count} leaves"):
            client.collect(ticket)
    with pytest.raises(EvaluatorGone):
        client.collect(held)
    # Both slots are used again while the server still has the former requests, one of them on the device.
    client.joint._deadline_s = PATIENCE_S
    again = [client.submit(leaves(3, 7)), client.submit(leaves(4, 5))]
    assert [ticket.slot for ticket in again] == [0, 1]
    node.wait_for(lambda: node.server.metrics()["waiting"] == 2)  # the one that waited is withdrawn
    node.model.open.set()
    assert_echo(client.collect(again[0]), 3, 7)
    assert_echo(client.collect(again[1]), 4, 5)
    assert 2 not in node.model.asked
    client.close()


def test_a_doorbell_of_an_old_answer_is_ignored(node):
    client = node.client()
    done = client.submit(leaves(1))
    client.collect(done)
    node.model.open.clear()
    ticket = client.submit(leaves(2))
    assert node.model.entered.acquire(timeout=PATIENCE_S) and node.model.entered.acquire(timeout=PATIENCE_S)
    (link,) = node.shm._links.values()
    os.write(link._replies, doorbell(done.sequence, ticket.slot))  # rung twice
    os.write(link._replies, doorbell(ticket.sequence, ticket.slot))  # rung too early
    assert client._hear(time.monotonic() + PATIENCE_S)
    assert ticket.answer is None
    link.reply(ticket.slot, done.sequence, EvaluatorGone("too late"))
    assert link.segment.reply(ticket.slot).error == 0
    node.model.open.set()
    assert_echo(client.collect(ticket), 2)
    client.close()


def test_a_client_that_cannot_be_understood_is_detached_alone(node):
    client, other = node.client(), node.client("other")
    os.write(client._line._requests, b"x" * 5)
    node.wait_for(lambda: node.shm.attached == 1)
    assert_echo(other.collect(other.submit(leaves(1))), 1)
    assert_echo(client.collect(client.submit(leaves(2))), 2)  # it notices, and attaches anew
    assert node.shm.attached == 2
    client.close()
    other.close()


def test_what_a_gone_worker_asked_is_withdrawn(node):
    node.server.close()
    node.shm.close()
    node.start(ready=False)  # requests wait for the first weights
    client, other = node.client(), node.client("other")
    for first in (1, 2):
        client.submit(leaves(first))
    ticket = other.submit(leaves(3))
    node.wait_for(lambda: node.server.metrics()["waiting"] == 3)
    for descriptor in (client._line._requests, client._line._replies):
        os.close(descriptor)  # as the kernel does it to a killed process
    node.wait_for(lambda: node.server.metrics()["waiting"] == 1)
    node.server.set_weights("x", 1, {"number": 0.25})
    assert_echo(other.collect(ticket), 3)
    assert node.model.asked == [3, 3, 3] and node.shm.attached == 1
    other.close()


def test_a_server_that_is_gone_is_looked_for_until_another_takes_its_place(node):
    client = node.client()
    node.model.open.clear()
    tickets = [client.submit(leaves(1)), client.submit(leaves(2, 8))]
    former = client._line.segment
    node.die()
    threading.Timer(0.3, node.start).start()
    assert_echo(client.collect(tickets[1]), 2, 8)
    assert_echo(client.collect(tickets[0]), 1)
    assert client.shared and client._line.segment is not former
    node.made[0][2].open.set()
    node.made[0][0].close()  # its answers come, to nobody
    assert_echo(client.collect(client.submit(leaves(3))), 3)
    client.close()


def test_requests_made_while_no_server_is_there_are_asked_later(node):
    client = node.client()
    node.die()
    tickets = [client.submit(leaves(1)), client.submit(leaves(2))]
    node.start()
    for first, ticket in zip((1, 2), tickets, strict=True):
        assert_echo(client.collect(ticket), first)
    client.close()


def test_a_server_that_ends_is_asked_again_until_the_deadline(node):
    client = node.client(deadline_s=0.3)
    node.server.close()  # the device thread alone
    with pytest.raises(EvaluatorGone, match=r"worker: .* inference: the server was closed; waited 0.3 s"):
        client.collect(client.submit(leaves(1)))
    client.close()


def test_a_server_that_stays_away_is_given_up(node):
    client = node.client()
    tickets = [client.submit(leaves(first)) for first in (1, 2)]
    client.collect(tickets[0])
    client.joint._deadline_s = 0.3  # not before: the answer that is there may take longer on a machine that is busy
    node.die()
    last = client.submit(leaves(3))
    with pytest.raises(EvaluatorGone, match=r"worker: .* is down; waited 0.3 s for 3 leaves"):
        client.collect(last)
    with pytest.raises(EvaluatorGone, match="is down"):
        node.client(deadline_s=0.2)
    client.close()


def test_too_little_memory_falls_back_with_a_warning(node, monkeypatch, caplog):
    there = os.statvfs("/")
    scarce = os.statvfs_result((4096, 4096, 100, 1, 1, *tuple(there)[5:]))
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(os, "statvfs", lambda path: scarce)
        client = node.client()
    assert not client.shared
    wanted = f"{SHAPE.size / 2**20:.3g} MiB"
    assert f"is too small: a segment takes {wanted}, 0.00391 MiB are free" in client.warning
    assert caplog.messages == [f"worker: {client.warning}"]
    assert_echo(client.collect(client.submit(leaves(1))), 1)
    client.close()


def test_another_node_is_no_reason_to_warn(node, caplog):
    with caplog.at_level(logging.INFO):
        client = node.client(attach=lambda seconds: Attachment(refusal="it is on another node", expected=True))
    assert (client.shared, client.warning) == (False, "")
    assert [(entry.levelno, "another node" in entry.message) for entry in caplog.records] == [(logging.INFO, True)]
    assert_echo(client.collect(client.submit(leaves(1))), 1)
    client.close()


def test_files_that_are_not_there_are_a_reason_to_fall_back(node, tmp_path):
    client = node.client(attach=lambda seconds: Attachment(str(tmp_path / "none"), "token"))
    assert not client.shared and "cannot open" in client.warning
    assert_echo(client.collect(client.submit(leaves(1))), 1)


def test_a_server_that_died_before_its_files_were_opened_is_asked_again(node, tmp_path, caplog):
    attach, first = node.attach("worker", SHAPE), [True]

    def swept_once(seconds):
        answer = attach(seconds)
        if first:
            first.clear()
            return answer._replace(base=str(tmp_path / "swept"))
        return answer

    client = node.client(attach=swept_once)
    assert_echo(client.collect(client.submit(leaves(3))), 3)
    assert client.warning == "" and not caplog.messages and node.shm.attached == 1
    client.close()


def test_a_refusal_while_requests_are_under_way_sends_them_by_call(node):
    client = node.client()
    node.die()
    tickets = [client.submit(leaves(1)), client.submit(leaves(2))]
    node.up = True  # the server still answers calls, its listener has ended
    assert_echo(client.collect(tickets[0]), 1)
    assert_echo(client.collect(tickets[1]), 2)
    assert not client.shared and "listener has ended" in client.warning


# -- with actors ----------------------------------------------------------------------------------------------------

GAME = {"_target_": "scoundrel_ray.games.scoundrel.make"}
NETWORK = {"_target_": "scoundrel_ray.networks.residual_mlp.ResidualMLP", "width": 32, "blocks": 1}
CONFIG = InferenceConfig(transport="shm", precision="float32", batch_sizes=(8, 64, 256), device="cpu")
LEAVES = 100


@pytest.fixture(scope="module")
def cluster():
    ray.init(address="local", include_dashboard=False, num_cpus=2, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def actor(cluster):
    made = InferenceActor.options(num_cpus=0, max_restarts=-1, max_concurrency=8).remote(
        dict.fromkeys(("agent", "empty"), Served(build("game", GAME, Game).spec, NETWORK)), CONFIG
    )
    set_weights(made)
    yield made
    ray.get(made.close.remote(), timeout=PATIENCE_S)
    ray.kill(made)


def arrays(scale=0.1):
    generator = np.random.default_rng(0)
    built = make_network(NETWORK, build("game", GAME, Game).spec)
    return {name: generator.normal(0.0, scale, a.shape).astype(np.float32) for name, a in weights(built).items()}


def set_weights(actor):
    ray.get(actor.set_weights.remote("agent", 3, arrays()), timeout=PATIENCE_S)


def observations(count, seed=0):
    return random_observations(build("game", GAME, Game).spec, count, seed)


def connect(actor, client="worker", agent="agent"):
    game = build("game", GAME, Game)
    shape = Shape.of(game.spec, search_heads(game.spec), 2, LEAVES)
    return View(through_actor(actor, client, [agent], PATIENCE_S, shape), agent)


def metrics(actor):
    return ray.get(actor.metrics.remote(), timeout=PATIENCE_S)


def local_answer(asked):
    server = make_server({"agent": Served(build("game", GAME, Game).spec, NETWORK)}, CONFIG)
    server.set_weights("agent", 3, arrays())
    evaluator = AgentEvaluator(ServerEvaluator(server, "worker", PATIENCE_S), "agent")
    answers = [evaluator.collect(evaluator.submit(each)) for each in asked]
    server.close()
    return answers


@pytest.mark.ray
def test_all_transports_answer_alike_to_the_bit(actor):
    asked = [observations(count, count) for count in (1, 7, 8, 63, LEAVES, LEAVES + 1, 300)]
    shared, called = connect(actor), AgentEvaluator(RemoteEvaluator(actor, "worker", PATIENCE_S), "agent")
    assert shared.shared and not shared.warning
    for each, wanted in zip(asked, local_answer(asked), strict=True):
        assert np.ptp(wanted.logits) > 0
        for evaluator in (shared, called):
            got = evaluator.collect(evaluator.submit(each))
            assert got.version == wanted.version
            for one, other in zip(got.outputs, wanted.outputs, strict=True):
                np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"observations are int8 \[2, 3\], wanted int8 \[B, 96\]"):
        shared.collect(shared.submit(np.zeros((2, 3), dtype=np.int8)))
    shared.close()


@pytest.mark.ray
def test_weights_that_give_nan_are_named(actor):
    ray.get(actor.set_weights.remote("agent", 12, arrays(np.inf)), timeout=PATIENCE_S)
    client = connect(actor)
    with pytest.raises(NonFiniteOutput, match="agent agent, weights version 12: the network's output is not finite"):
        client.collect(client.submit(observations(2)))
    client.close()


@pytest.mark.ray
def test_a_client_on_another_node_is_sent_away(actor):
    told = ray.get(actor.attach.remote("worker", ["agent"], "elsewhere", os.getpid(), (2, 8, 4, 2, 1)))
    assert (told.base, told.expected) == ("", True)
    assert metrics(actor)["attached"] == 0


@pytest.mark.ray
def test_a_server_killed_under_load_loses_no_request(actor):
    clients, before = 3, metrics(actor)["incarnation"]
    stop, counts = threading.Event(), []
    wanted = {(client, step): None for client in range(clients) for step in range(4)}
    asked = {key: observations(30 + key[1], 10 * key[0] + key[1]) for key in wanted}
    for key, answer in zip(asked, local_answer(list(asked.values())), strict=True):
        wanted[key] = answer

    def ask(client):
        mine, submitted, right, tickets = connect(actor, f"client-{client}"), 0, 0, []
        while not stop.is_set() or tickets:
            while not stop.is_set() and len(tickets) < 2:
                key = (client, submitted % 4)
                tickets.append((key, mine.submit(asked[key])))
                submitted += 1
            if tickets:
                key, ticket = tickets.pop(0)
                got = mine.collect(ticket)
                # Not bit for bit: a leaf may be evaluated in a batch of another size.
                right += got.version == 3 and np.allclose(got.logits, wanted[key].logits, rtol=1e-4, atol=1e-5)
        counts.append((submitted, right, mine.shared))
        mine.close()

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    directories = set()
    for kill in range(2):
        wait_until(lambda: metrics(actor)["attached"] == clients and metrics(actor)["requests"] > 50)
        directories.add(shared_by(ray.get(actor.pid.remote(), timeout=PATIENCE_S)))
        os.kill(ray.get(actor.pid.remote(), timeout=PATIENCE_S), signal.SIGKILL)
        before = wait_until(lambda before=before: incarnation(actor, before))
        set_weights(actor)
        assert metrics(actor)["incarnation"] == before, kill
    wait_until(lambda: metrics(actor)["attached"] == clients and metrics(actor)["requests"] > 50)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(counts) == clients
    for submitted, right, shared in counts:
        assert submitted == right > 50 and shared
    assert not any(path.exists() for path in directories)  # swept by the one that came after


@pytest.mark.ray
def test_a_worker_killed_with_requests_under_way_leaves_nothing_behind(actor):
    holder = make_worker().remote(actor, "empty")  # no weights: its requests wait
    ray.get(holder.submit.remote(observations(20), 2), timeout=PATIENCE_S)
    wait_until(lambda: metrics(actor)["waiting"] == 2)
    other = connect(actor, "other")
    other.collect(other.submit(observations(5)))
    directory = shared_by(ray.get(actor.pid.remote(), timeout=PATIENCE_S))
    assert len(list(directory.iterdir())) == 6
    os.kill(ray.get(holder.pid.remote(), timeout=PATIENCE_S), signal.SIGKILL)
    wait_until(lambda: metrics(actor)["waiting"] == 0 and metrics(actor)["attached"] == 1)
    wait_until(lambda: len(list(directory.iterdir())) == 3)
    other.collect(other.submit(observations(5)))
    other.close()


def make_worker():
    @ray.remote(num_cpus=0)
    class Worker:
        def __init__(self, actor, agent):
            from inference.lines import through_actor
            from inference.segment import Shape
            from scoundrel_ray.evaluator import AgentEvaluator
            from scoundrel_ray.games.scoundrel import make
            from scoundrel_ray.spec import search_heads

            game = make()
            shape = Shape.of(game.spec, search_heads(game.spec), 2, 100)
            self.evaluator = AgentEvaluator(through_actor(actor, "holder", [agent], 300.0, shape), agent)

        def submit(self, observations, times):
            self.tickets = [self.evaluator.submit(observations) for _ in range(times)]

        def pid(self):
            import os

            return os.getpid()

    return Worker


def wait_until(condition):
    """What the condition gives, once it holds; an actor that is down does not hold."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if got := condition():
                return got
        except ray.exceptions.RayActorError:
            pass
        time.sleep(0.02)
    raise AssertionError("it did not come about")


def incarnation(actor, before):
    """Of the process that took the place of a killed one; "" before it did."""
    now = metrics(actor)["incarnation"]
    return now if now != before else ""
