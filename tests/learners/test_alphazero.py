"""AlphaZero's losses against a slow transcription, what a step may and may not change, and going on bit for bit."""

import math

import numpy as np
import pytest
import torch

from learners.alphazero import AlphaZero, AlphaZeroConfig, losses
from learners.learner import NonFiniteLoss
from scoundrel_ray.experience.rows import decision_dtype
from scoundrel_ray.network import WeightsMismatch, weights
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import random_observations
from tests.test_network import game_of, network_of, shuffle

CPU = torch.device("cpu")


def random_rows(game, count, seed=0):
    """Rows as rollouts give them: between one and all legal actions, some targets exactly 0."""
    generator = np.random.default_rng(seed)
    rows = np.zeros(count, decision_dtype(game.spec))
    rows["observation"] = random_observations(game.spec, count, seed)
    rows["actions"] = -1
    for row in rows:
        legal = np.sort(generator.choice(game.actions, generator.integers(1, game.max_legal + 1), replace=False))
        row["actions"][: len(legal)] = legal
        visits = generator.integers(0, 5, len(legal))
        visits[generator.integers(len(legal))] += 1
        row["policy"][: len(legal)] = visits / visits.sum()
    rows["value"] = generator.uniform(-1, 1, rows["value"].shape)
    return rows


def learner_of(game="connect_four", seed=1, **settings):
    network = shuffle(network_of("residual_mlp", game, width=16, blocks=1, value_width=8), seed)
    return AlphaZero(network, AlphaZeroConfig(device="cpu", **{"warmup_steps": 0, **settings}))


@pytest.mark.parametrize("game", ["scoundrel", "connect_four", "tic_tac_toe"])
def test_losses_equal_a_slow_transcription(game):
    network, rows = shuffle(network_of("residual_mlp", game)), random_rows(game_of(game), 40)
    got = {name: value.item() for name, value in losses(network, rows, CPU).items()}
    with torch.inference_mode():
        logits, values = (out.double().numpy() for out in network(torch.from_numpy(rows["observation"].copy())))
    wanted = dict.fromkeys(got, 0.0)
    for row, logit, value in zip(rows, logits, values, strict=True):
        legal = [action for action in row["actions"] if action >= 0]
        total = sum(math.exp(logit[action]) for action in legal)
        for place, action in enumerate(legal):
            probability, target = math.exp(logit[action]) / total, float(row["policy"][place])
            wanted["policy_loss"] -= target * math.log(probability) / len(rows)
            wanted["policy_entropy"] -= probability * math.log(probability) / len(rows)
            wanted["target_entropy"] -= target * math.log(target) / len(rows) if target else 0.0
        for seat in range(len(value)):
            wanted["value_loss"] += (value[seat] - row["value"][seat]) ** 2 / len(rows) / len(value)
            wanted["value_error"] += abs(value[seat] - row["value"][seat]) / len(rows) / len(value)
    assert got == pytest.approx(wanted, rel=1e-4)


def test_illegal_actions_get_no_gradient():
    game = game_of("connect_four")
    learner, rows = learner_of(), random_rows(game, 30)
    rows["actions"][:, -1] = -1
    rows["actions"][rows["actions"] == 6] = -1
    rows["actions"] = -np.sort(-rows["actions"], axis=1)
    rows["policy"] = (rows["actions"] >= 0) / np.maximum((rows["actions"] >= 0).sum(1, keepdims=True), 1)
    assert (rows["actions"] != 6).all()
    network = learner._network
    losses(network, rows, CPU)["policy_loss"].backward()
    gradient = network.heads.weight.grad
    assert not gradient[6].any() and gradient[0].any()


def test_learns_what_it_is_shown():
    learner, rows = learner_of(learning_rate=0.01), random_rows(game_of("connect_four"), 64)
    first = learner.step(rows)
    for _ in range(300):
        last = learner.step(rows)
    assert last["policy_loss"] - last["target_entropy"] < 0.2 * (first["policy_loss"] - first["target_entropy"])
    assert last["value_error"] < 0.3 * first["value_error"]
    assert learner.version == 301


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_goes_on_bit_for_bit_from_a_checkpoint(tmp_path, average):
    blocks = [random_rows(game_of("connect_four"), 32, seed) for seed in range(8)]
    learner = learner_of(average=average, warmup_steps=6, decay_steps=10)
    for rows in blocks[:4]:
        learner.step(rows)
    path = checkpoint.save(tmp_path, {"learner": learner.state()})
    handed_out = learner.weights()
    rest = [learner.step(rows) for rows in blocks[4:]]
    other = learner_of(seed=2, average=average, warmup_steps=6, decay_steps=10)
    other.restore(checkpoint.load(path)["learner"])
    assert other.version == 4
    assert_equal(other.weights(), handed_out)
    assert [other.step(rows) for rows in blocks[4:]] == rest
    assert_equal(other.weights(), learner.weights())
    assert_equal(weights(other._network), weights(learner._network))


def assert_equal(got, wanted):
    assert got.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(got[name], wanted[name])


