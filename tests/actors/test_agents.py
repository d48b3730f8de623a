"""Several agents at one table: each learns from its own decisions, and what befalls one leaves the others at work."""

import os
import shutil
import signal

import numpy as np
import pytest
import ray

from actors.checking import check_run
from actors.supervisor import Supervisor
from actors.training import Training
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import METRICS, RunDirectory, newest_checkpoint, start_weights, trained_weights
from scoundrel_ray.runs.metrics import draw_curves, read
from scoundrel_ray.runs.plan import source_of
from scoundrel_ray.settings.checks import InvalidConfig
from tests.actors.slow_learner import SLOW
from tests.actors.test_training import kill, run_for, tick_until, training_of
from tests.conftest import small_config, small_settings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

TWO = {"wide": {}, "narrow": {"network": {"width": 8}, "learner": {"batch_size": 16, "learning_rate": 0.01}}}


def spec_of(training):
    return training.supervisor.plan.agents["wide"].spec


def agents_of(supervisor):
    return supervisor.status()["agents"]


def started(part_of=None, **changes):
    """A supervisor at work, to be stopped; `part_of` gives an agent's part of the last checkpoint."""
    config = small_config("tic_tac_toe", **{"agents": TWO, **changes})
    supervisor = Supervisor(config, last_part=part_of or (lambda _agent: None))
    supervisor.start()
    return supervisor


@pytest.fixture(scope="module")
def finished(local_ray, tmp_path_factory):
    """A run of two agents over shared memory that has ended: what it was, and its directory, to be left as it is."""
    path = tmp_path_factory.mktemp("finished") / "run"
    return run_for(path, steps=40, agents=TWO, inference={"transport": "shm"}), path


def test_two_agents_learn_at_one_table_report_and_save(finished):
    training, path = finished
    status = training.supervisor.status()
    assert set(status["agents"]) == {"wide", "narrow"} and all(own["steps"] >= 40 for own in status["agents"].values())
    lines = read(path / METRICS)
    for name in ("wide", "narrow"):
        for metric in (f"learner/{name}/loss", f"rollout/{name}/score", f"replay/{name}/ratio"):
            assert any(line.get(metric) is not None for line in lines), metric
        start, trained = (read_(path, spec_of(training), name) for read_ in (start_weights, trained_weights))
        assert trained.version == status["agents"][name]["steps"]
        assert any(not np.array_equal(start.arrays[key], trained.arrays[key]) for key in start.arrays)
    saved = checkpoint.load_run(newest_checkpoint(path))["agents"]
    widths = {name: len(saved[name]["learner"]["learner"]["weights"]["inputs.bias"]) for name in saved}
    assert widths == {"wide": 16, "narrow": 8}
    rows = [saved[name]["replay"]["inserted"] for name in ("wide", "narrow")]
    assert min(rows) > 0.5 * max(rows)  # seats are drawn evenly


@pytest.mark.parametrize("transport", ["ray", "local"])
def test_a_resumed_run_of_two_goes_on_with_both(finished, tmp_path, transport):
    first, path = finished
    shutil.copytree(path, tmp_path / "run")
    restored = checkpoint.load_run(newest_checkpoint(tmp_path / "run"))
    before = {name: own["steps"] for name, own in agents_of(first.supervisor).items()}
    changes = {"agents": TWO, "inference": {"transport": transport}}
    second = run_for(tmp_path / "run", restored, steps=min(before.values()) + 60, **changes)
    for name, own in agents_of(second.supervisor).items():
        assert own["steps"] > before[name]
        assert trained_weights(tmp_path / "run", spec_of(first), name).version == own["steps"]


