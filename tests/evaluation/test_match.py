"""Matches over fixed deals: who sits where, the same deals for everybody, the same result in any pieces."""

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from actors.shards import uct
from scoundrel_ray import rng
from scoundrel_ray.evaluation import standings
from scoundrel_ray.evaluation.deals import rotated, scores_of_players, scores_of_seats, seatings
from scoundrel_ray.evaluation.intervals import mean, share
from scoundrel_ray.evaluation.match import all_deals_alike, play_games, play_match, play_tables
from scoundrel_ray.game import Game
from scoundrel_ray.games import connect_four, scoundrel, tic_tac_toe
from scoundrel_ray.games.connect_four import CELLS
from scoundrel_ray.players import heuristic, uniform
from scoundrel_ray.playing.record import load_all, proved, save_all
from scoundrel_ray.settings.build import build
from scripts.entry import section
from tests.evaluation import high_card

SCOUNDREL, C4, TTT, THREE = scoundrel.make(), connect_four.make(), tic_tac_toe.make(), high_card.make(3)


def test_every_deal_is_played_from_every_seat():
    np.testing.assert_array_equal(seatings(C4, np.arange(4)), [[0, 1], [1, 0], [0, 1], [1, 0]])
    np.testing.assert_array_equal(seatings(THREE, np.arange(4)), [[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 1, 1]])
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
    player = uct(SCOUNDREL, simulations=50, executor="sequential")
    whole = play_match(SCOUNDREL, [player], 1, 0, 20)
    np.testing.assert_array_equal(whole[5:9], play_match(SCOUNDREL, [player], 1, 5, 4))


def test_scores_belong_to_the_first_player_in_either_seat():
    """A perfect player never loses tic-tac-toe, whichever seat it has."""
    strong = uct(TTT, simulations=2000, executor="sequential")
    scores = play_match(TTT, [strong, uniform(TTT)], 0, 0, 40, opening=1)  # any first move still draws
    assert (scores >= 0).all() and scores.mean() > 0.7


def test_games_without_chance_open_at_random_and_alike_from_both_seats():
    """Two players who never draw would otherwise play one game over and over."""
    assert all_deals_alike(C4) and not all_deals_alike(SCOUNDREL)
    player = uct(C4, simulations=100, executor="sequential")
    assert len(set(play_match(C4, [player, player], 0, 0, 40))) > 1
    scores = play_match(C4, [player, player], 0, 0, 40, opening=CELLS)
    np.testing.assert_array_equal(scores[::2], -scores[1::2])  # played out by chance alone: the same game twice


def test_the_number_of_players_is_checked():
    with pytest.raises(ValueError, match="match: got 1 players for 2 seats, wanted 2"):
        play_match(C4, [uniform(C4)], 0, 0, 1)


BLOB = build("game", {**section("game", "blob"), "players": 3, "cards": 3}, Game)


def three_players():
    return {"search": uct(BLOB, simulations=40), "rule": heuristic(BLOB), "random": uniform(BLOB)}


