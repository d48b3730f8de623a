"""PPO's batches and losses against slow transcriptions, what a step may and may not change, going on bit for bit."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from learners.learner import Learner, LearnerSettings, NonFiniteLoss
from learners.ppo import PPO, PPOConfig, StaleRows
from learners.ppo_loss import Batch, log_policy, losses
from scoundrel_ray.experience.rows import fragment_dtype
from scoundrel_ray.experience.scale import MEMORY
from scoundrel_ray.network import WeightsMismatch, make_network
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.settings.build import build, check_members
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting
from scoundrel_ray.spec import HERE, TERMINATED, TRUNCATED, Field, Spec, random_observations
from scripts.entry import section

SPEC = Spec("toy", (Field("place", 3, 0, 5), Field("count", 2, 0, 9, "number")), 4, 1, 4, value_range=(-1e3, 1e3))
NUMBERS = Spec("toy", (Field("speed", 3, -np.inf, np.inf, "number"),), 4, 1, 4, dtype="float32")
LENGTH = 6


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads cost more than networks this small have to share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network_of(spec=SPEC, seed=1, **settings):
    return make_network({**section("network", "actor_critic"), "width": 16, **settings}, spec, seed)


def learner_of(spec=SPEC, seed=1, **settings):
    """One that does all its epochs, however far from the old policy."""
    given = {"length": LENGTH, "minibatch": 32, "target_kl": None, "device": "cpu"}
    return PPOConfig(**{**given, **settings}).make(network_of(spec, seed), seed)


def random_fragments(count, spec=SPEC, seed=0, version=0, length=LENGTH):
    """Fragments of all lengths and ends; in every step one to all actions are allowed."""
    dice = np.random.default_rng(seed)
    rows = np.zeros(count, fragment_dtype(spec, length))
    rows["steps"] = dice.integers(1, length + 1, count)
    rows["end"] = dice.choice([HERE, TERMINATED, TRUNCATED], count)
    for i, row in enumerate(rows):
        steps = row["steps"]
        row["observations"][: steps + 1] = random_observations(spec, steps + 1, seed * 1000 + i)
        for t in range(steps):
            allowed = dice.choice(spec.actions, dice.integers(1, spec.actions + 1), replace=False)
            row["masks"][t, allowed] = 1
            row["actions"][t] = allowed[0]
        row["log_probabilities"][:steps] = dice.uniform(-2.5, -0.1, steps)
        row["rewards"][:steps] = dice.normal(3, 2, steps)
        row["versions"][:steps] = version
    return rows


def answers(network, observations):
    with torch.inference_mode():
        logits, value = network(torch.from_numpy(np.ascontiguousarray(observations)))
    return logits.double().numpy(), value[:, 0].double().numpy()


def log_softmax(logits, mask):
    total = sum(math.exp(logit) for logit, allowed in zip(logits, mask, strict=True) if allowed)
    return [logit - math.log(total) if allowed else -math.inf for logit, allowed in zip(logits, mask, strict=True)]


def as_sampled(rows, network):
    """The log-probabilities that a worker would have sent, had it acted with the network."""
    for row in rows:
        logits, _ = answers(network, row["observations"])
        for t in range(row["steps"]):
            row["log_probabilities"][t] = log_softmax(logits[t], row["masks"][t])[row["actions"][t]]
    return rows


def test_it_is_a_learner():
    settings = build("learner", section("learner", "ppo"), LearnerSettings)
    check_members("learner", settings.make(network_of(), 0), Learner)
    assert settings.row_dtype(SPEC) == fragment_dtype(SPEC, 128)
    wanted = {"_target_": "scoundrel_ray.experience.behaviours.Sampled", "length": 128, "cut": True}
    assert isinstance(settings, PPOConfig) and settings.behaviour == wanted


# What is made of fragments.


def slow_batch(rows, network, config, mean, deviation):
    """Old log-probabilities, weights, advantages and targets of every step, number by number; not normalised."""
    found = []
    for row in rows:
        steps, last = int(row["steps"]), row["end"] == TERMINATED
        logits, values = answers(network, row["observations"][: steps + 1])
        values = [deviation * v + mean for v in values]
        values[steps] = 0.0 if last else values[steps]
        own = [log_softmax(logits[t], row["masks"][t])[row["actions"][t]] for t in range(steps)]
        sent = [float(p) for p in row["log_probabilities"][:steps]]
        bounded = config.on_policy == "bounded"
        ratios = [math.exp(a - b) if bounded else 1.0 for a, b in zip(own, sent, strict=True)]
        deltas = [float(row["rewards"][t]) + config.discount * values[t + 1] - values[t] for t in range(steps)]
        for s in range(steps):
            traces, target, advantage = 1.0, values[s], 0.0
            for t in range(s, steps):
                target += traces * min(ratios[t], config.rho_clip) * deltas[t]
                traces *= config.discount * config.gae_lambda * min(ratios[t], config.c_clip)
            traces = 1.0
            for t in range(s, steps):
                advantage += traces * (deltas[t] if t == s else min(ratios[t], config.rho_clip) * deltas[t])
                traces *= config.discount * config.gae_lambda * (1.0 if t == s else min(ratios[t], config.c_clip))
            old = own[s] if bounded else sent[s]
            found.append((old, min(ratios[s], config.rho_clip) if bounded else 1.0, advantage, target))
    return np.array(found)


@pytest.mark.parametrize("spec", [SPEC, NUMBERS], ids=["codes", "numbers"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gae_lambda": 1.0, "discount": 0.8},
        {"on_policy": "bounded"},
        {"on_policy": "bounded", "rho_clip": 2.0, "c_clip": 0.5},
    ],
    ids=str,
)
def test_a_batch_equals_a_slow_transcription(spec, settings):
    learner, rows = learner_of(spec, normalise_advantages=False, **settings), random_fragments(30, spec)
    learner._scale.restore([7.0, 55.0, 1.0])  # of earlier batches: mean 7, variance 6
    wanted = slow_batch(rows, learner._network, learner._config, 7.0, 6.0**0.5)
    batch, told = learner._prepare(rows)
    assert len(batch.actions) == told["own_steps"] == rows["steps"].sum() == len(wanted)
    for got, column in zip((batch.old, batch.weight, batch.advantages), wanted.T, strict=False):
        np.testing.assert_allclose(got.numpy(), column, rtol=1e-4, atol=1e-4)
    mean, square = MEMORY * 7.0 + (1 - MEMORY) * wanted[:, 3].mean(), MEMORY * 55.0
    weight = MEMORY + (1 - MEMORY)
    square += (1 - MEMORY) * (wanted[:, 3] ** 2).mean()
    deviation = (square / weight - (mean / weight) ** 2) ** 0.5
    np.testing.assert_allclose(batch.targets.numpy() * deviation + mean / weight, wanted[:, 3], rtol=1e-4, atol=1e-4)
    assert told["value_mean"] == pytest.approx(mean / weight, rel=1e-4)
    assert told["value_deviation"] == pytest.approx(deviation, rel=1e-4)


def test_steps_stay_with_what_belongs_to_them():
    rows = random_fragments(20)
    batch, _ = learner_of()._prepare(rows)
    at = 0
    for row in rows:
        for t in range(row["steps"]):
            np.testing.assert_array_equal(batch.observations[at].numpy(), row["observations"][t])
            np.testing.assert_array_equal(batch.masks[at].numpy(), row["masks"][t] == 1)
            assert batch.actions[at] == row["actions"][t] and batch.old[at] == row["log_probabilities"][t]
            at += 1
    assert at == len(batch.actions)


def test_advantages_are_normalised_over_the_batch():
    rows = random_fragments(30)
    plain, _ = learner_of(normalise_advantages=False)._prepare(rows)
    batch, _ = learner_of()._prepare(rows)
    raw = plain.advantages.double().numpy()
    np.testing.assert_allclose(batch.advantages.numpy(), (raw - raw.mean()) / raw.std(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("on_policy", ["strict", "bounded"])
def test_padding_is_never_read(on_policy):
    rows = random_fragments(40)
    dirty = rows.copy()
    for row in dirty:
        steps = row["steps"]
        row["observations"][steps + 1 :] = 5
        row["masks"][steps:], row["actions"][steps:], row["versions"][steps:] = 1, 3, 77
        row["log_probabilities"][steps:], row["rewards"][steps:] = np.nan, np.nan
    clean_learner, dirty_learner = (learner_of(on_policy=on_policy) for _ in range(2))
    assert clean_learner.step(rows) == dirty_learner.step(dirty)
    assert_equal(clean_learner.weights(), dirty_learner.weights())


def test_values_may_stay_in_the_rewards_units():
    learner, rows = learner_of(normalise_returns=False, normalise_advantages=False), random_fragments(30)
    wanted = slow_batch(rows, learner._network, learner._config, 0.0, 1.0)
    batch, _ = learner._prepare(rows)
    np.testing.assert_allclose(batch.targets.numpy(), wanted[:, 3], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(batch.advantages.numpy(), wanted[:, 2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_size_of_rewards_changes_nothing(scale):
    learners = [learner_of() for _ in range(2)]
    blocks = [random_fragments(40, seed=seed, version=seed) for seed in range(3)]
    for learner, times in zip(learners, (1.0, scale), strict=True):
        for rows in blocks:
            sized = rows.copy()
            sized["rewards"] *= times
            learner.step(sized)
    for name, array in learners[0].weights().items():
        np.testing.assert_allclose(learners[1].weights()[name], array, rtol=1e-3, atol=1e-3)


# The losses.


class Fixed(nn.Module):
    """Answers what it holds, whatever it is asked."""

    def __init__(self, logits, value):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float64))
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))

    def forward(self, _observations):
        return self.logits, self.value[:, None]


def random_batch(count=50, actions=5, seed=0):
    """A network that answers a batch, and the batch: ratios far and near, allowed actions one to all."""
    dice = np.random.default_rng(seed)
    logits, value = dice.normal(0, 1, (count, actions)), dice.normal(0, 1, count)
    masks = dice.random((count, actions)) < 0.6
    chosen = dice.integers(0, actions, count)
    masks[np.arange(count), chosen] = True
    network = Fixed(logits, value)
    own = log_policy(network.logits.detach(), torch.from_numpy(masks)).numpy()[np.arange(count), chosen]
    batch = Batch(
        torch.zeros(count, 1), torch.from_numpy(masks), torch.from_numpy(chosen),
        torch.from_numpy(own + dice.normal(0, 0.3, count)), torch.from_numpy(dice.uniform(0.2, 1.0, count)),
        torch.from_numpy(dice.normal(0, 1, count)), torch.from_numpy(dice.normal(0, 1, count)),
        torch.from_numpy(value + dice.normal(0, 0.3, count)),
    )  # fmt: skip
    return network, batch


@pytest.mark.parametrize("value_clip", [None, 0.2])
def test_losses_equal_a_slow_transcription(value_clip):
    network, batch = random_batch()
    got = {name: value.item() for name, value in losses(network, batch, 0.2, value_clip).items()}
    wanted, count = dict.fromkeys(got, 0.0), len(batch.actions)
    for i in range(count):
        own = log_softmax(network.logits[i].tolist(), batch.masks[i].tolist())
        difference = own[int(batch.actions[i])] - float(batch.old[i])
        ratio, advantage = math.exp(difference), float(batch.advantages[i])
        near = min(max(ratio, 0.8), 1.2)
        wanted["policy_loss"] -= float(batch.weight[i]) * min(ratio * advantage, near * advantage) / count
        value, before, target = network.value[i].item(), float(batch.values[i]), float(batch.targets[i])
        error = (value - target) ** 2
        if value_clip is not None:
            error = max(error, (min(max(value, before - 0.2), before + 0.2) - target) ** 2)
        wanted["value_loss"] += error / 2 / count
        wanted["entropy"] -= sum(math.exp(p) * p for p in own if p > -math.inf) / count
        wanted["kl"] += (ratio - 1 - difference) / count
        wanted["clip_share"] += (abs(ratio - 1) > 0.2) / count
    assert got == pytest.approx(wanted, rel=1e-9)
    assert 0.1 < got["clip_share"] < 0.9


@pytest.mark.parametrize(
    ("ratio", "advantage", "moves"),
    [
        (1.0, 1.0, True),
        (1.0, -1.0, True),
        (1.5, 1.0, False),  # likely enough already
        (1.5, -1.0, True),  # far too likely, and to be less so
        (0.5, 1.0, True),
        (0.5, -1.0, False),
    ],
)
def test_the_clip_stops_what_leads_further_away_alone(ratio, advantage, moves):
    network = Fixed([[0.3, -0.2, 0.1]], [0.0])
    masks, action = torch.tensor([[True, True, False]]), torch.tensor([0])
    own = log_policy(network.logits.detach(), masks)[0, 0]
    weight = 0.7
    batch = Batch(
        torch.zeros(1, 1), masks, action, own[None] - math.log(ratio), torch.tensor([weight]),
        torch.tensor([advantage]), torch.zeros(1), torch.zeros(1),
    )  # fmt: skip
    losses(network, batch, 0.2, None)["policy_loss"].backward()
    assert network.logits.grad is not None
    gradient = network.logits.grad[0].tolist()
    if not moves:
        assert gradient == [0.0, 0.0, 0.0]
        return
    chance = math.exp(own)
    wanted = -weight * ratio * advantage * (1.0 - chance)  # d ratio / d logit = ratio (1 - p)
    assert gradient == pytest.approx([wanted, -wanted, 0.0])


def test_a_single_allowed_action_leaves_nothing_to_learn_but_the_value():
    network = Fixed([[0.3, -0.2, 9.0]], [0.5])
    batch = Batch(
        torch.zeros(1, 1), torch.tensor([[False, True, False]]), torch.tensor([1]), torch.zeros(1), torch.ones(1),
        torch.ones(1), torch.zeros(1), torch.zeros(1),
    )  # fmt: skip
    told = losses(network, batch, 0.2, None)
    assert (told["entropy"], told["kl"], told["policy_loss"]) == (0.0, 0.0, -1.0)
    (told["policy_loss"] - told["entropy"] + told["value_loss"]).backward()
    assert network.logits.grad is not None and network.value.grad is not None
    assert not network.logits.grad.any() and network.value.grad.item() == 0.5


# Steps.


def test_where_the_batch_is_its_own_bounded_is_strict():
    rows = as_sampled(random_fragments(60), network_of())
    strict = learner_of(epochs=3)
    bounded = learner_of(epochs=3, on_policy="bounded", max_lag=3)
    wanted, got = strict.step(rows), bounded.step(rows)
    assert got == pytest.approx(wanted, rel=1e-3, abs=1e-4)
    for name, array in strict.weights().items():
        np.testing.assert_allclose(bounded.weights()[name], array, atol=2e-4)


def test_bounded_weighs_what_others_did():
    """Actions that the network would hardly take count little."""
    learner, rows = learner_of(on_policy="bounded"), as_sampled(random_fragments(60), network_of())
    rows["log_probabilities"] += np.float32(math.log(4.0))
    batch, _ = learner._prepare(rows)
    np.testing.assert_allclose(batch.weight.numpy(), 0.25, rtol=1e-4)
    rows["log_probabilities"] -= np.float32(math.log(16.0))
    batch, _ = learner._prepare(rows)
    np.testing.assert_array_equal(batch.weight.numpy(), 1.0)


def test_strict_learns_from_its_own_version_alone():
    own, others = random_fragments(30, seed=1), random_fragments(30, seed=2, version=1)
    others["versions"][0, : others["steps"][0]] = 0
    straddling = random_fragments(1, seed=3)
    straddling["steps"], straddling["versions"] = LENGTH, [[0, 0, 0, 0, 1, 1]]
    mixed = np.concatenate([others[1:], own, straddling])
    learner, other = learner_of(), learner_of()
    told, alone = learner.step(mixed), other.step(own)
    assert told["dropped_steps"] == others[1:]["steps"].sum() + LENGTH and alone["dropped_steps"] == 0
    assert told["own_steps"] == own["steps"].sum() == learner.samples
    assert told | {"dropped_steps": 0.0} == alone and told["lag_mean"] == 0
    assert_equal(learner.weights(), other.weights())


def test_strict_learns_from_nothing_that_is_one_version_old():
    learner, rows = learner_of(epochs=1, max_lag=4), random_fragments(10)
    learner.step(rows)
    with pytest.raises(StaleRows, match="got versions 0 to 0, wanted 1"):
        learner.step(rows)


def test_bounded_learns_from_what_is_not_too_old():
    learner = learner_of(on_policy="bounded", max_lag=2, epochs=1)
    for version in range(4):
        learner.step(random_fragments(10, seed=version, version=version))
    blocks = [random_fragments(10, seed=9, version=version) for version in range(6)]
    told = learner.step(np.concatenate(blocks))
    each = blocks[0]["steps"].sum()
    assert (told["own_steps"], told["dropped_steps"]) == (3 * each, 3 * each), "versions 2, 3 and 4"
    assert told["lag_mean"] == 1
    free = learner_of(on_policy="bounded", max_lag=None, epochs=1)
    assert free.step(np.concatenate(blocks))["dropped_steps"] == 0


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [({}, "got versions 3 to 3, wanted 0"), ({"on_policy": "bounded"}, "got versions 3 to 3, wanted 0 to 0")],
)
def test_a_batch_without_a_usable_fragment_is_refused(settings, wanted):
    learner = learner_of(**settings)
    before = learner.state()
    with pytest.raises(StaleRows, match=wanted):
        learner.step(random_fragments(5, version=3))
    assert_same(learner.state(), before)


def test_a_step_takes_all_epochs_in_minibatches_of_about_the_same_size(monkeypatch):
    learner, rows = learner_of(epochs=3, minibatch=32), random_fragments(40)
    seen, descend = [], learner._descend

    def spy(batch):
        seen.append(batch.old.tolist())
        return descend(batch)

    monkeypatch.setattr(learner, "_descend", spy)
    told = learner.step(rows)
    count = int(rows["steps"].sum())
    parts = round(count / 32)
    assert told["epochs"] == 3 and len(seen) == 3 * parts
    assert {len(part) for part in seen} <= {count // parts, count // parts + 1}
    everything = sorted(rows["log_probabilities"][np.arange(LENGTH) < rows["steps"][:, None]].tolist())
    orders = [[each for part in seen[e * parts : (e + 1) * parts] for each in part] for e in range(3)]
    assert all(sorted(order) == everything for order in orders), "every step once an epoch"
    assert orders[0] != orders[1] != orders[2]
    assert learner.version == 1


def test_no_further_epoch_begins_far_from_the_old_policy():
    rows = as_sampled(random_fragments(60), network_of())
    assert learner_of(epochs=8, learning_rate=0.02, target_kl=0.01).step(rows)["epochs"] < 8
    assert learner_of(epochs=8, learning_rate=0.02, target_kl=100.0).step(rows)["epochs"] == 8


def test_metrics_of_one_descent_are_of_the_weights_before_it():
    network = network_of()
    rows = as_sampled(random_fragments(60), network)
    told = learner_of(epochs=1, minibatch=10_000, entropy_weight=0.1).step(rows)
    assert told["kl"] == pytest.approx(0, abs=1e-6) and told["clip_share"] == 0
    assert told["policy_loss"] == pytest.approx(0, abs=1e-6), "normalised advantages at ratios of 1"
    assert told["loss"] == pytest.approx(told["policy_loss"] + 0.5 * told["value_loss"] - 0.1 * told["entropy"])
    total = count = 0
    for row in rows:
        logits, _ = answers(network, row["observations"])
        for t in range(row["steps"]):
            own = log_softmax(logits[t], row["masks"][t])
            total, count = total - sum(math.exp(p) * p for p in own if p > -math.inf), count + 1
    assert told["entropy"] == pytest.approx(total / count, rel=1e-4)


def test_explained_variance_is_of_the_values_before():
    learner, rows = learner_of(learning_rate=0.01, epochs=30, discount=0.0), random_fragments(60)
    first = learner.step(rows)["explained_variance"]
    rows["versions"] = 1
    assert first < 0.2 and learner.step(rows)["explained_variance"] > 0.5
    rows["versions"], rows["rewards"] = 2, 1.0
    assert learner.step(rows)["explained_variance"] == 0.0, "there is nothing to explain"


def test_entropy_is_a_gain():
    """Its weight leads to a policy that is nearer to uniform, as much as that may be."""
    told = {}
    for weight in (0.0, 10.0):
        learner = learner_of(entropy_weight=weight, learning_rate=0.01, epochs=20)
        learner.step(random_fragments(40))
        told[weight] = learner.step(random_fragments(40, seed=1, version=1))
    assert told[10.0]["entropy"] > told[0.0]["entropy"] + 0.05


def test_long_gradients_are_scaled_down():
    learner = learner_of(max_gradient_norm=1e-3, epochs=1, minibatch=10_000)
    assert learner.step(random_fragments(40))["gradient_norm"] > 1e-3, "told before clipping"
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in learner._network.parameters()))
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_the_rate_falls_to_a_hundredth():
    learner = learner_of(learning_rate=0.01, decay_steps=4, epochs=1)
    rates = [learner.step(random_fragments(5, version=version))["learning_rate"] for version in range(7)]
    assert rates == pytest.approx([0.01, 0.007525, 0.00505, 0.002575, 0.0001, 0.0001, 0.0001])
    assert {group["lr"] for group in learner._optimiser.param_groups} == {rates[-1]}


def assert_equal(got, wanted):
    assert got.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(got[name], wanted[name])


def assert_same(got, wanted):
    """Trees of plain data and arrays, bit for bit."""
    if isinstance(wanted, dict):
        assert got.keys() == wanted.keys()
        for name in wanted:
            assert_same(got[name], wanted[name])
    elif isinstance(wanted, np.ndarray):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
    else:
        assert got == wanted


@pytest.mark.parametrize("on_policy", ["strict", "bounded"])
def test_goes_on_bit_for_bit_from_a_checkpoint(tmp_path, on_policy):
    blocks = [random_fragments(20, seed=seed, version=seed) for seed in range(6)]
    settings = {"on_policy": on_policy, "decay_steps": 10, "epochs": 2}
    learner = learner_of(**settings)
    for rows in blocks[:3]:
        learner.step(rows)
    path = checkpoint.save(tmp_path, {"learner": learner.state()})
    handed_out = learner.weights()
    rest = [learner.step(rows) for rows in blocks[3:]]
    other = learner_of(seed=2, **settings)
    other.restore(checkpoint.load(path)["learner"])
    assert other.version == 3 and other.samples == sum(rows["steps"].sum() for rows in blocks[:3])
    assert_equal(other.weights(), handed_out)
    assert [other.step(rows) for rows in blocks[3:]] == rest
    assert_same(other.state(), learner.state())


def test_a_state_does_not_change_with_later_steps():
    learner = learner_of()
    learner.step(random_fragments(20))
    state, handed_out = learner.state(), learner.weights()
    copies = {name: array.copy() for name, array in handed_out.items()}
    moments = {key: {n: v.copy() for n, v in moment.items()} for key, moment in state["moments"].items()}
    learner.step(random_fragments(20, version=1))
    assert_equal(state["weights"], copies)
    assert_equal(handed_out, copies)
    assert_same(state["moments"], moments)
    assert state["steps"] == 1


def test_a_state_of_another_network_is_refused():
    with pytest.raises(WeightsMismatch):
        learner_of().restore(learner_of(NUMBERS).state())


@pytest.mark.parametrize(("column", "part"), [("rewards", "policy_loss"), ("log_probabilities", "policy_loss")])
@pytest.mark.parametrize("steps", [0, 1])
def test_a_loss_that_is_not_finite_changes_nothing(column, part, steps):
    learner, other = learner_of(epochs=2), learner_of(epochs=2)
    for version in range(steps):
        for each in (learner, other):
            each.step(random_fragments(30, version=version))
    before = learner.state()
    bad = random_fragments(30, seed=5, version=steps)
    bad[column][3, 0] = np.nan
    with pytest.raises(NonFiniteLoss, match=rf"{part} is nan at step {steps}; the weights are untouched"):
        learner.step(bad)
    assert_same(learner.state(), before)
    rows = random_fragments(30, seed=6, version=steps)
    assert learner.step(rows) == other.step(rows)


def test_an_action_that_was_not_allowed_is_no_silent_lesson():
    learner, rows = learner_of(), random_fragments(30)
    rows["masks"][4, 0, rows["actions"][4, 0]] = 0
    rows["masks"][4, 0, (rows["actions"][4, 0] + 1) % 4] = 1
    with pytest.raises(NonFiniteLoss, match=r"kl is inf at step 0"):
        learner.step(rows)


def test_a_network_with_other_heads_is_refused():
    network = make_network({**section("network", "residual_mlp"), "width": 8}, SPEC)
    with pytest.raises(InvalidConfig, match=r"answers logits \[4\], value \[1\], got logits \[4\], values \[1\]"):
        PPO(network, PPOConfig(device="cpu"))


@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [
        ("batch_size", 0, "an integer >= 1"),
        ("length", 1.5, "an integer >= 1"),
        ("epochs", 0, "an integer >= 1"),
        ("learning_rate", 0.0, "a number from 1e-09"),
        ("discount", 1.1, "a number from 0 to 1"),
        ("gae_lambda", -0.1, "a number from 0 to 1"),
        ("clip", 0.0, "a number from 1e-06"),
        ("value_clip", 0.0, "a number from 1e-06"),
        ("target_kl", -1.0, "a number from 1e-06"),
        ("normalise_returns", 1, "true or false"),
        ("on_policy", "loose", "one of strict, bounded"),
        ("max_lag", -1, "an integer >= 0"),
        ("c_clip", 2.0, "at most rho_clip, 1.0"),
    ],
)
def test_wrong_settings_are_named(setting, value, wanted):
    with pytest.raises(InvalidSetting, match=rf"^{setting}: got .*{wanted}"):
        PPOConfig(**{setting: value})


def test_an_unknown_device_is_named():
    with pytest.raises(InvalidConfig, match=r"^device: got 'gpu7'"):
        PPO(network_of(), PPOConfig(device="gpu7"))
