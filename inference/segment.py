"""Memory that one client and the server share: a header, and slots that each hold a request and its answer.

A slot belongs to the client until it rings for it, then to the server until that rings back. The doorbells are system
calls, which order what the two write on every processor; nothing here waits or locks, and nothing is pickled.

    header | slot 0 | slot 1 | ...
    slot: request | reply | text | table of parts | versions | observations | an array for each head

A request has a part for each agent that it has rows of. The table says of each part whose it is and how many rows it
has; the rows of all parts lie one behind the other, and so do the answers.
"""

from __future__ import annotations

import contextlib
import itertools
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
_VERSION = 4
_HEADER = struct.Struct("<8sI32sI")  # magic, version, incarnation, bytes of the shape that follows as JSON
_REQUEST = struct.Struct("<QI")  # sequence, parts
_REPLY = struct.Struct("<QII")  # sequence, error's number (0: none), bytes of its text
_DOORBELL = struct.Struct("<QII")  # of a doorbell: sequence, slot, nothing
_HEADER_BYTES = 4096
_REPLY_AT, _TEXT_AT, _ARRAYS_AT = 64, 128, 1024  # in a slot: each side writes cache lines of its own
_ALIGNMENT = 64

DOORBELL_BYTES = _DOORBELL.size


NumberedPart = tuple[int, np.ndarray]
"""Rows of one agent in a request: the agent's number in the segment, and observations [B, O]."""


