"""Measure players over held deals: a trained agent beside named players on the same deals, or such players alone.

    python -m scripts.evaluate checkpoint=runs/... games=1000
    python -m scripts.evaluate checkpoint=runs/... baselines=[uct] evaluation.players.uct.simulations=20000
    python -m scripts.evaluate checkpoint=runs/... json=true > result.json
    python -m scripts.evaluate checkpoint=runs/... games=1024    of a world: all its agents, in that many held episodes
    python -m scripts.evaluate game=scoundrel evaluation=strength baselines=[heuristic,uct_1k]    no agent at all
    python -m scripts.evaluate missions=[treasure_hunt,tag] policies=[runs/...,rule] episodes=100    who gets what where
    python -m scripts.evaluate compare=[a.jsonl,b.jsonl]        records, deal by deal; or two results of missions

Every game is recorded, a line each, with what the searches said of every decision; `scripts.play record=... number=...`
shows one. The result is the same for any number of workers (`evaluation.workers`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from scoundrel_ray.evaluation import collection, standings
from scoundrel_ray.experience.world_source import WorldSource
from scoundrel_ray.game import Game
from scoundrel_ray.players import baselines_for
from scoundrel_ray.runs.directory import (
    EVALUATION,
    EVALUATIONS,
    fresh_path,
    run_and_agent,
    saved_config,
    start_weights,
    trained_weights,
)
from scoundrel_ray.runs.plan import source_of
from scoundrel_ray.runs.settings import EvaluationConfig, train_config
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.searches.suitable import checked_parameters
from scoundrel_ray.settings.build import build, composed, settings_of
from scoundrel_ray.settings.checks import InvalidConfig, at_least, path_or_none, switch, within_section
from scoundrel_ray.storage.weights import SavedWeights
from scripts.entry import run, wide_console
from scripts.matches import agent_section, finite, keep, outputs, participants, play, png, wanted_path


def measure(config: DictConfig) -> int:
    """Evaluate and print; exit code."""
    settings = composed(config)
    at_least("games", settings["games"], 1)
    at_least("first", settings["first"], 0)
    switch("json", settings["json"])
    switch("start", settings["start"])
    if not isinstance(settings["compare"], list):
        raise InvalidConfig(f"compare: got {settings['compare']!r}, wanted a list of files")
    console = wide_console(stderr=bool(settings["json"]))
    if settings["missions"]:
        from scripts.missions import evaluate_missions

        result = evaluate_missions(console, settings)
    else:
        result = _compare(console, settings) if settings["compare"] else _play(console, settings)
    if settings["json"]:
        print(json.dumps(finite(result)))
    return 0


def _compare(console: Console, settings: dict[str, Any]) -> dict[str, Any]:
    """Read collections back and put them side by side."""
    paths = [wanted_path("compare", path) for path in settings["compare"]]
    if any(path.is_dir() for path in paths):
        from scripts.missions import compare_missions

        return compare_missions(console, paths)
    plot = png(path_or_none("plot", settings["plot"]) or paths[0].with_name("compare.png"))
    game, found = collection.collections(paths)
    rows = collection.compare(console, game, found)
    collection.draw(game, found, plot)
    console.print(f"plot: {plot}", soft_wrap=True)
    return {"players": rows}


def _play(console: Console, settings: dict[str, Any]) -> dict[str, Any]:
    """Play held deals with the agent of a checkpoint, if any, and the baselines."""
    world = _run_of_a_world(settings)
    if world is not None:
        return _play_episodes(console, settings, world)
    evaluation = settings_of("evaluation", settings["evaluation"], EvaluationConfig)
    at_least("evaluation.games", evaluation.games, 1)
    game, agents, directory = _agents(settings)
    with within_section("evaluation"):
        evaluation.check_game(game.name)
    names = list(dict.fromkeys([*agents, *baselines_for(game, evaluation.players, evaluation.baselines)]))
    if len(names) < min(game.seats, 2):
        wanted = f"at least {min(game.seats, 2)} players, of those that have a say in {game.name}"
        raise InvalidConfig(f"baselines: got {', '.join(names) or 'none'}, wanted {wanted}")
    matches = standings.pairings(game, names[0], names[1:])
    sections = {**evaluation.players, **{name: section for name, (_, section) in agents.items()}}
    players = participants(game, sections, names, evaluation)
    plot, file = outputs(settings, fresh_path(directory, game.name) / EVALUATION)
    if agents:
        console.print(f"{settings['checkpoint']}: weights version {agents['trained'][0].version}", soft_wrap=True)
    scores, played = play(console, "evaluation", game, players, matches, evaluation, settings["cpus"], file)
    found = standings.standings(game, scores)
    verdicts = [standings.verdict(game, scores, names[0], other) for other in names[1:]]
    standings.show(console, game, found, verdicts)  # before anything is written: a full disk takes only the files
    keep(console, file, played)
    title = f"{game.name}: {found[0].deals} held deals"
    if agents:
        title += f", weights version {agents['trained'][0].version}"
    standings.draw(found, plot, title)
    console.print(f"plot: {plot}", soft_wrap=True)
    return {
        "checkpoint": settings["checkpoint"],
        "version": agents["trained"][0].version if agents else None,
        "standings": [standing.as_dict() for standing in found],
        "verdicts": verdicts,
    }


def _run_of_a_world(settings: Mapping[str, Any]) -> Path | None:
    """The directory of the run that is to be measured, if it is of a world; all its agents are measured at once."""
    path = path_or_none("checkpoint", settings["checkpoint"])
    if path is None or settings.get("game") is not None:
        return None
    path, _ = run_and_agent(str(path), several=True)
    return path if saved_config(path).get("game") is None else None


def _play_episodes(console: Console, settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """Play held episodes with all agents of a world's run."""
    from actors.cluster import connected
    from scripts.episodes import measure_episodes

    for key, unset in (("first", 0), ("records", None), ("simulations", 0), ("tree", None), ("worlds", None)):
        if settings[key] != unset:
            raise InvalidConfig(f"{key}: got {settings[key]!r} with a run of a world, wanted it left out")
    config = train_config(saved_config(path))
    draw = config.episodes.draw if settings["draw"] is None else settings["draw"]
    config = replace(config, episodes=replace(config.episodes, count=settings["games"], draw=draw))
    source = source_of(config)
    if not isinstance(source, WorldSource):
        raise InvalidConfig(f"checkpoint: got {path}, whose source is no world, wanted a run of a game or of a world")
    plot, _ = outputs(settings, fresh_path(path / EVALUATIONS, source.name) / EVALUATION)
    with connected(settings["cpus"]):
        found = measure_episodes(console, config, source, path, plot)
    console.print(f"plot: {plot}", soft_wrap=True)
    return {"checkpoint": settings["checkpoint"], **found}


