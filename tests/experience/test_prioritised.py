"""Prioritised replay against its formulas and a slow transcription."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoundrel_ray.experience.prioritised import PrioritisedReplay, Proportional
from scoundrel_ray.experience.replay import Replay, UniformReplay
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.settings.build import check_members
from scoundrel_ray.settings.checks import InvalidSetting
from scoundrel_ray.streams import generator, stream

ROW = np.dtype([("number", np.int32), ("pair", np.float32, (2,))])
ALPHA, EPSILON = 0.7, 0.01


def rows(start, count):
    out = np.zeros(count, dtype=ROW)
    out["number"] = np.arange(start, start + count)
    out["pair"] = out["number"][:, None]
    return out


def settings_of(capacity, **settings):
    return PrioritisedReplay(
        **{"capacity": capacity, "min_rows": 1, "samples_per_insert": 1e5, "alpha": ALPHA, "epsilon": EPSILON}
        | settings
    )


def filled(capacity, count, **settings):
    replay = settings_of(capacity, **settings).make(ROW, stream(3))
    replay.insert(rows(0, count))
    return replay


def test_rows_are_drawn_in_proportion_to_a_power_of_their_priorities():
    replay, errors = filled(20, 13), np.array([0.0, 0.5, 2, 4, 0.1, 1, 1, 3, 0.2, 8, 0.05, 0.7, 1.5], np.float32)
    replay.update(np.arange(13), errors)
    numbers = np.concatenate([replay.sample(50)["number"] for _ in range(1000)])
    counts, powers = np.bincount(numbers, minlength=13), (errors.astype(float) + EPSILON) ** ALPHA
    expected = len(numbers) * powers / powers.sum()
    # Draws from equal shares of the sum spread less than independent ones, so that the bound is a safe one.
    assert ((counts - expected) ** 2 / expected).sum() < 32.9  # 0.1 % of 12 degrees of freedom


def test_every_share_of_the_sum_gives_one_row():
    """Whoever weighs as much as k whole shares is in at least k - 1 rows of every batch."""
    replay = filled(8, 8, alpha=1.0)
    replay.update(np.arange(8), np.array([3, 1, 0, 0, 0, 0, 0, 0], np.float32))
    for _ in range(20):
        numbers = replay.sample(40)["number"]
        assert (np.diff(numbers) >= 0).all() and (numbers == 0).sum() in (29, 30) and (numbers == 1).sum() >= 9


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_weights_equal_the_formula(beta):
    replay = filled(16, 12, beta=beta, beta_samples=10**9)
    errors = np.random.default_rng(1).exponential(size=12).astype(np.float32)
    replay.update(np.arange(12), errors)
    batch = replay.sample(30)
    powers = [(float(error) + EPSILON) ** ALPHA for error in errors]
    raw = [(12 * powers[number] / sum(powers)) ** -beta for number in batch["number"]]
    np.testing.assert_allclose(batch["weight"], np.array(raw) / max(raw), rtol=1e-5)
    assert batch["weight"].max() == 1.0
    np.testing.assert_array_equal(batch["pair"], np.repeat(batch["number"][:, None], 2, axis=1).astype(np.float32))


def test_beta_rises_linearly_with_the_samples_taken():
    replay, seen = filled(10, 10, beta=0.5, beta_samples=100), []
    for _ in range(6):
        seen.append(replay.beta)
        replay.sample(25)
    assert seen == pytest.approx([0.5, 0.625, 0.75, 0.875, 1.0, 1.0])


def test_new_rows_have_the_greatest_priority_so_far():
    replay = filled(10, 4, alpha=1.0, epsilon=1e-9)
    replay.update(np.arange(4), np.array([0.5, 0.5, 7, 0.5], np.float32))
    replay.update(np.array([2]), np.array([1.0], np.float32))  # 7 is no row's any more
    replay.insert(rows(4, 1))
    np.testing.assert_allclose(replay._sampler.probabilities(np.arange(5)) * 9.5, [0.5, 0.5, 1, 0.5, 7], rtol=1e-6)


def test_rows_that_have_been_overwritten_are_left_out():
    replay = filled(4, 4, alpha=1.0, epsilon=1e-9)
    batch = replay.sample(4)
    assert sorted(batch["key"]) == [0, 1, 2, 3] == sorted(batch["number"])
    replay.insert(rows(4, 2))  # in the places of 0 and 1
    replay.update(np.arange(4), np.array([50.0, 50.0, 3.0, 5.0], np.float32))
    np.testing.assert_allclose(replay._sampler.probabilities(np.arange(4)) * 10, [1, 1, 3, 5], rtol=1e-6)
    replay.update(np.array([0, 1]), np.array([9.0, 9.0], np.float32))
    replay.insert(rows(6, 1))
    np.testing.assert_allclose(replay._sampler.probabilities(np.array([2])), 5 / 12, rtol=1e-6)
    batch = replay.sample(20)
    np.testing.assert_array_equal(batch["key"], batch["number"])


def test_the_last_of_equal_keys_counts_and_bad_priorities_change_nothing():
    replay = filled(2, 2, alpha=1.0, epsilon=1e-9)
    replay.update(np.array([0, 1, 0]), np.array([9, 1, 3], np.float32))
    np.testing.assert_allclose(replay._sampler.probabilities(np.arange(2)), [0.75, 0.25], rtol=1e-6)
    for bad in (np.nan, np.inf, -1.0):
        with pytest.raises(ValueError, match="a priority is negative or not finite"):
            replay.update(np.array([0, 1]), np.array([4.0, bad], np.float32))
    np.testing.assert_allclose(replay._sampler.probabilities(np.arange(2)), [0.75, 0.25], rtol=1e-6)


@given(
    st.integers(1, 37),
    st.lists(st.lists(st.tuples(st.integers(0, 36), st.floats(1e-6, 1e3)), min_size=1, max_size=9), max_size=12),
    st.integers(1, 20),
)
def test_the_tree_equals_a_slow_transcription(capacity, changes, count):
    """Cumulative sums over a list, searched from the left."""
    tree, powers = Proportional(capacity, ALPHA, stream(1)), [0.0] * capacity
    for change in [[(0, 1.0)], *changes]:
        places = np.array([place % capacity for place, _ in change])
        tree.set(places, np.array([priority for _, priority in change]))
        for place, (_, priority) in zip(places, change, strict=True):
            powers[place] = priority**ALPHA
    total = sum(powers)
    np.testing.assert_allclose(tree.probabilities(np.arange(capacity)), np.array(powers) / total, rtol=1e-9)
    uniforms = generator(stream(1)).random(count)
    drawn = tree.draw(capacity, count)
    for share, (uniform, place) in enumerate(zip(uniforms, drawn, strict=True)):
        wanted, before = (share + uniform) * total / count, sum(powers[:place])
        slack = 1e-9 * total
        assert powers[place] > 0 and before - slack <= wanted <= before + powers[place] + slack


def test_a_draw_at_the_very_end_finds_the_last_row():
    tree = Proportional(5, 1.0, stream(1))
    tree.set(np.arange(3), np.array([0.1, 0.2, 0.3]))
    tree._generator = type("Last", (), {"random": staticmethod(np.ones)})()
    assert tree.draw(3, 1).tolist() == [2]
    tree._generator = type("First", (), {"random": staticmethod(np.zeros)})()
    assert tree.draw(3, 1).tolist() == [0]


@pytest.mark.parametrize("blocks", [[25], [3, 12], [7, 7, 7], [10, 10], [0, 10, 1, 31]])
def test_every_row_is_found_by_its_key(blocks):
    replay, at = filled(10, 0), 0
    for count in blocks:
        replay.insert(rows(at, count))
        at += count
    batch = replay.sample(300)
    np.testing.assert_array_equal(batch["key"], batch["number"])
    assert set(batch["key"]) == set(range(at - 10, at))


def test_alpha_0_is_uniform_and_needs_no_weights():
    replay = filled(10, 10, alpha=0.0, beta=1.0)
    replay.update(np.arange(10), np.linspace(0, 9, 10).astype(np.float32))
    batch = replay.sample(10)
    assert sorted(batch["number"]) == list(range(10)) and (batch["weight"] == 1).all()


def flattened(value):
    if isinstance(value, dict):
        return {name: flattened(each) for name, each in value.items()}
    return (str(value.dtype), value.tobytes()) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("count", [30, 50, 71, 200])
def test_restored_replay_gives_the_batches_that_would_have_been(tmp_path, count):
    replay, generator_ = filled(50, count, beta_samples=40), np.random.default_rng(2)
    for _ in range(3):
        batch = replay.sample(7)
        replay.update(batch["key"], generator_.exponential(size=7).astype(np.float32))
    state = replay.state()
    kept = flattened(checkpoint.load(checkpoint.save(tmp_path, {"replay": state}))["replay"])
    other = settings_of(50, beta_samples=40).make(ROW, stream(99))
    other.insert(rows(1000, 60))
    other.restore(checkpoint.load(checkpoint.latest(tmp_path))["replay"])
    assert flattened(other.state()) == kept
    for turn in range(4):
        wanted = replay.sample(9)
        np.testing.assert_array_equal(other.sample(9), wanted)
        errors = generator_.exponential(size=9).astype(np.float32)
        for each in (replay, other):
            each.update(wanted["key"], errors)
            each.insert(rows(count + 13 * turn, 13))
        assert flattened(other.state()) == flattened(replay.state()) and other.status() == replay.status()


def test_a_state_does_not_change_with_later_updates():
    replay = filled(8, 8)
    state = replay.state()["sampler"]
    before = flattened(state)
    replay.update(np.arange(8), np.ones(8, np.float32))
    replay.sample(3)
    assert flattened(state) == before


@pytest.mark.parametrize("lost", [1, 3, 10, 23, 1000])
def test_keys_of_lost_rows_are_given_to_no_other_row(lost):
    """What a learner still tells of rows that died with a process counts for nobody."""
    replay = filled(10, 7)
    state = replay.state()
    state = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in state.items()}
    replay.insert(rows(7, lost))
    gone = np.setdiff1d(replay._keys, np.arange(7))
    other = settings_of(10).make(ROW, stream(4))
    other.restore(state, inserted=7 + lost, sampled=5)
    assert other.status()["inserted"] == 7 + lost and other.status()["sampled"] == 5 and len(other) == 7
    other.insert(rows(500, 5))
    batch = other.sample(200)
    assert set(batch["number"]) == {2, 3, 4, 5, 6, *range(500, 505)}, "the oldest rows make room, as ever"
    assert not set(batch["key"]) & set(gone.tolist())
    before = flattened(other.state())
    other.update(gone, np.full(len(gone), 100.0, np.float32))
    assert flattened(other.state()) == before
    again = settings_of(10).make(ROW, stream(5))
    again.restore(other.state())
    assert flattened(again.state()) == before


@pytest.mark.parametrize("capacity", [7, 40, 60])
def test_rows_of_a_ring_of_another_capacity_keep_their_priorities(capacity):
    replay = filled(10, 7)
    replay.restore(replay.state(), inserted=12)  # keys go on from 17
    replay.update(np.arange(7), np.arange(7, dtype=np.float32))
    other = settings_of(capacity).make(ROW, stream(4))
    other.restore(replay.state())
    np.testing.assert_array_equal(*(each._sampler.probabilities(np.arange(7)) for each in (replay, other)))
    other.insert(rows(7, 4))
    batch = other.sample(300)
    pairs = {(key, number) for key, number in zip(batch["key"].tolist(), batch["number"].tolist(), strict=True)}
    assert len(pairs) == len({key for key, _ in pairs}) == len({number for _, number in pairs}) == min(capacity, 11)
    assert all(other._keys[key % capacity] == key for key, _ in pairs)
    assert all(other._rows["number"][key % capacity] == number for key, number in pairs)


def test_it_waits_counts_and_gives_as_its_settings_say():
    settings = PrioritisedReplay(capacity=100, min_rows=10, samples_per_insert=2.0, tolerance=0.5)
    assert settings.most_batch == UniformReplay(100, 10, 2.0, 0.5).most_batch
    replay = settings.make(ROW, stream(0))
    check_members("replay", replay, Replay)
    replay.insert(rows(0, 9))
    assert replay.sample(1) is None
    replay.insert(rows(9, 1))
    assert replay.sample(31) is None
    batch = replay.sample(30)
    assert batch.dtype == settings.given(ROW) and batch.dtype.names == ("number", "pair", "key", "weight")
    assert (batch.dtype["key"], batch.dtype["weight"]) == (np.int64, np.float32)
    assert replay.status()["sampled"] == 30 and replay.status()["ratio"] == 3.0
    with pytest.raises(ValueError, match="got rows of"):
        replay.insert(np.zeros(2, dtype=[("number", np.int64)]))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("alpha", 1.5), ("beta", -0.1), ("beta_samples", 0), ("epsilon", 0.0), ("capacity", 0), ("samples_per_insert", 0)],
)
def test_settings_are_checked(setting, value):
    with pytest.raises(InvalidSetting, match=rf"^{setting}: got {value}"):
        PrioritisedReplay(**{setting: value})
