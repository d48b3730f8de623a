"""Recorders: from the steps of one agent in many copies of a world to rows, as its learner wants them.

Legend: C copies, O observation size, A actions, n steps of a transition, T steps of a fragment.

Each copy's steps are held until a row is complete. A row never reaches from one episode into the next.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numba import types

from scoundrel_ray.compiled import kernel
from scoundrel_ray.experience.rows import fragment_dtype, transition_dtype
from scoundrel_ray.spec import Spec
from scoundrel_ray.world import TERMINATED

_FIRST_ROWS = 1024


class Recorder(Protocol):
    """Rows of one agent in C copies. Arrays of copies are those of `scoundrel_ray.world.AnyCopies`, of that agent."""

    def act(
        self,
        copies: np.ndarray,
        rewards: np.ndarray,
        observations: np.ndarray,
        masks: np.ndarray,
        actions: np.ndarray,
        log_probabilities: np.ndarray,
        version: int,
    ) -> None:
        """Note what the agent does now in some copies, and what its steps before have brought.

        Args:
            copies: [k] int64, numbers of the copies.
            rewards, observations, masks: of all C copies, as it acts.
            actions: [k] int16.
            log_probabilities: [k] float32, of the actions.
            version: of the weights that chose them.
        """
        ...

    def end(self, copies: np.ndarray, rewards: np.ndarray, observations: np.ndarray, ended: np.ndarray) -> None:
        """Note that the agent's episode has ended in some copies.

        Args:
            copies: [k] int64.
            rewards, observations, ended: of all C copies; `ended` is TERMINATED or TRUNCATED in those named.
        """
        ...

    def forget(self, copies: np.ndarray) -> int:
        """Drop what is held of some copies; returns how many steps that were."""
        ...

    def take(self) -> np.ndarray:
        """The rows that are complete, which are given once."""
        ...


class Transitions:
    """A recorder of transitions over n steps (see `scoundrel_ray.experience.rows.transition_dtype`).

    **Source:** n-step returns as in Sutton and Barto 2018, section 7.1. What is left at an episode's end is given over
    the steps that there are.

    Args:
        spec: of the agent.
        copies: C.
        steps: n.
        discount: g.
    """

    def __init__(self, spec: Spec, copies: int, steps: int, discount: float) -> None:
        size = np.dtype(spec.dtype).itemsize * spec.observation_size
        self._discount = discount
        self._rows = _Rows(transition_dtype(spec))
        self._observations = np.zeros((copies, steps, size), np.uint8)
        self._actions = np.zeros((copies, steps), np.int16)
        self._rewards = np.zeros((copies, steps), np.float32)
        self._versions = np.zeros((copies, steps), np.int32)
        self._first = np.zeros(copies, np.int64)  # place of each copy's oldest step
        self._held = np.zeros(copies, np.int64)

    def act(
        self,
        copies: np.ndarray,
        rewards: np.ndarray,
        observations: np.ndarray,
        masks: np.ndarray,
        actions: np.ndarray,
        log_probabilities: np.ndarray,
        version: int,
    ) -> None:
        """See `Recorder.act`; log-probabilities are not kept."""
        seen = observations.view(np.uint8)
        out = self._rows.places(len(copies))
        self._rows.count += _transitions_of_acts(
            copies, rewards, seen, masks, actions, version, self._discount, *self._held_arrays(), *out
        )

    def end(self, copies: np.ndarray, rewards: np.ndarray, observations: np.ndarray, ended: np.ndarray) -> None:
        """See `Recorder.end`."""
        out = self._rows.places(len(copies) * self._actions.shape[1])
        self._rows.count += _transitions_of_ends(
            copies, rewards, observations.view(np.uint8), ended, self._discount, *self._held_arrays(), *out
        )

    def _held_arrays(self) -> tuple[np.ndarray, ...]:
        return self._observations, self._actions, self._rewards, self._versions, self._first, self._held

    def forget(self, copies: np.ndarray) -> int:
        """See `Recorder.forget`."""
        lost = int(self._held[copies].sum())
        self._held[copies] = 0
        return lost

    def take(self) -> np.ndarray:
        """See `Recorder.take`: [k] of the type of transitions."""
        return self._rows.take()


class Fragments:
    """A recorder of fragments of up to T steps (see `scoundrel_ray.experience.rows.fragment_dtype`).

    A fragment ends where other weights begin to act, so that learners of one policy alone can use each.

    Args:
        spec: of the agent.
        copies: C.
        length: T.
        cut: whether fragments that are open are given, too, when rows are taken, up to the last step whose outcome is
            known.
    """

    def __init__(self, spec: Spec, copies: int, length: int, cut: bool = False) -> None:
        self._length, self._cut = length, cut
        self._rows = _Rows(fragment_dtype(spec, length))
        self._open = np.zeros(copies, fragment_dtype(spec, length))

    def act(
        self,
        copies: np.ndarray,
        rewards: np.ndarray,
        observations: np.ndarray,
        masks: np.ndarray,
        actions: np.ndarray,
        log_probabilities: np.ndarray,
        version: int,
    ) -> None:
        """See `Recorder.act`."""
        held = self._open["steps"][copies]
        self._see(copies[held > 0], rewards, observations)
        newest = self._open["versions"][copies, np.maximum(held, 1) - 1]
        whole = copies[(held == self._length) | ((held > 0) & (newest != version))]
        if len(whole):
            self._close(whole)
            held = self._open["steps"][copies]
        self._open["observations"][copies, held] = observations[copies]
        self._open["masks"][copies, held] = masks[copies]
        self._open["actions"][copies, held] = actions
        self._open["log_probabilities"][copies, held] = log_probabilities
        self._open["versions"][copies, held] = version
        self._open["steps"][copies] = held + 1

    def end(self, copies: np.ndarray, rewards: np.ndarray, observations: np.ndarray, ended: np.ndarray) -> None:
        """See `Recorder.end`."""
        copies = copies[self._open["steps"][copies] > 0]
        self._see(copies, rewards, observations)
        self._open["end"][copies] = ended[copies]
        self._close(copies)

    def _see(self, copies: np.ndarray, rewards: np.ndarray, observations: np.ndarray) -> None:
        """Note what came of the last step of each of these copies."""
        held = self._open["steps"][copies]
        self._open["rewards"][copies, held - 1] = rewards[copies]
        self._open["observations"][copies, held] = observations[copies]

    def _close(self, copies: np.ndarray) -> None:
        self._rows.add(self._open[copies])
        self._open[copies] = np.zeros((), self._open.dtype)

    def forget(self, copies: np.ndarray) -> int:
        """See `Recorder.forget`."""
        lost = int(self._open["steps"][copies].sum())
        self._open[copies] = np.zeros((), self._open.dtype)
        return lost

    def take(self) -> np.ndarray:
        """See `Recorder.take`: [k] of the type of fragments."""
        if self._cut:
            self._cut_open()
        return self._rows.take()

    def _cut_open(self) -> None:
        """Close what is open before each copy's last step, with which a new fragment begins.

        What the last step brings is not known yet; what the agent knew before it is what came of the one before.
        """
        copies = np.flatnonzero(self._open["steps"] > 1)
        last, whole = self._open["steps"][copies] - 1, self._open[copies]
        fresh = np.zeros(len(copies), self._open.dtype)
        fresh["observations"][:, 0] = whole["observations"][np.arange(len(copies)), last]
        for name in ("masks", "actions", "log_probabilities", "versions"):
            fresh[name][:, 0] = whole[name][np.arange(len(copies)), last]
            whole[name][np.arange(len(copies)), last] = 0
        fresh["steps"], whole["steps"] = 1, last
        self._rows.add(whole)
        self._open[copies] = fresh


class _Rows:
    """Rows that are complete, in an array that grows.

    Attributes:
        count: of rows.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.count = 0
        self._rows = np.zeros(_FIRST_ROWS, dtype)
        # The same with every observation as bytes, so that one kernel writes those of all types.
        fields: list[tuple] = []
        for name in dtype.names or ():
            part = dtype[name]
            fields.append((name, np.uint8, (part.itemsize,)) if name.endswith("observation") else (name, part))
        self._as_bytes = np.dtype(fields)

    def places(self, more: int) -> list[np.ndarray]:
        """Each field's entries behind the rows that are there, with room for so many more."""
        self._grow(more)
        free = self._rows[self.count :].view(self._as_bytes)
        return [free[name] for name in self._as_bytes.names or ()]

    def add(self, rows: np.ndarray) -> None:
        """Add rows [k]."""
        self._grow(len(rows))
        self._rows[self.count : self.count + len(rows)] = rows
        self.count += len(rows)

    def _grow(self, more: int) -> None:
        if self.count + more > len(self._rows):
            grown = np.zeros(max(2 * len(self._rows), self.count + more), self._rows.dtype)
            grown[: self.count] = self._rows[: self.count]
            self._rows = grown

    def take(self) -> np.ndarray:
        """A copy of the rows; there are none then."""
        taken, self.count = self._rows[: self.count].copy(), 0
        return taken


