"""What worlds of cells share: places and steps, the views of agents, and pictures.

Cells are bytes by row, with walls around them as far as an agent can see, so that no view needs a look at the border.
A place is the number of a cell in that order. Directions are numbered as the first actions: up, down, left, right.
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray.compiled import inner

MOVES = ("up", "down", "left", "right", "stay")
_DOWN = np.array([-1, 1, 0, 0, 0])
_RIGHT = np.array([0, 0, -1, 1, 0])
PIXELS = 8  # of a cell's side


@inner
def step_of(move, wide):
    """The difference of places that one of MOVES makes, where a row has `wide` cells."""
    number = np.uint64(move)
    return _DOWN[number] * wide + _RIGHT[number]


@inner
def step_down(move):
    """Rows that one of MOVES goes down: -1, 0 or 1."""
    return _DOWN[np.uint64(move)]


@inner
def step_right(move):
    """Columns that one of MOVES goes to the right: -1, 0 or 1."""
    return _RIGHT[np.uint64(move)]


@inner
def _see(cells, corner, wide, side, most, entries, out):
    """See `see`; unsigned places spare numba's look for those below 0."""
    view, last = np.uint64(side * side), np.uint64(entries - side * side)
    for entry in range(last):
        out[entry] = out[entry + view]
    for down in range(np.uint64(side)):
        to, at = last + down * np.uint64(side), np.uint64(corner) + down * np.uint64(wide)
        for right in range(np.uint64(side)):
            held = cells[at + right]
            out[to + right] = held if held < most else most


@inner
def see(cells, corner, wide, reach, most, entries, out):
    """Forget the oldest of the views in out[:entries] and add the newest.

    Args:
        cells: [..] int8.
        corner: the byte of the first cell in view.
        wide: cells of a row.
        reach: cells that are seen in each direction.
        most: what is seen of a cell that holds more.
    """
    if reach == 2:  # constants, so that the loops are unrolled
        _see(cells, corner, wide, 5, most, entries, out)
    elif reach == 3:
        _see(cells, corner, wide, 7, most, entries, out)
    elif reach == 4:
        _see(cells, corner, wide, 9, most, entries, out)
    elif reach == 7:
        _see(cells, corner, wide, 15, most, entries, out)
    else:
        _see(cells, corner, wide, 2 * reach + 1, most, entries, out)


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
