"""Rows: what sources of experience return, replays store and learners read.

A structured array, so that a row is written whole and a block of rows is one message. A learner declares the type of
its rows; a source gives every learner those fields that it declared.
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray.spec import Spec


class UnknownRows(ValueError):
    """A learner wants fields that the source does not give; the message names the first."""


def decision_dtype(spec: Spec) -> np.dtype:
    """Type of a row that holds one searched decision.

    Fields:
        observation: [O] of the spec's dtype, what the mover knew.
        actions: [L] int16, legal actions, padded with -1 behind.
        policy: [L] float32, target probability of each, 0 where padded; sums to 1.
        value: [P] float32 in [-1, 1], target; entry k is for the seat k places after the mover (see
            `scoundrel_ray.game.seat_after`).
        version: int32, weights that searched it.
    """
    return np.dtype(
        [
            ("observation", spec.dtype, (spec.observation_size,)),
            ("actions", np.int16, (spec.most_legal,)),
            ("policy", np.float32, (spec.most_legal,)),
            ("value", np.float32, (spec.values,)),
            ("version", np.int32),
        ]
    )


def transition_dtype(spec: Spec) -> np.dtype:
    """Type of a row that holds one own step of an agent of a world, with what came of it after up to n own steps.

    Fields:
        observation: [O] of the spec's dtype, what the agent knew.
        action: int16, what it did.
        reward: float32, r_1 + g r_2 + ... + g^(m-1) r_m, of the m steps that were there, at most n.
        discount: float32, what the value of the next observation counts: g^m, 0 if the agent's episode terminated.
        next_observation: [O], what it knew m own steps later, or when it ended.
        next_mask: [A] int8, 1 for the actions that it might take then; all 1 when it had ended.
        version: int32, weights that chose the action.
    """
    return np.dtype(
        [
            ("observation", spec.dtype, (spec.observation_size,)),
            ("action", np.int16),
            ("reward", np.float32),
            ("discount", np.float32),
            ("next_observation", spec.dtype, (spec.observation_size,)),
            ("next_mask", np.int8, (spec.actions,)),
            ("version", np.int32),
        ]
    )


def fragment_dtype(spec: Spec, length: int) -> np.dtype:
    """Type of a row that holds up to T = `length` own steps in a row of an agent of a world, all of one episode.

    Fields (entries from `steps` on are 0 and stand for nothing):
        observations: [T + 1, O] of the spec's dtype, what the agent knew before each step, and behind the last one:
            when it was to act again, or had ended.
        masks: [T, A] int8, 1 for the actions that it might take.
        actions: [T] int16, what it did.
        log_probabilities: [T] float32, of those actions, by the distribution that they were drawn from.
        rewards: [T] float32, what each step brought.
        versions: [T] int32, weights that chose each action.
        steps: int32, how many there are, at least 1.
        end: int8, HERE if the episode went on, TERMINATED, or TRUNCATED (see `scoundrel_ray.world`).
    """
    return np.dtype(
        [
            ("observations", spec.dtype, (length + 1, spec.observation_size)),
            ("masks", np.int8, (length, spec.actions)),
            ("actions", np.int16, (length,)),
            ("log_probabilities", np.float32, (length,)),
            ("rewards", np.float32, (length,)),
            ("versions", np.int32, (length,)),
            ("steps", np.int32),
            ("end", np.int8),
        ]
    )


def counted(rows: np.ndarray) -> int:
    """What rows [n] count as where rows and samples are compared: each as one, a fragment as its steps."""
    return int(rows["steps"].sum()) if "steps" in (rows.dtype.names or ()) else len(rows)


def check_given(wanted: np.dtype, given: np.dtype) -> None:
    """Refuse rows of which the source does not give every field.

    Args:
        wanted: type of the learner's rows.
        given: type of the source's.

    Raises:
        UnknownRows: naming the field, and what the source gives.
    """
    for name in wanted.names or ():
        if given.names is None or name not in given.names:
            raise UnknownRows(f"wants rows with {name!r}, the source gives {', '.join(given.names or ())}")
        if wanted[name] != given[name]:
            raise UnknownRows(f"wants rows with {name!r} of {wanted[name]}, the source gives {given[name]}")


def chosen(rows: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The rows [n] with the fields of `dtype` alone; the array itself where it has no others."""
    if rows.dtype == dtype:
        return rows
    out = np.empty(rows.shape, dtype)
    for name in dtype.names or ():
        out[name] = rows[name]
    return out
