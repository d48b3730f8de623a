"""Collections of recorded games, compared deal by deal."""

import dataclasses
import io

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from actors.shards import uct
from scoundrel_ray.evaluation.collection import collections, compare, draw
from scoundrel_ray.evaluation.intervals import mean
from scoundrel_ray.evaluation.match import play_games, play_match, scores_of
from scoundrel_ray.game import Game
from scoundrel_ray.players import heuristic, uniform
from scoundrel_ray.playing.record import InvalidRecord, load_all, proved, save_all
from scoundrel_ray.settings.build import build

SCOUNDREL = build("game", {"_target_": "scoundrel_ray.games.scoundrel.make"}, Game)
THREE = build("game", {"_target_": "tests.evaluation.high_card.make", "seats": 3}, Game)
C4 = build("game", {"_target_": "scoundrel_ray.games.connect_four.make"}, Game)


def saved(path, records):
    save_all(path, records)
    return path


def test_records_replay_to_their_scores_and_hold_what_was_thought():
    for game, others in ((SCOUNDREL, {}), (C4, {"random": uniform(C4)})):
        player = uct(game, simulations=40, executor="sequential")
        records = play_games(game, {"uct": player, **others}, 4, 3, 6)
        np.testing.assert_array_equal(scores_of(records), play_match(game, [player, *others.values()], 4, 3, 6))
        for number, record in enumerate(records, 3):
            assert record.seed == [4, number // game.seats, 0] and record.seat == number % game.seats
            states = record.states(proved("here", record))
            assert game.seat(states[-1]) == -1 and record.thoughts
            decided = [i for i, s in enumerate(states[:-1]) if len(game.legal(s)) > 1 and game.seat(s) == record.seat]
            assert {each.move for each in record.thoughts} <= set(decided)
            for each in record.thoughts:
                assert each.actions == game.legal(states[each.move]).tolist() and each.seat == record.seat
                assert record.actions[each.move] == each.actions[int(np.argmax(each.policy))]
                assert all(
                    (value is None) == (visits == 0) for value, visits in zip(each.values, each.visits, strict=True)
                )


def test_collections_are_compared_on_the_deals_they_share(tmp_path):
    rule, anyone = heuristic(SCOUNDREL), uniform(SCOUNDREL)
    first = play_games(SCOUNDREL, {"rule": rule}, 1, 0, 30)
    more = play_games(SCOUNDREL, {"rule": rule}, 1, 20, 20)  # of which ten are the same games
    other = play_games(SCOUNDREL, {"random": anyone}, 1, 10, 50)
    paths = [saved(tmp_path / "a.jsonl", [*first, *other]), saved(tmp_path / "b.jsonl", more)]
    game, found = collections(paths)
    assert [(each.name, len(each.scores)) for each in found] == [("rule", 40), ("random", 50)]
    text = io.StringIO()
    rows = compare(Console(file=text, width=200), game, found)
    assert "rule" in text.getvalue() and rows[0]["difference"] is None
    assert rows[1]["deals_in_common"] == 30
    wanted = mean(play_match(SCOUNDREL, [anyone], 1, 10, 30) - play_match(SCOUNDREL, [rule], 1, 10, 30))
    assert rows[1]["difference"] == pytest.approx(dataclasses.asdict(wanted))
    draw(game, found, tmp_path / "plot.png")
    assert matplotlib.image.imread(tmp_path / "plot.png").size


def test_players_of_one_name_and_other_settings_are_told_apart(tmp_path):
    games = [play_games(SCOUNDREL, {"x": uniform(SCOUNDREL)}, 1, 0, 2, settings={"x": {"n": n}}) for n in (1, 2)]
    paths = [saved(tmp_path / f"{name}.jsonl", each) for name, each in zip("ab", games, strict=True)]
    assert [each.name for each in collections(paths)[1]] == [f"x ({tmp_path.name}/a)", f"x ({tmp_path.name}/b)"]
    both = saved(tmp_path / "both.jsonl", [*games[0], *games[1]])
    names = [each.name for each in collections([both])[1]]
    assert len(set(names)) == 2


def test_three_players_of_one_name_have_three_names(tmp_path):
    games = [play_games(SCOUNDREL, {"x": uniform(SCOUNDREL)}, 1, 0, 1, settings={"x": {"n": n}}) for n in range(3)]
    path = saved(tmp_path / "a.jsonl", [*games[0], *games[1], *games[2]])
    name = f"x ({tmp_path.name}/a)"
    assert [each.name for each in collections([path])[1]] == [name, f"{name} #2", f"{name} #3"]


def test_games_that_opened_otherwise_are_other_games(tmp_path):
    players = {"a": uniform(C4), "b": uniform(C4)}
    paths = [
        saved(tmp_path / f"{opening}.jsonl", play_games(C4, players, 1, 0, 4, opening, {"a": {"n": opening}}))
        for opening in (0, 2)
    ]
    first, second = collections(paths)[1]
    assert len(first.less(second)) == 0


def test_seats_and_opponents_are_kept_apart(tmp_path):
    players = {"a": uniform(C4), "b": uniform(C4)}
    _, found = collections([saved(tmp_path / "a.jsonl", play_games(C4, players, 1, 0, 6))])
    assert [each.name for each in found] == ["a against b"] and len(found[0].scores) == 3  # deals


def test_collections_of_several_seats_are_compared_over_whole_deals(tmp_path):
    """As an interrupt leaves them, and against the same opponents."""
    own = {"rule": heuristic(THREE), "anyone": uniform(THREE)}
    anyone = {"random": uniform(THREE), "anyone": uniform(THREE)}
    paths = [saved(tmp_path / f"{name}.jsonl", play_games(THREE, each, 1, 0, count))
             for name, each, count in (("a", own, 92), ("b", anyone, 61))]  # fmt: skip
    game, found = collections(paths)
    rows = compare(Console(file=io.StringIO(), width=200), game, found)
    assert [(row["player"], row["games"], row["deals"]) for row in rows] == [
        ("rule against anyone", 90, 30), ("random against anyone", 60, 20),
    ]  # fmt: skip
    first, second = (play_match(THREE, list(each.values()), 1, 0, 60).reshape(20, 3) for each in (own, anyone))
    wanted = mean(second.mean(axis=1) - first.mean(axis=1))
    assert rows[1]["difference"] == pytest.approx(dataclasses.asdict(wanted)) and rows[1]["deals_in_common"] == 20
    assert rows[0]["ahead"]["low"] > 0
    assert rows[1]["ahead"] == {"value": 0.0, "low": 0.0, "high": 0.0}  # among copies, which draw as it does
    draw(game, found, tmp_path / "plot.png")
    with pytest.raises(InvalidRecord, match="rule against anyone: no deal was played from every seat, wanted"):
        collections([saved(tmp_path / "c.jsonl", play_games(THREE, own, 1, 1, 2))])


def test_games_of_another_kind_or_without_an_end_are_refused(tmp_path):
    one = saved(tmp_path / "one.jsonl", play_games(SCOUNDREL, {"x": uniform(SCOUNDREL)}, 1, 0, 2))
    players = {"a": uniform(C4), "b": uniform(C4)}
    other = saved(tmp_path / "other.jsonl", play_games(C4, players, 1, 0, 2))
    with pytest.raises(InvalidRecord, match=r"other.jsonl, line 1: a game of .*connect_four.* wanted .*scoundrel"):
        collections([one, other])
    record = load_all(one)[0]
    record.scores = []
    with pytest.raises(InvalidRecord, match="line 1: a game without an end"):
        collections([saved(tmp_path / "begun.jsonl", [record])])
    record.scores = [-1.0]
    with pytest.raises(InvalidRecord, match="its actions lead to"):
        collections([saved(tmp_path / "wrong.jsonl", [record])])
