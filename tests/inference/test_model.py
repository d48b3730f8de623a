"""A network on a device: padding, cuts, exchange of weights, precision, and faults that name themselves."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

from inference.build import Served, make_server
from inference.cpu import fuse
from inference.joint import evaluate
from inference.model import Model, NonFiniteOutput
from scoundrel_ray import rng
from scoundrel_ray.network import Network, WeightsMismatch, make_network, weights
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.spec import Field, Spec, random_observations
from scripts.entry import section
from tests.test_network import NETWORKS, game_of, network_of, shuffle

SPEC = Spec("test", (Field("number", 3, -4, 4, "number"),), actions=2, values=1, most_legal=2)


class Linear(Network):
    """logits: the sum of the observation times weights; what it was asked is kept."""

    def __init__(self, spec: Spec = SPEC) -> None:
        super().__init__(spec)
        self.layer = nn.Linear(spec.observation_size, spec.actions, bias=False)
        self.sizes: list[int] = []
        self.rows: list[torch.Tensor] = []
        nn.init.ones_(self.layer.weight)

    def forward(self, observations):
        self.sizes.append(len(observations))
        self.rows.append(observations)
        logits = self.layer(observations.to(self.layer.weight.dtype)).float()
        return logits, torch.tanh(logits[:, :1])


def ran_as(model):
    """The module that a model runs."""
    return model._active[0]


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (2, [4]), (4, [4]), (5, [6]), (6, [6]), (7, [6, 1]), (15, [6, 6, 4])]
)
def test_batches_are_padded_and_cut_to_the_given_sizes(count, sizes):
    model = Model(Linear(), precision="float32", batch_sizes=(1, 4, 6))
    ran_as(model).sizes.clear()
    observations = random_observations(SPEC, count, seed=count)
    evaluation = model.evaluate(observations)
    assert ran_as(model).sizes == sizes
    assert model.padded_size(count) == sum(sizes)
    np.testing.assert_array_equal(
        evaluation.logits, np.repeat(observations.sum(1, keepdims=True, dtype=np.float32), 2, 1)
    )
    assert evaluation.values.shape == (count, 1)


def test_a_server_never_runs_a_batch_beyond_its_largest(monkeypatch):
    """Neither by padding a full one nor by a request that is larger."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which the server sets
    game, network = game_of("tic_tac_toe"), {**section("network", "residual_mlp"), "width": 8, "blocks": 1}
    ran, padded = [], Model._padded

    def noted(model, observations):
        rows = padded(model, observations)
        ran.append(len(rows))
        return rows

    monkeypatch.setattr(Model, "_padded", noted)
    config = InferenceConfig(max_batch=20, batch_sizes=(1, 8, 16, 64), precision="float32", device="cpu")
    server = make_server({"agent": Served(game.spec, network)}, config)
    try:
        server.set_weights("agent", 1, weights(make_network(network, game.spec)))
        for count in (20, 50):
            evaluate(server, "a", [("agent", random_observations(game.spec, count))])
        metrics = server.metrics()
    finally:
        server.close()
    assert ran == [20, 20, 20, 16]
    assert (metrics["batches"], metrics["padded_leaves"]) == (len(ran), sum(ran))


def test_padding_lies_in_the_fields_range():
    """Zeros may not: an embedding would be read outside of its table."""
    spec = Spec("test", (Field("category", 2, 3, 9, "category"),), 2, 1, 2)
    model = Model(Linear(spec), precision="float32", batch_sizes=(8,))
    model.evaluate(random_observations(spec, 3))
    assert int(ran_as(model).rows[-1].min()) >= 3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_answers_as_the_network_does_by_itself(name, precision):
    network = shuffle(network_of(name))
    observations = random_observations(network.spec, 70)
    evaluation = Model(network, precision=precision, version=4).evaluate(observations)
    plain = copy.deepcopy(network).to(getattr(torch, precision))
    with torch.inference_mode():
        outputs = [output.numpy() for output in plain(torch.from_numpy(observations))]
    loose = {"rtol": 1e-3, "atol": 1e-4} if precision == "float32" else {"rtol": 0.1, "atol": 0.1}
    for answer, output in zip(evaluation.outputs, outputs, strict=True):
        np.testing.assert_allclose(answer, output, **loose)
    assert evaluation.version == 4
    assert next(network.parameters()).dtype == torch.float32, "the given network is left alone"


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_fused_layers_equal_plain_ones(precision):
    plain = nn.Sequential(nn.Linear(40, 48), nn.ReLU(), nn.Sequential(nn.Linear(48, 48), nn.Linear(48, 7, bias=False)))
    plain = plain.to(precision).requires_grad_(False)
    fused = copy.deepcopy(plain)
    try:
        fuse(fused)
        x = torch.randn(64, 40).to(precision)
        got = fused(x)
    except (AttributeError, RuntimeError):
        pytest.skip("this torch or CPU has no such operator")
    assert not any(isinstance(module, nn.Linear | nn.ReLU) for module in fused.modules())
    torch.testing.assert_close(got, plain(x), rtol=2e-2, atol=2e-2)