class Shape(NamedTuple):
    """Sizes of a segment.

    Attributes:
        slots: requests that can be under way at once.
        leaves: most leaves in a request, those of all its parts together.
        observation_size: of a leaf (see `scoundrel_ray.spec.Spec`).
        heads: shape of each head of the answer to a leaf.
        dtype: of the observations, one of `scoundrel_ray.spec.DTYPES`.
        agents: that share the segment, known to both sides by their numbers; most parts of a request.
    """

    slots: int
    leaves: int
    observation_size: int
    heads: tuple[tuple[int, ...], ...]
    dtype: str = "int8"
    agents: int = 1

    @classmethod
    def of(cls, spec: Spec, heads: Sequence[Head], slots: int, leaves: int) -> Shape:
        """Sizes for a world's observations and a network's heads, of one agent."""
        return cls(slots, leaves, spec.observation_size, tuple(head.shape for head in heads), spec.dtype)

    @property
    def arrays(self) -> list[tuple[np.dtype, tuple[int, ...], int]]:
        """Type, shape, and bytes up to the next cache line, of each array in a slot.

        They are the table of parts (agent, leaves), the weights version of each part, the observations and the heads.
        """
        wanted = [
            (np.dtype(np.uint32), (self.agents, 2)),
            (np.dtype(np.int64), (self.agents,)),
            (np.dtype(self.dtype), (self.leaves, self.observation_size)),
            *((np.dtype(np.float32), (self.leaves, *head)) for head in self.heads),
        ]
        return [
            (dtype, shape, -(-math.prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT) for dtype, shape in wanted
        ]

    @property
    def header(self) -> bytes:
        """The shape as it stands in a segment's header."""
        return json.dumps(self).encode("ascii")

    @property
    def possible(self) -> bool:
        """Whether there can be such a segment."""
        own = (self.slots, self.leaves, self.observation_size, self.agents)
        sizes = (*own, *(entry for head in self.heads for entry in head))
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
    """Head of an answer: the request's sequence number, an error's number (0: none), its text."""

    sequence: int
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

    def write_request(self, slot: int, sequence: int, parts: Sequence[NumberedPart]) -> None:
        """Put a request into a slot.

        Raises:
            ValueError: for observations of another size or type, too many of them, or too many parts.
        """
        if not self.fits(parts):
            got = ", ".join(f"agent {agent}: {rows.dtype} {list(rows.shape)}" for agent, rows in parts)
            raise ValueError(
                f"shared memory: observations are {got or 'none'}; wanted {self.shape.dtype} [at most "
                f"{self.shape.leaves}, {self.shape.observation_size}] in all, of at most {self.shape.agents} agents"
            )
        table, _, observations, *_ = self._arrays[slot]
        at = 0
        for number, (agent, rows) in enumerate(parts):
            table[number] = agent, len(rows)
            observations[at : at + len(rows)] = rows
            at += len(rows)
        _REQUEST.pack_into(self._memory, self._starts[slot], sequence, len(parts))

    def renumber(self, slot: int, sequence: int) -> None:
        """Make the request in a slot a new one: an answer to the former no longer fits it."""
        _, count = _REQUEST.unpack_from(self._memory, self._starts[slot])
        _REQUEST.pack_into(self._memory, self._starts[slot], sequence, count)

    def fits(self, parts: Sequence[NumberedPart]) -> bool:
        """Whether a slot can hold a request of these parts."""
        size = self.shape.observation_size
        return (
            1 <= len(parts) <= self.shape.agents
            and all(rows.dtype == self.shape.dtype and rows.ndim == 2 and rows.shape[1] == size for _, rows in parts)
            and sum(len(rows) for _, rows in parts) <= self.shape.leaves
        )

    def sequence(self, slot: int) -> int:
        """Sequence number of the newest request in a slot."""
        return _REQUEST.unpack_from(self._memory, self._starts[slot])[0]

    def request(self, slot: int) -> list[NumberedPart]:
        """Parts of the newest request in a slot; their observations are views, [B, O].

        Raises:
            ValueError: for a table of parts that no client of this shape writes.
        """
        _, count = _REQUEST.unpack_from(self._memory, self._starts[slot])
        table, _, observations, *_ = self._arrays[slot]
        # Read once: the other side can write here at any time, and what is used must be what was checked.
        told = table[:count].tolist()
        ends = [*itertools.accumulate(leaves for _, leaves in told)]
        if not 1 <= count <= self.shape.agents or ends[-1] > self.shape.leaves:
            raise ValueError(
                f"shared memory: {count} parts of {sum(leaves for _, leaves in told)} leaves, in a slot of "
                f"{self.shape.agents} agents and {self.shape.leaves} leaves"
            )
        if (highest := max(agent for agent, _ in told)) >= self.shape.agents:
            raise ValueError(f"shared memory: agent number {highest}, of {self.shape.agents} agents")
        return [(agent, observations[end - leaves : end]) for (agent, leaves), end in zip(told, ends, strict=True)]

    def write_answers(self, slot: int, sequence: int, answers: Sequence[Evaluation]) -> None:
        """Put the answers to the parts of the request of this number into its slot.

        Raises:
            ValueError: for answers of another size than was asked for.
        """
        counts = [len(rows) for _, rows in self.request(slot)]
        got = [[output.shape for output in answer.outputs] for answer in answers]
        wanted = [[(count, *head) for head in self.shape.heads] for count in counts]
        if got != wanted:
            raise ValueError(f"shared memory: outputs are {got}, wanted {wanted}")
        _, versions, _, *heads = self._arrays[slot]
        at = 0
        for number, (count, answer) in enumerate(zip(counts, answers, strict=True)):
            versions[number] = answer.version
            for head, output in zip(heads, answer.outputs, strict=True):
                head[at : at + count] = output
            at += count
        _REPLY.pack_into(self._memory, self._starts[slot] + _REPLY_AT, sequence, 0, 0)

    def write_error(self, slot: int, sequence: int, number: int, text: str) -> None:
        """Put an error's number, not 0, and text into a slot; a long text is cut."""
        encoded = text.encode("utf-8", "replace")[: _ARRAYS_AT - _TEXT_AT]
        start = self._starts[slot]
        self._memory[start + _TEXT_AT : start + _TEXT_AT + len(encoded)] = encoded
        _REPLY.pack_into(self._memory, start + _REPLY_AT, sequence, number, len(encoded))

    def reply(self, slot: int) -> Reply:
        """Head of the newest answer in a slot."""
        start = self._starts[slot]
        sequence, error, length = _REPLY.unpack_from(self._memory, start + _REPLY_AT)
        text = self._memory[start + _TEXT_AT : start + _TEXT_AT + length].decode("utf-8", "replace") if error else ""
        return Reply(sequence, error, text)

    def answers(self, slot: int) -> list[Evaluation]:
        """Copies of the answers to the parts of the request in a slot: the next one there may overwrite them."""
        _, versions, _, *heads = self._arrays[slot]
        found, at = [], 0
        for (_, rows), version in zip(self.request(slot), versions.tolist(), strict=False):
            found.append(Evaluation(tuple(head[at : at + len(rows)].copy() for head in heads), version))
            at += len(rows)
        return found

    def _slot_arrays(self, start: int) -> list[np.ndarray]:
        """Views of a slot's arrays (see `Shape.arrays`)."""
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
