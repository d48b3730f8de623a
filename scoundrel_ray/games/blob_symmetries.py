"""Symmetries of Blob: suits that go by other names."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from scoundrel_ray.games import blob_state as s
from scoundrel_ray.spec import Field
from scoundrel_ray.symmetry import Symmetries


def suit_symmetries(observation: Sequence[Field], actions: int) -> Symmetries:
    """Suits by any other names: 24 symmetries.

    A whole game has them too: its later rounds are dealt afresh, so that the next trump is as good by any name.
    """
    orders = np.array(list(itertools.permutations(range(s.SUITS))))  # suit x is called orders[k, x]
    true_suit = np.argsort(orders, axis=1)
    true_card = (s.RANKS * true_suit[:, :, None] + np.arange(s.RANKS)).reshape(len(orders), s.CARDS)
    starts = dict(zip((f.name for f in observation), np.cumsum([0, *(f.size for f in observation)]), strict=False))
    places = np.tile(np.arange(sum(f.size for f in observation)), (len(orders), 1))
    for name in ("card", "takes"):
        places[:, starts[name] : starts[name] + s.CARDS] = starts[name] + true_card
    voids = next(f.size for f in observation if f.name == "void") // s.SUITS
    for start in range(starts["void"], starts["void"] + voids * s.SUITS, s.SUITS):
        places[:, start : start + s.SUITS] = start + true_suit
    named = np.tile(np.arange(actions), (len(orders), 1))
    named[:, : s.CARDS] = (s.RANKS * orders[:, :, None] + np.arange(s.RANKS)).reshape(len(orders), s.CARDS)
    or_none = np.concatenate([orders, np.full((len(orders), 1), s.SUITS)], axis=1)
    return Symmetries(places, named, {int(starts["trump"]): or_none, int(starts["led"]): or_none})
