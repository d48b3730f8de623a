"""Static batch sizes from made-up costs: steps, plateaus, and sizes that a larger one beats."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from scoundrel_ray.tuning.batch_sizes import best_size, efficient_sizes, padded_seconds, size_grid


def stepped(size, step=32, cliff=96):
    """A device that works in steps of 32 rows, and loses 30 % beyond 96 of them."""
    rows = -(-size // step) * step
    return 1e-4 + 1e-6 * rows * (1.0 if size <= cliff else 1.3)


def test_the_grid_has_powers_of_two_and_steps_between_them():
    assert size_grid(256) == [1, 2, 4, 8, 16, 32, 64, 96, 128, 160, 192, 224, 256]
    assert size_grid(1024)[-5:] == [512, 640, 768, 896, 1024]
    assert size_grid(100) == [1, 2, 4, 8, 16, 32, 64, 96]


def test_best_is_the_smallest_of_the_cheap():
    assert best_size({64: 1.0, 128: 1.0, 256: 1.98, 512: 3.96}) == 128  # a leaf of 256 is 1 % cheaper: not worth it
    assert best_size({64: 1.0, 128: 1.0, 256: 1.8}) == 256


def test_a_cliff_keeps_the_size_before_it():
    seconds = {size: stepped(size) for size in (*size_grid(256), 97)}
    sizes = efficient_sizes(seconds, 256)
    assert 96 in sizes and 97 not in sizes  # who has 97 leaves pays the step in any case, and 128 costs the same
    assert padded_seconds(seconds, sizes, 96) == pytest.approx(stepped(96))
    assert padded_seconds(seconds, sizes, 97) == pytest.approx(stepped(128))


def test_sizes_that_a_larger_one_beats_are_left_out():
    assert efficient_sizes({1: 1.0, 8: 1.0, 32: 1.01, 64: 2.0, 96: 1.5, 128: 3.0}, 128) == (32, 96, 128)


def test_no_more_sizes_than_wanted_and_none_beyond_the_largest():
    seconds = {size: float(size) for size in size_grid(2048)}
    sizes = efficient_sizes(seconds, 512, most=5)
    assert len(sizes) <= 5 and sizes[-1] == 512


def test_a_batch_beyond_the_largest_size_is_cut():
    assert padded_seconds({64: 1.0, 128: 1.5}, (64, 128), 2 * 128 + 10) == pytest.approx(2 * 1.5 + 1.0)
    assert padded_seconds({64: 1.0, 128: 1.5}, (64, 128), 256) == pytest.approx(3.0)


@given(st.dictionaries(st.integers(1, 200), st.floats(0.1, 10.0), min_size=1, max_size=20), st.data())
def test_no_batch_costs_more_than_a_little_above_the_cheapest_size_that_holds_it(seconds, data):
    largest = data.draw(st.sampled_from(sorted(seconds)))
    sizes = efficient_sizes(seconds, largest, near=0.03, most=100)
    assert list(sizes) == sorted(set(sizes)) and sizes[-1] == largest
    for count in range(1, largest + 1):
        cheapest = min(taken for size, taken in seconds.items() if count <= size <= largest)
        assert padded_seconds(seconds, sizes, count) <= 1.03 * cheapest * (1 + 1e-9)
