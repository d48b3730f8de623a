"""Weights files, which refuse another game, and the checkpoints of a run.

A weights file is a safetensors file of float32 arrays whose metadata holds the game's specification, the
network's config, the weights version and a checksum. A checkpoint is one directory (see
`scoundrel_ray.storage`) with everything that a run needs to go on; `save` numbers them and keeps the newest.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from scoundrel_ray.durable import StorageError, remove_directory, sweep, write_file
from scoundrel_ray.storage import read_directory, write_directory

WEIGHTS_FORMAT = "scoundrel_ray weights 1"
_LIBRARIES = ("scoundrel_ray", "numpy", "numba", "torch", "ray", "safetensors", "hydra-core")


class SavedWeights(NamedTuple):
    """What a weights file holds.

    Attributes:
        arrays: float32, by name.
        specification: of the game (`Game.specification`).
        network: config that the network was built from, `_target_` included.
        version: of the weights.
    """

    arrays: dict[str, np.ndarray]
    specification: dict[str, Any]
    network: dict[str, Any]
    version: int


def pack_weights(
    arrays: Mapping[str, np.ndarray],
    specification: Mapping[str, Any],
    network: Mapping[str, Any],
    version: int,
) -> bytes:
    """A weights file as bytes, e.g. to lie in a checkpoint.

    Raises:
        ValueError: for an array that is not float32.
    """
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"weights {name} are {array.dtype}, wanted float32")
    metadata = {
        "format": WEIGHTS_FORMAT,
        "specification": json.dumps(specification),
        "network": json.dumps(network),
        "version": str(version),
        "crc32": str(_checksum(arrays)),
    }
    return safetensors.numpy.save(dict(arrays), metadata)


def save_weights(
    path: Path | str,
    arrays: Mapping[str, np.ndarray],
    specification: Mapping[str, Any],
    network: Mapping[str, Any],
    version: int = 0,
) -> None:
    """Writes a weights file, whole or not at all.

    Raises:
        StorageError: if it cannot be written; an older file stays as it was.
        ValueError: for an array that is not float32.
    """
    write_file(Path(path), pack_weights(arrays, specification, network, version))


def load_weights(path: Path | str, specification: Mapping[str, Any] | None = None) -> SavedWeights:
    """Weights from a file, for the game that the specification tells; for any game if it is None.

    Raises:
        StorageError: if the file is missing, damaged, no weights file, or of another game, version, option,
            number of actions or seats, observation or values; the line says which, got what, wanted what.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if metadata.get("format") != WEIGHTS_FORMAT:
            raise StorageError(
                f"cannot read {path}: its format is {metadata.get('format')!r}, wanted {WEIGHTS_FORMAT!r}"
            )
        saved = SavedWeights(
            arrays,
            json.loads(metadata["specification"]),
            json.loads(metadata["network"]),
            int(metadata["version"]),
        )
        crc32 = int(metadata["crc32"])
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"cannot read {path}: damaged, or no weights file ({error})") from error
    if _checksum(arrays) != crc32 or any(array.dtype != np.float32 for array in arrays.values()):
        raise StorageError(f"cannot read {path}: its bytes are not those that were written")
    if specification is not None:
        wanted = json.loads(json.dumps(specification))
        difference = first_difference(saved.specification, wanted)
        if difference:
            raise StorageError(f"cannot use {path}: made for another game: {difference}")
    return saved


def first_difference(got: Any, wanted: Any, where: str = "") -> str | None:
    """Where two plain values first differ, e.g. "options.last is 2, wanted 3"; None if nowhere."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(key for key in got if key not in wanted)]:
            difference = first_difference(got.get(key), wanted.get(key), f"{where}.{key}".lstrip("."))
            if difference:
                return difference
        return None
    if isinstance(got, list) and isinstance(wanted, list):
        if len(got) != len(wanted):
            return f"{where} has {len(got)} entries, wanted {len(wanted)}"
        for i, pair in enumerate(zip(got, wanted, strict=True)):
            difference = first_difference(*pair, f"{where}[{i}]")
            if difference:
                return difference
        return None
    return None if got == wanted else f"{where} is {got!r}, wanted {wanted!r}"


def save(run_dir: Path | str, content: Mapping[str, Any], keep: int = 3) -> Path:
    """Path of a new checkpoint, the next in number; then all but the newest `keep` are removed.

    One process saves to a run at a time. What each type of content becomes: see `scoundrel_ray.storage`.

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


def library_versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that a checkpoint leans on."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _checksum(arrays: Mapping[str, np.ndarray]) -> int:
    crc32 = 0
    for name in sorted(arrays):
        crc32 = zlib.crc32(f"{name}{arrays[name].shape}".encode(), crc32)
        crc32 = zlib.crc32(arrays[name].tobytes(), crc32)
    return crc32
