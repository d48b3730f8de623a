"""Spaces of Gymnasium as fields and actions of a spec; observations and masks of an environment as rows.

Observations: Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of those, which are flattened in the order
of the space. Each leaf is one field, named by its path, such as `hand.cards`; a leaf whose entries have several bounds
is one field for each run of equal ones, such as `speed[2:5]`, as a field is scaled by one range.

Whole numbers alone stay small integers: int8 if their bounds fit, else uint8. Anything else is float32 as a whole, and
as a spec knows no categories in float32, those are one-hot there: their order means nothing, which a scaled number
would say. Bounds of 2^31 - 1 or more are taken for none. Whole numbers above 2^24 lose their last digits in float32.

Actions: Discrete, and MultiDiscrete of few combinations, numbered with the last entry running fastest.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import Field

MOST_COMBINATIONS = 1024  # of the entries of a MultiDiscrete action
MOST_ONE_HOT = 4096  # entries that the categories of one leaf become
MOST_RUNS = 64  # of equal bounds in a leaf; one with more is one field with the widest bounds
MASK, OBSERVATION = "action_mask", "observation"
_NO_BOUND = 2**31 - 1


class BadAnswer(ValueError):
    """What an environment gave and nobody can use: in one line what, and what was wanted.

    Args:
        reason: the line.
        row: of several environments asked at once, the one that gave it; -1 if it is not known.
    """

    def __init__(self, reason: str, row: int = -1) -> None:
        super().__init__(reason)
        self.row = row


@dataclass(frozen=True, eq=False)
class Leaf:
    """A part of an observation that is one array.

    Attributes:
        name: path from the observation to it.
        keys: the same, for reading it.
        shape: of the array.
        low, high: [entries] of each entry; int64 if they are whole numbers, else float64.
        kind: of a Field.
    """

    name: str
    keys: tuple[Any, ...]
    shape: tuple[int, ...]
    low: np.ndarray
    high: np.ndarray
    kind: str

    @functools.cached_property
    def whole(self) -> bool:
        """Whether its entries are whole numbers."""
        return self.low.dtype == np.int64

    @functools.cached_property
    def any_byte(self) -> bool:
        """Whether its entries may be any that uint8 holds, such as those of a picture."""
        return bool((self.low == 0).all() and (self.high == 255).all())


def leaves(space: Any, name: str = "", keys: tuple[Any, ...] = ()) -> Iterator[Leaf]:
    """The leaves of a space in order.

    Raises:
        InvalidConfig: for a space of another kind.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, part in parts:
            yield from leaves(part, f"{name}.{key}".lstrip("."), (*keys, key))
        return
    if isinstance(space, spaces.Discrete):
        low, kind = np.array([space.start], np.int64), "category"
        high = low + int(space.n) - 1
    elif isinstance(space, spaces.MultiDiscrete):
        low, kind = np.asarray(space.start, np.int64).ravel(), "category"
        high = low + np.asarray(space.nvec, np.int64).ravel() - 1
    elif isinstance(space, spaces.MultiBinary):
        low, kind = np.zeros(math.prod(space.shape), np.int64), "category"
        high = low + 1
    elif isinstance(space, spaces.Box) and np.dtype(space.dtype).kind in "iubf":
        low, high, kind = np.ravel(space.low), np.ravel(space.high), "number"
        wide = np.int64 if low.dtype.kind in "iub" else np.float64
        if low.dtype == np.uint64:
            high = np.minimum(high, np.iinfo(np.int64).max)
        low, high = low.astype(wide), high.astype(wide)
    else:
        raise InvalidConfig(f"{named(space)} at {name or 'the top'}, wanted Box, Discrete, MultiDiscrete, MultiBinary")
    if not len(low):
        raise InvalidConfig(f"{named(space)} at {name or 'the top'}, wanted at least one entry")
    yield Leaf(name or OBSERVATION, keys, tuple(space.shape or ()), low, high, kind)


def named(space: Any) -> str:
    """A space in one short line."""
    text = " ".join(str(space).split())
    return text if len(text) <= 100 else f"{text[:97]}..."


