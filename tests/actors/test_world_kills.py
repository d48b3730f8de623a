"""Learners of a world killed again and again: the others keep their pace, and each of ten million rows is stored once.

python -m pytest -m faults -s tests/actors/test_world_kills.py; it tells rates and times, and takes some five minutes.
"""

import statistics
import time

import numpy as np
import pytest
import ray

from actors.supervisor import Supervisor
from tests.actors.serial_rows import MODULE, count, gaps
from tests.actors.test_agents import agents_of, at_rest
from tests.actors.test_training import kill, tick_until
from tests.conftest import small_world_config

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.usefixtures("local_ray")]

AGENTS, ROWS, EVERY_S, BEFORE_S = 4, 10_000_000, 12.0, 6.0
NAMES = [f"agent_{number}" for number in range(AGENTS)]


def started(parts):
    """Agents with a learner and a replay each in a process of its own; nobody waits for anybody."""
    config = small_world_config(
        "treasure_hunt",
        "iqn",
        world={"agents": AGENTS},
        agents={name: {} for name in NAMES},
        source={"_target_": f"{MODULE}.SerialWorldSource"},
        learner={"_target_": f"{MODULE}.SerialIQN"},
        replay={
            "_target_": f"{MODULE}.SerialReplay",
            "place": "actor",
            "capacity": 20_000,
            "min_rows": 1000,
            "samples_per_insert": 0.05,
            "tolerance": 3000.0,
        },
        cluster={"learner_groups": "each"},
        rollout={"workers": 1, "copies": 512, "steps": 40_000},
        inference={"transport": "shm"},
    )
    supervisor = Supervisor(config, last_part=parts.get)
    supervisor.start()
    return supervisor


def steps_of(supervisor):
    return {name: own["steps"] for name, own in agents_of(supervisor).items()}


def pass_s(supervisor, seconds):
    end = time.monotonic() + seconds
    tick_until(supervisor, lambda: time.monotonic() > end, seconds=seconds + 60)


def rate_over(supervisor, names, let_pass):
    """Steps a second of some agents while something passes, and how long it took."""
    before, start = steps_of(supervisor), time.monotonic()
    let_pass()
    seconds, after = time.monotonic() - start, steps_of(supervisor)
    return sum(after[name] - before[name] for name in names) / seconds, seconds


def test_learners_are_killed_and_each_of_ten_million_rows_is_stored_once():
    parts, generator, shares, back_s = {}, np.random.default_rng(0), [], []
    supervisor = started(parts)
    try:
        tick_until(supervisor, lambda: min(steps_of(supervisor).values()) > 20)
        while supervisor.rows < ROWS:
            parts.update(supervisor.content()["agents"])
            victim = NAMES[generator.integers(AGENTS)]
            others = [name for name in NAMES if name != victim]
            usual, _ = rate_over(supervisor, others, lambda: pass_s(supervisor, BEFORE_S))
            kill(supervisor.actors()[f"learner of {victim}"])

            def until_back(victim=victim):
                tick_until(supervisor, lambda: agents_of(supervisor)[victim]["restoring"])
                at = steps_of(supervisor)[victim]
                tick_until(supervisor, lambda: not agents_of(supervisor)[victim]["restoring"])
                tick_until(supervisor, lambda: steps_of(supervisor)[victim] > at)

            meanwhile, seconds = rate_over(supervisor, others, until_back)
            shares.append(meanwhile / usual)
            back_s.append(seconds)
            pass_s(supervisor, EVERY_S - BEFORE_S)
        supervisor.pause(True)
        tick_until(supervisor, lambda: at_rest(supervisor))
        kills, rows = len(shares), 0
        for name, own in agents_of(supervisor).items():
            state = ray.get(supervisor.actors()[f"replay of {name}"].replay_state.remote(name))
            assert own["lost_rows"] == 0 and own["dropped_rows"] == 0
            assert count(state["given"]) == state["inserted"] == own["rows_given"] and gaps(state["given"]) == 0
            rows += count(state["given"])
        assert rows == supervisor.rows >= ROWS
        assert sum(own["restarts"]["learner"] for own in agents_of(supervisor).values()) == kills
    finally:
        supervisor.stop()
    print(
        f"\n{kills} learners killed, {rows:,} rows stored once each; the others' rate meanwhile {min(shares):.2f} of "
        f"what it was at least, {statistics.median(shares):.2f} in the median; back after "
        f"{statistics.median(back_s):.1f} s in the median, {max(back_s):.1f} s at most"
    )
