"""What a run of a world asks of its inference actor: one request for all agents that may share it, and through what."""

import contextlib

import pytest

from actors.supervisor import Supervisor
from tests.actors.test_faults import all_told, attached, stretches
from tests.actors.test_training import kill, restarts, tick_until
from tests.actors.test_world_runs import PPO
from tests.conftest import small_world_config

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

AGENTS = ["tagger_0", "tagger_1", "runner_0", "runner_1"]  # all act at once
COPIES = 8


@contextlib.contextmanager
def started(transport, agents):
    """A supervisor at work, with two workers; ended with the block."""
    world, rollout = {"taggers": 2, "runners": 2, "size": 9}, {"workers": 2, "copies": COPIES}
    supervisor = Supervisor(
        small_world_config("tag", world=world, rollout=rollout, inference={"transport": transport}, agents=agents)
    )
    try:
        supervisor.start()
        yield supervisor
    finally:
        supervisor.stop()


@pytest.mark.parametrize("transport", ["ray", "shm", "local"])
def test_all_agents_of_one_form_are_asked_in_one_request(transport):
    with started(transport, {name: {} for name in AGENTS}) as supervisor:
        tick_until(supervisor, lambda: all_told(supervisor, (1, 1)))
        for worker in supervisor.status()["workers"].values():
            # More than what two agents can ask for the copies of a half: the four are in one request.
            assert worker["leaves"] > worker["messages"] * 2 * COPIES // 2
        if transport == "local":
            return
        wanted = 2 if transport == "shm" else 0
        tick_until(supervisor, lambda: attached(supervisor) == wanted)
        kill(supervisor.actors()["inference"])
        tick_until(supervisor, lambda: supervisor.restarts["inference"] == 1)
        since = stretches(supervisor)
        tick_until(supervisor, lambda: all_told(supervisor, since))
        # The server's counters are asked for in turn with all else: they lag behind what the workers told.
        tick_until(supervisor, lambda: attached(supervisor) == wanted)
        assert restarts(supervisor) == {"inference": 1}
        (told,) = supervisor.status()["warnings"]  # no worker fell back to calls
        assert told.startswith("inference: died and is back: ")


def test_agents_whose_networks_answer_something_else_have_a_segment_of_their_own():
    agents = {name: PPO if name.startswith("runner") else {} for name in AGENTS}
    with started("shm", agents) as supervisor:
        tick_until(supervisor, lambda: all_told(supervisor, (1, 1)))
        tick_until(supervisor, lambda: attached(supervisor) == 4)
        for worker in supervisor.status()["workers"].values():
            assert 0 < worker["leaves"] <= worker["messages"] * 2 * COPIES // 2
        assert not supervisor.status()["warnings"]