def test_new_weights_are_taken_whole_or_not_at_all():
    model = Model(Linear(), precision="float32", version=1)
    observations = random_observations(SPEC, 4)
    before = model.evaluate(observations)
    with pytest.raises(WeightsMismatch):
        model.load({"layer.weight": np.zeros((2, 4), np.float32)}, 2)
    again = model.evaluate(observations)
    assert again.version == 1
    np.testing.assert_array_equal(again.logits, before.logits)
    model.load({"layer.weight": np.full((2, 3), 2.0, np.float32)}, 3)
    assert (model.version, model.evaluate(observations).version) == (3, 3)
    np.testing.assert_array_equal(model.evaluate(observations).logits, 2 * before.logits)


def test_no_batch_sees_a_mixture_of_weights():
    model = Model(Linear(), precision="float32", batch_sizes=(1, 2))
    observations = random_observations(SPEC, 11)
    sums = observations.sum(1, keepdims=True, dtype=np.float32)
    done = threading.Event()

    def exchange():
        version = 1
        while not done.is_set():
            model.load({"layer.weight": np.full((2, 3), version % 50, np.float32)}, version)
            version += 1

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        for _ in range(200):
            evaluation = model.evaluate(observations)
            factor = evaluation.version % 50 if evaluation.version else 1
            np.testing.assert_array_equal(evaluation.logits, np.repeat(factor * sums, 2, 1))
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_output_that_is_not_finite_names_agent_and_version(bad):
    model = Model(Linear(), agent="north", precision="float32")
    model.load({"layer.weight": np.array([[1, 1, bad], [1, 1, 1]], np.float32)}, 17)
    observations = np.array([[1, 1, 1], [2, 2, 2]], np.int8)
    with pytest.raises(NonFiniteOutput, match=r"agent north, weights version 17: .* in 2 of 2 rows"):
        model.evaluate(observations)


@pytest.mark.parametrize(
    ("observations", "got"),
    [
        (np.zeros((2, 3), np.float32), r"float32 \[2, 3\]"),
        (np.zeros((2, 4), np.int8), r"int8 \[2, 4\]"),
        (np.zeros(3, np.int8), r"int8 \[3\]"),
    ],
)
def test_observations_of_another_kind_are_refused(observations, got):
    with pytest.raises(ValueError, match=rf"agent agent: observations are {got}, wanted int8 \[B, 3\]"):
        Model(Linear(), precision="float32").evaluate(observations)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "half"}, "precision is 'half', wanted"),
        ({"batch_sizes": ()}, r"batch_sizes is \[\], wanted ascending"),
        ({"batch_sizes": (4, 4)}, r"batch_sizes is \[4, 4\]"),
        ({"batch_sizes": (0, 4)}, r"batch_sizes is \[0, 4\]"),
        ({"device": "gpu7"}, "device: got 'gpu7', which torch cannot use here"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=rf"inference[.:] ?{message}"):
        Model(Linear(), **settings)


def test_the_precision_is_chosen_by_measurement():
    model = Model(network_of("residual_mlp"), precision="auto", batch_sizes=(8,))
    assert model.precision in ("float32", "bfloat16")
    assert model.choice.startswith(f"{model.precision} on cpu, timed at batch 8: float32 ")


@pytest.mark.parametrize(("gain", "chosen"), [(1.05, "float32"), (1.2, "bfloat16")])
def test_bfloat16_must_be_clearly_faster(monkeypatch, gain, chosen):
    def seconds(_model, module, _observations):
        return 1.0 if next(iter(module.state_dict().values())).dtype == torch.float32 else 1.0 / gain

    monkeypatch.setattr(Model, "_seconds", seconds)
    monkeypatch.setattr(Model, "_can_fuse", lambda _model, _precision: False)
    assert Model(network_of("residual_mlp"), precision="auto").precision == chosen


def test_a_batch_of_the_smallest_size_is_timed(monkeypatch):
    timed = []
    monkeypatch.setattr(Model, "_seconds", lambda _model, _module, rows: timed.append(len(rows)) or 0.25)
    model = Model(network_of("residual_mlp"), precision="float32", batch_sizes=(4, 8))
    assert not timed  # who needs it asks for it
    assert model.batch_s == model.batch_s == 0.25
    assert timed == [4]


def test_every_game_gives_observations_that_a_model_takes():
    for name in ("scoundrel", "connect_four", "tic_tac_toe"):
        game = game_of(name)
        network = make_network(
            {"_target_": "scoundrel_ray.networks.residual_mlp.ResidualMLP", "width": 8, "blocks": 1}, game.spec
        )
        state = game.deal(rng.stream(1))
        evaluation = Model(network, precision="float32").evaluate(game.observe(state, game.seat(state))[None])
        assert evaluation.logits.shape == (1, game.actions)
        assert weights(network).keys()
