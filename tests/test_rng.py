"""Random streams: equal to numpy's SFC64 bit for bit, and every draw distributed as it says; all with fixed seeds."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from scoundrel_ray import rng
from scoundrel_ray.compiled import inner

# A chi-square statistic of k degrees of freedom stays below k + 4 sqrt(2 k) + 8 but for about one seed in 10,000.
DRAWS = 60_000


@inner
def fill_words(stream, out):
    for i in range(out.shape[0]):
        out[i] = rng.next_word(stream)


@inner
def fill_below(stream, bound, out):
    for i in range(out.shape[0]):
        out[i] = rng.below(stream, bound)


@inner
def fill_uniform(stream, out):
    for i in range(out.shape[0]):
        out[i] = rng.uniform(stream)


@inner
def fill_gamma(stream, shape, out):
    for i in range(out.shape[0]):
        out[i] = rng.gamma(stream, shape)


@inner
def shuffle_rows(stream, rows, start, stop):
    for i in range(rows.shape[0]):
        rng.shuffle(stream, rows[i], start, stop)


@inner
def mix_all(keys, words, out):
    for i in range(keys.shape[0]):
        out[i] = rng.mix(keys[i], words[i])


def drawn(fill, *arguments, seed=0, count=DRAWS, dtype: Any = np.float64):
    out = np.empty(count, dtype=dtype)
    fill(rng.stream(seed), *arguments, out)
    return out


def assert_as_likely(counts):
    """Chi-square of equally likely outcomes."""
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 4 * math.sqrt(2 * freedom) + 8


@pytest.mark.parametrize("seed", [0, 1, 123456789, 2**32 - 1])
def test_words_and_state_equal_numpys(seed):
    reference = np.random.SFC64(seed)
    stream, words = rng.stream(seed), np.empty(1000, dtype=np.uint64)
    fill_words(stream, words)
    assert words.tolist() == reference.random_raw(1000).tolist()
    assert stream.tolist() == reference.state["state"]["state"].tolist()


def test_uniform_equals_numpys_and_stays_below_one():
    draws = drawn(fill_uniform)
    reference = np.random.Generator(np.random.SFC64(0))
    assert draws.tolist() == reference.random(DRAWS).tolist()
    assert 0 <= draws.min() < 0.001
    assert 0.999 < draws.max() < 1
    assert_as_likely(np.histogram(draws, bins=100, range=(0, 1))[0])


def test_uniform_of_the_largest_word_is_below_one():
    stream = np.array([2**64 - 1, 0, 0, 0], dtype=np.uint64)
    assert rng.uniform(stream) == 1 - 2.0**-53


@pytest.mark.parametrize("bound", [1, 2, 3, 7, 44, 100, 1000])
def test_below_is_uniform(bound):
    draws = drawn(fill_below, bound, dtype=np.int64)
    counts = np.bincount(draws, minlength=bound)
    assert len(counts) == bound
    assert bound == 1 or counts.min() > 0
    assert_as_likely(counts)


@pytest.mark.parametrize("bound", [3 * 2**30, 2**32 - 1, 2**32])
def test_below_is_uniform_where_words_must_be_refused(bound):
    """With 3 * 2^30 a quarter of all words is refused; without that the lowest thirds would differ by half."""
    draws = drawn(fill_below, bound, dtype=np.int64)
    assert draws.min() >= 0
    assert draws.max() < bound
    assert_as_likely(np.histogram(draws, bins=96, range=(0, bound))[0])
    assert_as_likely(np.bincount(draws % 3))


def test_below_refuses_exactly_the_surplus_words():
    """Slow transcription of Lemire's algorithm in unbounded integers, word by word."""
    bound = 3 * 2**30
    words = iter(np.random.SFC64(5).random_raw(2000).tolist())
    wanted = []
    for _ in range(500):
        product = (next(words) >> 32) * bound
        while product % 2**32 < 2**32 % bound:
            product = (next(words) >> 32) * bound
        wanted.append(product >> 32)
    assert drawn(fill_below, bound, seed=5, count=500, dtype=np.int64).tolist() == wanted


def test_shuffle_gives_every_order_as_often():
    rows = np.tile(np.arange(6, dtype=np.int32), (DRAWS, 1))
    shuffle_rows(rng.stream(3), rows, 1, 5)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, 5] == 5).all()
    orders = {order: i for i, order in enumerate(itertools.permutations(range(1, 5)))}
    assert_as_likely(np.bincount([orders[tuple(row)] for row in rows[:, 1:5].tolist()], minlength=24))


