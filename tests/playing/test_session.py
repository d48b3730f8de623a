"""A table without a console: moves, hints, what is taken back, who sees what, games that go on."""

import json

import numpy as np
import pytest

from actors.shards import uct
from scoundrel_ray import rng
from scoundrel_ray.game import Game, IllegalAction
from scoundrel_ray.players import heuristic, uniform
from scoundrel_ray.playing.record import GameRecord, load_all, proved
from scoundrel_ray.playing.session import Session, WrongTurn
from scoundrel_ray.settings.build import build
from scripts.entry import section

BLOB = build("game", {**section("game", "blob"), "players": 4, "cards": 3}, Game)
C4 = build("game", section("game", "connect_four"), Game)


@pytest.fixture(scope="module")
def players():
    made = {"agent": uct(C4, simulations=200), "random": uniform(C4), "deep": uct(C4, simulations=300)}
    yield made
    for name in ("agent", "deep"):
        made[name].close()


@pytest.fixture(scope="module")
def blob_players():
    return {"agent": Telling(uct(BLOB, simulations=60)), "heuristic": heuristic(BLOB), "random": uniform(BLOB)}


class Telling:
    """A player that tells what it finds before it ends, however quickly it does."""

    def __init__(self, player):
        self.player = player

    def choose(self, states, streams):
        return self.player.choose(states, streams)

    def decide(self, states, streams, watch=None):
        row = self.player.decide(states, streams)
        if watch is not None:
            watch(row)
        return row


def session_of(game, seats, players, seed=5, ponder=False, actions=()):
    record = GameRecord(dict(game.section), [seed], list(actions), players=list(seats))
    return Session(game, record, seats, players, "agent", ponder)


def to_the_end(session, choose=lambda view: view.legal[0]):
    """The session, played on by a person who chooses so."""
    while session.turn is not None:
        if session.awaits_person:
            session.play(choose(session.view(session.turn)))
        else:
            session.move()
    return session


def snapshot(session):
    return session.record.line(), session.state.tobytes(), [session.view(seat) for seat in range(session.game.seats)]


def test_a_person_and_an_agent_play_to_the_end(players, tmp_path):
    session = session_of(C4, ["human", "agent"], players)
    assert session.turn == 0 and session.awaits_person and session.view(0).legal == list(range(7))
    assert session.play(3).action == 3 and session.record.actions == [3]
    seen = []
    choice = session.move(seen.append)
    assert choice.seat == 1 and choice.player == "agent" and choice.thought == session.record.thoughts[-1]
    assert session.record.actions == [3, choice.action]
    to_the_end(session)
    view = session.view(None)
    assert view.turn is None and view.legal == [] and view.scores == session.record.scores and sum(view.won) <= 1
    with pytest.raises(WrongTurn, match="the game is over"):
        session.play(0)
    with pytest.raises(WrongTurn, match="the game is over"):
        session.move()
    with pytest.raises(WrongTurn, match="the game is over"):
        session.hint()
    session.record.save(tmp_path / "game.json")
    (again,) = load_all(tmp_path / "game.json")
    proved("here", again)
    assert again.players == ["human", "agent"] and again.scores == session.record.scores
    assert json.loads(json.dumps(view.as_dict()))["names"] == ["human", "agent"]


def test_any_player_sits_in_any_seat(blob_players):
    """The decisions are those that each player takes alone, with the stream of their number in the game."""
    seats = ["random", "agent", "heuristic", "agent"]
    session = to_the_end(session_of(BLOB, seats, blob_players))
    record = session.record
    assert {each.seat for each in record.thoughts} == {1, 3}
    states = record.states(BLOB)
    for number, action in enumerate(record.actions):
        seat, legal = BLOB.seat(states[number]), BLOB.legal(states[number])
        if len(legal) > 1:
            stream = rng.stream(5, 1, number)
            player = blob_players[seats[seat]]
            assert action == player.choose(states[number][None], stream[None])[0], (number, seats[seat])
    assert record.players == seats and len(record.scores) == 4


@pytest.mark.parametrize("ponder", [False, True])
def test_a_hint_is_what_the_agent_would_play_there(players, ponder):
    session = session_of(C4, ["human", "agent"], players, ponder=ponder)
    for _ in range(3):
        session.think_ahead()
        seen = []
        first, second = session.hint(seen.append), session.hint()
        assert first == second and first.player == "agent" and first.thought.seat == 0  # earlier hints change nothing
        assert all(each.seat == 0 and each.thought is not None for each in seen)
        plays = session_of(C4, ["agent", "agent"], players, actions=session.record.actions)
        assert plays.move() == first
        session.play(first.action)
        session.move()
    assert not [each for each in session.record.thoughts if each.seat == 0]  # hints are not recorded


def test_pondering_changes_no_move(players):
    seats = ["human", "deep"]  # of another player than the one that hints
    wanted = to_the_end(session_of(C4, seats, players))

    def choose(view):
        pondering.think_ahead()
        while not pondering._ponderer._known and len(view.legal) > 1:
            pass
        return view.legal[0]

    pondering = session_of(C4, seats, players, ponder=True)
    assert to_the_end(pondering, choose).record.line() == wanted.record.line()
    assert {sum(each.visits) for each in wanted.record.thoughts} == {300}
    with pytest.raises(ValueError, match="ponder: got true, but the agent does not search"):
        session_of(C4, seats, {**players, "agent": players["random"]}, ponder=True)


