"""What worlds of cells share: moves, the views of agents, and pictures.

Cells are bytes by row, with walls around them as far as an agent can see, so that no view needs a look at the border;
a cell holds what is seen of it. A place is the number of a cell in that order.
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray.compiled import inlined

MOVES = ("up", "down", "left", "right", "stay")
_DOWN = np.array([-1, 1, 0, 0, 0])
_RIGHT = np.array([0, 0, -1, 1, 0])
PIXELS = 8  # of a cell's side


@inlined
def step_down(move):
    """Rows that one of MOVES goes down: -1, 0 or 1."""
    return _DOWN[np.uint64(move)]


@inlined
def step_right(move):
    """Columns that one of MOVES goes to the right: -1, 0 or 1."""
    return _RIGHT[np.uint64(move)]


@inlined
def step_of(move, wide):
    """The difference of places that one of MOVES makes, where a row has `wide` cells."""
    return step_down(move) * wide + step_right(move)


@inlined
def _copy_eight(source, at, out, to):
    """Copy eight bytes as one word. LLVM makes one load and one store of it, but none of a loop of so few bytes, as the
    arrays may overlap.
    """
    word = np.uint64(0)
    for byte in range(8):
        word |= np.uint64(source[at + np.uint64(byte)]) << np.uint64(8 * byte)
    for byte in range(8):
        out[to + np.uint64(byte)] = np.uint8((word >> np.uint64(8 * byte)) & np.uint64(255))


@inlined
def _copy_four(source, at, out, to):
    """Copy four bytes as one word."""
    word = np.uint32(0)
    for byte in range(4):
        word |= np.uint32(source[at + np.uint64(byte)]) << np.uint32(8 * byte)
    for byte in range(4):
        out[to + np.uint64(byte)] = np.uint8((word >> np.uint32(8 * byte)) & np.uint32(255))


@inlined
def _copy(source, at, out, to, count):
    """Copy bytes, the first first; the last words overlap, so that no single bytes remain. All but `source`, `out` are
    uint64, which spares numba's look for places below 0.
    """
    if count >= np.uint64(8):
        last = count - np.uint64(8)
        for first in range(np.uint64(0), last, np.uint64(8)):
            _copy_eight(source, at + first, out, to + first)
        _copy_eight(source, at + last, out, to + last)
    elif count >= np.uint64(4):
        last = count - np.uint64(4)
        _copy_four(source, at, out, to)
        _copy_four(source, at + last, out, to + last)
    else:
        for first in range(count):
            out[to + first] = source[at + first]


@inlined
def see(cells, corner, wide, reach, views, out):
    """Forget the oldest view and add the newest.

    Args:
        cells: [..] uint8.
        corner: the byte of the first cell in view.
        wide: cells of a row.
        reach: cells that are seen in each direction.
        views: bytes of all views, at the start of `out`.
        out: [O] uint8.
    """
    side, row = np.uint64(2 * reach + 1), np.uint64(wide)
    view = side * side
    at, to = np.uint64(corner), np.uint64(views) - view
    if to > np.uint64(0):
        _copy(out, view, out, np.uint64(0), to)
    for _ in range(side):
        _copy(cells, at, out, to, side)
        at += row
        to += side


def inside(state: np.ndarray, ground: int, high: int, wide: int, reach: int) -> np.ndarray:
    """All cells of a state, with the one wall that agents can walk into: [height, width] int8.

    Args:
        state: [S] int32.
        ground: the byte at which the cells begin.
        high, wide: their rows and columns, with all walls.
        reach: cells that an agent sees in each direction.
    """
    cells = state.view(np.int8)[ground : ground + high * wide].reshape(high, wide)
    return cells[reach - 1 : high - reach + 1, reach - 1 : wide - reach + 1]


def painted(kinds: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Cells [height, width] in the colour [kinds, 3] of their kind: [PIXELS * height, PIXELS * width, 3] uint8."""
    return colours[kinds].repeat(PIXELS, axis=0).repeat(PIXELS, axis=1)
