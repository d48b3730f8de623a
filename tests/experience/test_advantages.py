"""GAE and V-trace against the sums of their papers, written out, and against exact truths."""

import itertools

import numpy as np
import pytest

from scoundrel_ray.experience.advantages import advantages, there
from scoundrel_ray.spec import HERE, TERMINATED, TRUNCATED

ENDS = (HERE, TERMINATED, TRUNCATED)


def fragments(count, length, seed=0):
    """Rewards, values, steps, ends and ratios of fragments of all lengths."""
    dice = np.random.default_rng(seed)
    steps = dice.integers(1, length + 1, count)
    rewards, values = dice.normal(0, 3, (count, length)), dice.normal(5, 3, (count, length + 1))
    ratios = np.exp(dice.normal(0, 1, (count, length)))
    rewards[~there(steps, length)] = 0.0
    values[~there(steps + 1, length + 1)] = 0.0
    return rewards, values, steps, dice.choice(ENDS, count), ratios


def errors(rewards, values, steps, end, discount):
    """Error (delta) of every step of one fragment, and the values of its steps and behind them."""
    values = [float(value) for value in values[: steps + 1]]
    if end == TERMINATED:
        values[steps] = 0.0
    return [float(rewards[t]) + discount * values[t + 1] - values[t] for t in range(steps)], values


def product(numbers):
    out = 1.0
    for number in numbers:
        out *= number
    return out


@pytest.mark.parametrize(("discount", "gae_lambda"), [(0.99, 0.95), (0.9, 1.0), (1.0, 0.5), (0.7, 0.0), (0.0, 0.9)])
def test_gae_is_the_sum_of_its_paper(discount, gae_lambda):
    """Equation 16 of Schulman et al. 2016, up to the last step that there is."""
    rewards, values, steps, end, _ = fragments(60, 7)
    got = advantages(rewards, values, steps, end, discount, gae_lambda)
    for i in range(len(steps)):
        deltas, _ = errors(rewards[i], values[i], steps[i], end[i], discount)
        for t in range(7):
            wanted = sum((discount * gae_lambda) ** (u - t) * deltas[u] for u in range(t, steps[i]))
            assert got.advantages[i, t] == pytest.approx(wanted, abs=1e-12)
            target = wanted + values[i, t] if t < steps[i] else 0.0
            assert got.targets[i, t] == pytest.approx(target, abs=1e-12)


@pytest.mark.parametrize("gae_lambda", [1.0, 0.9])
@pytest.mark.parametrize(("rho_clip", "c_clip"), [(1.0, 1.0), (1.5, 0.7), (100.0, 100.0)])
def test_v_trace_is_the_sum_of_its_paper(gae_lambda, rho_clip, c_clip):
    """Equation 1 of Espeholt et al. 2018, with the l of remark 2."""
    rewards, values, steps, end, ratios = fragments(60, 6, seed=1)
    got = advantages(rewards, values, steps, end, 0.9, gae_lambda, ratios, rho_clip, c_clip)
    for i in range(len(steps)):
        deltas, after = errors(rewards[i], values[i], steps[i], end[i], 0.9)
        rhos = [min(rho_clip, float(x)) for x in ratios[i]]
        cs = [gae_lambda * min(c_clip, float(x)) for x in ratios[i]]
        targets = [
            after[s] + sum(0.9 ** (t - s) * product(cs[s:t]) * rhos[t] * deltas[t] for t in range(s, steps[i]))
            for s in range(steps[i])
        ] + [after[steps[i]]]
        for s in range(steps[i]):
            assert got.targets[i, s] == pytest.approx(targets[s], abs=1e-12)
            mixed = (1 - gae_lambda) * after[s + 1] + gae_lambda * targets[s + 1]
            assert got.advantages[i, s] == pytest.approx(rewards[i, s] + 0.9 * mixed - after[s], abs=1e-12)
        assert not got.targets[i, steps[i] :].any() and not got.advantages[i, steps[i] :].any()


