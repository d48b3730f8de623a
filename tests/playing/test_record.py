"""Recorded games: written, read back, replayed, and refused with the reason."""

import dataclasses
import json

import pytest

from scoundrel_ray import rng
from scoundrel_ray.game import Game
from scoundrel_ray.playing.record import GameRecord, InvalidRecord, Thought, load_all, proved, save_all
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig

SECTION = {"_target_": "scoundrel_ray.games.tic_tac_toe.make"}
PLAYED = GameRecord(
    SECTION, [5, 0], [0, 3, 1, 4, 2], ["a", "b"], 1, {"a": {}, "b": {"x": 1}}, 0, [1.0, -1.0],
    [Thought(0, 0, [0, 1], [3, 0], [0.5, None], [1.0, 0.0])],
)  # fmt: skip


THOUGHT = dataclasses.asdict(PLAYED.thoughts[0])


def test_a_collection_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "games.jsonl"
    begun = GameRecord(SECTION, [7], [4])
    save_all(path, [PLAYED, begun])
    first, second = load_all(path)
    assert first == PLAYED and first.score == -1.0
    assert (second.seed, second.actions, second.scores) == ([7], [4], [])
    assert len(path.read_text().splitlines()) == 2
    game = proved("here", first)
    assert isinstance(game, Game) and game.scores(first.states(game)[-1]).tolist() == [1.0, -1.0]


@pytest.mark.parametrize("lost", [1, 30])
def test_a_last_line_that_was_cut_off_costs_that_game_alone(tmp_path, caplog, lost):
    path = tmp_path / "games.jsonl"
    save_all(path, [PLAYED, GameRecord(SECTION, [7], [4])])
    path.write_bytes(path.read_bytes()[: -1 - lost])
    assert load_all(path) == [PLAYED]
    assert caplog.messages == [f"{path}, line 2: cut off and left out; the 1 games before it are whole"]


def test_a_last_line_without_its_end_of_line_is_whole_and_a_broken_one_within_is_not(tmp_path, caplog):
    path = tmp_path / "games.jsonl"
    save_all(path, [PLAYED, PLAYED])
    path.write_bytes(path.read_bytes()[:-1])
    assert load_all(path) == [PLAYED, PLAYED] and not caplog.messages
    path.write_text(PLAYED.line()[:-9] + "\n" + PLAYED.line())
    with pytest.raises(InvalidRecord, match="line 1: cannot read a record"):
        load_all(path)


def test_a_deal_comes_from_the_whole_path_of_its_seed():
    section = {"_target_": "scoundrel_ray.games.scoundrel.make"}
    game = build("game", section, Game)
    assert (GameRecord(section, [3, 1, 0]).states(game)[0] == game.deal(rng.stream(3, 1, 0))).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("{", "line 1: cannot read a record"),
        ("[]", "line 1: not a record of a game; wanted the keys format, game, seed, actions"),
        ({"format": 1}, "line 1: a record of another format, this version reads 2"),
        ({"seed": []}, "wanted a seed and actions that are integers >= 0"),
        ({"seed": [True]}, "wanted a seed and actions that are integers >= 0"),
        ({"actions": [-1]}, "wanted a seed and actions that are integers >= 0"),
        ({"scores": [1.0]}, "scores, players and seat do not fit together"),
        ({"seat": 2}, "scores, players and seat do not fit together"),
        ({"who": "me"}, "not a record of a game: "),
        ({"thoughts": [{"move": 1}]}, "not a record of a game: "),
        ({"thoughts": 1}, "not a record of a game: "),
        ({"thoughts": [{**THOUGHT, "visits": [1]}]}, "a visit count and a value for every action"),
        ({"thoughts": [{**THOUGHT, "move": []}]}, "wanted numbers for what was thought"),
        ({"players": 5}, "wanted players by name"),
        ({"players": [["a"], "b"]}, "wanted players by name"),
        ({"seat": 0.0}, "scores, players and seat do not fit together"),
        ({"actions": [10**30]}, "wanted a seed and actions that are integers >= 0"),
        ({"settings": 3}, "wanted settings by player"),
    ],
    ids=str,
)
def test_what_is_no_record_is_named(tmp_path, text, message):
    path = tmp_path / "games.jsonl"
    body = text if isinstance(text, str) else json.dumps({**json.loads(PLAYED.line()), **text})
    path.write_text(body)
    with pytest.raises(InvalidRecord) as error:
        load_all(path)
    assert str(path) in str(error.value) and message in str(error.value)


def test_records_that_do_not_replay_are_refused(tmp_path):
    with pytest.raises(InvalidRecord, match="here: tic_tac_toe: action 0"):
        proved("here", GameRecord(SECTION, [1], [0, 0]))
    with pytest.raises(InvalidRecord, match=r"here: scores .0.0, 0.0., but its actions lead to .1.0, -1.0."):
        proved("here", GameRecord(SECTION, [1], PLAYED.actions, ["a", "b"], scores=[0.0, 0.0]))
    with pytest.raises(InvalidRecord, match="scores of a game that is not over"):
        proved("here", GameRecord(SECTION, [1], [0], ["a", "b"], scores=[0.0, 0.0]))
    with pytest.raises(InvalidRecord, match="1 players, wanted 2"):
        proved("here", GameRecord(SECTION, [1], [0], ["a"]))
    with pytest.raises(InvalidRecord, match="thoughts of an action that tic_tac_toe has not"):
        proved("here", GameRecord(SECTION, [1], [0], thoughts=[Thought(0, 0, [99], [1], [0.0])]))
    with pytest.raises(InvalidConfig, match="makes no Game"):
        proved("here", GameRecord({"_target_": "os.getcwd"}, [1]))
    with pytest.raises(InvalidRecord, match="cannot read"):
        load_all(tmp_path / "nothing")
