"""What the commands that play matches share: agents as players, games kept whatever happens, paths, numbers in JSON."""

from __future__ import annotations

import hashlib
import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from scoundrel_ray.game import Game
from scoundrel_ray.playing.record import GameRecord, save_all
from scoundrel_ray.runs.progress import ProgressBar
from scoundrel_ray.runs.settings import EvaluationConfig
from scoundrel_ray.settings.checks import InvalidConfig, path_or_none, writable
from scoundrel_ray.storage.weights import SavedWeights

Agents = Mapping[str, tuple[SavedWeights, dict[str, Any]]]  # weights and section of each, by name


def agent_section(weights: SavedWeights, search: Mapping[str, Any]) -> dict[str, Any]:
    """Section of an agent; it tells its weights from others' in records."""
    digest = hashlib.sha256()
    for name in sorted(weights.arrays):
        digest.update(name.encode() + np.ascontiguousarray(weights.arrays[name]).tobytes())
    return {"network": weights.network, "search": dict(search), "weights": digest.hexdigest()[:16]}


def play(
    console: Console,
    what: str,
    game: Game,
    agents: Agents,
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
        agents: who play besides evaluation.players.
        matches: who plays, by name.
        evaluation: which games.
        cpus: of a local Ray.
        file: where the records will go. After an interrupt or an error those by then are saved beside it, with the
            suffix .part.jsonl, so that an older collection stays.
    """
    from actors.cluster import connected
    from actors.evaluation import evaluate

    sections = {**evaluation.players, **{name: own for name, (_, own) in agents.items()}}
    weights = {name: saved.arrays for name, (saved, _) in agents.items()}
    played: list[GameRecord] = []
    # From here on nothing is left half-written by an interrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with connected(cpus), ProgressBar(what, console) as bar:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray sets its own
            show = bar.show
            scores = evaluate(
                game, sections, weights, matches, evaluation, lambda done, total: show(done / total), played
            )
    except BaseException:
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


def png(path: Path) -> Path:
    """The path of a plot to be written."""
    if path.suffix != ".png":
        raise InvalidConfig(f"plot: got {str(path)!r}, wanted a .png file")
    return writable("plot", path)
