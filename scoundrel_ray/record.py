"""A game as data: its config, seed and actions. It replays exactly, because all chance is drawn by `deal`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.config import build
from scoundrel_ray.durable import write_file
from scoundrel_ray.game import Game, IllegalAction

_FORMAT = 1


class InvalidRecord(ValueError):
    """A file that holds no playable record; the message names the file and what is wrong."""


@dataclass
class GameRecord:
    """What was played.

    Attributes:
        game: config section of the game (`_target_` and options).
        seed: of the deal: `rng.stream(seed)`.
        actions: in order, forced ones included.
    """

    game: Mapping[str, Any]
    seed: int
    actions: list[int] = field(default_factory=list)

    def states(self, game: Game) -> list[np.ndarray]:
        """Every state from the deal to the present one.

        Raises:
            IllegalAction: where an action is not legal in its state.
        """
        states = [game.deal(rng.stream(self.seed))]
        for action in self.actions:
            states.append(game.step(states[-1], action))
        return states

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        body = {"format": _FORMAT, "game": dict(self.game), "seed": self.seed, "actions": self.actions}
        write_file(path, (json.dumps(body) + "\n").encode())


def load(path: Path) -> tuple[GameRecord, Game]:
    """A saved record and its game, replayed once to prove it.

    Raises:
        InvalidRecord: for a file that is no record, or whose actions its game refuses.
    """
    try:
        body = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidRecord(f"{path}: cannot read a record of a game: {error}") from error
    wanted = {"format": int, "game": dict, "seed": int, "actions": list}
    if not isinstance(body, dict) or any(not isinstance(body.get(k), t) for k, t in wanted.items()):
        raise InvalidRecord(f"{path}: not a record of a game; wanted the keys {', '.join(wanted)}")
    if body["format"] != _FORMAT:
        raise InvalidRecord(f"{path}: record format {body['format']}, this version reads {_FORMAT}")
    if body["seed"] < 0 or not all(isinstance(a, int) for a in body["actions"]):
        raise InvalidRecord(f"{path}: wanted a seed >= 0 and integer actions")
    record = GameRecord(body["game"], body["seed"], body["actions"])
    game = build(f"{path}: game", body["game"], Game)
    try:
        record.states(game)
    except IllegalAction as error:
        raise InvalidRecord(f"{path}: {error}") from error
    return record, game
