"""Runs from end to end on a local Ray, and what becomes of them when an actor is killed."""

import os
import signal
import time

import numpy as np
import pytest
import ray

from actors.rollout import request_shape
from actors.supervisor import RunFailed, Supervisor
from actors.training import Training
from scoundrel_ray.evaluator import Constant
from scoundrel_ray.experience.selfplay import Rollout
from scoundrel_ray.game import Game
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import METRICS, START, WEIGHTS, RunDirectory, newest_checkpoint
from scoundrel_ray.runs.metrics import read
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.storage.weights import load_weights
from tests.actors.failing_network import GOOD_STEPS
from tests.conftest import shared_by, small_config, small_settings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def training_of(path, config, settings, restored=None):
    game = build("game", config.game, Game)
    directory = RunDirectory(path) if restored else RunDirectory.new(path, settings)
    return Training(config, game, directory, restored), directory


def run_for(path, restored=None, **changes):
    config = small_config(**changes)
    training, directory = training_of(path, config, small_settings(**changes), restored)
    training.run(lambda _report: None)
    directory.close()
    return training


def test_a_run_learns_reports_and_saves(tmp_path):
    training = run_for(tmp_path / "run", steps=150)
    supervisor = training.supervisor
    assert supervisor.steps >= 150
    last = read(tmp_path / "run" / METRICS)[-1]
    for name in ("learner/loss", "learner/value_error", "learner/policy_entropy", "learner/weights_lag", "replay/ratio",
                 "rollout/win_rate", "rollout/score", "inference/mean_batch", "inference/busy_share"):  # fmt: skip
        assert any(line[name] is not None for line in read(tmp_path / "run" / METRICS)), name
    assert last["learner/steps"] == supervisor.steps
    assert any((tmp_path / "run" / "tensorboard").iterdir())
    saved = checkpoint.load(newest_checkpoint(tmp_path / "run"))
    assert saved["counters"]["steps"] == supervisor.steps
    game = training.game
    trained = load_weights(newest_checkpoint(tmp_path / "run") / WEIGHTS, game.spec)
    start = load_weights(tmp_path / "run" / START, game.spec)
    assert trained.version == supervisor.steps
    assert any(not np.array_equal(trained.arrays[name], start.arrays[name]) for name in start.arrays)


def test_a_resumed_run_goes_on_with_counters_and_curves(tmp_path):
    first = run_for(tmp_path / "run", steps=20)
    before = read(tmp_path / "run" / METRICS)
    restored = checkpoint.load(newest_checkpoint(tmp_path / "run"))
    second = run_for(tmp_path / "run", restored, steps=first.supervisor.steps + 150)
    lines = read(tmp_path / "run" / METRICS)
    assert lines[: len(before)] == before
    steps = [line["learner/steps"] for line in lines]
    assert steps == sorted(steps) and steps[-1] >= first.supervisor.steps + 150
    minutes = [line["minutes"] for line in lines]
    assert minutes == sorted(minutes)
    assert second.supervisor.games > first.supervisor.games
    saved = checkpoint.load(newest_checkpoint(tmp_path / "run"))
    assert saved["counters"]["resumptions"] == 1
    assert saved["replay"]["inserted"] > restored["replay"]["inserted"]


@pytest.fixture
def supervisor():
    config = small_config()
    supervisor = Supervisor(config, build("game", config.game, Game))
    supervisor.start()
    yield supervisor
    supervisor.stop()


def tick_until(supervisor, done, seconds=300.0):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "the run did not go on"
        supervisor.tick()


def kill(actor):
    os.kill(ray.get(actor.pid.remote()), signal.SIGKILL)


def test_a_killed_rollout_worker_is_replaced_with_fresh_streams(supervisor):
    tick_until(supervisor, lambda: supervisor.games > 0)
    kill(supervisor._workers[0])
    tick_until(supervisor, lambda: supervisor.restarts["rollout"] == 1)
    games, steps = supervisor.games, supervisor.steps
    tick_until(supervisor, lambda: supervisor.games > games + 100 and supervisor.steps > steps)
    assert supervisor._incarnations[0] == 1


