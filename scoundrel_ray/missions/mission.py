"""Missions: named settings to evaluate policies in, and who sits where in them.

Episode k of an evaluation with seed s happens in a world of seed s + k: environments of others are reset with it, our
own draw from a stream that it alone makes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scoundrel_ray.missions.policy import Body
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidSetting, at_least
from scoundrel_ray.streams import Purpose, agent_stream, generator, stream
from scoundrel_ray.world import AnyCopies, AnyWorld
from scoundrel_ray.worlds.adapted import RENEW
from scoundrel_ray.worlds.environments import AdaptedWorld


@dataclass(frozen=True)
class MissionConfig:
    """A mission as a config names it.

    Attributes:
        world: section of its world; games are worlds, too (see `scoundrel_ray.missions.game_world`).
        steps: most steps of an episode, which is cut off then; 0 for as many as the world allows.
    """

    world: Mapping[str, Any]
    steps: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.world, Mapping):
            raise InvalidSetting("world", f"got {self.world!r}, wanted a section with _target_")
        at_least("steps", self.steps, 0)


class Mission:
    """A mission that can be played.

    Args:
        name: of the mission; all that is drawn in it depends on the name.
        config: of it.

    Attributes:
        name, world: of the mission.
        steps: see `MissionConfig`.

    Raises:
        InvalidConfig: naming the setting.
    """

    def __init__(self, name: str, config: MissionConfig) -> None:
        self.name, self.steps = name, config.steps
        section = dict(config.world)
        self.world = build("world", section, AnyWorld)
        if isinstance(self.world, AdaptedWorld):  # a failure loses an episode, not those beside it
            self.world = build("world", {**section, "failure": RENEW}, AnyWorld)

    def begin(self, seed: int, episodes: Sequence[int]) -> AnyCopies:
        """Copies at the start of these episodes.

        Raises:
            WorldFailed: for an environment that cannot be made or begun.
        """
        streams = np.stack([stream(seed + episode) for episode in episodes])
        if isinstance(self.world, AdaptedWorld):
            return self.world.copies(streams, [seed + episode for episode in episodes])
        return self.world.copies(streams)

    def body(self, seed: int, episode: int, number: int) -> Body:
        """An agent in an episode, and the stream of all that its policy draws."""
        agent = self.world.agents[number]
        drawn = agent_stream(seed, Purpose.MISSIONS, f"{self.name}/{agent}", episode)
        return Body(self.name, agent, number, episode, self.world.specs[number], drawn)


def seats(shares: Sequence[float], agents: int) -> list[int]:
    """How many of so many agents each policy acts for, by the largest remainder; the first of equal ones.

    Args:
        shares: of the policies, at least one above 0; they need not sum to 1.
    """
    exact = np.array(shares, np.float64) / sum(shares) * agents
    found = np.floor(exact).astype(int)
    missing = agents - int(found.sum())
    found[np.argsort(-(exact - found), kind="stable")[:missing]] += 1
    return found.tolist()


def seating(shares: Sequence[float], agents: int, seed: int, mission: str, episode: int) -> np.ndarray:
    """Which policy acts for each agent in an episode: [N] int64.

    How many each has is the same in all episodes; who sits where is a function of the seed, the mission's name and the
    episode.
    """
    policies = np.repeat(np.arange(len(shares)), seats(shares, agents))
    if len(np.unique(policies)) < 2:
        return policies
    words = np.frombuffer(hashlib.sha256(mission.encode()).digest()[:8], np.uint32).tolist()
    return generator(stream(seed, Purpose.MISSION_SEATS, *words, episode)).permutation(policies)
