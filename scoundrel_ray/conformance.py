"""Whether a game keeps the contract of `scoundrel_ray.game`: `check_game`, to be called on your own game as well.

Random games are played, every second one partly by the game's heuristic, and everything that the contract promises is
asked of their states. Rules run on arrays between fences, so that writes past an end are found and do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.game import ILLEGAL, NO_OPINION, OK, OVER, Game, InvalidGame

_MARGIN = 64  # entries of a fence
_GARBAGE = (85, -86)  # what an array holds before a rule fills it: what depends on it was not written
_REDEALS = 4  # one state in so many is redealt, and the game played on from there


class Fenced:
    """An array [size] with untouchable entries before and behind it."""

    def __init__(self, size: int, dtype: Any) -> None:
        whole = np.full(size + 2 * _MARGIN, _GARBAGE[0], dtype=dtype)
        self.array = whole[_MARGIN : _MARGIN + size]
        self._fences = whole[:_MARGIN], whole[_MARGIN + size :]
        self._wanted = self._fences[0].tobytes()

    def intact(self) -> bool:
        """Whether nothing was written to the fences."""
        return all(fence.tobytes() == self._wanted for fence in self._fences)


@dataclass
class Play:
    """A game in progress: its state, and how it came there, for messages.

    Attributes:
        origin: the calls that gave its first state.
        actions: played since.
    """

    game: Game
    origin: str
    state: Fenced
    actions: list[int] = field(default_factory=list)

    @property
    def array(self) -> np.ndarray:
        """The state: [S] int32."""
        return self.state.array

    def broken(self, rule: str, got: Any, wanted: Any) -> InvalidGame:
        """The error to raise: one line that names the rule and the state."""
        return InvalidGame(
            f"game {self.game.name}: rule {rule} gave {got}, wanted {wanted}; "
            f"state: {self.origin}, then actions {self.actions}"
        )

    def ask(self, rule: str, *arguments: Any, out: Fenced | None = None) -> int:
        """What a rule that must leave the state alone returns."""
        before = self.array.tobytes()
        arrays = () if out is None else (out.array,)
        result = int(getattr(self.game.rules, rule)(self.array, *arguments, *arrays))
        if self.array.tobytes() != before:
            raise self.broken(rule, "a changed state", "an untouched one")
        self.check_bounds(rule, self.state, *(() if out is None else (out,)))
        return result

    def fill(self, rule: str, size: int, dtype: Any, *arguments: Any) -> np.ndarray:
        """The array [size] that `observe` or `returns` fills, whatever it held before."""
        filled = []
        for garbage in _GARBAGE:
            out = Fenced(size, dtype)
            out.array[:] = garbage
            status = self.ask(rule, *arguments, out=out)
            if status != OK:
                raise self.broken(rule, f"status {status}", OK)
            filled.append(out.array)
        differs = filled[0].tobytes() != filled[1].tobytes()
        if differs:
            entry = int(np.flatnonzero(~(filled[0] == filled[1]))[0])
            raise self.broken(rule, f"two results, or none, for entry {entry} of the same state", "one, always written")
        return filled[0]

    def change(self, rule: str, *arguments: Any) -> int:
        """The status of a rule that changes the state; header and fences must stay."""
        status = int(getattr(self.game.rules, rule)(self.array, *arguments))
        self.check_bounds(rule, self.state)
        header = tuple(map(int, self.array[: len(self.game.header)]))
        if header != self.game.header:
            raise self.broken(rule, f"the header {header}", f"it untouched: {self.game.header}")
        return status

    def check_bounds(self, rule: str, *arrays: Fenced) -> None:
        if not all(fenced.intact() for fenced in arrays):
            raise self.broken(rule, "a write outside the arrays that it was given", "none")

    def copy(self, origin: str | None = None) -> Play:
        """Another play from the same state; with an `origin`, its actions count from here."""
        state = Fenced(self.game.state_size, np.int32)
        state.array[:] = self.array
        return Play(self.game, origin or self.origin, state, [] if origin else list(self.actions))


def check_game(game: Game, games: int = 1000, seed: int = 0, twins: int = 50) -> None:
    """Play `games` random games and check all that the contract promises; returns None if it is kept.

    Args:
        game: the rules.
        games: to be played, compiled.
        seed: of all that is random.
        twins: games in which every rule is compared with its plain Python function; slow.

    Raises:
        InvalidGame: in one line: the rule, what it gave, what was wanted, and how to reproduce the state.
    """
    for action, name in enumerate(game.action_names):
        if not isinstance(name, str) or not name or name != " ".join(name.split()):
            raise InvalidGame(f"game {game.name}: action_names gave {name!r} for action {action}, wanted a short text")
    seen: dict[tuple[int, int], Any] = {}
    changed = False
    for number in range(games):
        changed |= check_one(dealt(game, seed, number), (seed, number), seen)
    if game.hidden and not changed:
        raise InvalidGame(f"game {game.name}: rule redeal gave the same state each time, wanted others, as it is hidden")
    for number in range(twins):
        check_twins(dealt(game, seed, games + number), (seed, games + number))


def dealt(game: Game, seed: int, number: int) -> Play:
    """A fresh game from `deal`, which must fill everything behind the header from its stream alone."""
    plays = []
    for garbage in _GARBAGE:
        play = Play(game, f"deal(stream({seed}, {number}))", Fenced(game.state_size, np.int32))
        play.array[:] = garbage
        play.array[: len(game.header)] = game.header
        status = play.change("deal", rng.stream(seed, number))
        if status != OK:
            raise play.broken("deal", f"status {status}", OK)
        plays.append(play)
    same = plays[0].array == plays[1].array
    if not same.all():
        raise plays[0].broken("deal", f"two results, or none, for entry {np.argmin(same)}", "one, always written")
    return plays[0]


def check_one(play: Play, path: tuple[int, ...], seen: dict[tuple[int, int], Any]) -> bool:
    """Check every state of one random game; returns whether `redeal` ever changed one."""
    changed = False
    dice = rng.stream(*path, 1)
    while True:
        here = (*path, 2, len(play.actions))
        seat, legal = check_turn(play)
        check_steps(play, legal)
        for who in range(play.game.seats):
            check_observation(play, who)
        if seat != OVER:
            check_key(play, seat, legal, seen)
        if seat == OVER or rng.below(dice, _REDEALS) == 0:
            check_texts(play)
            changed |= check_redeal(play, here)
        if seat == OVER:
            check_scores(play)
            return changed
        action = check_heuristic(play, legal, dice.copy())
        if action == NO_OPINION or path[-1] % 2 == 0 or rng.below(dice, 4) == 0:
            action = legal[rng.below(dice, len(legal))]
        advance(play, action)


def advance(play: Play, action: int) -> None:
    """Play an action that `check_steps` has seen accepted."""
    if len(play.actions) >= play.game.max_steps:
        raise play.broken("seat", f"a game not over after {len(play.actions)} steps", f"{play.game.max_steps} at most")
    play.change("step", action)
    play.actions.append(int(action))


def check_turn(play: Play) -> tuple[int, list[int]]:
    """Whose turn it is and the legal actions, which must agree and be in order."""
    game = play.game
    seat = play.ask("seat")
    if not OVER <= seat < game.seats:
        raise play.broken("seat", seat, f"-1 to {game.seats - 1}")
    lists = []
    for garbage in _GARBAGE:
        out = Fenced(game.max_legal, np.int16)
        out.array[:] = garbage
        count = play.ask("legal", out=out)
        if not 0 <= count <= game.max_legal:
            raise play.broken("legal", f"{count} actions", f"0 to max_legal = {game.max_legal}")
        lists.append(out.array[:count].tolist())
    legal = lists[0]
    if lists[1] != legal:
        raise play.broken("legal", f"{legal} and {lists[1]} for the same state", "one list")
    if legal != sorted(set(legal)) or (legal and not 0 <= legal[0] <= legal[-1] < game.actions):
        raise play.broken("legal", legal, f"ascending, different actions from 0 to {game.actions - 1}")
    if (seat == OVER) != (not legal):
        raise play.broken("seat", f"{seat} with legal actions {legal}", "-1 exactly where none is legal")
    return seat, legal


def check_steps(play: Play, legal: list[int]) -> None:
    """Every legal action is accepted, always with the same outcome, and every other refused."""
    before, trial, step = play.array.tobytes(), play.copy(), play.game.rules.step
    for action in sorted(set(range(-1, play.game.actions + 1)) - set(legal)):
        status = step(trial.array, action)
        if status != ILLEGAL:
            raise play.broken("step", f"status {status} for illegal action {action}", f"ILLEGAL = {ILLEGAL}")
        if trial.array.tobytes() != before:
            raise play.broken("step", f"a changed state for illegal action {action}", "an untouched one")
    play.check_bounds("step", trial.state)
    for action in legal:
        after = set()
        for _ in range(2):
            trial.array[:] = play.array
            status = trial.change("step", action)
            if status != OK:
                raise play.broken("step", f"status {status} for legal action {action}", OK)
            after.add(trial.array.tobytes())
        if len(after) > 1:
            raise play.broken("step", f"two different states after action {action}", "one: all chance is in deal")


def observation(play: Play, seat: int) -> np.ndarray:
    return play.fill("observe", play.game.observation_size, np.int8, seat)


def check_observation(play: Play, seat: int) -> None:
    """Every entry is written and within its field."""
    entries, start = observation(play, seat), 0
    for part in play.game.observation:
        values = entries[start : start + part.size]
        if values.min() < part.low or values.max() > part.high:
            raise play.broken("observe", f"{part.name} {values.tolist()} to seat {seat}", f"{part.low} to {part.high}")
        start += part.size


def check_key(play: Play, seat: int, legal: list[int], seen: dict[tuple[int, int], Any]) -> None:
    """States with equal keys look alike to the mover: over all games of the check."""
    key, again = play.ask("information_key", seat), play.ask("information_key", seat)
    if key != again:
        raise play.broken("information_key", f"{key} and {again} for the same state", "one key")
    look = hash((observation(play, seat).tobytes(), *legal))
    known, origin, actions, count = seen.setdefault((seat, key), (look, play.origin, play.actions, len(play.actions)))
    if look != known:
        other = f"{origin}, then actions {actions[:count]}"
        raise play.broken("information_key", f"{key} to seat {seat} as after {other}", "another: they look different")


def check_scores(play: Play) -> None:
    """Scores and values of a finished game are in range."""
    low, high = play.game.score_range
    scores = scores_of(play)
    if not all(low <= score <= high for score in scores):
        raise play.broken("returns", scores.tolist(), f"scores from {low} to {high}")


def scores_of(play: Play) -> np.ndarray:
    return play.fill("returns", play.game.seats, np.float32)


def check_heuristic(play: Play, legal: list[int], stream: np.ndarray) -> int:
    """The heuristic's action: legal, and the same for the same stream."""
    action, again = (play.ask("heuristic", stream.copy()) for _ in range(2))
    if action != again or action not in (NO_OPINION, *legal):
        raise play.broken("heuristic", f"{action} and then {again}", f"twice the same of {[NO_OPINION, *legal]}")
    return action


