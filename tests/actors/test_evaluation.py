"""Evaluation on actors: the same records from any number of them and whichever die; trained agents by `_target_`."""

import contextlib
import os
import signal
import time

import numpy as np
import psutil
import pytest

from actors.evaluation import MatchPool, evaluate
from inference.agent import digest
from scoundrel_ray.evaluation.match import play_games
from scoundrel_ray.game import Game
from scoundrel_ray.players import Player, participant
from scoundrel_ray.playing.record import proved
from scoundrel_ray.runs.directory import checkpoint_weights
from scoundrel_ray.runs.settings import EvaluationConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.storage.weights import load_weights
from scripts.entry import section
from tests.scripts.test_arena_command import fake_run

GAME = build("game", section("game", "connect_four"), Game)
SEARCH = {"_target_": "actors.shards.uct", "simulations": 400, "shards": 1}
RANDOM = {"_target_": "scoundrel_ray.players.uniform"}
DYING = "tests.actors.dying_players"
TRAINED = "inference.agent.trained"
ray_at_hand = pytest.mark.usefixtures("local_ray")


def played(players, matches, progress=lambda done, total: None, game=GAME, **config):
    """Records of matches between players, sections by name."""
    found = []
    settings = EvaluationConfig(**{"games": 12, "shard": 4, "workers": 2, **config})
    made = {name: participant(name, each, game, positions=settings.shard) for name, each in players.items()}
    evaluate(game, made, matches, settings, progress, found)
    return [record.line() for record in found]


def evaluation_actors():
    """Titles of the evaluation actors' processes by their numbers; they tell what each is at."""
    titles = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            titles[process.pid] = " ".join(process.cmdline())
    return {pid: title for pid, title in titles.items() if "ray::EvaluationActor" in title}


@pytest.mark.ray
@ray_at_hand
def test_an_interrupt_keeps_every_game_that_is_over_also_of_shards_that_are_not(monkeypatch):
    """Games of Scoundrel end one by one; those of a shard under way are asked for when the evaluation is broken off."""
    game = build("game", section("game", "scoundrel"), Game)
    ended = MatchPool.ended

    def once_there(pool):
        while not any((found := ended(pool)).values()):
            time.sleep(0.05)
        assert {name: len(records) < 30 for name, records in found.items()} == {"games 0 to 29 of uct": True}
        return found

    def interrupt(done, _total):
        if done:
            raise KeyboardInterrupt

    monkeypatch.setattr(MatchPool, "ended", once_there)
    players = {"random": RANDOM, "uct": {**SEARCH, "simulations": 20_000}}
    made = {name: participant(name, each, game, positions=30) for name, each in players.items()}
    kept = []
    with pytest.raises(KeyboardInterrupt):
        settings = EvaluationConfig(games=30, shard=30, workers=2)
        evaluate(game, made, [("random",), ("uct",)], settings, interrupt, kept)
    names = [record.players[0] for record in kept]
    assert names[:30] == ["random"] * 30 and set(names[30:]) == {"uct"}
    for record in kept:
        assert record.scores and proved("kept", record)  # they are whole
    for record in kept[30:]:
        assert len(record.thoughts) > 3 and record.thoughts[-1].move < len(record.actions)


@pytest.mark.ray
@ray_at_hand
def test_a_killed_actor_changes_nothing():
    players = {"uct": SEARCH, "random": RANDOM}
    wanted = played(players, [("uct", "random")])
    game = play_games(
        GAME, {name: build(name, each, Player, GAME) for name, each in players.items()}, 1_000_003, 4, 4, 4, players
    )
    assert wanted[4:8] == [record.line() for record in game]  # as in this process
    killed = []

    def kill(done, _total):
        at_play = [pid for pid, what in evaluation_actors().items() if "play" in what]
        if done and not killed and at_play:
            killed.append(at_play[0])
            os.kill(at_play[0], signal.SIGKILL)

    assert played({"uct": SEARCH, "random": RANDOM}, [("uct", "random")], kill, games=40)[:12] == wanted
    assert killed


@pytest.mark.ray
@ray_at_hand
def test_a_player_that_always_kills_its_process_is_named_with_its_games():
    players = {"uct": {**SEARCH, "simulations": 20}, "bad": {"_target_": f"{DYING}.AlwaysDies"}}
    before, found = time.monotonic(), []
    config = EvaluationConfig(games=8, shard=4, workers=1)
    made = {name: participant(name, each, GAME) for name, each in players.items()}
    with pytest.raises(RuntimeError, match=r"^games 0 to 3 of uct against bad: its actor died 3 times") as raised:
        evaluate(GAME, made, [("uct", "bad")], config, lambda *_: None, found)
    assert "\n" not in str(raised.value) and time.monotonic() - before < 60 and not found


@pytest.mark.ray
@ray_at_hand
@pytest.mark.parametrize("workers", [1, 2])
def test_a_player_that_kills_its_process_once_changes_nothing(tmp_path, workers):
    file = tmp_path / "died"
    players = {"once": {"_target_": f"{DYING}.DiesOnce", "file": str(file)}, "random": RANDOM}
    found = played(players, [("once", "random")], workers=workers)
    assert file.exists()
    assert found == played(players, [("once", "random")], workers=workers)


