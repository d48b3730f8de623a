"""Runs from end to end on a local Ray, and what becomes of them when an actor is killed."""

import contextlib
import os
import re
import signal
import time

import numpy as np
import pytest
import ray

from actors.calls import Calls, RunFailed
from actors.supervisor import Supervisor
from actors.training import Training
from scoundrel_ray.evaluator import Constant
from scoundrel_ray.experience.source import Source
from scoundrel_ray.game import Game
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import (
    METRICS,
    RunDirectory,
    newest_checkpoint,
    saved_config,
    start_weights,
    trained_weights,
)
from scoundrel_ray.runs.metrics import read
from scoundrel_ray.runs.plan import source_of
from scoundrel_ray.settings.build import build
from tests.actors.failing_network import GOOD_STEPS
from tests.conftest import shared_by, small_config, small_settings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def training_of(path, config, settings, restored=None):
    directory = RunDirectory(path) if restored else RunDirectory.new(path, settings)
    return Training(config, source_of(config), directory, restored), directory


def run_for(path, restored=None, **changes):
    """A whole run, of one worker where nothing is said of it: every process takes seconds to start."""
    changes["rollout"] = {"workers": 1, **changes.get("rollout", {})}
    config = small_config(**changes)
    training, directory = training_of(path, config, small_settings(**changes), restored)
    with contextlib.closing(directory):
        training.run(lambda _report: None)
    return training


def test_a_run_learns_reports_and_saves(tmp_path):
    training = run_for(tmp_path / "run", steps=150)
    supervisor = training.supervisor
    assert supervisor.steps >= 150
    last = read(tmp_path / "run" / METRICS)[-1]
    for name in ("learner/agent/loss", "learner/agent/value_error", "learner/agent/policy_entropy",
                 "learner/agent/weights_lag", "replay/agent/ratio", "rollout/agent/win_rate", "rollout/agent/score",
                 "inference/mean_batch", "inference/busy_share"):  # fmt: skip
        assert any(line.get(name) is not None for line in read(tmp_path / "run" / METRICS)), name
    assert last["learner/agent/steps"] == last["steps"] == supervisor.steps
    assert any((tmp_path / "run" / "tensorboard").iterdir())
    saved = checkpoint.load_run(newest_checkpoint(tmp_path / "run"))
    assert saved["agents"]["agent"]["counters"]["steps"] == supervisor.steps
    game = build("game", training.config.game, Game)
    trained = trained_weights(tmp_path / "run", game.spec, "agent")
    start = start_weights(tmp_path / "run", game.spec, "agent")
    assert trained.version == supervisor.steps
    assert any(not np.array_equal(trained.arrays[name], start.arrays[name]) for name in start.arrays)


def test_a_resumed_run_goes_on_with_counters_and_curves(tmp_path):
    first = run_for(tmp_path / "run", steps=20)
    before = read(tmp_path / "run" / METRICS)
    restored = checkpoint.load_run(newest_checkpoint(tmp_path / "run"))
    second = run_for(tmp_path / "run", restored, steps=first.supervisor.steps + 150)
    lines = read(tmp_path / "run" / METRICS)
    assert lines[: len(before) - 1] == before[:-1]  # the last one is of a moment after that of the checkpoint
    steps = [line["steps"] for line in lines]
    assert steps == sorted(steps) and steps[-1] >= first.supervisor.steps + 150
    minutes = [line["minutes"] for line in lines]
    assert minutes == sorted(minutes)
    assert second.supervisor.games > first.supervisor.games
    saved = checkpoint.load_run(newest_checkpoint(tmp_path / "run"))
    assert saved["counters"]["resumptions"] == 1
    before, after = (each["agents"]["agent"]["replay"]["inserted"] for each in (restored, saved))
    assert after > before
    own = saved["agents"]["agent"]
    taken = own["replay"]["sampled"] - 32 * own["counters"]["steps"] - own["counters"]["lost_samples"]
    assert taken in (0, 32)  # a batch may be under way, and one that was at the first checkpoint is lost


@pytest.fixture
def supervisor():
    config = small_config()
    supervisor = Supervisor(config)
    supervisor.start()
    yield supervisor
    supervisor.stop()


def tick_until(supervisor, done, seconds=300.0):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "the run did not go on"
        supervisor.tick()


def servers(supervisor):
    return supervisor.status()["servers"]


def restarts(supervisor):
    """Those that happened, by kind."""
    return {kind: count for kind, count in supervisor.restarts.items() if count}


