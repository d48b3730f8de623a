"""The targets in rows, made of what a search said and how the game ended."""

from __future__ import annotations

import numpy as np

from scoundrel_ray.game import Game


def tempered(policy: np.ndarray, temperature: float) -> np.ndarray:
    """Policies [G, L] to the power 1 / temperature, which sum to 1 again; float32."""
    if temperature == 1.0:
        return policy
    powers = (policy / policy.max(axis=1, keepdims=True)) ** (1.0 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def value_targets(
    game: Game, state: np.ndarray, scores: np.ndarray, seats: np.ndarray, root_values: np.ndarray, bootstrap: float
) -> np.ndarray:
    """Value targets of the decisions of a finished game: [n, P]; entry k is for the seat k places after the mover.

    Args:
        game: the rules.
        state: [S] at the end.
        scores: [P] at the end, in the game's points.
        seats: [n], who moved.
        root_values: [n, P], by seat, what the searches said.
        bootstrap: share of the searches' values; the rest is the outcome.
    """
    by_seat = (1.0 - bootstrap) * game.values(scores) + bootstrap * root_values
    places = np.arange(game.seats)
    players = game.players(state)
    order = np.where(places < players, (seats[:, None] + places) % players, places)
    return np.take_along_axis(by_seat, order, axis=1)
