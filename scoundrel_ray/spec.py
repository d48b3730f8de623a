"""What a network, a row and a message must know of a world: plain data, which any process can read.

A game or a world makes its `Spec` from its rules; whoever only needs sizes takes the spec and builds no rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

DTYPES = ("int8", "uint8", "float32")
HERE, TERMINATED, TRUNCATED = 0, 1, 2  # how an agent of a world stands in its episode
LOST = 3  # of copies whose environment failed: nothing is known of what the last actions brought


class InvalidSpec(ValueError):
    """A spec that nothing can be built by; the message names the part, what it got and what was wanted."""


@dataclass(frozen=True)
class Field:
    """A named run of an observation.

    Attributes:
        name: what it tells, unique in the spec.
        size: entries.
        low, high: inclusive range of every entry; of numbers in float32 they may be infinite.
        kind: "category" (unordered: networks embed or one-hot it) or "number" (ordered: networks scale it).
    """

    name: str
    size: int
    low: float
    high: float
    kind: str = "category"

    def __post_init__(self) -> None:
        if self.kind not in ("category", "number"):
            raise InvalidSpec(f"field {self.name}: kind is {self.kind!r}, wanted 'category' or 'number'")
        if not self.low < self.high or self.size < 1:
            raise InvalidSpec(f"field {self.name}: wanted size >= 1 and low < high, got {self}")


class Head(NamedTuple):
    """One of the arrays that a network answers with.

    Attributes:
        name: what it tells.
        shape: of a row's part; its entries are float32.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Spec:
    """Sizes, ranges and the identity of a world.

    Attributes:
        name: of the game or world.
        observation: fields in order; their sizes add up to O.
        actions: A.
        values: P, how many values a network estimates: one for each seat of a game.
        most_legal: L, most legal actions in any state.
        dtype: of all entries of an observation: "int8", "uint8" or "float32".
        value_range: least and greatest value.
        identity: what else weights depend on, such as the version of the rules and their options: plain data.

    Raises:
        InvalidSpec: for sizes below 1, fields of equal names, and ranges that the dtype cannot hold.
    """

    name: str
    observation: tuple[Field, ...]
    actions: int
    values: int
    most_legal: int
    dtype: str = "int8"
    value_range: tuple[float, float] = (-1.0, 1.0)
    identity: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("actions", "values", "most_legal"):
            got = getattr(self, name)
            if isinstance(got, bool) or not isinstance(got, int | np.integer) or got < 1:
                raise InvalidSpec(f"{name} is {got!r}, wanted an integer >= 1")
        if self.dtype not in DTYPES:
            raise InvalidSpec(f"dtype is {self.dtype!r}, wanted one of {', '.join(DTYPES)}")
        if len({part.name for part in self.observation}) != len(self.observation) or not self.observation:
            raise InvalidSpec("wanted at least one field of observation, each with its own name")
        if not self.value_range[0] < self.value_range[1]:
            raise InvalidSpec(f"value_range is {self.value_range}, wanted the lower bound first")
        for part in self.observation:
            self._check_range(part)

    def _check_range(self, part: Field) -> None:
        if self.dtype == "float32":
            if part.kind == "category":
                raise InvalidSpec(f"field {part.name}: a category in float32, wanted int8 or uint8")
            return
        held = np.iinfo(self.dtype)
        whole = float(part.low).is_integer() and float(part.high).is_integer()
        if not whole or part.low < held.min or part.high > held.max:
            raise InvalidSpec(
                f"field {part.name}: wanted whole numbers with {held.min} <= low < high <= {held.max}, got {part}"
            )

    @property
    def fits_bfloat16(self) -> bool:
        """Whether bfloat16 holds every observation exactly: integers of a byte, but not real numbers."""
        return self.dtype != "float32"

    @property
    def observation_size(self) -> int:
        """O."""
        return sum(part.size for part in self.observation)

    def as_dict(self) -> dict[str, Any]:
        """All that a network depends on, as plain data: stored with weights and compared before they are used."""
        dtype = {} if self.dtype == "int8" else {"dtype": self.dtype}
        return {
            "game": self.name,
            **self.identity,
            "seats": self.values,
            "actions": self.actions,
            "observation": [[part.name, part.size, part.low, part.high, part.kind] for part in self.observation],
            **dtype,
        }


def search_heads(spec: Spec) -> tuple[Head, ...]:
    """What a search asks of a network: logits over the observer's actions [A], and a value for each seat [P]."""
    return Head("logits", (spec.actions,)), Head("values", (spec.values,))


def random_observations(spec: Spec, count: int, seed: int = 0) -> np.ndarray:
    """Observations, every entry uniform in its field's range (within [-1, 1] where that is infinite): [count, O]."""
    generator = np.random.default_rng(seed)
    parts = []
    for part in spec.observation:
        size = (count, part.size)
        if spec.dtype == "float32":
            low, high = (bound if np.isfinite(bound) else sign for bound, sign in ((part.low, -1), (part.high, 1)))
            parts.append(generator.uniform(low, high, size=size).astype(np.float32))
        else:
            parts.append(generator.integers(int(part.low), int(part.high) + 1, size=size, dtype=spec.dtype))
    return np.concatenate(parts, axis=1)
