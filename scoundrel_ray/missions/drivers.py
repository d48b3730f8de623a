"""Built-in policies: random, rules of thumb, searching players, and networks."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import types

from scoundrel_ray.compiled import kernel
from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.experience.behaviours import NoAction, greedy, sampled
from scoundrel_ray.game import no_opinion
from scoundrel_ray.missions.game_world import GameWorld
from scoundrel_ray.missions.mission import Mission
from scoundrel_ray.missions.policy import Asked, BatchOf, Body, Driver, OwnPolicies, PolicyFailed, told
from scoundrel_ray.players import Player, heuristic
from scoundrel_ray.rng import below
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.world import World


@kernel(types.int64(types.int8[:, ::1], types.uint64[:, ::1], types.int16[::1]))
def _draw(masks, streams, actions):
    """Fill actions [k] with an allowed one each, drawn uniformly; the first row that has none, or -1."""
    for row in range(len(masks)):
        allowed = 0
        for action in range(masks.shape[1]):
            allowed += masks[row, action] != 0
        if allowed == 0:
            return row
        left = below(streams[row], allowed)
        for action in range(masks.shape[1]):
            if masks[row, action]:
                if left == 0:
                    actions[row] = action
                    break
                left -= 1
    return -1


class Stateless:
    """A driver that remembers nothing of the agents that it acts for.

    Attributes:
        splits, batches: see `Driver`.
    """

    splits, batches = True, True

    def begin(self, bodies: Mapping[tuple[int, int], Body]) -> None:
        """See `Driver.begin`."""


class Drawing(Stateless):
    """Every allowed action is equally likely."""

    def act(self, asked: Asked) -> np.ndarray:
        """See `Driver.act`."""
        actions = np.empty(len(asked.agents), np.int16)
        for rows in alike(asked):
            found = np.empty(len(rows), np.int16)
            streams = asked.streams[rows]
            wrong = _draw(np.ascontiguousarray(asked.masks(rows)), streams, found)
            if wrong >= 0:
                row = int(rows[wrong])
                raise PolicyFailed("failed", {row: "the mask allows no action"})
            actions[rows], asked.streams[rows] = found, streams
        return actions


def alike(asked: Asked) -> list[np.ndarray]:
    """Rows that observe and may do alike, those of each kind together."""
    if isinstance(asked.copies.masks, np.ndarray):
        return [np.arange(len(asked.agents))]
    return [np.flatnonzero(asked.agents == agent) for agent in np.unique(asked.agents)]


class Ruled(Stateless):
    """A world's own rule-based player.

    Args:
        world: with compiled rules.
    """

    def __init__(self, world: World) -> None:
        self._guide = world.rules.guide

    def act(self, asked: Asked) -> np.ndarray:
        """See `Driver.act`."""
        states: Any = asked.copies
        return np.array(
            [
                self._guide(states.states[place], agent, stream)
                for place, agent, stream in zip(
                    asked.places.tolist(), asked.agents.tolist(), asked.streams, strict=True
                )
            ],
            np.int16,
        )


class Choosing(Stateless):
    """A player of games (see `scoundrel_ray.players.Player`).

    Args:
        player: that chooses for the seat to move.
    """

    splits = False  # it has one forest

    def __init__(self, player: Player) -> None:
        self._player = player

    def act(self, asked: Asked) -> np.ndarray:
        """See `Driver.act`."""
        copies: Any = asked.copies
        streams = np.ascontiguousarray(asked.streams)
        actions = self._player.choose(np.ascontiguousarray(copies.states[asked.places]), streams)
        asked.streams[:] = streams
        return actions


class Networks(Stateless):
    """The allowed action that a network prefers, or one that is drawn by its policy.

    Args:
        evaluators: for each agent of the mission, who answers for its network; agents may have the same one.
        draws: for each agent, whether its actions are drawn.
    """

    def __init__(self, evaluators: Sequence[Evaluator], draws: Sequence[bool]) -> None:
        self._kinds: dict[int, tuple[Evaluator, bool, list[int]]] = {}
        for agent, (evaluator, draw) in enumerate(zip(evaluators, draws, strict=True)):
            self._kinds.setdefault(id(evaluator), (evaluator, draw, []))[2].append(agent)

    def act(self, asked: Asked) -> np.ndarray:
        """See `Driver.act`."""
        actions, tickets = np.empty(len(asked.agents), np.int16), []
        for evaluator, draw, agents in self._kinds.values():
            rows = np.flatnonzero(np.isin(asked.agents, agents))
            if len(rows):
                tickets.append((evaluator, draw, rows, evaluator.submit(asked.observations(rows))))
        for evaluator, draw, rows, ticket in tickets:
            evaluation, masks = evaluator.collect(ticket), np.ascontiguousarray(asked.masks(rows))
            try:
                if not draw:
                    actions[rows] = greedy(evaluation, masks)
                    continue
                for at, row in enumerate(rows.tolist()):  # each by its own stream
                    one = evaluation._replace(outputs=tuple(each[at : at + 1] for each in evaluation.outputs))
                    stream = asked.streams[row].copy()
                    actions[row] = sampled(one, masks[at : at + 1], stream)[0]
                    asked.streams[row] = stream
            except NoAction as error:
                raise PolicyFailed(told(error)) from error
        return actions


# What configs name as `_target_`


def random(_mission: Mission) -> Driver:
    """Every allowed action is equally likely."""
    return Drawing()


def rule(mission: Mission) -> Driver:
    """The world's own rule-based player, or the game's rules of thumb.

    Raises:
        InvalidConfig: for a mission that has none.
    """
    if isinstance(mission.world, World):
        return Ruled(mission.world)
    if isinstance(mission.world, GameWorld) and mission.world.game.rules.heuristic is not no_opinion:
        return Choosing(heuristic(mission.world.game))
    raise InvalidConfig(f"policy rule: mission {mission.name} has no rule-based player")


def player(mission: Mission, player: Mapping[str, Any]) -> Driver:
    """A player of games.

    Args:
        mission: of a game.
        player: config section (see conf/player).

    Raises:
        InvalidConfig: for a mission of a world, or settings that are refused.
    """
    if not isinstance(mission.world, GameWorld):
        raise InvalidConfig(f"policy {player.get('_target_')}: plays games, and mission {mission.name} is none")
    return Choosing(build("player", player, Player, mission.world.game))


def own(mission: Mission, policy: str, data: Mapping[str, Any]) -> Driver:
    """A policy of your own (see `scoundrel_ray.missions.policy`).

    Args:
        mission: to act in.
        policy: dotted path of its class.
        data: settings that it is built with.

    Raises:
        InvalidConfig: if the class cannot be imported, or acts in neither way.
    """
    target = own_class(policy)
    if not hasattr(target, "act_batch"):
        return OwnPolicies(lambda body: target(body, **data))
    specs = {id(spec): spec for spec in mission.world.specs}
    if len(specs) > 1:
        raise InvalidConfig(f"policy {policy}: acts in batches, and agents of mission {mission.name} are not alike")
    try:
        return BatchOf(target(*specs.values(), **data))
    except Exception as error:
        raise PolicyFailed(f"cannot be built: {told(error)}") from error


def own_class(policy: str) -> Any:
    """The class that a dotted path names.

    Raises:
        InvalidConfig: if it cannot be imported, or is no class with `act` or `act_batch`.
    """
    try:
        target = pkgutil.resolve_name(policy)
    except Exception as error:  # whatever the module raises
        raise InvalidConfig(f"policy {policy}: cannot be imported: {told(error)}") from error
    if not inspect.isclass(target) or not (hasattr(target, "act") or hasattr(target, "act_batch")):
        raise InvalidConfig(f"policy {policy}: wanted a class with act, or with act_batch")
    return target
