"""A run's own arena, the weights that it keeps for good, stages of its search, and rests."""

import os
import signal

import numpy as np
import pytest
import ray

from actors.arena import RunArena
from actors.evaluation import EvaluationActor
from actors.training import Training
from scoundrel_ray.game import Game
from scoundrel_ray.network import make_network, weights
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import (
    METRICS,
    PAUSE,
    RunDirectory,
    checkpoint_weights,
    newest_checkpoint,
    start_weights,
    trained_weights,
    versions,
)
from scoundrel_ray.runs.metrics import read
from scoundrel_ray.runs.plan import source_of
from scoundrel_ray.runs.settings import train_config
from scoundrel_ray.settings.build import build
from scoundrel_ray.storage.weights import load_weights
from tests.actors.test_evaluation import evaluation_actors
from tests.conftest import noisy, small_config, small_settings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def run_until(path, done, **changes):
    """A run that is stopped once done(training) holds; it is asked with every report."""
    config = small_config(**changes)
    directory = RunDirectory.new(path, small_settings(**changes))
    training = Training(config, source_of(config), directory)

    def show(_report):
        if done(training):
            training.stop()

    training.run(show)
    directory.close()
    return training


def test_the_newest_weights_meet_the_best_while_the_run_goes_on(tmp_path):
    def done(training):
        # The second, since the weights of a run that ended sooner would not be kept.
        lines = read(tmp_path / "run" / METRICS) if (tmp_path / "run" / METRICS).exists() else []
        ended = [line for line in lines if "arena/agent/matches" in line]
        return len(ended) >= 2 and training.supervisor.trained_s >= 0.5

    run_until(tmp_path / "run", done, arena={"every_s": 0.1, "deals": 4, "gate": True}, keep_version_every_s=0.5)
    told = [line for line in read(tmp_path / "run" / METRICS) if "arena/agent/matches" in line]
    assert all(line["arena/agent/promoted"] in (0, 1) and np.isfinite(line["arena/agent/elo"]) for line in told)
    kept = checkpoint.load_run(newest_checkpoint(tmp_path / "run"))["arena"]["agent"]
    assert kept["matches"] >= 2 and kept["next_s"] > 0.0
    best = load_weights(checkpoint_weights(tmp_path / "run", "agent")[-1])
    assert best.version == kept["version"]  # a gated run's agent is the best so far
    assert all(np.array_equal(best.arrays[name], kept["best"][name]) for name in best.arrays)
    found = versions(tmp_path / "run", "agent")
    assert found and load_weights(found[0]).version == int(found[0].stem)


class Here:
    """A pool that plays its matches at once, in this process, by the evaluation actor's own code."""

    def __init__(self, game, participants, config, workers):
        sections = {name: each._replace(arrays={}) for name, each in participants.items()}
        self._actor = EvaluationActor.__ray_metadata__.modified_class(dict(game.section), sections, config)
        self._arrays = {name: each.arrays for name, each in participants.items()}
        self._answers, self.tasks, self.pending = {}, self, False

    def shard(self, match, first, count):
        return lambda actor: actor.play(match, first, count, self._arrays)

    def add(self, tasks):
        self._answers.update({name: ask(self._actor) for name, ask in tasks.items()})

    def finished(self, timeout_s):
        return list(self._answers.items())

    def close(self):
        pass


@pytest.fixture
def played_here(monkeypatch):
    """What is judged and when is tested without actors; that actors play is tested with the runs."""
    monkeypatch.setattr("actors.arena.MatchPool", Here)


@pytest.mark.usefixtures("played_here")
def test_who_is_ahead_becomes_the_best_and_an_equal_one_by_the_toss_of_a_coin():
    config = small_config(arena={"every_s": 1.0, "deals": 6})
    game = build("game", config.game, Game)
    start = weights(make_network(config.agents["agent"].network, game.spec, seed=1))
    arena = RunArena("agent", config, game, start)
    assert arena.tick(0.5, (7, ray.put(start))) is None and arena._under_way is None  # not due yet
    best = 0
    for turn in range(1, 5):
        found = None
        while found is None:
            found = arena.tick(float(turn), (turn, ray.put(start)))
        assert found["arena/agent/difference"] == 0.0 and abs(found["arena/agent/elo"]) < 1e-6
        best = turn if found["arena/agent/promoted"] else best
        assert arena.best[0] == best
    again = RunArena("agent", config, game, start, arena.state())
    assert again.state().keys() == arena.state().keys() and again.best[0] == arena.best[0]
    arena.stop()


