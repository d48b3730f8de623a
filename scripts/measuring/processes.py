"""Memory and processor time of a command's processes while it runs: its actors', Ray's own and its own."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import psutil

_OWN, _OTHERS = "command", "idle workers"
_Value = TypeVar("_Value", str, float)


@dataclass
class Memory:
    """Memory of one process over time.

    Attributes:
        name: of the actor's class, of Ray's program, or "command".
        pid: process id.
        seconds: when it was read, since the command's start.
        megabytes: proportional set size then, in 10^6 bytes: pages that it shares with others count in part.
    """

    name: str
    pid: int
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def growth(self, since_s: float, until_s: float = math.inf) -> float | None:
        """Slope of a line through what was read from one second to another, in MB a minute; None below 3 readings."""
        late = [(s, mb) for s, mb in zip(self.seconds, self.megabytes, strict=True) if since_s <= s <= until_s]
        if len(late) < 3:
            return None
        seconds, megabytes = np.array(late).T
        return 60.0 * float(np.polyfit(seconds, megabytes, 1)[0])


def together(processes: Sequence[Memory]) -> Memory:
    """Memory of all processes, added up reading by reading."""
    found: dict[float, float] = {}
    for each in processes:
        for seconds, size in zip(each.seconds, each.megabytes, strict=True):
            found[seconds] = found.get(seconds, 0.0) + size
    return Memory("all together", 0, sorted(found), [found[seconds] for seconds in sorted(found)])


def watched(command: Sequence[str], every_s: float, log: str | os.PathLike[str]) -> tuple[int, list[Memory]]:
    """Exit code of a command, and the memory of all processes that it started and of its own, in order of their start.

    Args:
        command: what to run.
        every_s: seconds between two readings.
        log: file that gets what it prints.
    """
    found: dict[int, Memory] = {}

    def look(process: psutil.Process, seconds: float, own: int) -> None:
        _read(process, seconds, own, found)

    return _watch(command, every_s, log, look), list(found.values())


def spent(command: Sequence[str], log: str | os.PathLike[str], every_s: float = 0.1) -> tuple[int, float]:
    """Exit code of a command, and processor seconds of all processes that it started and of its own.

    What each spends after it is looked at for the last time does not count.

    Args:
        command, log: as of `watched`.
        every_s: seconds between two looks.
    """
    found: dict[tuple[int, float], float] = {}

    def look(process: psutil.Process, _seconds: float, _own: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            times = process.cpu_times()
            found[process.pid, process.create_time()] = times.user + times.system

    return _watch(command, every_s, log, look), sum(found.values())


def _watch(
    command: Sequence[str],
    every_s: float,
    log: str | os.PathLike[str],
    look: Callable[[psutil.Process, float, int], None],
) -> int:
    """Exit code of a command; meanwhile `look` is called for each of its processes, with the seconds since its start
    and the command's own process id.
    """
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        start, own = time.monotonic(), psutil.Process(process.pid)
        while process.poll() is None:
            seconds = time.monotonic() - start  # one for all, so that they can be added up
            for each in _family(own):
                look(each, seconds, own.pid)
            time.sleep(every_s)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
    return process.returncode


def cpu_seconds() -> dict[int, float]:
    """Processor time of this process and of all that it started and that are still there, by process id."""
    return _of_family(lambda process: process.cpu_times().user + process.cpu_times().system)


def megabytes() -> dict[str, float]:
    """Proportional set size of this process and of all that it started, in 10^6 bytes, of those of a name together."""
    found: dict[str, float] = {}
    names = _of_family(lambda process: _OWN if process.pid == os.getpid() else _name(process.cmdline()) or _OTHERS)
    for pid, size in _of_family(lambda process: process.memory_full_info().pss / 1e6).items():
        name = names.get(pid, _OTHERS)
        found[name] = found.get(name, 0.0) + size
    return found


def _of_family(read: Callable[[psutil.Process], _Value]) -> dict[int, _Value]:
    found = {}
    for each in _family(psutil.Process()):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            found[each.pid] = read(each)
    return found


def _family(own: psutil.Process) -> list[psutil.Process]:
    try:
        return [own, *own.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _read(process: psutil.Process, seconds: float, own: int, found: dict[int, Memory]) -> None:
    try:
        name = _OWN if process.pid == own else _name(process.cmdline())
        size = process.memory_full_info().pss / 1e6
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return
    if not name:
        return
    memory = found.setdefault(process.pid, Memory(name, process.pid))
    memory.name = name  # a worker of Ray's is idle before it becomes an actor
    memory.seconds.append(seconds)
    memory.megabytes.append(size)


def _name(command: Sequence[str]) -> str:
    """What a process is; "" for one that is about to become something else."""
    if not command:
        return ""
    title = command[0]
    if title.startswith("ray::"):
        name = title.removeprefix("ray::").split(".")[0].split("(")[0].split()[0]
        return "" if name == "IDLE" else name
    modules = [os.path.basename(part).removesuffix(".py") for part in command if part.endswith(".py")]
    return modules[0] if modules else os.path.basename(title)
