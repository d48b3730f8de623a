"""Trained agents as policies of missions: networks of a world's agents, and searching players of a game."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inference.agent import digest, read_agent
from inference.local import LocalEvaluator
from inference.model import Model
from scoundrel_ray.experience.world_source import WorldSource
from scoundrel_ray.missions.drivers import Choosing, Networks
from scoundrel_ray.missions.game_world import GameWorld
from scoundrel_ray.missions.mission import Mission
from scoundrel_ray.missions.policy import Driver
from scoundrel_ray.network import load, make_network
from scoundrel_ray.players import Arrays, Participant, SearchPlayer, read_by
from scoundrel_ray.runs.directory import named_weights, run_and_agent, saved_config
from scoundrel_ray.runs.plan import plan_of, source_of, with_policy
from scoundrel_ray.runs.settings import train_config
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import random_observations

LEAST_BATCH, SIZES = 8, (8, 64, 512)
"""Batches of one and of two rows differ from larger ones in their last bits (measured with torch 2.13 on CPUs)."""
_TESTED = 512
_GAMES = 64  # that are searched at once; results do not depend on it


def _prepared(key: str, section: Mapping[str, Any], mission: Mission) -> Participant:
    """An agent, or all agents of a run, whose files were read here."""
    own = {name: value for name, value in section.items() if name != "_target_"}
    weights = own.pop("weights")
    try:
        if isinstance(mission.world, GameWorld):
            agent = read_agent(mission.world.game, weights, **own)
            built = {"network": agent.network, "search": agent.search}
            return Participant({"_target_": section["_target_"], **built}, {"weights": agent.arrays}, agent.recorded)
        return _networks(section["_target_"], str(weights), mission, **own)
    except (InvalidConfig, TypeError) as error:
        raise InvalidConfig(f"{key}: {error}") from error


def _networks(target: str, named: str, mission: Mission, draw: bool | None = None) -> Participant:
    """Networks that act for the mission's agents: a run's own for each, or one for all."""
    names = mission.world.agents
    if Path(named).is_file():
        saved = {"": named_weights(named, mission.world.specs[0])}
        acting, drawn, draw = [""] * len(names), [], bool(draw)
    else:
        path, agent = run_and_agent(named, several=True)
        config = train_config(saved_config(path))
        source = source_of(config)
        if not isinstance(source, WorldSource):
            raise InvalidConfig(f"got {named}, a run of {source.name}, wanted one of mission {mission.name}'s world")
        agents = [*config.agents]
        drawn = with_policy(plan_of(config, source).agents)
        draw = config.episodes.draw if draw is None else draw
        acting = [agent] * len(names) if agent else _owners(source, agents, mission)
        saved = {
            each: named_weights(f"{path}:{each}", mission.world.specs[acting.index(each)])
            for each in dict.fromkeys(acting)
        }
    arrays: Any = {each: own.arrays for each, own in saved.items()}
    networks = {each: own.network for each, own in saved.items()}
    draws = {each: bool(draw) and each in drawn for each in saved}
    built = {"_target_": target, "networks": networks, "acting": acting, "draws": draws}
    recorded = {**built, "weights": {each: digest(own.arrays) for each, own in saved.items()}}
    return Participant(built, {"arrays": arrays}, recorded)


def _owners(source: WorldSource, agents: list[str], mission: Mission) -> list[str]:
    """For each agent of the mission the run's agent that acts for one of its name."""
    if len(agents) == 1:
        return agents * len(mission.world.agents)
    owners = dict(zip(source.built_world.agents, source.seating(agents), strict=True))
    for name in mission.world.agents:
        if name not in owners:
            raise InvalidConfig(f"nobody acts for {name} of mission {mission.name}, wanted a run with such an agent")
    return [agents[owners[name]] for name in mission.world.agents]


@read_by(_prepared)
def trained(
    mission: Mission,
    weights: Arrays | None = None,
    network: Mapping[str, Any] | None = None,
    search: Mapping[str, Any] | None = None,
    networks: Mapping[str, Mapping[str, Any]] | None = None,
    acting: list[str] | None = None,
    draws: Mapping[str, bool] | None = None,
    arrays: Mapping[str, Arrays] | None = None,
) -> Driver:
    """A trained agent, or all agents of a world's run, in float32; built from what `_prepared` read.

    Args:
        mission: to act in.
        weights, network, search: of a game's agent.
        networks, draws, arrays: of a world's agents by name: config section, whether actions are drawn, and weights.
        acting: for each agent of the mission, the name of the one that acts for it.
    """
    if isinstance(mission.world, GameWorld):
        assert weights is not None and network is not None and search is not None
        game, net = mission.world.game, make_network(network, mission.world.game.spec)
        load(net, weights)
        evaluator = LocalEvaluator(alike_at_any_size(net, "agent"))
        return Choosing(SearchPlayer(game, build("search", search, SearchConfig), evaluator, _GAMES))
    assert networks is not None and acting is not None and draws is not None and arrays is not None
    evaluators = {}
    for name, section in networks.items():
        built = make_network(section, mission.world.specs[acting.index(name)])
        load(built, arrays[name])
        evaluators[name] = LocalEvaluator(alike_at_any_size(built, name))
    return Networks([evaluators[name] for name in acting], [draws[name] for name in acting])


def alike_at_any_size(network: Any, agent: str) -> Model:
    """A model whose answer to a row does not depend, to the last bit, on the rows beside it.

    Batches are padded to a few sizes, if the network answers alike at all of them on this machine, which is tried out;
    else to one.
    """
    model = Model(network, agent=agent, precision="float32", threads=1, batch_sizes=SIZES)
    rows = random_observations(network.spec, _TESTED)
    whole = model.evaluate(rows).outputs
    for size in (1, LEAST_BATCH, 63):
        parts = [model.evaluate(rows[at : at + size]).outputs for at in range(0, min(_TESTED, 8 * size), size)]
        for head, answers in enumerate(zip(*parts, strict=True)):
            joined = np.concatenate(answers)
            if not np.array_equal(joined, whole[head][: len(joined)]):
                return Model(network, agent=agent, precision="float32", threads=1, batch_sizes=(LEAST_BATCH,))
    return model
