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
