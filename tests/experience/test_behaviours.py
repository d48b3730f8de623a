"""How agents act: which actions are drawn how often, what log-probabilities say, and what is never done."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scoundrel_ray.evaluator import Evaluation
from scoundrel_ray.experience.behaviours import Behaviour, EpsilonGreedy, NoAction, Sampled, greedy
from scoundrel_ray.experience.recorders import Fragments, Transitions
from scoundrel_ray.experience.rows import fragment_dtype, transition_dtype
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidSetting
from scoundrel_ray.spec import Field, Head, Spec
from scoundrel_ray.streams import stream

SPEC = Spec("toy", (Field("place", 2, 0, 9),), 5, 1, 5)
DRAWS = 40_000
MASK = [1, 0, 1, 1, 0]


def answer(preferences):
    """An evaluation whose other heads prefer the opposite."""
    values = np.ascontiguousarray(preferences, np.float32)
    return Evaluation((values, -values), 3)


def repeated(row, count=DRAWS):
    return answer(np.repeat([row], count, axis=0))


def masks_of(row, count=DRAWS):
    return np.repeat(np.array([row], np.int8), count, axis=0)


def assert_drawn(actions, chances):
    """Chi-square of these chances; exceeded by about one seed in 10,000. What has none was never drawn."""
    chances = np.array(chances, float)
    counts, possible = np.bincount(actions, minlength=len(chances)), chances > 0
    assert not counts[~possible].any()
    expected, freedom = len(actions) * chances[possible], possible.sum() - 1
    assert ((counts[possible] - expected) ** 2 / expected).sum() < freedom + 4 * np.sqrt(2 * freedom) + 8


def log_softmax(logits, mask):
    """In float64: [k, A]; -inf where the mask forbids."""
    logits = np.where(mask != 0, logits.astype(np.float64), -np.inf)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


preferences = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 8), st.integers(1, 7)),
    elements=st.one_of(st.floats(-3, 3, width=32), st.sampled_from([0.0, 1.0, -1e30, 1e30, 3e38, -3e38])),
)


@st.composite
def asked(draw):
    """Preferences [k, A], and masks that allow something in each row."""
    values = draw(preferences)
    masks = draw(arrays.arrays(np.int8, values.shape, elements=st.integers(0, 1)))
    for mask in masks:
        mask[draw(st.integers(0, len(mask) - 1))] = 1
    return values, masks


# What a section makes


def test_the_members_that_learners_name():
    values = build("behaviour", {"_target_": f"{EpsilonGreedy.__module__}.EpsilonGreedy", "n_steps": 2}, Behaviour)
    drawn = build("behaviour", {"_target_": f"{Sampled.__module__}.Sampled", "length": 7}, Behaviour)
    assert values.heads(SPEC) == (Head("values", (5,)),)
    assert drawn.heads(SPEC) == (Head("logits", (5,)), Head("value", (1,)))
    assert (values.rows(SPEC), drawn.rows(SPEC)) == (transition_dtype(SPEC), fragment_dtype(SPEC, 7))
    assert isinstance(values.recorder(SPEC, 3), Transitions) and isinstance(drawn.recorder(SPEC, 3), Fragments)
    for behaviour in (values, drawn):
        assert behaviour.recorder(SPEC, 3).take().dtype == behaviour.rows(SPEC)


def test_the_recorders_are_of_the_settings():
    """Two steps that bring 1 and 1, and a third one."""
    one, mask = np.array([0]), np.ones((1, 5), np.int8)
    for n_steps, discount, wanted in ((2, 0.5, [(1.5, 0.25)]), (1, 0.5, [(1, 0.5)] * 2), (3, 0.5, [])):
        recorder = EpsilonGreedy(n_steps=n_steps, discount=discount).recorder(SPEC, 1)
        for _ in range(3):
            recorder.act(one, np.ones(1, np.float32), np.zeros((1, 2), np.int8), mask, np.zeros(1, np.int16),
                         np.zeros(1, np.float32), 0)  # fmt: skip
        rows = recorder.take()
        assert [(row["reward"], row["discount"]) for row in rows] == wanted
    assert Sampled(length=2).recorder(SPEC, 1).take()["actions"].shape == (0, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_steps": 0}, r"^n_steps: got 0, wanted"),
        ({"discount": 1.5}, r"^discount: got 1.5, wanted"),
        ({"start": -0.1}, r"^start: got -0.1, wanted"),
        ({"end": 1.1}, r"^end: got 1.1, wanted"),
        ({"steps": 0}, r"^steps: got 0, wanted"),
    ],
)
def test_settings_are_checked(wrong, message):
    with pytest.raises(InvalidSetting, match=message):
        EpsilonGreedy(**wrong)
    with pytest.raises(InvalidSetting, match=r"^length: got 0, wanted"):
        Sampled(length=0)


# The highest value, and now and then another


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        (1.0, 0.1, {0: 1.0, 1: 0.991, 50: 0.55, 100: 0.1, 101: 0.1, 10**12: 0.1}),
        (0.2, 0.6, {0: 0.2, 25: 0.3, 900: 0.6}),
    ],
)
def test_epsilon_falls_or_rises_on_a_line_and_then_stays(start, end, wanted):
    behaviour = EpsilonGreedy(start=start, end=end, steps=100)
    assert {steps: behaviour.epsilon(steps) for steps in wanted} == pytest.approx(wanted)


@pytest.mark.parametrize(("steps", "epsilon"), [(0, 0.8), (500, 0.5), (1000, 0.2), (5000, 0.2)])
def test_drawn_actions_are_as_many_as_epsilon_says_and_uniform_over_the_allowed(steps, epsilon):
    behaviour = EpsilonGreedy(start=0.8, end=0.2, steps=1000)
    evaluation = repeated([0.5, 9.0, 0.25, 1.0, 8.0])  # the best two are forbidden
    actions, logs = behaviour.choose(evaluation, masks_of(MASK), stream(1), steps)
    assert actions.dtype == np.int16 and logs.dtype == np.float32 and not logs.any()
    assert_drawn(actions, np.array([1, 0, 1, 1, 0]) * epsilon / 3 + np.array([0, 0, 0, 1, 0]) * (1 - epsilon))


def test_each_row_is_drawn_for_by_itself():
    """Chances of pairs of neighbours are products."""
    actions, _ = EpsilonGreedy(start=1.0).choose(repeated([0.0] * 5), masks_of(MASK), stream(2), 0)
    pairs = actions[::2] * 5 + actions[1::2]
    assert_drawn(pairs, np.outer(MASK, MASK).ravel() / 9)


def test_without_epsilon_nothing_is_drawn():
    rng = stream(3)
    behaviour = EpsilonGreedy(start=0.0, end=0.0)
    actions, _ = behaviour.choose(repeated([1.0, 2.0, 3.0, 0.0, 9.0], 50), masks_of(MASK, 50), rng, 10)
    assert (actions == 2).all()
    np.testing.assert_array_equal(rng, stream(3))


@settings(deadline=None)
@given(asked())
def test_the_first_of_the_highest_allowed_is_preferred(drawn):
    values, masks = drawn
    wanted = [
        max((a for a in range(values.shape[1]) if mask[a]), key=lambda a, row=row: row[a])
        for row, mask in zip(values, masks, strict=True)
    ]
    actions = greedy(answer(values), masks)
    assert actions.dtype == np.int16 and actions.tolist() == wanted
    assert EpsilonGreedy(start=0.0, end=0.0).choose(answer(values), masks, stream(0), 5)[0].tolist() == wanted


def test_ties_go_to_the_first_allowed():
    values = [[1, 1, 1, 1, 1], [0, 2, 2, 2, 1], [-5, -5, -7, -5, -7], [0.0, -0.0, 0.0, -0.0, 0.0]]
    masks = np.array([[0, 0, 1, 1, 1], [1, 0, 1, 1, 1], [0, 0, 1, 0, 1], [0, 1, 1, 1, 1]], np.int8)
    assert greedy(answer(values), masks).tolist() == [2, 2, 2, 1]


# Drawn from a softmax


@pytest.mark.parametrize(
    "logits",
    [[0, 0, 0, 0, 0], [1, 5, 0, -1, 9], [-2, 0, 2, 1.5, 0], [1e3, 9, 1e3 + 1, 1e3 - 2, 1e9], [-3e4, 0, -3e4, -3e4, 0]],
    ids=str,
)
def test_frequencies_equal_the_softmax_over_the_allowed(logits):
    evaluation = repeated(logits)
    actions, logs = Sampled().choose(evaluation, masks_of(MASK), stream(5), 0)
    assert actions.dtype == np.int16 and logs.dtype == np.float32
    wanted = log_softmax(evaluation.outputs[0][:1], np.array([MASK]))[0]
    assert_drawn(actions, np.exp(wanted))
    np.testing.assert_allclose(logs, wanted[actions], rtol=1e-6, atol=1e-7)


def test_whoever_samples_draws_for_each_row_by_itself():
    actions, _ = Sampled().choose(repeated([0.0, 1, 0.5, -0.5, 0]), masks_of(MASK), stream(6), 0)
    chances = np.exp(log_softmax(np.array([[0.0, 1, 0.5, -0.5, 0]]), np.array([MASK])))[0]
    assert_drawn(actions[::2] * 5 + actions[1::2], np.outer(chances, chances).ravel())


def test_rows_of_other_logits_and_masks_are_not_mixed():
    logits = np.array([[0, 0, 50, 0, 0], [0, 50, 0, 0, 0], [0, 0, 50, 0, 50]], np.float32)
    masks = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1]], np.int8)
    actions, logs = Sampled().choose(answer(np.tile(logits, (200, 1))), np.tile(masks, (200, 1)), stream(7), 0)
    assert (actions.reshape(200, 3) == [2, 1, 4]).all() and abs(logs).max() < 1e-6


@settings(deadline=None)
@given(asked(), st.integers(0, 1000))
def test_log_probabilities_equal_those_in_float64_however_extreme_the_logits(drawn, seed):
    logits, masks = drawn
    actions, logs = Sampled().choose(answer(logits), masks, stream(seed), 0)
    rows = np.arange(len(logits))
    assert masks[rows, actions].all()
    wanted = log_softmax(logits, masks)[rows, actions]
    assert np.isfinite(logs).all() and (logs <= 0).all() and not (wanted < -40).any()
    np.testing.assert_allclose(logs, wanted, rtol=1e-6, atol=1e-7)


def test_the_log_probability_of_what_is_hardly_ever_drawn():
    """Few of many draws have a chance of e^-8; theirs is told, too."""
    evaluation = repeated([8.0, 0.0])
    actions, logs = Sampled().choose(evaluation, np.ones((DRAWS, 2), np.int8), stream(8), 0)
    assert 2 < (actions == 1).sum() < 40
    assert logs[actions == 1] == pytest.approx(-8 - np.log1p(np.exp(-8)), rel=1e-6)
    assert logs[actions == 0] == pytest.approx(-np.log1p(np.exp(-8)), rel=1e-5)


# Both


@pytest.mark.parametrize("behaviour", [EpsilonGreedy(start=0.5), Sampled()], ids=["values", "sampled"])
def test_a_stream_alone_decides_and_goes_on(behaviour):
    evaluation, masks, rng = repeated([0.1, 0.2, 0.3, 0.2, 0.1], 100), masks_of(MASK, 100), stream(9)
    first, second = behaviour.choose(evaluation, masks, rng, 0), behaviour.choose(evaluation, masks, rng, 0)
    again = stream(9)
    for wanted in (first, second):
        for got, each in zip(behaviour.choose(evaluation, masks, again, 0), wanted, strict=True):
            np.testing.assert_array_equal(got, each)
    assert (first[0] != second[0]).any()
    assert (behaviour.choose(evaluation, masks, stream(10), 0)[0] != first[0]).any()


@pytest.mark.parametrize("behaviour", [EpsilonGreedy(start=0.0, end=0.0), EpsilonGreedy(), Sampled()], ids=str)
def test_a_mask_that_allows_nothing_is_named_by_its_row(behaviour):
    masks = masks_of(MASK, 4)
    masks[2] = 0
    with pytest.raises(NoAction, match=r"^row 2: its mask allows no action$"):
        behaviour.choose(repeated([0.0] * 5, 4), masks, stream(0), 0)
    with pytest.raises(NoAction, match=r"^row 2: "):
        greedy(repeated([0.0] * 5, 4), masks)


@pytest.mark.parametrize("behaviour", [EpsilonGreedy(), Sampled()], ids=["values", "sampled"])
def test_no_rows_are_no_trouble(behaviour):
    actions, logs = behaviour.choose(answer(np.zeros((0, 5))), np.zeros((0, 5), np.int8), stream(0), 0)
    assert len(actions) == len(logs) == len(greedy(answer(np.zeros((0, 5))), np.zeros((0, 5), np.int8))) == 0
