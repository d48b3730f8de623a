"""Measure a trained agent over held deals, beside named players on the same deals.

    python -m scripts.evaluate checkpoint=runs/... games=1000
    python -m scripts.evaluate checkpoint=runs/... baselines=[uct] evaluation.players.uct.simulations=20000
    python -m scripts.evaluate checkpoint=runs/... json=true > result.json

The result is the same for any number of workers (`evaluation.workers`).
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from scoundrel_ray.checks import InvalidConfig, at_least, switch
from scoundrel_ray.config import EvaluationConfig, build, plain, record
from scoundrel_ray.evaluation import standings
from scoundrel_ray.game import Game
from scoundrel_ray.players import baselines_for
from scoundrel_ray.progress import ProgressBar
from scoundrel_ray.run_directory import EVALUATION, saved_config, start_weights, trained_weights
from scripts.entry import run, wide_console


def measure(config: DictConfig) -> int:
    """Evaluate and print; exit code."""
    settings = plain(config)
    if settings["checkpoint"] is None:
        raise InvalidConfig("checkpoint: got nothing, wanted the directory of a run")
    at_least("games", settings["games"], 1)
    at_least("simulations", settings["simulations"], 0)
    switch("json", settings["json"])
    switch("start", settings["start"])
    evaluation = record("evaluation", settings["evaluation"], EvaluationConfig)
    path = Path(settings["checkpoint"])
    saved = saved_config(path)
    game = build("game", saved["game"], Game)
    console = wide_console(stderr=bool(settings["json"]))
    result = _evaluate(console, settings, evaluation, path, game, saved)
    if settings["json"]:
        print(json.dumps(result))
    return 0


def _evaluate(
    console: Console,
    settings: dict[str, Any],
    evaluation: EvaluationConfig,
    path: Path,
    game: Game,
    saved: dict[str, Any],
) -> dict[str, Any]:
    from actors.cluster import connected
    from actors.evaluation import evaluate

    search = dict(saved["evaluation_search"])
    if settings["simulations"]:
        search["simulations"] = settings["simulations"]
    trained = trained_weights(path, game)
    agents = {"trained": trained}
    if settings["start"]:
        agents["start"] = start_weights(path, game)
    players = {name: {"network": weights.network, "search": search} for name, weights in agents.items()}
    others = [
        *(name for name in agents if name != "trained"),
        *baselines_for(game, evaluation.players, evaluation.baselines),
    ]
    matches = standings.pairings(game, "trained", others)
    if not matches:
        raise InvalidConfig("baselines: got none, wanted at least one opponent (or start=true)")
    plot = Path(settings["plot"] or path / EVALUATION)
    if not os.access(plot.parent, os.W_OK):
        raise InvalidConfig(f"plot: got {str(plot)!r}, wanted a file in a directory that can be written to")
    console.print(f"{path}: weights version {trained.version}", soft_wrap=True)
    # From here on nothing is left half-written by an interrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with connected(settings["cpus"]), ProgressBar("evaluation", console) as bar:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray sets its own
        scores = evaluate(
            saved["game"],
            {**evaluation.players, **players},
            {name: weights.arrays for name, weights in agents.items()},
            matches,
            evaluation,
            lambda done, total: bar.show(done / total),
        )
    found = standings.standings(game, scores)
    verdicts = [standings.verdict(game, scores, "trained", other) for other in others]
    standings.show(console, game, found, verdicts)
    standings.draw(found, plot, f"{game.name}: {evaluation.games} held deals, weights version {trained.version}")
    console.print(f"plot: {plot}", soft_wrap=True)
    return {
        "checkpoint": str(path),
        "version": trained.version,
        "standings": [standing.as_dict() for standing in found],
        "verdicts": verdicts,
    }


if __name__ == "__main__":
    run("evaluate", measure)
