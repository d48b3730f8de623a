"""Held episodes of a world, at a run's end or later: its agents beside random players and the world's own rule."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from scoundrel_ray.evaluation import intervals
from scoundrel_ray.evaluation.episodes import TRAINED, Episodes, baselines, by_episode
from scoundrel_ray.experience.world_source import WorldSource
from scoundrel_ray.runs.directory import trained_weights
from scoundrel_ray.runs.plan import plan_of
from scoundrel_ray.runs.progress import ProgressBar
from scoundrel_ray.runs.settings import TrainConfig
from scoundrel_ray.storage.durable import save_picture


def measure_episodes(console: Console, config: TrainConfig, source: Any, run: Path, plot: Path) -> dict[str, Any]:
    """Returns of a run's agents in held episodes, without exploration, beside those who do not learn.

    They are printed, drawn and returned. Wants a connected Ray.

    Args:
        console: where they are printed.
        config: of the run.
        source: built from it.
        run: its directory.
        plot: PNG file that is written.
    """
    from actors.episodes import by_agent, measure

    assert isinstance(source, WorldSource)
    names = [*config.agents]
    plans = plan_of(config, source).agents
    saved = {name: trained_weights(run, plans[name].spec, name) for name in config.learning}
    world, owners = source.built_world, source.seating(names)
    teams = {TRAINED: [names[owner] for owner in owners]}
    teams |= {name: [name] * len(world.agents) for name in baselines(world)}
    teams |= {name: list(seats) for name, seats in config.episodes.teams.items()}
    arrays = {name: each.arrays for name, each in saved.items()} | _frozen(config, plans)
    before = time.monotonic()
    with ProgressBar("evaluation", console) as bar:
        found = measure(config.source, plans, arrays, teams, config.episodes, lambda done, all_: bar.show(done / all_))
    returns = {
        team: {name: _mean(own) for name, own in by_agent(source, names, episodes.returns).items()}
        for team, episodes in found.items()
    }
    _show(console, world.name, config.episodes.count, returns)
    _draw(returns, plot, f"{world.name}: {config.episodes.count} held episodes")
    return {
        "versions": {name: each.version for name, each in saved.items()},
        "episodes": config.episodes.count,
        "returns": returns,
        "lengths": {team: _lengths(episodes) for team, episodes in found.items()},
        "seconds": time.monotonic() - before,
    }


def _frozen(config: TrainConfig, plans: Mapping[str, Any]) -> dict[str, Any]:
    from scoundrel_ray.runs.directory import named_weights

    frozen = {name: own.weights for name, own in config.agents.items() if own.frozen}
    return {name: named_weights(str(path), plans[name].spec).arrays for name, path in frozen.items()}


def _mean(own: np.ndarray) -> dict[str, float]:
    """Mean return of an agent in an episode, with a 95 % interval; environments that failed do not count."""
    interval = intervals.mean(by_episode(own))
    return {"mean": interval.value, "low": interval.low, "high": interval.high}


def _lengths(episodes: Episodes) -> float:
    return float(episodes.lengths.mean())


def _show(console: Console, world: str, count: int, returns: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    table = Table("agent", *(f"{team}" for team in returns), title=f"{world}: return in {count} held episodes")
    agents = [*next(iter(returns.values()))]
    for agent in agents:
        table.add_row(agent, *(_told(own[agent]) for own in returns.values()))
    if len(agents) > 1:
        means = [[each["mean"] for each in own.values()] for own in returns.values()]
        table.add_section()
        table.add_row("mean", *(f"{np.mean(own):.1f}" for own in means))
        table.add_row("least", *(f"{np.min(own):.1f}" for own in means))
    console.print(table)


def _told(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.1f} [{value['low']:.1f}, {value['high']:.1f}]"


def _draw(returns: Mapping[str, Mapping[str, Mapping[str, float]]], path: Path, title: str) -> None:
    """Save the returns as a picture: a bar for each agent and team."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    agents = [*next(iter(returns.values()))]
    figure, axis = plt.subplots(figsize=(2 + 1.1 * len(agents), 4), layout="constrained")
    width = 0.8 / len(returns)
    for place, (team, own) in enumerate(returns.items()):
        means = [own[agent]["mean"] for agent in agents]
        around = [
            [own[agent]["mean"] - own[agent]["low"] for agent in agents],
            [own[agent]["high"] - own[agent]["mean"] for agent in agents],
        ]
        axis.bar(np.arange(len(agents)) + place * width, means, width, yerr=around, label=team)
    axis.set_xticks(np.arange(len(agents)) + 0.4 - width / 2, agents, rotation=30, ha="right", fontsize=8)
    axis.set_ylabel("return in an episode")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3, axis="y")
    figure.suptitle(title)
    save_picture(figure, path)
