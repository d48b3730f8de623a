"""Search actors: the same answer as in this process, also when one is killed in the middle of a decision."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import ray

from actors.shards import RayExecutor, executor_for
from scoundrel_ray import rng
from scoundrel_ray.decision.shards import Effort, PositionSearch, ShardSearch, Task
from scoundrel_ray.game import Game
from scoundrel_ray.games import scoundrel
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.settings.build import build
from scripts.entry import section

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]
GAME = build("game", section("game", "scoundrel"), Game)
STATE = GAME.deal(rng.stream(3))


def decide(executor, simulations, **settings):
    position = PositionSearch(GAME, Uct(), Effort(simulations=simulations, **settings), executor)
    return position.decide(STATE, rng.stream(9))


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("workers", [1, 3])
def test_actors_give_the_same_answer(workers):
    executor = executor_for(GAME, Uct(), Effort(executor="ray", workers=workers))
    assert isinstance(executor, RayExecutor) and len(executor.actors) == workers
    for simulations in (700, 5000):
        assert_same(decide(executor, simulations), decide(ShardSearch(GAME, Uct()), simulations))
    task = Task(STATE, 7, (20_000, *[10] * 5), None)  # the first part comes last
    assert_same(executor.run(task), ShardSearch(GAME, Uct()).run(task))
    limited = PositionSearch(GAME, Uct(), Effort(simulations=None, time_ms=20.0, workers=workers), executor)
    assert limited.decide(STATE, rng.stream(9)).visits.sum() > 0
    executor.close()


def test_the_shards_of_a_killed_actor_are_searched_again():
    executor = RayExecutor(GAME, Uct(), 2)
    wanted = decide(ShardSearch(GAME, Uct()), 4_000_000, shards=8)
    pid = ray.get(executor.actors[1].pid.remote())
    killed_at = []

    def kill():
        time.sleep(0.5)  # in the middle of a decision of some seconds
        os.kill(pid, signal.SIGKILL)
        killed_at.append(time.monotonic())

    thread = threading.Thread(target=kill)
    thread.start()
    got = decide(executor, 4_000_000, shards=8)
    ended_at = time.monotonic()
    thread.join()
    assert_same(got, wanted)
    assert killed_at[0] < ended_at, "the decision was over before the actor was killed"
    assert_same(decide(executor, 3000), decide(ShardSearch(GAME, Uct()), 3000))
    executor.close()


def test_actors_build_the_game_from_its_section():
    with pytest.raises(ValueError, match="from its config section, and it has none"):
        RayExecutor(scoundrel.make(), Uct(), 1)