def test_a_killed_inference_actor_comes_back_with_the_newest_weights(supervisor):
    tick_until(supervisor, lambda: supervisor.steps > 10)
    kill(supervisor._servers["inference"])
    tick_until(supervisor, lambda: supervisor.restarts["inference"] == 1)
    games, steps = supervisor.games, supervisor.steps
    tick_until(supervisor, lambda: supervisor.games > games + 100 and supervisor.steps > steps)
    tick_until(supervisor, lambda: supervisor._metrics["inference"]["version"].get("agent", 0) > 10)
    assert supervisor.restarts["rollout"] == 0


@pytest.mark.parametrize("name", ["learner", "replay"])
def test_a_killed_learner_or_replay_ends_the_run_with_its_name(supervisor, name):
    tick_until(supervisor, lambda: supervisor.steps > 0)
    kill(getattr(supervisor, name))
    with pytest.raises(RunFailed, match=rf"{name} (died|failed): .*"):
        tick_until(supervisor, lambda: False)


def test_a_worker_with_inference_of_its_own_is_replaced_and_gets_the_newest_weights():
    config = small_config(inference={"transport": "local"})
    supervisor = Supervisor(config, build("game", config.game, Game))
    supervisor.start()
    tick_until(supervisor, lambda: supervisor.steps > 10 and len(supervisor._metrics) == 2)
    tick_until(supervisor, lambda: all(metrics["leaves"] for metrics in supervisor._metrics.values()))
    assert supervisor.report()["inference/mean_batch"] > 1
    kill(supervisor._workers[1])
    tick_until(supervisor, lambda: supervisor.restarts["rollout"] == 1)
    games = supervisor.games
    tick_until(supervisor, lambda: supervisor.games > games + 100 and "rollout-1" in supervisor._metrics)
    tick_until(supervisor, lambda: supervisor._metrics["rollout-1"]["version"].get("agent", 0) > 10)
    supervisor.stop()


def test_a_run_through_shared_memory_survives_kills_and_leaves_nothing_behind():
    config = small_config(inference={"transport": "shm"})
    supervisor = Supervisor(config, build("game", config.game, Game))
    supervisor.start()
    tick_until(supervisor, lambda: supervisor.steps > 10)
    tick_until(supervisor, lambda: supervisor._metrics["inference"]["attached"] == 2)
    directories = [shared_of(supervisor)]
    kill(supervisor._workers[0])
    tick_until(supervisor, lambda: supervisor.restarts["rollout"] == 1)
    games = supervisor.games
    tick_until(supervisor, lambda: supervisor.games > games + 100)
    tick_until(supervisor, lambda: supervisor._metrics["inference"]["attached"] == 2)
    kill(supervisor._servers["inference"])
    tick_until(supervisor, lambda: supervisor.restarts["inference"] == 1)
    games, steps = supervisor.games, supervisor.steps
    tick_until(supervisor, lambda: supervisor.games > games + 100 and supervisor.steps > steps)
    tick_until(supervisor, lambda: supervisor._metrics["inference"]["attached"] == 2)
    assert supervisor.restarts == {"rollout": 1, "inference": 1}
    assert not supervisor._warned  # no worker fell back to calls
    directories.append(shared_of(supervisor))
    supervisor.stop()
    assert not [path for path in directories if path.exists()]


def shared_of(supervisor):
    """Directory of shared memory of the run's inference actor."""
    return shared_by(ray.get(supervisor._servers["inference"].pid.remote()))


def test_what_workers_warn_of_is_told_once(caplog):
    config = small_config()
    supervisor = Supervisor(config, build("game", config.game, Game))
    with caplog.at_level("WARNING"):
        for worker in (0, 1):
            supervisor.warn(f"rollout-{worker}", f"no room, 0.{worker} MiB are free")
            supervisor.warn(f"rollout-{worker}", "")
    assert caplog.messages == ["rollout-0: no room, 0.0 MiB are free"]