def test_undo_takes_back_the_agents_moves_up_to_the_persons_own(players):
    session = session_of(C4, ["human", "agent"], players)
    session.play(3)
    before = snapshot(session)
    reply = session.move()
    after = snapshot(session)
    session.play(2)
    session.move()
    assert session.undo() == 2 and snapshot(session) == after
    assert session.undo() == 2 and session.record.actions == [] and session.record.thoughts == []
    assert session.undo() == 0 and session.turn == 0
    session.play(3)
    assert snapshot(session) == before and session.move() == reply  # and it is answered as before
    to_the_end(session)
    over = session.record.line()
    assert session.undo() > 0 and session.awaits_person and session.record.scores == [] and session.view(0).legal
    assert to_the_end(session).record.line() == over


def test_undo_passes_over_several_agents(blob_players):
    opener = session_of(BLOB, ["random"] * 4, blob_players).turn
    seats = np.roll(["heuristic", "human", "agent", "random"], opener).tolist()
    session = session_of(BLOB, seats, blob_players)
    session.move()
    assert session.undo() == 0 and len(session.record.actions) == 1  # no person has chosen yet
    before = snapshot(session)
    session.play(session.view(session.turn).legal[0])
    assert session.move().player == "agent" and session.record.thoughts
    assert session.move().player == "random"
    while not session.awaits_person:
        session.move()
    assert session.undo() >= 3 and snapshot(session) == before


def test_two_people_share_a_table(players):
    session = session_of(C4, ["human", "human"], players)
    session.play(0)
    session.play(1)
    assert session.undo() == 1 and session.record.actions == [0] and session.turn == 1


@pytest.mark.parametrize("action", [-1, 7, 0, 10**6])
def test_an_illegal_move_is_refused_and_nothing_is_changed(players, action):
    session = session_of(C4, ["human", "human"], players, actions=[0, 0, 0, 0, 0, 0])  # a full column
    before = snapshot(session)
    with pytest.raises(IllegalAction, match="is not legal here"):
        session.play(action)
    assert snapshot(session) == before
    for wrong in ("1", 1.5, None):
        with pytest.raises(TypeError):
            session.play(wrong)
    assert snapshot(session) == before


def test_nobody_moves_out_of_turn(players):
    session = session_of(C4, ["human", "agent"], players)
    before = snapshot(session)
    with pytest.raises(WrongTurn, match="a person is to move, in seat 0"):
        session.move()
    assert snapshot(session) == before
    session.play(3)
    before = snapshot(session)
    for attempt in (lambda: session.play(3), session.hint):
        with pytest.raises(WrongTurn, match="agent is to move, in seat 1"):
            attempt()
    assert snapshot(session) == before


def test_a_seat_is_never_shown_what_it_must_not_know(blob_players):
    """Another deal of all that it cannot know looks the same to it, all through a game."""
    session = session_of(BLOB, ["human", "agent", "heuristic", "human"], blob_players)
    differed = False
    while session.turn is not None:
        actual = session.state
        for seat in range(4):
            wanted = session.view(seat)
            assert (wanted.legal != []) == (seat == session.turn)
            for salt in range(3):
                session._states[-1] = BLOB.redeal(actual, seat, rng.stream(salt, seat))
                differed |= not np.array_equal(session.state, actual)
                assert session.view(seat) == wanted
            session._states[-1] = actual
        with pytest.raises(WrongTurn, match="all is shown when the game is over"):
            session.view(None)
        seen = []
        if session.awaits_person:
            hint = session.hint(seen.append)  # of the person's own hand
            assert {each.seat for each in (hint, *seen)} == {session.turn}
            assert bool(seen) == (hint.thought is not None) == (len(session.view(session.turn).legal) > 1)
            session.play(session.view(session.turn).legal[0])
        else:
            choice = session.move(seen.append)
            assert choice.thought is None and not seen  # it would show the agent's hand
    assert differed and session.keeps_thoughts and session.view(None).scores is not None
    assert any(each.seat == 1 for each in session.record.thoughts)  # they are kept for those who watch later


def test_thoughts_are_shown_where_they_give_nothing_away(players, blob_players):
    assert session_of(BLOB, ["agent"] * 4, blob_players).move().thought is not None  # no person at the table
    session = session_of(C4, ["human", "agent"], players, actions=[3])
    assert session.move().thought is not None  # nothing is hidden


def test_a_game_goes_on_from_its_record(players):
    whole = to_the_end(session_of(C4, ["human", "agent"], players))
    half = len(whole.record.actions) // 2
    record = GameRecord(dict(C4.section), [5], whole.record.actions[:half], players=["human", "agent"])
    record.thoughts = [each for each in whole.record.thoughts if each.move < half]
    resumed = Session(C4, record, ["human", "agent"], players, "agent")
    assert to_the_end(resumed).record.line() == whole.record.line()
    over = Session(C4, whole.record, ["human", "agent"], players, "agent")
    assert over.turn is None and over.view(None).scores == whole.record.scores


def test_seats_are_checked(players):
    for seats in (["human"], ["human", "cat"]):
        with pytest.raises(ValueError, match=r"seats: got .*, wanted 2 of human, agent, random, deep"):
            session_of(C4, seats, players)
    with pytest.raises(ValueError, match="seat: got 2, wanted one of the 2 that play"):
        session_of(C4, ["human", "agent"], players).view(2)


def test_nothing_is_printed_or_asked(players, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    session = session_of(C4, ["human", "agent"], players)
    session.hint(lambda choice: None)
    to_the_end(session)
    assert capsys.readouterr() == ("", "")
