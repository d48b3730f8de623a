"""Which episodes, and which of them side by side."""

import itertools
import math

import pytest

from scoundrel_ray.missions.plan import MOST_TOGETHER, Blocks, numbers
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
@pytest.mark.parametrize("episode_s", [1e-5, 0.02, 5.0])
def test_every_episode_is_dealt_once_in_blocks_that_last_as_long_as_wanted(count, workers, episode_s):
    blocks, sizes, found = Blocks(range(5, 5 + count), workers, block_s=1.0), [], []
    while block := blocks.deal():
        found += block
        sizes.append(len(block))
        blocks.took(len(block), len(block) * episode_s)
    assert found == list(range(5, 5 + count)) and blocks.left == 0 and blocks.most == max(sizes)
    assert sizes[0] == 1 and max(sizes) <= MOST_TOGETHER
    assert all(later <= 8 * earlier for earlier, later in itertools.pairwise(sizes))
    assert max(sizes) * episode_s <= 1.0 or max(sizes) == 1
    if episode_s == 5.0:
        assert set(sizes) == {1}
    if episode_s == 1e-5 and count == 3000 and workers == 1:
        assert max(sizes) == MOST_TOGETHER
    if count > 8 * workers:
        assert sizes[-1] < count / (2 * workers), "nobody waits long for the last one"


def test_before_one_is_over_blocks_are_of_one_episode():
    blocks = Blocks(range(10), 2)
    assert [blocks.deal() for _ in range(3)] == [(0,), (1,), (2,)] and math.isnan(blocks.episode_s)
    blocks.took(1, 0.1)
    assert blocks.episode_s == 0.1 and blocks.deal() == (3, 4)  # of 7, a quarter
    blocks.took(2, 10.0)
    assert blocks.deal() == (5,)