def check_texts(play: Play) -> None:
    """Texts are there for every seat and for one who sees all."""
    for seat in (None, *range(play.game.seats)):
        text = play.game.text(play.array, seat)
        if not isinstance(text, str) or not text.strip():
            raise play.broken("text", f"{text!r} to seat {seat}", "a text")


def knowledge(play: Play, seat: int, stream: np.ndarray) -> dict[str, Any]:
    """All that the rules tell a seat, by rule."""
    mover, legal = check_turn(play)
    told: dict[str, Any] = {"seat": mover, "observe": observation(play, seat).tolist()}
    told["text"] = play.game.text(play.array, seat)
    if mover == OVER:
        told["returns"] = scores_of(play).tolist()
    if mover == seat:
        told["legal"] = legal
        told["information_key"] = play.ask("information_key", seat)
        told["heuristic"] = check_heuristic(play, legal, stream)
    return told


def check_redeal(play: Play, path: tuple[int, ...]) -> bool:
    """Redealing for a seat keeps all that it is told, and the game can be played on; returns whether it changed any."""
    changed = False
    stream = rng.stream(*path)
    for seat in range(play.game.seats):
        draw = (*path, seat)
        then = f"{play.origin}, then actions {play.actions}, redeal({seat}, stream{draw})"
        plays = [play.copy(then) for _ in range(2)]
        for fresh in plays:
            status = fresh.change("redeal", seat, rng.stream(*draw))
            if status != OK:
                raise fresh.broken("redeal", f"status {status}", OK)
        if plays[0].array.tobytes() != plays[1].array.tobytes():
            raise play.broken("redeal", f"two different states from stream{draw} for seat {seat}", "one")
        differs = plays[0].array.tobytes() != play.array.tobytes()
        if differs and not play.game.hidden:
            raise play.broken("redeal", f"another state for seat {seat}", "the same: the game says it hides nothing")
        changed |= differs
        after = knowledge(plays[0], seat, stream)
        for rule, told in knowledge(play, seat, stream).items():
            if after[rule] != told:
                wanted = f"{told} as before redeal for seat {seat}, which can tell no difference"
                raise plays[0].broken(rule, repr(after[rule]), wanted)
        if differs:
            play_on(plays[0], len(play.actions), rng.stream(*draw, 0))
    return changed


