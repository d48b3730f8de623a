"""Processes of a run killed and stopped under load, again and again: every game and row is counted, and none twice.

The long form, twenty times for each kind: python -m pytest -m faults -s tests/actors/test_kills.py
It tells how long the run took to come back to its rate.
"""

import os
import signal
import statistics
import threading
import time

import numpy as np
import pytest
import ray

from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import METRICS, newest_checkpoint, saved_config
from scoundrel_ray.runs.metrics import read
from scoundrel_ray.runs.settings import train_config
from tests.actors.serial_rows import MODULE, count, gaps
from tests.actors.test_agents import TWO
from tests.actors.test_training import training_of
from tests.conftest import small_config, small_settings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

KINDS = ["rollout", "inference", "learner", "replay"]
SILENT_S = 4.0
CONTINUED_S = 10.0  # after which a stopped process goes on
_WINDOW_S = 1.0  # over which a rate is measured


def settings_of(**changes):
    """Two agents whose rows are numbered, over shared memory, saved every two seconds."""
    own = {
        "agents": {name: {**each, "learner": each.get("learner", {})} for name, each in TWO.items()},
        "learner": {"_target_": f"{MODULE}.SerialAlphaZero"},
        "replay": {"_target_": f"{MODULE}.SerialReplay"},
        "source": {"_target_": f"{MODULE}.SerialSource"},
        "inference": {"transport": "shm"},
        "checkpoint_s": 2.0,
        "steps": 10**9,
        "minutes": 600.0,
    }
    return {**own, **changes}


class Harassed:
    """A run whose processes are killed or stopped at random moments.

    Args:
        training: the run.
        victims: the kind of each process that is to be struck, in turn.
        strike: what is done to a process, by its number.
        replaced: whether it should be replaced.
    """

    def __init__(self, training, victims, strike, replaced=True):
        self.training, self.left = training, list(victims)
        self.strike, self.replaced = strike, replaced
        self.generator = np.random.default_rng(len(self.left))
        self.rates, self.back_s = [], {kind: [] for kind in KINDS}
        self.at_rest_until = None
        self.struck = None

    @property
    def done(self):
        supervisor = self.training.supervisor
        return supervisor.games, supervisor.all_steps

    def __call__(self, _report):
        now, supervisor = time.monotonic(), self.training.supervisor
        self.rates.append((now, *self.done))
        self.rates = [each for each in self.rates if each[0] > now - 6.0]
        if self.struck is not None:
            return self._look_whether_it_is_back(now)
        if checkpoint.latest(self.training.directory.path) is None or now - self.rates[0][0] < 5.0:
            return None
        if not self.left:
            return self.training.stop()
        if self.at_rest_until is None:
            self.at_rest_until = now + self.generator.uniform(0.0, 2.0)
        if now < self.at_rest_until:
            return None
        kind = self.left.pop(0)
        names = sorted(name for name in supervisor.actors() if name.split()[0].split("-")[0] == kind)
        name = names[self.generator.integers(len(names))]
        actor = supervisor.actors()[name]
        pid = ray.get(actor.pid.remote(), timeout=60)
        restarts = supervisor.restarts[kind]
        self.struck = kind, name, restarts, now, self._rates_since(now - 5.0)
        self.strike(pid)
        return None

    def _rates_since(self, since):
        """Games and steps a second."""
        first = next(each for each in self.rates if each[0] >= since)
        seconds = self.rates[-1][0] - first[0]
        return [
            (last - start) / seconds if seconds else 0.0
            for start, last in zip(first[1:], self.rates[-1][1:], strict=True)
        ]

    def _look_whether_it_is_back(self, now):
        kind, name, restarts, struck, before = self.struck
        assert now - struck < 120, f"{kind} did not come back"
        supervisor = self.training.supervisor
        replaced = supervisor.restarts[kind] == restarts + 1
        restoring = any(own["restoring"] for own in supervisor.status()["agents"].values())
        if (self.replaced and not replaced) or restoring:
            return
        worker = supervisor.status()["workers"].get(name)
        if now - _WINDOW_S < struck + (0.0 if self.replaced else CONTINUED_S) or (
            worker is not None and not worker["stretches"]
        ):
            return
        games, steps = self._rates_since(now - _WINDOW_S)
        least = 0.7 if now - struck < 60 else 0.3  # other work may have come to the machine
        if games >= least * before[0] and steps >= least * before[1]:
            assert self.replaced or not replaced
            self.back_s[kind].append(max(now - _WINDOW_S - struck - (0 if self.replaced else CONTINUED_S), 0.0))
            self.struck = self.at_rest_until = None
            self.rates = self.rates[-1:]


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def stop(pid):
    os.kill(pid, signal.SIGSTOP)