def test_a_run_at_rest_leaves_the_processor_alone(monkeypatch):
    config = small_config()
    supervisor = Supervisor(config, build("game", config.game, Game))
    supervisor._replay_status = {"may_insert": False}
    supervisor._next_poll = time.monotonic() + 1000.0
    slept = []
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", slept.append)
        supervisor.tick()  # nothing is under way, which ray.wait does not wait for
    assert len(slept) == 1 and 900.0 < slept[0] <= 1000.0


def test_slots_hold_what_a_half_group_asks_for():
    config = small_config(rollout={"games": 12}, search={"tree": "per_world", "worlds": 3, "leaves": 2})
    game, asked = build("game", config.game, Game), []
    shape = request_shape(game, build("search", config.search, SearchConfig), config.rollout)
    assert shape == (2, 12 // 2 * 3 * 2, game.observation_size, game.actions, game.seats)

    class Spy(Constant):
        def submit(self, observations):
            asked.append(len(observations))
            return super().submit(observations)

    search = build("search", config.search, SearchConfig)
    Rollout(game, search, config.rollout, Spy(game.actions, game.seats), (0,)).play()
    assert 0 < max(asked) <= shape.leaves


@pytest.mark.parametrize("transport", ["ray", "shm", "local"])
def test_a_network_that_gives_nan_ends_the_run_by_name_with_its_state_saved(tmp_path, transport):
    path = tmp_path / "run"
    network = {"_target_": "tests.actors.failing_network.NaNOnceTrained"}
    named = r"rollout-\d failed: .*agent agent, weights version \d+: the network's output is not finite in .*; "
    with pytest.raises(RunFailed, match=f"{named}its last state is saved, go on from it with resume={path}"):
        run_for(path, steps=10**9, network=network, inference={"transport": transport})
    saved = checkpoint.load(newest_checkpoint(path))
    assert saved["counters"]["steps"] > 0 and saved["counters"]["games"] > 0
    run_for(path, saved, steps=saved["counters"]["steps"] + 20)


def test_a_loss_that_is_nan_ends_the_run_by_name_with_its_state_saved(tmp_path):
    path = tmp_path / "run"
    network = {"_target_": "tests.actors.failing_network.NaNInTraining"}
    named = f"learner failed: NonFiniteLoss: learner: value_loss is nan at step {GOOD_STEPS}; the weights are untouched"
    with pytest.raises(RunFailed, match=f"{named}; its last state is saved, go on from it with resume={path}"):
        run_for(path, steps=10**9, network=network)
    saved = checkpoint.load(newest_checkpoint(path))
    assert saved["counters"]["steps"] == GOOD_STEPS and saved["counters"]["games"] > 0
    last = load_weights(newest_checkpoint(path) / WEIGHTS)
    assert last.version == GOOD_STEPS and all(np.isfinite(array).all() for array in last.arrays.values())
    run_for(path, saved, steps=GOOD_STEPS + 20)


def test_a_run_whose_learner_died_says_what_is_left(tmp_path):
    config = small_config()
    training, directory = training_of(tmp_path / "run", config, small_settings())
    reports = []

    def kill_then(report):
        if report is None and not reports and training.supervisor.steps > 10:
            training.save()
            reports.append(newest_checkpoint(tmp_path / "run").name)
            kill(training.supervisor.learner)

    with pytest.raises(RunFailed, match=r"learner (died|failed): .*; its last state could not be saved .*") as failure:
        training.run(kill_then)
    directory.close()
    assert str(failure.value).endswith(f"{reports[0]} stays")


def test_an_actor_that_cannot_be_made_is_named(tmp_path):
    config = small_config(network={"width": -1})
    supervisor = Supervisor(config, build("game", config.game, Game))
    with pytest.raises(RunFailed, match=r"(learner|inference) failed: .*width"):
        supervisor.start()
    supervisor.stop()