@pytest.mark.parametrize("size", [0, 1])
def test_shuffle_of_nothing_draws_nothing(size):
    stream, cards = rng.stream(1), np.arange(3, dtype=np.int32)
    rng.shuffle(stream, cards, 2, 2 + size)
    assert cards.tolist() == [0, 1, 2]
    assert stream.tolist() == rng.stream(1).tolist()


@pytest.mark.parametrize("shape", [0.03, 0.3, 1.0, 2.5, 30.0])
def test_gamma_has_its_moments_and_transform(shape):
    """Mean and variance are the shape; E[exp(-x)] = 2^-shape checks the whole distribution, small values above all."""
    draws = drawn(fill_gamma, shape, count=200_000)
    assert draws.min() >= 0
    spread = math.sqrt(len(draws))
    assert abs(draws.mean() - shape) < 5 * math.sqrt(shape) / spread
    assert abs(draws.var() - shape) < 5 * math.sqrt(2 * shape**2 + 6 * shape) / spread
    decay = np.exp(-draws)
    assert abs(decay.mean() - 2**-shape) < 5 * decay.std() / spread


def test_gamma_of_shape_one_is_exponential():
    draws = drawn(fill_gamma, 1.0)
    assert_as_likely(np.histogram(np.exp(-draws), bins=100, range=(0, 1))[0])


def test_mix_equals_the_formula():
    """Slow transcription in unbounded integers."""

    def slow(key, word):
        z = ((key ^ word) + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    keys, words = (drawn(fill_words, seed=seed, count=200, dtype=np.uint64) for seed in (1, 2))
    out = np.empty_like(keys)
    mix_all(keys, words, out)
    assert out.tolist() == [slow(int(key), int(word)) for key, word in zip(keys, words, strict=True)]


def test_mix_spreads():
    """Small words give different keys, and one flipped bit flips each bit of the key half of the time."""
    words = np.arange(1 << 16, dtype=np.uint64)
    keys = np.empty_like(words)
    mix_all(np.zeros_like(words), words, keys)
    assert len(np.unique(keys)) == len(words)
    flipped = np.empty_like(words)
    for bit in range(0, 64, 9):
        mix_all(np.zeros_like(words), words ^ np.uint64(1 << bit), flipped)
        shares = np.unpackbits((keys ^ flipped).view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
        assert abs(shares - 0.5).max() < 0.03


def test_mix_depends_on_the_order_of_words():
    keys = np.zeros(4, dtype=np.uint64)
    once, twice = np.empty_like(keys), np.empty_like(keys)
    mix_all(keys, np.array([1, 2, 1, 2], dtype=np.uint64), once)
    mix_all(once, np.array([2, 1, 1, 2], dtype=np.uint64), twice)
    assert len(set(twice.tolist())) == 4


def test_streams_are_reproducible_and_differ_by_path():
    paths = [(0,), (1,), (0, 1), (1, 1), (0, 2), (2, 0, 1), (0, 0, 1), (0, 2, 0, 1, 0), (0, 2, 0, 1), (3, 2**32 - 1)]
    first = [rng.stream(*path) for path in paths]
    assert [s.tolist() for s in first] == [rng.stream(*path).tolist() for path in paths]
    words = np.empty((len(paths), 100), dtype=np.uint64)
    for stream, row in zip(first, words, strict=True):
        fill_words(stream, row)
    assert len(np.unique(words)) == words.size


def test_streams_differ_by_zeros_at_the_end_of_a_path():
    assert len({tuple(rng.stream(5, *path).tolist()) for path in [(), (0,), (0, 0), (0, 0, 0), (0, 0, 0, 0)]}) == 5


def test_neighbouring_streams_are_independent():
    """Correlation of the uniforms of 200 streams that differ in the last of their path alone."""
    draws = np.empty((200, 400))
    for stream, row in zip(rng.streams(200, 9, 4), draws, strict=True):
        fill_uniform(stream, row)
    correlations = np.asarray(np.corrcoef(draws))[np.triu_indices(200, 1)]
    assert abs(correlations).max() < 6 / math.sqrt(400)
    assert abs(correlations.std() * math.sqrt(400) - 1) < 0.05


def test_streams_are_rows_of_stream():
    rows = rng.streams(5, 11, 2)
    assert rows.shape == (5, 4)
    assert rows.dtype == np.uint64
    assert rows.tolist() == [rng.stream(11, 2, i).tolist() for i in range(5)]


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="non-negative"):
        rng.stream(-1)