@pytest.mark.ray
@ray_at_hand
@pytest.mark.parametrize(
    ("kind", "wanted"), [("value", ValueError), ("runtime", RuntimeError), ("memory", MemoryError)]
)
def test_what_a_player_raises_comes_out_and_what_was_played_is_kept(kind, wanted):
    players = {"uct": {**SEARCH, "simulations": 20}, "random": RANDOM}
    players["bad"] = {"_target_": f"{DYING}.Refuses", "kind": kind}
    made, found = {name: participant(name, each, GAME) for name, each in players.items()}, []
    config = EvaluationConfig(games=8, shard=4, workers=1)
    with pytest.raises(wanted, match=r"^no move pleases me$") as raised:
        evaluate(GAME, made, [("uct", "random"), ("uct", "bad")], config, lambda *_: None, found)
    assert type(raised.value) is wanted
    assert 8 <= len(found) <= 12  # and what was over of the next shard


@pytest.mark.ray
@ray_at_hand
def test_an_interrupt_leaves_the_games_that_were_played():
    found = []
    players = {"uct": {**SEARCH, "simulations": 20}, "random": RANDOM}
    made = {name: participant(name, each, GAME) for name, each in players.items()}

    def interrupt(done, _total):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(GAME, made, [("uct", "random")], EvaluationConfig(games=40, shard=4, workers=1), interrupt, found)
    assert 8 <= len(found) <= 12  # and what was over of the next shard
    deadline = time.monotonic() + 30
    while evaluation_actors():
        assert time.monotonic() < deadline, "an actor outlived its evaluation"
        time.sleep(0.1)


@pytest.fixture
def run(tmp_path):
    return fake_run(tmp_path / "run", versions=(1, 2))


def test_a_trained_agent_is_read_once_with_what_its_run_says(run):
    game = build("game", section("game", "tic_tac_toe"), Game)
    file = checkpoint_weights(run, "agent")[-1]
    saved = load_weights(file)
    for weights in (run, file):
        made = participant("p", {"_target_": TRAINED, "weights": str(weights)}, game, positions=20, threads=1)
        assert made.section["network"] == saved.network and made.section["search"]["simulations"] == 8
        assert made.section["positions"] == 20 and made.section["threads"] == 1
        assert all(np.array_equal(made.arrays["weights"][name], array) for name, array in saved.arrays.items())
        # As records have always named agents: without what depends on the machine.
        assert made.recorded == {**made.recorded, "weights": digest(saved.arrays)}
        assert list(made.recorded) == ["network", "search", "weights"]
    own = {"_target_": TRAINED, "weights": str(run), "simulations": 3, "tree": "per_world", "worlds": 2}
    own |= {"positions": 5, "threads": None}
    made = participant("p", own, game, positions=20)
    assert (made.section["search"]["simulations"], made.section["search"]["worlds"]) == (3, 2)
    assert made.section["positions"] == 5
    first = participant("p", {**own, "weights": str(checkpoint_weights(run, "agent")[0])}, game)
    assert first.recorded["weights"] != made.recorded["weights"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "nowhere"}, "cannot read nowhere"),
        ({"weights": None}, "p: weights: got None"),
        ({"simulations": -1}, "p: simulations: got -1"),
        ({"simulation": 4}, "p: .*unexpected keyword argument 'simulation'"),
        ({"weights": {}}, "p: network, search: got null beside weights that are arrays"),
        ({"positions": -1}, "p: positions: got -1"),
    ],
)
def test_a_trained_agent_that_cannot_be_is_refused_in_one_line(run, changes, message):
    game = build("game", section("game", "tic_tac_toe"), Game)
    with pytest.raises((InvalidConfig, RuntimeError), match=message):
        participant("p", {"_target_": TRAINED, "weights": str(run), **changes}, game)


def test_a_trained_agent_of_another_game_is_refused(run):
    with pytest.raises(RuntimeError, match="made for another game: game is 'tic_tac_toe', wanted 'connect_four'"):
        participant("p", {"_target_": TRAINED, "weights": str(run)}, GAME)


def test_a_weights_file_without_a_run_wants_a_search(run, tmp_path):
    game = build("game", section("game", "tic_tac_toe"), Game)
    lone = tmp_path / "a" / "b" / "c" / "d" / "lone.safetensors"
    lone.parent.mkdir(parents=True)
    lone.write_bytes((checkpoint_weights(run, "agent")[-1]).read_bytes())
    own = {"_target_": TRAINED, "weights": str(lone)}
    with pytest.raises(InvalidConfig, match=r"p: search: got null, wanted a section: .* lies in no run's directory"):
        participant("p", own, game)
    search = section("search", "gumbel_best")
    assert participant("p", {**own, "search": search}, game).section["search"] == search


@pytest.mark.ray
@ray_at_hand
def test_actors_need_none_of_the_drivers_files(run):
    """Weights go by reference: agents play although their files are gone by then, as they play in this process."""
    game = build("game", section("game", "tic_tac_toe"), Game)
    first = checkpoint_weights(run, "agent")[0]
    players = {"old": {"_target_": TRAINED, "weights": str(first)}, "new": {"_target_": TRAINED, "weights": str(run)}}
    config = EvaluationConfig(games=8, shard=4, workers=2)
    made = {name: participant(name, each, game, positions=4, threads=1) for name, each in players.items()}
    here = {name: build(name, {**each.section, **each.arrays}, Player, game) for name, each in made.items()}
    wanted = play_games(game, here, config.seed, 0, 8, config.opening, {name: p.recorded for name, p in made.items()})
    for file in run.rglob("*.safetensors"):
        file.unlink()
    found = []
    evaluate(game, made, [("old", "new")], config, lambda *_: None, found)
    assert [record.line() for record in found] == [record.line() for record in wanted]
