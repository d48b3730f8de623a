"""Directories of arrays, trees, texts and bytes, written whole or not at all and read without pickle.

A manifest holds the size and checksum of every file, and one of itself, so that what is read back is what was written.

Content is a mapping from names to values. By its type a value becomes:

    str, bytes          the file `name` (put the suffix into the name)
    np.ndarray          `name.npy`, streamed: no second copy in memory
    anything else       a tree (see `scoundrel_ray.storage.nested`): plain data in `name.json`, its arrays in
                        `name.safetensors`, or in a `name.K.npy` each if they are structured or large
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from scoundrel_ray.storage.durable import Damaged, StorageError, flush, written_beside
from scoundrel_ray.storage.nested import put_together, take_apart

FORMAT = 2
_UNCHECKED_FORMAT = 1  # its manifest had no checksum of its own
MANIFEST = "manifest.json"
_LARGE_BYTES = 1 << 24


class _Checked:
    """A file that counts and sums up what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size_bytes = 0
        self.crc32 = 0

    def write(self, data: bytes | memoryview) -> int:
        self._file.write(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        self.size_bytes += len(data)
        return len(data)


def write_directory(path: Path, content: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> None:
    """Writes content into a new directory, which appears whole or not at all.

    Args:
        path: of the directory; its parent is created if need be.
        content: see above.
        about: plain data for the manifest, for readers of the file.

    Raises:
        StorageError: if the directory exists or cannot be written; nothing is left of the attempt.
        ValueError: for content that cannot be stored; nothing is left either.
    """
    if path.exists():
        raise StorageError(f"cannot write {path}: it exists")
    with written_beside(path) as directory:
        directory.mkdir()
        writer = _Writer(directory)
        for name, value in content.items():
            writer.put(name, value)
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "about": dict(about or {}),
            "content": writer.kinds,
            "files": writer.files,
        }
        manifest["crc32"] = _checksum(manifest)
        writer.file(MANIFEST, lambda out: out.write(json.dumps(manifest, indent=1).encode()))


def read_directory(path: Path, names: Collection[str] | None = None) -> dict[str, Any]:
    """Content of a directory that `write_directory` wrote, each value as it was given.

    Arrays from `.npy` files are mapped from disk and read-only: copy what must change or outlive the
    directory.

    Args:
        path: of the directory.
        names: which values to read and check; all of them if None.

    Raises:
        Damaged: if it is missing or not what was written.
        StorageError: if it is of another format, or lacks a name.
    """
    manifest = _manifest(path)
    kinds = manifest["content"]
    for name in names or ():
        if name not in kinds:
            raise StorageError(f"cannot read {path}: it holds no {name!r}, only {', '.join(sorted(kinds))}")
    return {
        name: _Reader(path, manifest["files"]).get(name, kind)
        for name, kind in kinds.items()
        if names is None or name in names
    }


class _Writer:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.kinds: dict[str, str] = {}
        self.files: dict[str, dict[str, int]] = {}

    def put(self, name: str, value: Any) -> None:
        if name != Path(name).name or name.startswith("."):
            raise ValueError(f"cannot store {name!r}: wanted a plain file name")
        if isinstance(value, str):
            self.kinds[name] = "text"
            self.file(name, lambda out: out.write(value.encode()))
        elif isinstance(value, bytes):
            self.kinds[name] = "bytes"
            self.file(name, lambda out: out.write(value))
        elif isinstance(value, np.ndarray):
            self.kinds[name] = "array"
            self._array(f"{name}.npy", value, name)
        else:
            self.kinds[name] = "tree"
            self._tree(name, value)

    def file(self, name: str, write: Callable[[_Checked], Any]) -> None:
        if name in self.files:
            raise ValueError(f"cannot store {name!r} twice")
        with (self._directory / name).open("wb") as file:
            out = _Checked(file)
            write(out)
            flush(file)
        self.files[name] = {"bytes": out.size_bytes, "crc32": out.crc32}

    def _array(self, file_name: str, array: np.ndarray, where: str) -> None:
        if array.dtype.hasobject:
            raise ValueError(f"cannot store {where}: an array of {array.dtype} would need pickle")
        self.file(file_name, lambda out: np.lib.format.write_array(out, array, allow_pickle=False))  # pyright: ignore[reportArgumentType]

    def _tree(self, name: str, tree: Any) -> None:
        arrays: dict[str, np.ndarray] = {}
        plain = take_apart(tree, name, arrays)
        apart = [key for key, array in arrays.items() if array.dtype.names or array.nbytes > _LARGE_BYTES]
        for number, key in enumerate(apart):
            self._array(f"{name}.{number}.npy", arrays.pop(key), key)
        document = {"tree": plain, "apart": {key: f"{name}.{number}.npy" for number, key in enumerate(apart)}}
        self.file(f"{name}.json", lambda out: out.write(json.dumps(document, indent=1).encode()))
        if arrays:
            self.file(f"{name}.safetensors", lambda out: out.write(safetensors.numpy.save(arrays)))


class _Reader:
    def __init__(self, directory: Path, files: dict[str, dict[str, int]]) -> None:
        self._directory = directory
        self._files = files

    def get(self, name: str, kind: str) -> Any:
        try:
            if kind == "array":
                return self._array(f"{name}.npy")
            if kind == "tree":
                return self._tree(name)
            data = self._checked(name).read_bytes()
            return data.decode() if kind == "text" else data
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise Damaged(f"cannot read {name} of {self._directory}: {reason}") from error

    def _checked(self, name: str) -> Path:
        """Path of a file whose bytes are those that were written."""
        path, known = self._directory / name, self._files.get(name)
        if known is None or name != Path(name).name:
            raise Damaged(f"cannot read {path}: the manifest names no such file")
        if not path.is_file():
            raise Damaged(f"cannot read {path}: the file is missing")
        if path.stat().st_size != known["bytes"]:
            raise Damaged(f"cannot read {path}: it has {path.stat().st_size} bytes, wanted {known['bytes']}")
        crc32 = 0
        with path.open("rb") as file:
            while chunk := file.read(_LARGE_BYTES):
                crc32 = zlib.crc32(chunk, crc32)
        if crc32 != known["crc32"]:
            raise Damaged(f"cannot read {path}: its bytes are not those that were written")
        return path

    def _array(self, file_name: str) -> np.ndarray:
        return np.load(self._checked(file_name), mmap_mode="r", allow_pickle=False)

    def _tree(self, name: str) -> Any:
        document = json.loads(self._checked(f"{name}.json").read_bytes())
        arrays = {key: self._array(file_name) for key, file_name in document["apart"].items()}
        if f"{name}.safetensors" in self._files:
            arrays |= safetensors.numpy.load_file(self._checked(f"{name}.safetensors"))
        return put_together(document["tree"], arrays)


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        version, content, files = manifest["format"], manifest["content"], manifest["files"]
        whole = version != FORMAT or _checksum(manifest) == manifest["crc32"]
    except OSError as error:
        raise Damaged(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"cannot read {path}: {MANIFEST} is damaged") from error
    if version not in (FORMAT, _UNCHECKED_FORMAT):
        raise StorageError(f"cannot read {path}: its format is {version}, wanted at most {FORMAT}")
    if not whole or not isinstance(content, dict) or not isinstance(files, dict):
        raise Damaged(f"cannot read {path}: {MANIFEST} is damaged")
    return manifest


def _checksum(manifest: Mapping[str, Any]) -> int:
    """CRC-32 of all that a manifest says but for its checksum."""
    said = {name: value for name, value in manifest.items() if name != "crc32"}
    return zlib.crc32(json.dumps(said, sort_keys=True).encode())
