"""The IQN learner: its loss against a slow transcription, its targets, and going on bit for bit."""

import copy
import math

import numpy as np
import pytest
import torch

from learners.iqn import IQN, IQNConfig, QuantileLoss
from learners.learner import NonFiniteLoss
from scoundrel_ray.experience.prioritised import PrioritisedReplay
from scoundrel_ray.experience.rows import transition_dtype
from scoundrel_ray.network import WeightsMismatch, weights
from scoundrel_ray.networks.residual_mlp import ResidualMLP
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import Field, Spec
from scoundrel_ray.streams import stream
from tests.learners.quantile_rows import SPEC, assert_same, config_of, learner_of, network_of, random_rows


def slow_loss(online, target, rows, columns, config):
    """Equations 2 and 3 of the paper, pair by pair in float64: loss, TD error of each row, value of each row."""

    def asked(network, observations, taus):
        with torch.no_grad():
            return network.quantiles(torch.from_numpy(observations), torch.from_numpy(taus)).double().numpy()

    upcoming = columns["next_observation"]
    midpoints = np.tile((np.arange(4, dtype=np.float32) + 0.5) / 4, (len(rows), 1))
    acting = asked(online if config.double else target, upcoming, midpoints)  # [B, K, A]
    next_quantiles = asked(target, upcoming, columns["target_taus"])
    quantiles = asked(online, columns["observation"], columns["taus"])
    loss, errors, values = 0.0, [], []
    for b, row in enumerate(rows):
        best, most = None, -math.inf
        for action in range(SPEC.actions):
            value = sum(acting[b, k, action] for k in range(4)) / 4
            if row["next_mask"][action] and value > most:
                best, most = action, value
        of_row, error_sum = 0.0, 0.0
        for i in range(config.quantiles):
            tau = float(columns["taus"][b, i])
            for j in range(config.target_quantiles):
                target_value = float(row["reward"]) + float(row["discount"]) * next_quantiles[b, j, best]
                delta = target_value - quantiles[b, i, row["action"]]
                if abs(delta) <= config.kappa:
                    huber = 0.5 * delta**2
                else:
                    huber = config.kappa * (abs(delta) - 0.5 * config.kappa)
                of_row += abs(tau - (1.0 if delta < 0 else 0.0)) * huber / config.kappa / config.target_quantiles
                error_sum += abs(delta)
        loss += of_row * (float(row["weight"]) if "weight" in row.dtype.names else 1.0) / len(rows)
        errors.append(error_sum / config.quantiles / config.target_quantiles)
        values.append(np.mean([quantiles[b, i, row["action"]] for i in range(config.quantiles)]))
    return loss, errors, values


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("kappa", [1.0, 0.3])
def test_a_step_tells_what_a_slow_transcription_gives(double, weighted, kappa):
    learner = learner_of(double=double, kappa=kappa, quantiles=3, target_quantiles=5)
    other = network_of(seed=7)  # a target network of its own
    learner._loss.target.load_state_dict(other.state_dict())
    rows, twin = random_rows(9, weighted=weighted), copy.deepcopy(learner)
    online = copy.deepcopy(learner.network)
    columns = twin.columns(rows)  # the very quantiles that the step will draw
    loss, errors, values = slow_loss(online, other, rows, columns, learner.config)
    told = learner.step(rows)
    assert told["loss"] == pytest.approx(loss, rel=1e-4)
    assert told["td_error"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert told["value"] == pytest.approx(np.mean(values), rel=1e-4)
    if weighted:
        assert learner.priorities.dtype == np.float32
        np.testing.assert_allclose(learner.priorities, errors, rtol=1e-4)
    else:
        assert learner.priorities is None


def test_the_gradient_is_that_of_the_loss_with_the_target_held_fixed():
    """By central differences of the slow loss, for some parameters; max_gradient_norm is not in the way."""
    config = config_of(quantiles=3, target_quantiles=2)
    online, target, rows = network_of(1).double().float(), network_of(2), random_rows(5)
    learner = IQN(online, config, 0)
    learner._loss.target.load_state_dict(target.state_dict())
    columns = {name: torch.from_numpy(array) for name, array in learner.columns(rows).items()}
    numbers, _, gradient = learner.gradients(learner.memory, columns, "float32")
    assert float(numbers[3]) == pytest.approx(float(gradient.norm()), rel=1e-5)
    fixed = QuantileLoss(online, target, config)._target(columns)
    loss = copy.deepcopy(learner._loss).double()
    loss._target = lambda rows: fixed.double()
    exact = {name: value.double() if name in ("taus", "weight") else value for name, value in columns.items()}
    flat = torch.nn.utils.parameters_to_vector(loss.online.parameters()).detach()
    generator = np.random.default_rng(0)
    live = np.flatnonzero(gradient.abs().numpy() > 1e-3)
    for place in generator.choice(live, 12, replace=False):
        sides = []
        for side in (1e-4, -1e-4):
            moved = flat.clone()
            moved[place] += side
            torch.nn.utils.vector_to_parameters(moved, loss.online.parameters())
            with torch.no_grad():
                sides.append(float(loss(exact)[0]))
        assert float(gradient[place]) == pytest.approx((sides[0] - sides[1]) / 2e-4, rel=2e-2, abs=1e-4)


def test_masked_actions_are_never_the_next_one():
    """Only what is allowed counts, also where all else looks better."""
    learner, rows = learner_of(), random_rows(40)
    loss = learner._loss
    with torch.no_grad():
        for network in (loss.online, loss.target):
            network.advantages.bias.copy_(torch.tensor([100.0, 0.0, -100.0]))
    rows["next_mask"], rows["reward"], rows["discount"] = [0, 1, 1], 0.0, 1.0
    columns = {name: torch.from_numpy(array) for name, array in learner.columns(rows).items()}
    allowed = loss._target(columns)
    assert float(allowed.max()) < 50
    rows["next_mask"] = 1
    free = loss._target({**columns, "next_mask": torch.ones(40, 3, dtype=torch.bool)})
    torch.testing.assert_close(free - allowed, torch.full_like(free, 100.0), rtol=0, atol=2.0)


def test_a_discount_of_0_leaves_the_reward_alone():
    learner, rows = learner_of(), random_rows(8)
    rows["discount"] = 0.0
    columns = {name: torch.from_numpy(array) for name, array in learner.columns(rows).items()}
    target = learner._loss._target(columns)
    np.testing.assert_array_equal(target.numpy(), np.repeat(rows["reward"][:, None], 8, axis=1))
    other = rows.copy()
    other["next_observation"] = 0
    told = [learner_of().step(each) for each in (rows, other)]
    assert told[0] == told[1]


def test_the_target_network_becomes_the_online_one_at_every_third_step():
    learner = learner_of(target_every=3, learning_rate=0.01)
    history = [weights(learner.network)]
    for step in range(1, 8):
        learner.step(random_rows(seed=step))
        history.append(learner.weights())
        assert_same(weights(learner._loss.target), history[step - step % 3])
    assert any((history[3][name] != history[6][name]).any() for name in history[0])


def test_the_target_network_goes_its_share_of_the_way():
    learner = learner_of(target_every=0, target_rate=0.25, learning_rate=0.01)
    wanted = weights(learner.network)
    for step in range(4):
        learner.step(random_rows(seed=step))
        wanted = {name: 0.75 * wanted[name] + 0.25 * array for name, array in learner.weights().items()}
        for name, array in weights(learner._loss.target).items():
            np.testing.assert_allclose(array, wanted[name], rtol=1e-5, atol=1e-6)


def test_the_average_of_the_weights_is_handed_out_and_lags_behind_them():
    learner = learner_of(average=0.6, learning_rate=0.01)
    wanted, starts = weights(learner.network), learner.weights()
    assert_same(wanted, starts)
    for step in range(40):
        learner.step(random_rows(seed=step))
        decay = min(0.6, (step + 1) / (step + 11.0))
        own = weights(learner.network)
        wanted = {name: decay * wanted[name] + (1 - decay) * array for name, array in own.items()}
        for name, array in learner.weights().items():
            np.testing.assert_allclose(array, wanted[name], rtol=1e-4, atol=1e-6)
    assert any(np.abs(own[name] - wanted[name]).max() > 1e-4 for name in own)


def test_the_learning_rate_falls_with_the_steps():
    learner = learner_of(learning_rate=0.01, decay_steps=3)
    for step in range(5):
        assert learner.learning_rate == pytest.approx(0.01 / (1 + step / 3) ** 0.5)
        learner.step(random_rows(seed=step))
        assert learner._optimiser.param_groups[0]["lr"] == pytest.approx(0.01 / (1 + step / 3) ** 0.5)
    assert learner_of(learning_rate=0.01).learning_rate == 0.01


def test_adam_equals_a_slow_transcription_with_the_gradient_scaled_down():
    config = {"learning_rate": 0.01, "adam_epsilon": 1e-3, "max_gradient_norm": 0.05}
    learner = learner_of(**config)
    vector = learner._vector.detach().double().numpy().copy()
    first, second = np.zeros_like(vector), np.zeros_like(vector)
    for step in range(1, 5):
        rows, twin = random_rows(seed=step), copy.deepcopy(learner)
        columns = {name: torch.from_numpy(array) for name, array in twin.columns(rows).items()}
        gradient = twin.gradients(twin.memory, columns, "float32")[2].double().numpy()
        norm = math.sqrt(sum(number**2 for number in gradient))
        told = learner.step(rows)
        assert told["gradient_norm"] == pytest.approx(norm, rel=1e-4) and norm > 0.05
        gradient = gradient * 0.05 / norm
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        vector -= 0.01 * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-3)
        np.testing.assert_allclose(learner._vector.detach().numpy(), vector, rtol=1e-4, atol=1e-5)
        vector = learner._vector.detach().double().numpy().copy()


