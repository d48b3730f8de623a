"""How episodes are dealt: how many at once, and which are played side by side. Results do not depend on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scoundrel_ray.settings.checks import InvalidConfig

MOST_TOGETHER, BLOCK_S = 256, 1.0
_BLOCKS_A_WORKER = 2  # of what is left
_GROWTH = 8  # times as many episodes as in a block that is over, at most


def numbers(episodes: Any, episode: Any) -> list[int]:
    """The numbers of the episodes to be played.

    Args:
        episodes: how many from the first on, or "3-7" for those with these numbers.
        episode: one alone; None for `episodes`.

    Raises:
        InvalidConfig: naming the setting.
    """
    if episode is not None:
        if isinstance(episode, bool) or not isinstance(episode, int) or episode < 0:
            raise InvalidConfig(f"episode: got {episode!r}, wanted the number of an episode, from 0 on")
        return [episode]
    if isinstance(episodes, str):
        first, dash, last = episodes.partition("-")
        if dash and first.strip().isdecimal() and last.strip().isdecimal() and int(first) <= int(last):
            return list(range(int(first), int(last) + 1))
    elif not isinstance(episodes, bool) and isinstance(episodes, int) and episodes >= 1:
        return list(range(episodes))
    raise InvalidConfig(f"episodes: got {episodes!r}, wanted a number of at least 1, or a range such as 3-7")


class Blocks:
    """Deals episodes of a mission in blocks, each to be played side by side by one worker.

    What an episode takes is not known before one was played, so the first blocks are small. A block is to last for
    about `block_s`: shorter ones spend their time on messages and on calls for few rows, longer ones keep results back,
    and are lost with their worker.

    Args:
        episodes: by number.
        workers: that share them.
        block_s: see above.

    Attributes:
        episode_s: what an episode took in the newest block; NaN before.
        most: episodes of the largest block.
    """

    def __init__(self, episodes: Sequence[int], workers: int, block_s: float = BLOCK_S) -> None:
        self._left, self._workers, self._block_s = [*episodes], workers, block_s
        self.episode_s, self.most = math.nan, 0
        self._known = 0  # episodes of the newest block that is over

    @property
    def left(self) -> int:
        """Episodes that have not been dealt."""
        return len(self._left)

    def deal(self) -> tuple[int, ...]:
        """The next block; empty if all have been dealt."""
        block, self._left = self._left[: self._size], self._left[self._size :]
        self.most = max(self.most, len(block))
        return tuple(block)

    def took(self, episodes: int, seconds: float) -> None:
        """A block of so many episodes took so long."""
        self.episode_s, self._known = seconds / episodes, episodes

    @property
    def _size(self) -> int:
        if math.isnan(self.episode_s):
            return 1
        wanted = int(self._block_s / max(self.episode_s, 1e-9))
        fair = -(-len(self._left) // (self._workers * _BLOCKS_A_WORKER))  # so that nobody waits long for the last one
        return max(1, min(wanted, fair, MOST_TOGETHER, _GROWTH * self._known))
