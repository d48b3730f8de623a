"""Ways to ask a policy: the same outcomes in all, failures included, and threads only where they are faster."""

import threading
import time

import numpy as np
import pytest

from scoundrel_ray.missions import drivers
from scoundrel_ray.missions.policy import BatchOf, OwnPolicies
from scoundrel_ray.missions.wrappers import (
    AUTO,
    BATCH,
    GAIN_WANTED,
    SEQUENCE,
    THREAD,
    Faster,
    InBatch,
    InSequence,
    OnThreads,
    wrapped,
)
from tests.missions import own_policies
from tests.missions.test_episode import mission_of, outcomes, plain

WAYS = {
    "sequence": InSequence,
    "threads": lambda driver: OnThreads(driver, 3),
    "faster": lambda driver: Faster(driver, 2),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["hunt", "tag", "market", "pole", "blob"])
def test_outcomes_do_not_depend_on_the_way(name, way):
    mission = mission_of(name)
    team = [drivers.random(mission), OwnPolicies(own_policies.Remembers), OwnPolicies(own_policies.Remembers)]
    if name != "market":
        team[2] = BatchOf(own_policies.Rows(None))
    assert [plain(each) for each in outcomes(mission, team, range(5), wrap=WAYS[way])] == [
        plain(each) for each in outcomes(mission, team, range(5))
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ["raises", "true", "build"])
def test_failures_do_not_depend_on_the_way(way, what):
    mission = mission_of("hunt")
    team = [
        OwnPolicies(lambda body: own_policies.Bad(body, what)),
        OwnPolicies(lambda body: own_policies.Bad(body, what)),
    ]
    plainly = [plain(each) for each in outcomes(mission, team, range(4))]
    assert [plain(each) for each in outcomes(mission, team, range(4), wrap=WAYS[way])] == plainly
    assert plainly[2][-1] is not None and plainly[1][-1] is None


def test_of_two_failures_in_a_step_the_first_agents_is_told():
    mission = mission_of("market")

    class Fails:
        def __init__(self, body):
            self.name = body.agent

        def act(self, observation, mask):
            raise ValueError(self.name)

    class Elsewhere(InBatch):
        elsewhere = True

    for first, second in ((InBatch, Elsewhere), (Elsewhere, InBatch)):
        ways = iter((first, second))
        team = [OwnPolicies(Fails), OwnPolicies(Fails)]
        found = outcomes(mission, team, range(6), wrap=lambda driver, ways=ways: next(ways)(driver))
        assert {each.failure.message for each in found} == {"ValueError: buyer"}


def test_policies_on_threads_overlap():
    """Each waits for the other of its step; alone it would wait for ever."""
    mission = mission_of("market")
    gate = threading.Barrier(2, timeout=30)

    class Meets:
        def __init__(self, body):
            pass

        def act(self, observation, mask):
            if len(gate_at) < 3:
                gate_at.append(gate.wait())
            return int(np.flatnonzero(mask)[0])

    gate_at = []
    (found,) = outcomes(mission, [OwnPolicies(Meets)], [0], wrap=lambda driver: OnThreads(driver, 2))
    assert found.failure is None and len(gate_at) >= 2


class Timed:
    """A driver whose rows take so long, of which some counts while others work, too."""

    splits = batches = True

    def __init__(self, alone_s, share):
        self.alone_s, self.share, self.now = alone_s, share, 0.0
        self.lock, self.threads = threading.Lock(), set()

    def begin(self, bodies):
        pass

    def act(self, asked):
        with self.lock:
            own = threading.current_thread().name
            self.threads.add(own)
            self.now += self.alone_s * len(asked.agents) * (self.share if own.startswith("policies") else 1.0)
        return np.zeros(len(asked.agents), np.int16)


@pytest.mark.parametrize(("share", "chosen"), [(0.5, THREAD), (1.0, BATCH), (0.99 / GAIN_WANTED, THREAD), (0.9, BATCH)])
def test_threads_are_kept_where_they_are_faster(share, chosen):
    driver, mission = Timed(1.0, share), mission_of("hunt")
    made = []

    def wrap(each):
        made.append(Faster(each, 2, clock=lambda: driver.now))
        return made[0]

    found = outcomes(mission, [driver], range(8), wrap=wrap)
    assert all(each.failure is None for each in found) and made[0].chosen == chosen
    made[0].close()


def test_threads_are_not_tried_where_all_rows_take_no_time():
    driver, mission, made = Timed(1e-6, 0.1), mission_of("hunt"), []

    def wrap(each):
        made.append(Faster(each, 2, clock=lambda: driver.now))
        return made[0]

    outcomes(mission, [driver], range(8), wrap=wrap)
    assert made[0].chosen == BATCH and not any(name.startswith("policies") for name in driver.threads)
    made[0].close()


def test_what_cannot_be_split_is_asked_in_batches():
    mission = mission_of("four")
    guarded = OwnPolicies(own_policies.Global)
    guarded.guarded = True
    for driver in (drivers.rule(mission) if mission.world.game.hidden else drivers.Choosing(None), guarded):
        assert isinstance(wrapped(driver, THREAD, 4), InBatch) and isinstance(wrapped(driver, AUTO, 4), InBatch)
    random = drivers.random(mission)
    assert isinstance(wrapped(random, THREAD, 4), OnThreads) and isinstance(wrapped(random, AUTO, 4), Faster)
    assert type(wrapped(random, AUTO, 1)) is InBatch and isinstance(wrapped(random, SEQUENCE, 1), InSequence)
    assert type(wrapped(random, BATCH, 4)) is InBatch


def test_threads_end():
    before = threading.active_count()
    way = OnThreads(drivers.random(mission_of("hunt")), 3)
    outcomes(mission_of("hunt"), [drivers.random(mission_of("hunt"))], [0], wrap=lambda _: way)
    way.close()
    end = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == before