def _agents(settings: dict[str, Any]) -> tuple[Game, dict[str, tuple[SavedWeights, dict[str, Any]]], Path]:
    """The game, (weights, section) of each agent by name, and the directory of all evaluations."""
    path, section = path_or_none("checkpoint", settings["checkpoint"]), settings.get("game")
    if settings["draw"] is not None:
        raise InvalidConfig(f"draw: got {settings['draw']!r}, wanted it left out: players of games search")
    if section is not None:
        if path is not None:
            raise InvalidConfig("game: got one beside a checkpoint, which has its own, wanted one of the two")
        for key, unset in (("simulations", 0), ("tree", None), ("worlds", None)):
            if settings[key] != unset:
                raise InvalidConfig(f"{key}: got one without a checkpoint, wanted evaluation.players.<name>.{key}")
        game = build("game", section, Game)
        return game, {}, wanted_path("runs", settings["runs"]) / EVALUATIONS
    if path is None:
        raise InvalidConfig(
            "checkpoint: got nothing, wanted the directory of a run (or game=... to measure players without an agent)"
        )
    from inference.agent import agent_search

    path, agent = run_and_agent(str(path))
    saved = saved_config(path)
    game = build("game", saved["game"], Game)
    search = agent_search(saved["evaluation_search"], settings["simulations"], settings["tree"], settings["worlds"])
    with within_section("evaluation_search"):
        checked_parameters(game, build("evaluation_search", search, SearchConfig))
    saved_weights = {"trained": trained_weights(path, game.spec, agent)}
    if settings["start"]:
        saved_weights["start"] = start_weights(path, game.spec, agent)
    agents = {name: (weights, agent_section(weights, search)) for name, weights in saved_weights.items()}
    return game, agents, path / EVALUATIONS


if __name__ == "__main__":
    run("evaluate", measure)
