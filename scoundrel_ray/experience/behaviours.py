"""Behaviours: how an agent of a world acts by what its network answers, and which rows its steps become.

A learner names its behaviour by a section with `_target_`, as plain data; sources build it where they gather. The first
head of every behaviour holds a preference for each action: whoever plays without exploring takes the highest allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numba import types

from scoundrel_ray.compiled import kernel
from scoundrel_ray.evaluator import Evaluation
from scoundrel_ray.experience.recorders import Fragments, Recorder, Transitions
from scoundrel_ray.experience.rows import fragment_dtype, transition_dtype
from scoundrel_ray.rng import below, uniform
from scoundrel_ray.settings.checks import at_least, within
from scoundrel_ray.spec import Head, Spec


class NoAction(ValueError):
    """A mask that allows no action; the message says in which row."""


class Behaviour(Protocol):
    """Checked settings of how an agent acts; built from a section."""

    def heads(self, spec: Spec) -> tuple[Head, ...]:
        """What the agent's network must answer with."""
        ...

    def rows(self, spec: Spec) -> np.dtype:
        """Type of the rows that its steps become."""
        ...

    def recorder(self, spec: Spec, copies: int) -> Recorder:
        """A recorder of such rows for so many copies."""
        ...

    def choose(
        self, evaluation: Evaluation, masks: np.ndarray, rng: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Actions [k] int16 for k rows, and their log-probabilities [k] float32 (0 where nobody wants them).

        Args:
            evaluation: of the rows.
            masks: [k, A] int8, 1 for each action that may be taken.
            rng: [4] uint64, advanced.
            steps: own steps of the agent until now, over all workers.

        Raises:
            NoAction: for a row whose mask allows none.
        """
        ...


@dataclass(frozen=True)
class EpsilonGreedy:
    """The action of highest value; now and then, one drawn uniformly. Rows are transitions.

    Attributes:
        n_steps: of a transition.
        discount: of a step.
        start, end: shares of drawn actions at the agent's first step, and from `steps` on; linear between.
        steps: own steps of the agent.
    """

    n_steps: int = 3
    discount: float = 0.99
    start: float = 1.0
    end: float = 0.05
    steps: int = 20_000

    def __post_init__(self) -> None:
        within("n_steps", self.n_steps, 1, 1000)
        within("discount", self.discount, 0.0, 1.0)
        within("start", self.start, 0.0, 1.0)
        within("end", self.end, 0.0, 1.0)
        at_least("steps", self.steps, 1)

    def heads(self, spec: Spec) -> tuple[Head, ...]:
        """A value for each action."""
        return (Head("values", (spec.actions,)),)

    def rows(self, spec: Spec) -> np.dtype:
        """Type of a transition."""
        return transition_dtype(spec)

    def recorder(self, spec: Spec, copies: int) -> Transitions:
        """A recorder of transitions."""
        return Transitions(spec, copies, self.n_steps, self.discount)

    def epsilon(self, steps: int) -> float:
        """Share of drawn actions after so many own steps."""
        return self.start + (self.end - self.start) * min(steps / self.steps, 1.0)

    def choose(
        self, evaluation: Evaluation, masks: np.ndarray, rng: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Behaviour.choose`; log-probabilities are 0."""
        actions = np.empty(len(masks), np.int16)
        _allowed(_epsilon_greedy(evaluation.outputs[0], masks, self.epsilon(steps), rng, actions))
        return actions, np.zeros(len(masks), np.float32)


@dataclass(frozen=True)
class Sampled:
    """An action drawn from the softmax of the first head over the allowed ones. Rows are fragments.

    Attributes:
        length: most steps of a fragment.
        cut: whether a fragment also ends with a worker's stretch, so that all of it reaches a learner that wants its
            own policy's steps alone.
    """

    length: int = 32
    cut: bool = False

    def __post_init__(self) -> None:
        within("length", self.length, 1, 100_000)

    def heads(self, spec: Spec) -> tuple[Head, ...]:
        """Logits over the actions, and a value."""
        return Head("logits", (spec.actions,)), Head("value", (1,))

    def rows(self, spec: Spec) -> np.dtype:
        """Type of a fragment."""
        return fragment_dtype(spec, self.length)

    def recorder(self, spec: Spec, copies: int) -> Fragments:
        """A recorder of fragments."""
        return Fragments(spec, copies, self.length, self.cut)

    def choose(
        self, evaluation: Evaluation, masks: np.ndarray, rng: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Behaviour.choose`: log-probabilities of the very distribution that was drawn from."""
        actions, logs = np.empty(len(masks), np.int16), np.empty(len(masks), np.float32)
        _allowed(_sampled(evaluation.outputs[0], masks, rng, actions, logs))
        return actions, logs


def greedy(evaluation: Evaluation, masks: np.ndarray) -> np.ndarray:
    """The allowed action of highest preference in each row, the first of equal ones: [k] int16.

    Raises:
        NoAction: for a row whose mask allows none.
    """
    actions = np.empty(len(masks), np.int16)
    _allowed(_epsilon_greedy(evaluation.outputs[0], masks, 0.0, np.zeros(4, np.uint64), actions))
    return actions


def sampled(evaluation: Evaluation, masks: np.ndarray, rng: np.ndarray) -> np.ndarray:
    """An allowed action for each row, drawn by the logits of the first head: [k] int16.

    Raises:
        NoAction: for a row whose mask allows none.
    """
    return Sampled().choose(evaluation, masks, rng, 0)[0]


def _allowed(row: int) -> None:
    if row >= 0:
        raise NoAction(f"row {row}: its mask allows no action")


@kernel(types.int64(types.float32[:, ::1], types.int8[:, ::1], types.float64, types.uint64[::1], types.int16[::1]))
def _epsilon_greedy(values, masks, epsilon, rng, actions):
    """Fills actions; returns the first row that has none, else -1."""
    rows, width = values.shape
    for row in range(rows):
        allowed, best = 0, -1
        for action in range(width):
            if masks[row, action]:
                allowed += 1
                if best < 0 or values[row, action] > values[row, best]:
                    best = action
        if best < 0:
            return row
        if epsilon > 0.0 and uniform(rng) < epsilon:
            drawn = below(rng, allowed)
            for action in range(width):
                if masks[row, action]:
                    if drawn == 0:
                        best = action
                    drawn -= 1
        actions[row] = best
    return -1


@kernel(types.int64(types.float32[:, ::1], types.int8[:, ::1], types.uint64[::1], types.int16[::1], types.float32[::1]))
def _sampled(logits, masks, rng, actions, logs):
    """Fills actions and their log-probabilities; returns the first row that has none, else -1."""
    rows, width = logits.shape
    for row in range(rows):
        highest, last = -np.inf, -1
        for action in range(width):
            if masks[row, action]:
                last = action
                highest = max(highest, logits[row, action])
        if last < 0:
            return row
        total = 0.0
        for action in range(width):
            if masks[row, action]:
                total += np.exp(np.float64(logits[row, action]) - highest)
        left = uniform(rng) * total
        chosen = last  # where rounding leaves a little
        for action in range(last):
            if masks[row, action]:
                left -= np.exp(np.float64(logits[row, action]) - highest)
                if left < 0.0:
                    chosen = action
                    break
        actions[row] = chosen
        logs[row] = np.float64(logits[row, chosen]) - highest - np.log(total)
    return -1
