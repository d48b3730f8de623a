"""Memory that one client and the server share: a header, and slots that each hold a request and its answer.

A slot belongs to the client until it rings for it, then to the server until that rings back. The doorbells are system
calls, which order what the two write on every processor; nothing here waits or locks, and nothing is pickled.

    header | slot 0 | slot 1 | ...        slot: request | reply | text | observations | an array for each head
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scoundrel_ray.evaluator import Evaluation
from scoundrel_ray.spec import DTYPES, Head, Spec

_MAGIC = b"SCRAYSHM"
_VERSION = 3
_HEADER = struct.Struct("<8sI32sI")  # magic, version, incarnation, bytes of the shape that follows as JSON
_REQUEST = struct.Struct("<QI")  # sequence, leaves
_REPLY = struct.Struct("<QqII")  # sequence, weights version, error's number (0: none), bytes of its text
_DOORBELL = struct.Struct("<QII")  # of a doorbell: sequence, slot, nothing
_HEADER_BYTES = 4096
_REPLY_AT, _TEXT_AT, _ARRAYS_AT = 64, 128, 1024  # in a slot: each side writes cache lines of its own
_ALIGNMENT = 64

DOORBELL_BYTES = _DOORBELL.size


class Shape(NamedTuple):
    """Sizes of a segment.

    Attributes:
        slots: requests that can be under way at once.
        leaves: most leaves in a request.
        observation_size: of a leaf (see `scoundrel_ray.spec.Spec`).
        heads: shape of each head of the answer to a leaf.
        dtype: of the observations, one of `scoundrel_ray.spec.DTYPES`.
    """

    slots: int
    leaves: int
    observation_size: int
    heads: tuple[tuple[int, ...], ...]
    dtype: str = "int8"

    @classmethod
    def of(cls, spec: Spec, heads: Sequence[Head], slots: int, leaves: int) -> Shape:
        """Sizes for a world's observations and a network's heads."""
        return cls(slots, leaves, spec.observation_size, tuple(head.shape for head in heads), spec.dtype)

    @property
    def arrays(self) -> list[tuple[np.dtype, tuple[int, ...], int]]:
        """Type, shape, and bytes up to the next cache line, of each array in a slot: observations, then heads."""
        wanted = [(np.dtype(self.dtype), (self.observation_size,)), *((np.dtype(np.float32), h) for h in self.heads)]
        found = []
        for dtype, shape in wanted:
            size = self.leaves * math.prod(shape) * dtype.itemsize
            found.append((dtype, (self.leaves, *shape), -(-size // _ALIGNMENT) * _ALIGNMENT))
        return found

    @property
    def header(self) -> bytes:
        """The shape as it stands in a segment's header."""
        return json.dumps(self).encode("ascii")

    @property
    def possible(self) -> bool:
        """Whether there can be such a segment."""
        sizes = (self.slots, self.leaves, self.observation_size, *(entry for head in self.heads for entry in head))
        return min(sizes) >= 1 and self.dtype in DTYPES and len(self.header) <= _HEADER_BYTES - _HEADER.size

    @property
    def slot_bytes(self) -> int:
        """Distance from one slot to the next."""
        return _ARRAYS_AT + sum(size for _, _, size in self.arrays)

    @property
    def size(self) -> int:
        """Bytes of the whole segment."""
        return _HEADER_BYTES + self.slots * self.slot_bytes


class Reply(NamedTuple):
    """Head of an answer: the request's sequence number, the weights' version, an error's number (0: none), its text."""

    sequence: int
    version: int
    error: int
    text: str


