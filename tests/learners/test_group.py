"""A group of learners: stretches and their ends, whose rows go where, stacks, weights that are whole, and states."""

import threading
import types

import numpy as np
import pytest

from learners import group as group_module
from learners.group import BatchesGone
from learners.learner import NonFiniteLoss
from scoundrel_ray.experience.rows import decision_dtype, fragment_dtype
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.spec import Field, Spec
from scoundrel_ray.symmetry import Symmetries
from tests.learners.group_stand_ins import (
    LONG_S,
    PATIENCE_S,
    Asked,
    Endless,
    Given,
    Meeting,
    Plain,
    Together,
    member,
    rows_of,
    train,
)

SPEC = Spec("toy", (Field("place", 2, 0, 9),), 2, 1, 2)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless a test moves it; looks are short."""
    now = types.SimpleNamespace(s=0.0)
    monkeypatch.setattr(group_module, "time", types.SimpleNamespace(perf_counter=lambda: now.s))
    monkeypatch.setattr(group_module, "_LOOK_S", 0.001)
    return now


# The ends of stretches


def test_a_stretch_ends_at_its_steps_and_says_what_was_done(groups):
    learner, batches = Plain(), Endless(4)
    group = groups({"a": member(learner, batches)})
    for stretch in range(3):
        report = train(group, "a", 3)
        assert (report["steps"], report["version"], learner.version) == (3, 3 * stretch + 3, 3 * stretch + 3)
        # Losses are the numbers of steps; rows are of version 0, so that they lag by the learner's version.
        assert report["metrics"] == {"loss": 3 * stretch + 2, "rows": 3, "weights_lag": 3 * stretch + 1}
        assert 0 <= report["wait_s"] <= report["total_s"]
    assert [rows["number"][0] for rows in learner.learned] == [*range(1, 10)]
    assert group.members["a"].samples == 27 and set(batches.ahead) == {True}
    assert [(rows["number"][0], of is learner, version) for rows, of, version in batches.told] == [
        (number, True, number) for number in range(1, 10)
    ]


def test_a_stretch_ends_at_its_deadline(groups, clock):
    def second():
        clock.s += 1

    learner = Plain()
    group = groups({"a": member(learner, Endless(0, before=second))})
    assert train(group, "a", 100, 5.0)["steps"] == 5 == learner.version


def test_a_stretch_without_batches_ends_at_its_deadline(groups, clock):
    def second():
        clock.s += 1

    learner = Plain()
    group = groups({"a": member(learner, Given(rows_of(0, 1), before=second))})
    report = train(group, "a", 100, 7.0)
    assert report["steps"] == 1 and report["total_s"] == report["wait_s"] == 7.0
    report = train(group, "a", 100, 7.0)
    assert (report["steps"], report["version"], report["metrics"]) == (0, 1, {})


def test_the_soonest_deadline_is_waited_for(groups, monkeypatch):
    monkeypatch.setattr(group_module, "_LOOK_S", LONG_S)
    looked = threading.Event()
    group = groups({"a": member(Plain(), Given(before=looked.set)), "b": member(Plain(), Given())})
    Asked(group.train, "a", 1, LONG_S)
    assert looked.wait(PATIENCE_S)
    assert train(group, "b", 1, 0.01)["steps"] == 0


def test_waiting_is_all_but_the_steps(groups, clock):
    def moves(seconds):
        def move():
            clock.s += seconds

        return move

    group = groups({"a": member(Plain(within=moves(3)), Endless(0, before=moves(2)))})
    report = train(group, "a", 4)
    assert (report["total_s"], report["wait_s"]) == (20.0, 8.0)


def test_not_ahead_a_stretch_ends_where_there_is_no_batch(groups):
    batches = Given(rows_of(0, 1), rows_of(0, 2), None, rows_of(0, 3))
    group = groups({"a": member(Plain(), batches)})
    reports = [train(group, "a", 5, ahead=False) for _ in range(3)]
    assert [report["steps"] for report in reports] == [2, 1, 0]
    assert [report["metrics"].get("loss") for report in reports] == [1.5, 3.0, None]  # of two losses, and of one
    assert batches.ahead == [False] * 6


def test_what_was_learned_counts_where_a_replay_is_gone(groups):
    learner = Plain()
    batches = Given(rows_of(0, 1), rows_of(0, 2), BatchesGone("dead"), BatchesGone("dead"), rows_of(0, 3))
    group = groups({"a": member(learner, batches), "b": member(Plain(), Endless(1))})
    report = train(group, "a", 5)
    assert (report["steps"], report["version"]) == (2, 2) and group.weights("a")[0] == 2
    assert train(group, "a", 5)["steps"] == 0
    assert train(group, "b", 2)["steps"] == 2 and train(group, "a", 1)["version"] == 3


# Weights


def test_weights_are_those_of_the_stretchs_end_and_never_torn(groups):
    inside, go_on = threading.Event(), threading.Event()

    def within():
        inside.set()
        assert go_on.wait(PATIENCE_S)

    learner = Plain(within=within)
    group = groups({"a": member(learner, Endless(0)), "b": member(Plain(), Endless(1))})

    def handed():
        version, arrays = group.weights("a")
        assert set(arrays["w"].tolist()) == {version}
        return version

    assert handed() == 0
    go_on.set()
    train(group, "a", 2)
    first = group.weights("a")
    assert handed() == 2
    inside.clear(), go_on.clear()
    asked = Asked(group.train, "a", 3, LONG_S)
    assert inside.wait(PATIENCE_S)
    assert handed() == 2  # in the middle of a step
    go_on.set()
    assert asked.result()["version"] == 5 == handed()
    assert set(first[1]["w"].tolist()) == {2}  # what was handed out before stays as it is


def test_weights_are_whole_whoever_reads_them_meanwhile(groups):
    group = groups({"a": member(Plain(), Endless(0))})
    reports, met = Asked(lambda: [group.train("a", 2, LONG_S)["version"] for _ in range(200)]), set()
    while reports.is_alive():
        version, arrays = group.weights("a")
        assert set(arrays["w"].tolist()) == {version}
        met.add(version)
    assert reports.result() == [*range(2, 401, 2)] and met <= {*range(0, 401, 2)}


def test_a_state_is_not_taken_in_the_middle_of_a_step(groups):
    inside, go_on = threading.Event(), threading.Event()

    def within():
        inside.set()
        assert go_on.wait(PATIENCE_S)

    group = groups({"a": member(Plain(), Endless(0)), "b": member(Plain(within=within), Endless(1))})
    train(group, "a", 2)
    stepping = Asked(group.train, "b", 1, LONG_S)
    assert inside.wait(PATIENCE_S)
    state = Asked(group.state, "a")
    state.join(0.05)
    assert state.is_alive()
    go_on.set()
    assert state.result()["learner"]["version"] == 2 and stepping.result()["steps"] == 1


# Agents together


def test_a_stack_steps_two_or_more_that_have_batches_at_the_same_time(groups):
    """Of four looks: all three, the first and the last, the second alone, nobody."""
    meeting, learners = Meeting(3), [Plain() for _ in range(3)]
    scripts = [[1, 1, 0], [1, 0, 1], [1, 1, 0]]
    batches = [
        meeting.batches(owner, *(rows_of(owner, at) if there else None for at, there in enumerate(script)))
        for owner, script in enumerate(scripts)
    ]
    stack, names = Together(learners), "abc"
    members = {name: member(*each) for name, *each in zip(names, learners, batches, strict=True)}
    group = groups(members, [(names, stack)])
    meeting.group = group
    asked = [Asked(group.train, name, 2, LONG_S) for name in names]
    reports = [each.result() for each in asked]
    # The second has its second batch where the others have reached their ends, or with its second look.
    assert stack.met == [(0, 1, 2), (0, 2)]
    assert [report["metrics"]["together"] for report in reports] == [1.0, 0.5, 1.0]
    for owner, (learner, own) in enumerate(zip(learners, batches, strict=True)):
        assert learner.version == 2 and all((rows["owner"] == owner).all() for rows in learner.learned)
        assert [of is learner for _, of, _ in own.told] == [True] * 2
    assert [each.samples for each in group.members.values()] == [6] * 3


def test_one_agent_of_a_stack_is_stepped_by_itself(groups):
    learners = [Plain(), Plain()]
    stack = Together(learners)
    group = groups({n: member(each, Endless(o)) for o, (n, each) in enumerate(zip("ab", learners, strict=True))},
                   [("ab", stack)])  # fmt: skip
    assert train(group, "b", 3)["steps"] == 3 and stack.met == [] and learners[0].version == 0


@pytest.mark.parametrize("stacked", [False, True])
def test_a_loss_that_is_not_finite_ends_its_own_stretch_alone(groups, stacked):
    meeting = Meeting(2)
    learners = [Plain(fails={1: NonFiniteLoss("step 2: the loss is nan")}), Plain()]
    batches = [meeting.batches(owner, *(rows_of(owner, at) for at in range(9))) for owner in range(2)]
    stack = Together(learners)
    group = groups({n: member(*each) for n, *each in zip("ab", learners, batches, strict=True)},
                   [("ab", stack)] if stacked else [])  # fmt: skip
    meeting.group = group
    asked = [Asked(group.train, name, 4, LONG_S) for name in "ab"]
    with pytest.raises(NonFiniteLoss, match="step 2"):
        asked[0].result()
    report = asked[1].result()
    assert (report["steps"], learners[1].version) == (4, 4)
    assert stack.met == ([(0, 1), (0, 1)] if stacked else [])
    # What was learned before it is handed out; what failed is no sample and no step.
    assert group.weights("a")[0] == 1 and group.members["a"].samples == 3 and len(batches[0].told) == 1
    assert train(group, "a", 2)["version"] == 3


def test_many_threads_at_once(groups):
    """Every agent's rows reach its own learner; all steps are made by one thread, one after another."""
    stepping = threading.Lock()

    def alone():
        assert stepping.acquire(blocking=False)
        stepping.release()

    names = [f"agent_{number}" for number in range(6)]
    learners = {name: Plain(within=alone) for name in names}
    batches = {name: Endless(number) for number, name in enumerate(names)}
    stack = Together([learners[name] for name in names[:3]])
    group = groups({name: member(learners[name], batches[name]) for name in names}, [(names[:3], stack)])

    def stretches(name):
        return [group.train(name, 1 + k % 3, LONG_S)["steps"] for k in range(30)]

    asked = {name: Asked(stretches, name) for name in names}
    for number, name in enumerate(names):
        steps = sum(asked[name].result())
        assert steps == 60 == learners[name].version == group.weights(name)[0]
        assert [(row["owner"], row["number"]) for row, *_ in learners[name].learned] == [
            (number, at + 1) for at in range(60)
        ]
        assert group.members[name].samples == 180 and len(batches[name].told) == 60
        assert learners[name].threads == {"learners"}
    assert all(len(met) >= 2 for met in stack.met)


