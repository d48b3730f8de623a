"""Symmetries: permutations alone, and rows seen through them stay as they were kept."""

import re

import numpy as np
import pytest

from scoundrel_ray import rng
from scoundrel_ray.experience.rows import decision_dtype
from scoundrel_ray.game import Game
from scoundrel_ray.settings.build import build
from scoundrel_ray.symmetry import Symmetries
from scripts.entry import section


def test_rows_are_seen_in_every_guise_and_kept_as_they_were():
    game = build("game", section("game", "blob"), Game)
    stored = np.zeros(1, decision_dtype(game.spec))
    stored["observation"] = game.observe(game.deal(rng.stream(0)), 0)
    stored["actions"] = [3, 17, -1, -1, -1, -1]
    stored["policy"][0, :2] = [0.25, 0.75]
    kept = stored.copy()
    batch = game.symmetries.see(np.repeat(stored, 24), np.arange(24))
    np.testing.assert_array_equal(stored, kept)
    np.testing.assert_array_equal(batch[0], stored[0])
    assert len(np.unique(batch["observation"], axis=0)) == 24
    assert (batch["actions"][:, :2] % 13 == [3, 4]).all() and (batch["actions"][:, 2:] == -1).all()
    np.testing.assert_array_equal(batch["policy"], np.repeat(stored, 24)["policy"])


@pytest.mark.parametrize(
    ("places", "actions", "values", "wanted"),
    [
        ([[0, 1, 2], [0, 0, 2]], [[0, 1], [1, 0]], {}, "places is [2, 3], wanted 2 permutations of 3"),
        ([[0, 1], [1, 0]], [[0, 1], [1, 0]], {}, "places is [2, 2], wanted 2 permutations of 3"),
        ([[0, 1, 2], [2, 1, 0]], [[0, 1]], {}, "actions is [1, 2], wanted 2 permutations of 2"),
        ([[1, 0, 2], [2, 1, 0]], [[0, 1], [1, 0]], {}, "places begins with a change"),
        ([[0, 1, 2], [2, 1, 0]], [[0, 1], [1, 0]], {0: [[0, 1], [0, 2]]}, "values of 0 is [2, 2], wanted 2 perm"),
    ],
)
def test_symmetries_are_permutations(places, actions, values, wanted):
    symmetries = Symmetries(np.array(places), np.array(actions), {k: np.array(v) for k, v in values.items()})
    with pytest.raises(ValueError, match=re.escape(wanted)):
        symmetries.check(3, 2)
