"""States of tag as text and as pictures."""

from __future__ import annotations

import numpy as np

from scoundrel_ray.worlds.grid import inside, painted
from scoundrel_ray.worlds.tag_state import (
    LOST,
    PLACES,
    REACH,
    TAGGERS,
    TURN,
    TURNS,
    agents_of,
    gone_entry,
    ground_of,
    whole_of,
)

_CHARACTERS = "?.#"
_COLOURS = np.array([(0, 0, 0), (235, 230, 220), (90, 90, 90), (200, 60, 50), (50, 110, 200)], dtype=np.uint8)


def kinds(state: np.ndarray) -> np.ndarray:
    """What all cells hold, with the one wall around them: [size, size] int8."""
    whole = int(whole_of(state))
    return inside(state, int(ground_of(state)), whole, whole, int(state[REACH]))


def place(state: np.ndarray, agent: int) -> tuple[int, int]:
    """The row and column of an agent, in `kinds`."""
    beyond = int(state[REACH]) - 1
    y, x = divmod(int(state[PLACES + agent]), int(whole_of(state)))
    return y - beyond, x - beyond


def text(state: np.ndarray) -> str:
    """The field, a character a cell: taggers A, B, ... and runners a, b, ..., from the first again after the last."""
    rows = [[_CHARACTERS[min(int(held), 2)] for held in row] for row in kinds(state)]
    for agent in range(agents_of(state)):
        if not state[gone_entry(state, agent)]:
            y, x = place(state, agent)
            taggers = int(state[TAGGERS])
            rows[y][x] = chr(ord("A") + agent % 26 if agent < taggers else ord("a") + (agent - taggers) % 26)
    first = f"turn {state[TURN]} of {state[TURNS]}, runners that left: {state[LOST]}"
    return "\n".join([first, *("".join(row) for row in rows)])


def picture(state: np.ndarray) -> np.ndarray:
    """The field, 8 pixels a cell, taggers red and runners blue: [8 * size, 8 * size, 3] uint8."""
    return painted(kinds(state), _COLOURS)
