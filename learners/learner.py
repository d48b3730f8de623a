"""What every learner offers: steps on batches of rows, weights to hand out, and a state to go on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from scoundrel_ray.network import Network


class Learner(Protocol):
    """Trains one agent's network; plain torch, no Ray."""

    batch_size: int

    @property
    def version(self) -> int:
        """Version of the weights: the number of steps done."""
        ...

    def step(self, rows: np.ndarray) -> dict[str, float]:
        """Learn from rows [batch_size] of `scoundrel_ray.experience.rows.row_dtype`; metrics by name."""
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


class LearnerConfig(Protocol):
    """A member of conf/learner: checked settings that can make a learner."""

    @property
    def batch_size(self) -> int: ...

    def make(self, network: Network, seed: int) -> Learner:
        """A learner that trains `network` itself."""
        ...
