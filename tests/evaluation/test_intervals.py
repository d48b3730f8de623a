"""Intervals against known values and by their coverage."""

import numpy as np
import pytest

from scoundrel_ray.evaluation.intervals import mean, share, share_of_deals


def test_wilson_interval_of_a_known_case():
    # Newcombe 1998, table 1: 81 of 263 gives 0.2553 to 0.3662.
    estimate = share(81, 263)
    assert (estimate.low, estimate.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_wilson_interval_at_the_edges():
    assert share(0, 50).low == 0.0
    assert share(50, 50).high == 1.0
    assert 0.0 < share(0, 50).high < 0.1


def test_intervals_cover_the_truth_about_19_times_in_20():
    generator = np.random.default_rng(0)
    wins = generator.binomial(400, 0.3, 2000)
    covered = [(e := share(int(w), 400)).low <= 0.3 <= e.high for w in wins]
    assert 0.93 < np.mean(covered) < 0.97
    covered = [(e := mean(generator.normal(1.0, 3.0, 300))).low <= 1.0 <= e.high for _ in range(2000)]
    assert 0.93 < np.mean(covered) < 0.97


def test_share_of_deals_of_one_game_each_is_share():
    for wins, deals in ((0, 7), (3, 10), (10, 10), (1, 1), (400, 1000)):
        won = np.arange(deals) < wins
        assert share_of_deals(won.astype(int), np.ones(deals, dtype=int)) == share(wins, deals)


def test_games_of_a_deal_that_go_together_count_as_one():
    """Four games a deal, all won or all lost, are as good as one; however even, they are worth no more than four."""
    generator = np.random.default_rng(0)
    won = 4 * (generator.random((1000, 150)) < 0.3)
    four = np.full(150, 4)
    together = [share_of_deals(each, four) for each in won]
    apart = [share(int(each.sum()), 600) for each in won]
    assert 0.93 < np.mean([e.low <= 0.3 <= e.high for e in together]) < 0.97
    assert np.mean([e.low <= 0.3 <= e.high for e in apart]) < 0.75
    assert share_of_deals(np.full(150, 2), four) == share(300, 600)
    assert share_of_deals(four, four) == share(150, 150)


def test_signed():
    assert mean(np.array([1.0])).signed() == "+1.00  [-inf, +inf]"