class Encoding:
    """How observations of a space become rows.

    A Dict with `action_mask` in it is read as one of masks: the observation is its `observation`, or all the rest.

    Args:
        space: of observations.

    Attributes:
        dtype: of a row.
        fields: of a row, in order.
        size: O.
        masked: whether an observation holds its mask.

    Raises:
        InvalidConfig: for a space that it cannot read.
    """

    def __init__(self, space: Any) -> None:
        from gymnasium import spaces

        self.masked = isinstance(space, spaces.Dict) and MASK in space.spaces
        self.inner = self.masked and OBSERVATION in space.spaces
        if self.inner:
            found = list(leaves(space.spaces[OBSERVATION]))
        else:
            found = [leaf for leaf in leaves(space) if not (self.masked and leaf.keys[0] == MASK)]
        if not found:
            raise InvalidConfig(f"{named(space)}, wanted an observation beside the mask")
        self.dtype = _dtype(found)
        self._parts: list[tuple[Leaf, int, int, np.ndarray | None]] = []
        fields: list[Field] = []
        for leaf in found:
            columns = _one_hot_columns(leaf) if self.dtype == "float32" and leaf.kind == "category" else None
            own = list(_fields(leaf, self.dtype, columns is not None))
            at = sum(field.size for field in fields)
            fields += own
            self._parts.append((leaf, at, at + sum(field.size for field in own), columns))
        self.fields = tuple(fields)
        self.size = sum(field.size for field in fields)

    def write(self, observation: Any, out: np.ndarray, rows: np.ndarray | None = None) -> None:
        """Write observations as rows.

        Args:
            observation: one, or a batch of them as Gymnasium's vector environments give it, an entry for each row.
            out: [n, O].
            rows: [n] of the batch to write; None for a single observation, n = 1.

        Raises:
            BadAnswer: for an entry that is missing, of another shape or type, no finite number or out of its bounds.
        """
        if self.inner:
            observation = _entry(observation, OBSERVATION)
        for leaf, start, stop, columns in self._parts:
            value = observation
            for key in leaf.keys:
                value = _entry(value, key)
            array = _numbers(leaf, value, rows)
            if columns is None:
                if leaf.whole:
                    _check_bounds(leaf, array, out.dtype)
                out[:, start:stop] = array
            else:
                _check_bounds(leaf, array, None)
                out[:, start:stop] = 0
                np.put_along_axis(out[:, start:stop], array.astype(np.int64) + columns, 1, axis=1)
        if self.dtype == "float32" and not np.logical_and.reduce(finite := np.isfinite(out), axis=None):
            row, column = map(int, np.argwhere(~finite)[0])
            name = next(leaf.name for leaf, _, stop, _ in self._parts if column < stop)
            raise BadAnswer(f"observation {name!r} holds {out[row, column]}, wanted finite numbers", row)

    def mask(self, observation: Any, info: Any) -> Any:
        """The mask that came with an observation: in it, or in its info; None if there is none."""
        if self.masked:
            return _entry(observation, MASK)
        return info.get(MASK) if isinstance(info, dict) else None


class Actions:
    """How actions of a space are numbered.

    Args:
        space: of actions.

    Attributes:
        count: A.

    Raises:
        InvalidConfig: for a space that cannot be numbered.
    """

    def __init__(self, space: Any) -> None:
        from gymnasium import spaces

        if isinstance(space, spaces.Discrete) and space.n <= np.iinfo(np.int16).max:
            self.sizes, self.count = (int(space.n),), int(space.n)
            self._table = np.arange(self.count, dtype=np.int64) + space.start
        elif isinstance(space, spaces.MultiDiscrete) and math.prod(map(int, space.nvec.flat)) <= MOST_COMBINATIONS:
            self.sizes, self.count = tuple(map(int, space.nvec.flat)), math.prod(map(int, space.nvec.flat))
            entries = np.stack(np.unravel_index(np.arange(self.count), self.sizes), axis=1)
            self._table = entries.reshape(self.count, *space.shape).astype(space.dtype) + space.start
        else:
            raise InvalidConfig(
                f"{named(space)}, wanted Discrete of at most {np.iinfo(np.int16).max} actions, or MultiDiscrete of at "
                f"most {MOST_COMBINATIONS} combinations"
            )

    def given(self, action: Any) -> Any:
        """What the environment takes for an action, or, for an array [n] of them, for each."""
        taken = self._table[action]
        return taken.copy() if isinstance(taken, np.ndarray) else taken

    def write(self, mask: Any, out: np.ndarray, rows: np.ndarray | None = None) -> None:
        """Write masks.

        Args:
            mask: [A], or [n, A] for a batch; of a MultiDiscrete also, for one observation, a mask for each entry.
            out: [n, A] int8, 1 for every action that may be taken.
            rows: [n] of the batch to write; None for a single mask, n = 1.

        Raises:
            BadAnswer: for a mask of another size, or one that allows nothing.
        """
        if isinstance(mask, tuple | list) and len(self.sizes) > 1 and len(mask) == len(self.sizes):
            allowed = np.ones(1, np.bool_)
            for each in mask:
                allowed = np.logical_and.outer(allowed, np.not_equal(each, 0)).ravel()
        else:
            allowed = np.not_equal(mask, 0)
        if rows is not None:
            allowed = allowed[rows]
        if allowed.size != out.size:
            raise BadAnswer(f"a mask of {allowed.size // len(out)} actions, wanted {self.count}")
        out[:] = allowed.reshape(out.shape)
        if not (some := out.any(axis=1)).all():
            raise BadAnswer("a mask that allows no action, wanted at least one", int(np.argmin(some)))


