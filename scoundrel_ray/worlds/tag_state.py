"""The state of tag: its entries, what a cell holds, and where things lie (see `scoundrel_ray.worlds.tag`)."""

from __future__ import annotations

from scoundrel_ray.compiled import inlined

# What a cell holds; UNSEEN stands in views alone, for turns before the episode.
UNSEEN, EMPTY, WALL, TAGGER, RUNNER = range(5)
STAY = 4
CAUGHT = ("respawn", "leave")
MILLION = 1_000_000

TAGGERS, RUNNERS, SIZE, REACH, FRAMES, TURNS, PILLARS, LEAVING, MASKED, TURN, LOST, PLACES = range(12)


@inlined
def agents_of(state):
    """N."""
    return state[TAGGERS] + state[RUNNERS]


@inlined
def gone_entry(state, agent):
    """The entry of the state that holds 1 if an agent is gone."""
    return PLACES + agents_of(state) + agent


@inlined
def ground_of(state):
    """The byte at which the cells begin."""
    return 4 * (PLACES + 3 * agents_of(state))


@inlined
def whole_of(state):
    """Cells of a side, with all walls."""
    return state[SIZE] + 2 * (state[REACH] - 1)


@inlined
def corner_of(state, agent):
    """The byte of the first cell that an agent sees."""
    return ground_of(state) + state[PLACES + agent] - state[REACH] * (whole_of(state) + 1)