def test_a_run_rests_while_it_is_asked_to(tmp_path):
    seen = []

    def done(training):
        path = tmp_path / "run" / PAUSE
        if training.supervisor.steps > 5 and not seen:
            path.touch()
            seen.append(training.supervisor.trained_s)
        elif training.paused and len(seen) < 6:
            seen.append(training.supervisor.trained_s)
            if len(seen) == 6:
                path.unlink()
        return len(seen) == 6 and training.supervisor.steps > 60

    run_until(tmp_path / "run", done, curriculum=[{"steps": 3, "simulations": 4}])
    assert max(seen[2:]) == seen[2]  # resting does not count


@pytest.mark.usefixtures("played_here")
def test_every_match_has_deals_of_its_own(monkeypatch):
    config = small_config(arena={"every_s": 1.0, "deals": 3}, evaluation={"opening": 4})
    game = build("game", config.game, Game)
    start = weights(make_network(config.agents["agent"].network, game.spec, seed=1))
    arena, seen = RunArena("agent", config, game, start), []
    judge = arena._judge

    def noted(match):
        seen.append({tuple(record.seed) for records in match.records().values() for record in records})
        return judge(match)

    monkeypatch.setattr(arena, "_judge", noted)
    for turn in (1, 2):
        found = None
        while found is None:
            found = arena.tick(float(turn), (turn, ray.put(start)))
        assert found["arena/agent/matches"] == turn
    assert len(seen[0]) == len(seen[1]) == 3 and not seen[0] & seen[1]
    arena.stop()


def test_a_match_whose_actor_is_killed_comes_to_the_same_result():
    config = small_config("blob", arena={"every_s": 1.0, "deals": 40}, evaluation_search={"simulations": 60})
    game = build("game", config.game, Game)
    start, other = (noisy(weights(make_network(config.agents["agent"].network, game.spec)), seed) for seed in (1, 2))
    found = []
    for disturbed in (False, True):
        arena, killed = RunArena("agent", config, game, start), []
        told = None
        while told is None:
            told = arena.tick(1.0, (1, ray.put(other)))
            at_play = [pid for pid, what in evaluation_actors().items() if "play" in what]
            if disturbed and not killed and at_play:
                killed.append(at_play[0])
                os.kill(at_play[0], signal.SIGKILL)
        assert bool(killed) == disturbed
        found.append(told)
    assert found[0] == found[1] and found[0]["arena/agent/difference"] != 0


@pytest.mark.usefixtures("played_here")
def test_a_match_that_fails_is_told_and_the_next_one_falls_due():
    config = small_config(arena={"every_s": 1.0, "deals": 3})
    game = build("game", config.game, Game)
    start, told = weights(make_network(config.agents["agent"].network, game.spec, seed=1)), []
    arena = RunArena("agent", config, game, start, warn=told.append)
    wrong = {name: array[..., :1] for name, array in start.items()}
    found = None
    while found is None:
        found = arena.tick(1.0, (1, ray.put(wrong)))
    assert found == {"arena/agent/failed": 1} and len(told) == 1 and told[0].startswith("a match of agent failed: ")
    found = None
    while found is None:
        found = arena.tick(2.0, (2, ray.put(start)))
    assert found["arena/agent/matches"] == 2
    arena.stop()


def test_tables_of_three_and_of_four_learn_as_one_and_meet_in_the_arena(tmp_path):
    path, reports = tmp_path / "run", []
    settings = small_settings("blob", arena={"every_s": 0.1, "deals": 4})
    settings["game"] |= {"players": [3, 4], "cards": 2}
    config = train_config(settings)
    game = build("game", config.game, Game)
    directory = RunDirectory.new(path, settings)
    training = Training(config, source_of(config), directory)

    def show(report):
        reports.append(report or {})
        if training.supervisor.steps >= 20 and any("arena/agent/elo" in each for each in reports):
            training.stop()

    training.run(show)
    directory.close()
    lines = read(path / METRICS)
    assert any(np.isfinite(line.get("arena/agent/elo", np.nan)) for line in lines)
    assert not any("arena/agent/failed" in line for line in lines)
    losses = [line["learner/agent/loss"] for line in lines if line.get("learner/agent/loss") is not None]
    assert losses and np.isfinite(losses).all()

    saved = checkpoint.load_run(newest_checkpoint(path))
    part = saved["agents"]["agent"]
    assert part["counters"]["steps"] >= 20 and saved["arena"]["agent"]["matches"] >= 1
    rows, names = part["replay"]["rows"], [field.name for field in game.observation]
    start = sum(field.size for field in game.observation[: names.index("at_table")])
    at_table = rows["observation"][:, start : start + game.seats].sum(axis=1)
    assert set(at_table.tolist()) == {3, 4}  # both sizes were dealt, and are learnt from
    assert (np.abs(rows["value"]) <= 1).all()
    trained = trained_weights(path, game.spec, "agent")
    start_arrays = start_weights(path, game.spec, "agent").arrays
    assert trained.version == part["counters"]["steps"]
    assert any(not np.array_equal(trained.arrays[name], start_arrays[name]) for name in trained.arrays)