def test_a_learner_and_a_replay_of_a_users_own_train_beside_alphazeros_with_their_own_rows_and_metrics(tmp_path):
    own = {"learner": {"_target_": "tests.actors.own_members.Value"}, "symmetries": False}
    own["replay"] = {"_target_": "tests.actors.own_members.Newest"}
    changes = {"agents": {"agent": {}, "own": own}}
    config = small_config("tic_tac_toe", **changes)
    check_run(config, source_of(config))
    run_for(tmp_path / "run", steps=40, **changes)
    lines = read(tmp_path / "run" / METRICS)
    told = {name for line in lines for name, value in line.items() if value is not None}
    assert {"learner/own/td_error", "learner/own/loss", "learner/agent/policy_loss"} <= told
    assert not {"learner/own/policy_loss", "learner/own/weights_lag", "learner/agent/td_error"} & told
    restored = checkpoint.load_run(newest_checkpoint(tmp_path / "run"))
    assert restored["agents"]["own"]["replay"]["rows"].dtype.names == ("observation", "value")
    run_for(tmp_path / "run", restored, steps=80, **changes)
    draw_curves(read(tmp_path / "run" / METRICS), tmp_path / "curves.png", "own members")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_a_frozen_agent_plays_with_given_weights_and_learns_nothing(finished, tmp_path):
    earlier, path = finished
    agents = {"agent": {}, "past": {"frozen": True, "weights": f"{path}:wide"}}
    training = run_for(tmp_path / "run", steps=30, agents=agents)
    own = agents_of(training.supervisor)["past"]
    assert own["frozen"] and own["steps"] == 0 and own["inserted"] == 0
    assert agents_of(training.supervisor)["agent"]["steps"] >= 30
    given = trained_weights(path, spec_of(earlier), "wide")
    assert given.version == agents_of(earlier.supervisor)["wide"]["steps"]
    report = [line for line in read(tmp_path / "run" / METRICS) if line.get("rollout/past/score") is not None]
    assert report and not any(key.startswith("learner/past") for key in report[-1])


def test_weights_that_do_not_fit_an_agents_network_are_one_line(finished, tmp_path):
    path = finished[1]
    agents = {"agent": {}, "past": {"frozen": True, "weights": f"{path}:wide", "network": {"width": 8}}}
    config = small_config("tic_tac_toe", agents=agents)
    directory = RunDirectory.new(tmp_path / "run", small_settings("tic_tac_toe", agents=agents))
    with pytest.raises(InvalidConfig, match=r"^agents\.past\.network: of .*:wide width is 16, wanted 8$"):
        Training(config, source_of(config), directory)
    directory.close()


@pytest.fixture(scope="module")
def at_work(local_ray):
    """A supervisor whose agents' actors the tests kill one after another, and the agents' parts of its checkpoint.

    Every test asks for the difference that it made, so that their order does not matter.
    """
    parts = {}
    supervisor = started(parts.get)
    yield supervisor, parts
    supervisor.stop()


def restarts_of(supervisor, name):
    return dict(agents_of(supervisor)[name]["restarts"])


def save(supervisor, parts):
    """A checkpoint after twenty more steps; returns the steps of the first agent in it."""
    steps = supervisor.steps
    tick_until(supervisor, lambda: supervisor.steps > steps + 20)
    parts.update(supervisor.content()["agents"])
    return parts["wide"]["counters"]["steps"]


@pytest.mark.parametrize("kind", ["learner", "replay"])
def test_a_killed_learner_or_replay_is_made_again_and_the_others_go_on(at_work, kind):
    supervisor, parts = at_work
    saved = save(supervisor, parts)
    tick_until(supervisor, lambda: supervisor.steps > saved + 10)
    before, others = agents_of(supervisor)["wide"], restarts_of(supervisor, "narrow")
    kill(supervisor.actors()[f"{kind} of wide"])
    tick_until(supervisor, lambda: restarts_of(supervisor, "wide")[kind] == before["restarts"][kind] + 1)
    tick_until(supervisor, lambda: not agents_of(supervisor)["wide"]["restoring"])
    back = agents_of(supervisor)
    if kind == "learner":
        assert saved <= back["wide"]["steps"] < before["steps"] + 10
    games, other = supervisor.games, back["narrow"]["steps"]
    tick_until(supervisor, lambda: supervisor.games > games + 100)
    tick_until(supervisor, lambda: agents_of(supervisor)["wide"]["steps"] > back["wide"]["steps"] + 20)
    tick_until(supervisor, lambda: agents_of(supervisor)["narrow"]["steps"] > other + 20)
    assert restarts_of(supervisor, "narrow") == others
    assert any(f"{kind} of wide: died and is made again" in text for text in supervisor.status()["warnings"])
    assert_counts_agree(supervisor)


def assert_counts_agree(supervisor):
    """At rest every row that workers gave was inserted, and samples are those of the steps and of those lost.

    One batch more may be under way to each learner.
    """
    supervisor.pause(True)
    tick_until(supervisor, lambda: at_rest(supervisor))
    since = supervisor.status()
    assert sum(own["rows_given"] for own in since["agents"].values()) == supervisor.rows
    for name, own in since["agents"].items():
        status = ray.get(supervisor.actors()[f"replay of {name}"].replay_status.remote(name))
        batch = supervisor.config.agents[name].learner["batch_size"]
        assert status["inserted"] == own["rows_given"]
        assert status["sampled"] - own["steps"] * batch - own["lost_samples"] in (0, batch), (name, own, status)
    supervisor.pause(False)


