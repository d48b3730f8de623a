"""What a run keeps when its inference dies under load, and how shared memory fares that must grow or is too small."""

import contextlib
import os

import pytest
import ray

from actors.rollout import request_shape
from actors.supervisor import Supervisor
from inference.actor import CONCURRENCY_GROUPS, Inference
from inference.build import make_server
from scoundrel_ray.experience import curriculum
from scoundrel_ray.game import Game
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.settings.build import build
from tests.actors.test_training import kill, shared_of, tick_until
from tests.conftest import small_config

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@contextlib.contextmanager
def started(**changes):
    """A supervisor at work, ended with the block."""
    config = small_config(**changes)
    supervisor = Supervisor(config, build("game", config.game, Game))
    try:
        supervisor.start()
        yield supervisor
    finally:
        supervisor.stop()


def listen(supervisor):
    """A list that grows by each stretch of play that the supervisor is told of: worker, report, rows that came."""
    told, handle = [], supervisor._on_games

    def note(worker, rows, answer):
        handle(worker, rows, answer)
        told.append((worker, ray.get(answer), len(ray.get(rows))))

    supervisor._on_games = note
    return told


def both_told(told, since=0):
    return {worker for worker, _, _ in told[since:]} == {0, 1}


@pytest.mark.parametrize("transport", ["ray", "shm"])
def test_inference_killed_under_load_loses_no_game_and_no_row(transport):
    # The learner is asked for so little that it never holds the workers back: they always wait for answers.
    with started(inference={"transport": transport}, replay={"samples_per_insert": 1.0}) as supervisor:
        told, attached = listen(supervisor), 2 if transport == "shm" else 0
        tick_until(supervisor, lambda: supervisor._metrics["inference"]["attached"] == attached)
        tick_until(supervisor, lambda: both_told(told) and not supervisor._idle)
        kill(supervisor._servers["inference"])
        tick_until(supervisor, lambda: supervisor.restarts["inference"] == 1)
        games, steps = supervisor.games, supervisor.steps
        tick_until(supervisor, lambda: supervisor.games > games + 100 and supervisor.steps > steps)
        supervisor.pause(True)  # what is under way is finished, nothing new is begun
        tick_until(supervisor, lambda: supervisor._idle == {0, 1})

        assert supervisor.restarts == {"rollout": 0, "inference": 1} and not supervisor._warned
        finished = [0, 0]
        for worker, report, _ in told:
            finished[worker] += len(report["scores"])
            assert report["finished"] == finished[worker]
            assert report["dealt"] == report["finished"] + report["under_way"]
            assert report["under_way"] == supervisor.config.rollout.games  # each place holds a game
        assert supervisor.games == sum(finished)
        rows = sum(count for _, _, count in told)
        tick_until(supervisor, lambda: inserted(supervisor) >= rows)  # inserts may be under way yet
        assert inserted(supervisor) == rows


def inserted(supervisor):
    """Rows that the replay was ever given."""
    return ray.get(supervisor.replay.status.remote())["inserted"]


def test_slots_in_shared_memory_grow_with_the_worlds_and_leaves_of_a_curriculum():
    stages = [
        {"steps": 10, "tree": "per_world", "worlds": 2},
        {"steps": 30, "tree": "per_world", "worlds": 3, "leaves": 4},
    ]
    with started(inference={"transport": "shm"}, curriculum=stages) as supervisor:
        config, told = supervisor.config, listen(supervisor)
        searches = [build("search", each, SearchConfig) for each in curriculum.sections(config.search, stages)]
        shapes = [request_shape(supervisor.game, search, config.rollout) for search in searches]
        assert [shape.leaves for shape in shapes] == [8, 2 * 8, 3 * 4 * 8]
        tick_until(supervisor, lambda: supervisor._metrics["inference"]["attached"] == 2)
        directory = shared_of(supervisor)
        tick_until(supervisor, lambda: segment_sizes(directory) == [shapes[-1].size] * 2)
        games, since = supervisor.games, len(told)
        tick_until(supervisor, lambda: supervisor.games > games + 100 and both_told(told, since))
        tick_until(supervisor, lambda: supervisor._metrics["inference"]["attached"] == 2)
        assert segment_sizes(directory) == [shapes[-1].size] * 2
        # No message was too large for its slot: that would have been told.
        assert not supervisor._warned and supervisor.restarts == {"rollout": 0, "inference": 0}
        assert all(report["leaves"] <= report["messages"] * shapes[-1].leaves for _, report, _ in told)
        assert all(report["leaves"] > report["messages"] * shapes[0].leaves for _, report, _ in told[since:])
    assert not directory.exists()


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
    monkeypatch.setattr("actors.supervisor.InferenceActor", cramped())
    with caplog.at_level("WARNING"), started(inference={"transport": "shm"}) as supervisor:
        told = listen(supervisor)
        tick_until(supervisor, lambda: both_told(told))
        games, steps, since = supervisor.games, supervisor.steps, len(told)
        tick_until(supervisor, lambda: supervisor.games > games + 100 and supervisor.steps > steps)
        tick_until(supervisor, lambda: both_told(told, since))
        assert ray.get(supervisor._servers["inference"].metrics.remote())["attached"] == 0
        assert supervisor.restarts == {"rollout": 0, "inference": 0}
        directory = shared_of(supervisor)
        assert not list(directory.iterdir())
    assert not directory.exists()
    search = build("search", supervisor.config.search, SearchConfig)
    wanted = f"{request_shape(supervisor.game, search, supervisor.config.rollout).size / 2**20:.3g} MiB"
    (warning,) = supervisor._warned.values()
    assert warning.startswith("requests go by Ray calls, not through shared memory: ")
    assert f"is too small: a segment takes {wanted}, 0.00391 MiB are free" in warning
    assert [message.partition(": ")[2] for message in caplog.messages] == [warning]  # both workers met it