# Members


def test_weights_lag_is_in_versions_and_only_of_rows_that_have_one(groups):
    batches = Given(rows_of(0, 1, version=0), rows_of(0, 2, version=1), rows_of(0, 3, version=0))
    group = groups({"a": member(Plain(), batches)})
    assert [train(group, "a", 1)["metrics"]["weights_lag"] for _ in range(3)] == [0, 0, 2]
    group = groups({"a": member(Plain(), Given(rows_of(0, 1)[["owner"]]))})
    assert "weights_lag" not in train(group, "a", 1)["metrics"]


def test_samples_are_counted_as_the_replay_counts_them(groups):
    rows = np.zeros(2, fragment_dtype(SPEC, 4))
    rows["steps"] = [4, 2]
    group = groups({"a": member(Plain(), Given(rows_of(0, 1, count=5), rows))})
    train(group, "a", 2)
    assert group.members["a"].samples == 5 + 6


SWAP = Symmetries(np.array([[0, 1], [1, 0]]), np.array([[0, 1], [1, 0]]))


def decisions(count):
    rows = np.zeros(count, decision_dtype(SPEC))
    rows["observation"], rows["actions"] = [3, 7], [0, 1]
    return rows


def test_a_restored_member_goes_on_where_it_was(tmp_path):
    """Version, samples, weights that are handed out, and the guises that come next."""

    def fresh():
        return member(Plain(), Given(), SWAP)

    first = fresh()
    for _ in range(3):
        rows = first.seen(decisions(8))
        first.note(rows, first.learner.step(rows))
    saved = checkpoint.save(tmp_path, {"learner": first.state()})
    other = fresh()
    other.restore(checkpoint.load(saved)["learner"], 8)
    assert (other.samples, other.learner.version, other.handed[0]) == (24, 3, 3)
    assert set(other.handed[1]["w"].tolist()) == {3}
    wanted = first.seen(decisions(64))
    np.testing.assert_array_equal(other.seen(decisions(64)), wanted)
    met = wanted["observation"].tolist()
    assert [3, 7] in met and [7, 3] in met
    assert (wanted["actions"][:, 0] == (wanted["observation"][:, 0] == 7)).all()
    assert (fresh().seen(decisions(64)) != wanted).any()


def test_a_state_of_an_earlier_version_has_samples_of_whole_batches():
    first = member(Plain(), Given())
    for _ in range(5):
        first.learner.step(rows_of(0, 1))
    state = first.state()
    del state["samples"]
    other = member(Plain(), Given())
    other.restore(state, 32)
    assert other.samples == 160 and other.handed[0] == 5


def test_rows_without_symmetries_are_learned_from_as_they_are():
    rows = decisions(4)
    assert member(Plain(), Given()).seen(rows) is rows


def test_the_states_of_agents_are_their_own(groups):
    group = groups({name: member(Plain(), Endless(number)) for number, name in enumerate("ab")})
    train(group, "a", 2)
    train(group, "b", 5)
    assert [(group.state(name)["learner"]["version"], group.state(name)["samples"]) for name in "ab"] == [
        (2, 6),
        (5, 15),
    ]