# Problems with a known answer.

ONE = Spec("one", (Field("nothing", 1, 0, 3),), 2, 1, 2)


def test_a_bandits_quantiles_are_learned():
    """One state; action 0 brings a uniform reward in [-1, 3], action 1 brings -2, 0 or 5 with chances .5, .3 and .2."""
    learner = learner_of(
        spec=ONE, network={"width": 32, "cosines": 32}, learning_rate=5e-3, adam_epsilon=1e-5, kappa=0.01,
        quantiles=8, target_quantiles=1, batch_size=64,
    )  # fmt: skip
    generator = np.random.default_rng(0)
    rows = random_rows(64, spec=ONE)
    rows["observation"] = rows["next_observation"] = 0
    rows["discount"] = 0.0
    for step in range(700):
        if step == 450:  # settle
            learner._optimiser.param_groups[0]["lr"] = 3e-4
        even, odd = generator.uniform(-1, 3, 64), generator.choice([-2.0, 0.0, 5.0], 64, p=[0.5, 0.3, 0.2])
        rows["action"] = generator.integers(2, size=64)
        rows["reward"] = np.where(rows["action"] == 0, even, odd)
        learner.step(rows)
    taus = np.array([0.05, 0.2, 0.35, 0.65, 0.74, 0.9], np.float32)
    with torch.no_grad():
        got = learner.network.quantiles(torch.zeros(1, 1, dtype=torch.int8), torch.from_numpy(taus[None]))[0].numpy()
        (values,) = learner.network(torch.zeros(1, 1, dtype=torch.int8))
    np.testing.assert_allclose(got[:, 0], -1 + 4 * taus, atol=0.2)
    np.testing.assert_allclose(got[:, 1], [-2, -2, -2, 0, 0, 5], atol=0.6)
    assert float(values[0, 0]) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(("n_steps", "double"), [(1, True), (1, False), (3, True)])