def _dtype(found: list[Leaf]) -> str:
    """The smallest type that holds all leaves."""
    if all(leaf.whole for leaf in found):
        low, high = min(int(leaf.low.min()) for leaf in found), max(int(leaf.high.max()) for leaf in found)
        for dtype in ("int8", "uint8"):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return dtype
    return "float32"


def _one_hot_columns(leaf: Leaf) -> np.ndarray | None:
    """What takes each entry's value to its column; None for leaves of two values, which are numbers as they are."""
    if (leaf.low == 0).all() and (leaf.high == 1).all():
        return None
    values = leaf.high - leaf.low + 1
    if values.sum() > MOST_ONE_HOT:
        raise InvalidConfig(
            f"{leaf.name}: {int(values.sum())} categories beside floats, or too many for uint8, wanted at most "
            f"{MOST_ONE_HOT} to be one-hot"
        )
    return np.cumsum(values) - values - leaf.low


def _fields(leaf: Leaf, dtype: str, one_hot: bool) -> Iterator[Field]:
    """The fields of a leaf: one for each run of entries with equal bounds, or the one of its one-hot entries."""
    if one_hot:
        yield Field(leaf.name, int((leaf.high - leaf.low + 1).sum()), 0, 1, "number")
        return
    kind, low, high = leaf.kind, leaf.low, leaf.high
    if dtype == "float32":
        kind, low, high = "number", low.astype(np.float64), high.astype(np.float64)
        low = np.where(np.abs(low) >= _NO_BOUND, -np.inf, low)
        high = np.where(np.abs(high) >= _NO_BOUND, np.inf, high)
    starts = np.flatnonzero(np.r_[True, (low[1:] != low[:-1]) | (high[1:] != high[:-1])])
    if len(starts) > MOST_RUNS:
        starts = starts[:1]
    for start, stop in zip(starts, [*starts[1:], len(low)], strict=True):
        least, most = low[start:stop].min().item(), high[start:stop].max().item()
        if least == most:  # a field has two values at least
            least, most = (least, most + 1) if dtype == "float32" or most < np.iinfo(dtype).max else (least - 1, most)
        ends = f"{start}" if stop == start + 1 else f"{start}:{stop}"
        name = leaf.name if len(starts) == 1 else f"{leaf.name}[{ends}]"
        yield Field(name, int(stop - start), least, most, kind)


def _entry(observation: Any, key: Any) -> Any:
    try:
        return observation[key]
    except (KeyError, IndexError, TypeError) as error:
        raise BadAnswer(f"an observation without {key!r}, wanted one of its space") from error


def _numbers(leaf: Leaf, value: Any, rows: np.ndarray | None) -> np.ndarray:
    """A leaf's array: [n, entries]."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise BadAnswer(f"observation {leaf.name!r} is no array, wanted shape {list(leaf.shape)}") from error
    array = array[None] if rows is None else array[rows]
    if array.dtype.kind not in ("iub" if leaf.whole else "iubf"):
        wanted = "whole numbers" if leaf.whole else "numbers"
        raise BadAnswer(f"observation {leaf.name!r} is {array.dtype}, wanted {wanted}")
    if array.shape[1:] != leaf.shape:
        raise BadAnswer(f"observation {leaf.name!r} has shape {list(array.shape[1:])}, wanted {list(leaf.shape)}")
    return array.reshape(len(array), -1)


def _check_bounds(leaf: Leaf, array: np.ndarray, dtype: np.dtype | None) -> None:
    """Refuse whole numbers out of their bounds: they stand in tables' rows, or would wrap around in a small type."""
    if array.dtype == dtype == np.uint8 and leaf.any_byte:
        return
    outside = (array < leaf.low) | (array > leaf.high)
    if np.logical_or.reduce(outside, axis=None):
        row, entry = map(int, np.argwhere(outside)[0])
        bounds = f"{leaf.low[entry]} to {leaf.high[entry]}"
        raise BadAnswer(f"observation {leaf.name!r} holds {array[row, entry]}, wanted {bounds}", row)
