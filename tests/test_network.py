"""Every network that searches ask, of conf/network: shapes, ranges, rows that stand alone, seeds, weights exchanged."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scoundrel_ray.game import Game
from scoundrel_ray.network import Inputs, WeightsMismatch, load, make_network, parameter_count, seeded, weights
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import Field, Spec, random_observations
from scripts.entry import CONF, section

NETWORKS = sorted({path.stem for path in Path(CONF, "network").glob("*.yaml")} - {"actor_critic"})  # has its own tests
OF_SEARCHES = [name for name in NETWORKS if name != "quantile"]
GAMES = sorted(path.stem for path in Path(CONF, "game").glob("*.yaml"))


def game_of(name):
    return build("game", section("game", name), Game)


def network_of(name, game="scoundrel", **settings):
    return make_network({**section("network", name), **settings}, game_of(game).spec).eval()


def outputs(network, observations):
    with torch.inference_mode():
        return [output.numpy() for output in network(torch.from_numpy(observations))]


def shuffle(network, seed=3):
    """Weights away from their start, where both outputs are zero whatever the input."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5)
    return network


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_types_and_ranges(name, game):
    rules, network = game_of(game), shuffle(network_of(name, game))
    answers = outputs(network, random_observations(rules.spec, 7))
    for answer, head in zip(answers, network.answers, strict=True):
        assert (answer.shape, answer.dtype) == ((7, *head.shape), np.float32)
        assert np.isfinite(answer).all()
    if name in OF_SEARCHES:
        assert network.answers == (("logits", (rules.actions,)), ("values", (rules.seats,)))
        assert (np.abs(answers[1]) <= 1).all()


@pytest.mark.parametrize("name", OF_SEARCHES)
def test_play_starts_uniform_and_values_even(name):
    logits, values = outputs(network_of(name), random_observations(game_of("scoundrel").spec, 5))
    assert not logits.any() and not values.any()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_depends_on_itself_alone(name):
    network = shuffle(network_of(name))
    observations = random_observations(game_of("scoundrel").spec, 33)
    together = outputs(network, observations)
    for row in (0, 16, 32):
        for whole, alone in zip(together, outputs(network, observations[row : row + 1]), strict=True):
            np.testing.assert_allclose(whole[row], alone[0], rtol=1e-3, atol=1e-4)
    other = random_observations(game_of("scoundrel").spec, 33, seed=1)
    assert np.abs(outputs(network, other)[0] - together[0]).max() > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_every_entry_of_an_observation_is_read(name):
    network, observation = shuffle(network_of(name)), game_of("scoundrel").observation
    base = random_observations(game_of("scoundrel").spec, 1)
    at = 0
    for field in observation:
        for entry in range(at, at + field.size):
            changed = base.copy()
            changed[0, entry] = field.low + (changed[0, entry] - field.low + 1) % (field.high - field.low + 1)
            assert (outputs(network, changed)[0] != outputs(network, base)[0]).any(), (field.name, entry - at)
        at += field.size


@pytest.mark.parametrize("name", NETWORKS)
def test_first_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(1)
    one, stream = weights(network_of(name, seed=5)), torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == stream, "building a network draws from torch's own stream"
    two, other = weights(network_of(name, seed=5)), weights(network_of(name, seed=6))
    assert one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)
    assert any(not np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_is_close_and_answers_in_float32(name):
    network = shuffle(network_of(name))
    observations = random_observations(game_of("scoundrel").spec, 64)
    exact = outputs(network, observations)
    rough = outputs(network.to(torch.bfloat16), observations)
    for a, b in zip(exact, rough, strict=True):
        assert b.dtype == np.float32
        assert np.abs(a - b).mean() < 0.05 * max(np.abs(a).mean(), 0.05)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_travel_as_arrays(name):
    source, target = shuffle(network_of(name)), network_of(name, seed=9)
    arrays = weights(source)
    assert all(array.dtype == np.float32 for array in arrays.values())
    assert sum(array.size for array in arrays.values()) == parameter_count(source)
    for array in arrays.values():
        array.setflags(write=False)  # as they come out of shared memory
    load(target, arrays)
    observations = random_observations(game_of("scoundrel").spec, 9)
    for a, b in zip(outputs(source, observations), outputs(target, observations), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_are_a_copy():
    network = network_of("residual_mlp")
    arrays = weights(network)
    shuffle(network)
    assert any(not np.array_equal(arrays[key], now) for key, now in weights(network).items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("value.bias"), r"ResidualMLP: value\.bias is missing, wanted \(1,\)"),
        (lambda a: a.update(extra=np.zeros(3, np.float32)), r"extra is \(3,\), wanted no such array"),
        (lambda a: a.update({"value.bias": np.zeros(2, np.float32)}), r"value\.bias is \(2,\), wanted \(1,\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(change, message):
    network = network_of("residual_mlp")
    before = weights(network)
    arrays = weights(shuffle(network_of("residual_mlp")))
    change(arrays)
    with pytest.raises(WeightsMismatch, match=message):
        load(network, arrays)
    assert all(np.array_equal(before[key], now) for key, now in weights(network).items())


@pytest.mark.parametrize(
    ("target", "settings", "message"),
    [
        ("residual_mlp.ResidualMLP", {"width": 0, "blocks": 1}, r"^network\.width: got 0, wanted an integer >= 1"),
        (
            "card_transformer.CardTransformer",
            {"width": 10, "layers": 1, "heads": 4},
            r"^network\.width: got 10, wanted a multiple of heads, 4",
        ),
        ("residual_mlp.ResidualMLP", {"width": 8}, r"^network: .* missing a required argument: 'blocks'"),
    ],
)
def test_wrong_settings_are_one_line(target, settings, message):
    with pytest.raises(InvalidConfig, match=message) as caught:
        make_network({"_target_": f"scoundrel_ray.networks.{target}", **settings}, game_of("tic_tac_toe").spec)
    assert "\n" not in str(caught.value)


def test_inputs_equal_a_linear_layer_over_one_hot_rows():
    observation = (
        Field("count", 2, -3, 9, "number"),
        Field("colour", 3, 1, 4, "category"),
        Field("flag", 4, 0, 1, "category"),
        Field("skipped", 2, 0, 5, "category"),
        Field("where", 2, -1, 2, "category"),
    )
    with seeded(2):
        inputs = Inputs(observation, 8, chosen=["count", "colour", "flag", "where"])
    rows = random_observations(Spec("test", observation, 1, 1, 1), 50)
    parts, at = [], 0
    for field in observation:
        entries = torch.from_numpy(rows[:, at : at + field.size].astype(np.int64)) - field.low
        at += field.size
        if field.name != "skipped":
            classes = field.high - field.low + 1
            scaled = field.kind == "number" or classes == 2
            parts.append(
                (scaled, entries / (classes - 1) if scaled else F.one_hot(entries, classes).flatten(1).float())
            )
    numbers = torch.cat([part for scaled, part in parts if scaled], dim=1)
    one_hot = torch.cat([part for scaled, part in parts if not scaled], dim=1)
    assert inputs.weight is not None and inputs.table is not None
    wanted = numbers @ inputs.weight.T + one_hot @ inputs.table + inputs.bias
    torch.testing.assert_close(inputs(torch.from_numpy(rows)), wanted)


def test_the_large_network_has_about_five_million_parameters():
    assert 4.5e6 < parameter_count(network_of("residual_mlp_large")) < 5.5e6
