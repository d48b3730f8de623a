"""Random streams: SFC64, four 64-bit words of state, derived from what is drawn for.

`stream(seed, *path)` derives an independent stream for every (seed, path), so results depend on what was drawn for,
never on which worker, thread or node drew it. `Purpose` is the register of who draws what in a run; what belongs to an
agent is keyed by the agent's name, so that adding an agent to a run changes nobody else's draws.
"""

from __future__ import annotations

import enum
import hashlib
from typing import Any

import numpy as np


class Purpose(enum.IntEnum):
    """What a run draws, with the path that follows the purpose."""

    NETWORK = 1
    """(agent): an agent's first weights."""
    GAMES = 2
    """(worker, incarnation, half-group, game): the deal of a game of self-play and all draws of its searches."""
    SAMPLES = 3
    """(agent): rows of an agent's batches."""
    SYMMETRIES = 4
    """(agent): the guise in which each row of a batch is learned from."""
    SEATING = 5
    """(worker, incarnation, half-group, game): who sits where at a table of several agents."""
    LEARNER = 6
    """(agent): whatever a learner draws."""
    WORLDS = 7
    """(worker, incarnation, half-group, copy): all that happens in a copy of a world but what agents do."""
    ACTIONS = 8
    """(agent of the world, worker, incarnation, half-group): what it does where that is drawn."""
    HELD_EPISODES = 9
    """(episode): all that happens in an episode that measures agents; (agent of the world, shard): what it draws."""
    MISSIONS = 10
    """(mission and agent, episode): what an agent's policy draws in an episode of a mission."""
    MISSION_SEATS = 11
    """(mission, episode): which policy acts for whom in an episode of a mission."""


def stream(seed: int, *path: int) -> np.ndarray:
    """Generator state: [4] uint64, a function of the non-negative seed and path alone; each below 2^32.

    The path is numpy's spawn key: were it entropy, zeros at its end would change nothing.
    """
    state = np.random.SFC64(np.random.SeedSequence(seed, spawn_key=path)).state
    return np.asarray(state["state"]["state"], dtype=np.uint64)


def streams(count: int, seed: int, *path: int) -> np.ndarray:
    """Generator states: [count, 4] uint64; row i is `stream(seed, *path, i)`."""
    return np.stack([stream(seed, *path, i) for i in range(count)])


def agent_stream(seed: int, purpose: Purpose, agent: str, *path: int) -> np.ndarray:
    """Generator state of what a run draws for an agent: [4] uint64, a function of the arguments alone."""
    digest = hashlib.sha256(agent.encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in (0, 4)]
    return stream(seed, purpose, *words, *path)


def agent_seed(seed: int, purpose: Purpose, agent: str) -> int:
    """A seed in [0, 2^31) of what a run draws for an agent, for libraries that seed themselves."""
    return int(agent_stream(seed, purpose, agent)[0] >> np.uint64(33))


def generator(state: np.ndarray) -> np.random.Generator:
    """A generator of numpy's, seeded by the first word of a stream."""
    return np.random.Generator(np.random.PCG64(int(state[0])))


def generator_state(drawer: np.random.Generator) -> dict[str, Any]:
    """State of a generator that `generator` made, as plain data."""
    state: Any = drawer.bit_generator.state
    return {
        # Its numbers have 128 bits, which not every reader of JSON holds.
        "words": {name: str(value) for name, value in state["state"].items()},
        "half_drawn": [state["has_uint32"], state["uinteger"]],
    }


def restore_generator(drawer: np.random.Generator, kept: Any) -> None:
    """Bring a generator to the state that `generator_state` gave."""
    state: Any = drawer.bit_generator.state
    state["state"] = {name: int(value) for name, value in kept["words"].items()}
    state["has_uint32"], state["uinteger"] = kept["half_drawn"]
    drawer.bit_generator.state = state