def saved_spec(path):
    return build("game", saved_config(path)["game"], Game).spec


def kill(actor):
    os.kill(ray.get(actor.pid.remote()), signal.SIGKILL)


def test_a_killed_rollout_worker_is_replaced_with_fresh_streams(supervisor):
    tick_until(supervisor, lambda: supervisor.games > 0)
    kill(supervisor.actors()["rollout-0"])
    tick_until(supervisor, lambda: supervisor.restarts["rollout"] == 1)
    games, steps = supervisor.games, supervisor.steps
    tick_until(supervisor, lambda: supervisor.games > games + 100 and supervisor.steps > steps)
    assert {name: own["incarnation"] for name, own in supervisor.status()["workers"].items()} == {
        "rollout-0": 1,
        "rollout-1": 0,
    }


def test_a_killed_inference_actor_comes_back_with_the_newest_weights(supervisor):
    tick_until(supervisor, lambda: supervisor.steps > 10)
    kill(supervisor.actors()["inference"])
    tick_until(supervisor, lambda: supervisor.restarts["inference"] == 1)
    games, steps = supervisor.games, supervisor.steps
    tick_until(supervisor, lambda: supervisor.games > games + 100 and supervisor.steps > steps)
    tick_until(supervisor, lambda: servers(supervisor)["inference"]["version"].get("agent", 0) > 10)
    assert supervisor.restarts["rollout"] == 0


def test_a_worker_with_inference_of_its_own_is_replaced_and_gets_the_newest_weights():
    config = small_config(inference={"transport": "local"})
    supervisor = Supervisor(config)
    supervisor.start()
    tick_until(supervisor, lambda: supervisor.steps > 10 and len(servers(supervisor)) == 2)
    tick_until(supervisor, lambda: all(metrics["leaves"] for metrics in servers(supervisor).values()))
    assert supervisor.report()["inference/mean_batch"] > 1
    kill(supervisor.actors()["rollout-1"])
    tick_until(supervisor, lambda: supervisor.restarts["rollout"] == 1)
    games = supervisor.games
    tick_until(supervisor, lambda: supervisor.games > games + 100 and "rollout-1" in servers(supervisor))
    tick_until(supervisor, lambda: servers(supervisor)["rollout-1"]["version"].get("agent", 0) > 10)
    supervisor.stop()


def test_a_run_through_shared_memory_survives_kills_and_leaves_nothing_behind():
    config = small_config(inference={"transport": "shm"})
    supervisor = Supervisor(config)
    supervisor.start()
    tick_until(supervisor, lambda: supervisor.steps > 10)
    tick_until(supervisor, lambda: servers(supervisor)["inference"]["attached"] == 2)
    directories = [shared_of(supervisor)]
    kill(supervisor.actors()["rollout-0"])
    tick_until(supervisor, lambda: supervisor.restarts["rollout"] == 1)
    games = supervisor.games
    tick_until(supervisor, lambda: supervisor.games > games + 100)
    tick_until(supervisor, lambda: servers(supervisor)["inference"]["attached"] == 2)
    kill(supervisor.actors()["inference"])
    tick_until(supervisor, lambda: supervisor.restarts["inference"] == 1)
    games, steps = supervisor.games, supervisor.steps
    tick_until(supervisor, lambda: supervisor.games > games + 100 and supervisor.steps > steps)
    tick_until(supervisor, lambda: servers(supervisor)["inference"]["attached"] == 2)
    assert restarts(supervisor) == {"rollout": 1, "inference": 1}
    assert [text.partition(": ")[2].partition(":")[0] for text in supervisor.status()["warnings"]] == [
        "died and is replaced",
        "died and is back",
    ]  # no worker fell back to calls
    directories.append(shared_of(supervisor))
    supervisor.stop()
    assert not [path for path in directories if path.exists()]


def shared_of(supervisor):
    """Directory of shared memory of the run's inference actor."""
    return shared_by(ray.get(supervisor.actors()["inference"].pid.remote()))


def test_what_workers_warn_of_is_told_once_and_every_death(caplog):
    supervisor = Supervisor(small_config())
    with caplog.at_level("WARNING"):
        for name in ("learner of a", "replay of a", "learner of a"):
            supervisor.warn(name, "died", once=False)
    assert caplog.messages == ["learner of a: died", "replay of a: died", "learner of a: died"]
    assert supervisor.status()["warnings"] == caplog.messages
    caplog.clear()
    with caplog.at_level("WARNING"):
        for worker in (0, 1):
            supervisor.warn(f"rollout-{worker}", f"no room, 0.{worker} MiB are free")
            supervisor.warn(f"rollout-{worker}", "")
    assert caplog.messages == ["rollout-0: no room, 0.0 MiB are free"]


