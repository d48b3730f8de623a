"""A run's own arena, the weights that it keeps for good, stages of its search, and rests."""

import numpy as np
import pytest
import ray

from actors.arena import RunArena
from actors.training import Training
from scoundrel_ray import checkpoint
from scoundrel_ray.config import build
from scoundrel_ray.game import Game
from scoundrel_ray.metrics import read
from scoundrel_ray.network import make_network, weights
from scoundrel_ray.run_directory import METRICS, PAUSE, WEIGHTS, RunDirectory, agents, newest_checkpoint
from tests.conftest import small_config, small_settings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def run_until(path, done, **changes):
    """A run that is stopped once done(training) holds; it is asked with every report."""
    config = small_config(**changes)
    game = build("game", config.game, Game)
    directory = RunDirectory.new(path, small_settings(**changes))
    training = Training(config, game, directory)

    def show(_report):
        if done(training):
            training.stop()

    training.run(show)
    directory.close()
    return training


def test_the_newest_weights_meet_the_best_while_the_run_goes_on(tmp_path):
    def done(training):
        return training._arena._matches >= 2

    run_until(tmp_path / "run", done, arena={"every_s": 0.1, "deals": 4, "gate": True}, agent_s=0.5)
    told = [line for line in read(tmp_path / "run" / METRICS) if "arena/matches" in line]
    assert told and all(line["arena/promoted"] in (0, 1) and np.isfinite(line["arena/elo"]) for line in told)
    kept = checkpoint.load(newest_checkpoint(tmp_path / "run"))["arena"]
    assert kept["matches"] >= 2 and kept["next_s"] > 0.0
    best = checkpoint.load_weights(newest_checkpoint(tmp_path / "run") / WEIGHTS)
    assert best.version == kept["version"]  # a gated run's agent is the best so far
    assert all(np.array_equal(best.arrays[name], kept["best"][name]) for name in best.arrays)
    found = agents(tmp_path / "run")
    assert found and checkpoint.load_weights(found[0]).version == int(found[0].stem)


def test_who_is_ahead_becomes_the_best_and_an_equal_one_by_the_toss_of_a_coin():
    config = small_config(arena={"every_s": 1.0, "deals": 6})
    game = build("game", config.game, Game)
    start = weights(make_network(config.network, game, seed=1))
    arena = RunArena(config, game, start)
    assert arena.tick(0.5, (7, ray.put(start))) is None and arena._under_way is None  # not due yet
    best = 0
    for turn in range(1, 5):
        found = None
        while found is None:
            found = arena.tick(float(turn), (turn, ray.put(start)))
        assert found["arena/difference"] == 0.0 and abs(found["arena/elo"]) < 1e-6
        best = turn if found["arena/promoted"] else best
        assert arena.best[0] == best
    again = RunArena(config, game, start, arena.state())
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