def play_on(play: Play, played: int, dice: np.ndarray) -> None:
    """A random game from a redealt state ends in time, with scores in range."""
    while True:
        seat, legal = check_turn(play)
        if seat == OVER:
            return check_scores(play)
        if played + len(play.actions) >= play.game.max_steps:
            raise play.broken("seat", f"a game not over after {play.game.max_steps} steps", "its end by then")
        action = legal[rng.below(dice, len(legal))]
        status = play.change("step", action)
        if status != OK:
            raise play.broken("step", f"status {status} for legal action {action}", OK)
        play.actions.append(action)


def check_twins(play: Play, path: tuple[int, ...]) -> None:
    """Compare every rule with its plain Python function in every state of a random game."""
    game, dice = play.game, rng.stream(*path, 3)
    fresh = Play(game, play.origin, Fenced(game.state_size, np.int32))
    fresh.array[:] = game.blank()
    compare(fresh, "deal", stream=rng.stream(*path))
    while True:
        seat, legal = check_turn(play)
        compare(play, "seat")
        compare(play, "legal", out=np.zeros(game.max_legal, dtype=np.int16))
        for who in range(game.seats):
            compare(play, "observe", who, out=np.zeros(game.observation_size, dtype=np.int8))
            compare(play, "redeal", who, stream=dice)
        if seat == OVER:
            return compare(play, "returns", out=np.zeros(game.seats, dtype=np.float32))
        compare(play, "information_key", seat)
        compare(play, "heuristic", stream=dice)
        for action in (*legal, -1, game.actions):
            compare(play, "step", action)
        advance(play, legal[rng.below(dice, len(legal))])


def compare(play: Play, name: str, *arguments: Any, out: Any = None, stream: Any = None) -> None:
    """Run a rule compiled and as plain Python: results and all arrays must be equal."""
    rule, results = getattr(play.game.rules, name), []
    for function in (rule, rule.py_func):
        arrays = [array.copy() for array in (play.array, out, stream) if array is not None]
        try:
            with np.errstate(over="ignore"):  # numpy warns where machine words wrap around, as keys and streams want
                result = int(function(arrays[0], *arguments, *arrays[1:]))
        except Exception as error:
            raise play.broken(name, f"{type(error).__name__} as plain Python: {error}", "what it gives compiled") from error
        results.append((result, *(array.tolist() for array in arrays)))
    for compiled, plain in zip(*results, strict=True):
        if compiled != plain:
            raise play.broken(name, f"{plain} as plain Python", f"{compiled} as compiled")
