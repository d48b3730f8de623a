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

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from scoundrel_ray.checks import InvalidConfig, at_least, switch
from scoundrel_ray.config import EvaluationConfig, build, plain, record
from scoundrel_ray.evaluation import collection, standings
from scoundrel_ray.game import Game
from scoundrel_ray.players import baselines_for
from scoundrel_ray.progress import ProgressBar
from scoundrel_ray.record import GameRecord, save_all
from scoundrel_ray.run_directory import EVALUATION, saved_config, start_weights, trained_weights
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
        print(json.dumps(result))
    return 0


def _compare(console: Console, settings: dict[str, Any]) -> dict[str, Any]:
    """Read collections back and put them side by side."""
    paths = [Path(path) for path in settings["compare"]]
    plot = _writable(Path(settings["plot"] or paths[0].with_name("compare.png")))
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
    section, agents, directory = _agents(settings)
    game = build("game", section, Game)
    names = list(dict.fromkeys([*agents, *baselines_for(game, evaluation.players, evaluation.baselines)]))
    if len(names) < min(game.seats, 2):
        raise InvalidConfig(f"baselines: got {', '.join(names) or 'none'}, wanted at least one to play with")
    matches = standings.pairings(game, names[0], names[1:])
    plot = Path(settings["plot"] or directory / EVALUATION)
    if settings["plot"] is None and settings["checkpoint"] is None:
        plot.parent.mkdir(parents=True, exist_ok=True)
    file = _writable(Path(settings["records"] or plot.with_suffix(".jsonl")))
    _writable(plot)
    title = f"{game.name}: {evaluation.games} held deals"
    if agents:
        title += f", weights version {agents['trained'][0].version}"
        console.print(f"{settings['checkpoint']}: weights version {agents['trained'][0].version}", soft_wrap=True)
    sections = {**evaluation.players, **{name: own for name, (_, own) in agents.items()}}
    weights = {name: saved.arrays for name, (saved, _) in agents.items()}
    played: list[GameRecord] = []
    # From here on nothing is left half-written by an interrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with connected(settings["cpus"]), ProgressBar("evaluation", console) as bar:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray sets its own
            show = bar.show
            scores = evaluate(
                section, sections, weights, matches, evaluation, lambda done, total: show(done / total), played
            )
    finally:
        if played:
            save_all(file, played)
            console.print(f"records: {file} ({len(played)} games)", soft_wrap=True)
    found = standings.standings(game, scores)
    verdicts = [standings.verdict(game, scores, names[0], other) for other in names[1:]]
    standings.show(console, game, found, verdicts)
    standings.draw(found, plot, title)
    console.print(f"plot: {plot}", soft_wrap=True)
    return {
        "checkpoint": settings["checkpoint"],
        "version": agents["trained"][0].version if agents else None,
        "standings": [standing.as_dict() for standing in found],
        "verdicts": verdicts,
    }


def _agents(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """The game's section, (weights, section) of each agent by name, and where results go."""
    checkpoint, section = settings["checkpoint"], settings.get("game")
    if section is not None:
        if checkpoint is not None:
            raise InvalidConfig("game: got one beside a checkpoint, which has its own, wanted one of the two")
        name = str(section["_target_"]).split(".")[-2]
        return section, {}, Path(settings["runs"]) / "evaluations" / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    if checkpoint is None:
        raise InvalidConfig(
            "checkpoint: got nothing, wanted the directory of a run (or game=... to measure players without an agent)"
        )
    from inference.agent import agent_search

    path = Path(checkpoint)
    saved = saved_config(path)
    game = build("game", saved["game"], Game)
    search = agent_search(saved, settings["simulations"], settings["worlds"])
    build("search", search, SearchConfig)
    agents = {"trained": trained_weights(path, game)}
    if settings["start"]:
        agents["start"] = start_weights(path, game)
    agents = {
        name: (weights, {"network": weights.network, "search": search, "version": weights.version})
        for name, weights in agents.items()
    }
    return saved["game"], agents, path


def _writable(path: Path) -> Path:
    """The path of a file to be written.

    Raises:
        InvalidConfig: if its directory cannot be written to.
    """
    if not os.access(path.parent, os.W_OK):
        raise InvalidConfig(f"{path}: wanted a file in a directory that can be written to")
    return path


if __name__ == "__main__":
    run("evaluate", measure)