def test_a_chains_values_are_those_of_dynamic_programming(n_steps, double):
    """Five states in a row. Action 0 leads on (+0), action 1 back (+0.1, not from the first state, where it is barred);
    from the last state action 0 ends the episode and brings 1.
    """
    states, gamma = 5, 0.8
    spec = Spec("chain", (Field("state", 1, 0, states - 1),), 2, 1, 2)

    def move(state, action):
        if action == 0:
            return (state, 1.0, True) if state == states - 1 else (state + 1, 0.0, False)
        return state - 1, 0.1, False

    best = np.zeros((states, 2))
    for _ in range(200):
        best = np.array([
            [reward if ended else reward + gamma * best[upcoming, : 1 if upcoming == 0 else 2].max()
             for upcoming, reward, ended in (move(state, action) for action in range(1 if state == 0 else 2))]
            + [0.0] * (state == 0) for state in range(states)
        ])  # fmt: skip
    greedy = [0 if state == 0 else int(best[state].argmax()) for state in range(states)]
    pairs = [(state, action) for state in range(states) for action in range(1 if state == 0 else 2)]
    rows = np.zeros(len(pairs), transition_dtype(spec))
    for row, (state, action) in zip(rows, pairs, strict=True):
        at, reward, discount, ended = state, 0.0, 1.0, False
        for m in range(n_steps):  # off-policy returns are exact when what follows the first action is greedy
            at, brought, ended = move(at, action if m == 0 else greedy[at])
            reward += discount * brought
            discount *= gamma
            if ended:
                discount = 0.0
                break
        row["observation"], row["action"], row["reward"], row["discount"] = state, action, reward, discount
        row["next_observation"], row["next_mask"] = at, [1, at != 0 or ended]
    learner = learner_of(
        spec=spec, network={"width": 32}, learning_rate=4e-3, adam_epsilon=1e-5, target_every=10, double=double,
        batch_size=len(rows), max_gradient_norm=100.0,
    )  # fmt: skip
    for step in range(300):
        if step == 200:
            learner._optimiser.param_groups[0]["lr"] = 4e-4
        learner.step(rows)
    with torch.no_grad():
        (values,) = learner.network(torch.arange(states, dtype=torch.int8)[:, None])
    got = values.numpy()
    for state, action in pairs:
        assert got[state, action] == pytest.approx(best[state, action], abs=0.05), (state, action)


