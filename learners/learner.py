"""What every learner offers: steps on batches of rows, weights to hand out, and a state to go on from.

A learner is named in YAML by the `_target_` of its settings. It declares its rows and gives whatever metrics it has; a
user's own learner lives in the user's own package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from scoundrel_ray.spec import Spec

if TYPE_CHECKING:
    from scoundrel_ray.network import Network  # whose torch a command that trains nothing itself does without


class NonFiniteLoss(RuntimeError):
    """A loss or gradient that is NaN or infinite; names the step and the part. The weights are untouched."""


class Learner(Protocol):
    """Trains one agent's network; plain torch, no Ray."""

    @property
    def version(self) -> int:
        """Version of the weights: steps done."""
        ...

    def step(self, rows: np.ndarray) -> Mapping[str, float]:
        """Learn from rows [batch_size] of the declared type; metrics by name, whichever the learner has."""
        ...

    def weights(self) -> dict[str, np.ndarray]:
        """A copy of the weights that rollouts should use, float32 by name."""
        ...

    def state(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit, as plain data and arrays (see `scoundrel_ray.storage.nested`)."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        ...


class Stack(Protocol):
    """Steps several learners of one form together; they stay learners of their own."""

    def step(self, rows: Sequence[np.ndarray | None]) -> Sequence[Mapping[str, float] | NonFiniteLoss | None]:
        """A step of every member that has rows.

        Args:
            rows: of each member; None for one that is to stay as it is.

        Returns:
            Of each member its metrics; or why its step was not made, which changes nothing for the others; None for one
            without rows.
        """
        ...


class LearnerSettings(Protocol):
    """A member of conf/learner: checked settings that can make a learner.

    Those of a learner whose agent acts by its network alone have one more member, `behaviour`: the section of how it
    acts (see `scoundrel_ray.experience.behaviours`). Those whose learners can be stepped together have
    `stack(members)`: a `Stack` of learners that equal settings made of networks of one form.
    """

    @property
    def batch_size(self) -> int:
        """Rows of a step."""
        ...

    def row_dtype(self, spec: Spec) -> np.dtype:
        """Type of the rows that the learner reads; the source must give every field of it."""
        ...

    def make(self, network: Network, seed: int) -> Learner:
        """A learner that trains `network` itself.

        Args:
            network: with its first weights.
            seed: of whatever the learner draws.
        """
        ...
