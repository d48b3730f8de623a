"""The transport without transport: a model in the caller's own process."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from scoundrel_ray.evaluator import Evaluation


class _Evaluates(Protocol):
    def evaluate(self, observations: np.ndarray) -> Evaluation: ...


class LocalEvaluator:
    """An evaluator that answers at once, by a model of its own.

    Args:
        model: an `inference.model.Model`, or anything that evaluates like one.
    """

    def __init__(self, model: _Evaluates) -> None:
        self._model = model

    def submit(self, observations: np.ndarray) -> Evaluation:
        """The answer itself.

        Raises:
            Exception: what the model raises.
        """
        return self._model.evaluate(observations)

    def collect(self, ticket: Evaluation) -> Evaluation:
        """The ticket."""
        return ticket
