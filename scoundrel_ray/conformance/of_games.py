"""Whether a game keeps the contract of `scoundrel_ray.game`: `check_game`, to be called on your own game as well.

Random games are played, every second one mostly by the game's heuristic, and all that the contract promises is checked
in their states; symmetries excepted, which say nothing of states. Rules run on arrays between fences, so that a write
past an end is found and does no harm.
"""

from __future__ import annotations

import inspect
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.conformance.fenced import Play, dealt
from scoundrel_ray.game import ILLEGAL, NO_OPINION, OVER, Game, InvalidGame

_REDEALT = 4  # one state in so many is redealt, and the game played on from there


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
    changed = [check_one(dealt(game, seed, i), (seed, i), seen) for i in range(games)]
    if game.hidden and changed and not any(changed):
        raise InvalidGame(
            f"game {game.name}: rule redeal gave the same state every time, wanted others, as it is hidden"
        )
    made: dict[Any, Any] = {}
    rules = {name: (each, without_numba(each, made)) for name, each in game.rules._asdict().items()}
    for i in range(games, games + twins):
        check_twins(dealt(game, seed, i), (seed, i), rules)


def check_one(play: Play, path: tuple[int, ...], seen: dict[tuple[int, int], Any]) -> bool:
    """Check every state of one random game; returns whether `redeal` ever changed one."""
    changed, dice, players = False, rng.stream(*path, 1), check_players(play)
    while True:
        seat, legal = check_turn(play)
        if check_players(play) != players:
            raise play.broken("players", check_players(play), f"{players}, as when it was dealt")
        check_steps(play, legal)
        for who in range(play.game.seats):
            check_observation(play, who)
        if seat != OVER:
            check_key(play, seat, legal, seen)
        if seat == OVER or rng.below(dice, _REDEALT) == 0:
            changed |= check_redeal(play, (*path, 2, len(play.actions)))
        if seat == OVER:
            return changed
        action = opinion(play, "heuristic", legal, dice.copy())
        if action == NO_OPINION or path[-1] % 2 == 0 or rng.below(dice, 4) == 0:
            action = legal[rng.below(dice, len(legal))]
        play.play(action)


def check_turn(play: Play) -> tuple[int, list[int]]:
    """Whose turn it is and the legal actions, which must agree and be in order; the scores of a finished game."""
    game, seat, players = play.game, play.call("seat"), check_players(play)
    if not OVER <= seat < players:
        raise play.broken("seat", seat, f"-1 to {players - 1}")
    legal = play.filled("legal", game.max_legal, np.int16)
    if legal != sorted(set(legal)) or (legal and not 0 <= legal[0] <= legal[-1] < game.actions):
        raise play.broken("legal", legal, f"ascending, different actions from 0 to {game.actions - 1}")
    if (seat == OVER) == bool(legal):
        raise play.broken("seat", f"{seat} with legal actions {legal}", "-1 exactly where none is legal")
    if seat == OVER:
        scores, (low, high) = play.filled("returns", game.seats, np.float32), game.score_range
        if not all(low <= score <= high for score in scores):
            raise play.broken("returns", scores, f"scores from {low} to {high}")
        if any(scores[players:]):
            raise play.broken("returns", scores, f"0 for the seats from {players} on, which are empty")
    return seat, legal


def check_players(play: Play) -> int:
    """How many play: at least one, at most as many as there are seats."""
    players = play.call("players") or play.game.seats
    if not 1 <= players <= play.game.seats:
        raise play.broken("players", players, f"1 to {play.game.seats}, or 0 for that")
    return players


