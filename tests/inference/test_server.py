"""The server around models that answer with what they were asked: replies, weights, errors, counters, the end."""

import threading
from pathlib import Path

import numpy as np
import pytest

from inference.joint import evaluate
from inference.server import InferenceServer, static_sizes
from scoundrel_ray.evaluator import Evaluation, EvaluatorGone
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.settings.build import settings_of
from scoundrel_ray.settings.checks import InvalidConfig
from scripts.entry import section

CONF = Path(__file__).parents[2] / "conf" / "inference"
PATIENCE_S = 300.0  # for what comes in a moment


class Echo:
    """Answers [b, 2b] to a leaf that begins with b, and the weights' number as its value; -1 is an error."""

    choice, batch_s = "as told", 1.0

    def __init__(self):
        self.version = 0
        self.number = np.nan
        self.batches = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)

    def load(self, arrays, version):
        if "number" not in arrays:
            raise ValueError("weights do not fit: number is missing")
        self.number, self.version = float(arrays["number"]), version

    def evaluate(self, observations):
        version, number = self.version, self.number
        self.entered.release()
        assert self.open.wait(PATIENCE_S)
        self.batches.append(len(observations))
        if (observations[:, 0] == -1).any():
            raise RuntimeError(f"bad leaf among {len(observations)}")
        logits = observations[:, :1] * np.array([[1, 2]], dtype=np.float32)
        values = np.full((len(observations), 1), number, dtype=np.float32)
        return Evaluation((logits.astype(np.float32), values), version)

    def padded_size(self, count):
        return -(-count // 8) * 8


class Answers:
    """Collects replies of named requests."""

    def __init__(self):
        self.got = {}
        self._changed = threading.Condition()

    def reply(self, name):
        def reply(answer):
            with self._changed:
                assert name not in self.got
                self.got[name] = answer
                self._changed.notify()

        return reply

    def wait(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.got) >= count, PATIENCE_S)
        return self.got


def leaves(first, count=3):
    return np.full((count, 4), first, dtype=np.int8)


@pytest.fixture
def serve():
    """Makes servers of Echo models and closes them."""
    servers = []

    def make(agents=("x",), ready=True, **settings):
        models = {agent: Echo() for agent in agents}
        servers.append((InferenceServer(models, InferenceConfig(**settings)), models))
        if ready:
            for agent in agents:
                servers[-1][0].set_weights(agent, 1, {"number": 0.25})
        return servers[-1]

    yield make
    for server, models in servers:
        for model in models.values():
            model.open.set()
        server.close()


def answer_of(server, client, agent, observations):
    (answer,) = evaluate(server, client, [(agent, observations)])
    return answer


def held_up(server, model, answers, agent="x"):
    """Occupy the device thread until model.open is set."""
    model.open.clear()
    server.submit("first", agent, leaves(0, 1), answers.reply("first"))
    assert model.entered.acquire(timeout=PATIENCE_S)


def test_an_answer_in_the_order_of_its_leaves(serve):
    server, _ = serve()
    asked = np.arange(20, dtype=np.int8).reshape(5, 4)
    evaluation = answer_of(server, "a", "x", asked)
    np.testing.assert_array_equal(evaluation.logits, asked[:, :1] * [1, 2])
    np.testing.assert_array_equal(evaluation.values, np.full((5, 1), 0.25))
    assert evaluation.version == 1


def test_many_clients_share_a_batch_and_each_gets_its_own(serve):
    server, models = serve(share=0.0)
    answers = Answers()
    held_up(server, models["x"], answers)
    for number in range(1, 7):
        server.submit(f"client-{number}", "x", leaves(number, number), answers.reply(number))
    models["x"].open.set()
    got = answers.wait(7)
    for number in range(1, 7):
        np.testing.assert_array_equal(got[number].logits, leaves(number, number)[:, :1] * [1, 2])
    assert models["x"].batches == [1, 21]


def test_several_threads_have_a_batch_each(serve):
    """And new weights wait for none of those under way, which keep the old."""
    server, models = serve(share=0.0, threads=2)
    answers = Answers()
    held_up(server, models["x"], answers)
    server.submit("second", "x", leaves(2), answers.reply("second"))
    assert models["x"].entered.acquire(timeout=PATIENCE_S)
    server.submit("third", "x", leaves(3), answers.reply("third"))
    assert server.metrics()["waiting"] == 1 and not answers.got
    models["x"].open.set()
    got = answers.wait(3)
    np.testing.assert_array_equal(got["third"].logits, leaves(3)[:, :1] * [1, 2])
    assert models["x"].entered.acquire(timeout=PATIENCE_S)
    metrics = server.metrics()
    assert (metrics["requests"], metrics["batches"], metrics["waiting"]) == (3, 3, 0)
    assert 0 < metrics["busy_s"] <= metrics["alive_s"]

    held_up(server, models["x"], again := Answers())
    server.set_weights("x", 2, {"number": 0.75})
    models["x"].open.set()
    assert again.wait(1)["first"].version == 1
    assert answer_of(server, "a", "x", leaves(1)).version == 2


