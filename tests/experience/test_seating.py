"""Who sits where: every game as equal as it can be, every arrangement in turn, fixed seats as they are named."""

import itertools
from collections import Counter

import numpy as np
import pytest

from scoundrel_ray.experience.seating import EMPTY, Seating
from scoundrel_ray.settings.checks import InvalidSetting
from scoundrel_ray.streams import stream


def drawn(seating, players, games):
    return np.stack([seating.draw(players, stream(5, number)) for number in range(games)])


def assert_as_likely(counts):
    """Chi-square of equally likely outcomes; exceeded by about one seed in 10,000."""
    expected, freedom = counts.sum() / len(counts), len(counts) - 1
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 4 * np.sqrt(2 * freedom) + 8


def arrangements(agents, players):
    """All in which every agent sits in as many seats as any other, or in one more."""
    least = players // agents
    return {
        order
        for order in itertools.product(range(agents), repeat=players)
        if all(least <= order.count(agent) <= least + (players % agents > 0) for agent in range(agents))
    }


@pytest.mark.parametrize(("agents", "players"), [(2, 2), (2, 3), (2, 4), (3, 2), (3, 4), (3, 5), (4, 4)])
def test_seats_are_given_out_equally_and_in_every_way(agents, players):
    seating = Seating([f"a{number}" for number in range(agents)], 6)
    tables = drawn(seating, players, 4000)
    assert (tables[:, players:] == EMPTY).all()
    met = Counter(map(tuple, tables[:, :players].tolist()))
    assert set(met) == arrangements(agents, players)
    assert_as_likely(np.array([*met.values()]))
    of_agents = np.bincount(tables[:, :players].ravel(), minlength=agents)
    assert abs(of_agents / of_agents.mean() - 1).max() < 0.08


def test_a_draw_depends_on_its_stream_alone():
    seating = Seating(["wide", "narrow"], 4)
    np.testing.assert_array_equal(drawn(seating, 4, 50), drawn(Seating(["wide", "narrow"], 4), 4, 50))
    before = stream(1)
    seating.draw(4, before)
    np.testing.assert_array_equal(before, stream(1))


def test_one_agent_sits_everywhere_and_draws_nothing():
    class Untouched:
        def __getitem__(self, place):
            raise AssertionError("was drawn from")

    assert Seating(["agent"], 4).draw(3, Untouched()).tolist() == [0, 0, 0, EMPTY]


def test_fixed_seats_are_as_named():
    seating = Seating(["wide", "narrow"], 4, ["narrow", "wide", "wide", "narrow"])
    assert (drawn(seating, 4, 5) == [1, 0, 0, 1]).all()
    assert seating.draw(3, stream(0)).tolist() == [1, 0, 0, EMPTY]


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        (["wide"], r"seats: got \['wide'\], wanted 2 of wide, narrow, one for each seat"),
        (["wide", "narrow", "wide"], r"seats: got .*, wanted 2 of wide, narrow, one for each seat"),
        (["wide", "deep"], r"seats: got 'deep' in seat 1, wanted one of wide, narrow"),
        (["wide", "wide"], r"seats: got \['wide', 'wide'\], wanted a seat for narrow, too"),
    ],
)
def test_fixed_seats_that_make_no_sense_are_refused(fixed, message):
    with pytest.raises(InvalidSetting, match=f"^{message}$"):
        Seating(["wide", "narrow"], 2, fixed)