def stop_for_a_while(pid):
    """The run may be waiting for the process, so a thread of its own lets it go on."""
    stop(pid)
    threading.Timer(CONTINUED_S, os.kill, (pid, signal.SIGCONT)).start()


def harass(path, victims, strike, replaced=True, silent_s=SILENT_S, what="kills"):
    """A run that is struck, to its end; what it has at rest is checked and so is its last checkpoint."""
    changes = settings_of(cluster={"silent_s": silent_s})
    training, directory = training_of(path, small_config(**changes), small_settings(**changes))
    harassed = Harassed(training, victims, strike, replaced)
    training.run(harassed)
    directory.close()
    for kind, seconds in harassed.back_s.items():
        if seconds:
            print(
                f"\n{kind}: {len(seconds)} {what}, back at its rate after {statistics.median(seconds):.1f} s in the "
                f"median, {max(seconds):.1f} s at most",
                end="",
            )
    supervisor = training.supervisor
    wanted = {kind: victims.count(kind) if replaced else 0 for kind in KINDS}
    assert supervisor.restarts == wanted
    told = [line for line in supervisor.status()["warnings"] if "died and is" in line]
    assert len(told) == sum(wanted.values())
    if strike is stop:
        assert all("it gave no sign for" in line for line in told)
    check_saved(path, lossless=not replaced or "replay" not in victims)
    return training


def check_saved(path, lossless):
    """The newest checkpoint of a run: steps, samples and rows agree, and no row was stored twice."""
    saved, settings = checkpoint.load_run(newest_checkpoint(path)), train_config(saved_config(path))
    assert saved["counters"]["rows"] == sum(own["counters"]["rows_given"] for own in saved["agents"].values())
    for name, own in saved["agents"].items():
        counters, replay = own["counters"], own["replay"]
        inserted, sampled = (replay[key] + replay["lost"][key] for key in ("inserted", "sampled"))
        assert inserted == counters["rows_given"]
        batch = settings.agents[name].learner["batch_size"]
        assert sampled - counters["steps"] * batch - counters["lost_samples"] in (0, batch)
        assert count(replay["given"]) + max(replay["lost"]["inserted"], 0) == inserted
        if lossless:  # every row that any worker returned is there, once
            assert replay["lost"]["inserted"] == 0 and gaps(replay["given"]) == 0
    lines = read(path / METRICS)
    learned = [] if saved["counters"]["restarts"]["learner"] else ["steps"]  # one that dies goes back to a checkpoint
    for key in ("minutes", *learned, "rollout/games", *(f"replay/{name}/inserted" for name in saved["agents"])):
        counts = [line[key] for line in lines if line[key] is not None]
        assert counts == sorted(counts), key


def test_one_process_of_each_kind_is_killed_and_every_row_is_counted(tmp_path):
    harass(tmp_path / "run", KINDS, kill)


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_kills(tmp_path, kind):
    harass(tmp_path / "run", [kind] * 20, kill)


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_stops(tmp_path, kind):
    harass(tmp_path / "run", [kind] * 20, stop, what="stops")


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_stops_of_ten_seconds_are_borne(tmp_path, kind):
    harass(tmp_path / "run", [kind] * 20, stop_for_a_while, replaced=False, silent_s=30.0, what="stops of 10 s")


@pytest.mark.faults
def test_kills_and_stops_of_all_kinds_mixed(tmp_path):
    victims = [KINDS[n] for n in np.random.default_rng(3).integers(4, size=20)]
    strikes = [kill, stop] * 10

    def strike(pid):
        strikes.pop()(pid)

    harass(tmp_path / "run", victims, strike, what="kills and stops")
