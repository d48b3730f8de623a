"""Cleanup's states as text and as pictures."""

from __future__ import annotations

import numpy as np

from scoundrel_ray.worlds.cleanup_state import (
    AGENTS,
    HEIGHT,
    PLACES,
    REACH,
    TURN,
    TURNS,
    WASTES,
    facing_entry,
    ground_of,
    river_of,
    under_entry,
    wide_of,
)
from scoundrel_ray.worlds.grid import PIXELS, inside, painted, step_down, step_right

_CHARACTERS = "?.#~%,o"
_COLOURS = np.array(
    [(0, 0, 0), (222, 208, 180), (90, 90, 90), (110, 170, 220), (120, 80, 40), (150, 190, 110), (210, 50, 50)], np.uint8
)
_SUITS = np.array(  # of agents, again from the first after the last
    [(240, 140, 20), (130, 60, 180), (30, 30, 30), (240, 110, 190), (20, 120, 120), (250, 230, 60), (40, 60, 170),
     (170, 170, 170), (130, 20, 60), (90, 130, 30)], np.uint8,
)  # fmt: skip


def kinds(state: np.ndarray) -> np.ndarray:
    """What lies on all cells, under agents too, with the one wall that agents can walk into: [height, width] int8."""
    reach, wide = int(state[REACH]), int(wide_of(state))
    found = inside(state, int(ground_of(state)), int(state[HEIGHT]) + 2 * (reach - 1), wide, reach).copy()
    for agent in range(state[AGENTS]):
        found[place(state, agent)] = state[under_entry(state, agent)]
    return found


def place(state: np.ndarray, agent: int) -> tuple[int, int]:
    """The row and column of an agent, in `kinds`."""
    beyond = int(state[REACH]) - 1
    y, x = divmod(int(state[PLACES + agent]), int(wide_of(state)))
    return y - beyond, x - beyond


def text(state: np.ndarray) -> str:
    """The field, a character a cell; agents by the last digit of their numbers."""
    rows = [[_CHARACTERS[held] for held in row] for row in kinds(state)]
    for agent in range(state[AGENTS]):
        y, x = place(state, agent)
        rows[y][x] = str(agent % 10)
    first = f"turn {state[TURN]} of {state[TURNS]}, waste on {state[WASTES]} of {river_of(state)} cells of the river"
    return "\n".join([first, *("".join(row) for row in rows)])


def picture(state: np.ndarray) -> np.ndarray:
    """The field, 8 pixels a cell: [8 * height, 8 * width, 3] uint8; agents with a white spot on the side they face."""
    pixels = painted(kinds(state), _COLOURS)
    for agent in range(state[AGENTS]):
        y, x = (PIXELS * each for each in place(state, agent))
        pixels[y + 1 : y + PIXELS - 1, x + 1 : x + PIXELS - 1] = _SUITS[agent % len(_SUITS)]
        facing = int(state[facing_entry(state, agent)])
        y, x = y + 3 + 2 * int(step_down(facing)), x + 3 + 2 * int(step_right(facing))
        pixels[y : y + 2, x : x + 2] = 255
    return pixels
