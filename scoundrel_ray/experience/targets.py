"""What rows are to teach, made of what a search said and how the game ended."""

from __future__ import annotations

import numpy as np


def tempered(policy: np.ndarray, temperature: float) -> np.ndarray:
    """Policies [G, L] to the power 1 / temperature, which sum to 1 again; float32."""
    if temperature == 1.0:
        return policy
    powers = (policy / policy.max(axis=1, keepdims=True)) ** (1.0 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)
