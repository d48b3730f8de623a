"""A group of learners: stretches and their ends, whose rows go where, stacks, weights that are whole, and no hang."""

import threading
import types

import numpy as np
import pytest

from learners import group as group_module
from learners.group import BatchesGone, LearnerGroup, Member
from learners.learner import NonFiniteLoss
from scoundrel_ray.experience.rows import decision_dtype, fragment_dtype
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.spec import Field, Spec
from scoundrel_ray.streams import generator, stream
from scoundrel_ray.symmetry import Symmetries

LONG_S = 10_000.0  # of stretches that no clock ends
PATIENCE_S = 60.0  # after which a test says that somebody hangs
SPEC = Spec("toy", (Field("place", 2, 0, 9),), 2, 1, 2)
ROW = np.dtype([("owner", np.int32), ("number", np.int32), ("version", np.int32)])


def rows_of(owner, number, version=0, count=3):
    rows = np.zeros(count, ROW)
    rows["owner"], rows["number"], rows["version"] = owner, number, version
    return rows


class Given:
    """Batches as they are scripted: rows, None for none yet, an exception; at the script's end, none.

    `before` is called before every look, in the learners' thread.
    """

    def __init__(self, *script, before=lambda: None):
        self.script, self.before = list(script), before
        self.ahead, self.told = [], []

    def take(self, ahead):
        self.ahead.append(ahead)
        self.before()
        answer = self.script.pop(0) if self.script else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stepped(self, rows, learner):
        self.told.append((rows, learner, learner.version))


class Endless(Given):
    """Always has a batch, numbered, of its owner."""

    def __init__(self, owner, before=lambda: None):
        super().__init__(before=before)
        self.owner, self.number = owner, 0

    def take(self, ahead):
        super().take(ahead)
        self.number += 1
        return rows_of(self.owner, self.number)


class Plain:
    """A learner whose weights are its version, many times over; a step writes one half after the other.

    Args:
        fails: version at which a step fails -> the error.
        within: called in the middle of every step.
    """

    def __init__(self, fails=None, within=lambda: None):
        self.fails, self.within = dict(fails or {}), within
        self.version, self.learned, self.threads = 0, [], set()
        self._weights = np.zeros(64)

    def step(self, rows):
        self.threads.add(threading.current_thread().name)
        if self.version in self.fails:
            raise self.fails.pop(self.version)
        self._weights[:32] += 1
        self.within()
        self._weights[32:] += 1
        self.version += 1
        self.learned.append(rows)
        return {"loss": float(len(self.learned)), "rows": len(rows)}

    def weights(self):
        return {"w": self._weights.copy()}

    def state(self):
        return {"version": self.version, "weights": self._weights.copy()}

    def restore(self, state):
        self.version, self._weights = int(state["version"]), np.array(state["weights"])


class Together:
    """A stack of plain learners; `met` are the members with rows of every step."""

    def __init__(self, learners):
        self.learners, self.met = learners, []

    def step(self, rows):
        self.met.append(tuple(number for number, own in enumerate(rows) if own is not None))
        results = []
        for learner, own in zip(self.learners, rows, strict=True):
            try:
                results.append(None if own is None else learner.step(own) | {"together": 1.0})
            except NonFiniteLoss as error:
                results.append(error)
        return results


class Meeting:
    """Batches of several agents that come only when all of them are asked for; then they come at the same looks."""

    def __init__(self, count):
        self.count, self.here, self.group = count, set(), None

    def batches(self, owner, *script):
        given = Given(*script)
        take = given.take

        def taken(ahead):
            self.here.add(owner)
            if len(self.here) < self.count:
                return None
            if self.group is not None:  # the last one has come: look again, for all of them
                group, self.group = self.group, None
                group.wake()
                return None
            return take(ahead)

        given.take = taken
        return given


def member(learner, batches, symmetries=None):
    return Member(learner, batches, symmetries, generator(stream(0)))


class Asked(threading.Thread):
    """A call in a thread of its own; nobody is waited for longer than patience."""

    def __init__(self, call, *arguments, **named):
        super().__init__(daemon=True)
        self._call, self._given, self._error = call, (arguments, named), None
        self.start()

    def run(self):
        arguments, named = self._given
        try:
            self._result = self._call(*arguments, **named)
        except Exception as error:
            self._error = error

    def result(self):
        self.join(PATIENCE_S)
        assert not self.is_alive(), "hangs"
        if self._error is not None:
            raise self._error
        return self._result