def check_steps(play: Play, legal: list[int]) -> None:
    """Every legal action is accepted, always with the same outcome, and every other refused."""
    before, trial, step = play.state.array.tobytes(), play.copy(), play.game.rules.step
    for action in sorted(set(range(-1, play.game.actions + 1)) - set(legal)):
        status = step(trial.state.array, action)
        if status != ILLEGAL:
            raise play.broken("step", f"status {status} for illegal action {action}", f"ILLEGAL = {ILLEGAL}")
        if trial.state.array.tobytes() != before:
            raise play.broken("step", f"a changed state for illegal action {action}", "an untouched one")
    if not trial.state.intact():
        raise play.broken("step", "a write outside the state for an illegal action", "none")
    for action in legal:
        after = set()
        for _ in range(2):
            trial.state.array[:] = play.state.array
            trial.change("step", action)
            after.add(trial.state.array.tobytes())
        if len(after) > 1:
            raise play.broken("step", f"two different states after action {action}", "one: all chance is in deal")


def fields(play: Play, seat: int) -> dict[str, list[int]]:
    """A seat's observation by field."""
    entries, parts = play.observation(seat), {}
    for part in play.game.observation:
        parts[part.name], entries = entries[: part.size], entries[part.size :]
    return parts


def check_observation(play: Play, seat: int) -> None:
    """Every entry is within the range of its field."""
    for part, values in zip(play.game.observation, fields(play, seat).values(), strict=True):
        if min(values) < part.low or max(values) > part.high:
            raise play.broken("observe", f"{part.name} {values} to seat {seat}", f"{part.low} to {part.high}")


def check_key(play: Play, seat: int, legal: list[int], seen: dict[tuple[int, int], Any]) -> None:
    """States with equal keys look alike to the mover: over all games of the check."""
    key, again = play.call("information_key", seat), play.call("information_key", seat)
    if key != again:
        raise play.broken("information_key", f"{key} and {again} for one state", "one key")
    look = hash(tuple(play.observation(seat)))
    first = look, legal, play.origin, play.actions, len(play.actions)
    known, listed, origin, actions, count = seen.setdefault((seat, key), first)
    other = f"for {origin}, actions {actions[:count]}"
    if look != known:
        raise play.broken("information_key", f"{key} to seat {seat} as {other}", "another: they look different")
    if legal != listed:
        raise play.broken("legal", legal, f"{listed} as {other}, which looks the same to seat {seat}")


def opinion(play: Play, rule: str, legal: list[int], stream: np.ndarray) -> int:
    """The action of `heuristic` or `playout`: legal, and always the same for the same stream."""
    action, again = (play.call(rule, stream.copy()) for _ in range(2))
    if action != again or action not in (NO_OPINION, *legal):
        raise play.broken(rule, f"{action}, then {again}", f"twice the same one of {[NO_OPINION, *legal]}")
    return action


def text(play: Play, seat: int | None) -> str:
    shown = play.game.text(play.state.array, seat)
    if not isinstance(shown, str) or not shown.strip():
        raise play.broken("text", f"{shown!r} to seat {seat}", "a text")
    return shown


def knowledge(play: Play, seat: int, stream: np.ndarray) -> dict[str, Any]:
    """All that the rules tell a seat, by rule."""
    mover, legal = check_turn(play)
    known: dict[str, Any] = {f"observe of {name}": values for name, values in fields(play, seat).items()}
    known |= {"seat": mover, "players": check_players(play), "text": text(play, seat)}
    if mover == OVER:
        known["returns"] = play.filled("returns", play.game.seats, np.float32)
    if mover == seat:
        known["legal"] = legal
        known["information_key"] = play.call("information_key", seat)
        for rule in ("heuristic", "playout"):
            known[rule] = opinion(play, rule, legal, stream)
    return known