def test_learns_in_bfloat16_what_it_is_shown():
    learner, rows = learner_of(precision="bfloat16", learning_rate=1e-2, adam_epsilon=1e-5), random_rows()
    rows["discount"] = 0.0
    first = learner.step(rows)
    for _ in range(120):
        last = learner.step(rows)
    assert last["td_error"] < 0.3 * first["td_error"]
    assert all(array.dtype == np.float32 for array in learner.weights().values())


def test_bfloat16_keeps_steps_that_its_own_numbers_would_lose():
    """Weights are in float32: a step of 1e-6 moves one of about 0.1, where bfloat16's next number is 5e-4 away."""
    learner = learner_of(precision="bfloat16", learning_rate=1e-6, adam_epsilon=1e-12)
    before = learner._vector.detach().clone()
    learner.step(random_rows())
    moved = (learner._vector.detach() - before).abs()
    assert 0.5e-6 < float(moved.max()) < 2e-6 and float((moved > 0).float().mean()) > 0.3


# What a step may and may not change, and going on.


OTHERS = [{"precision": "bfloat16"}, {"target_every": 0, "target_rate": 0.1}, {"average": 0.9, "decay_steps": 3}]


@pytest.mark.parametrize("settings", [{}, *OTHERS])
@pytest.mark.parametrize("done", [0, 4])
def test_goes_on_bit_for_bit_from_a_checkpoint(tmp_path, settings, done):
    blocks = [random_rows(seed=seed, weighted=True) for seed in range(8)]
    learner = learner_of(learning_rate=0.01, **settings)
    for rows in blocks[:done]:
        learner.step(rows)
    path = checkpoint.save(tmp_path, {"learner": learner.state()})
    rest = [learner.step(rows) for rows in blocks[4:]]
    other = learner_of(seed=2, learning_rate=0.01, **settings)
    other.step(blocks[0])
    other.restore(checkpoint.load(path)["learner"])
    assert other.version == done
    assert [other.step(rows) for rows in blocks[4:]] == rest
    assert_same(other.state(), learner.state())
    assert_same(other.weights(), learner.weights())
    np.testing.assert_array_equal(other.priorities, learner.priorities)


def test_a_state_does_not_change_with_later_steps():
    learner = learner_of(target_every=1)
    learner.step(random_rows())
    state, handed_out = learner.state(), learner.weights()
    kept = copy.deepcopy((state, handed_out))
    learner.step(random_rows(seed=1))
    assert_same(state, kept[0])
    assert_same(handed_out, kept[1])


def test_the_quantiles_are_drawn_by_the_seed():
    rows = random_rows()
    told = [config_of().make(network_of(1), seed).step(rows) for seed in (3, 3, 4)]
    assert told[0] == told[1] != told[2]
    torch.manual_seed(5)
    torch.rand(3)
    assert config_of().make(network_of(1), 3).step(rows) == told[0]


@pytest.mark.parametrize("column", ["reward", "discount"])
def test_a_loss_that_is_not_finite_changes_nothing(column):
    learner, rows = learner_of(), random_rows()
    learner.step(rows)
    before = learner.state()
    bad = rows.copy()
    bad[column][3] = np.nan
    with pytest.raises(NonFiniteLoss, match=r"loss is nan at step 1; the weights are untouched"):
        learner.step(bad)
    after = learner.state()
    for name in ("steps", "weights", "target", "moments"):
        assert_same(after[name], before[name])
    learner.step(rows)
    assert learner.version == 2


