"""Elo ratings against closed forms, a slow maximisation of the likelihood, and the truth of simulated results."""

import math

import numpy as np
import pytest

from scoundrel_ray.evaluation.elo import ELO_A_NAT, bradley_terry, ratings


def results(counts):
    """Points [D, M] of pairs with so many wins, ties and losses of the first."""
    columns = [[1.0] * won + [0.5] * tied + [0.0] * lost for won, tied, lost in counts]
    return np.array(columns).T


def chance(elo):
    return 1.0 / (1.0 + 10.0 ** (-elo / 400.0))


def slowly(wins, prior):
    """Elo of greatest likelihood, one rating at a time by ever finer steps: the textbook's formula in plain Python."""
    count = len(wins)
    found = [0.0] * count

    def likelihood():
        total = sum(
            wins[i][j] * math.log(chance(found[i] - found[j])) for i in range(count) for j in range(count) if i != j
        )
        return total + sum(prior / 2 * (math.log(chance(r)) + math.log(chance(-r))) for r in found)

    best, step = likelihood(), 64.0
    while step > 1e-4:
        moved = False
        for i in range(count):
            for change in (step, -step):
                found[i] += change
                now = likelihood()
                if now > best:
                    best, moved = now, True
                else:
                    found[i] -= change
        step = step if moved else step / 2
    return found


@pytest.mark.parametrize(("won", "lost"), [(30, 10), (1, 99), (50, 50), (700, 300)])
def test_two_players_without_virtual_ties_have_the_closed_form(won, lost):
    nothing = np.full(2, 1e-9)
    found = ELO_A_NAT * bradley_terry(np.array([[0.0, won], [lost, 0.0]]), nothing, nothing)
    assert found[0] - found[1] == pytest.approx(400 * math.log10(won / lost), abs=1e-4)


def test_a_tie_is_half_a_win_and_half_a_loss():
    tied = ratings(2, [(0, 1)], results([(40, 20, 20)]), draws=10)
    played = ratings(2, [(0, 1)], results([(50, 0, 30)]), draws=10)
    assert tied[0].value == pytest.approx(played[0].value, abs=1e-6)
    assert tied[0].value - tied[1].value == pytest.approx(400 * math.log10(50 / 30), abs=2)  # but for a virtual tie


@pytest.mark.parametrize("prior", [1.0, 3.0])
def test_three_players_are_rated_as_by_slow_maximisation(prior):
    pairs = [(0, 1), (0, 2), (1, 2)]
    counts = [(30, 4, 6), (25, 10, 5), (12, 8, 20)]
    found = ratings(3, pairs, results(counts), prior=prior, draws=10)
    wins = np.zeros((3, 3))
    for (i, j), (won, tied, lost) in zip(pairs, counts, strict=True):
        wins[i, j], wins[j, i] = won + tied / 2, lost + tied / 2
    slow = np.array(slowly(wins, prior))
    np.testing.assert_allclose([each.value for each in found], slow - slow.mean(), atol=0.01)


def test_intervals_hold_the_true_ratings_about_19_times_in_20():
    generator = np.random.default_rng(0)
    truth = np.array([150.0, 40.0, -10.0, -180.0])
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    chances = np.array([chance(truth[i] - truth[j]) for i, j in pairs])
    covered = []
    for seed in range(250):
        found = ratings(4, pairs, (generator.random((120, 6)) < chances) * 1.0, draws=200, seed=seed)
        covered += [each.low <= true <= each.high for each, true in zip(found, truth, strict=True)]
    assert 0.92 < np.mean(covered) < 0.98


def test_intervals_know_that_pairs_share_deals():
    """A player whose deals are won or lost against everybody alike has half the evidence, not twice."""
    generator = np.random.default_rng(1)
    luck = generator.random(300) < 0.6
    even = np.tile([0.0, 1.0], 150)
    alike = ratings(3, [(0, 1), (0, 2), (1, 2)], np.stack([luck, luck, even], axis=1) * 1.0, anchor=1)
    other = generator.permutation(luck)
    apart = ratings(3, [(0, 1), (0, 2), (1, 2)], np.stack([luck, other, even], axis=1) * 1.0, anchor=1)
    assert alike[0].value == pytest.approx(apart[0].value, abs=1e-6)
    assert alike[0].high - alike[0].low > 1.1 * (apart[0].high - apart[0].low)


def test_drawn_deals_are_no_tossed_coins():
    drawn = ratings(2, [(0, 1)], results([(10, 180, 10)]))[0]
    tossed = ratings(2, [(0, 1)], results([(100, 0, 100)]))[0]
    assert drawn.high - drawn.low < 0.5 * (tossed.high - tossed.low)


def test_who_won_everything_is_rated_finitely_and_not_for_certain():
    rated = [ratings(2, [(0, 1)], results([(won, 0, 0)]))[0] for won in (5, 50, 500)]
    assert rated[0].value < rated[1].value < rated[2].value < 1000
    for each in rated:
        assert each.low < each.value < each.high < 3000 and each.high - each.low > 200


def test_one_deal_says_next_to_nothing():
    found = ratings(2, [(0, 1)], np.ones((1, 1)))[0]
    assert found.low < 0 < found.value < found.high


def test_the_anchor_is_0_and_else_the_mean():
    points = results([(30, 0, 10), (35, 0, 5), (20, 0, 20)])
    pairs = [(0, 1), (0, 2), (1, 2)]
    free, bound = ratings(3, pairs, points, draws=50), ratings(3, pairs, points, anchor=2, draws=50)
    assert sum(each.value for each in free) == pytest.approx(0, abs=1e-9)
    assert (bound[2].low, bound[2].value, bound[2].high) == (0.0, 0.0, 0.0)
    assert bound[0].value - bound[1].value == pytest.approx(free[0].value - free[1].value)


def test_nothing_to_rate_is_refused():
    with pytest.raises(ValueError, match="ratings: got 0 deals"):
        ratings(2, [(0, 1)], np.zeros((0, 1)))
    with pytest.raises(ValueError, match="a prior of 0"):
        ratings(2, [(0, 1)], np.zeros((5, 1)), prior=0)


def test_weights_of_very_different_sizes_are_no_obstacle():
    generator = np.random.default_rng(0)
    wins = np.where(generator.random((2000, 5, 5)) < 0.5, 0, generator.integers(0, 1000, (2000, 5, 5))) * 1.0
    wins[:, range(5), range(5)] = 0
    ties = np.maximum(generator.gamma(0.5, size=(2, 2000, 5)), 1e-6)
    assert np.isfinite(bradley_terry(wins, *ties)).all()
