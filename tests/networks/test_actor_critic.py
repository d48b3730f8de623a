"""An actor and a critic: heads, first weights, towers, and what inference makes of them."""

import numpy as np
import pytest
import torch

from inference.model import Model
from scoundrel_ray.network import load, make_network, parameter_count, weights
from scoundrel_ray.settings.checks import InvalidSetting
from scoundrel_ray.spec import Field, Head, Spec, random_observations
from scripts.entry import section

CODES = Spec("codes", (Field("view", 25, 0, 5), Field("count", 2, 0, 9, "number")), 4, 1, 4)
NUMBERS = Spec("numbers", (Field("speed", 3, -np.inf, np.inf, "number"), Field("angle", 1, -2, 2, "number")), 2, 1, 2,
               dtype="float32")  # fmt: skip
SPECS = pytest.mark.parametrize("spec", [CODES, NUMBERS], ids=["codes", "numbers"])
FORMS = pytest.mark.parametrize("form", [{}, {"separate": False}, {"activation": "relu", "layers": 3}], ids=str)


def network_of(spec, seed=0, **settings):
    return make_network({**section("network", "actor_critic"), **settings}, spec, seed).eval()


def outputs(network, observations):
    with torch.inference_mode():
        return [output.numpy() for output in network(torch.from_numpy(observations))]


@SPECS
@FORMS
def test_heads_are_as_declared(spec, form):
    network = network_of(spec, **form)
    assert network.answers == (Head("logits", (spec.actions,)), Head("value", (1,)))
    for answer, head in zip(outputs(network, random_observations(spec, 7)), network.answers, strict=True):
        assert (answer.shape, answer.dtype) == ((7, *head.shape), np.float32)


@SPECS
@FORMS
def test_an_agent_starts_nearly_uniform_and_values_differ(spec, form):
    logits, value = outputs(network_of(spec, **form), random_observations(spec, 500))
    assert np.abs(logits).max() < 0.1 and logits.std(axis=0).min() > 0
    assert 0.05 < value.std() < 5


@pytest.mark.parametrize("separate", [True, False])
def test_weights_are_orthogonal_with_the_gains_of_the_source(separate):
    network = network_of(NUMBERS, width=16, layers=3, separate=separate)
    for tower in network.towers:
        first, second, third, last = (layer for layer in tower if hasattr(layer, "weight"))
        assert first.weight is not None
        torch.testing.assert_close(first.weight.T @ first.weight, 2.0 * torch.eye(4))
        for hidden in (second, third):
            torch.testing.assert_close(hidden.weight @ hidden.weight.T, 2.0 * torch.eye(16))
        assert not any(layer.bias.any() for layer in (first, second, third, last))
    gains = torch.cat([tower[-1].weight for tower in network.towers]).norm(dim=1)
    torch.testing.assert_close(gains, torch.tensor([0.01, 0.01, 1.0]))


def test_separate_towers_share_nothing():
    network = network_of(CODES)
    network.train()
    network(torch.from_numpy(random_observations(CODES, 5)))[1].sum().backward()
    actor, critic = network.towers
    assert not any(p.grad is not None and p.grad.any() for p in actor.parameters())
    assert all(p.grad is not None and p.grad.any() for p in critic.parameters())
    assert parameter_count(network_of(CODES, separate=False)) < parameter_count(network)


@SPECS
@FORMS
def test_every_entry_is_read_and_every_row_stands_alone(spec, form):
    network, base = network_of(spec, **form), random_observations(spec, 9)
    whole = outputs(network, base)
    for entry in range(spec.observation_size):
        changed = base.copy()
        changed[0, entry] = base[0, entry] + 1 if base[0, entry] < 1 else base[0, entry] - 1
        for before, after in zip(whole, outputs(network, changed), strict=True):
            assert (before[0] != after[0]).any(), entry
            np.testing.assert_allclose(before[1:], after[1:], atol=1e-6)


@SPECS
def test_first_weights_depend_on_the_seed_alone(spec):
    torch.manual_seed(1)
    one, drawn = weights(network_of(spec, seed=5)), torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == drawn, "building a network draws from torch's own stream"
    two, other = weights(network_of(spec, seed=5)), weights(network_of(spec, seed=6))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert any(not np.array_equal(one[name], other[name]) for name in one)


@SPECS
@FORMS
def test_weights_travel_as_arrays(spec, form):
    source, target = network_of(spec, **form), network_of(spec, seed=9, **form)
    load(target, weights(source))
    observations = random_observations(spec, 9)
    for a, b in zip(outputs(source, observations), outputs(target, observations), strict=True):
        np.testing.assert_array_equal(a, b)


@SPECS
@FORMS
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_inference_answers_what_the_network_does(spec, form, precision):
    network, observations = network_of(spec, **form), random_observations(spec, 40)
    answers = Model(network, precision=precision, batch_sizes=(64,)).evaluate(observations).outputs
    for got, wanted in zip(answers, outputs(network, observations), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5 if precision == "float32" else 0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, r"network\.width: got 0, wanted an integer >= 1"),
        ({"layers": 0}, r"network\.layers: got 0, wanted an integer >= 1"),
        ({"activation": "gelu"}, r"network\.activation: got 'gelu', wanted one of relu, tanh"),
        ({"separate": 1}, r"network\.separate: got 1, wanted true or false"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(InvalidSetting, match=message):
        network_of(CODES, **settings)
