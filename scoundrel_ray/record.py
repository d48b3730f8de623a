"""Games as data: config, seed and actions. They replay exactly, because all chance is drawn by `deal`.

A record is one JSON object, a collection a file of them, one a line (JSONL).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.config import build
from scoundrel_ray.durable import written_beside
from scoundrel_ray.game import Game, IllegalAction
from scoundrel_ray.searches.forest import Decisions

_FORMAT = 2
_DIGITS = 4  # of values


class InvalidRecord(ValueError):
    """A file that holds no playable record; the message names the file and what is wrong."""


@dataclass
class Thought:
    """What a search said at one decision.

    Attributes:
        move: index of the action that it chose in the game's actions.
        seat: that decided.
        actions: legal ones.
        visits: of each.
        values: of each to that seat, in [-1, 1]; None where never visited.
        policy: share of each that the search recommends.
    """

    move: int
    seat: int
    actions: list[int]
    visits: list[int]
    values: list[float | None]
    policy: list[float] = field(default_factory=list)


@dataclass
class GameRecord:
    """What was played.

    Attributes:
        game: config section of the game (`_target_` and options).
        seed: path of the deal's stream: `rng.stream(*seed)`.
        actions: in order, forced ones included.
        players: who sat where, by name; empty where nobody asked.
        seat: of the player whose game it is, in an evaluation.
        settings: config section of each player.
        scores: of every seat, in the game's points; empty while the game goes on.
        thoughts: of the decisions that were searched.
    """

    game: Mapping[str, Any]
    seed: Sequence[int]
    actions: list[int] = field(default_factory=list)
    players: Sequence[str] = ()
    seat: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    scores: list[float] = field(default_factory=list)
    thoughts: list[Thought] = field(default_factory=list)

    @property
    def score(self) -> float:
        """Points of the player whose game it is."""
        return self.scores[self.seat]

    def states(self, game: Game) -> list[np.ndarray]:
        """Every state from the deal to the present one.

        Raises:
            IllegalAction: where an action is not legal in its state.
        """
        states = [game.deal(rng.stream(*self.seed))]
        for action in self.actions:
            states.append(game.step(states[-1], action))
        return states

    def line(self) -> str:
        """It as one line of JSON."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, separators=(",", ":"))

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        save_all(path, [self])


def thought(game: Game, state: np.ndarray, move: int, decisions: Decisions, row: int) -> Thought:
    """One row of a search's decisions as plain data."""
    seat, count = game.seat(state), int((decisions.actions[row] >= 0).sum())
    visits = decisions.visits[row, :count].tolist()
    totals = decisions.totals[row, :count, seat].tolist()
    values = [round(total / n, _DIGITS) if n else None for total, n in zip(totals, visits, strict=True)]
    policy = [round(share, _DIGITS) for share in decisions.policy[row, :count].tolist()]
    return Thought(move, seat, decisions.actions[row, :count].tolist(), visits, values, policy)


def save_all(path: Path, records: Iterable[GameRecord]) -> None:
    """Write a collection, whole or not at all."""
    with written_beside(path) as temporary, temporary.open("w") as file:
        for record in records:
            file.write(record.line() + "\n")


def load_all(path: Path) -> list[GameRecord]:
    """A collection's records, as yet unproved (see `proved`).

    Raises:
        InvalidRecord: naming the file, the line and what is wrong.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRecord(f"{path}: cannot read a record of a game: {error}") from error
    if not lines:
        raise InvalidRecord(f"{path}: cannot read a record of a game: the file is empty")
    return [_parsed(f"{path}, line {number}", line) for number, line in enumerate(lines, 1)]


def _parsed(where: str, line: str) -> GameRecord:
    try:
        body = json.loads(line)
    except json.JSONDecodeError as error:
        raise InvalidRecord(f"{where}: cannot read a record of a game: {error}") from error
    wanted = {"format": int, "game": dict, "seed": list, "actions": list}
    if not isinstance(body, dict) or any(not isinstance(body.get(k), t) for k, t in wanted.items()):
        raise InvalidRecord(f"{where}: not a record of a game; wanted the keys {', '.join(wanted)}")
    if body.pop("format") != _FORMAT:
        raise InvalidRecord(f"{where}: a record of another format, this version reads {_FORMAT}")
    numbers = [*body["seed"], *body["actions"]]
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in numbers) or not body["seed"]:
        raise InvalidRecord(f"{where}: wanted a seed and actions that are integers >= 0")
    try:
        thoughts = [Thought(**each) for each in body.pop("thoughts", [])]
        record = GameRecord(**body, thoughts=thoughts)
        scores = record.scores
        seats = not scores or (len(scores) == len(record.players) and 0 <= record.seat < len(scores))
        if not seats or not all(isinstance(score, int | float) for score in scores):
            raise TypeError("scores, players and seat do not fit together")
    except TypeError as error:
        raise InvalidRecord(f"{where}: not a record of a game: {error}") from error
    return record


def proved(where: str, record: GameRecord) -> Game:
    """The game of a record, which is replayed once.

    Raises:
        InvalidRecord: if its game refuses an action, or comes to other scores than it says.
    """
    game = build(f"{where}: game", record.game, Game)
    try:
        end = record.states(game)[-1]
    except IllegalAction as error:
        raise InvalidRecord(f"{where}: {error}") from error
    if record.scores and game.scores(end).tolist() != record.scores:
        raise InvalidRecord(f"{where}: scores {record.scores}, but its actions lead to {game.scores(end).tolist()}")
    return game
