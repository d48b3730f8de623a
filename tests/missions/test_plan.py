"""Which episodes, and which of them side by side."""

import itertools

import pytest

from scoundrel_ray.missions.plan import MOST_TOGETHER, blocks, numbers
from scoundrel_ray.settings.checks import InvalidConfig


def test_which_episodes():
    assert numbers(3, None) == [0, 1, 2] and numbers("3-7", None) == [3, 4, 5, 6, 7]
    assert numbers("4-4", None) == [4] and numbers(10, 17) == [17]


@pytest.mark.parametrize("episodes", [0, -1, True, 2.0, "7-3", "a", "3-", None, [1]])
def test_bad_episodes_are_one_line(episodes):
    with pytest.raises(InvalidConfig, match=r"episodes: got .*, wanted a number of at least 1, or a range"):
        numbers(episodes, None)


@pytest.mark.parametrize("episode", [-1, True, 1.0, "3"])
def test_a_bad_episode_is_one_line(episode):
    with pytest.raises(InvalidConfig, match=r"episode: got .*, wanted the number of an episode"):
        numbers(10, episode)


@pytest.mark.parametrize(("count", "workers"), list(itertools.product([1, 2, 7, 100, 3000], [1, 2, 16])))
def test_every_episode_is_in_one_block(count, workers):
    episodes = list(range(5, 5 + count))
    for together in (False, True):
        found = list(blocks(episodes, together, workers))
        assert [each for block in found for each in block] == episodes
        assert all(len(block) <= (MOST_TOGETHER if together else 1) for block in found)
    if count > 4 * workers:
        assert len(list(blocks(episodes, True, workers))) >= workers