def _strided(dtype: types.Type, dimensions: int) -> types.Array:
    return types.Array(dtype, dimensions, "A")


_SEEN = (types.int64[::1], _strided(types.float32, 1), _strided(types.uint8, 2))  # copies, rewards, observations
_HELD = (
    types.uint8[:, :, ::1],
    types.int16[:, ::1],
    types.float32[:, ::1],
    types.int32[:, ::1],
    types.int64[::1],
    types.int64[::1],
)
_TRANSITION = (  # the fields in their order
    _strided(types.uint8, 2),
    _strided(types.int16, 1),
    _strided(types.float32, 1),
    _strided(types.float32, 1),
    _strided(types.uint8, 2),
    _strided(types.int8, 2),
    _strided(types.int32, 1),
)


@kernel(
    types.int64(
        *_SEEN, _strided(types.int8, 2), types.int16[::1], types.int64, types.float64, *_HELD, *_TRANSITION,
    )
)  # fmt: skip
def _transitions_of_acts(
    copies, rewards, seen, masks, actions, version, discount, held_observations, held_actions, held_rewards,
    held_versions, first, held, out_observation, out_action, out_reward, out_discount, out_next, out_mask, out_version,
):  # fmt: skip
    """Rows that are complete as an agent acts again in some copies; returns how many."""
    rows, steps = 0, held_actions.shape[1]
    for place in range(len(copies)):
        copy = copies[place]
        if held[copy] > 0:
            held_rewards[copy, (first[copy] + held[copy] - 1) % steps] = rewards[copy]
        if held[copy] == steps:
            oldest = first[copy]
            total, weight = 0.0, 1.0
            for step in range(steps):
                total += weight * held_rewards[copy, (oldest + step) % steps]
                weight *= discount
            out_observation[rows] = held_observations[copy, oldest]
            out_action[rows] = held_actions[copy, oldest]
            out_reward[rows] = total
            out_discount[rows] = weight
            out_next[rows] = seen[copy]
            out_mask[rows] = masks[copy]
            out_version[rows] = held_versions[copy, oldest]
            rows += 1
            first[copy] = (oldest + 1) % steps
            held[copy] -= 1
        newest = (first[copy] + held[copy]) % steps
        held_observations[copy, newest] = seen[copy]
        held_actions[copy, newest] = actions[place]
        held_versions[copy, newest] = version
        held[copy] += 1
    return rows


