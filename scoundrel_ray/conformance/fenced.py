"""A game in progress whose rules run on arrays between fences; what `scoundrel_ray.conformance` plays with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.game import OK, Game, InvalidGame

_MARGIN = 64  # entries of a fence
GARBAGE = (85, -86)  # what an array holds before a rule fills it: what still depends on it was not written


class Fenced:
    """An `array` [size] with entries before and behind it that nobody may write."""

    def __init__(self, size: int, dtype: Any, value: Any = 0) -> None:
        whole = np.full(size + 2 * _MARGIN, GARBAGE[0], dtype=dtype)
        self.array = whole[_MARGIN : _MARGIN + size]
        self.array[:] = value
        self._fences = whole[:_MARGIN], whole[_MARGIN + size :]
        self._wanted = self._fences[0].tobytes()

    def intact(self) -> bool:
        return all(fence.tobytes() == self._wanted for fence in self._fences)


@dataclass
class Play:
    """A game in progress: its state, and how it came there, for messages.

    Attributes:
        origin: the call that dealt it, and the one that redealt it if any did.
        actions: played since the deal.
    """

    game: Game
    origin: str
    state: Fenced
    actions: list[int] = field(default_factory=list)

    def broken(self, rule: str, got: Any, wanted: Any) -> InvalidGame:
        """The error to raise: one line that names the rule and the state."""
        where = f"state: {self.origin}, actions {self.actions}"
        return InvalidGame(f"game {self.game.name}: rule {rule} gave {got}, wanted {wanted}; {where}")

    def copy(self, origin: str | None = None) -> Play:
        state = Fenced(self.game.state_size, np.int32, self.state.array)
        return Play(self.game, origin or self.origin, state, list(self.actions))

    def call(self, rule: str, *arguments: Any, out: Fenced | None = None, keeps: bool = True) -> int:
        """The result of a rule; header and fences must stay, and the whole state if the rule `keeps` it."""
        before, outs = self.state.array.tobytes(), [out] if out else []
        result = int(getattr(self.game.rules, rule)(self.state.array, *arguments, *(o.array for o in outs)))
        if keeps and self.state.array.tobytes() != before:
            raise self.broken(rule, "a changed state", "an untouched one")
        header = tuple(map(int, self.state.array[: len(self.game.header)]))
        if header != self.game.header:
            raise self.broken(rule, f"the header {header}", f"it untouched: {self.game.header}")
        if not all(fenced.intact() for fenced in (self.state, *outs)):
            raise self.broken(rule, "a write outside the arrays that it was given", "none")
        return result

    def change(self, rule: str, *arguments: Any) -> None:
        """Call a rule that changes the state and must succeed."""
        status = self.call(rule, *arguments, keeps=False)
        if status != OK:
            raise self.broken(rule, f"status {status} for {arguments[0]}" if rule == "step" else f"status {status}", OK)

    def filled(self, rule: str, size: int, dtype: Any, *arguments: Any) -> list[Any]:
        """What `observe`, `returns` or `legal` (as far as it counts) writes, whatever the array held before."""
        results = []
        for garbage in GARBAGE:
            out = Fenced(size, dtype, garbage)
            result = self.call(rule, *arguments, out=out)
            if rule == "legal" and not 0 <= result <= size:
                raise self.broken(rule, f"{result} actions", f"0 to max_legal = {size}")
            if rule != "legal" and result != OK:
                raise self.broken(rule, f"status {result}", OK)
            results.append(out.array[:result].tolist() if rule == "legal" else out.array.tolist())
        if str(results[0]) != str(results[1]):  # as text, so that nan equals nan
            raise self.broken(
                rule, f"{results[0]} and {results[1]} for one state", "the same, with every entry written"
            )
        return results[0]

    def observation(self, seat: int) -> list[int]:
        return self.filled("observe", self.game.observation_size, np.int8, seat)

    def play(self, action: int) -> None:
        """Step, unless the game should have ended."""
        if len(self.actions) >= self.game.max_steps:
            raise self.broken("seat", "a game that goes on", f"its end within max_steps = {self.game.max_steps}")
        self.change("step", action)
        self.actions.append(int(action))


def dealt(game: Game, seed: int, number: int) -> Play:
    """A fresh game from `deal`, which must fill everything behind the header from its stream alone."""
    plays = []
    for garbage in GARBAGE:
        play = Play(game, f"deal(stream({seed}, {number}))", Fenced(game.state_size, np.int32, garbage))
        play.state.array[: len(game.header)] = game.header
        play.change("deal", rng.stream(seed, number))
        plays.append(play)
    same = plays[0].state.array == plays[1].state.array
    if not same.all():
        raise plays[0].broken("deal", f"two values, or none, for entry {np.argmin(same)}", "one, always written")
    return plays[0]