def test_a_run_at_rest_leaves_the_processor_alone():
    """While nothing is under way there is nothing that `ray.wait` would wait for."""
    calls = Calls()
    start = time.process_time(), time.monotonic()
    assert calls.wait(0.3) == []
    assert time.monotonic() - start[1] >= 0.3 and time.process_time() - start[0] < 0.3


def test_slots_hold_what_a_half_group_asks_for():
    settings = small_settings(rollout={"games": 12}, search={"tree": "per_world", "worlds": 3, "leaves": 2})
    source, asked = build("source", settings["source"], Source), []
    assert source.requests(0, ["agent"]) == (2, 12 // 2 * 3 * 2)

    class Spy(Constant):
        def submit(self, observations):
            asked.append(len(observations))
            return super().submit(observations)

    spy = Spy(source.spec.actions, source.spec.values)
    source.collector({"agent": source.role}, {"agent": spy}, 0, (0, 0)).collect()
    assert 0 < max(asked) <= source.requests(0, ["agent"]).leaves


@pytest.mark.parametrize("transport", ["ray", "shm", "local"])
def test_a_network_that_gives_nan_ends_the_run_by_name_with_its_state_saved(tmp_path, transport):
    path = tmp_path / "run"
    network = {"_target_": "tests.actors.failing_network.NaNOnceTrained"}
    named = r"rollout-\d failed: .*agent agent, weights version \d+: the network's output is not finite in .*; "
    with pytest.raises(RunFailed, match=f"{named}its last state is saved, go on from it with resume={path}"):
        run_for(path, steps=10**9, network=network, inference={"transport": transport})
    saved = checkpoint.load_run(newest_checkpoint(path))
    steps = saved["agents"]["agent"]["counters"]["steps"]
    assert steps > 0 and saved["counters"]["games"] > 0
    if transport == "shm":
        run_for(path, saved, steps=steps + 20)


def test_a_loss_that_is_nan_ends_the_run_by_name_with_its_state_saved(tmp_path):
    path = tmp_path / "run"
    network = {"_target_": "tests.actors.failing_network.NaNInTraining"}
    what = f"value_loss is nan at step {GOOD_STEPS}; the weights are untouched"
    named = f"learner of agent failed: NonFiniteLoss: learner: {what}"
    with pytest.raises(RunFailed, match=f"{named}; its last state is saved, go on from it with resume={path}"):
        run_for(path, steps=10**9, network=network)
    saved = checkpoint.load_run(newest_checkpoint(path))
    assert saved["agents"]["agent"]["counters"]["steps"] == GOOD_STEPS and saved["counters"]["games"] > 0
    last = trained_weights(path, saved_spec(path), "agent")
    assert last.version == GOOD_STEPS and all(np.isfinite(array).all() for array in last.arrays.values())
    run_for(path, saved, steps=GOOD_STEPS + 20)


def test_a_run_whose_learner_dies_again_and_again_ends_by_its_name_and_says_what_is_left(tmp_path):
    training, directory = training_of(tmp_path / "run", small_config(), small_settings())
    killed, saved = set(), []

    def kill_on(report):
        learner = training.supervisor.actors()["learner of agent"]
        if report is not None or training.supervisor.steps <= 10 or learner in killed:
            return
        if not killed:
            training.save()
            saved.append(newest_checkpoint(tmp_path / "run").name)
        killed.add(learner)
        kill(learner)

    with pytest.raises(RunFailed, match=r"learner of agent died 3 times in a row: .*") as failure:
        training.run(kill_on)
    directory.close()
    assert len(killed) == 3
    stays = (
        rf"its last state could not be saved \(agent did not give its state\), checkpoint {saved[0]} stays; go on from "
    )
    assert re.search(stays, str(failure.value)) and str(failure.value).endswith(f"resume={directory.path}")


def test_an_actor_that_cannot_be_made_is_named(tmp_path):
    config = small_config(network={"width": -1})
    supervisor = Supervisor(config)
    with pytest.raises(RunFailed, match=r"(learner of agent|inference) failed: .*width"):
        supervisor.start()
    supervisor.stop()
