"""Playthroughs: one whole game each as a text to read, held against the rules by test_playthroughs.

Whatever changes a deal, a rule, what a seat is shown or how it is told shows up as a difference in a text. After a
change that is meant, write them anew and read the difference before you commit it:

    python -m tests.games.playthrough

**Source:** the idea is that of OpenSpiel's playthrough files (Lanctot et al. 2019).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.game import NO_OPINION, Game
from scoundrel_ray.settings.build import build
from scripts.entry import section

DIRECTORY = Path(__file__).parent / "playthroughs"
WIDTH = 118


class Playthrough(NamedTuple):
    """Which game is played through.

    Attributes:
        game: its name in conf/game.
        seed: of the deal and of the actions.
        changes: to the options that conf/game gives.
        all_seats: show in full what every seat is shown, not the mover alone.
        sense: of eight actions, how many are the heuristic's, on average; the others are drawn uniformly.
    """

    game: str
    seed: int
    changes: dict[str, Any] = {}  # noqa: RUF012 (nobody changes it)
    all_seats: bool = False
    sense: int = 4


PLAYTHROUGHS = {
    "tic_tac_toe": Playthrough("tic_tac_toe", 1, all_seats=True),
    "connect_four": Playthrough("connect_four", 1, all_seats=True),
    "scoundrel_won": Playthrough("scoundrel", 8, sense=7),
    "scoundrel_lost": Playthrough("scoundrel", 1),
    "scoundrel_other_readings": Playthrough(
        "scoundrel",
        12,
        {
            "weapon_limit": "below",
            "last_room": "all_but_one",
            "avoided": "shuffled",
            "losing_score": "clamped",
            "bonus": "last_drunk",
            "objective": "score",
        },
        sense=7,
    ),
    "blob_round": Playthrough("blob", 3, {"players": [3, 4, 5], "cards": 3}),
    "blob_game": Playthrough("blob", 2, {"players": 3, "cards": 2, "mode": "game"}),
}


def path_of(name: str) -> Path:
    """Where a playthrough is kept."""
    return DIRECTORY / f"{name}.txt"


def game_of(playthrough: Playthrough) -> Game:
    """The game that is played through."""
    return build("game", section("game", playthrough.game) | playthrough.changes, Game)


def write(name: str) -> str:
    """The text of a playthrough, as the rules are now."""
    playthrough = PLAYTHROUGHS[name]
    game, seed = game_of(playthrough), playthrough.seed
    lines = header(game, seed)
    state, dice, number = game.deal(rng.stream(seed)), rng.stream(seed, 1), 0
    while (mover := game.seat(state)) >= 0:
        legal = game.legal(state)
        opinions = {
            rule: int(getattr(game.rules, rule)(state.copy(), rng.stream(seed, 2, number)))
            for rule in ("heuristic", "playout")
        }
        action = drawn(dice, playthrough.sense, legal, opinions["heuristic"])
        forced = len(legal) == 1
        lines += ["", f"== {number}: seat {mover} {'is forced' if forced else 'to move'} =="]
        lines += rstripped(game.text(state, None))
        for seat in range(game.seats):
            if playthrough.all_seats or (seat == mover and not forced):
                lines += shown_in_full(game, state, seat)
            else:
                lines.append(f"seat {seat} is shown {runs(game.observe(state, seat))}")
        lines.append(f"key of seat {mover}: {game.information_key(state, mover):016x}")
        if game.hidden and not forced:
            fresh = game.redeal(state, mover, rng.stream(seed, 3, number))
            lines += redealt(game, state, fresh, mover)
        lines += wrapped("legal: ", [f"{a} {game.action_names[a]}" for a in legal], ", ")
        named = [f"{rule}: {game.action_names[a]}" for rule, a in opinions.items() if a != NO_OPINION]
        lines += wrapped("", named, ", ")
        lines.append(f"action: {game.action_names[action]}")
        state = game.step(state, action)
        number += 1
    lines += ["", f"== over after {number} steps =="]
    lines += rstripped(game.text(state, None))
    for seat in range(game.seats):
        lines.append(f"seat {seat} is shown {runs(game.observe(state, seat))}")
    scores = game.scores(state)
    lines.append(f"players: {game.players(state)} of {game.seats}")
    lines.append(f"scores: {numbers(scores)}")
    lines.append(f"values: {numbers(game.values(scores))}")
    lines.append(f"won: {', '.join(f'seat {seat}' for seat in np.flatnonzero(game.won(scores))) or 'nobody'}")
    return "\n".join(lines) + "\n"


def header(game: Game, seed: int) -> list[str]:
    """What the game is: sizes, options, fields."""
    options = ", ".join(f"{name}={value}" for name, value in game.options.items())
    knots = ", ".join(f"{score:g} is {value:g}" for score, value in game.value_knots)
    wins = "more than any other seat" if game.win_above is None else f"more than {game.win_above:g}"
    return [
        f"game {game.name}, version {game.version}",
        *wrapped("options: ", [options or "none"], ""),
        f"header: {runs(np.array(game.header)) or 'empty'}",
        f"seats {game.seats}, actions {game.actions}, state {game.state_size}, observation {game.observation_size}",
        f"most legal {game.max_legal}, most steps {game.max_steps}",
        f"scores {game.score_range[0]:g} to {game.score_range[1]:g}; as values: {knots}; won with {wins}",
        f"hides something: {'yes' if game.hidden else 'no'}; symmetries: {len(game.symmetries or [1])}",
        "fields:",
        *(f"  {f.name:<16} {f.size:>3} {f.kind} {f.low} to {f.high}" for f in game.observation),
        f"dealt from stream({seed})",
    ]


def drawn(dice: np.ndarray, sense: int, legal: np.ndarray, heuristic: int) -> int:
    """An action, by the rule of thumb or uniform, so that games neither end at once nor are all alike."""
    by_rule, place = int(rng.below(dice, 8)) < sense, int(rng.below(dice, len(legal)))
    return heuristic if by_rule and heuristic != NO_OPINION else int(legal[place])


def shown_in_full(game: Game, state: np.ndarray, seat: int) -> list[str]:
    """What a seat is shown: the text, unless it is that of one who sees all, and the observation by field."""
    seen, everything = rstripped(game.text(state, seat)), rstripped(game.text(state, None))
    hidden = [line for line in everything if line not in seen]
    lines = [f"seat {seat} is shown"]
    if seen == [line for line in everything if line in seen]:
        lines[0] += f" all but {'; '.join(line.split()[0] for line in hidden)}" if hidden else " all"
    else:
        lines += [f"  | {line}" for line in seen]
    observation, start, fields = game.observe(state, seat), 0, []
    for f in game.observation:
        fields.append(f"{f.name} {runs(observation[start : start + f.size])}")
        start += f.size
    return lines + wrapped("  ", fields, "; ")


def redealt(game: Game, state: np.ndarray, fresh: np.ndarray, seat: int) -> list[str]:
    """Lines of the text for one who sees all that another deal of what a seat cannot know changes."""
    before, after = rstripped(game.text(state, None)), rstripped(game.text(fresh, None))
    changed = [f"  {line}" for line, old in zip(after, before, strict=True) if line != old]
    return [f"redealt for seat {seat}:", *(changed or ["  nothing else"])]


def runs(values: np.ndarray) -> str:
    """Integers, three equal ones and more as value*count."""
    out, start = [], 0
    for end in range(1, len(values) + 1):
        if end == len(values) or values[end] != values[start]:
            count = end - start
            out += [f"{values[start]}*{count}"] if count > 2 else [f"{values[start]}"] * count
            start = end
    return " ".join(out)


def numbers(values: np.ndarray) -> str:
    return " ".join(f"{float(value):.7g}" for value in values)


def wrapped(first: str, parts: list[str], between: str) -> list[str]:
    """Parts behind `first`, in lines of at most WIDTH; none for none."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(between) + len(part) <= WIDTH:
            lines[-1] += between + part
        else:
            lines.append((" " * len(first) if lines else first) + part)
    return lines


def rstripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def main() -> None:
    """Write all playthroughs anew and remove those of other names."""
    DIRECTORY.mkdir(exist_ok=True)
    for path in DIRECTORY.glob("*.txt"):
        if path.stem not in PLAYTHROUGHS:
            path.unlink()
    for name in PLAYTHROUGHS:
        path_of(name).write_text(write(name), encoding="utf-8")


if __name__ == "__main__":
    main()
