"""Checkpoints under load: all that they hold is of one moment, and a save that fails ends no run."""

import errno
import os

import numpy as np
import pytest
import ray

from actors.calls import RunFailed
from actors.moment import NotSaved
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import METRICS, newest_checkpoint, trained_weights
from scoundrel_ray.runs.metrics import read
from tests.actors.test_agents import TWO, agents_of, started
from tests.actors.test_training import kill, tick_until, training_of
from tests.conftest import small_config, small_settings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@pytest.fixture(scope="module")
def at_work(local_ray):
    supervisor = started(inference={"transport": "shm"})
    yield supervisor
    supervisor.stop()


@pytest.mark.parametrize("times", [10, pytest.param(50, marks=pytest.mark.faults)])
def test_steps_samples_games_and_rows_of_a_checkpoint_agree_whenever_it_is_taken(at_work, times):
    generator, last = np.random.default_rng(0), {"games": 0, "rows": 0}
    for _ in range(times):
        end = at_work.trained_s + generator.uniform(0.0, 0.4)
        tick_until(at_work, lambda end=end: at_work.trained_s > end)
        content = at_work.content()
        counters, parts = content["counters"], content["agents"]
        assert counters["rows"] == sum(part["counters"]["rows_given"] for part in parts.values())
        for name, part in parts.items():
            steps, replay = part["counters"]["steps"], part["replay"]
            batch = at_work.config.agents[name].learner["batch_size"]
            sampled, inserted = (replay[key] + replay["lost"][key] for key in ("sampled", "inserted"))
            known = steps * batch + part["counters"]["lost_samples"]
            assert sampled - known in (0, batch)  # one may be under way
            assert inserted == part["counters"]["rows_given"]
            for key, array in part["learner"]["learner"]["weights"].items():
                np.testing.assert_array_equal(array, content["weights"][name][key])
        assert counters["games"] >= last["games"] and counters["rows"] >= last["rows"]
        last = counters
    steps = at_work.steps
    tick_until(at_work, lambda: at_work.steps > steps + 20)  # and all go on


def test_what_comes_while_a_checkpoint_is_taken_is_stored_afterwards(at_work):
    at_work.content()
    at_work.pause(True)
    tick_until(at_work, lambda: all(w["rests"] for w in at_work.status()["workers"].values()))
    tick_until(at_work, lambda: not any(own["inserts_under_way"] for own in agents_of(at_work).values()))
    for name in TWO:
        status = ray.get(at_work.actors()[f"replay of {name}"].replay_status.remote(name))
        assert status["inserted"] == agents_of(at_work)[name]["rows_given"]
    assert at_work.rows == sum(own["rows_given"] for own in agents_of(at_work).values())
    at_work.pause(False)


def test_an_actor_that_dies_while_a_checkpoint_is_taken_costs_that_checkpoint_alone(at_work, monkeypatch):
    agent = at_work.agents["wide"]
    asked = agent.asked_for_content

    def killed():
        kill(at_work.actors()["replay of wide"])
        return asked()

    monkeypatch.setattr(agent, "asked_for_content", killed)
    with pytest.raises(NotSaved, match=r"^replay of wide died: "):
        at_work.content()
    monkeypatch.undo()
    tick_until(at_work, lambda: not agents_of(at_work)["wide"]["restoring"])
    steps = at_work.steps
    tick_until(at_work, lambda: at_work.steps > steps + 10)
    at_work.content()


def test_a_state_that_ray_has_to_read_from_the_disk_may_take_what_is_left_of_the_time(at_work, monkeypatch):
    get, patience = at_work._calls.get, []
    monkeypatch.setattr(at_work._calls, "get", lambda *asked: patience.append(asked[2]) or get(*asked))
    at_work.content()
    assert len(patience) == 8 and min(patience) > 60


def full_disk(monkeypatch, fails):
    """While `fails` says so nothing can be brought onto the disk."""
    flush = checkpoint.write_directory.__globals__["flush"]

    def on_full_disk(file):
        if fails():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(file)

    monkeypatch.setattr("scoundrel_ray.storage.directory.flush", on_full_disk)


