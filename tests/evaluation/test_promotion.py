"""Promotion: an equal challenger passes as often as it fails, a better one more often, and what the trap would do."""

import numpy as np
import pytest

from scoundrel_ray.evaluation.arena import paired_differences, round_robin
from scoundrel_ray.evaluation.deals import differences, scores_of_seats
from scoundrel_ray.evaluation.match import play_games
from scoundrel_ray.evaluation.promotion import pass_probability, promotes
from scoundrel_ray.players import uniform
from tests.evaluation import high_card
from tests.evaluation.high_card import Salted

SEATS = 4
BIDS = np.array([0, 1, 2, 3])


def deals_of(generator, own, others, count):
    """Scores [count, 4, 4] as of Blob: 10 + bid for an exact bid, else 0, each seat's cards easy or hard to bid on.

    The player in question is exact with chance `own`, the others with chance `others`, more or less as the cards are.
    """
    cards = generator.uniform(-0.25, 0.25, (count, 1, SEATS))
    skill = np.where(np.eye(SEATS, dtype=bool), own, others)
    exact = generator.random((count, SEATS, SEATS)) < skill + cards
    return np.where(exact, 10 + generator.choice(BIDS, (count, SEATS, SEATS)), 0).astype(float)


def paired(generator, challenger, best, count):
    """Differences [count] of both ways round."""
    one, other = deals_of(generator, challenger, best, count), deals_of(generator, best, challenger, count)
    return (differences(one) - differences(other)) / 2


def passes(challenger, best, deals, confidence=0.0, tests=1000):
    """Share of promotion tests of so many deals that a challenger passes, and the share that was to be expected."""
    generator = np.random.default_rng(7)
    ahead = paired(generator, challenger, best, tests * deals).reshape(tests, deals)
    rate = np.mean([bool(promotes(each, confidence, coin=generator)) for each in ahead])
    return rate, pass_probability(float(ahead.mean()), float(ahead.std()), deals, confidence)


@pytest.mark.parametrize("deals", [10, 50])
def test_an_equal_challenger_passes_as_often_as_it_fails(deals):
    rate, _ = passes(0.5, 0.5, deals)
    assert abs(rate - 0.5) < 3 * 0.5 / np.sqrt(1000)


def test_the_chance_to_pass_rises_with_strength_and_with_deals():
    worse, equal, better, much = (passes(own, 0.5, 50)[0] for own in (0.47, 0.5, 0.53, 0.6))
    assert worse < equal - 0.1 and equal + 0.1 < better < much and much > 0.95
    assert passes(0.53, 0.5, 200)[0] > better + 0.1
    assert passes(0.47, 0.5, 200)[0] < worse - 0.1


@pytest.mark.parametrize("confidence", [0.0, 1.0])
@pytest.mark.parametrize("own", [0.47, 0.5, 0.55])
def test_the_chance_to_pass_is_as_foretold(own, confidence):
    rate, foretold = passes(own, 0.5, 80, confidence)
    assert rate == pytest.approx(foretold, abs=0.05)


def test_confidence_lets_few_equal_ones_pass():
    assert passes(0.5, 0.5, 100, confidence=1.645)[0] == pytest.approx(0.05, abs=0.03)


def test_the_published_trap_passes_no_equal_one():
    """One challenger that must beat the best of three champions in 55 % of games; it wins one game in four."""
    generator = np.random.default_rng(7)
    scores = deals_of(generator, 0.5, 0.5, 300 * 50).reshape(300, 200, SEATS)  # a challenger in seat 0 of each game
    won = scores[:, :, 0] > scores[:, :, 1:].max(axis=2)
    assert np.mean(won.mean(axis=1) > 0.55) == 0.0
    assert won.mean() <= 1 / SEATS


def test_players_of_a_game_of_four_seats():
    """The same with games that were played: uniform players of different draws, and one with a little sense."""
    game, deals, tests = high_card.make(4), 12, 120
    rates = []
    for sense in (0.0, 0.3):
        players = {"new": Salted(game, sense=sense), "best": uniform(game)}
        scores = {
            match: scores_of_seats(
                game, play_games(game, {name: players[name] for name in match}, 9, 0, 4 * deals * tests)
            ).reshape(-1, 4, 4)
            for match in round_robin(game, list(players))
        }
        ahead = paired_differences(game, scores, "new", "best").reshape(tests, deals)
        coin = np.random.default_rng(0)
        rates.append(np.mean([bool(promotes(each, coin=coin)) for each in ahead]))
    assert abs(rates[0] - 0.5) < 3 * 0.5 / np.sqrt(tests)
    assert rates[1] > 0.75


def test_a_copy_is_even_and_a_coin_decides():
    nothing = np.zeros(20)
    assert not promotes(nothing)
    coin = np.random.default_rng(0)
    assert 0.4 < np.mean([bool(promotes(nothing, coin=coin)) for _ in range(400)]) < 0.6
    assert not any(promotes(nothing, confidence=1.0, coin=coin) for _ in range(20))
    thirds = np.array([1 / 3, 1 / 3, -2 / 3]) * 0.1
    assert not promotes(thirds)  # even but for rounding


def test_decisions_say_what_they_rest_on():
    decision = promotes(np.array([1.0, 2.0, 3.0]))
    assert decision.promoted and decision.deals == 3 and decision.difference.value == 2.0
    assert decision.as_dict()["difference"]["value"] == 2.0
    assert not promotes(np.array([1.0, 2.0, 3.0]), least_deals=4)
    assert not promotes(np.zeros(0)) and promotes(np.array([1.0]))
    assert not promotes(np.array([1.0]), confidence=0.1)  # one deal has no standard error
    assert not promotes(np.array([1.0, -0.9]), confidence=1.0)
    with pytest.raises(ValueError, match="confidence: got -1"):
        promotes(np.ones(3), confidence=-1)


def test_the_table_of_chances_is_right():
    assert pass_probability(0.0, 3.0, 400) == 0.5
    assert pass_probability(0.1, 1.0, 100) == pytest.approx(0.8413, abs=1e-4)
    assert pass_probability(0.05, 1.0, 400) == pytest.approx(0.84, abs=5e-3)
    assert pass_probability(0.05, 1.0, 1600) == pytest.approx(0.98, abs=5e-3)