def test_a_thread_that_ends_ends_them_all(serve, monkeypatch):
    server, _ = serve(threads=3)
    monkeypatch.setattr(server, "_answer", lambda requests: 1 / 0)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    answers = Answers()
    server.submit("a", "x", leaves(1), answers.reply("lost"))
    for thread in server._threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    with pytest.raises(EvaluatorGone, match="a device thread ended: ZeroDivisionError"):
        server.submit("a", "x", leaves(1), answers.reply("late"))


def test_agents_have_models_of_their_own(serve):
    server, models = serve(agents=("x", "y"))
    server.set_weights("y", 7, {"number": 0.5})
    assert answer_of(server, "a", "x", leaves(1)).values[0, 0] == 0.25
    assert answer_of(server, "a", "y", leaves(1)).values[0, 0] == 0.5
    assert server.metrics()["version"] == {"x": 1, "y": 7}
    assert models["x"].batches == models["y"].batches == [3]


def test_requests_wait_for_the_first_weights(serve):
    server, models = serve(agents=("x", "y"), ready=False)
    answers = Answers()
    server.submit("a", "x", leaves(1), answers.reply("a"))
    server.set_weights("y", 1, {"number": 0.5})
    answer_of(server, "b", "y", leaves(1))  # the other agent does not wait for it
    assert not answers.got
    assert not server.has_weights("x")
    assert models["x"].batches == []
    server.set_weights("x", 5, {"number": 0.75})
    assert answers.wait(1)["a"].version == 5
    assert server.has_weights("x")


def test_no_weights_within_the_deadline(serve):
    server, _ = serve(ready=False, request_deadline_s=0.1)
    with pytest.raises(EvaluatorGone, match=r"agent x, no weights yet for x, within 0.1 s, for 3 leaves of a"):
        answer_of(server, "a", "x", leaves(1))
    assert server.metrics()["waiting"] == 0


def test_weights_change_between_batches_alone(serve):
    server, models = serve(share=0.0)
    stop = threading.Event()
    wrong, versions = [], set()

    def ask(client):
        while not stop.is_set():
            evaluation = answer_of(server, client, "x", leaves(1, 5))
            versions.add(evaluation.version)
            if not (evaluation.values == evaluation.version / 4).all():
                wrong.append(evaluation)

    clients = [threading.Thread(target=ask, args=(f"client-{k}",)) for k in range(3)]
    for client in clients:
        client.start()
    for version in range(2, 60):
        server.set_weights("x", version, {"number": version / 4})
        assert answer_of(server, "after", "x", leaves(1)).version == version
    stop.set()
    for client in clients:
        client.join()
    assert not wrong
    assert models["x"].version == 59


def test_weights_set_during_a_batch_count_from_the_next_on(serve):
    server, models = serve()
    answers = Answers()
    held_up(server, models["x"], answers)
    setter = threading.Thread(target=server.set_weights, args=("x", 2, {"number": 0.5}))
    setter.start()
    server.submit("b", "x", leaves(1), answers.reply("second"))
    models["x"].open.set()
    setter.join()
    got = answers.wait(2)
    assert (got["first"].version, got["first"].values[0, 0]) == (1, 0.25)
    answer_of(server, "c", "x", leaves(1))
    assert models["x"].version == 2


def test_weights_that_do_not_fit_leave_the_old_ones(serve):
    server, _ = serve()
    with pytest.raises(ValueError, match="number is missing"):
        server.set_weights("x", 2, {})
    assert answer_of(server, "a", "x", leaves(1)).version == 1


