"""What the commands that play matches share: who plays, games kept whatever happens, paths, numbers in JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from scoundrel_ray.game import Game
from scoundrel_ray.players import Participant, participant
from scoundrel_ray.playing.record import GameRecord, save_all
from scoundrel_ray.runs.progress import ProgressBar
from scoundrel_ray.runs.settings import EvaluationConfig
from scoundrel_ray.settings.checks import InvalidConfig, makeable, path_or_none, writable
from scoundrel_ray.storage.weights import SavedWeights


def agent_section(weights: SavedWeights, search: Mapping[str, Any]) -> dict[str, Any]:
    """A trained agent's section, of weights that have been read."""
    from inference.agent import TARGET

    return {"_target_": TARGET, "weights": weights.arrays, "network": weights.network, "search": dict(search)}


def participants(
    game: Game, players: Mapping[str, Mapping[str, Any]], names: Sequence[str], evaluation: EvaluationConfig
) -> dict[str, Participant]:
    """Those of the players, sections by name, that will play; their files are read."""
    return {
        name: participant(f"evaluation.players.{name}", players[name], game, positions=evaluation.shard, threads=1)
        for name in names
    }


def play(
    console: Console,
    what: str,
    game: Game,
    players: Mapping[str, Participant],
    matches: Sequence[tuple[str, ...]],
    evaluation: EvaluationConfig,
    cpus: int,
    file: Path,
) -> tuple[dict[tuple[str, ...], np.ndarray], list[GameRecord]]:
    """Scores of every match's first player (see `evaluation.deals`), and all games.

    Args:
        console: for the progress.
        what: is being done, for the progress.
        game: the rules.
        players: who may play.
        matches: who plays, by name.
        evaluation: which games.
        cpus: of a local Ray.
        file: where the records will go. After an interrupt or an error those by then are saved beside it, with the
            suffix .part.jsonl, so that an older collection stays.
    """
    from actors.cluster import connected, undisturbed
    from actors.evaluation import evaluate

    played: list[GameRecord] = []
    try:
        with connected(cpus), ProgressBar(what, console) as bar:
            show = bar.show
            scores = evaluate(game, players, matches, evaluation, lambda done, total: show(done / total), played)
    except BaseException:
        with undisturbed():
            keep(console, file.with_name(f"{file.stem}.part{file.suffix}"), played)
        raise
    return scores, played


def keep(console: Console, path: Path, played: Sequence[GameRecord]) -> None:
    """Save the games that were played, if any."""
    if played:
        save_all(path, played)
        console.print(f"records: {path} ({len(played)} games)", soft_wrap=True)


def finite(value: Any) -> Any:
    """The same with null for what JSON has no number for, as the interval of a single game."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def wanted_path(key: str, value: Any) -> Path:
    """The path that a setting names. Refuse null."""
    path = path_or_none(key, value)
    if path is None:
        raise InvalidConfig(f"{key}: got null, wanted a path")
    return path


def outputs(settings: Mapping[str, Any], own: Path) -> tuple[Path, Path]:
    """Where a command's plot and records go.

    Args:
        settings: of the command: `plot` and `records`, null where the user names no file.
        own: plot of a fresh directory, which is made once there is something to write.
    """
    plot, file = (path_or_none(key, settings[key]) for key in ("plot", "records"))
    if plot is None:
        makeable("plot", own.parent)
    else:
        png(plot)
    beside = (plot or own).with_suffix(".jsonl")
    return plot or own, beside if file is None and plot is None else writable("records", file or beside)


def png(path: Path) -> Path:
    """The path of a plot to be written."""
    if path.suffix != ".png":
        raise InvalidConfig(f"plot: got {str(path)!r}, wanted a .png file")
    return writable("plot", path)