def test_a_gradient_that_is_not_finite_is_named():
    """The loss of so great weights is just finite in float32, the squares of its gradient are not."""
    learner, rows = learner_of(), random_rows(weighted=True)
    rows["weight"] = 1e36
    with pytest.raises(NonFiniteLoss, match=r"gradient_norm is inf at step 0; the weights are untouched"):
        learner.step(rows)
    assert learner.version == 0 and learner.priorities is None


def test_a_state_of_another_network_is_refused():
    with pytest.raises(WeightsMismatch):
        learner_of().restore(learner_of(network={"width": 5}).state())


def test_auto_settles_on_a_precision_that_a_restored_learner_keeps():
    learner = learner_of(precision="auto")
    assert learner.state()["precision"] == "auto"
    learner.step(random_rows())
    assert learner.precision in ("float32", "bfloat16")
    other = learner_of(precision="auto")
    other.restore({**learner.state(), "precision": "bfloat16"})
    assert other.precision == "bfloat16"
    fixed = learner_of(precision="float32")
    fixed.restore({**learner.state(), "precision": "bfloat16"})
    assert fixed.precision == "float32"


# Settings.


def test_the_behaviour_of_the_agent_is_a_section():
    assert IQNConfig(n_steps=5, discount=0.9, epsilon_start=0.8, epsilon_end=0.1, epsilon_steps=70).behaviour == {
        "_target_": "scoundrel_ray.experience.behaviours.EpsilonGreedy",
        "n_steps": 5, "discount": 0.9, "start": 0.8, "end": 0.1, "steps": 70,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [
        ("batch_size", 0, "an integer >= 1"),
        ("n_steps", 0, "an integer >= 1"),
        ("quantiles", 0, "an integer >= 1"),
        ("target_quantiles", 1.5, "an integer >= 1"),
        ("learning_rate", 0.0, "a number from 1e-09"),
        ("adam_epsilon", 0.0, "a number from 1e-15"),
        ("discount", 1.1, "a number from 0 to 1"),
        ("kappa", 0.0, "a number from 1e-06"),
        ("double", 1, "true or false"),
        ("target_every", -1, "an integer >= 0"),
        ("target_rate", 2.0, "a number from 0 to 1"),
        ("target_rate", 0.5, "one of them 0"),
        ("max_gradient_norm", 0.0, "a number from 1e-06"),
        ("precision", "half", "one of auto, float32, bfloat16"),
        ("epsilon_start", -0.1, "a number from 0 to 1"),
        ("epsilon_end", 2, "a number from 0 to 1"),
        ("epsilon_steps", -1, "an integer >= 0"),
    ],
)
def test_wrong_settings_are_named(setting, value, wanted):
    with pytest.raises(InvalidConfig, match=rf"^{setting}: got .*{wanted}"):
        IQNConfig(**{setting: value})


def test_what_cannot_be_trained_is_named():
    with pytest.raises(InvalidConfig, match=r"^device: got 'gpu7'"):
        learner_of(device="gpu7")
    with pytest.raises(InvalidConfig, match=r"^network: got ResidualMLP, wanted one with quantiles"):
        config_of().make(ResidualMLP(SPEC, width=4, blocks=1), 0)
    assert config_of().row_dtype(SPEC) == transition_dtype(SPEC)


def test_a_prioritised_replay_feeds_the_learner_and_hears_of_its_errors():
    settings = PrioritisedReplay(capacity=64, min_rows=1, alpha=1.0, epsilon=0.5, samples_per_insert=100.0)
    learner = learner_of()
    replay = settings.make(learner.config.row_dtype(SPEC), stream(1))
    replay.insert(random_rows(40))
    batch = replay.sample(32)
    told = learner.step(batch)
    assert learner.priorities.mean() == pytest.approx(told["td_error"], rel=1e-5)
    replay.update(batch["key"], learner.priorities)
    found = replay._sampler.probabilities(batch["key"])
    by_key = dict(zip(batch["key"].tolist(), (learner.priorities + 0.5).tolist(), strict=True))
    total = sum(by_key.values()) + 40 - len(by_key)  # the others weigh 1, as they came
    np.testing.assert_allclose(found, [by_key[key] / total for key in batch["key"].tolist()], rtol=1e-5)