def test_an_error_stays_with_its_request(serve):
    server, models = serve(share=0.0)
    answers = Answers()
    held_up(server, models["x"], answers)
    server.submit("good", "x", leaves(5), answers.reply("good"))
    server.submit("bad", "x", leaves(-1), answers.reply("bad"))
    server.submit("odd", "x", np.zeros((2, 9), dtype=np.int8), answers.reply("odd"))
    models["x"].open.set()
    got = answers.wait(4)
    np.testing.assert_array_equal(got["good"].logits, leaves(5)[:, :1] * [1, 2])
    assert str(got["bad"]) == "bad leaf among 3"
    assert isinstance(got["odd"], Evaluation)  # alone it is as good as any to this model
    assert answer_of(server, "a", "x", leaves(2)).version == 1
    with pytest.raises(RuntimeError, match="bad leaf among 1"):
        answer_of(server, "a", "x", leaves(-1, 1))
    metrics = server.metrics()
    assert (metrics["errors"], metrics["requests"]) == (2, 4)


@pytest.mark.parametrize("first", [1, -1], ids=["answered", "failed"])
def test_a_client_that_asks_again_from_its_reply_has_one_request_under_way(first):
    """Even where a batch failed and each request in it is answered by itself."""
    model, answers, again = Echo(), Answers(), 5
    server = InferenceServer({"x": model}, InferenceConfig(share=0.0), clock=lambda: 0.0)  # nobody is forgotten
    server.set_weights("x", 1, {"number": 0.25})

    def ask(client, leaf, turn=0):
        def reply(answer):
            if turn < again:
                ask(client, leaf, turn + 1)
            answers.reply((client, turn))(answer)

        server.submit(client, "x", leaves(leaf), reply)

    held_up(server, model, answers)
    ask("a", first)
    ask("b", 2)
    model.open.set()
    answers.wait(1 + 2 * (again + 1))
    server.close()
    known = server._batcher._clients
    assert {name: (client.slots(), client.waiting, client.on_device) for name, client in known.items()} == {
        name: (1, 0, 0) for name in ("first", "a", "b")
    }
    assert server.metrics()["errors"] == (0 if first == 1 else again + 1)
    assert model.batches[:2] == [1, 6]


def test_a_reply_that_raises_harms_nobody(serve, caplog):
    server, _ = serve()

    def reply(answer):
        raise RuntimeError("callback")

    server.submit("a", "x", leaves(1), reply)
    assert answer_of(server, "b", "x", leaves(1)).version == 1
    assert "reply to a failed" in caplog.text


def test_unknown_agents_are_refused(serve):
    server, _ = serve(agents=("x", "y"))
    for call in (
        lambda: answer_of(server, "a", "z", leaves(1)),
        lambda: server.set_weights("z", 1, {"number": 1.0}),
    ):
        with pytest.raises(ValueError, match="agent 'z' is not served, only x, y"):
            call()


def test_counters_add_up(serve):
    server, models = serve(share=0.0)
    answers = Answers()
    held_up(server, models["x"], answers)
    for number, count in enumerate((3, 4, 9)):
        server.submit("a", "x", leaves(1, count), answers.reply(number))
    models["x"].open.set()
    answers.wait(4)
    answer_of(server, "a", "x", leaves(1, 64))
    metrics = server.metrics()
    assert models["x"].batches == [1, 16, 64]
    assert {key: metrics[key] for key in ("requests", "errors", "leaves", "batches", "padded_leaves", "waiting")} == {
        "requests": 5,
        "errors": 0,
        "leaves": 81,
        "batches": 3,
        "padded_leaves": 8 + 16 + 64,
        "waiting": 0,
    }
    assert metrics["batch_histogram"] == {"1": 1, "16": 1, "64": 1}
    assert 0.0 < metrics["busy_s"] <= metrics["alive_s"]
    assert metrics["queue_wait_s"] > 0.0
    assert metrics["precision"] == {"x": "as told"}
    assert metrics["incarnation"] == server.metrics()["incarnation"]
    assert metrics["incarnation"] != serve()[0].metrics()["incarnation"]


def test_a_request_that_is_cut_counts_as_so_many_batches(serve):
    server, _ = serve(max_batch=20)
    answer_of(server, "a", "x", leaves(1, 50))
    answer_of(server, "a", "x", leaves(1, 20))
    metrics = server.metrics()
    assert (metrics["requests"], metrics["leaves"], metrics["batches"]) == (2, 70, 4)
    assert metrics["batch_histogram"] == {"16": 1, "32": 3}
    assert metrics["leaves"] / metrics["batches"] <= 20


@pytest.mark.parametrize(
    ("sizes", "max_batch", "kept"),
    [
        ((1, 8, 64), 64, (1, 8, 64)),
        ((1, 8, 64), 63, (1, 8, 63)),
        ((8, 64), 4, (4,)),
        ((1, 8), 64, (1, 8)),
    ],
)
def test_no_size_is_beyond_the_largest_batch(sizes, max_batch, kept):
    assert static_sizes(InferenceConfig(batch_sizes=sizes, max_batch=max_batch)) == kept


