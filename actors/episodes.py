"""Held episodes of a world: while a run trains, on its first worker; at its end, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray

from actors.calls import Calls
from actors.tasks import TaskPool
from scoundrel_ray.evaluation import intervals
from scoundrel_ray.evaluation.episodes import TRAINED, Episodes, baselines, by_episode, play_episodes, players_for
from scoundrel_ray.experience.world_source import WorldSource
from scoundrel_ray.frames import save_animation
from scoundrel_ray.machine import cores
from scoundrel_ray.runs.plan import AgentPlan, with_policy
from scoundrel_ray.runs.settings import EpisodesConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.storage.durable import StorageError

_remote: Any = ray.remote  # type checkers do not see what it adds
ANIMATIONS = "episodes"  # a folder of a run's directory


def by_agent(source: WorldSource, agents: Sequence[str], values: np.ndarray) -> dict[str, np.ndarray]:
    """Values of each agent of the world [N, E], by the run's agent that it acts as: [bodies, E] each."""
    owners = np.array(source.seating(agents))
    return {name: values[owners == number] for number, name in enumerate(agents)}


class RunEpisodes:
    """Measurements of a run's agents while it goes on, one after another, as they fall due.

    Args:
        config: of the episodes.
        source: of the run.
        agents: of the run, by name.
        directory: of the run, for animations.
        warn: called with a line about what failed.
    """

    def __init__(
        self,
        config: EpisodesConfig,
        source: WorldSource,
        agents: Sequence[str],
        directory: Path,
        warn: Callable[[str], None],
    ) -> None:
        self._config, self._source, self._agents = config, source, [*agents]
        self._directory, self._warn = directory, warn
        self._next_s = self._next_animation_s = 0.0
        self._under_way = False
        self._others: dict[str, dict[str, float]] = {}  # mean returns of those who do not learn
        self._ended: dict[str, Any] = {}

    def tick(self, trained_s: float, worker: Any, calls: Calls) -> dict[str, Any]:
        """Ask for a measurement if one is due; returns metrics of one that ended since the last call, flat, by name.

        Args:
            trained_s: seconds of training so far.
            worker: handle of the worker that plays.
            calls: of the run.
        """
        if self._config.every_s and trained_s >= self._next_s and not self._under_way:
            self._next_s = trained_s + self._config.every_s
            seen = bool(self._config.animation_s) and trained_s >= self._next_animation_s
            if seen:
                self._next_animation_s = trained_s + self._config.animation_s
            self._under_way = True
            kinds = [TRAINED, *(name for name in baselines(self._source.built_world) if name not in self._others)]
            asked = worker.play_episodes.remote(kinds, self._config.seed, self._config.during, seen, self._config.draw)
            calls.ask("held episodes", asked, lambda told: self._note(told, trained_s), self._failed)
        ended, self._ended = self._ended, {}
        return ended

    def _failed(self, _failure: Any) -> None:
        self._under_way = False

    def _note(self, told: tuple[dict[str, Episodes], list[np.ndarray]], trained_s: float) -> None:
        self._under_way = False
        episodes, frames = told
        for kind, found in episodes.items():
            own = by_agent(self._source, self._agents, found.returns)
            means = {name: intervals.mean(by_episode(values)).value for name, values in own.items()}
            if kind != TRAINED:
                self._others[kind] = means
                continue
            self._ended |= {f"evaluation/{name}/return": mean for name, mean in means.items()}
        for kind, means in self._others.items():
            self._ended |= {f"evaluation/{name}/return_of_{kind}_players": mean for name, mean in means.items()}
        if frames:
            try:
                (self._directory / ANIMATIONS).mkdir(exist_ok=True)
                save_animation(frames, self._directory / ANIMATIONS / f"{round(trained_s):06d}.gif")
            except (OSError, StorageError) as error:
                self._warn(f"an animation could not be written: {error}")


@_remote(num_cpus=0, max_restarts=0, max_task_retries=0, enable_task_events=False, concurrency_groups={"control": 1})
class EpisodesActor:
    """Plays shards of held episodes, networks in float32.

    Args:
        source: config section.
        agents: plans by name.
        seed: of the episodes.
        draw: whether agents with a policy draw their actions by it.
    """

    def __init__(self, source: dict[str, Any], agents: Mapping[str, AgentPlan], seed: int, draw: bool) -> None:
        self._source = build("source", source, WorldSource)
        self._agents, self._seed = dict(agents), seed
        self._drawing = with_policy(agents) if draw else ()
        self._evaluators: dict[str, Any] = {}

    def play(self, seats: Sequence[str], first: int, count: int, arrays: Mapping[str, Any]) -> Episodes:
        """Episodes first .. first + count - 1, played as `scoundrel_ray.evaluation.episodes.players_for` says.

        Args:
            seats: for each agent of the world.
            first, count: of the episodes.
            arrays: by agent, the weights of its network.
        """
        from inference.local import LocalEvaluator
        from inference.model import Model
        from scoundrel_ray.network import load, make_network

        for name in {*seats} & {*arrays} - {*self._evaluators}:
            network = make_network(self._agents[name].network, self._agents[name].spec)
            load(network, arrays[name])
            self._evaluators[name] = LocalEvaluator(Model(network, agent=name, precision="float32", threads=1))
        world = self._source.built_world
        players = players_for(world, seats, self._evaluators, self._seed, first, self._drawing)
        return play_episodes(world, players, self._seed, first, count)

    @ray.method(concurrency_group="control")
    def pid(self) -> int:
        """Process id; any answer says that the process is there."""
        return os.getpid()


def measure(
    source: Mapping[str, Any],
    agents: Mapping[str, AgentPlan],
    arrays: Mapping[str, Any],
    teams: Mapping[str, Sequence[str]],
    config: EpisodesConfig,
    progress: Callable[[int, int], None],
) -> dict[str, Episodes]:
    """The same held episodes, played by each team; the result is the same for any number of workers.

    Args:
        source: config section.
        agents: plans by name.
        arrays: by name, the weights of agents' networks.
        teams: by name, who acts for each agent of the world (see `scoundrel_ray.evaluation.episodes.players_for`).
        config: which episodes, and how many side by side.
        progress: called with episodes played and episodes in all.
    """
    firsts = range(0, config.count, config.shard)
    shards = {
        f"episodes {first} to {first + min(config.shard, config.count - first) - 1} of {team}": (team, first)
        for team in teams
        for first in firsts
    }
    given = ray.put(dict(arrays))
    pool = TaskPool(
        lambda: EpisodesActor.remote(dict(source), dict(agents), config.seed, config.draw),
        max(1, min(config.workers or cores(), len(shards))),
    )
    found: dict[str, dict[int, Episodes]] = {team: {} for team in teams}
    done, total = 0, config.count * len(teams)
    progress(0, total)

    def ask(team: str, first: int) -> Callable[[Any], Any]:
        count = min(config.shard, config.count - first)
        return lambda actor: actor.play.remote(list(teams[team]), first, count, given)

    try:
        for name, episodes in pool.run({name: ask(*shard) for name, shard in shards.items()}):
            team, first = shards[name]
            found[team][first] = episodes
            done += episodes.returns.shape[1]
            progress(done, total)
    finally:
        pool.close()
    return {
        team: Episodes(*(np.concatenate(parts, axis=1) for parts in zip(*(own[f] for f in firsts), strict=True)))
        for team, own in found.items()
    }