def test_v_trace_of_the_own_policy_is_the_n_step_return():
    """Section 4.1 of Espeholt et al. 2018: rewards until the end, then the value."""
    rewards, values, steps, end, _ = fragments(40, 5, seed=2)
    got = advantages(rewards, values, steps, end, 0.8, 1.0, np.ones((40, 5)))
    for i in range(len(steps)):
        last = 0.0 if end[i] == TERMINATED else values[i, steps[i]]
        for s in range(steps[i]):
            wanted = sum(0.8 ** (t - s) * rewards[i, t] for t in range(s, steps[i])) + 0.8 ** (steps[i] - s) * last
            assert got.targets[i, s] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.9, 1.0])
def test_ratios_of_one_give_gae(gae_lambda):
    of = fragments(40, 5, seed=3)[:4]
    for got, wanted in zip(
        advantages(*of, 0.9, gae_lambda, np.ones((40, 5))), advantages(*of, 0.9, gae_lambda), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


def test_what_another_policy_did_is_worth_what_the_own_one_would_get():
    """All paths of three steps of a small tree: without clips the targets' mean is the exact value."""
    dice = np.random.default_rng(4)
    paths = list(itertools.product(range(2), repeat=3))
    reward, value, mine, theirs = {}, {}, {}, {}
    for depth in range(4):
        for path in itertools.product(range(2), repeat=depth):
            reward[path], value[path] = dice.normal(), dice.normal()
            mine[path], theirs[path] = dice.uniform(0.1, 0.9), dice.uniform(0.1, 0.9)

    def chance(policy, path, t):
        return policy[path[:t]] if path[t] else 1.0 - policy[path[:t]]

    def worth(path):
        """Exact value of the own policy, with `value` behind the third step."""
        if len(path) == 3:
            return value[path]
        return sum(
            chance(mine, (*path, a), len(path)) * (reward[(*path, a)] + 0.9 * worth((*path, a))) for a in range(2)
        )

    rewards = np.array([[reward[path[: t + 1]] for t in range(3)] for path in paths])
    values = np.array([[value[path[:t]] for t in range(4)] for path in paths])
    ratios = np.array([[chance(mine, p, t) / chance(theirs, p, t) for t in range(3)] for p in paths])
    taken = np.array([product(chance(theirs, path, t) for t in range(3)) for path in paths])
    steps, end = np.full(8, 3), np.full(8, HERE)
    got = advantages(rewards, values, steps, end, 0.9, 1.0, ratios, np.inf, np.inf)
    assert (taken * got.targets[:, 0]).sum() == pytest.approx(worth(()))
    for action in range(2):
        of = np.array([path[0] == action for path in paths])
        mean = (taken * got.advantages[:, 0])[of].sum() / taken[of].sum()
        assert mean == pytest.approx(reward[(action,)] + 0.9 * worth((action,)) - value[()])
    trusting = advantages(rewards, values, steps, end, 0.9, 1.0)
    assert abs((taken * trusting.targets[:, 0]).sum() - worth(())) > 0.01, "the policies are too alike to tell"


def test_only_an_end_of_the_episode_leaves_no_value_behind():
    rewards, values = np.array([[1.0, 2.0]] * 3), np.array([[0.0, 0.0, 100.0]] * 3)
    got = advantages(rewards, values, np.array([2, 2, 2]), np.array(ENDS), 0.5, 1.0)
    assert got.targets[:, 1].tolist() == [52.0, 2.0, 52.0]
    assert got.targets[:, 0].tolist() == [27.0, 2.0, 27.0]


def test_what_stands_behind_the_last_step_counts_for_nothing():
    rewards, values, steps, end, ratios = fragments(50, 6, seed=5)
    wanted = advantages(rewards, values, steps, end, 0.9, 0.9, ratios)
    padding = ~there(steps, 6)
    rewards[padding], ratios[padding] = np.nan, 1e30
    values[~there(steps + 1, 7)] = 1e30
    for got, same in zip(advantages(rewards, values, steps, end, 0.9, 0.9, ratios), wanted, strict=True):
        np.testing.assert_array_equal(got, same)
