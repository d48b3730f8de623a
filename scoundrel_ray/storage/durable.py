"""Files and directories that appear on disk whole or not at all.

Each is written beside its place, flushed, and renamed: a crash, a full disk or a kill leaves what was there
before.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_TEMPORARY = ".tmp-"


class StorageError(RuntimeError):
    """A file or directory that could not be written, or must not be read; one line says which and why."""


class Damaged(StorageError):
    """A file or directory that is not what was once written there."""


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A block that writes and flushes a file or directory at the path it is given; then it takes its place at
    `path`.

    One process writes to a path once at a time. A file replaces an older one, a directory does not.

    Raises:
        StorageError: for every OSError on the way; nothing is left of the attempt, whatever ended it.
    """
    temporary = path.with_name(f"{_TEMPORARY}{path.name}-{os.getpid()}")
    try:
        _remove(temporary)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_dir():
            _flush_directory(temporary)
        temporary.replace(path)
        _flush_directory(path.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        _remove(temporary)


def write_file(path: Path, data: bytes) -> None:
    """Writes one file, in place of an older one.

    Raises:
        StorageError: if it cannot be written; an older file stays as it was.
    """
    with written_beside(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        flush(file)


def append(path: Path, data: bytes) -> None:
    """Appends to a file that need not be there, all of it or nothing.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        try:
            if file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            file.truncate(end)
            raise OSError(error.errno, error.strerror, str(path)) from error


def save_picture(figure: Any, path: Path) -> None:
    """Writes a figure of matplotlib's as a PNG, whole or not at all, and closes it.

    Raises:
        StorageError: if it cannot be written; an older file stays as it was.
    """
    import matplotlib.pyplot as plt

    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    plt.close(figure)
    write_file(path, data.getvalue())


def flush(file: BinaryIO) -> None:
    """Brings what was written to a file onto the disk."""
    file.flush()
    os.fsync(file.fileno())


def sweep(parent: Path) -> None:
    """Removes what killed writers left half-written in a directory; no other writer may be at work there."""
    for leftover in parent.glob(f"{_TEMPORARY}*"):
        _remove(leftover)


def remove_directory(path: Path) -> None:
    """Removes a directory so that a crash on the way leaves no half of it under its name."""
    doomed = path.with_name(f"{_TEMPORARY}{path.name}-{os.getpid()}")
    path.rename(doomed)
    _remove(doomed)


def _remove(path: Path) -> None:
    """Removes it if that can be done: why a write failed must not be hidden by what failed while cleaning up."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _flush_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
