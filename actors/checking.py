"""Builds once all that a run's sections name, so that a wrong setting is refused before anything starts."""

from __future__ import annotations

import os
import sys
from typing import Any

from scoundrel_ray.apart import in_child
from scoundrel_ray.evaluation.episodes import baselines
from scoundrel_ray.experience.replay import Replay, ReplaySettings
from scoundrel_ray.experience.selfplay import SelfPlaySource
from scoundrel_ray.experience.source import Source
from scoundrel_ray.experience.world_source import WorldSource
from scoundrel_ray.game import Game
from scoundrel_ray.machine import cores
from scoundrel_ray.players import Player
from scoundrel_ray.runs.plan import AgentPlan, RunPlan, plan_of
from scoundrel_ray.runs.settings import TrainConfig
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.searches.suitable import check_evaluator, checked_parameters
from scoundrel_ray.settings.build import build, check_members
from scoundrel_ray.settings.checks import InvalidConfig, within_section
from scoundrel_ray.spec import Head
from scoundrel_ray.streams import stream


def checked_plan(config: TrainConfig, source: Source) -> RunPlan:
    """The plan of a run whose sections can be built (see `check_run`).

    Networks and learners are built in a child of this process: torch and what they leave behind took 240 MB here (ten
    agents of treasure hunt, measured). Where torch is at work in this process already, no child is made.

    Raises:
        InvalidConfig: naming the key.
    """
    return check_run(config, source) if "torch" in sys.modules else in_child(lambda: check_run(config, source))


def check_run(config: TrainConfig, source: Source) -> RunPlan:
    """Build agents, search and players of a run, and throw them away; returns its plan.

    Args:
        config: of the run.
        source: built from it and checked (see `scoundrel_ray.runs.plan.source_of`).

    Raises:
        InvalidConfig: naming the key.
    """
    from scoundrel_ray.network import check_device

    if isinstance(source, SelfPlaySource):
        _check_evaluation(config, source.built_game)
    elif config.arena.every_s:
        raise InvalidConfig(f"arena.every_s: got {config.arena.every_s:g} without self-play of a game, wanted 0")
    if isinstance(source, WorldSource):
        _check_teams(config, source)
    plan = plan_of(config, source)
    for name, agent in plan.agents.items():
        _check_agent(name, agent)
    if not os.environ.get("RAY_ADDRESS"):  # else its actors may have devices that this machine lacks
        check_device("inference.device", config.inference.device)
        _check_resources(config)
    return plan


def _check_evaluation(config: TrainConfig, game: Game) -> None:
    if config.evaluation_search is None or config.game is None:
        raise InvalidConfig("game, evaluation_search: got null in a run of self-play, wanted sections")
    search = build("evaluation_search", config.evaluation_search, SearchConfig)
    with within_section("evaluation_search"):
        checked_parameters(game, search)
        check_evaluator(game, search, True)
    with within_section("evaluation"):
        config.evaluation.check_game(game.name)
    for name in config.evaluation.baselines:
        build(f"evaluation.players.{name}", config.evaluation.players[name], Player, game)


def _check_teams(config: TrainConfig, source: WorldSource) -> None:
    known, names = [*config.agents, *baselines(source.built_world)], source.built_world.agents
    for team, seats in config.episodes.teams.items():
        if len(seats) != len(names):
            raise InvalidConfig(
                f"episodes.teams.{team}: got {len(seats)} players, wanted one for each of {', '.join(names)}"
            )
        for seat in seats:
            if seat not in known:
                raise InvalidConfig(f"episodes.teams.{team}: got {seat!r}, wanted one of {', '.join(known)}")


def _check_agent(name: str, plan: AgentPlan) -> None:
    from learners.learner import Learner, LearnerSettings
    from scoundrel_ray.network import make_network

    key = f"agents.{name}"
    network = make_network(plan.network, plan.spec, key=f"{key}.network")
    if network.answers != plan.heads:
        got, wanted = _told(network.answers), _told(plan.heads)
        raise InvalidConfig(f"{key}.network: answers with {got}, wanted {wanted}, which its learner acts by")
    if plan.role.rows is None:
        return
    learner = build(f"{key}.learner", plan.learner, LearnerSettings)
    replay = build(f"{key}.replay", plan.replay, ReplaySettings)
    if learner.batch_size > replay.most_batch:
        raise InvalidConfig(
            f"{key}.learner.batch_size: got {learner.batch_size}, wanted at most {replay.most_batch}, what "
            f"{key}.replay lets through at once by min_rows, samples_per_insert and tolerance"
        )
    try:
        check_members(f"{key}.replay", replay.make(plan.role.rows, stream(0)), Replay)
    except InvalidConfig as error:
        raise InvalidConfig(str(error) if str(error).startswith(key) else f"{key}.replay: {error}") from error
    _check_lag(key, plan.publish_steps, learner, replay)
    if not os.environ.get("RAY_ADDRESS"):
        with within_section(f"{key}.learner"):
            made = learner.make(network, 0)
        check_members(f"{key}.learner", made, Learner)


def _check_lag(key: str, publish_steps: int, learner: Any, replay: Any) -> None:
    """Refuse rows that are too old for a learner that asks for fresh ones, and weights that come too late for them."""
    kept, wanted = getattr(replay, "max_lag", None), getattr(learner, "most_lag", None)
    if wanted is not None and (kept is None or kept > wanted):
        got = f"max_lag {kept}" if hasattr(replay, "max_lag") else "a replay that keeps rows of any version"
        raise InvalidConfig(
            f"{key}.replay: got {got}, wanted replay=fragments with max_lag at most {wanted}: its learner learns from "
            f"rows of weights up to {wanted} versions old"
        )
    if kept is not None and publish_steps > kept + 1:
        raise InvalidConfig(
            f"{key}.publish_steps: got {publish_steps}, wanted at most {kept + 1}: {key}.replay drops rows of weights "
            f"more than {kept} versions old, and nobody has newer ones before they are published"
        )


def _told(heads: tuple[Head, ...]) -> str:
    return ", ".join(f"{head.name} {list(head.shape)}" for head in heads)


def _check_resources(config: TrainConfig) -> None:
    """Refuse to wait for what a Ray of this machine alone will never have."""
    import torch

    cluster, learners = config.cluster, len(config.groups)
    inference = int(config.inference.transport != "local")
    cpus = cluster.rollout_cpus * config.workers + cluster.inference_cpus * inference + cluster.learner_cpus * learners
    gpus = cluster.inference_gpus * inference + cluster.learner_gpus * learners
    for name, wanted, there in (
        ("cpus", cpus, cluster.cpus or cores()),
        ("gpus", gpus, torch.cuda.device_count()),
    ):
        if wanted > there:
            raise InvalidConfig(
                f"cluster.*_{name}: the actors reserve {wanted:g} in all, wanted at most this machine's {there}"
            )