def test_three_players_at_one_table_take_every_seat_in_turn(tmp_path):
    numbers, players = np.arange(180), three_players()
    seating = rotated(np.arange(3), numbers)
    np.testing.assert_array_equal(seating[:4], [[0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 1, 2]])
    records = play_tables(BLOB, players, seating, numbers // 3, 7, settings={"rule": {"a": 1}})
    names = list(players)
    for record, row, number in zip(records, seating, numbers, strict=True):
        assert record.players == [names[each] for each in row] and record.seed == [7, number // 3, 0]
        assert record.seat == record.players.index("search") and record.settings == {"rule": {"a": 1}}
        assert record.thoughts and {each.seat for each in record.thoughts} == {record.seat}  # only this one searches
    scores = scores_of_players(BLOB, records, [*names, "nobody"])
    assert scores.shape == (180, 4) and np.isnan(scores[:, 3]).all()
    for row, record in zip(scores, records, strict=True):
        assert row[:3].tolist() == [record.scores[record.players.index(name)] for name in names]
    assert scores[:, 0].mean() > scores[:, 2].mean() + 1 and scores[:, 1].mean() > scores[:, 2].mean() + 1
    save_all(tmp_path / "games.jsonl", records)
    for record in load_all(tmp_path / "games.jsonl")[:9]:
        proved("here", record)


def test_a_table_depends_on_its_own_seating_alone():
    """Not on the tables beside it, nor on how often a player sits; a seat draws from its own stream."""
    numbers, players = np.arange(12), three_players()
    seating = rotated(np.arange(3), numbers)
    whole = [record.line() for record in play_tables(BLOB, players, seating, numbers // 3, 7)]
    piece = play_tables(BLOB, players, seating[4:9], numbers[4:9] // 3, 7)
    assert [record.line() for record in piece] == whole[4:9]
    alone = play_tables(BLOB, {"random": uniform(BLOB)}, np.zeros((4, 3), dtype=int), np.arange(4), 7)
    twins = {"a": uniform(BLOB), "b": uniform(BLOB), "c": uniform(BLOB)}
    apart = play_tables(BLOB, twins, np.tile([2, 0, 1], (4, 1)), np.arange(4), 7)
    assert [record.actions for record in alone] == [record.actions for record in apart]
    assert [record.seat for record in apart] == [1] * 4
    np.testing.assert_array_equal(
        scores_of_players(BLOB, alone, ["random"])[:, 0], [np.mean(record.scores) for record in alone]
    )


class Drawing:
    """Plays the first legal action, draws one word for it, and notes from which seat's stream."""

    def __init__(self):
        self.noted = []

    def choose(self, states, streams):
        for state, stream in zip(states, streams, strict=True):
            self.noted.append((BLOB.seat(state), stream.tolist()))
            rng.next_word(stream)
        return np.array([BLOB.legal(state)[0] for state in states], dtype=np.int16)


@pytest.mark.parametrize("seating", [[0, 1, 2], [2, 0, 1], [0, 0, 0]])
def test_every_seat_draws_from_a_stream_of_its_own(seating):
    """Whoever sits there: so the same player in the same seat of a deal plays the same, whoever its opponents are."""
    players = {name: Drawing() for name in "abc"}
    play_tables(BLOB, players, np.array([seating]), np.array([4]), 7)
    for number, player in enumerate(players.values()):
        own = {seat: rng.stream(7, 4, 1 + seat) for seat in range(3)}
        assert {seat for seat, _ in player.noted} == {seat for seat in range(3) if seating[seat] == number}
        for seat, stream in player.noted:
            assert stream == own[seat].tolist()
            rng.next_word(own[seat])


def test_one_among_copies_is_one_seating():
    players = {"search": uct(BLOB, simulations=40), "random": uniform(BLOB)}
    numbers = np.arange(5, 14)
    seating = seatings(BLOB, numbers)
    np.testing.assert_array_equal(seating[:2], [[1, 1, 0], [0, 1, 1]])
    tables = play_tables(BLOB, players, seating, numbers // 3, 3)
    assert [r.line() for r in tables] == [r.line() for r in play_games(BLOB, players, 3, 5, 9)]


def test_seats_that_stay_empty_need_nobody():
    game, anyone = high_card.make(3, empty=True), {"random": uniform(THREE)}
    records = play_tables(game, anyone, np.array([[0, 0, 0, -1]]), np.arange(1), 1)
    assert records[0].players == ["random"] * 3 + [""] and len(records[0].scores) == 4
    twins = {**anyone, "absent": uniform(THREE)}
    records = play_tables(game, twins, np.array([[0, 0, 0, 1]]), np.arange(1), 1)
    scores = scores_of_players(game, records, list(twins))
    assert np.isfinite(scores[0, 0]) and np.isnan(scores[0, 1])  # it sat where nobody plays
    with pytest.raises(ValueError, match="match: nobody sits in seat 1 of deal 5, wanted a player"):
        play_tables(game, anyone, np.array([[0, -1, 0, -1]]), np.array([5]), 1)
    for wrong in (np.zeros((1, 3), dtype=int), np.zeros((2, 4), dtype=int), np.full((1, 4), 1)):
        with pytest.raises(ValueError, match=r"match: a seating .* wanted \[1, 4\] of numbers below 1"):
            play_tables(game, anyone, wrong, np.arange(1), 1)


def test_pairings():
    assert standings.pairings(SCOUNDREL, "a", ["b", "c"]) == [("a",), ("b",), ("c",)]
    assert standings.pairings(C4, "a", ["b", "c"]) == [("a", "b"), ("a", "c")]


def of_one(scores):
    """Scores [D, 1, 1] of deals of one seat."""
    return np.asarray(scores, dtype=np.float64).reshape(-1, 1, 1)


def test_standings_of_one_seat_compare_deal_by_deal():
    generator = np.random.default_rng(0)
    deal = generator.normal(-50, 30, size=400)
    first = deal + 3 + generator.normal(0, 1, 400)
    scores = {("a",): of_one(first), ("b",): of_one(deal)}
    found = standings.standings(SCOUNDREL, scores)
    assert [(s.player, s.games, s.deals, s.difference) for s in found] == [("a", 400, 400, None), ("b", 400, 400, None)]
    assert found[0].win_rate == share(int((first > 0).sum()), 400) and found[0].score == mean(first)
    verdict = standings.verdict(SCOUNDREL, scores, "a", "b")
    assert verdict["difference"] == dataclasses.asdict(mean(first - deal)) and verdict["difference"]["low"] > 2.8
    assert verdict["beats"]  # certain deal by deal, which is what is printed, though the players' own intervals touch
    assert found[0].score.low < found[1].score.high
    scores["a",] = of_one(deal + np.where(np.arange(400) < 40, 60.0, -5.0))  # ahead in the mean, and not for certain
    verdict = standings.verdict(SCOUNDREL, scores, "a", "b")
    assert verdict["difference"]["value"] > 0 > verdict["difference"]["low"] and not verdict["beats"]
    assert not standings.verdict(SCOUNDREL, scores, "b", "a")["beats"]


def test_standings_of_two_seats_compare_the_two():
    """Thirty deals won from both seats, ten lost from both, ten won by whoever opened."""
    own = np.array([[1, 1]] * 30 + [[-1, -1]] * 10 + [[1, -1]] * 10, dtype=float)
    scores = np.stack([[[a, -a], [-b, b]] for a, b in own])
    found = standings.standings(C4, {("a", "b"): scores})
    assert (found[0].opponent, found[0].games, found[0].deals) == ("b", 100, 50)
    assert found[0].win_rate.value == 0.7 and found[0].score.value == pytest.approx(0.4)
    verdict = standings.verdict(C4, {("a", "b"): scores}, "a", "b")
    wanted = mean(np.array([2.0] * 30 + [-2.0] * 10 + [0.0] * 10))
    assert verdict["difference"] == dataclasses.asdict(wanted) and verdict["beats"]
    assert found[0].difference == wanted


def test_standings_of_three_seats_compare_with_the_others_at_the_table():
    """Scores are never below 0 here: it is the others that one must be ahead of."""
    players = {"rule": heuristic(THREE), "random": uniform(THREE)}
    for names, beats in ((("rule", "random"), True), (("random", "rule"), False)):
        records = play_games(THREE, {name: players[name] for name in names}, 2, 0, 600)
        scores = {names: scores_of_seats(THREE, records).reshape(-1, 3, 3)}
        verdict = standings.verdict(THREE, scores, *names)
        assert verdict["beats"] == beats and scores[names].mean() > 0
        assert (verdict["difference"]["high"] < 0) != beats
        text = io.StringIO()
        found = standings.standings(THREE, scores)
        standings.show(Console(file=text, width=200), THREE, found, [verdict])
        assert "score less its opponents' mean" in text.getvalue() and "games of 200 deals" in text.getvalue()


@pytest.mark.parametrize(("game", "pairings"), [(SCOUNDREL, [("a",), ("b",)]), (C4, [("a", "b")])], ids=["one", "two"])
def test_standings_are_drawn(tmp_path, game, pairings):
    scores = np.random.default_rng(0).normal(size=(4, game.seats, game.seats))
    found = standings.standings(game, {pairing: scores for pairing in pairings})
    standings.draw(found, tmp_path / "plot.png", "title")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