@kernel(types.int64(*_SEEN, _strided(types.int8, 1), types.float64, *_HELD, *_TRANSITION))
def _transitions_of_ends(
    copies, rewards, seen, ended, discount, held_observations, held_actions, held_rewards, held_versions, first, held,
    out_observation, out_action, out_reward, out_discount, out_next, out_mask, out_version,
):  # fmt: skip
    """Rows of all that is held of some copies, in which the agent's episode has ended; returns how many."""
    rows, steps = 0, held_actions.shape[1]
    for place in range(len(copies)):
        copy = copies[place]
        if held[copy] > 0:
            held_rewards[copy, (first[copy] + held[copy] - 1) % steps] = rewards[copy]
        total, weight = 0.0, 1.0
        # From the newest back to the oldest, whose sums end in those behind them; so they come in that order.
        for back in range(held[copy]):
            at = (first[copy] + held[copy] - 1 - back) % steps
            total = held_rewards[copy, at] + discount * total
            weight *= discount
            out_observation[rows] = held_observations[copy, at]
            out_action[rows] = held_actions[copy, at]
            out_reward[rows] = total
            out_discount[rows] = 0.0 if ended[copy] == TERMINATED else weight
            out_next[rows] = seen[copy]
            out_mask[rows] = 1
            out_version[rows] = held_versions[copy, at]
            rows += 1
        held[copy] = 0
    return rows
