"""Scores of whole deals: differences, incomplete deals, empty seats, wins."""

import numpy as np
import pytest

from scoundrel_ray.conformance import check_game
from scoundrel_ray.evaluation import standings
from scoundrel_ray.evaluation.deals import (
    by_deal,
    differences,
    mean_scores,
    own_scores,
    scores_of_seats,
    whole_deals,
    win_rate,
)
from scoundrel_ray.evaluation.intervals import mean
from scoundrel_ray.evaluation.match import play_games, play_match
from scoundrel_ray.games import connect_four, scoundrel
from scoundrel_ray.players import heuristic, uniform
from tests.evaluation import high_card
from tests.evaluation.high_card import Salted

SCOUNDREL, C4, THREE, FOUR = scoundrel.make(), connect_four.make(), high_card.make(3), high_card.make(4)


def played(game, count, first=0, seed=5):
    return play_games(game, {"rule": heuristic(game), "random": uniform(game)}, seed, first, count)


@pytest.mark.parametrize("empty", [False, True])
def test_the_game_of_these_tests_keeps_the_contract(empty):
    check_game(high_card.make(3, empty))


def test_games_are_rounded_up_to_whole_deals():
    assert whole_deals(THREE, 0, 7) == (0, 9)
    assert whole_deals(THREE, 4, 1) == (3, 3)
    assert whole_deals(THREE, 3, 6) == (3, 6)
    assert whole_deals(SCOUNDREL, 4, 7) == (4, 7)


def test_differences_are_the_players_score_less_the_others_mean():
    scores = np.random.default_rng(0).integers(0, 14, (50, 4, 4)).astype(float)
    slow = [
        np.mean([deal[r, r] - np.mean([deal[r, s] for s in range(4) if s != r]) for r in range(4)]) for deal in scores
    ]
    np.testing.assert_allclose(differences(scores), slow, atol=1e-12)


def test_even_deals_differ_by_nothing_at_all():
    """Thirds must not leave a rounding error, which would count as a deal won or lost."""
    scores = np.array([[[10, 0, 0, 1], [10, 0, 0, 1], [10, 0, 0, 1], [10, 0, 0, 1]]], dtype=float)
    assert differences(scores).tolist() == [0.0]
    game = FOUR
    same = play_games(game, {"a": heuristic(game), "b": heuristic(game)}, 0, 0, 400)
    assert not differences(scores_of_seats(game, same).reshape(-1, 4, 4)).any()


def test_in_a_zero_sum_game_of_two_the_difference_is_twice_the_mean_score():
    game = C4
    records = play_games(game, {"a": uniform(game), "b": uniform(game)}, 1, 0, 60)
    scores = scores_of_seats(game, records).reshape(-1, 2, 2)
    own = play_match(game, [uniform(game), uniform(game)], 1, 0, 60)
    np.testing.assert_array_equal(own_scores(scores).ravel(), own)
    np.testing.assert_array_equal(differences(scores), 2 * mean_scores(scores))
    np.testing.assert_array_equal(mean_scores(scores), own.reshape(-1, 2).mean(axis=1))


def test_games_of_half_played_deals_are_left_out():
    records = played(THREE, 11, first=2)  # deals 0 and 4 in part, 1 to 3 whole
    found = by_deal(THREE, [*records, records[5]])
    assert sorted(found) == [(5, deal, 0, 0) for deal in (1, 2, 3)]
    whole = scores_of_seats(THREE, played(THREE, 9, first=3)).reshape(-1, 3, 3)
    np.testing.assert_array_equal(np.stack([found[key] for key in sorted(found)]), whole)


def test_empty_seats_count_for_nothing():
    """Three players at a table of four seats are three players."""
    records = played(high_card.make(3, empty=True), 80)
    scores = scores_of_seats(high_card.make(3, empty=True), records).reshape(-1, 4, 4)
    assert np.isnan(scores[:, 3]).all() and np.isnan(scores[:, :, 3]).all() and np.isfinite(scores[:, :3, :3]).all()
    three = scores[:, :3, :3].copy()
    game = high_card.make(3, empty=True)
    np.testing.assert_array_equal(differences(scores), differences(three))
    np.testing.assert_array_equal(mean_scores(scores), mean_scores(three))
    assert win_rate(game, scores) == win_rate(THREE, three)
    (standing,) = standings.standings(game, {("rule", "random"): scores})
    assert (standing.games, standing.deals) == (60, 20)


def test_who_has_won():
    scores = np.array([[11, 0, 0], [10, 10, 0], [np.nan, 0, -1]])
    assert THREE.won(scores).tolist() == [[True, False, False], [True, True, False], [False, True, False]]
    assert C4.won(np.array([[1.0, -1.0], [0.0, 0.0]])).tolist() == [[True, False], [False, False]]
    assert SCOUNDREL.won(np.array([1.0])).tolist() == [True]


def test_intervals_over_deals_cover_a_difference_of_nothing():
    """Who plays as the others do differs by 0; the games of a deal share its cards, so games are no unit."""
    game = high_card.make(3)
    records = play_games(game, {"a": Salted(game), "b": uniform(game)}, 3, 0, 300 * 3 * 20)
    parts = differences(scores_of_seats(game, records).reshape(-1, 3, 3)).reshape(300, 20)
    covered = [(e := mean(part)).low <= 0 <= e.high for part in parts]
    assert 0.9 < np.mean(covered) < 0.98  # 20 deals are few for a normal interval