def test_a_state_does_not_change_with_later_steps():
    learner, rows = learner_of(average=0.5), random_rows(game_of("connect_four"), 32)
    learner.step(rows)
    state, handed_out = learner.state(), learner.weights()
    copies = {name: array.copy() for name, array in state["weights"].items()}
    moments = {key: {n: v.copy() for n, v in moment.items()} for key, moment in state["moments"].items()}
    averages = {name: array.copy() for name, array in handed_out.items()}
    learner.step(rows)
    assert_equal(state["weights"], copies)
    assert_equal(handed_out, averages)
    for key, moment in moments.items():
        assert_equal(state["moments"][key], moment)


def test_a_state_of_another_network_is_refused():
    with pytest.raises(WeightsMismatch):
        learner_of().restore(learner_of("tic_tac_toe").state())


@pytest.mark.parametrize(("column", "part"), [("value", "value_loss"), ("policy", "policy_loss")])
def test_a_loss_that_is_not_finite_changes_nothing(column, part):
    learner, rows = learner_of(), random_rows(game_of("connect_four"), 32)
    learner.step(rows)
    before = learner.state()
    bad = rows.copy()
    bad[column][3] = np.nan
    with pytest.raises(NonFiniteLoss, match=rf"{part} is nan at step 1; the weights are untouched"):
        learner.step(bad)
    after = learner.state()
    assert after["steps"] == before["steps"]
    assert_equal(after["weights"], before["weights"])
    learner.step(rows)


def test_long_gradients_are_scaled_down():
    rows = random_rows(game_of("connect_four"), 32)
    rows["value"] = 1.0
    learner = learner_of(max_gradient_norm=1e-3)
    assert learner.step(rows)["gradient_norm"] > 1e-3, "told before clipping"
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in learner._network.parameters()))
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_the_value_weighs_in_the_loss():
    told = learner_of(value_weight=0.25).step(random_rows(game_of("connect_four"), 32))
    assert told["loss"] == pytest.approx(told["policy_loss"] + 0.25 * told["value_loss"])


def test_the_rate_rises_then_falls():
    learner, rows = (
        learner_of(learning_rate=0.01, warmup_steps=4, decay_steps=2),
        random_rows(game_of("connect_four"), 8),
    )
    rates = [learner.step(rows)["learning_rate"] for _ in range(9)]
    wanted = [0.0025, 0.005, 0.0075, 0.01, *(0.01 / math.sqrt(1 + beyond / 2) for beyond in range(5))]
    assert rates == pytest.approx(wanted)


def test_weight_decay_is_of_matrices_alone():
    decaying = {p.ndim > 1: group["weight_decay"] for group in learner_of(weight_decay=0.5)._optimiser.param_groups
                for p in group["params"]}  # fmt: skip
    assert decaying == {True: 0.5, False: 0.0}


def test_the_average_lies_between_start_and_end():
    learner, rows = learner_of(average=0.99, learning_rate=0.01), random_rows(game_of("connect_four"), 32)
    start = weights(learner._network)
    for _ in range(30):
        learner.step(rows)
    end, average = weights(learner._network), learner.weights()
    moved = {name: np.abs(end[name] - start[name]).sum() for name in start}
    left = {name: np.abs(end[name] - average[name]).sum() for name in start}
    assert 0 < sum(left.values()) < sum(moved.values())


def test_the_average_equals_a_slow_transcription():
    """Number by number, over steps at which the early averages still forget the start sooner and over some after."""
    learner, rows = learner_of(average=0.3, learning_rate=0.05), random_rows(game_of("connect_four"), 32)
    wanted = {name: array.astype(np.float64) for name, array in weights(learner._network).items()}
    decays = []
    for n in range(1, 9):
        learner.step(rows)
        decays.append(min(0.3, n / (n + 10)))
        fresh = weights(learner._network)
        for name, average in wanted.items():
            for place in np.ndindex(average.shape):
                average[place] = decays[-1] * average[place] + (1 - decays[-1]) * float(fresh[name][place])
        got = learner.weights()
        assert got.keys() == wanted.keys()
        for name, average in wanted.items():
            np.testing.assert_allclose(got[name], average, rtol=1e-5, atol=1e-6, err_msg=f"{name} after {n} steps")
    assert decays[0] < decays[3] < 0.3 == decays[4] == decays[7]


@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [
        ("batch_size", 0, "an integer >= 1"),
        ("batch_size", 2.5, "an integer >= 1"),
        ("learning_rate", 0.0, "a number from 1e-09"),
        ("weight_decay", -1.0, "a number from 0"),
        ("warmup_steps", -1, "an integer >= 0"),
        ("average", 1.0, "a number from 0"),
        ("max_gradient_norm", 0.0, "a number from 1e-06"),
    ],
)
def test_wrong_settings_are_named(setting, value, wanted):
    with pytest.raises(InvalidConfig, match=rf"^{setting}: got .*{wanted}"):
        AlphaZeroConfig(**{setting: value})


def test_an_unknown_device_is_named():
    with pytest.raises(InvalidConfig, match=r"^device: got 'gpu7'"):
        AlphaZero(network_of("residual_mlp"), AlphaZeroConfig(device="gpu7"))
