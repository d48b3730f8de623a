"""Measure players over held deals: a trained agent beside named players on the same deals, or such players alone.

    python -m scripts.evaluate checkpoint=runs/... games=1000
    python -m scripts.evaluate checkpoint=runs/... baselines=[uct] evaluation.players.uct.simulations=20000
    python -m scripts.evaluate checkpoint=runs/... json=true > result.json
    python -m scripts.evaluate game=scoundrel evaluation=strength baselines=[heuristic,uct_1k]    no agent at all
    python -m scripts.evaluate compare=[a.jsonl,b.jsonl]        what was recorded, deal by deal

Every game is recorded, a line each, with what the searches said of every decision; `scripts.play record=... number=...`
shows one. The result is the same for any number of workers (`evaluation.workers`).
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from scoundrel_ray.checks import InvalidConfig, at_least, path_or_none, switch, writable
from scoundrel_ray.config import EvaluationConfig, build, plain, record
from scoundrel_ray.evaluation import collection, standings
from scoundrel_ray.game import Game
from scoundrel_ray.players import baselines_for
from scoundrel_ray.progress import ProgressBar
from scoundrel_ray.record import GameRecord, save_all
from scoundrel_ray.run_directory import EVALUATION, fresh_path, saved_config, start_weights, trained_weights
from scoundrel_ray.search import SearchConfig
from scripts.entry import run, wide_console


def measure(config: DictConfig) -> int:
    """Evaluate and print; exit code."""
    settings = plain(config)
    at_least("games", settings["games"], 1)
    at_least("first", settings["first"], 0)
    switch("json", settings["json"])
    switch("start", settings["start"])
    if not isinstance(settings["compare"], list):
        raise InvalidConfig(f"compare: got {settings['compare']!r}, wanted a list of files")
    console = wide_console(stderr=bool(settings["json"]))
    result = _compare(console, settings) if settings["compare"] else _play(console, settings)
    if settings["json"]:
        print(json.dumps(_finite(result)))
    return 0


def _finite(value: Any) -> Any:
    """The same with null for what JSON has no number for, as the interval of a single game."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _compare(console: Console, settings: dict[str, Any]) -> dict[str, Any]:
    """Read collections back and put them side by side."""
    paths = [_path("compare", path) for path in settings["compare"]]
    plot = _png(path_or_none("plot", settings["plot"]) or paths[0].with_name("compare.png"))
    game, found = collection.collections(paths)
    rows = collection.compare(console, game, found)
    collection.draw(game, found, plot)
    console.print(f"plot: {plot}", soft_wrap=True)
    return {"players": rows}


def _play(console: Console, settings: dict[str, Any]) -> dict[str, Any]:
    """Play held deals with the agent of a checkpoint, if any, and the baselines."""
    from actors.cluster import connected
    from actors.evaluation import evaluate

    evaluation = record("evaluation", settings["evaluation"], EvaluationConfig)
    at_least("evaluation.games", evaluation.games, 1)
    game, agents, directory = _agents(settings)
    names = list(dict.fromkeys([*agents, *baselines_for(game, evaluation.players, evaluation.baselines)]))
    if len(names) < min(game.seats, 2):
        wanted = f"at least {min(game.seats, 2)} players, of those that have a say in {game.name}"
        raise InvalidConfig(f"baselines: got {', '.join(names) or 'none'}, wanted {wanted}")
    matches = standings.pairings(game, names[0], names[1:])
    plot = path_or_none("plot", settings["plot"]) or directory / EVALUATION
    if settings["plot"] is None and settings["checkpoint"] is None:
        plot.parent.mkdir(parents=True, exist_ok=True)
    plot = _png(plot)
    file = writable("records", path_or_none("records", settings["records"]) or plot.with_suffix(".jsonl"))
    title = f"{game.name}: {evaluation.games} held deals"
    if agents:
        title += f", weights version {agents['trained'][0].version}"
        console.print(f"{settings['checkpoint']}: weights version {agents['trained'][0].version}", soft_wrap=True)
    sections = {**evaluation.players, **{name: own for name, (_, own) in agents.items()}}
    weights = {name: saved.arrays for name, (saved, _) in agents.items()}
    played: list[GameRecord] = []

    def keep(path: Path) -> None:
        if played:
            save_all(path, played)
            console.print(f"records: {path} ({len(played)} games)", soft_wrap=True)

    # From here on nothing is left half-written by an interrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with connected(settings["cpus"]), ProgressBar("evaluation", console) as bar:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray sets its own
            show = bar.show
            scores = evaluate(
                game.section, sections, weights, matches, evaluation, lambda done, total: show(done / total), played
            )
    except BaseException:
        keep(file.with_name(f"{file.stem}.part{file.suffix}"))  # an older collection stays
        raise
    found = standings.standings(game, scores)
    verdicts = [standings.verdict(game, scores, names[0], other) for other in names[1:]]
    standings.show(console, game, found, verdicts)  # before anything is written: a full disk takes only the files
    keep(file)
    standings.draw(found, plot, title)
    console.print(f"plot: {plot}", soft_wrap=True)
    return {
        "checkpoint": settings["checkpoint"],
        "version": agents["trained"][0].version if agents else None,
        "standings": [standing.as_dict() for standing in found],
        "verdicts": verdicts,
    }


def _agents(settings: dict[str, Any]) -> tuple[Game, dict[str, Any], Path]:
    """The game, (weights, section) of each agent by name, and where results go."""
    path, section = path_or_none("checkpoint", settings["checkpoint"]), settings.get("game")
    if section is not None:
        if path is not None:
            raise InvalidConfig("game: got one beside a checkpoint, which has its own, wanted one of the two")
        for key, given in (("simulations", settings["simulations"]), ("worlds", settings["worlds"] is not None)):
            if given:
                raise InvalidConfig(f"{key}: got one without a checkpoint, wanted evaluation.players.<name>.{key}")
        game = build("game", section, Game)
        return game, {}, fresh_path(_path("runs", settings["runs"]) / "evaluations", game.name)
    if path is None:
        raise InvalidConfig(
            "checkpoint: got nothing, wanted the directory of a run (or game=... to measure players without an agent)"
        )
    from inference.agent import agent_search

    saved = saved_config(path)
    game = build("game", saved["game"], Game)
    search = agent_search(saved, settings["simulations"], settings["worlds"])
    build("search", search, SearchConfig)
    agents = {"trained": trained_weights(path, game)}
    if settings["start"]:
        agents["start"] = start_weights(path, game)
    agents = {
        name: (weights, {"network": weights.network, "search": search, "weights": _digest(weights.arrays)})
        for name, weights in agents.items()
    }
    return game, agents, path


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """What tells an agent's weights from others' in records."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:16]


def _path(key: str, value: Any) -> Path:
    path = path_or_none(key, value)
    if path is None:
        raise InvalidConfig(f"{key}: got null, wanted a path")
    return path


def _png(path: Path) -> Path:
    """The path of a plot to be written."""
    if path.suffix != ".png":
        raise InvalidConfig(f"plot: got {str(path)!r}, wanted a .png file")
    return writable("plot", path)


if __name__ == "__main__":
    run("evaluate", measure)
