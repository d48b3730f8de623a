"""One decision solved in place of searched, where so little of the game is left that a game can tell its values."""

from __future__ import annotations

import numpy as np

from scoundrel_ray.game import Game
from scoundrel_ray.searches.forest import Decisions, blank_decisions


def solved(game: Game, state: np.ndarray, most_positions: int) -> Decisions | None:
    """One row with the exact value of each action, each with one visit; it plays the best, the first of equals.

    It is None if the game cannot be solved, or not with so few positions.
    """
    values = None if game.solve is None else game.solve(game, state, most_positions)
    if values is None:
        return None
    legal = game.legal(state)
    best = int(np.argmax(values[:, game.seat(state)]))
    row = blank_decisions(game, 1)
    for column, blank in (("actions", -1), ("visits", 0), ("priors", 0.0), ("policy", 0.0), ("totals", 0.0)):
        getattr(row, column)[0] = blank
    row.actions[0, : len(legal)] = legal
    row.visits[0, : len(legal)] = 1
    row.policy[0, best] = 1.0
    row.totals[0, : len(legal)] = values
    row.values[0] = values[best]
    row.chosen[0] = legal[best]
    return row