def test_leaves_are_counted_by_the_version_that_answered_them(serve):
    server, _ = serve(agents=("x", "y"))
    answer_of(server, "a", "x", leaves(1, 3))
    server.set_weights("x", 7, {"number": 0.5})
    answer_of(server, "a", "x", leaves(1, 4))
    answer_of(server, "b", "x", leaves(1, 5))
    answer_of(server, "b", "y", leaves(1, 6))
    metrics = server.metrics()
    assert metrics["leaves_by_version"] == {"x": {1: 3, 7: 9}, "y": {1: 6}}
    assert sum(sum(by_version.values()) for by_version in metrics["leaves_by_version"].values()) == metrics["leaves"]
    for version in range(8, 15):
        server.set_weights("x", version, {"number": 0.5})
        answer_of(server, "a", "x", leaves(1, version))
    assert server.metrics()["leaves_by_version"]["x"] == {7: 9, **{version: version for version in range(8, 15)}}


def test_waits_and_busy_time_by_a_clock_of_our_own():
    now = [0.0]
    model = Echo()
    server = InferenceServer({"x": model}, InferenceConfig(), clock=lambda: now[0])
    server.set_weights("x", 1, {"number": 1.0})
    answers = Answers()
    held_up(server, model, answers)
    server.submit("b", "x", leaves(1), answers.reply("second"))
    now[0] = 3.0
    model.open.set()
    answers.wait(2)
    server.close()
    metrics = server.metrics()
    assert (metrics["busy_s"], metrics["queue_wait_s"], metrics["alive_s"]) == (3.0, 3.0, 3.0)


def test_weights_that_never_get_their_turn(serve):
    server, models = serve(request_deadline_s=0.1)
    held_up(server, models["x"], Answers())
    with pytest.raises(EvaluatorGone, match=r"version 2 of agent x was not loaded within 0\.1 s"):
        server.set_weights("x", 2, {"number": 0.5})


def test_close_answers_what_waits_and_refuses_the_rest():
    server = InferenceServer({"x": Echo()}, InferenceConfig())  # without weights
    answers = Answers()
    server.submit("a", "x", leaves(1), answers.reply("a"))
    server.submit("b", "x", leaves(1), answers.reply("b"))
    server.close()
    got = answers.wait(2)
    assert all(isinstance(answer, EvaluatorGone) for answer in got.values())
    assert "closed" in str(got["a"])
    with pytest.raises(EvaluatorGone, match="closed"):
        server.submit("a", "x", leaves(1), answers.reply("late"))
    with pytest.raises(EvaluatorGone, match="closed"):
        server.set_weights("x", 1, {"number": 1.0})
    server.close()


def test_close_lets_the_batch_under_way_finish(serve):
    server, models = serve()
    answers = Answers()
    held_up(server, models["x"], answers)
    server.submit("b", "x", leaves(1), answers.reply("second"))
    closer = threading.Thread(target=server.close)
    closer.start()
    with pytest.raises(EvaluatorGone):
        while True:  # until the closer got that far
            server.submit("c", "x", leaves(1), lambda answer: None)
    models["x"].open.set()
    closer.join()
    got = answers.wait(2)
    assert isinstance(got["first"], Evaluation)
    assert isinstance(got["second"], EvaluatorGone)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_settings_in_conf_are_the_defaults(path):
    composed = section("inference", path.stem)
    assert settings_of("inference", composed, InferenceConfig) == InferenceConfig(transport=path.stem)


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("transport", "pigeon", "one of ray, local, shm"),
        ("max_batch", 0, "an integer >= 1"),
        ("deadline_ms", -1.0, "a number from 0"),
        ("share", 1.5, "a number from 0 to 1"),
        ("precision", "int4", "one of auto, float32, bfloat16"),
        ("threads", 0, "an integer >= 1"),
        ("request_deadline_s", 0.0, "a number from 0.1"),
        ("batch_sizes", [], "a list of integers"),
        ("batch_sizes", [8, 8], "an integer >= 9"),
        ("batch_sizes", [1.5], "an integer >= 1"),
        ("device", 3, "str"),
    ],
)
def test_wrong_settings_are_named(key, value, wanted):
    with pytest.raises(InvalidConfig, match=rf"inference\.{key}: got .*, wanted {wanted}"):
        settings_of("inference", {key: value}, InferenceConfig)
