"""The ring, its sampler and its limiter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoundrel_ray.experience.limiter import SampleToInsert
from scoundrel_ray.experience.replay import UniformReplay
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.settings.checks import InvalidSetting
from scoundrel_ray.streams import stream

ROW = np.dtype([("number", np.int32), ("pair", np.float32, (2,))])


def rows(start, count):
    out = np.zeros(count, dtype=ROW)
    out["number"] = np.arange(start, start + count)
    out["pair"] = out["number"][:, None]
    return out


def filled(capacity, blocks, **settings):
    replay = UniformReplay(capacity=capacity, min_rows=1, **settings).make(ROW, stream(3))
    at = 0
    for count in blocks:
        replay.insert(rows(at, count))
        at += count
    return replay


@given(st.integers(1, 40), st.lists(st.integers(0, 90), max_size=8))
def test_the_ring_holds_the_newest_rows_whole(capacity, blocks):
    replay = filled(capacity, blocks)
    total = sum(blocks)
    state = replay.state()
    assert sorted(state["rows"]["number"]) == list(range(max(0, total - capacity), total))
    assert (state["rows"]["pair"] == state["rows"]["number"][:, None]).all()
    assert len(replay) == min(total, capacity)


def test_the_next_row_takes_the_place_of_the_oldest():
    replay = filled(5, [3, 4])
    replay.insert(rows(7, 1))
    assert sorted(replay.state()["rows"]["number"]) == [3, 4, 5, 6, 7]


def test_sampling_is_uniform():
    replay = filled(10, [10], samples_per_insert=1e5)
    counts = np.bincount(replay.sample(50_000)["number"], minlength=10)
    chi_square = ((counts - 5000) ** 2 / 5000).sum()
    assert chi_square < 27.9  # 0.1 % of 9 degrees of freedom


def test_nothing_is_sampled_before_min_rows():
    replay = UniformReplay(capacity=100, min_rows=10).make(ROW, stream(0))
    replay.insert(rows(0, 9))
    assert replay.sample(1) is None
    replay.insert(rows(9, 1))
    assert replay.sample(1) is not None


# 2 samples a row, 10 rows to start with and half of that as tolerance: 20 samples are owed when the first batch may be
# taken, and either side may be 10 ahead of that.
LIMITED = UniformReplay(capacity=1000, min_rows=10, samples_per_insert=2.0, tolerance=0.5)


def limiter_at(inserted, sampled, config=LIMITED):
    limiter = SampleToInsert(config.samples_per_insert, config.min_rows, config.tolerance)
    limiter.inserted, limiter.sampled = inserted, sampled
    return limiter


@pytest.mark.parametrize(
    ("inserted", "sampled", "count", "wanted"),
    [
        (0, 0, 1, False),
        (9, 0, 1, False),  # too few rows
        (10, 0, 1, True),
        (10, 0, 30, True),  # owed 20, with 10 on loan
        (10, 0, 31, False),
        (10, 29, 1, True),
        (10, 29, 2, False),
        (10, 30, 1, False),
        (14, 30, 8, True),
        (14, 30, 9, False),
        (15, 30, 10, True),  # owed 0
        (15, 30, 11, False),
        (1000, 2000, 10, True),  # the loan does not grow with the run
        (1000, 2000, 11, False),
        (1000, 0, 2010, True),
    ],
)
def test_the_learner_is_held_back_exactly_at_its_tolerance(inserted, sampled, count, wanted):
    assert limiter_at(inserted, sampled).may_sample(count) is wanted


@pytest.mark.parametrize(
    ("inserted", "sampled", "wanted"),
    [
        (0, 0, True),
        (9, 0, True),
        (10, 0, True),  # owed 20: as many as at the start
        (14, 0, True),
        (15, 0, False),  # owed 30: 10 more than that
        (15, 1, True),
        (100, 170, False),
        (100, 171, True),
        (1000, 1970, False),
        (1000, 1971, True),
        (1000, 2010, True),
    ],
)
def test_the_workers_are_held_back_exactly_at_their_tolerance(inserted, sampled, wanted):
    assert limiter_at(inserted, sampled).may_insert() is wanted


@pytest.mark.parametrize(
    ("ratio", "tolerance", "first_stop", "then"),
    [
        (2.0, 0.5, 30, [2, 2, 2]),
        (0.5, 0.5, 7, [1, 0, 1, 0]),  # 7.5 may be taken
        (1.0, 0.01, 10, [1, 1, 1]),  # 10.1
        (3.0, 1.0, 60, [3, 3, 3]),
    ],
)
def test_a_learner_that_takes_all_it_may_stops_at_its_tolerance(ratio, tolerance, first_stop, then):
    """One sample at a time: so many from the first rows, and so many more for each row that follows."""
    config = UniformReplay(capacity=1000, min_rows=10, samples_per_insert=ratio, tolerance=tolerance)
    replay = config.make(ROW, stream(0))
    taken = []
    for start, count in [(0, 10), *((10 + i, 1) for i in range(len(then)))]:
        replay.insert(rows(start, count))
        before = replay.limiter.sampled
        while replay.sample(1) is not None:
            assert replay.limiter.sampled <= 1000, "nothing holds the learner back"
        taken.append(replay.limiter.sampled - before)
    assert taken == [first_stop, *then]


def test_a_batch_that_is_refused_counts_for_nothing():
    replay, other = (LIMITED.make(ROW, stream(0)) for _ in range(2))
    for each in (replay, other):
        each.insert(rows(0, 10))
    assert LIMITED.most_batch == 40
    assert replay.sample(31) is None and replay.sample(LIMITED.most_batch) is None
    assert replay.limiter.sampled == 0
    np.testing.assert_array_equal(replay.sample(30), other.sample(30))  # nor was anything drawn for it


def test_the_largest_batch_can_be_had_when_the_workers_are_held_back_and_no_larger_one():
    limiter = limiter_at(0, 0)
    while limiter.may_insert():
        limiter.inserted += 1
    assert limiter.may_sample(LIMITED.most_batch) and not limiter.may_sample(LIMITED.most_batch + 1)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=200), st.floats(0.5, 8.0))
def test_the_limiter_keeps_the_ratio_and_never_holds_back_both(turns, ratio):
    """Whatever either side tries, samples stay within the buffer around the ratio, and one side can always go on."""
    config = UniformReplay(capacity=1000, min_rows=20, samples_per_insert=ratio)
    limiter = SampleToInsert(config.samples_per_insert, config.min_rows, config.tolerance)
    slack = config.min_rows * ratio
    for insert, count in turns:
        if insert and limiter.may_insert():
            limiter.inserted += count
        elif not insert and limiter.may_sample(count):
            limiter.sampled += count
        assert limiter.may_insert() or limiter.may_sample(1)
        assert -slack <= limiter.owed <= 2 * slack + 20 * ratio or limiter.inserted < config.min_rows + 20


def test_restored_replay_gives_the_batches_that_would_have_been(tmp_path):
    replay = filled(50, [30, 41], samples_per_insert=100.0)
    replay.sample(7)  # an odd number leaves half a word drawn
    saved = checkpoint.save(tmp_path, {"replay": replay.state()})
    after = [replay.sample(9), replay.sample(4)]
    other = UniformReplay(capacity=50, min_rows=1, samples_per_insert=100.0).make(ROW, stream(99))
    other.restore(checkpoint.load(saved)["replay"])
    assert other.status()["sampled"] == 7
    for wanted in after:
        np.testing.assert_array_equal(other.sample(len(wanted)), wanted)
    other.insert(rows(71, 1))
    replay.insert(rows(71, 1))
    np.testing.assert_array_equal(other.state()["rows"], replay.state()["rows"])


def test_rows_of_another_game_are_refused():
    replay = filled(10, [3])
    with pytest.raises(ValueError, match="replay: got rows of"):
        replay.insert(np.zeros(2, dtype=[("number", np.int64)]))
    state = replay.state()
    with pytest.raises(ValueError, match="checkpoint holds 3 rows"):
        UniformReplay(capacity=2, min_rows=1).make(ROW, stream(0)).restore(state)


def test_settings_are_checked():
    with pytest.raises(InvalidSetting, match=r"^min_rows: got 11, wanted at most capacity, 10$"):
        UniformReplay(capacity=10, min_rows=11)
    with pytest.raises(InvalidSetting, match=r"^samples_per_insert: got 0"):
        UniformReplay(samples_per_insert=0.0)


# Rows and samples that were lost with a process: the newest checkpoint is older than what the others have counted.


def flattened(value):
    """A tree of plain data and arrays as one that compares bit for bit."""
    if isinstance(value, dict):
        return {name: flattened(each) for name, each in value.items()}
    return (str(value.dtype), value.tobytes()) if isinstance(value, np.ndarray) else value


@given(st.integers(1, 30), st.lists(st.integers(0, 40), max_size=6), st.integers(0, 60), st.integers(0, 90))
def test_a_replay_made_again_keeps_the_totals_and_owes_nothing_for_what_is_lost(capacity, blocks, rows_lost, taken):
    """Before the ring is full, and after it has begun anew."""
    settings = UniformReplay(capacity=capacity, min_rows=min(capacity, 10), samples_per_insert=3.0)
    replay = settings.make(ROW, stream(3))
    at = 0
    for count in blocks:
        replay.insert(rows(at, count))
        replay.sample(2)
        at += count
    state, before = replay.state(), replay.status()
    owed, may_insert = replay.limiter.owed, replay.limiter.may_insert()
    other = settings.make(ROW, stream(99))
    other.restore(state, inserted=before["inserted"] + rows_lost, sampled=before["sampled"] + taken)
    status = other.status()
    assert status["inserted"] == before["inserted"] + rows_lost and status["sampled"] == before["sampled"] + taken
    assert status["rows"] == before["rows"]
    assert other.limiter.owed == owed and other.limiter.may_insert() == may_insert
    np.testing.assert_array_equal(other.state()["rows"], state["rows"])
    other.insert(rows(at, 3))
    assert other.status()["inserted"] == before["inserted"] + rows_lost + 3
    # What was lost is in the next checkpoint.
    again = settings.make(ROW, stream(97))
    again.restore(other.state())
    assert again.status() == other.status() and flattened(again.state()) == flattened(other.state())
    # A second death, of a replay that had lost something before.
    third = settings.make(ROW, stream(98))
    third.restore(other.state(), inserted=status["inserted"] + 10, sampled=status["sampled"] + 5)
    assert third.status()["inserted"] == status["inserted"] + 10
    assert third.status()["sampled"] == status["sampled"] + 5
    assert third.limiter.owed == other.limiter.owed


@pytest.mark.parametrize("capacity", [400, 25])
@pytest.mark.parametrize(("rows_lost", "taken"), [(0, 0), (10_000, 0), (0, 10_000), (3000, 9000)])
def test_neither_side_waits_for_ever_for_what_is_lost(capacity, rows_lost, taken):
    """Whoever may go on does: both move after any loss, and the ratio of what comes later is as set."""
    settings = UniformReplay(capacity=capacity, min_rows=20, samples_per_insert=2.0, tolerance=0.5)
    replay = settings.make(ROW, stream(3))
    replay.insert(rows(0, 30))
    replay.sample(11)
    other = settings.make(ROW, stream(4))
    other.restore(replay.state(), inserted=30 + rows_lost, sampled=11 + taken)
    inserted = sampled = 0
    for _ in range(300):
        moved = False
        if other.status()["may_insert"]:
            other.insert(rows(30 + inserted, 5))
            inserted, moved = inserted + 5, True
        if other.sample(7) is not None:
            sampled, moved = sampled + 7, True
        assert moved, "both sides are held back"
    assert sampled > 600 and inserted > 300
    assert abs(2 * (30 + inserted) - (11 + sampled)) <= 2 * 20 + 20 + 10


def test_without_losses_a_restored_replay_is_the_same_bit_for_bit(tmp_path):
    for blocks in ([12], [30, 41], [50]):  # not full, begun anew, just full
        replay = filled(50, blocks, samples_per_insert=100.0)
        replay.sample(7)
        kept = flattened(checkpoint.load(checkpoint.save(tmp_path, {"replay": replay.state()}))["replay"])
        other = UniformReplay(capacity=50, min_rows=1, samples_per_insert=100.0).make(ROW, stream(99))
        other.restore(checkpoint.load(checkpoint.latest(tmp_path))["replay"])
        assert flattened(other.state()) == kept == flattened(replay.state())
        for each in (replay, other):
            each.insert(rows(500, 13))
        np.testing.assert_array_equal(other.sample(40), replay.sample(40))
        assert flattened(other.state()) == flattened(replay.state())
        assert other.status() == replay.status()
