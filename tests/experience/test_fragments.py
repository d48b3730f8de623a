"""The queue of fragments: each is given once or dropped and counted, the oldest first, and nobody waits for ever."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoundrel_ray.experience.fragments import FragmentQueue, usable
from scoundrel_ray.experience.replay import Replay, ReplaySettings
from scoundrel_ray.experience.rows import fragment_dtype
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.settings.build import build, check_members
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting
from scoundrel_ray.spec import Field, Spec
from scoundrel_ray.streams import stream

LENGTH = 4
DTYPE = fragment_dtype(Spec("toy", (Field("place", 1, 0, 9),), 2, 1, 2), LENGTH)


def fragments(lengths, version=0, first=0):
    """Fragments of these numbers of steps, each with its number as its first reward."""
    rows = np.zeros(len(lengths), DTYPE)
    for i, (row, steps) in enumerate(zip(rows, lengths, strict=True)):
        row["steps"] = steps
        row["versions"][:steps] = version
        row["rewards"][0] = first + i
    return rows


def numbers(rows):
    return rows["rewards"][:, 0].astype(int).tolist()


def queue(**settings):
    return FragmentQueue(**settings).make(DTYPE, stream(0))


def test_it_is_a_replay():
    made = build("replay", {"_target_": "scoundrel_ray.experience.fragments.FragmentQueue"}, ReplaySettings)
    check_members("replay", made.make(DTYPE, stream(0)), Replay)


def test_a_batch_is_the_fewest_of_the_oldest_whose_steps_reach_it():
    replay = queue(capacity=20)
    replay.insert(fragments([4, 1, 3, 2]))
    replay.insert(fragments([4], first=4))
    assert replay.sample(15) is None
    assert numbers(replay.sample(5)) == [0, 1]
    assert numbers(replay.sample(4)) == [2, 3], "the last one may go beyond it"
    assert replay.sample(5) is None
    assert numbers(replay.sample(4)) == [4]
    assert replay.sample(1) is None
    status = replay.status()
    assert (status["inserted"], status["sampled"], status["rows"], status["dropped_steps"]) == (14, 14, 0, 0)


def test_a_batch_is_a_copy():
    replay, rows = queue(capacity=20), fragments([4, 4])
    replay.insert(rows)
    rows["rewards"] = 7.0
    batch = replay.sample(4)
    assert numbers(batch) == [0]
    batch["rewards"] = 9.0
    assert numbers(replay.sample(4)) == [1]


def test_workers_are_held_back_while_a_full_batch_waits():
    settings = FragmentQueue(capacity=6)
    assert settings.most_batch == 6
    replay = settings.make(DTYPE, stream(0))
    replay.insert(fragments([4, 1]))
    assert replay.status()["may_insert"]
    replay.insert(fragments([1]))
    assert not replay.status()["may_insert"]
    replay.insert(fragments([4]))  # of a worker that ends its stretch
    assert replay.status()["rows"] == 10
    replay.sample(6)
    assert not replay.status()["may_insert"]  # of this version nothing more is wanted
    replay.at_version(1)
    assert replay.status()["may_insert"]


def test_while_a_batch_is_learned_from_workers_rest_unless_their_steps_may_be_late():
    for max_lag, rest in ((0, True), (1, False), (None, False)):
        replay = queue(capacity=6, max_lag=max_lag)
        replay.insert(fragments([4, 2]))
        replay.sample(6)
        assert replay.status()["may_insert"] != rest
        assert replay.sample(6) is None  # the learner that had the batch died, and another asks
        assert replay.status()["may_insert"]


def test_workers_rest_once_a_batch_waits_though_more_would_fit_unless_their_steps_may_be_late():
    for max_lag, rest in ((0, True), (1, False), (None, False)):
        replay = queue(capacity=16, max_lag=max_lag)
        replay.insert(fragments([4]))
        assert replay.sample(6) is None  # so many are wanted
        assert replay.status()["room"] == (2 if rest else 12)
        replay.insert(fragments([2]))
        assert replay.status()["may_insert"] != rest
        replay.sample(6)
        replay.at_version(1)
        assert replay.status()["room"] == (6 if rest else 16)
    replay = queue(capacity=16)
    replay.sample(20)  # never comes together: the plan refuses such a learner
    assert replay.status()["room"] == 16


@pytest.mark.parametrize(
    ("max_lag", "kept"),
    [(0, [2]), (1, [1, 2, 3]), (2, [0, 1, 2, 3, 4]), (None, [0, 1, 2, 3, 4, 5, 6])],
)
def test_which_fragments_are_usable(max_lag, kept):
    rows = fragments([4] * 7)
    for row, versions in zip(
        rows, [[5] * 4, [6] * 4, [7] * 4, [6, 6, 6, 7], [5, 7, 7, 7], [8] * 4, [7, 7, 7, 8]], strict=True
    ):
        row["versions"] = versions
    assert np.flatnonzero(usable(rows, 7, max_lag)).tolist() == kept


def test_versions_behind_the_last_step_stand_for_nothing():
    rows = fragments([2], version=7)
    assert rows["versions"].tolist() == [[7, 7, 0, 0]]
    assert usable(rows, 7, 0).all()
    rows["versions"][0, 1] = 0
    assert not usable(rows, 7, 0).any()


def test_what_is_too_old_makes_room_at_once():
    replay = queue(capacity=8)
    replay.insert(fragments([4, 4, 3]))
    replay.sample(4)
    assert replay.status()["rows"] == 7
    replay.at_version(1)
    assert replay.status() | {"rows": 0, "dropped_steps": 7, "may_insert": True} == replay.status()
    replay.insert(fragments([4, 4]))  # acted with version 0, on the way when version 1 came
    assert replay.status() | {"rows": 0, "dropped_steps": 15, "may_insert": True} == replay.status()
    replay.insert(fragments([4, 4], version=1))
    assert numbers(replay.sample(8)) == [0, 1]
    status = replay.status()
    assert (status["inserted"], status["sampled"], status["ratio"]) == (27, 12, 12 / 27)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.lists(st.tuples(st.integers(1, LENGTH), st.integers(-3, 1)), max_size=5)),
        st.tuples(st.just("sample"), st.integers(1, 15)),
        st.tuples(st.just("version"), st.integers(-1, 2)),
    ),
    max_size=40,
)


@given(operations, st.one_of(st.none(), st.integers(0, 3)), st.integers(1, 20))
def test_no_fragment_is_lost_or_given_twice(turns, max_lag, capacity):
    """Beside a list that is kept in words: what comes in, what may be used, what was given."""
    replay = queue(capacity=capacity, max_lag=max_lag)
    version, made, dropped, given_out, learning, enough = 0, 0, 0, [], False, capacity
    waiting = []  # (number, steps, version)

    def stale(of):
        return max_lag is not None and not 0 <= version - of <= max_lag

    for kind, what in turns:
        if kind == "insert":
            for steps, age in what:
                of = max(version + age, 0)
                replay.insert(fragments([steps], of, first=made))
                waiting.append((made, steps, of))
                made += 1
        elif kind == "version":
            before, version = version, max(version + what, 0)
            replay.at_version(version)
            learning &= version == before
        else:
            batch = replay.sample(what)
            learning = batch is not None
            enough = min(what, capacity) if max_lag == 0 else capacity
            if batch is None:
                assert sum(steps for _, steps, _ in waiting) < what
            else:
                assert numbers(batch) == [number for number, *_ in waiting[: len(batch)]]
                assert batch["steps"][:-1].sum() < what <= batch["steps"].sum()
                assert usable(batch, version, max_lag).all()
                given_out += [(number, steps) for number, steps, _ in waiting[: len(batch)]]
                waiting = waiting[len(batch) :]
        dropped += sum(steps for _, steps, of in waiting if stale(of))
        waiting = [each for each in waiting if not stale(each[2])]
        status = replay.status()
        held = sum(steps for _, steps, _ in waiting)
        assert (status["rows"], status["dropped_steps"]) == (held, dropped)
        assert status["sampled"] == sum(steps for _, steps in given_out)
        assert status["inserted"] == status["sampled"] + dropped + held
        assert status["may_insert"] == (held < enough and not (learning and max_lag == 0))
    assert len({number for number, _ in given_out}) == len(given_out)
    assert numbers(replay.state()["rows"]) == [number for number, *_ in waiting]


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(0, 3), st.integers(1, 5))
def test_nobody_waits_for_ever(seed, batch, max_lag, workers):
    """Workers that act with the newest weights handed out, a learner that dies now and then, in any order."""
    dice = np.random.default_rng(seed)
    replay = queue(capacity=batch + int(dice.integers(2 * batch)), max_lag=max_lag)
    version = published = learned = 0
    on_the_way = []
    for _ in range(1000 + 100 * batch):
        if learned == 5:
            break
        move = dice.integers(4)
        if move == 0 and len(on_the_way) < workers and replay.status()["may_insert"]:
            on_the_way.append(fragments(dice.integers(1, LENGTH + 1, dice.integers(1, 4)), published))
        elif move == 1 and on_the_way:
            replay.insert(on_the_way.pop(0))
        elif move == 2 and replay.sample(batch) is not None:
            version, learned = version + 1, learned + 1
            if dice.random() < 0.1:  # it died, and is restored from an earlier checkpoint
                version = max(version - 2, 0)
            replay.at_version(version)
        elif move == 3:
            published = version
    assert learned == 5


def test_a_restored_queue_goes_on_where_it_was(tmp_path):
    replay = queue(capacity=20, max_lag=1)
    replay.insert(fragments([4, 3, 2, 1], version=0))
    replay.sample(4)
    replay.at_version(1)
    replay.insert(fragments([2, 4], version=2, first=4))  # of a version that the queue was not told of
    saved = checkpoint.save(tmp_path, {"replay": replay.state()})
    other = queue(capacity=20, max_lag=1)
    other.restore(checkpoint.load(saved)["replay"])
    assert other.status() == replay.status()
    for each in (replay, other):
        each.insert(fragments([1, 2], version=1, first=6))
    np.testing.assert_array_equal(other.sample(7), replay.sample(7))
    assert other.status() == replay.status()
    for each in (replay, other):
        each.at_version(2)
    np.testing.assert_array_equal(other.state()["rows"], replay.state()["rows"])
    assert other.status() == replay.status() and other.status()["dropped_steps"] == 6


def test_what_was_lost_with_a_process_stays_counted():
    replay = queue(capacity=20)
    replay.insert(fragments([4, 4]))
    replay.sample(4)
    other = queue(capacity=20)
    other.restore(replay.state(), inserted=30, sampled=16)
    wanted = {"rows": 4, "inserted": 30, "sampled": 16, "dropped_steps": 0, "may_insert": True}
    assert other.status() | wanted == other.status()
    other.insert(fragments([3]))
    other.sample(7)
    given = {"rows": 0, "inserted": 33, "sampled": 23, "may_insert": False}
    assert other.status() | wanted | given == other.status()
    third = queue(capacity=20)
    third.restore(other.state(), inserted=40, sampled=23)
    assert third.status()["may_insert"]
    assert (third.status()["inserted"], third.status()["sampled"]) == (40, 23)
    fourth = queue(capacity=20)
    fourth.restore(third.state())
    assert fourth.status() == third.status()


def test_a_state_does_not_change_with_what_follows():
    replay = queue(capacity=20)
    replay.insert(fragments([4, 3]))
    state = replay.state()
    before = state["rows"].copy()
    replay.insert(fragments([2]))
    replay.sample(4)
    replay.at_version(1)
    np.testing.assert_array_equal(state["rows"], before)
    assert (state["version"], state["inserted"], state["sampled"], state["dropped"]) == (0, 7, 0, 0)


def test_rows_that_are_no_fragments_are_refused():
    replay = queue(capacity=20)
    with pytest.raises(ValueError, match="replay: got rows of"):
        replay.insert(np.zeros(2, dtype=[("number", np.int64)]))
    for steps in ([0, 2], [2, LENGTH + 1]):
        with pytest.raises(ValueError, match=rf"got fragments of {steps[0]} to {steps[1]} steps, wanted 1 to 4"):
            replay.insert(fragments(steps))
    assert replay.status()["inserted"] == 0
    replay.insert(fragments([]))
    with pytest.raises(InvalidConfig, match="wants rows with 'steps', the learner's have number"):
        FragmentQueue().make(np.dtype([("number", np.int64)]), stream(0))
    with pytest.raises(ValueError, match="checkpoint holds rows of"):
        replay.restore({"rows": np.zeros(1, dtype=[("number", np.int64)])})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"capacity": 0}, r"^capacity: got 0, wanted an integer >= 1"),
        ({"max_lag": -1}, r"^max_lag: got -1, wanted an integer >= 0"),
        ({"max_lag": 0.5}, r"^max_lag: got 0.5, wanted an integer >= 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InvalidSetting, match=message):
        FragmentQueue(**settings)
