"""The implicit quantile network against a slow transcription, alone and vmapped."""

import math

import numpy as np
import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from scoundrel_ray.network import Inputs, make_network, parameter_count, seeded
from scoundrel_ray.networks.quantile import QuantileNetwork
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import Field, Spec, random_observations
from scoundrel_ray.worlds import treasure_hunt
from scripts.entry import section

SPEC = Spec("test", (Field("codes", 3, 0, 4), Field("far", 2, 0, 9, "number"), Field("flag", 1, 0, 1)), 3, 1, 3)


def network_of(seed=1, **settings):
    return QuantileNetwork(SPEC, **{"width": 6, "cosines": 5, "acting_quantiles": 4, "seed": seed, **settings})


def slow_quantiles(network, observation, tau):
    """One row, one quantile, number by number in float64; [A]."""
    arrays = {name: p.detach().double().numpy() for name, p in network.named_parameters()}
    width, cosines = len(arrays["embedding.0.bias"]), arrays["embedding.0.weight"].shape[1]
    features = arrays["inputs.bias"].copy()
    for place, code in enumerate(observation[:3]):
        features += arrays["inputs.table"][5 * place + code]
    for place, number in enumerate([observation[3] / 9, observation[4] / 9, observation[5]]):
        features += arrays["inputs.weight"][:, place] * number
    features = [max(number, 0.0) for number in features]
    mixed = []
    for unit in range(width):
        total = arrays["embedding.0.bias"][unit]
        for i in range(cosines):
            total += arrays["embedding.0.weight"][unit, i] * math.cos(math.pi * i * tau)
        mixed.append(features[unit] * max(total, 0.0))
    hidden = [max(b + sum(w * m for w, m in zip(row, mixed, strict=True)), 0.0)
              for row, b in zip(arrays["hidden.0.weight"], arrays["hidden.0.bias"], strict=True)]  # fmt: skip
    own = hidden[-width:]
    advantages = [b + sum(w * h for w, h in zip(row, own, strict=True))
                  for row, b in zip(arrays["advantages.weight"], arrays["advantages.bias"], strict=True)]  # fmt: skip
    if network.value is None:
        return advantages
    value = arrays["value.bias"][0] + sum(w * h for w, h in zip(arrays["value.weight"][0], hidden[:width], strict=True))
    return [value + advantage - sum(advantages) / len(advantages) for advantage in advantages]


@pytest.mark.parametrize("dueling", [True, False])
def test_quantiles_equal_a_slow_transcription(dueling):
    network, observations = network_of(dueling=dueling), random_observations(SPEC, 4)
    taus = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    got = network.quantiles(torch.from_numpy(observations), taus)
    assert (got.shape, got.dtype) == ((4, 3, 3), torch.float32)
    for row in range(4):
        for k in range(3):
            wanted = slow_quantiles(network, observations[row], float(taus[row, k]))
            np.testing.assert_allclose(got[row, k].detach().numpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dueling", [True, False])
def test_acting_values_are_means_over_the_midpoints(dueling):
    network, observations = network_of(dueling=dueling), random_observations(SPEC, 5)
    (values,) = network(torch.from_numpy(observations))
    for row in range(5):
        quantiles = [slow_quantiles(network, observations[row], tau) for tau in (0.125, 0.375, 0.625, 0.875)]
        np.testing.assert_allclose(values[row].detach().numpy(), np.mean(quantiles, axis=0), rtol=1e-4, atol=1e-5)


def test_quantiles_in_bfloat16_read_the_angles_exactly():
    """In bfloat16 the last of 64 angles would be off by up to half a radian."""
    network = network_of(width=64, cosines=64)
    with torch.no_grad():  # the last cosine alone counts
        network.embedding[0].weight.zero_()[:, -1] = 1.0
        network.embedding[0].bias.fill_(1.0)
    observations = torch.from_numpy(random_observations(SPEC, 64))
    taus = torch.rand(64, 8, generator=torch.Generator().manual_seed(1))
    exact = network.quantiles(observations, taus)
    rough = network.to(torch.bfloat16).quantiles(observations, taus)
    assert rough.dtype == torch.float32
    assert (exact - rough).abs().mean() < 0.02 * exact.std()


def test_the_treasure_hunts_network_has_as_many_parameters_as_the_known_one_or_a_little_more():
    network = make_network(section("network", "quantile"), treasure_hunt.make().spec)
    assert 332_010 <= parameter_count(network) <= 1.05 * 332_010


@pytest.mark.parametrize("setting", ["width", "cosines", "acting_quantiles"])
def test_wrong_settings_are_named(setting):
    with pytest.raises(InvalidConfig, match=rf"^{setting}: got 0, wanted an integer >= 1"):
        network_of(**{setting: 0})
    with pytest.raises(InvalidConfig, match=r"^dueling: got 1, wanted true or false"):
        network_of(dueling=1)


# Inputs, vmapped, and the gradient of what is looked up.


@pytest.mark.parametrize("kinds", [5, 30])  # few and many rows of a table for each that is chosen
def test_the_gradient_of_looked_up_rows_equals_a_slow_sum(kinds):
    spec = Spec("test", (Field("codes", 3, 0, kinds - 1),), 3, 1, 3)
    with seeded(1):
        inputs = Inputs(spec.observation, 7)
    rows = random_observations(spec, 40)
    wanted, weighing = torch.zeros_like(inputs.table), torch.randn(40, 7, generator=torch.Generator().manual_seed(1))
    for row, weight in zip(rows, weighing, strict=True):
        for place, code in enumerate(row):
            wanted[kinds * place + code] += weight
    (inputs(torch.from_numpy(rows)) * weighing).sum().backward()
    torch.testing.assert_close(inputs.table.grad, wanted)


@pytest.mark.parametrize("own_rows", [True, False])
@pytest.mark.parametrize("kinds", [5, 30])
def test_vmapped_networks_equal_each_alone(own_rows, kinds):
    spec = Spec("test", (Field("codes", 3, 0, kinds - 1), Field("far", 2, 0, 9, "number")), 3, 1, 3)
    networks = [QuantileNetwork(spec, width=6, cosines=5, acting_quantiles=4, seed=seed) for seed in range(3)]
    parameters, buffers = stack_module_state(networks)
    rows = np.stack([random_observations(spec, 6, seed) for seed in range(3)])
    rows = torch.from_numpy(rows if own_rows else rows[0])

    def evaluate(parameters, buffers, rows):
        return functional_call(networks[0], (parameters, buffers), (rows,))[0]

    together = vmap(evaluate, in_dims=(0, 0, 0 if own_rows else None))(parameters, buffers, rows)
    gradients = torch.autograd.grad((together**2).sum(), list(parameters.values()))
    for at, network in enumerate(networks):
        (alone,) = network(rows[at] if own_rows else rows)
        torch.testing.assert_close(together[at], alone)
        own = torch.autograd.grad((alone**2).sum(), list(network.parameters()))
        for wanted, got in zip(own, gradients, strict=True):
            torch.testing.assert_close(got[at], wanted)
