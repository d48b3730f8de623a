"""Weights files, which refuse another game.

A weights file is a safetensors file of float32 arrays whose metadata holds the game's specification, the network's
config, the weights version and a checksum of all of it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from scoundrel_ray.settings.handed import check_targets
from scoundrel_ray.spec import Spec
from scoundrel_ray.storage.durable import Damaged, StorageError, write_file

WEIGHTS_FORMAT = "scoundrel_ray weights 2"
_UNCHECKED_FORMAT = "scoundrel_ray weights 1"  # its checksum did not cover what stands beside the arrays
_CHECKED = ("format", "specification", "network", "version")


class SavedWeights(NamedTuple):
    """What a weights file holds.

    Attributes:
        arrays: float32, by name.
        specification: of the world (`Spec.as_dict`).
        network: config that the network was built from, `_target_` included.
        version: of the weights.
    """

    arrays: dict[str, np.ndarray]
    specification: dict[str, Any]
    network: dict[str, Any]
    version: int


def pack_weights(
    arrays: Mapping[str, np.ndarray],
    spec: Spec,
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
        "specification": json.dumps(spec.as_dict()),
        "network": json.dumps(network),
        "version": str(version),
    }
    metadata["crc32"] = str(_checksum(arrays, metadata))
    return safetensors.numpy.save(dict(arrays), metadata)


def save_weights(
    path: Path | str,
    arrays: Mapping[str, np.ndarray],
    spec: Spec,
    network: Mapping[str, Any],
    version: int = 0,
) -> None:
    """Writes a weights file, whole or not at all.

    Raises:
        StorageError: if it cannot be written; an older file stays as it was.
        ValueError: for an array that is not float32.
    """
    write_file(Path(path), pack_weights(arrays, spec, network, version))


def load_weights(path: Path | str, spec: Spec | None = None) -> SavedWeights:
    """Weights from a file, for the world of the spec; for any world if it is None.

    Raises:
        Damaged: if the file is missing, damaged, or no weights file.
        StorageError: if it is of another game, version, option, number of actions or seats, observation or values; the
            line says which, got what, wanted what.
        InvalidConfig: if its network names foreign code (see `settings.handed`).
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if metadata.get("format") not in (WEIGHTS_FORMAT, _UNCHECKED_FORMAT):
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
        raise Damaged(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"cannot read {path}: damaged, or no weights file ({error})") from error
    checked = metadata if metadata["format"] == WEIGHTS_FORMAT else {}
    if _checksum(arrays, checked) != crc32 or any(array.dtype != np.float32 for array in arrays.values()):
        raise Damaged(f"cannot read {path}: its bytes are not those that were written")
    check_targets(str(path), {"network": saved.network})
    if spec is not None:
        wanted = json.loads(json.dumps(spec.as_dict()))
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


def _checksum(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> int:
    """CRC-32 of the arrays with their names and shapes, and of what `metadata` says beside them, if anything."""
    crc32 = 0
    for name in sorted(arrays):
        crc32 = zlib.crc32(f"{name}{arrays[name].shape}".encode(), crc32)
        crc32 = zlib.crc32(arrays[name].tobytes(), crc32)
    for name in _CHECKED:
        if metadata:
            crc32 = zlib.crc32(f"{name}={metadata[name]}\n".encode(), crc32)
    return crc32