class Segment:
    """A mapped segment. It stays valid after its file is removed, as long as the object or a view of it lives.

    `create` and `attach` make segments.
    """

    def __init__(self, memory: mmap.mmap, shape: Shape) -> None:
        self.shape = shape
        self._memory = memory
        self._starts = [_HEADER_BYTES + slot * shape.slot_bytes for slot in range(shape.slots)]
        self._arrays = [self._slot_arrays(start) for start in self._starts]

    @classmethod
    def create(cls, path: Path, shape: Shape, incarnation: str) -> Segment:
        """A fresh segment in a new file, all its pages reserved: a full file system raises now, not by a SIGBUS later.

        Args:
            path: of the file.
            shape: sizes, each at least 1.
            incarnation: token of the server's process, at most 32 characters of ASCII.

        Raises:
            OSError: if the file exists, or does not fit.
            ValueError: for sizes below 1.
        """
        if not shape.possible:
            raise ValueError(f"shared memory: {shape}, wanted sizes of at least 1 and a known dtype")
        with _file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
            os.posix_fallocate(file, 0, shape.size)
            memory = mmap.mmap(file, shape.size)
        _HEADER.pack_into(memory, 0, _MAGIC, _VERSION, incarnation.encode("ascii"), len(shape.header))
        memory[_HEADER.size : _HEADER.size + len(shape.header)] = shape.header
        return cls(memory, shape)

    @classmethod
    def attach(cls, path: Path, shape: Shape, incarnation: str) -> Segment:
        """The segment in a file.

        Raises:
            OSError: if it cannot be opened.
            ValueError: if it is no segment, or of another version, shape or incarnation.
        """
        with _file(path, os.O_RDWR) as file:
            size = os.fstat(file).st_size
            if size < _HEADER_BYTES:
                raise ValueError(f"{path}: {size} bytes, wanted {shape.size}: no segment")
            memory = mmap.mmap(file, size)
        magic, version, token, length = _HEADER.unpack_from(memory)
        text = memory[_HEADER.size : _HEADER.size + min(length, _HEADER_BYTES)]
        got = (magic, version, text, token.rstrip(b"\0").decode("ascii", "replace"), size)
        wanted = (_MAGIC, _VERSION, shape.header, incarnation, shape.size)
        if got != wanted:
            raise ValueError(f"{path}: header and size are {got}, wanted {wanted}")
        return cls(memory, shape)

    def write_request(self, slot: int, sequence: int, observations: np.ndarray) -> None:
        """Put observations [B, O] into a slot.

        Raises:
            ValueError: for observations of another size or type, or too many.
        """
        if not self.fits(observations):
            raise ValueError(
                f"shared memory: observations are {observations.dtype} {list(observations.shape)}, wanted "
                f"{self.shape.dtype} [at most {self.shape.leaves}, {self.shape.observation_size}]"
            )
        self._arrays[slot][0][: len(observations)] = observations
        _REQUEST.pack_into(self._memory, self._starts[slot], sequence, len(observations))

    def renumber(self, slot: int, sequence: int) -> None:
        """Make the request in a slot a new one: an answer to the former no longer fits it."""
        _, count = _REQUEST.unpack_from(self._memory, self._starts[slot])
        _REQUEST.pack_into(self._memory, self._starts[slot], sequence, count)

    def fits(self, observations: np.ndarray) -> bool:
        """Whether a slot can hold these observations."""
        size = self.shape.observation_size
        return (
            observations.dtype == self.shape.dtype
            and observations.ndim == 2
            and observations.shape[1] == size
            and len(observations) <= self.shape.leaves
        )

    def request(self, slot: int) -> tuple[int, np.ndarray]:
        """Sequence number of the newest request in a slot, and its observations: a view, [B, O].

        Raises:
            ValueError: for a number of leaves that the slot cannot hold.
        """
        sequence, count = _REQUEST.unpack_from(self._memory, self._starts[slot])
        if count > self.shape.leaves:
            raise ValueError(f"shared memory: {count} leaves in a slot of {self.shape.leaves}")
        return sequence, self._arrays[slot][0][:count]

    def write_answer(self, slot: int, sequence: int, answer: Evaluation) -> None:
        """Put the answer to the request of this number into its slot.

        Raises:
            ValueError: for an answer of another size than was asked for.
        """
        _, count = _REQUEST.unpack_from(self._memory, self._starts[slot])
        places = [array[:count] for array in self._arrays[slot][1:]]
        got, wanted = [output.shape for output in answer.outputs], [place.shape for place in places]
        if got != wanted:
            raise ValueError(f"shared memory: outputs are {got}, wanted {wanted}")
        for place, output in zip(places, answer.outputs, strict=True):
            place[:] = output
        _REPLY.pack_into(self._memory, self._starts[slot] + _REPLY_AT, sequence, answer.version, 0, 0)

    def write_error(self, slot: int, sequence: int, number: int, text: str) -> None:
        """Put an error's number, not 0, and text into a slot; a long text is cut."""
        encoded = text.encode("utf-8", "replace")[: _ARRAYS_AT - _TEXT_AT]
        start = self._starts[slot]
        self._memory[start + _TEXT_AT : start + _TEXT_AT + len(encoded)] = encoded
        _REPLY.pack_into(self._memory, start + _REPLY_AT, sequence, 0, number, len(encoded))

    def reply(self, slot: int) -> Reply:
        """Head of the newest answer in a slot."""
        start = self._starts[slot]
        sequence, version, error, length = _REPLY.unpack_from(self._memory, start + _REPLY_AT)
        text = self._memory[start + _TEXT_AT : start + _TEXT_AT + length].decode("utf-8", "replace") if error else ""
        return Reply(sequence, version, error, text)

    def answer(self, slot: int, version: int) -> Evaluation:
        """A copy of the answer to the request in a slot: the next one there may overwrite it at any time."""
        _, count = _REQUEST.unpack_from(self._memory, self._starts[slot])
        return Evaluation(tuple(array[:count].copy() for array in self._arrays[slot][1:]), version)

    def _slot_arrays(self, start: int) -> list[np.ndarray]:
        """Views of a slot's observations and of its heads."""
        views, at = [], start + _ARRAYS_AT
        for dtype, shape, size in self.shape.arrays:
            views.append(np.frombuffer(self._memory, dtype, math.prod(shape), at).reshape(shape))
            at += size
        return views


def doorbell(sequence: int, slot: int) -> bytes:
    """The record that rings for a slot in a FIFO: `DOORBELL_BYTES`, few enough for the kernel never to split."""
    return _DOORBELL.pack(sequence, slot, 0)


def doorbells(data: bytes) -> list[tuple[int, int]]:
    """Sequence number and slot of each record in what was read from a FIFO."""
    return [(sequence, slot) for sequence, slot, _ in _DOORBELL.iter_unpack(data)]


@contextlib.contextmanager
def _file(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