@pytest.fixture
def groups():
    made = []

    def make(members, stacks=()):
        made.append(LearnerGroup(members, stacks))
        return made[-1]

    yield make
    for each in made:
        Asked(each.close).result()


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless a test moves it; looks are short."""
    now = types.SimpleNamespace(s=0.0)
    monkeypatch.setattr(group_module, "time", types.SimpleNamespace(perf_counter=lambda: now.s))
    monkeypatch.setattr(group_module, "_LOOK_S", 0.001)
    return now


def train(group, agent, steps=3, seconds=LONG_S, **named):
    return Asked(group.train, agent, steps, seconds, **named).result()


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


# Nobody hangs


def test_a_wake_between_a_look_and_the_wait_is_not_lost(groups, monkeypatch):
    monkeypatch.setattr(group_module, "_LOOK_S", LONG_S)
    made = []
    looks = Given(None, None, rows_of(0, 1), before=lambda: len(looks.ahead) < 3 and made[0].wake())
    made.append(groups({"a": member(Plain(), looks)}))
    assert train(made[0], "a", 1)["steps"] == 1


def test_a_wake_ends_a_wait(groups, monkeypatch):
    monkeypatch.setattr(group_module, "_LOOK_S", LONG_S)
    looked = threading.Event()
    batches = Given(None, before=looked.set)
    group = groups({"a": member(Plain(), batches)})
    asked = Asked(group.train, "a", 1, LONG_S)
    assert looked.wait(PATIENCE_S)
    batches.script = [*batches.script, rows_of(0, 1)]
    group.wake()
    assert asked.result()["steps"] == 1


def test_an_agent_that_waits_for_batches_holds_nobody_up(groups, monkeypatch):
    monkeypatch.setattr(group_module, "_LOOK_S", LONG_S)
    looked = threading.Event()
    group = groups({"a": member(Plain(), Given(before=looked.set)), "b": member(Plain(), Endless(1))})
    waiting = Asked(group.train, "a", 1, LONG_S)
    assert looked.wait(PATIENCE_S)
    assert train(group, "b", 3)["steps"] == 3 and waiting.is_alive()
    Asked(group.close).result()
    with pytest.raises(RuntimeError, match="ending"):
        waiting.result()


def test_close_ends_open_stretches_and_later_ones_with_an_error(groups):
    looked = threading.Event()
    group = groups({"a": member(Plain(), Given(rows_of(0, 1), before=looked.set)), "b": member(Plain(), Endless(1))})
    asked = Asked(group.train, "a", 5, LONG_S)
    assert looked.wait(PATIENCE_S)
    Asked(group.close).result()
    for each in (asked, Asked(group.train, "b", 1, LONG_S)):
        with pytest.raises(RuntimeError, match=r"^the learners' process is ending$"):
            each.result()
    Asked(group.close).result()
    assert not group._thread.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("where", ["step", "take", "weights"])
def test_whatever_ends_the_thread_is_told_to_all_who_wait_and_to_those_who_ask_later(groups, where, monkeypatch):
    monkeypatch.setattr(group_module, "_LOOK_S", LONG_S)
    looked, learner, batches = threading.Event(), Plain(), Endless(1)
    broken = ValueError("broken")
    if where == "step":
        learner.fails = {1: broken}
    elif where == "take":
        batches = Given(rows_of(0, 1), broken)
    group = groups({"a": member(Plain(), Given(before=looked.set)), "b": member(learner, batches)})
    if where == "weights":

        def weights():
            raise broken

        learner.weights = weights
    waiting = Asked(group.train, "a", 1, LONG_S)
    assert looked.wait(PATIENCE_S)
    with pytest.raises(ValueError, match="broken"):
        Asked(group.train, "b", 3, LONG_S).result()
    for each in (waiting, *(Asked(group.train, name, 1, LONG_S) for name in "ab")):
        with pytest.raises(ValueError, match="broken"):
            each.result()


def test_two_stretches_of_one_agent_at_once_are_refused(groups):
    looked = threading.Event()
    batches = Given(before=looked.set)
    group = groups({"a": member(Plain(), batches)})
    first = Asked(group.train, "a", 1, LONG_S)
    assert looked.wait(PATIENCE_S)
    with pytest.raises(RuntimeError, match=r"^learner of a: asked for a stretch while one is under way$"):
        train(group, "a", 1)
    batches.script = [rows_of(0, 1)]
    group.wake()
    assert first.result()["steps"] == 1


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
