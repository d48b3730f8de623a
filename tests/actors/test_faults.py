"""What a run keeps when its inference dies under load, and how shared memory fares that must grow or is too small."""

import contextlib
import os

import pytest
import ray

from actors.supervisor import Supervisor
from inference.actor import CONCURRENCY_GROUPS, Inference
from inference.build import make_server
from inference.segment import Shape
from scoundrel_ray.experience.source import Source
from scoundrel_ray.settings.build import build
from scoundrel_ray.spec import search_heads
from tests.actors.test_training import kill, restarts, shared_of, tick_until
from tests.conftest import small_config, small_settings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@contextlib.contextmanager
def started(**changes):
    """A supervisor at work, ended with the block."""
    supervisor = Supervisor(small_config(**changes))
    try:
        supervisor.start()
        yield supervisor
    finally:
        supervisor.stop()


def workers(supervisor):
    return supervisor.status()["workers"].values()


def stretches(supervisor):
    """Of each worker."""
    return [worker["stretches"] for worker in workers(supervisor)]


def all_told(supervisor, since=(0, 0)):
    """Whether each worker has told of a stretch since then."""
    return all(now > before for now, before in zip(stretches(supervisor), since, strict=True))


def attached(supervisor):
    return supervisor.status()["servers"]["inference"]["attached"]


def at_rest(supervisor):
    """Whether nothing is under way."""
    agents = supervisor.status()["agents"].values()
    inserted = all(agent["inserts_under_way"] == 0 for agent in agents)
    return inserted and all(worker["rests"] for worker in workers(supervisor))


@pytest.mark.parametrize("transport", ["ray", "shm"])
def test_inference_killed_under_load_loses_no_game_and_no_row(transport):
    # The learner is asked for so little that it never holds the workers back: they always wait for answers.
    with started(inference={"transport": transport}, replay={"samples_per_insert": 1.0}) as supervisor:
        wanted = 2 if transport == "shm" else 0
        tick_until(supervisor, lambda: attached(supervisor) == wanted)
        tick_until(supervisor, lambda: all_told(supervisor) and not any(w["rests"] for w in workers(supervisor)))
        kill(supervisor.actors()["inference"])
        tick_until(supervisor, lambda: supervisor.restarts["inference"] == 1)
        games, steps = supervisor.games, supervisor.steps
        tick_until(supervisor, lambda: supervisor.games > games + 100 and supervisor.steps > steps)
        supervisor.pause(True)  # what is under way is finished, nothing new is begun
        tick_until(supervisor, lambda: at_rest(supervisor))

        status = supervisor.status()
        assert restarts(supervisor) == {"inference": 1}
        (told,) = status["warnings"]
        assert told.startswith("inference: died and is back: ")
        for worker in status["workers"].values():
            assert worker["episodes"] == worker["finished"]
            assert worker["dealt"] == worker["finished"] + worker["under_way"]
            assert worker["under_way"] == small_settings()["rollout"]["games"]  # each place holds a game
        assert status["games"] == sum(worker["episodes"] for worker in status["workers"].values())
        rows = sum(worker["rows"] for worker in status["workers"].values())
        assert status["agents"]["agent"]["rows_given"] == status["agents"]["agent"]["inserted"] == rows


def test_slots_in_shared_memory_grow_with_the_worlds_and_leaves_of_a_curriculum():
    stages = [
        {"steps": 10, "tree": "per_world", "worlds": 2},
        {"steps": 30, "tree": "per_world", "worlds": 3, "leaves": 4},
    ]
    with started(inference={"transport": "shm"}, curriculum=stages) as supervisor:
        source = build("source", supervisor.config.source, Source)
        shapes = [shape_after(source, steps) for steps in (0, 10, 30)]
        assert [shape.leaves for shape in shapes] == [8, 2 * 8, 3 * 4 * 8]
        tick_until(supervisor, lambda: attached(supervisor) == 2)
        directory = shared_of(supervisor)
        tick_until(supervisor, lambda: segment_sizes(directory) == [shapes[-1].size] * 2)
        games, since = supervisor.games, stretches(supervisor)
        tick_until(supervisor, lambda: supervisor.games > games + 100 and all_told(supervisor, since))
        tick_until(supervisor, lambda: attached(supervisor) == 2)
        assert segment_sizes(directory) == [shapes[-1].size] * 2
        # No message was too large for its slot: that would have been told.
        status = supervisor.status()
        assert not status["warnings"] and not restarts(supervisor)
        for worker in status["workers"].values():
            assert worker["messages"] * shapes[0].leaves < worker["leaves"] <= worker["messages"] * shapes[-1].leaves
    assert not directory.exists()


def shape_after(source, steps):
    """Of a worker's segment, after so many learner steps."""
    return Shape.of(source.spec, search_heads(source.spec), *source.requests(steps, ["agent"]))


def segment_sizes(directory):
    """Of the clients that are attached."""
    sizes = []
    for path in directory.glob("*.segment"):
        with contextlib.suppress(FileNotFoundError):  # of a client that has just left
            sizes.append(path.stat().st_size)
    return sizes


def cramped():
    """An inference actor that finds 4096 bytes free wherever it looks."""

    @ray.remote(concurrency_groups=CONCURRENCY_GROUPS)
    class CrampedInferenceActor(Inference):
        def __init__(self, agents, config):
            scarce = os.statvfs_result((4096, 4096, 100, 1, 1, *tuple(os.statvfs("/"))[5:]))
            os.statvfs = lambda path: scarce
            super().__init__(make_server(agents, config))

    return CrampedInferenceActor


def test_where_shared_memory_is_too_small_a_run_goes_on_by_calls_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr("actors.servers.InferenceActor", cramped())
    with caplog.at_level("WARNING"), started(inference={"transport": "shm"}) as supervisor:
        tick_until(supervisor, lambda: all_told(supervisor))
        games, steps, since = supervisor.games, supervisor.steps, stretches(supervisor)
        tick_until(supervisor, lambda: supervisor.games > games + 100 and supervisor.steps > steps)
        tick_until(supervisor, lambda: all_told(supervisor, since))
        assert attached(supervisor) == 0 and not restarts(supervisor)
        directory = shared_of(supervisor)
        assert not list(directory.iterdir())
        source = build("source", supervisor.config.source, Source)
        wanted = f"{shape_after(source, 0).size / 2**20:.3g} MiB"
        (warning,) = supervisor.status()["warnings"]
    assert not directory.exists()
    text = warning.partition(": ")[2]
    assert text.startswith("requests go by Ray calls, not through shared memory: ")
    assert f"is too small: a segment takes {wanted}, 0.00391 MiB are free" in text
    assert caplog.messages == [warning]  # both workers met it
