"""Cleanup's state: its entries, what a cell holds, and where things lie (see `scoundrel_ray.worlds.cleanup`)."""

from __future__ import annotations

from scoundrel_ray.compiled import inlined

# What is seen of a cell; UNSEEN stands for turns before the episode.
UNSEEN, GROUND, WALL, WATER, WASTE, GRASS, APPLE, AGENT = range(8)
DOOMED = 8  # waste that a beam has met, until all beams have acted
STAY, CLEAN, FINE = 4, 5, 6
REWARDS = ("selfish", "shared")
MILLION = 1_000_000

AGENTS, WIDTH, HEIGHT, REACH, FRAMES, TURNS, BEAM, FINING, FINED, COST, SHARED = range(11)
APPLE_RATE, WASTE_RATE, DEPLETION, RESTORATION, SATURATION, TURN, WASTES, PLACES = range(11, 19)


def third(height: int) -> int:
    """Rows of the river, and of the orchard."""
    return (height - 2) // 3


@inlined
def facing_entry(state, agent):
    """The entry of the state that holds where an agent faces."""
    return PLACES + state[AGENTS] + agent


@inlined
def under_entry(state, agent):
    """The entry of the state that holds what lies under an agent."""
    return PLACES + 3 * state[AGENTS] + agent


@inlined
def ground_of(state):
    """The byte at which the cells begin."""
    return 4 * (PLACES + 4 * state[AGENTS])


@inlined
def wide_of(state):
    """Cells of a row, with all walls."""
    return state[WIDTH] + 2 * (state[REACH] - 1)


@inlined
def corner_of(state, agent):
    """The byte of the first cell that an agent sees."""
    return ground_of(state) + state[PLACES + agent] - state[REACH] * (wide_of(state) + 1)


@inlined
def river_of(state):
    """Cells of the river, as many as of the orchard."""
    return (state[HEIGHT] - 2) // 3 * (state[WIDTH] - 2)


@inlined
def cell_of(state, row, number):
    """The byte of a cell, counted by row from the first of an inner row, walls left out."""
    width, reach = state[WIDTH] - 2, state[REACH]
    return ground_of(state) + (reach + row + number // width) * wide_of(state) + reach + number % width


@inlined
def orchard_row(state):
    """The orchard's first row, counted from the first inside."""
    return state[HEIGHT] - 2 - (state[HEIGHT] - 2) // 3


@inlined
def apple_chance(state):
    """The chance that an empty cell of the orchard grows an apple in a turn."""
    if state[WASTES] >= state[SATURATION]:
        return 0.0
    share = MILLION * (state[WASTES] / river_of(state))
    clean = (state[DEPLETION] - share) / (state[DEPLETION] - state[RESTORATION])
    return state[APPLE_RATE] / MILLION * min(max(clean, 0.0), 1.0)
