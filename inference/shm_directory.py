"""The directory in /dev/shm where a server keeps what it shares. It ends with the server, or the next server sweeps it.

The directory's name says whose it is: user, process with its start time (numbers of processes are used again) and
namespace of processes (in a container the same numbers are others').

The environment variable SCOUNDREL_RAY_SHM names another file system or directory in place of /dev/shm, for tests and
for machines whose /dev/shm is small. Only servers that share that directory sweep it. The variable is read in the
server's process, a worker of Ray, which has the environment that Ray was started with.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from inference.segment import Segment, Shape

ROOT_VARIABLE = "SCOUNDREL_RAY_SHM"
_PREFIX = "scoundrel_ray"
_NAME = re.compile(rf"{_PREFIX}-(\d+)-(\d+)-(\d+)-(\d+)-[0-9a-f]+")


class Refused(RuntimeError):
    """Shared memory cannot be used here; the message says why, for the user."""


class Attachment(NamedTuple):
    """The server's answer to a client that wants a segment.

    Attributes:
        base: path that its files begin with (see `files`); "" if the client has none and must use
            another transport.
        incarnation: token of the server's process, which the segment's header must bear.
        refusal: why the client has none.
        expected: whether the refusal needs no warning: the two are on different nodes.
    """

    base: str = ""
    incarnation: str = ""
    refusal: str = ""
    expected: bool = False


def shared_root() -> Path:
    """Where this process would make its directory: /dev/shm, or what SCOUNDREL_RAY_SHM names."""
    return Path(os.environ.get(ROOT_VARIABLE) or "/dev/shm")


class ShmDirectory:
    """The directory of this process; making it removes the directories of this user's processes that have ended.

    Args:
        root: a file system in memory; None for `shared_root`.

    Attributes:
        path: path of the directory, which only this user may enter.
        token: random part of its name.

    Raises:
        Refused: where there is no such file system, or it cannot be written to.
    """

    def __init__(self, root: Path | None = None) -> None:
        root = shared_root() if root is None else root
        if sys.platform != "linux" or not root.is_dir():
            raise Refused(f"this machine ({sys.platform}) has no {root}")
        self.token = secrets.token_hex(8)
        started = _started(os.getpid())
        name = f"{_PREFIX}-{os.getuid()}-{_namespace()}-{os.getpid()}-{started}-{self.token}"
        self.path = root / name
        self._made = 0
        sweep(root)
        try:
            self.path.mkdir(mode=0o700)
        except OSError as error:
            raise Refused(f"cannot make a directory in {root}: {error.strerror}") from error

    def make(self, shape: Shape) -> tuple[Path, Segment]:
        """A new segment with its two FIFOs: the path that all three begin with (see `files`), and the segment.

        Raises:
            Refused: if it does not fit, with what was wanted and what is free; nothing is left of it.
        """
        base = self.path / str(self._made)
        self._made += 1
        segment_file, *fifos = files(base)
        free = 0
        try:
            free = _free(self.path)
            if free < shape.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            segment = Segment.create(segment_file, shape, self.token)
            for fifo in fifos:
                os.mkfifo(fifo, 0o600)
        except OSError as error:
            self.remove(base)
            if error.errno != errno.ENOSPC:
                raise Refused(f"cannot make {base}: {error.strerror}") from error
            raise Refused(
                f"{self.path.parent} is too small: a segment takes {shape.size / 2**20:.3g} MiB, "
                f"{free / 2**20:.3g} MiB are free"
            ) from error
        return base, segment

    def remove(self, base: Path) -> None:
        """Remove the files of one segment; whoever has them open keeps them."""
        for file in files(base):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)


def files(base: Path) -> tuple[Path, Path, Path]:
    """Files of one client: the segment, the FIFO that it rings, the FIFO that it is rung by."""
    return (base.with_suffix(".segment"), base.with_suffix(".requests"), base.with_suffix(".replies"))


def sweep(root: Path) -> None:
    """Remove what dead servers of this user left; what another container made is not ours to judge."""
    for path in root.glob(f"{_PREFIX}-{os.getuid()}-{_namespace()}-*"):
        named = _NAME.fullmatch(path.name)
        if named and _started(int(named[3])) != int(named[4]):
            shutil.rmtree(path, ignore_errors=True)


def _started(pid: int) -> int | None:
    """When a process started, in ticks since the machine did; None if there is none, or it only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else int(fields[19])


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    return _started(pid) is not None


def _namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _free(path: Path) -> int:
    there = os.statvfs(path)
    return there.f_bavail * there.f_frsize
