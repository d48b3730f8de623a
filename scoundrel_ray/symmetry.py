"""Symmetries of a game: other names for its cards, cells or moves under which it stays the same game.

A row seen through one is as true as the row itself, so a network learns from every row in all its guises.
Legend: K symmetries, O observation size, A actions.

**Source:** the rotations and reflections of Go in Silver et al. 2017, "Mastering the game of Go without human
knowledge"; here for any game, and only where rows are learned from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Symmetries:
    """A game's symmetries, the first of which changes nothing.

    Attributes:
        places: [K, O] entry i of an observation seen through symmetry k is entry places[k, i] of the true one.
        actions: [K, A] action a seen through symmetry k is actions[k, a].
        values: for entries that name what a symmetry renames: by their place in the observation seen, [K, n], what
            the values 0 to n - 1 become.
    """

    places: np.ndarray
    actions: np.ndarray
    values: Mapping[int, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        """K."""
        return len(self.places)

    def check(self, observation_size: int, actions: int) -> None:
        """Refuse what cannot be symmetries of a game.

        Args:
            observation_size: O.
            actions: A.

        Raises:
            ValueError: if a table is not K permutations, the first changes something, or a place is none.
        """
        tables = {"places": (self.places, observation_size), "actions": (self.actions, actions)}
        tables |= {f"values of {place}": (table, table.shape[-1]) for place, table in self.values.items()}
        if not all(0 <= place < observation_size for place in self.values):
            raise ValueError(f"symmetries: values of places {sorted(self.values)}, wanted 0 to {observation_size - 1}")
        for name, (table, size) in tables.items():
            if table.shape != (len(self), size) or not (np.sort(table, axis=1) == np.arange(size)).all():
                raise ValueError(
                    f"symmetries: {name} is {list(table.shape)}, wanted {len(self)} permutations of {size}"
                )
            if not (table[0] == np.arange(size)).all():
                raise ValueError(f"symmetries: {name} begins with a change, wanted none in the first symmetry")

    def see(self, rows: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Rows [n] (see `scoundrel_ray.experience.rows`), row i through symmetry which[i]: a copy.

        Actions, policy and value keep their order, so that actions are then no longer ascending.
        """
        seen = rows.copy()
        observations = np.take_along_axis(rows["observation"], self.places[which], axis=1)
        for place, table in self.values.items():
            observations[:, place] = table[which, observations[:, place]]
        seen["observation"] = observations
        legal = rows["actions"] >= 0
        seen["actions"] = np.where(legal, self.actions[which[:, None], np.where(legal, rows["actions"], 0)], -1)
        return seen
