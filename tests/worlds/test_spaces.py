"""Spaces as fields and actions: every kind of leaf, what no spec can hold, and rows beside a slow flattening."""

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from hypothesis import given, settings
from hypothesis import strategies as st

from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import Field, Spec
from scoundrel_ray.worlds.spaces import Actions, BadAnswer, Encoding


def written(space, observation):
    encoding = Encoding(space)
    out = np.full((1, encoding.size), 77, encoding.dtype)
    encoding.write(observation, out)
    return out[0].tolist()


def fields(space):
    encoding = Encoding(space)
    Spec("any", encoding.fields, 1, 1, 1, encoding.dtype)  # which checks the ranges
    return encoding.dtype, encoding.fields


def test_whole_numbers_stay_small_integers():
    assert fields(spaces.Discrete(5)) == ("int8", (Field("observation", 1, 0, 4),))
    assert fields(spaces.Discrete(5, start=-3)) == ("int8", (Field("observation", 1, -3, 1),))
    assert fields(spaces.Discrete(1)) == ("int8", (Field("observation", 1, 0, 1),))
    assert fields(spaces.Discrete(1, start=127)) == ("int8", (Field("observation", 1, 126, 127),))
    assert fields(spaces.Discrete(200)) == ("uint8", (Field("observation", 1, 0, 199),))
    assert fields(spaces.MultiBinary((2, 3))) == ("int8", (Field("observation", 6, 0, 1),))
    assert fields(spaces.Box(0, 255, (4, 4, 3), np.uint8)) == ("uint8", (Field("observation", 48, 0, 255, "number"),))
    assert fields(spaces.Box(-7, 100, (2,), np.int64)) == ("int8", (Field("observation", 2, -7, 100, "number"),))
    assert fields(spaces.Box(0, 1, (2,), bool)) == ("int8", (Field("observation", 2, 0, 1, "number"),))


def test_the_rest_is_float32():
    infinity = np.inf
    box = spaces.Box(np.array([-1, -1, -infinity, 0]), np.array([1, 1, infinity, 3]), dtype=np.float64)
    assert fields(box) == (
        "float32",
        (
            Field("observation[0:2]", 2, -1, 1, "number"), Field("observation[2]", 1, -infinity, infinity, "number"),
            Field("observation[3]", 1, 0, 3, "number"),
        ),
    )  # fmt: skip
    wide = Field("observation", 2, -infinity, infinity, "number")
    assert fields(spaces.Box(-(2**40), 2**40, (2,), np.int64)) == ("float32", (wide,))
    assert fields(spaces.Box(0, 2**64 - 1, (2,), np.uint64))[1] == (Field("observation", 2, 0, infinity, "number"),)
    assert fields(spaces.Box(np.full(2, -3e38, np.float32), np.full(2, 3e38, np.float32)))[1] == (wide,)
    assert fields(spaces.Discrete(300)) == ("float32", (Field("observation", 300, 0, 1, "number"),))
    many = spaces.Box(np.zeros(100, np.float32), np.arange(1, 101, dtype=np.float32))
    assert fields(many)[1] == (Field("observation", 100, 0, 100, "number"),)
    mixed = spaces.Tuple((spaces.Box(-1, 0, (1,), np.int16), spaces.Box(0, 255, (1,), np.uint8)))
    assert [field.name for field in fields(mixed)[1]] == ["0", "1"] and fields(mixed)[0] == "float32"


def test_leaves_are_flattened_in_order_and_named_by_their_path():
    space = spaces.Dict(
        {"b": spaces.Tuple((spaces.Discrete(3, start=1), spaces.MultiBinary(2))), "a": spaces.MultiDiscrete([2, 4])}
    )
    assert fields(space) == (
        "int8",
        (Field("a[0]", 1, 0, 1), Field("a[1]", 1, 0, 3), Field("b.0", 1, 1, 3), Field("b.1", 2, 0, 1)),
    )
    assert written(space, {"a": np.array([1, 3]), "b": (2, [0, 1])}) == [1, 3, 2, 0, 1]


def test_categories_beside_floats_are_one_hot():
    space = spaces.Tuple(
        (spaces.Box(-2, 2, (1,)), spaces.Discrete(3, start=-1), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2))
    )
    assert [(field.name, field.size) for field in fields(space)[1]] == [("0", 1), ("1", 3), ("2", 5), ("3", 2)]
    assert written(space, (np.array([0.5]), 1, np.array([1, 0]), np.array([1, 0], np.int8))) == (
        [0.5, *[0, 0, 1], *[0, 1, 1, 0, 0], *[1, 0]]
    )