def check_redeal(play: Play, path: tuple[int, ...]) -> bool:
    """Whether redealing changes anything for any seat; checks that each still knows the same and can play on."""
    changed, before = False, play.state.array.tobytes()
    for who in (None, *range(play.game.seats)):
        text(play, who)
    for seat in range(play.game.seats):
        draw = (*path, seat)
        origin = f"{play.origin}, redeal({seat}, stream{draw}) after {len(play.actions)} actions"
        fresh, again = play.copy(origin), play.copy(origin)
        for each in (fresh, again):
            each.change("redeal", seat, rng.stream(*draw))
        if fresh.state.array.tobytes() != again.state.array.tobytes():
            raise play.broken("redeal", f"two different states from stream{draw} for seat {seat}", "one")
        if fresh.state.array.tobytes() == before:
            continue
        if not play.game.hidden:
            raise play.broken("redeal", f"another state for seat {seat}", "the same: the game says it hides nothing")
        twins = fresh.copy(origin), play.copy(origin)
        for each in twins:
            each.change("redeal", seat, rng.stream(*draw, 1))
        if twins[0].state.array.tobytes() != twins[1].state.array.tobytes():
            raise fresh.broken(
                "redeal",
                f"two different states from stream{(*draw, 1)} for seat {seat}",
                "that of before: it knows no more",
            )
        changed, known = True, knowledge(fresh, seat, rng.stream(*draw))
        for rule, wanted in knowledge(play, seat, rng.stream(*draw)).items():
            if known[rule] != wanted:
                raise fresh.broken(
                    rule, repr(known[rule]), f"{wanted!r}, as before redeal for seat {seat}: it knows no more"
                )
        dice = rng.stream(*draw, 0)
        while legal := check_turn(fresh)[1]:  # played on to its end
            fresh.play(legal[rng.below(dice, len(legal))])
    return changed


def without_numba(value: Any, made: dict[Any, Any]) -> Any:
    """A compiled function, or a module with some, as plain Python throughout: what it calls is replaced, too.

    Left compiled, a helper would return Python integers, which lose that they were uint64. `made` holds those done.
    """
    if inspect.ismodule(value):
        twins = {name: without_numba(each, made) for name, each in vars(value).items() if hasattr(each, "py_func")}
        return SimpleNamespace(**{**vars(value), **twins}) if twins else value
    function = getattr(value, "py_func", None)
    if function is None:
        return value
    if function not in made:
        names: dict[str, Any] = {}
        made[function] = FunctionType(function.__code__, names, None, function.__defaults__, function.__closure__)
        names.update({name: without_numba(each, made) for name, each in function.__globals__.items()})
    return made[function]


def check_twins(play: Play, path: tuple[int, ...], rules: dict[str, tuple[Any, Any]]) -> None:
    """Compare every rule with its plain Python function in every state of a random game."""
    game, dice = play.game, rng.stream(*path, 3)

    def compare(name: str, *arguments: Any, out: Any = None, stream: Any = None) -> None:
        """Results and all arrays must be equal."""
        results = []
        for function in rules[name]:
            arrays = [array.copy() for array in (play.state.array, out, stream) if array is not None]
            try:
                with np.errstate(over="ignore"):  # numpy warns where machine words wrap around, as hashes want them to
                    result = int(function(arrays[0], *arguments, *arrays[1:]))
            except Exception as error:
                got = f"{type(error).__name__} as plain Python: {error}".splitlines()[0]
                raise play.broken(name, got, "what it gives compiled") from error
            results.append((result, *(array.tolist() for array in arrays)))
        for compiled, twin in zip(*results, strict=True):
            if str(compiled) != str(twin):  # as text, so that nan equals nan
                raise play.broken(name, f"{twin} as plain Python", f"{compiled} as compiled")

    compare("deal", stream=dice)
    while True:
        seat, legal = check_turn(play)
        compare("seat")
        compare("players")
        compare("legal", out=np.zeros(game.max_legal, dtype=np.int16))
        for who in range(game.seats):
            compare("observe", who, out=np.zeros(game.observation_size, dtype=np.int8))
            compare("redeal", who, stream=dice)
        if seat == OVER:
            return compare("returns", out=np.zeros(game.seats, dtype=np.float32))
        compare("information_key", seat)
        for rule in ("heuristic", "playout"):
            compare(rule, stream=dice)
        for action in (*legal, -1, game.actions):
            compare("step", action)
        play.play(legal[rng.below(dice, len(legal))])
