"""PPO learns what is known: the best actions and the exact values of small problems, also from others' fragments."""

import numpy as np
import pytest
import torch

from learners.ppo import PPOConfig
from scoundrel_ray.network import load, make_network
from scoundrel_ray.spec import HERE, TERMINATED, TRUNCATED, Field, Spec
from scripts.entry import section

BOTH = pytest.mark.parametrize("lag", [None, 0, 2], ids=["strict", "bounded", "two versions old"])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads cost more than networks this small have to share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Bandit:
    """One step: in each of three contexts other actions are allowed, and the best of all is never allowed."""

    spec = Spec("bandit", (Field("context", 1, 0, 2),), 4, 1, 4)
    masks = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0]], np.int8)
    gains = np.array([[1.0, 2.0, 5.0, 9.0], [0.0, -1.0, 1.0, 9.0], [9.0, -2.0, -3.0, 9.0]])
    best, values = (1, 2, 1), (2.0, 1.0, -2.0)

    def __init__(self, dice):
        self.dice = dice
        self.renew()

    def renew(self):
        self.context = self.dice.integers(3)

    def look(self):
        return [self.context], self.masks[self.context]

    def step(self, action):
        assert self.masks[self.context, action]
        return self.gains[self.context, action] + self.dice.normal(0, 0.5), TERMINATED


class Corridor:
    """Five places; a step costs 1, the one to the right end brings 9 and ends it; after 30 turns it is cut off."""

    spec = Spec("corridor", (Field("place", 1, 0, 4),), 3, 1, 3)
    best = (1, 1, 1, 1)  # of left, right, stay; left is not allowed at the left end
    values = (-1 - 0.9 - 0.81 + 0.729 * 9, -1 - 0.9 + 0.81 * 9, -1 + 0.9 * 9, 9.0)  # at a discount of 0.9

    def __init__(self, dice):
        self.dice = dice
        self.renew()

    def renew(self):
        self.place, self.turn = self.dice.integers(4), 0

    def look(self):
        return [self.place], np.array([self.place > 0, 1, 1], np.int8)

    def step(self, action):
        self.place += (-1, 1, 0)[action]
        self.turn += 1
        if self.place == 4:
            return 9.0, TERMINATED
        return -1.0, TRUNCATED if self.turn == 30 else HERE


class Salary:
    """One place, 1 a turn for ever, but it is cut off or ended after three turns."""

    spec = Spec("salary", (Field("nothing", 1, 0, 1),), 2, 1, 2)

    def __init__(self, dice, end):
        self.dice, self.end = dice, end
        self.renew()

    def renew(self):
        self.turn = 0

    def look(self):
        return [0], np.ones(2, np.int8)

    def step(self, _action):
        self.turn += 1
        return 1.0, self.end if self.turn == 3 else HERE


def collect(world, network, dtype, version, steps, dice):
    """Fragments of at least `steps` own steps, as a worker would send them."""
    rows, done, length = [], 0, dtype["actions"].shape[0]
    while done < steps:
        row = np.zeros((), dtype)
        for t in range(length):
            observation, mask = world.look()
            with torch.inference_mode():
                logits, _ = network(torch.tensor([observation], dtype=torch.int8))
            chances = np.where(mask, np.exp(logits[0].double().numpy()), 0.0)
            chances /= chances.sum()
            action = dice.choice(len(mask), p=chances)
            row["observations"][t], row["masks"][t], row["actions"][t] = observation, mask, action
            row["log_probabilities"][t], row["versions"][t] = np.log(chances[action]), version
            row["rewards"][t], row["end"] = world.step(action)
            if row["end"] != HERE or t == length - 1:
                row["steps"] = t + 1
                row["observations"][t + 1] = world.look()[0]
                break
        if row["end"] != HERE:
            world.renew()
        rows.append(row)
        done += row["steps"]
    return np.array(rows, dtype)


def train(world, updates, lag=None, **settings):
    """A learner after so many updates; its actor holds the weights of `lag` versions ago (None: strict)."""
    given = {"batch_size": 128, "length": 8, "epochs": 4, "minibatch": 64, "learning_rate": 0.01, "device": "cpu"}
    kind = {} if lag is None else {"on_policy": "bounded", "max_lag": lag}
    config = PPOConfig(**{**given, **kind, **settings})
    network, acting = (make_network({**section("network", "actor_critic"), "width": 32}, world.spec) for _ in range(2))
    learner, dtype, dice = config.make(network, 0), config.row_dtype(world.spec), np.random.default_rng(1)
    handed_out = []
    for _ in range(updates):
        handed_out.append((learner.version, learner.weights()))
        version, arrays = handed_out[-1 - min(lag or 0, len(handed_out) - 1)]
        load(acting, arrays)
        told = learner.step(collect(world, acting, dtype, version, config.batch_size, dice))
        assert told["dropped_steps"] == 0
    assert told["lag_mean"] == (lag or 0)
    return learner


def policy_and_values(learner, observations, masks):
    with torch.inference_mode():
        logits, value = learner._network(torch.tensor(observations, dtype=torch.int8))
    chances = np.where(masks, np.exp(logits.double().numpy()), 0.0)
    return chances / chances.sum(axis=1, keepdims=True), learner._scale.real(value[:, 0].double().numpy())


@BOTH
def test_a_bandit_with_masks(lag):
    learner = train(Bandit(np.random.default_rng(0)), 30, lag, entropy_weight=0.01)
    policy, values = policy_and_values(learner, [[0], [1], [2]], Bandit.masks)
    assert policy.argmax(axis=1).tolist() == [*Bandit.best]
    assert policy.max(axis=1).min() > 0.9
    np.testing.assert_allclose(values, Bandit.values, atol=0.5)


@BOTH
def test_a_corridor(lag):
    learner = train(Corridor(np.random.default_rng(0)), 40, lag, discount=0.9, gae_lambda=0.9)
    places = np.arange(4)[:, None]
    policy, values = policy_and_values(
        learner, places.tolist(), np.column_stack([places > 0, places >= 0, places >= 0])
    )
    assert policy.argmax(axis=1).tolist() == [*Corridor.best]
    assert policy.max(axis=1).min() > 0.8
    np.testing.assert_allclose(values, Corridor.values, atol=0.3)


@pytest.mark.parametrize(
    ("end", "value"),
    [(TRUNCATED, 1 / (1 - 0.8)), (TERMINATED, (1 + 1.8 + (1 + 0.8 * 1.8)) / 3)],
    ids=["cut off", "ended"],
)
def test_what_is_cut_off_is_worth_what_would_have_come(end, value):
    """The place looks the same in all three turns: ended, it is worth the mean over them."""
    learner = train(Salary(np.random.default_rng(0), end), 60, discount=0.8, learning_rate=0.02)
    _, values = policy_and_values(learner, [[0]], np.ones((1, 2)))
    assert values[0] == pytest.approx(value, abs=0.15)
