"""Matches over fixed deals: who sits where, the same deals for everybody, the same result in any pieces."""

import numpy as np
import pytest

from actors.search import uct
from scoundrel_ray.evaluation import standings
from scoundrel_ray.evaluation.match import all_deals_alike, play_match, seatings
from scoundrel_ray.games import connect_four, scoundrel, tic_tac_toe
from scoundrel_ray.games.connect_four import CELLS
from scoundrel_ray.players import uniform

SCOUNDREL, C4, TTT = scoundrel.make(), connect_four.make(), tic_tac_toe.make()


def test_every_deal_is_played_from_every_seat():
    np.testing.assert_array_equal(seatings(C4, np.arange(4)), [[0, 1], [1, 0], [0, 1], [1, 0]])
    np.testing.assert_array_equal(seatings(SCOUNDREL, np.arange(3)), [[0], [0], [0]])


@pytest.mark.parametrize(("game", "players"), [(SCOUNDREL, [uniform]), (C4, [uniform, uniform])], ids=["one", "two"])
def test_a_match_in_pieces_is_the_match(game, players):
    """A game's result depends on its number alone, so shards can be dealt out in any way."""
    made = [player(game) for player in players]
    whole = play_match(game, made, 5, 0, 40)
    pieces = [play_match(game, made, 5, first, count) for first, count in ((0, 7), (7, 20), (27, 13))]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
    assert not np.array_equal(whole, play_match(game, made, 6, 0, 40))


def test_a_search_player_is_independent_of_its_neighbours():
    player = uct(SCOUNDREL, simulations=50)
    whole = play_match(SCOUNDREL, [player], 1, 0, 20)
    np.testing.assert_array_equal(whole[5:9], play_match(SCOUNDREL, [player], 1, 5, 4))


def test_scores_belong_to_the_first_player_in_either_seat():
    """A perfect player never loses tic-tac-toe, whichever seat it has."""
    strong = uct(TTT, simulations=2000)
    scores = play_match(TTT, [strong, uniform(TTT)], 0, 0, 40, opening=1)  # any first move still draws
    assert (scores >= 0).all() and scores.mean() > 0.7


def test_games_without_chance_open_at_random_and_alike_from_both_seats():
    """Two players who never draw would otherwise play one game over and over."""
    assert all_deals_alike(C4) and not all_deals_alike(SCOUNDREL)
    player = uct(C4, simulations=100)
    assert len(set(play_match(C4, [player, player], 0, 0, 40))) > 1
    scores = play_match(C4, [player, player], 0, 0, 40, opening=CELLS)
    np.testing.assert_array_equal(scores[::2], -scores[1::2])  # played out by chance alone: the same game twice


def test_the_number_of_players_is_checked():
    with pytest.raises(ValueError, match="match: got 1 players for 2 seats, wanted 2"):
        play_match(C4, [uniform(C4)], 0, 0, 1)


def test_pairings():
    assert standings.pairings(SCOUNDREL, "a", ["b", "c"]) == [("a",), ("b",), ("c",)]
    assert standings.pairings(C4, "a", ["b", "c"]) == [("a", "b"), ("a", "c")]


def test_standings_of_one_seat_compare_deal_by_deal():
    generator = np.random.default_rng(0)
    deal = generator.normal(-50, 30, size=400)
    scores = {("a",): deal + 3 + generator.normal(0, 1, 400), ("b",): deal}
    found = standings.standings(SCOUNDREL, scores)
    assert [s.player for s in found] == ["a", "b"]
    assert found[0].win_rate.value == (scores[("a",)] > 0).mean()
    verdict = standings.verdict(SCOUNDREL, scores, "a", "b")
    assert 2.8 < verdict["difference"]["value"] < 3.2 and verdict["difference"]["low"] > 2.8
    assert not verdict["beats"]  # certain deal by deal, but the players' own intervals touch: that is what is asked
    scores[("a",)] = deal + 20
    assert standings.verdict(SCOUNDREL, scores, "a", "b")["beats"]


def test_standings_of_two_seats_compare_with_even():
    scores = {("a", "b"): np.array([1.0] * 60 + [-1.0] * 40)}
    found = standings.standings(C4, scores)
    assert found[0].opponent == "b" and found[0].win_rate.value == 0.6
    verdict = standings.verdict(C4, scores, "a", "b")
    assert verdict["difference"]["value"] == pytest.approx(0.2) and verdict["beats"]


def test_standings_are_drawn(tmp_path):
    found = standings.standings(SCOUNDREL, {("a",): np.array([1.0, 2.0]), ("b",): np.array([-3.0, 4.0])})
    standings.draw(found, tmp_path / "plot.png", "title")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
