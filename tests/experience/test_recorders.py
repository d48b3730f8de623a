"""Recorders against a slow transcription, over scripted episodes of copies that are out of phase."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoundrel_ray.experience.recorders import _FIRST_ROWS, Fragments, Transitions
from scoundrel_ray.spec import Field, Spec
from scoundrel_ray.world import HERE, TERMINATED, TRUNCATED
from tests.experience.slow_rows import History, Step, assert_same_rows, cut, fragment_rows, transition_rows

ACTIONS, AGENTS, AGENT = 3, 2, 1  # arrays are those of the second of two agents
SPECS = {
    "int8": Spec("toy", (Field("numbers", 4, -100, 127),), ACTIONS, 1, ACTIONS),
    "uint8": Spec("toy", (Field("numbers", 4, 0, 255),), ACTIONS, 1, ACTIONS, dtype="uint8"),
    "float32": Spec("toy", (Field("numbers", 4, -np.inf, np.inf, "number"),), ACTIONS, 1, ACTIONS, dtype="float32"),
}

BEYOND = {"int8": -100, "uint8": 200, "float32": 0.1}  # what observations of other types cannot hold


class Script:
    """Drives a recorder as copies would, and keeps a history of every copy's episode. No observation comes twice."""

    def __init__(self, recorder, spec, copies, seed):
        self.recorder, self.spec, self.dice = recorder, spec, np.random.default_rng(seed)
        self.open, self.over = [History() for _ in range(copies)], []
        self.version, self._number = 0, 0
        self.observations = np.zeros((AGENTS, copies, 4), spec.dtype)
        self.masks = np.zeros((AGENTS, copies, ACTIONS), np.int8)
        self.rewards = np.zeros((AGENTS, copies), np.float32)
        self.ended = np.zeros((AGENTS, copies), np.int8)

    @property
    def histories(self):
        return [*self.over, *self.open]

    def show(self):
        """Fresh arrays for all copies, whether they are spoken of or not."""
        for seen in self.observations.reshape(-1, 4):
            self._number += 1
            seen[:] = [self._number // 8**place % 8 for place in (3, 2, 1, 0)]
            seen[0] += self._number // 8**4 * 8
            seen[1] += BEYOND[self.spec.dtype]
        self.masks[:] = self.dice.integers(0, 2, self.masks.shape)
        self.rewards[:] = self.dice.normal(size=self.rewards.shape)
        self.ended[:] = self.dice.integers(TERMINATED, TRUNCATED + 1, self.ended.shape)

    def act(self, copies):
        self.show()
        copies = np.array(copies, np.int64)
        actions = self.dice.integers(0, ACTIONS, len(copies)).astype(np.int16)
        logs = self.dice.normal(size=len(copies)).astype(np.float32)
        self.recorder.act(
            copies, self.rewards[AGENT], self.observations[AGENT], self.masks[AGENT], actions, logs, self.version
        )
        for copy, action, log in zip(copies, actions, logs, strict=True):
            self._bring(copy)
            seen, mask = self.observations[AGENT, copy].copy(), self.masks[AGENT, copy].copy()
            self.open[copy].steps.append(Step(seen, mask, action, log, self.version))

    def end(self, copies):
        self.show()
        self.recorder.end(np.array(copies, np.int64), self.rewards[AGENT], self.observations[AGENT], self.ended[AGENT])
        for copy in copies:
            self._bring(copy)
            self.open[copy].end = (self.ended[AGENT, copy], self.observations[AGENT, copy].copy())
            self._close(copy)

    def forget(self, copies):
        for copy in copies:
            self._close(copy)
        return self.recorder.forget(np.array(copies, np.int64))

    def _bring(self, copy):
        if self.open[copy].steps:
            self.open[copy].steps[-1].reward = self.rewards[AGENT, copy]

    def _close(self, copy):
        self.over.append(self.open[copy])
        self.open[copy] = History()

    def tick(self, quiet=0.2, end=0.2, forget=0.05, turn=0.2):
        """Every copy rests, acts, ends or is forgotten, by chance; now and then the version changes."""
        kinds = self.dice.choice(4, len(self.open), p=[quiet, 1 - quiet - end - forget, end, forget])
        self.version += int(self.dice.random() < turn)
        for kind, do in ((1, self.act), (2, self.end), (3, self.forget)):
            if (copies := self.dice.permutation(np.flatnonzero(kinds == kind)).tolist()) or self.dice.random() < 0.1:
                do(copies)

    def finish(self):
        self.end([*range(len(self.open))])


def steps_of(histories):
    return [step.observation.tobytes() for history in histories for step in history.steps]


seeds, many = st.integers(0, 2**32 - 1), settings(max_examples=60, deadline=None)


@many
@given(seeds, st.integers(1, 5), st.integers(1, 7), st.sampled_from([*SPECS]), st.sampled_from([1.0, 0.9, 0.5, 0.0]))
def test_transitions_equal_the_slow_ones_whenever_they_are_taken(seed, copies, n, dtype, discount):
    spec = SPECS[dtype]
    recorder = Transitions(spec, copies, n, discount)
    script, taken = Script(recorder, spec, copies, seed), []
    for _ in range(30):
        script.tick()
        if script.dice.random() < 0.3:
            taken.append(recorder.take())
            got = np.concatenate(taken)
            assert_same_rows(got, transition_rows(script.histories, n, discount, got.dtype))
    script.finish()
    got = np.concatenate([*taken, recorder.take()])
    assert_same_rows(got, transition_rows(script.histories, n, discount, got.dtype))
    assert len(recorder.take()) == 0


@many
@given(
    seeds, st.integers(1, 5), st.integers(1, 7), st.sampled_from([*SPECS]), st.sampled_from([0.0, 0.1, 0.6]),
    st.booleans(),
)  # fmt: skip
def test_fragments_equal_the_slow_ones_whenever_they_are_taken(seed, copies, length, dtype, turn, cuts):
    spec = SPECS[dtype]
    recorder = Fragments(spec, copies, length, cuts)
    script, taken = Script(recorder, spec, copies, seed), []
    for _ in range(30):
        script.tick(turn=turn)
        if script.dice.random() < 0.3:
            for history in script.open if cuts else ():
                cut(history, length)
            taken.append(recorder.take())
            got = np.concatenate(taken)
            assert_same_rows(got, fragment_rows(script.histories, length, got.dtype))
    script.finish()
    got = np.concatenate([*taken, recorder.take()])
    assert_same_rows(got, fragment_rows(script.histories, length, got.dtype))
    assert len(recorder.take()) == 0


@many
@given(seeds, st.integers(1, 6))
def test_every_step_is_the_first_of_one_transition_and_no_row_crosses_an_episode(seed, n):
    """Said again in words of its own: the transcription could share a mistake."""
    spec = SPECS["int8"]
    recorder = Transitions(spec, 3, n, 0.9)
    script = Script(recorder, spec, 3, seed)
    for _ in range(25):
        script.tick(forget=0.0)
    script.finish()
    rows, histories = recorder.take(), [history for history in script.over if history.steps]
    assert Counter(row.tobytes() for row in rows["observation"]) == Counter(steps_of(histories))
    places = {seen: (e, at) for e, h in enumerate(histories) for at, seen in enumerate(steps_of([h]))}
    for e, history in enumerate(histories):
        places[history.end[1].tobytes()] = (e, len(history.steps))
    for row in rows:
        (e, at), (later, after) = places[row["observation"].tobytes()], places[row["next_observation"].tobytes()]
        length = len(histories[e].steps)
        assert e == later and after == min(at + n, length)
        terminated = after == length and histories[e].end[0] == TERMINATED
        assert row["discount"] == (0 if terminated else pytest.approx(0.9 ** (after - at), rel=1e-6))


@many
@given(seeds, st.integers(1, 6), st.floats(0, 0.5))
def test_every_step_is_in_one_fragment_of_one_version(seed, length, turn):
    spec = SPECS["uint8"]
    recorder = Fragments(spec, 3, length)
    script = Script(recorder, spec, 3, seed)
    for _ in range(25):
        script.tick(forget=0.0, turn=turn)
    script.finish()
    rows = recorder.take()
    inside = [seen.tobytes() for row in rows for seen in row["observations"][: row["steps"]]]
    assert Counter(inside) == Counter(steps_of(script.over))
    for row in rows:
        steps = row["steps"]
        assert 1 <= steps <= length and len({*row["versions"][:steps].tolist()}) == 1
        for name in ("masks", "actions", "log_probabilities", "rewards", "versions"):
            assert not row[name][steps:].any(), name
        assert not row["observations"][steps + 1 :].any()
    ended = [history for history in script.over if history.steps]
    assert Counter(row["end"] for row in rows if row["end"] != HERE) == Counter(h.end[0] for h in ended)


def test_cut_fragments_leave_nothing_behind_but_the_last_step():
    spec = SPECS["int8"]
    recorder = Fragments(spec, 2, 9, cut=True)
    script = Script(recorder, spec, 2, 3)
    for _ in range(4):
        script.act([0])
    script.act([1])
    (row,) = recorder.take()
    steps = script.open[0].steps
    assert row["steps"] == 3 and row["end"] == HERE
    np.testing.assert_array_equal(row["observations"][:5], [*(step.observation for step in steps), np.zeros(4)])
    assert row["rewards"].tolist() == [*(step.reward for step in steps[:3]), *[0] * 6]
    assert len(recorder.take()) == 0 and script.forget([0, 1]) == 2


def seen(*numbers):
    """Observations [C, 4] of the second agent, the first entry of each copy's given."""
    arrays = np.full((AGENTS, len(numbers), 4), 77, np.int8)
    arrays[AGENT] = np.array(numbers)[:, None]
    return arrays[AGENT]


def played(recorder, ended, rewards=(1, 2, 4, 8)):
    """One copy: four steps that bring these rewards, then an end. Observations 10, 11, 12, 13, then 14."""
    one, mask = np.array([0]), np.array([[1, 0, 1]], np.int8)
    brought = [99.0, *rewards]  # what came before the first step belongs to none
    for at in range(4):
        action, log = np.array([at % 3], np.int16), np.array([-at], np.float32)
        recorder.act(one, np.array([brought[at]], np.float32), seen(10 + at), mask, action, log, 5 + at // 2)
    recorder.end(one, np.array([brought[4]], np.float32), seen(14), np.array([ended], np.int8))
    return recorder.take()


@pytest.mark.parametrize(("ended", "ends"), [(TERMINATED, [0, 0]), (TRUNCATED, [0.5, 0.25])])
def test_four_steps_as_transitions_over_two(ended, ends):
    rows = played(Transitions(SPECS["int8"], 1, 2, 0.5), ended)
    rows = rows[np.argsort(rows["observation"][:, 0])]
    assert rows["observation"][:, 3].tolist() == [10, 11, 12, 13]
    assert rows["action"].tolist() == [0, 1, 2, 0] and rows["version"].tolist() == [5, 5, 6, 6]
    assert rows["reward"].tolist() == [1 + 0.5 * 2, 2 + 0.5 * 4, 4 + 0.5 * 8, 8]
    assert rows["discount"].tolist() == [0.25, 0.25, ends[1], ends[0]]
    assert rows["next_observation"][:, 0].tolist() == [12, 13, 14, 14]
    assert rows["next_mask"].tolist() == [[1, 0, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize("ended", [TERMINATED, TRUNCATED])
def test_four_steps_as_fragments_of_three_are_cut_where_the_version_changes(ended):
    first, second = played(Fragments(SPECS["int8"], 1, 3), ended)
    assert first["observations"][:, 0].tolist() == [10, 11, 12, 0]
    assert second["observations"][:, 0].tolist() == [12, 13, 14, 0]
    assert (first["rewards"].tolist(), second["rewards"].tolist()) == ([1, 2, 0], [4, 8, 0])
    assert (first["versions"].tolist(), second["versions"].tolist()) == ([5, 5, 0], [6, 6, 0])
    assert (first["log_probabilities"].tolist(), second["actions"].tolist()) == ([0, -1, 0], [2, 0, 0])
    assert (first["steps"], first["end"], second["steps"], second["end"]) == (2, HERE, 2, ended)


@pytest.mark.parametrize("kind", [Transitions, Fragments])
def test_what_is_forgotten_is_counted_and_gives_no_row(kind):
    """After five steps in copy 0 and one in copy 1; four of a length are held at most, or an open fragment."""
    recorder = kind(SPECS["int8"], 3, 4, *([0.9] if kind is Transitions else []))
    script = Script(recorder, SPECS["int8"], 3, 0)
    for _ in range(5):
        script.act([0])
    script.act([1])
    assert len(recorder.take()) == 1
    assert script.forget([0, 2]) == (4 if kind is Transitions else 1)
    assert script.forget([0]) == 0 and script.forget([]) == 0
    script.act([0])
    script.end([0, 1, 2])
    rows = recorder.take()
    assert len(rows) == 2 and script.forget([0, 1, 2]) == 0
    assert not len({*steps_of(script.over[:1])} & {row.tobytes() for row in rows[rows.dtype.names[0]].reshape(-1, 4)})


@pytest.mark.parametrize("kind", [Transitions, Fragments])
def test_rows_beyond_any_room_are_kept_and_what_was_taken_stays_as_it_is(kind):
    spec, copies = SPECS["float32"], 300
    recorder = kind(spec, copies, 3, *([0.9] if kind is Transitions else []))
    script = Script(recorder, spec, copies, 1)

    def wanted():
        dtype = recorder.take().dtype
        if kind is Transitions:
            return transition_rows(script.histories, 3, 0.9, dtype)
        return fragment_rows(script.histories, 3, dtype)

    for _ in range(20):
        script.tick()
    script.finish()
    first = recorder.take()
    assert len(first) > 2 * _FIRST_ROWS or (kind is Fragments and len(first) > _FIRST_ROWS)
    assert_same_rows(first, wanted())
    kept, script.over = first.copy(), []
    for _ in range(8):
        script.tick()
    np.testing.assert_array_equal(first, kept)
    assert_same_rows(recorder.take(), wanted())


def test_an_end_of_many_copies_at_once_has_room():
    spec, copies = SPECS["int8"], _FIRST_ROWS // 6
    recorder = Transitions(spec, copies, 8, 0.9)
    script = Script(recorder, spec, copies, 2)
    for _ in range(8):
        script.act([*range(copies)])
    script.finish()
    rows = recorder.take()
    assert len(rows) == 8 * copies > _FIRST_ROWS
    assert_same_rows(rows, transition_rows(script.over, 8, 0.9, rows.dtype))