def test_a_run_on_a_full_disk_goes_on_and_saves_once_there_is_room(tmp_path, monkeypatch, caplog):
    settings = {"checkpoint_s": 1.0, "rollout": {"workers": 1}, "steps": 10**6}
    training, directory = training_of(tmp_path / "run", small_config(**settings), small_settings(**settings))
    full, failed = [False], []
    full_disk(monkeypatch, lambda: full[0] and failed.append(training.supervisor.steps) is None)
    kept = []

    def show(_report):
        if checkpoint.latest(directory.path) and not failed and not full[0]:
            full[0] = True
            kept.append(checkpoint.latest(directory.path).name)
        if len(failed) == 1 and full[0]:
            assert newest_checkpoint(directory.path).name == kept[0]
            full[0] = False
        if failed and not full[0] and newest_checkpoint(directory.path).name != kept[0]:
            training.stop()

    with caplog.at_level("WARNING"):
        training.run(show)
    directory.close()
    assert any(
        text.startswith(f"checkpoint: could not be saved, checkpoint {kept[0]} stays: cannot write ")
        and text.endswith("No space left on device; the run tries again")
        for text in caplog.messages
    )
    saved = checkpoint.load_run(newest_checkpoint(directory.path))["counters"]
    assert 0 < saved["games"] <= training.supervisor.games  # play goes on while a checkpoint is taken
    assert not list(directory.path.rglob(".tmp-*"))


def test_a_run_that_ends_on_a_full_disk_says_so_after_three_tries(tmp_path, monkeypatch):
    settings = {"rollout": {"workers": 1}, "steps": 20}
    training, directory = training_of(tmp_path / "run", small_config(**settings), small_settings(**settings))
    monkeypatch.setattr("actors.training._LAST_PAUSE_S", 0.0)
    tries = []
    full_disk(monkeypatch, lambda: tries.append(1) is None)
    with pytest.raises(RunFailed, match=r"^the last state could not be saved, no other stays: .*No space left") as told:
        training.run(lambda _report: None)
    directory.close()
    assert len(tries) == 3 and "resume=" not in str(told.value)  # there is nothing to go on from


def test_a_report_that_cannot_be_written_ends_no_run(tmp_path, monkeypatch, caplog):
    settings = {"rollout": {"workers": 1}, "steps": 30}
    training, directory = training_of(tmp_path / "run", small_config(**settings), small_settings(**settings))
    write, turn = training._log.write, []

    def fails_at_first(report):
        turn.append(1)
        if len(turn) <= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(report)

    monkeypatch.setattr(training._log, "write", fails_at_first)
    with caplog.at_level("WARNING"):
        training.run(lambda _report: training.supervisor.steps)
    directory.close()
    assert [text for text in caplog.messages if text.startswith("metrics: ")] == [
        "metrics: a report could not be written: [Errno 28] No space left on device"
    ]
    assert len(turn) <= 2 or read(directory.path / METRICS)


def test_what_other_agents_know_is_saved_when_one_agents_learner_dies_for_good(tmp_path):
    settings = {"agents": TWO, "rollout": {"workers": 1}}
    training, directory = training_of(tmp_path / "run", small_config(**settings), small_settings(**settings))
    killed, saved = set(), []

    def kill_on(report):
        supervisor = training.supervisor
        learner = supervisor.actors()["learner of wide"]
        if report is not None or supervisor.steps <= 10 or learner in killed:
            return
        if not killed:
            training.save()
            saved.append(newest_checkpoint(directory.path))
        killed.add(learner)
        kill(learner)

    with pytest.raises(RunFailed, match=r"^learner of wide died 3 times in a row: ") as failure:
        training.run(kill_on)
    directory.close()
    assert "its last state is saved (of wide: that of the checkpoint before), go on from it with" in str(failure.value)
    before, after = (checkpoint.load_run(path) for path in (saved[0], newest_checkpoint(directory.path)))
    steps = {name: [each["agents"][name]["counters"]["steps"] for each in (before, after)] for name in TWO}
    assert steps["wide"][0] == steps["wide"][1] and steps["narrow"][0] < steps["narrow"][1]
    for name in TWO:
        assert (
            trained_weights(directory.path, training.supervisor.plan.agents["wide"].spec, name).version
            == steps[name][1]
        )


def test_a_line_of_metrics_that_finds_no_room_leaves_no_half(tmp_path, monkeypatch):
    from scoundrel_ray.runs import metrics

    log = metrics.MetricsLog(tmp_path)
    log.write({"steps": 1, "minutes": 0.1})
    monkeypatch.setattr(metrics.json, "dumps", lambda report: "{" + "x" * 10)
    opened = metrics.Path.open

    class Short:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def tell(self):
            return self.file.tell()

        def truncate(self, end):
            self.file.truncate(end)

        def write(self, line):
            return self.file.write(line[:3])

    monkeypatch.setattr(metrics.Path, "open", lambda self, *a, **k: Short(opened(self, *a, **k)))
    with pytest.raises(OSError, match="No space left"):
        log.write({"steps": 2})
    monkeypatch.undo()
    assert read(tmp_path / METRICS) == [{"steps": 1, "minutes": 0.1}]