def at_rest(supervisor):
    status = supervisor.status()
    idle = all(worker["rests"] for worker in status["workers"].values())
    return idle and all(own["rests"] and not own["inserts_under_way"] for own in status["agents"].values())


def test_learner_and_replay_killed_at_once_and_again_come_back_together(at_work):
    supervisor, parts = at_work
    save(supervisor, parts)
    before, others = restarts_of(supervisor, "wide"), restarts_of(supervisor, "narrow")
    for times in (1, 2):
        for kind in ("learner", "replay"):
            os.kill(ray.get(supervisor.actors()[f"{kind} of wide"].pid.remote()), signal.SIGKILL)
        wanted = {kind: count + times for kind, count in before.items()}
        tick_until(supervisor, lambda wanted=wanted: restarts_of(supervisor, "wide") == wanted)
        tick_until(supervisor, lambda: not agents_of(supervisor)["wide"]["restoring"])
        steps = agents_of(supervisor)["wide"]["steps"]
        tick_until(supervisor, lambda since=steps: agents_of(supervisor)["wide"]["steps"] > since + 20)
    assert restarts_of(supervisor, "narrow") == others
    assert_counts_agree(supervisor)


def test_a_learner_killed_before_the_first_checkpoint_starts_anew(at_work):
    supervisor, parts = at_work
    parts.clear()
    steps = supervisor.steps
    tick_until(supervisor, lambda: supervisor.steps > steps + 10)
    before, done = supervisor.restarts, agents_of(supervisor)["narrow"]["steps"]
    kill(supervisor.actors()["replay of wide"])
    kill(supervisor.actors()["learner of narrow"])
    wanted = {kind: before[kind] + 1 for kind in ("learner", "replay")}
    tick_until(supervisor, lambda: {kind: supervisor.restarts[kind] for kind in wanted} == wanted)
    tick_until(supervisor, lambda: not any(own["restoring"] for own in agents_of(supervisor).values()))
    steps = {name: own["steps"] for name, own in agents_of(supervisor).items()}
    assert steps["narrow"] < done
    tick_until(supervisor, lambda: all(own["steps"] > steps[n] + 10 for n, own in agents_of(supervisor).items()))


def test_a_slow_learner_delays_the_other_by_no_more_than_its_limiters_band():
    """Workers stop once the slow agent owes more than its first rows and its tolerance are good for; the other agent
    is then fed no more, and has at most the samples that its own band allows.
    """
    replay = {"samples_per_insert": 2.0, "min_rows": 200, "tolerance": 1.0, "capacity": 100_000}
    supervisor = started(replay=replay, agents={"fast": {}, "slow": {"learner": SLOW}})
    try:
        tick_until(supervisor, lambda: not agents_of(supervisor)["slow"]["may_insert"])
        tick_until(supervisor, lambda: all(worker["rests"] for worker in supervisor.status()["workers"].values()))
        slow = agents_of(supervisor)["slow"]
        owed = slow["inserted"] * replay["samples_per_insert"] - slow["sampled"]
        band = (1 + replay["tolerance"]) * replay["min_rows"] * replay["samples_per_insert"]
        # A stretch of each worker was under way when the limit was passed.
        beyond = owed - band
        assert (
            0
            <= beyond
            <= replay["samples_per_insert"] * sum(w["rows"] for w in supervisor.status()["workers"].values())
        )
        fast = agents_of(supervisor)["fast"]
        assert fast["steps"] > slow["steps"]
    finally:
        supervisor.stop()


def test_a_run_in_turn_gives_the_same_weights_every_time_at_any_number_of_workers_however_often_it_is_saved(tmp_path):
    found = []
    for often in (False, True):
        own = {"workers": 1 + often}
        changes = {"agents": TWO, "turns": True, "inference": {"transport": "local"}, "rollout": own}
        path = tmp_path / str(often)
        training, directory = training_of(path, small_config(steps=30, **changes), small_settings(**changes))
        training.run(lambda _report, training=training, often=often: training.save() if often else None)
        directory.close()
        found.append({name: trained_weights(path, spec_of(training), name) for name in TWO})
        assert training.supervisor.status()["agents"]["wide"]["steps"] >= 30
    for name in TWO:
        first, second = (each[name] for each in found)
        assert first.version == second.version
        assert all(np.array_equal(first.arrays[key], second.arrays[key]) for key in first.arrays)