LEAVES = st.one_of(
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 6), st.integers(-3, 3)),
    st.builds(spaces.MultiDiscrete, st.lists(st.integers(1, 4), min_size=1, max_size=3)),
    st.builds(spaces.MultiBinary, st.integers(1, 3)),
    st.builds(lambda n: spaces.Box(-1.5, 2.5, (n, 2)), st.integers(1, 2)),
    st.builds(lambda n: spaces.Box(-5, 9, (n,), np.int16), st.integers(1, 2)),
)
SPACES = st.recursive(
    LEAVES,
    lambda inside: st.one_of(
        st.lists(inside, min_size=1, max_size=3).map(spaces.Tuple),
        st.dictionaries(st.sampled_from("abc"), inside, min_size=1).map(spaces.Dict),
    ),
    max_leaves=4,
)


def flat(space, value, one_hot):
    """A slow flattening, by words of the documentation alone."""
    if isinstance(space, spaces.Dict):
        return [x for key in space.spaces for x in flat(space[key], value[key], one_hot)]
    if isinstance(space, spaces.Tuple):
        return [x for part, each in zip(space.spaces, value, strict=True) for x in flat(part, each, one_hot)]
    if not one_hot or isinstance(space, spaces.Box | spaces.MultiBinary):
        return np.ravel(value).tolist()
    sizes = [space.n] if isinstance(space, spaces.Discrete) else space.nvec
    if not isinstance(space, spaces.Discrete) and (space.nvec == 2).all():
        return np.ravel(value).tolist()
    if isinstance(space, spaces.Discrete) and (space.n, space.start) == (2, 0):
        return [int(value)]
    values = np.ravel(value - space.start)
    return [float(v == k) for v, n in zip(values, sizes, strict=True) for k in range(n)]


@settings(max_examples=150, deadline=None)
@given(space=SPACES, seed=st.integers(0, 2**16))
def test_rows_are_those_of_a_slow_flattening_one_by_one_and_in_batches(space, seed):
    encoding = Encoding(space)
    space.seed(seed)
    values = [space.sample() for _ in range(3)]
    rows = [flat(space, value, encoding.dtype == "float32") for value in values]
    for value, row in zip(values, rows, strict=True):
        assert written(space, value) == row and len(row) == encoding.size
    batch = batch_space(space, 3)
    batch.seed(seed)
    together, out = batch.sample(), np.empty((2, encoding.size), encoding.dtype)
    encoding.write(together, out, np.array([2, 0]))
    for row, copy in zip(out, (2, 0), strict=True):
        assert row.tolist() == flat(space, _of_batch(space, together, copy), encoding.dtype == "float32")


def _of_batch(space, batch, copy):
    if isinstance(space, spaces.Dict):
        return {key: _of_batch(space[key], batch[key], copy) for key in space.spaces}
    if isinstance(space, spaces.Tuple):
        return tuple(_of_batch(part, each, copy) for part, each in zip(space.spaces, batch, strict=True))
    return batch[copy]


@pytest.mark.parametrize(
    ("space", "observation", "said"),
    [
        (spaces.Discrete(3), 3, "'observation' holds 3, wanted 0 to 2"),
        (spaces.Discrete(3), 1.0, "'observation' is float64, wanted whole numbers"),
        (spaces.Box(0, 300, (2,), np.int64), np.array([4, 301]), "'observation' holds 301, wanted 0 to 300"),
        (spaces.Box(0, 255, (1,), np.uint8), np.array([256]), "'observation' holds 256, wanted 0 to 255"),
        (spaces.Box(0, 9, (2,), np.uint8), np.array([[1, 2]]), r"'observation' has shape \[1, 2\], wanted \[2\]"),
        (spaces.Box(0, 1, (2,)), [[1], [2, 3]], "'observation' is no array"),
        (spaces.Dict({"a": spaces.Box(0, 1, (2,)), "b": spaces.Box(0, 1, (2,))}),
         {"a": np.zeros(2), "b": np.array([0, np.nan])}, "'b' holds nan, wanted finite numbers"),
        (spaces.Dict({"a": spaces.Discrete(3)}), {"b": 1}, "without 'a'"),
        (spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 1, (1,)))), (3, np.zeros(1)), "'0' holds 3, wanted 0 to 2"),
    ],
)  # fmt: skip
def test_an_observation_that_cannot_be_used_is_named(space, observation, said):
    with pytest.raises(BadAnswer, match=said):
        written(space, observation)


