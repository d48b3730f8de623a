"""The ray transport with a real network, real threads and a real kill; and the local one beside it."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import ray

from inference.actor import InferenceActor
from inference.build import Served
from inference.local import LocalEvaluator
from inference.model import Model, NonFiniteOutput
from inference.remote import RemoteEvaluator
from scoundrel_ray.evaluator import AgentEvaluator, EvaluatorGone
from scoundrel_ray.game import Game
from scoundrel_ray.network import make_network, weights
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.spec import random_observations

pytestmark = pytest.mark.ray

GAME = {"_target_": "scoundrel_ray.games.scoundrel.make"}
NETWORK = {"_target_": "scoundrel_ray.networks.residual_mlp.ResidualMLP", "width": 32, "blocks": 1}
CONFIG = InferenceConfig(precision="float32", batch_sizes=(8, 64, 256), device="cpu")
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def cluster():
    ray.init(address="local", include_dashboard=False, num_cpus=2, log_to_driver=False)
    yield
    ray.shutdown()


def network(number=0):
    """A network with outputs that differ from leaf to leaf, and from number to number."""
    built = make_network(NETWORK, build("game", GAME, Game).spec)
    generator = np.random.default_rng(number)
    arrays = {name: generator.normal(0.0, 0.1, a.shape).astype(np.float32) for name, a in weights(built).items()}
    return built, arrays


def in_process(number, version):
    built, arrays = network(number)
    model = Model(built, precision="float32", batch_sizes=CONFIG.batch_sizes)
    model.load(arrays, version)
    return LocalEvaluator(model)


def observations(count, seed=0):
    return random_observations(network()[0].spec, count, seed)


def make_actor(agents=("agent",), config=CONFIG):
    return InferenceActor.options(num_cpus=0, max_restarts=-1, max_concurrency=8).remote(
        dict.fromkeys(agents, Served(build("game", GAME, Game).spec, NETWORK)), config
    )


@pytest.fixture(scope="module")
def actor(cluster):
    made = make_actor(("agent", "other", "empty"))
    for number, agent in enumerate(("agent", "other")):
        ray.get(made.set_weights.remote(agent, 10 + number, network(number)[1]), timeout=PATIENCE_S)
    return made


def asking(actor, client, agent, deadline_s):
    return AgentEvaluator(RemoteEvaluator(actor, client, deadline_s), agent)


def assert_same(got, wanted):
    # Not bit for bit: a leaf may be evaluated in a batch of another size.
    np.testing.assert_allclose(got.logits, wanted.logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.values, wanted.values, rtol=1e-4, atol=1e-5)
    assert got.version == wanted.version


@pytest.mark.parametrize(("number", "agent"), [(0, "agent"), (1, "other")])
@pytest.mark.parametrize("count", [1, 50, 1000])
def test_equals_the_model_in_process(actor, number, agent, count):
    local, remote = in_process(number, 10 + number), asking(actor, "test", agent, PATIENCE_S)
    asked = observations(count)
    ticket = remote.submit(asked)
    wanted = local.collect(local.submit(asked))
    asked[:] = 0  # the array may be reused at once
    assert np.ptp(wanted.logits, axis=0).max() > 0 or count == 1
    answer = remote.collect(ticket)
    assert_same(answer, wanted)
    assert all(output.flags.writeable for output in answer.outputs)  # compiled rules take no others


def test_two_requests_under_way_are_told_apart(actor):
    local, remote = in_process(0, 10), asking(actor, "test", "agent", PATIENCE_S)
    tickets = [remote.submit(observations(30 + seed, seed)) for seed in (1, 2)]
    for seed, ticket in reversed(list(zip((1, 2), tickets, strict=True))):
        assert_same(remote.collect(ticket), local.submit(observations(30 + seed, seed)))


def test_many_clients_at_once(actor):
    local, failures = in_process(0, 10), []
    before = ray.get(actor.metrics.remote(), timeout=PATIENCE_S)

    def ask(client):
        remote = asking(actor, f"client-{client}", "agent", PATIENCE_S)
        try:
            for step in range(10):
                asked = observations(20 + step, 100 * client + step)
                assert_same(remote.collect(remote.submit(asked)), local.submit(asked))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    after = ray.get(actor.metrics.remote(), timeout=PATIENCE_S)
    assert after["requests"] - before["requests"] == 40
    assert after["leaves"] - before["leaves"] == 4 * sum(range(20, 30))
    assert after["incarnation"] == before["incarnation"]


def test_errors_arrive_as_they_were_raised(actor):
    remote = asking(actor, "test", "agent", PATIENCE_S)
    with pytest.raises(ValueError, match=r"observations are int8 \[2, 3\], wanted int8 \[B, 96\]") as caught:
        remote.collect(remote.submit(np.zeros((2, 3), dtype=np.int8)))
    assert type(caught.value) is ValueError
    with pytest.raises(ValueError, match="'nobody' is not served"):
        nobody = asking(actor, "test", "nobody", PATIENCE_S)
        nobody.collect(nobody.submit(observations(1)))
    with pytest.raises(ValueError, match="weights do not fit"):
        ray.get(actor.set_weights.remote("agent", 99, {}), timeout=PATIENCE_S)
    broken = {name: np.full_like(array, np.nan) for name, array in network()[1].items()}
    ray.get(actor.set_weights.remote("other", 12, broken), timeout=PATIENCE_S)
    with pytest.raises(NonFiniteOutput, match="agent other, weights version 12"):
        other = asking(actor, "test", "other", PATIENCE_S)
        other.collect(other.submit(observations(2)))
    assert remote.collect(remote.submit(observations(2))).version == 10


def test_deadline_names_who_waited_for_what(actor):
    remote = asking(actor, "rollout-3", "empty", 0.3)
    ticket = remote.submit(observations(7))
    with pytest.raises(EvaluatorGone, match=r"rollout-3: the inference actor of agent empty .* 0.3 s for 7 leaves"):
        remote.collect(ticket)


def next_incarnation(actor, before):
    """Metrics of the process that took the place of a killed one."""
    for _ in range(600):
        try:
            metrics = ray.get(actor.metrics.remote(), timeout=PATIENCE_S)
        except ray.exceptions.RayActorError:
            metrics = {"incarnation": before}
        if metrics["incarnation"] != before:
            return metrics
        time.sleep(0.1)
    raise AssertionError("the actor did not come back")


def test_a_killed_actor_comes_back_and_is_asked_again(cluster):
    actor, arrays, local = make_actor(), ray.put(network()[1]), in_process(0, 3)
    pid = ray.get(actor.pid.remote(), timeout=PATIENCE_S)
    remote = asking(actor, "early", "agent", PATIENCE_S)
    early = remote.submit(observations(40))  # waits for the first weights
    ray.get(actor.set_weights.remote("agent", 3, arrays), timeout=PATIENCE_S)
    stop, results = threading.Event(), []

    def ask(client):
        mine, wrong = asking(actor, f"client-{client}", "agent", PATIENCE_S), 0
        asked = observations(50, client)
        wanted = local.submit(asked)
        while not stop.is_set():
            tickets = [mine.submit(asked), mine.submit(asked[:7])]  # two under way, as a worker has them
            for ticket, count in zip(tickets, (50, 7), strict=True):
                got = mine.collect(ticket)
                wrong += not np.allclose(got.logits, wanted.logits[:count], rtol=1e-4, atol=1e-5)
                wrong += got.version != 3
        results.append(wrong)

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(3)]
    for thread in threads:
        thread.start()
    assert_same(remote.collect(early), local.submit(observations(40)))
    before = ray.get(actor.metrics.remote(), timeout=PATIENCE_S)
    os.kill(pid, signal.SIGKILL)
    after = next_incarnation(actor, before["incarnation"])
    assert (after["version"], after["requests"]) == ({}, 0)  # nothing is answered by untrained weights
    ray.get(actor.set_weights.remote("agent", 3, arrays), timeout=PATIENCE_S)
    late = remote.submit(observations(9))
    assert_same(remote.collect(late), local.submit(observations(9)))
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert results == [0, 0, 0]
    assert ray.get(actor.metrics.remote(), timeout=PATIENCE_S)["requests"] >= 4
    ray.kill(actor)


def test_an_actor_that_stays_dead_is_given_up(cluster):
    actor = make_actor()
    ray.get(actor.pid.remote(), timeout=PATIENCE_S)
    remote = asking(actor, "rollout-0", "agent", 0.5)
    ticket = remote.submit(observations(5))
    ray.kill(actor)
    with pytest.raises(EvaluatorGone, match=r"rollout-0: the inference actor of agent agent .* 0.5 s for 5 leaves"):
        remote.collect(ticket)
