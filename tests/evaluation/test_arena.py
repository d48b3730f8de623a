"""The arena: who meets whom, paired differences, ratings and their tables, for one, two and more seats."""

import io
import json

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from scoundrel_ray.evaluation import arena_report
from scoundrel_ray.evaluation.arena import paired_differences, results, round_robin
from scoundrel_ray.evaluation.deals import differences, mean_scores, scores_of_seats
from scoundrel_ray.evaluation.match import play_games
from scoundrel_ray.games import connect_four, scoundrel
from scoundrel_ray.players import heuristic, uniform
from tests.evaluation import high_card
from tests.evaluation.high_card import Salted

SCOUNDREL, C4, THREE = scoundrel.make(), connect_four.make(), high_card.make(3)


def tournament(game, players, deals=60):
    """Scores of a round robin."""
    return {
        match: scores_of_seats(
            game, play_games(game, {name: players[name] for name in match}, 1, 0, deals * game.seats)
        ).reshape(-1, game.seats, game.seats)
        for match in round_robin(game, list(players))
    }


def test_who_meets_whom():
    names = ["a", "b", "c"]
    assert round_robin(SCOUNDREL, names) == [("a",), ("b",), ("c",)]
    assert round_robin(C4, names) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert round_robin(THREE, names) == [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")]


def test_with_two_seats_one_way_is_both():
    players = {"a": Salted(C4), "b": uniform(C4)}
    scores = tournament(C4, players, 20)
    other = tournament(C4, dict(reversed(players.items())), 20)
    np.testing.assert_array_equal(differences(scores["a", "b"]), -differences(other["b", "a"]))


@pytest.mark.parametrize("game", [SCOUNDREL, C4, THREE], ids=lambda game: game.name)
def test_paired_differences_have_two_sides(game):
    scores = tournament(game, {"a": Salted(game), "b": uniform(game)})
    ahead = paired_differences(game, scores, "a", "b")
    np.testing.assert_array_equal(ahead, -paired_differences(game, scores, "b", "a"))
    assert ahead.shape == (60,) and ahead.any()


def test_a_player_and_its_copy_are_even_on_every_deal():
    scores = tournament(THREE, {"a": heuristic(THREE), "b": heuristic(THREE), "c": uniform(THREE)})
    result = results(THREE, scores, ["a", "b", "c"])
    first = result.pairings[0]
    assert (first.first, first.second, first.won, first.drawn, first.lost) == ("a", "b", 0, 60, 0)
    elo = {rating.player: rating.elo for rating in result.ratings}
    assert abs(elo["a"].value - elo["b"].value) < 5  # but for deals that went otherwise against c
    assert elo["c"].high < elo["a"].low


def test_one_seat_is_compared_deal_by_deal():
    players = {"rule": heuristic(SCOUNDREL), "random": uniform(SCOUNDREL)}
    scores = tournament(SCOUNDREL, players)
    result = results(SCOUNDREL, scores, list(players), "random")
    (pairing,) = result.pairings
    ahead = mean_scores(scores["rule",]) - mean_scores(scores["random",])
    assert pairing.won == (ahead > 0).sum() and pairing.difference.value == ahead.mean()
    assert [rating.player for rating in result.ratings] == ["rule", "random"]
    assert result.ratings[1].elo.value == 0.0 and result.ratings[0].elo.low > 0


def test_players_of_three_seats_are_ranked_as_they_are_strong():
    players = {f"sense {sense}": Salted(THREE, salt, sense) for salt, sense in enumerate((0.0, 0.5, 1.0), 1)}
    result = results(THREE, tournament(THREE, players, 300), list(players))
    assert [rating.player for rating in result.ratings] == ["sense 1.0", "sense 0.5", "sense 0.0"]
    assert all(pairing.difference.high < 0 for pairing in result.pairings)


def test_results_are_shown_drawn_and_plain_data(tmp_path):
    players = {"rule": heuristic(THREE), "random": uniform(THREE), "[other]": Salted(THREE)}
    result = results(THREE, tournament(THREE, players), list(players))
    text = io.StringIO()
    arena_report.show(Console(file=text, width=200), "high card", result)
    assert "less [other]'s" in text.getvalue() and "Elo [95 %]" in text.getvalue()
    between = arena_report.differences_between(result)
    assert between["rule", "random"].value == -between["random", "rule"].value > 0
    assert between["rule", "random"].low == -between["random", "rule"].high
    arena_report.draw(result, tmp_path / "plot.png", "high card")
    assert matplotlib.image.imread(tmp_path / "plot.png").size
    plain = json.loads(json.dumps(result.as_dict()))
    assert plain["ratings"][0]["player"] == "rule" and len(plain["pairings"]) == 3
