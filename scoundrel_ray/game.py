"""The game contract: a record of compiled rules over one flat integer vector.

Legend: S state size, P seats, A actions, L most legal actions in any state, O observation size.

A state is `[S] int32`. Its first entries are the header: the options of the rules, put there by `Game.blank` before
`deal` is called. All chance is drawn in `deal`; undealt cards lie hidden in the state, so `step` is deterministic.

The rules (signatures in `scoundrel_ray.compiled`); each returns a status, 0 for success, unless said otherwise:

    deal(state, rng)                    fills everything behind the header: a fresh game
    redeal(state, seat, rng)            replaces all that `seat` cannot know by a uniform sample consistent with all it
                                        has seen; leaves the state as it is when nothing is hidden. What is hidden has
                                        no say in it: one stream draws one world for all states that the seat cannot
                                        tell apart (write hidden cards in ascending order before they are shuffled)
    seat(state) -> int                  whose turn it is, or -1 when the game is over
    legal(state, out) -> count          fills out[:count] with the legal actions, ascending; 0 when the game is over
    step(state, action)                 plays it; ILLEGAL and an untouched state if it is not legal
    returns(state, out[P])              the score of every seat, in the game's own points; meant for finished games
    observe(state, seat, out[O])        what `seat` knows, as small integers (see `scoundrel_ray.spec.Field`)
    information_key(state, seat) -> u64 equal for two states that `seat`, to move, cannot tell apart; differs otherwise
    heuristic(state, rng) -> action     a rule-based player's choice for the seat to move, from what that seat knows
                                        alone; NO_OPINION where it has none (then players choose uniformly)
    playout(state, rng) -> action       the same, cheaper and perhaps weaker, for playouts that follow rules of thumb;
                                        NO_OPINION to have them follow `heuristic`. A game need not give one
    players(state) -> int               how many play: seats from there on are empty, never move, and get score 0. The
                                        same throughout a game. A game in which all P seats play need not give one
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numba
import numpy as np

from scoundrel_ray import compiled
from scoundrel_ray.compiled import Rule, inner, rule
from scoundrel_ray.spec import Field, InvalidSpec, Spec
from scoundrel_ray.symmetry import Symmetries

OVER = -1
OK = 0
ILLEGAL = 1
NO_OPINION = -1
MOST_LEGAL = 1024  # kernels that serve every game have room for so many actions


class IllegalAction(ValueError):
    """An action that the rules do not allow in this state; the state is untouched."""


class InvalidGame(ValueError):
    """A game that breaks the contract: says which rule and what was wanted."""


@rule(compiled.HEURISTIC)
def no_opinion(_state, _rng):
    """`heuristic` or `playout` of a game that has none."""
    return -1


@rule(compiled.SEAT)
def everyone(_state):
    """`players` of a game in which all seats play: 0 stands for P."""
    return 0


class Rules(NamedTuple):
    """The compiled functions of a game, in the order in which kernels expect them."""

    deal: Rule
    redeal: Rule
    seat: Rule
    legal: Rule
    step: Rule
    returns: Rule
    observe: Rule
    information_key: Rule
    heuristic: Rule
    playout: Rule = no_opinion
    players: Rule = everyone


_SIGNATURES: tuple[Any, ...] = (  # in the order of Rules
    compiled.DEAL,
    compiled.REDEAL,
    compiled.SEAT,
    compiled.LEGAL,
    compiled.STEP,
    compiled.RETURNS,
    compiled.OBSERVE,
    compiled.INFORMATION_KEY,
    compiled.HEURISTIC,
    compiled.PLAYOUT,
    compiled.SEAT,
)

# The numba type of `Rules`, for the signatures of kernels.
RULES = numba.types.NamedTuple([compiled.RuleType(signature) for signature in _SIGNATURES], Rules)


@rule(compiled.REDEAL)
def nothing_hidden(_state, _seat, _rng):
    """`redeal` of a game without hidden information."""
    return 0


@inner
def seat_after(seat, places, players):
    """The seat so many places after one of `players` that play; an empty seat is where its number says."""
    if places >= players:
        return places
    return seat + places if seat + places < players else seat + places - players


@inner
def to_value(score, knots):
    """Value in [-1, 1] of a score: linear between the rows (score, value) of knots [K, 2] float32, flat outside."""
    if score <= knots[0, 0]:
        return knots[0, 1]
    for k in range(1, knots.shape[0]):
        if score <= knots[k, 0]:
            share = (score - knots[k - 1, 0]) / (knots[k, 0] - knots[k - 1, 0])
            return knots[k - 1, 1] + share * (knots[k, 1] - knots[k - 1, 1])
    return knots[knots.shape[0] - 1, 1]


@dataclass(frozen=True, eq=False)
class Game:
    """A game: sizes, ranges, texts and compiled rules. Build one from its config; it cannot be sent to a process.

    Attributes:
        name: of the game, e.g. "scoundrel".
        version: raised whenever observation, action numbering or rules change; checkpoints hold it.
        options: rule variants by name, as given in the config.
        header: the same as integers: the first entries of every state.
        seats, actions, state_size: P, A, S.
        max_legal: L, most legal actions in any state.
        max_steps: most steps in any game.
        observation: fields in order; their sizes add up to O.
        score_range: least and greatest score of a seat.
        value_knots: rows (score, value), ascending: how scores become values in [-1, 1], the one range that every
            search, target and network uses. Two rows make it linear.
        win_above: a seat has won if its score is greater than this; None: if no seat scored more than it.
        hidden: whether any seat ever lacks knowledge; if not, searches skip `redeal` and information keys.
        action_names: [A] unique short texts.
        section: of a config that it was built from, for processes that must build it again; set by `config.build`.
        text: function (state, seat | None) -> str, what a seat (or, with None, one who sees all) is shown.
        solve: function (game, state, most_positions) -> [n, P] float32 | None, exact values of the legal actions, for
            seats that play as well as their knowledge allows, or None if solving needs more than `most_positions`
            positions; None in place of the function if the game cannot be solved.
    """

    name: str
    version: int
    seats: int
    actions: int
    state_size: int
    max_legal: int
    max_steps: int
    observation: tuple[Field, ...]
    score_range: tuple[float, float]
    value_knots: tuple[tuple[float, float], ...]
    win_above: float | None
    hidden: bool
    action_names: tuple[str, ...]
    text: Any
    rules: Rules
    header: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    solve: Any = None
    symmetries: Symmetries | None = None
    section: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, wanted, got in zip(Rules._fields, _SIGNATURES, self.rules, strict=True):
            if not isinstance(got, Rule):
                raise InvalidGame(
                    f"game {self.name}: rule {name} is {type(got).__name__}, wanted a function compiled with "
                    f"@rule({name.upper()}) of scoundrel_ray.compiled"
                )
            if got.signature != wanted:
                raise InvalidGame(f"game {self.name}: rule {name} has signature {got.signature}, wanted {wanted}")
        sizes = {"seats": self.seats, "actions": self.actions, "state_size": self.state_size}
        for name, got in (sizes | {"max_legal": self.max_legal, "max_steps": self.max_steps}).items():
            if isinstance(got, bool) or not isinstance(got, int | np.integer) or got < 1:
                raise InvalidGame(f"game {self.name}: {name} is {got!r}, wanted an integer >= 1")
        if self.max_legal > MOST_LEGAL:
            raise InvalidGame(f"game {self.name}: max_legal is {self.max_legal}, wanted at most {MOST_LEGAL}")
        if self.actions > np.iinfo(np.int16).max:
            raise InvalidGame(f"game {self.name}: actions is {self.actions}, wanted at most {np.iinfo(np.int16).max}")
        if len(self.header) > self.state_size:
            raise InvalidGame(f"game {self.name}: a header of {len(self.header)} in a state of {self.state_size}")
        try:
            _ = self.spec
        except InvalidSpec as error:
            raise InvalidGame(f"game {self.name}: {error}") from error
        if len(self.action_names) != self.actions or len(set(self.action_names)) != self.actions:
            raise InvalidGame(f"game {self.name}: wanted {self.actions} different action names")
        knots = np.asarray(self.value_knots, dtype=np.float64)
        if knots.ndim != 2 or knots.shape[1] != 2 or len(knots) < 2 or (np.diff(knots[:, 0]) <= 0).any():
            raise InvalidGame(f"game {self.name}: value_knots must be at least two rows with ascending scores")
        if (np.diff(knots[:, 1]) < 0).any() or abs(knots[:, 1]).max() > 1:
            raise InvalidGame(f"game {self.name}: value_knots must not fall and must stay within [-1, 1]")
        if self.symmetries is not None:
            try:
                self.symmetries.check(self.observation_size, self.actions)
            except ValueError as error:
                raise InvalidGame(f"game {self.name}: {error}") from error

    @functools.cached_property
    def spec(self) -> Spec:
        """What networks, rows and messages must know of the game."""
        return Spec(
            self.name,
            self.observation,
            self.actions,
            self.seats,
            self.max_legal,
            identity={
                "version": self.version,
                "options": dict(self.options),
                "value_knots": [list(map(float, knot)) for knot in self.value_knots],
            },
        )

    @property
    def observation_size(self) -> int:
        """O."""
        return self.spec.observation_size

    @property
    def knots(self) -> np.ndarray:
        """`value_knots` as [K, 2] float32, for kernels."""
        return np.asarray(self.value_knots, dtype=np.float32)

    def blank(self, count: int | None = None) -> np.ndarray:
        """States with the header alone: [S] int32, or [count, S]."""
        states = np.zeros((1 if count is None else count, self.state_size), dtype=np.int32)
        states[:, : len(self.header)] = self.header
        return states[0] if count is None else states

    def deal(self, rng: np.ndarray) -> np.ndarray:
        """A fresh game: [S] int32; advances the stream `rng` (see `scoundrel_ray.rng.stream`)."""
        state = self.blank()
        _check_stream(rng)
        self._check("deal", self.rules.deal(state, rng))
        return state

    def redeal(self, state: np.ndarray, seat: int, rng: np.ndarray) -> np.ndarray:
        """A copy of `state` in which all that `seat` cannot know is drawn anew."""
        fresh = state.copy()
        _check_stream(rng)
        self._check("redeal", self.rules.redeal(fresh, seat, rng))
        return fresh

    def seat(self, state: np.ndarray) -> int:
        """Whose turn it is, or OVER."""
        return int(self.rules.seat(state))

    def legal(self, state: np.ndarray) -> np.ndarray:
        """Legal actions: [n] int16, ascending; empty when the game is over."""
        out = np.empty(self.max_legal, dtype=np.int16)
        return out[: self.rules.legal(state, out)]

    def step(self, state: np.ndarray, action: int) -> np.ndarray:
        """A copy of `state` after `action`.

        Raises:
            IllegalAction: naming the action, the state's legal actions and the game.
        """
        after = state.copy()
        status = self.rules.step(after, action)
        if status == ILLEGAL:
            known = self.action_names[action] if 0 <= action < self.actions else "no action of this game"
            legal = ", ".join(self.action_names[a] for a in self.legal(state)) or "none: the game is over"
            raise IllegalAction(f"{self.name}: action {action} ({known}) is not legal here; legal: {legal}")
        self._check("step", status)
        return after

    def players(self, state: np.ndarray) -> int:
        """How many play, of the P seats."""
        return int(self.rules.players(state)) or self.seats

    def scores(self, state: np.ndarray) -> np.ndarray:
        """Score of every seat, in the game's points: [P] float32."""
        out = np.zeros(self.seats, dtype=np.float32)
        self._check("returns", self.rules.returns(state, out))
        return out

    def values(self, scores: np.ndarray) -> np.ndarray:
        """Values in [-1, 1] of scores, same shape, float32: piecewise linear through `value_knots`."""
        knots = self.knots
        return np.interp(scores, knots[:, 0], knots[:, 1]).astype(np.float32)

    def won(self, scores: np.ndarray) -> np.ndarray:
        """Which seats have won (see `win_above`), of scores [..., P]: same shape, bool; none whose score is NaN."""
        if self.win_above is not None:
            return scores > self.win_above
        return scores >= np.fmax.reduce(scores, axis=-1, keepdims=True)

    def observe(self, state: np.ndarray, seat: int) -> np.ndarray:
        """What `seat` knows: [O] int8."""
        out = np.zeros(self.observation_size, dtype=np.int8)
        self._check("observe", self.rules.observe(state, seat, out))
        return out

    def information_key(self, state: np.ndarray, seat: int) -> int:
        """64-bit key of what `seat` knows."""
        return int(self.rules.information_key(state, seat))

    def _check(self, name: str, status: int) -> None:
        if status != OK:
            raise InvalidGame(f"game {self.name}: rule {name} returned status {status}, wanted 0")


def _check_stream(rng: np.ndarray) -> None:
    """Compiled rules would read beyond a shorter one."""
    if rng.dtype != np.uint64 or rng.shape != (4,):
        raise ValueError(f"rng is {rng.dtype} {list(rng.shape)}, wanted a stream: uint64 [4]")
