"""The checkpoints of a run: numbered directories with all that it needs to go on (see `storage.directory`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from scoundrel_ray.machine import library_versions
from scoundrel_ray.storage.directory import read_directory, write_directory
from scoundrel_ray.storage.durable import remove_directory, sweep


def save(run_dir: Path | str, content: Mapping[str, Any], keep: int = 3) -> Path:
    """Path of a new checkpoint, the next in number; then all but the newest `keep` are removed.

    One process saves to a run at a time. What each type of content becomes: see `scoundrel_ray.storage.directory`.

    Raises:
        StorageError: if it cannot be written; the previous one stays and nothing is left of the attempt.
        ValueError: if keep is below 1, or for content that cannot be stored.
    """
    if keep < 1:
        raise ValueError(f"checkpoints to keep is {keep}, wanted at least 1")
    parent = Path(run_dir) / "checkpoints"
    sweep(parent)
    existing = checkpoints(run_dir)
    path = parent / f"{int(existing[-1].name) + 1 if existing else 1:06d}"
    write_directory(path, content, about={"libraries": library_versions()})
    for old in [*existing, path][:-keep]:
        remove_directory(old)
    return path


def load(path: Path | str, names: Collection[str] | None = None) -> dict[str, Any]:
    """Content of a checkpoint as it was given to `save`, or what is asked for by name.

    Arrays that were given as such, and structured or large ones in trees, are mapped from disk and read-only.

    Raises:
        StorageError: if it is missing, damaged, of another format, or lacks a name.
    """
    return read_directory(Path(path), names)


def checkpoints(run_dir: Path | str) -> list[Path]:
    """All whole checkpoints of a run, oldest first."""
    found = (Path(run_dir) / "checkpoints").glob("[0-9]*")
    return sorted((path for path in found if path.name.isdigit()), key=lambda path: int(path.name))


def latest(run_dir: Path | str) -> Path | None:
    """The newest whole checkpoint of a run, or None if it has none."""
    return next(reversed(checkpoints(run_dir)), None)
