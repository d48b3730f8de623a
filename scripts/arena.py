"""Rate many players: every one against every other on the same deals, with rotated seats.

    python -m scripts.arena runs=[runs/a,runs/b] baselines=[random,heuristic] games=1000
    python -m scripts.arena runs=[runs/a] all=true anchor=random      how a run got on, by its versions
    python -m scripts.arena game=connect_four baselines=[random,uct] json=true > result.json

Told are Elo ratings, by deals won and lost, and the mean difference of every pair, deal by deal, with 95 % intervals
over deals. With more than two seats each pair plays both ways, one among copies of the other. Every game is recorded as
by `scripts.evaluate`; an interrupt keeps what was played. The result is the same for any number of workers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from scoundrel_ray.evaluation import arena, arena_report
from scoundrel_ray.game import Game
from scoundrel_ray.players import baselines_for
from scoundrel_ray.runs.directory import (
    agents_of,
    checkpoint_weights,
    fresh_path,
    newest_checkpoint,
    run_and_agent,
    saved_config,
    versions,
)
from scoundrel_ray.runs.settings import EvaluationConfig
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.searches.suitable import checked_parameters
from scoundrel_ray.settings.build import build, composed, settings_of
from scoundrel_ray.settings.checks import InvalidConfig, at_least, one_of, switch, within_section
from scoundrel_ray.storage.weights import SavedWeights, load_weights
from scripts.entry import run, wide_console
from scripts.matches import agent_section, finite, keep, outputs, participants, play, wanted_path


def rate(config: DictConfig) -> int:
    """Play a round robin, print and draw it; exit code."""
    settings = composed(config)
    at_least("games", settings["games"], 1)
    at_least("first", settings["first"], 0)
    switch("json", settings["json"])
    switch("all", settings["all"])
    if not isinstance(settings["runs"], list):
        raise InvalidConfig(f"runs: got {settings['runs']!r}, wanted a list of run directories")
    console = wide_console(stderr=bool(settings["json"]))
    result = _play(console, settings)
    if settings["json"]:
        print(json.dumps(finite(result)))
    return 0


def _play(console: Console, settings: dict[str, Any]) -> dict[str, Any]:
    evaluation = settings_of("evaluation", settings["evaluation"], EvaluationConfig)
    at_least("evaluation.games", evaluation.games, 1)
    game, agents = _agents(settings)
    with within_section("evaluation"):
        evaluation.check_game(game.name)
    baselines = baselines_for(game, evaluation.players, evaluation.baselines)
    names = list(dict.fromkeys([*agents, *baselines]))
    if len(names) < 2:
        wanted = f"at least 2 players, runs and such baselines as have a say in {game.name}"
        raise InvalidConfig(f"runs, baselines: got {', '.join(names) or 'none'}, wanted {wanted}")
    if settings["anchor"] is not None:
        one_of("anchor", settings["anchor"], names)
    sections = {**evaluation.players, **{name: section for name, (_, _, section) in agents.items()}}
    players = participants(game, sections, names, evaluation)
    plot, file = outputs(settings, fresh_path(wanted_path("out", settings["out"]), game.name) / "arena.png")
    matches = arena.round_robin(game, names)
    console.print(f"{len(names)} players, {len(matches)} matches: {', '.join(names)}", markup=False, soft_wrap=True)
    scores, played = play(console, "arena", game, players, matches, evaluation, settings["cpus"], file)
    try:
        result = arena.results(game, scores, names, settings["anchor"])
        title = f"{game.name}, {result.pairings[0].deals} held deals a pair"
        arena_report.show(console, title, result)
    finally:
        keep(console, file, played)
    arena_report.draw(result, plot, title)
    console.print(f"plot: {plot}", soft_wrap=True)
    listed = {name: {"weights": str(path), "version": saved.version} for name, (path, saved, _) in agents.items()}
    return {"game": dict(game.section), "agents": listed, "anchor": settings["anchor"], **result.as_dict()}


def _agents(settings: dict[str, Any]) -> tuple[Game, dict[str, tuple[Path, SavedWeights, dict[str, Any]]]]:
    """The game, and (file, weights, section) of each agent by name: its run's and, of several, its version's."""
    section = settings.get("game")
    if settings["runs"] and section is not None:
        raise InvalidConfig("game: got one beside runs, which have their own, wanted one of the two")
    runs = [run_and_agent(str(wanted_path("runs", named)), several=True) for named in settings["runs"]]
    if not runs:
        if section is None:
            raise InvalidConfig("runs: got none, wanted run directories (or game=... to rate named players alone)")
        for key, unset in (("simulations", 0), ("tree", None), ("worlds", None)):
            if settings[key] != unset:
                raise InvalidConfig(f"{key}: got one without runs, wanted evaluation.players.<name>.{key}")
        return build("game", section, Game), {}
    from inference.agent import agent_search

    game = build("game", saved_config(runs[0][0])["game"], Game)
    players = [(path, agent) for path, named in runs for agent in ([named] if named else agents_of(path))]
    agents: dict[str, tuple[Path, SavedWeights, dict[str, Any]]] = {}
    for (directory, agent), run_name in zip(players, _names(players), strict=True):
        own = saved_config(directory)["evaluation_search"]
        search = agent_search(own, settings["simulations"], settings["tree"], settings["worlds"])
        with within_section("evaluation_search"):
            checked_parameters(game, build("evaluation_search", search, SearchConfig))
        newest_checkpoint(directory)  # told if there is none
        files = checkpoint_weights(directory, agent)[-1:]
        if settings["all"]:
            files = [*versions(directory, agent), *checkpoint_weights(directory, agent)]
        found = {weights.version: (path, weights) for path in files for weights in [load_weights(path, game.spec)]}
        for version, (path, weights) in sorted(found.items()):
            name = f"{run_name}/{version}" if settings["all"] else run_name
            if name in agents or name in settings["evaluation"]["players"]:
                raise InvalidConfig(f"runs: got a second player named {name}, wanted directories of different names")
            agents[name] = (path, weights, agent_section(weights, search))
    return game, agents


def _names(players: list[tuple[Path, str | None]]) -> list[str]:
    """What to call each run's agent: the run's directory, with its parent where several have that name; and the agent
    where a run has several.
    """
    first = {path: agent for path, agent in reversed(players)}
    ends = [path.resolve().name for path, agent in players if agent == first[path]]
    crowded = {path for path in first if len({agent for other, agent in players if other == path}) > 1}
    names = []
    for path, agent in players:
        whole = path.resolve()
        name = whole.name if ends.count(whole.name) == 1 else f"{whole.parent.name}/{whole.name}"
        names.append(f"{name}/{agent}" if path in crowded else name)
    return names


if __name__ == "__main__":
    run("arena", rate)
