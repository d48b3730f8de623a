"""Views of every reach and of several frames, beside numpy's; bytes around them stay as they are."""

import numpy as np
import pytest

from scoundrel_ray.worlds.grid import MOVES, painted, see, step_down, step_of, step_right


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("reach", range(1, 11))
def test_the_newest_view_comes_last_and_the_oldest_goes(reach, frames):
    dice, side, wide, high = np.random.default_rng(reach), 2 * reach + 1, 30, 27
    before, behind = 5, 3  # bytes of other things around the cells, and around the views
    views, out, seen = frames * side * side, np.full(400 * 6 + 2500, 9, np.uint8), [np.zeros((side, side))] * frames
    out[:views] = 0
    for _ in range(7):
        cells = dice.integers(0, 8, before + high * wide + behind).astype(np.uint8)
        y, x = dice.integers(0, high - side + 1), dice.integers(0, wide - side + 1)
        see(cells, before + y * wide + x, wide, reach, views, out)
        field = cells[before : before + high * wide].reshape(high, wide)
        seen = [*seen[1:], field[y : y + side, x : x + side]]
        assert out[:views].tolist() == np.ravel(seen).tolist() and (out[views:] == 9).all()


def test_moves_are_rows_and_columns():
    steps = {name: (step_down(number), step_right(number)) for number, name in enumerate(MOVES)}
    assert steps == {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1), "stay": (0, 0)}
    assert [step_of(number, 30) for number in range(5)] == [-30, 30, -1, 1, 0]


def test_every_cell_is_a_square_in_the_colour_of_its_kind():
    colours = np.arange(12, dtype=np.uint8).reshape(4, 3)
    seen = painted(np.array([[0, 3, 1], [2, 0, 0]]), colours)
    assert seen.shape == (16, 24, 3) and seen.dtype == np.uint8
    assert (seen[:8, 8:16] == colours[3]).all() and (seen[8:, :8] == colours[2]).all()