def test_in_a_batch_the_row_is_known():
    encoding = Encoding(spaces.Box(0, 9, (2,)))
    batch = np.zeros((4, 2))
    batch[2, 1] = np.inf
    with pytest.raises(BadAnswer, match="holds inf") as caught:
        encoding.write(batch, np.empty((3, 2), np.float32), np.array([1, 2, 3]))
    assert caught.value.row == 1
    encoding.write(batch, np.empty((2, 2), np.float32), np.array([1, 3]))


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (spaces.Text(4), "^Text.* at the top, wanted Box, Discrete, MultiDiscrete, MultiBinary"),
        (spaces.Dict({"a": spaces.Sequence(spaces.Discrete(2))}), "^Sequence.* at a, wanted"),
        (spaces.Graph(spaces.Discrete(2), None), "^Graph"),
        (spaces.Discrete(5000), "observation: 5000 categories"),
        (spaces.Dict({"action_mask": spaces.MultiBinary(2)}), "wanted an observation beside the mask"),
        (spaces.Box(0, 1, (0,)), "wanted at least one entry"),
    ],
)
def test_a_space_that_no_spec_can_hold_is_named(space, said):
    with pytest.raises(InvalidConfig, match=said):
        Encoding(space)


def test_masks_are_found_in_the_observation_or_in_its_info():
    inside = spaces.Dict({"observation": spaces.Discrete(3), "action_mask": spaces.MultiBinary(2)})
    beside = spaces.Dict({"place": spaces.Discrete(3), "action_mask": spaces.MultiBinary(2)})
    for space, name in ((inside, "observation"), (beside, "place")):
        assert fields(space)[1] == (Field(name, 1, 0, 2),)
        observation = {name: 2, "action_mask": "this"}
        assert written(space, observation) == [2]
        assert Encoding(space).mask(observation, {"action_mask": "other"}) == "this"
    assert Encoding(spaces.Discrete(3)).mask(1, {"action_mask": "other"}) == "other"
    assert Encoding(spaces.Discrete(3)).mask(1, None) is None


def test_actions_are_numbered():
    shifted = Actions(spaces.Discrete(3, start=4))
    assert shifted.count == 3 and [shifted.given(action) for action in range(3)] == [4, 5, 6]
    assert type(shifted.given(0)) is np.int64
    space = spaces.MultiDiscrete([2, 3], start=[0, 1], dtype=np.int32)
    pairs = Actions(space)
    assert [pairs.given(action).tolist() for action in range(6)] == [[0, 1], [0, 2], [0, 3], [1, 1], [1, 2], [1, 3]]
    assert space.contains(pairs.given(3)) and pairs.given(np.array([5, 0])).tolist() == [[1, 3], [0, 1]]
    pairs.given(0)[:] = 9
    assert pairs.given(0).tolist() == [0, 1]  # whoever is given an action may change it


def test_masks_are_written():
    pairs, out = Actions(spaces.MultiDiscrete([2, 3])), np.empty((1, 6), np.int8)
    pairs.write(([0, 1], [1, 0, 1]), out)
    assert out.tolist() == [[0, 0, 0, 1, 0, 1]]
    pairs.write(np.array([[1, 0, 0], [0, 0, 2]]), out)
    assert out.tolist() == [[1, 0, 0, 0, 0, 1]]
    two = np.empty((2, 6), np.int8)
    pairs.write(np.eye(6), two, np.array([4, 1]))
    assert two.tolist() == np.eye(6)[[4, 1]].tolist()
    with pytest.raises(BadAnswer, match="a mask of 5 actions, wanted 6"):
        pairs.write(np.ones(5), out)
    with pytest.raises(BadAnswer, match="allows no action") as caught:
        pairs.write(np.array([[1] * 6, [0] * 6]), two, np.array([0, 1]))
    assert caught.value.row == 1


@pytest.mark.parametrize(
    "space",
    [spaces.Box(-1, 1, (2,)), spaces.Text(3), spaces.MultiBinary(2), spaces.MultiDiscrete([11, 100]),
     spaces.Discrete(40_000), spaces.Dict({"a": spaces.Discrete(2)})],
)  # fmt: skip
def test_actions_that_cannot_be_numbered_are_named(space):
    with pytest.raises(
        InvalidConfig, match="wanted Discrete of at most 32767 actions, or MultiDiscrete of at most 1024"
    ):
        Actions(space)
