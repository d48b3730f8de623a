"""The world contract: a record of compiled rules over one flat integer vector, in which several agents act.

Legend: C copies, N agents, A actions, S state size, O observation size.

A state is `[S] int32`. Its first entries are the header: the options of the rules, put there before `reset` is called.
The rules (signatures below); each returns a status, 0 for success, unless said otherwise:

    reset(state, rng)                       fills everything behind the header: a fresh episode
    mover(state) -> int                     the agent that acts next; ALL if every agent that is there acts at once;
                                            OVER when the episode is over
    step(state, actions[N], rng, rewards[N])  plays the action of each that acts, and of nobody else; adds to `rewards`
                                            what each agent gets by it. LEFT instead of 0 if an agent ended; ILLEGAL and
                                            an untouched state if an action is masked
    ended(state, agent) -> int              HERE, TERMINATED, or TRUNCATED (cut off: what would have come has a value)
    observe(state, agent, out[O])           what `agent` knows when it is to act or has ended, as small integers (see
                                            `scoundrel_ray.spec.Field`); `out` holds what it observed when it last
                                            acted in the episode, 0 everywhere at first, so that a memory is a shift
    mask(state, agent, out[A])              1 for every action that `agent`, about to act, may take, 0 for the others
    guide(state, agent, rng) -> action      a rule-based player's choice for an agent that acts, by what it knows alone

Rules that make no arrays are best compiled by `@rule(STEP, makes_arrays=False)`: it spares `mover`, `step` and
`observe`, which are called for every action, a tenth of their time.

An agent that moves in its turn sees what those before it did in the same turn, and is given what all moves brought it
since its own last one. One that ended takes no part any more until the next episode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numba
import numpy as np
from numba import types

from scoundrel_ray import compiled
from scoundrel_ray.compiled import Rule, RuleType, rule
from scoundrel_ray.spec import HERE, LOST, TERMINATED, TRUNCATED, Field, InvalidSpec, Spec  # noqa: F401

if TYPE_CHECKING:
    from scoundrel_ray.copies import Copies

ALL, OVER = -1, -2  # of `mover`
OK, ILLEGAL, LEFT = 0, 1, 2  # of `step`

RESET = compiled.DEAL
MOVER = compiled.SEAT
STEP = types.int64(compiled.STATE, compiled.ACTIONS, compiled.RNG, compiled.SCORES)
ENDED = types.int64(compiled.STATE, types.int64)
OBSERVE = compiled.OBSERVE
MASK = types.int64(compiled.STATE, types.int64, types.int8[::1])
GUIDE = types.int64(compiled.STATE, types.int64, compiled.RNG)


class InvalidWorld(ValueError):
    """A world that breaks the contract: says which rule and what was wanted."""


class IllegalActions(ValueError):
    """Actions that a world does not allow; the message names the copy."""


@rule(MASK)
def all_allowed(_state, _agent, out):
    """`mask` of a world in which every action may be taken at all times."""
    out[:] = 1
    return OK


class AnyCopies(Protocol):
    """Many copies of a world, stepped together, whatever the world is made of; `Copies` are those of compiled rules.

    All arrays stay where they are; a step writes into them. Legend as in the module, O of each agent its own.
    """

    @property
    def observations(self) -> Sequence[np.ndarray]:
        """For each agent [C, O] of its spec's dtype, what it knew when it was last to act, or when it ended."""
        ...

    @property
    def masks(self) -> Sequence[np.ndarray]:
        """For each agent [C, A] int8, 1 for every action that it might take when it was last to act."""
        ...

    @property
    def rewards(self) -> np.ndarray:
        """[N, C] float32, what each agent got since its own last action."""
        ...

    @property
    def ended(self) -> np.ndarray:
        """[N, C] int8, HERE, TERMINATED, TRUNCATED or LOST, in the episode that each copy is in."""
        ...

    @property
    def acting(self) -> np.ndarray:
        """[N, C] bool, who acts next."""
        ...

    @property
    def over(self) -> np.ndarray:
        """[C] bool, whose episode is over."""
        ...

    def step(self, actions: np.ndarray) -> None:
        """Play one action of every agent that acts: [N, C] int16; copies whose episode is over stay as they are."""
        ...

    def renew(self) -> int:
        """Begin a new episode in every copy whose episode is over; returns in how many."""
        ...

    def close(self) -> None:
        """Free what the copies hold."""
        ...


