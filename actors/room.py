"""Room in the shared memory that holds Ray's object store.

The store takes memory only as objects come. Where another program has filled the file system by then, the system ends
Ray's own process in the middle of a write, and Ray ends all others: there is time for a warning before, none after.
"""

from __future__ import annotations

import os
from pathlib import Path

_LEAST = 256 * 2**20


class Room:
    """What is free where Ray keeps its objects on this node.

    Args:
        place: file system of Ray's object store, unless it was too small from the start: Ray takes the disk then.
    """

    def __init__(self, place: Path = Path("/dev/shm")) -> None:
        self._place = place
        self._taken = place.is_dir() and self._free() >= _LEAST

    def _free(self) -> int:
        told = os.statvfs(self._place)
        return told.f_frsize * told.f_bavail

    def warning(self) -> str:
        """One line if there is hardly any room left; "" else."""
        if not self._taken or (free := self._free()) >= _LEAST:
            return ""
        return (
            f"{self._place} has {free / 2**20:.0f} MiB left; if it fills up, Ray dies and with it what came after the "
            "last checkpoint: make room in it"
        )
