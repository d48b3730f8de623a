"""Batches on their way from a replay to its learner: what is asked for ahead, and of which version replays are told."""

from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest
from ray.exceptions import RayActorError

from actors import batches
from actors.batches import OwnBatches, SentBatches
from actors.replay import ReplayActor, TableForm, Tables
from learners.group import BatchesGone
from scoundrel_ray.experience.rows import fragment_dtype, transition_dtype
from scoundrel_ray.spec import Field, Spec
from scoundrel_ray.streams import stream
from tests.conftest import small_world_member

SPEC = Spec("tiny", (Field("place", 2, 0, 4),), 3, 1, 3)
LENGTH = 4
FRAGMENTS, TRANSITIONS = fragment_dtype(SPEC, LENGTH), transition_dtype(SPEC)


def fragments(count, version):
    """Whole fragments of one version."""
    rows = np.zeros(count, FRAGMENTS)
    rows["steps"], rows["versions"] = LENGTH, version
    return rows


def tables(kind=Tables, **names):
    """Queues of fragments, and what tells of changes."""
    section = small_world_member("replay", "fragments", capacity=40)
    del section["place"]
    return kind({name: TableForm(section, FRAGMENTS, stream(0)) for name in names or ("a",)})


def test_a_queue_that_was_restored_behind_its_learner_takes_the_learners_rows_once_it_is_asked():
    """The checkpoint was written at version 3, the learner went on to 7: without its word all rows would be dropped."""
    old = tables()
    old._sample("a", 8, 3)
    old.insert("a", fragments(2, 3))
    state, new = old.replay_state("a"), tables()
    assert new.restore_replay("a", state, inserted=100, sampled=50)["rows"] == 8
    assert new._sample("a", 8, 7) is None  # those of version 3 are gone
    new.insert("a", fragments(2, 7))
    assert (new._sample("a", 8, 7)["versions"] == 7).all()
    told = new.replay_status("a")
    assert (told["inserted"], told["sampled"], told["rows"]) == (108, 58, 0)


def test_a_queue_gives_a_restored_learner_no_row_of_its_future():
    held = tables()
    held._sample("a", 8, 7)
    held.insert("a", fragments(2, 7))
    assert held._sample("a", 8, 3) is None
    assert held.insert("a", fragments(1, 7))["rows"] == 0
    assert held.insert("a", fragments(2, 3))["rows"] == 8
    assert (held._sample("a", 8, 3)["versions"] == 3).all()


def test_agents_queues_know_of_their_own_learner_alone():
    held = tables(a=1, b=1)
    held._sample("a", 8, 7)
    assert held.insert("b", fragments(2, 0))["rows"] == 8 and held.replay_status("a")["rows"] == 0


def test_a_replay_in_a_process_of_its_own_hears_the_version_with_every_question():
    plain = ReplayActor.__ray_metadata__.modified_class
    held = tables(plain)
    held.insert("a", fragments(2, 0))
    assert held.sample("a", 8, 7, 0.0) is None
    held.insert("a", fragments(2, 7))
    assert len(held.sample("a", 8, 7, 0.0)) == 2


class Remote:
    """In place of a replay's actor: questions, and the futures of their answers."""

    def __init__(self):
        self.asked, self.heard, self.answers = [], [], []
        self.sample = SimpleNamespace(remote=self._sample)
        self.stepped = SimpleNamespace(remote=lambda *told: self.heard.append(told))

    def _sample(self, *asked):
        self.asked.append(asked)
        self.answers.append(Future())
        return SimpleNamespace(future=lambda: self.answers[-1])


class Learner:
    def __init__(self):
        self.version, self.priorities = 4, None


@pytest.fixture
def waited(monkeypatch):
    """What was waited for, in place of Ray."""
    found = []
    monkeypatch.setattr(batches, "ray", SimpleNamespace(get=found.append))
    return found


def sent(remote, learner):
    return SentBatches(remote, "a", 8, lambda: learner.version, lambda: None)


@pytest.mark.parametrize(("rows", "ahead"), [(np.zeros(8, TRANSITIONS), True), (fragments(2, 4), False)])
def test_the_next_batch_is_asked_for_ahead_unless_the_step_may_make_it_too_old(waited, rows, ahead):
    remote, learner = Remote(), Learner()
    own = sent(remote, learner)
    assert own.take(True) is None and [asked[:3] for asked in remote.asked] == [("a", 8, 4)]
    remote.answers[0].set_result(rows)
    assert own.take(True) is rows
    assert len(remote.asked) == 1 + ahead
    learner.version = 5
    own.stepped(rows, learner)
    assert remote.heard == ([] if ahead else [("a", 5, None, None)])
    assert len(waited) == (not ahead)  # the replay has heard of it before weights are handed out
    own.take(True)
    assert [asked[:3] for asked in remote.asked] == [("a", 8, 4), ("a", 8, 4 if ahead else 5)]


def test_in_turn_a_batch_is_there_or_is_not(monkeypatch):
    remote, learner = Remote(), Learner()
    own = sent(remote, learner)
    monkeypatch.setattr(Future, "result", lambda _answer: None)  # it is there as soon as it is waited for
    assert own.take(False) is None and own.take(False) is None
    assert [asked[3] for asked in remote.asked] == [0.0, 0.0]


def test_a_dead_replay_is_told_apart_and_another_is_asked_afresh():
    dead, new, learner = Remote(), Remote(), Learner()
    own = sent(dead, learner)
    own.take(True)
    dead.answers[0].set_exception(RayActorError())
    with pytest.raises(BatchesGone):
        own.take(True)
    own.take(True)
    own.attach(new)
    assert own.take(True) is None and len(new.asked) == 1


def test_batches_of_a_replay_beside_the_learner_are_of_the_learners_version_now():
    learner, asked, told = Learner(), [], []
    own = OwnBatches(asked.append, lambda: learner.version, lambda *each: told.append(each))
    own.take(True)
    learner.version = 5
    own.take(False)
    assert asked == [4, 5]
    own.stepped(np.zeros(2, TRANSITIONS), learner)
    own.stepped(fragments(1, 4), learner)
    assert told == [(5, None, None)]
