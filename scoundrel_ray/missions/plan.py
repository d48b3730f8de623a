"""How episodes are dealt: how many at once, and which are played side by side. Results do not depend on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from scoundrel_ray.settings.checks import InvalidConfig

MOST_TOGETHER = 256
_TASKS_A_WORKER = 2  # so that no worker waits long for the last one


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


def blocks(episodes: Sequence[int], together: bool, workers: int) -> Iterable[tuple[int, ...]]:
    """Episodes that are played side by side.

    Args:
        episodes: of a mission, by number.
        together: whether that saves anything: where a call steps many copies, or asks a policy for many rows.
        workers: that share them.
    """
    size = min(-(-len(episodes) // (workers * _TASKS_A_WORKER)), MOST_TOGETHER) if together else 1
    return [tuple(episodes[at : at + size]) for at in range(0, len(episodes), max(size, 1))]
