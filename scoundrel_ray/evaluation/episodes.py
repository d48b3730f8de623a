"""Held episodes of a world: the same ones for whoever plays, and what each agent got in them.

Episode number e is drawn from (seed, e) alone, so that players are compared in the same episodes, which training never
sees, however many are played side by side.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.experience.behaviours import greedy, sampled
from scoundrel_ray.rng import below
from scoundrel_ray.streams import Purpose, agent_stream, stream
from scoundrel_ray.world import HERE, LOST, AnyCopies, AnyWorld, World


class EpisodePlayer(Protocol):
    """Acts for one agent of a world in many copies."""

    def act(self, copies: AnyCopies, agent: int, places: np.ndarray) -> np.ndarray:
        """What agent number `agent` does in the copies `places` [k]: [k] int16."""
        ...


class RandomEpisodes:
    """Every allowed action is equally likely.

    Args:
        rng: [4] uint64.
    """

    def __init__(self, rng: np.ndarray) -> None:
        self._rng = rng

    def act(self, copies: AnyCopies, agent: int, places: np.ndarray) -> np.ndarray:
        """See `EpisodePlayer.act`."""
        masks = copies.masks[agent][places]
        drawn = [below(self._rng, int(count)) for count in masks.sum(axis=1)]
        return ((masks.cumsum(axis=1) > np.array(drawn)[:, None]) & (masks != 0)).argmax(axis=1).astype(np.int16)


class GuidedEpisodes:
    """The world's own rule-based player.

    Args:
        world: with compiled rules.
        rng: [4] uint64.
    """

    def __init__(self, world: World, rng: np.ndarray) -> None:
        self._guide, self._rng = world.rules.guide, rng

    def act(self, copies: Any, agent: int, places: np.ndarray) -> np.ndarray:
        """See `EpisodePlayer.act`."""
        return np.array([self._guide(copies.states[place], agent, self._rng) for place in places], np.int16)


class NetworkEpisodes:
    """The allowed action that a network prefers, or one that is drawn by its policy.

    Args:
        evaluator: who answers for the network.
        rng: [4] uint64, to draw by; None for the preferred action.
    """

    def __init__(self, evaluator: Evaluator, rng: np.ndarray | None = None) -> None:
        self._evaluator, self._rng = evaluator, rng

    def act(self, copies: AnyCopies, agent: int, places: np.ndarray) -> np.ndarray:
        """See `EpisodePlayer.act`.

        Raises:
            EvaluatorGone: if the answer does not come.
        """
        evaluation = self._evaluator.collect(self._evaluator.submit(copies.observations[agent][places]))
        masks = copies.masks[agent][places]
        return greedy(evaluation, masks) if self._rng is None else sampled(evaluation, masks, self._rng)


TRAINED, RANDOM, RULE = "trained", "random", "rule"


def baselines(world: AnyWorld) -> list[str]:
    """Who plays a world without learning: random players, and its rule if it has one."""
    return [RANDOM, RULE] if isinstance(world, World) else [RANDOM]


def players_for(
    world: AnyWorld,
    seats: Sequence[str],
    evaluators: Mapping[str, Evaluator],
    seed: int,
    first: int,
    drawing: Collection[str] = (),
) -> list[EpisodePlayer]:
    """A player for each agent of a world.

    Args:
        world: that they play in.
        seats: for each agent of the world the name of an evaluator, "random" or "rule".
        evaluators: by name.
        seed, first: of what players draw: seed of the held episodes, and number of the first of them.
        drawing: names of evaluators by whose policies actions are drawn; the others' preferred actions are taken.

    Raises:
        ValueError: for a rule-based player in a world that has none, or a name that nobody has.
    """
    made: list[EpisodePlayer] = []
    for name, seat in zip(world.agents, seats, strict=True):
        rng = agent_stream(seed, Purpose.HELD_EPISODES, name, first)
        if seat == RANDOM:
            made.append(RandomEpisodes(rng))
        elif seat == RULE and isinstance(world, World):
            made.append(GuidedEpisodes(world, rng))
        elif seat in evaluators:
            made.append(NetworkEpisodes(evaluators[seat], rng if seat in drawing else None))
        else:
            raise ValueError(f"world {world.name}: nobody plays {name} as {seat!r}")
    return made


class Episodes(NamedTuple):
    """Outcome of held episodes.

    Attributes:
        returns: [N, E] float64, what each agent got in each; NaN where its environment failed, or it was not there.
        lengths: [N, E] int64, own steps of each agent.
    """

    returns: np.ndarray
    lengths: np.ndarray


def play_episodes(
    world: AnyWorld,
    players: Sequence[EpisodePlayer],
    seed: int,
    first: int,
    count: int,
    frames: list[Any] | None = None,
) -> Episodes:
    """Episodes first .. first + count - 1, side by side.

    Args:
        world: that is played in.
        players: of each agent.
        seed: of the held episodes.
        first, count: which of them.
        frames: to which a picture of the first of them is added before every step and at its end, if the world has
            pictures: [height, width, 3] uint8.
    """
    held = np.stack([stream(seed, Purpose.HELD_EPISODES, first + episode) for episode in range(count)])
    copies = world.copies(held)
    agents = len(world.agents)
    returns, lengths = np.zeros((agents, count)), np.zeros((agents, count), np.int64)
    counted = np.zeros((agents, count), np.bool_)
    actions = np.zeros((agents, count), np.int16)
    absent = copies.ended != HERE
    try:
        _see(world, copies, frames)
        while not copies.over.all():
            for agent in np.flatnonzero(copies.acting.any(axis=1)).tolist():
                places = np.flatnonzero(copies.acting[agent])
                actions[agent, places] = players[agent].act(copies, agent, places)
                returns[agent, places] += copies.rewards[agent, places]
                lengths[agent, places] += 1
            went_on = not copies.over[0]
            copies.step(actions)
            ended = (copies.ended != HERE) & ~counted
            returns[ended] += copies.rewards[ended]
            counted |= ended
            if went_on:
                _see(world, copies, frames)
        returns[absent | (copies.ended == LOST)] = np.nan
    finally:
        copies.close()
    return Episodes(returns, lengths)


def by_episode(returns: np.ndarray) -> np.ndarray:
    """Mean return of those that act as one agent, [bodies, E], in each episode that any of them has a return in."""
    known = ~np.isnan(returns)
    played = known.any(axis=0)
    return np.where(known, returns, 0.0).sum(axis=0)[played] / known.sum(axis=0)[played]


def _see(world: AnyWorld, copies: Any, frames: list[Any] | None) -> None:
    if frames is not None and isinstance(world, World):
        frames.append(world.picture(copies.states[0]))
