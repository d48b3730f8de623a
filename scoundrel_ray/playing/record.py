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
from scoundrel_ray.game import OVER, Game, IllegalAction, everyone
from scoundrel_ray.notices import warn
from scoundrel_ray.searches.forest import Decisions
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.earlier import current
from scoundrel_ray.settings.handed import check_targets
from scoundrel_ray.storage.durable import flush, written_beside

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
        opening: decisions at the start that were drawn at random for all players alike.
        scores: of every seat, in the game's points; empty while the game goes on.
        thoughts: of the decisions that were searched.
    """

    game: Mapping[str, Any]
    seed: Sequence[int]
    actions: list[int] = field(default_factory=list)
    players: Sequence[str] = ()
    seat: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    opening: int = 0
    scores: list[float] = field(default_factory=list)
    thoughts: list[Thought] = field(default_factory=list)

    @property
    def score(self) -> float:
        """Points of the player whose game it is."""
        return self.scores[self.seat]

    def playing(self, game: Game) -> np.ndarray:
        """Which seats played: [P] bool; the others stayed empty in this deal."""
        if game.rules.players is everyone:
            return np.ones(game.seats, dtype=bool)
        return np.arange(game.seats) < game.players(game.deal(rng.stream(*self.seed)))

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
    with written_beside(path) as temporary, temporary.open("wb") as file:
        for record in records:
            file.write(f"{record.line()}\n".encode())
        flush(file)


def load_all(path: Path) -> list[GameRecord]:
    """A collection's records, as yet unproved (see `proved`); a last line that was cut off is left out, and warned of.

    Raises:
        InvalidRecord: naming the file, the line and what is wrong.
        InvalidConfig: if the game is foreign code (see `settings.handed`).
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRecord(f"{path}: cannot read a record of a game: {error}") from error
    lines = text.splitlines()
    if len(lines) > 1 and not text.endswith("\n") and not _is_json(lines[-1]):
        cut = len(lines)
        lines.pop()
        warn(__name__, f"{path}, line {cut}: cut off and left out; the {len(lines)} games before it are whole")
    if not lines:
        raise InvalidRecord(f"{path}: cannot read a record of a game: the file is empty")
    return [_parsed(f"{path}, line {number}", line) for number, line in enumerate(lines, 1)]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


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
    if not _counts(body["seed"]) or not _counts(body["actions"]) or not body["seed"]:
        raise InvalidRecord(f"{where}: wanted a seed and actions that are integers >= 0")
    try:
        record = GameRecord(**body)
        record.thoughts = [Thought(**each) for each in body.get("thoughts", [])]
    except TypeError as error:
        raise InvalidRecord(f"{where}: not a record of a game: {error}") from error
    if not isinstance(record.settings, dict) or not isinstance(record.opening, int):
        raise InvalidRecord(f"{where}: wanted settings by player and a number of opening decisions")
    check_targets(where, {"game": record.game})
    record.settings = current(record.settings)
    players, scores = record.players, record.scores
    if not isinstance(players, list) or not all(isinstance(name, str) for name in players):
        raise InvalidRecord(f"{where}: wanted players by name")
    fit = isinstance(scores, list) and (not scores or len(scores) == len(players))
    if not fit or not _numbers(scores) or not _counts([record.seat]) or record.seat >= max(len(players), 1):
        raise InvalidRecord(f"{where}: scores, players and seat do not fit together")
    for each in record.thoughts:
        lists = (each.actions, each.visits, each.values, each.policy)
        if not all(isinstance(part, list) for part in lists) or len({len(part) for part in lists if part}) > 1:
            raise InvalidRecord(f"{where}: wanted a visit count and a value for every action that was thought of")
        values = [value for value in each.values if value is not None]
        if not _counts([each.move, each.seat, *each.actions, *each.visits]) or not _numbers([*values, *each.policy]):
            raise InvalidRecord(f"{where}: wanted numbers for what was thought")
    return record


def _counts(values: list[Any]) -> bool:
    """Whether all are integers from 0 that fit a machine word."""
    return all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**31 for n in values)


def _numbers(values: list[Any]) -> bool:
    return all(isinstance(n, int | float) and not isinstance(n, bool) for n in values)


def proved(where: str, record: GameRecord) -> Game:
    """The game of a record, which is replayed once.

    Raises:
        InvalidRecord: if its game refuses an action, or comes to another end than it says.
    """
    game = build(f"{where}: game", record.game, Game)
    try:
        end = record.states(game)[-1]
    except IllegalAction as error:
        raise InvalidRecord(f"{where}: {error}") from error
    if record.players and len(record.players) != game.seats:
        raise InvalidRecord(f"{where}: {len(record.players)} players, wanted {game.seats}")
    if any(action >= game.actions for each in record.thoughts for action in each.actions):
        raise InvalidRecord(f"{where}: thoughts of an action that {game.name} has not")
    if record.scores and game.seat(end) != OVER:
        raise InvalidRecord(f"{where}: scores of a game that is not over")
    if record.scores and game.scores(end).tolist() != record.scores:
        raise InvalidRecord(f"{where}: scores {record.scores}, but its actions lead to {game.scores(end).tolist()}")
    return game