class AnyWorld(Protocol):
    """What experience is gathered from: a `World` of compiled rules, or an adapted environment."""

    @property
    def name(self) -> str:
        """Of the world."""
        ...

    @property
    def agents(self) -> tuple[str, ...]:
        """Names, in the order of their numbers."""
        ...

    @property
    def specs(self) -> tuple[Spec, ...]:
        """What each agent observes and may do."""
        ...

    def copies(self, streams: np.ndarray) -> AnyCopies:
        """Copies at the start of an episode, one for each random stream: [C, 4] uint64."""
        ...


class WorldRules(NamedTuple):
    """The compiled functions of a world, in the order in which kernels expect them."""

    reset: Rule
    mover: Rule
    step: Rule
    ended: Rule
    observe: Rule
    guide: Rule
    mask: Rule = all_allowed


_SIGNATURES: tuple[Any, ...] = (RESET, MOVER, STEP, ENDED, OBSERVE, GUIDE, MASK)  # in the order of WorldRules
WORLD_RULES = numba.types.NamedTuple([RuleType(signature) for signature in _SIGNATURES], WorldRules)


@dataclass(frozen=True, eq=False)
class World:
    """A world: sizes, ranges, texts and compiled rules. Build one from its config; it cannot be sent to a process.

    Attributes:
        name: of the world, e.g. "treasure_hunt".
        version: raised whenever observations, actions or rules change; weights hold it.
        agents: names, in the order of their numbers and of their moves.
        action_names: [A] unique short texts.
        state_size: S.
        observation: fields in order; their sizes add up to O. All agents observe alike.
        most_turns: after which an episode is over at the latest.
        masked: whether `mask` ever forbids anything.
        rules: compiled.
        header, options: the rules' options as the first entries of every state, and by name as given in the config.
        text: function (state) -> str, all that there is.
        picture: function (state) -> [height, width, 3] uint8, the same as a small picture.
        section: of a config that it was built from, for processes that must build it again; set by `config.build`.
    """

    name: str
    version: int
    agents: tuple[str, ...]
    action_names: tuple[str, ...]
    state_size: int
    observation: tuple[Field, ...]
    most_turns: int
    masked: bool
    rules: WorldRules
    text: Callable[[np.ndarray], str]
    picture: Callable[[np.ndarray], np.ndarray]
    header: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    section: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, wanted, got in zip(WorldRules._fields, _SIGNATURES, self.rules, strict=True):
            if not isinstance(got, Rule):
                raise InvalidWorld(
                    f"world {self.name}: rule {name} is {type(got).__name__}, wanted a function compiled with "
                    f"@rule({name.upper()}) of scoundrel_ray.world"
                )
            if got.signature != wanted:
                raise InvalidWorld(f"world {self.name}: rule {name} has signature {got.signature}, wanted {wanted}")
        if not self.agents or len(set(self.agents)) != len(self.agents):
            raise InvalidWorld(f"world {self.name}: agents are {self.agents}, wanted different names")
        if len(set(self.action_names)) != len(self.action_names) or len(self.action_names) > np.iinfo(np.int16).max:
            raise InvalidWorld(f"world {self.name}: wanted different action names, 32767 at most")
        if len(self.header) > self.state_size:
            raise InvalidWorld(f"world {self.name}: a header of {len(self.header)} in a state of {self.state_size}")
        if self.most_turns < 1:
            raise InvalidWorld(f"world {self.name}: most_turns is {self.most_turns}, wanted >= 1")
        try:
            _ = self.spec
        except InvalidSpec as error:
            raise InvalidWorld(f"world {self.name}: {error}") from error

    @property
    def spec(self) -> Spec:
        """What networks, rows and messages must know of the world."""
        identity = {"version": self.version, "options": dict(self.options)}
        actions = len(self.action_names)
        return Spec(self.name, self.observation, actions, 1, actions, identity=identity)

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The spec, once for each agent."""
        return (self.spec,) * len(self.agents)

    def copies(self, streams: np.ndarray) -> Copies:
        """Copies at the start of an episode (see `scoundrel_ray.copies.Copies`)."""
        from scoundrel_ray.copies import Copies  # which is made of what stands here

        return Copies(self, streams)

    def blank(self, copies: int) -> np.ndarray:
        """States with the header alone: [copies, S] int32."""
        states = np.zeros((copies, self.state_size), dtype=np.int32)
        states[:, : len(self.header)] = self.header
        return states
