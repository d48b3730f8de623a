"""Checked settings of what measures a run's agents: matches of games, held episodes of worlds, the arena."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scoundrel_ray.settings.checks import InvalidSetting, at_least, one_of, switch, within


@dataclass(frozen=True)
class EvaluationConfig:
    """The evaluation that ends a run.

    Attributes:
        games: of each match, in whole deals (each is played from every seat); 0 for no evaluation.
        first: number of the first game.
        seed: of the deals; training never sees them.
        players: sections of conf/player, by name.
        baselines: names of the players that the agents are compared with.
        opening: decisions drawn at random at the start of games that leave nothing else to chance.
        workers: evaluation actors; 0 for all cores.
        shard: games a worker plays in lockstep; results depend on it (batches do), never on `workers`.
        only: name of the game that the settings are made for; None for any.
    """

    games: int = 1000
    first: int = 0
    seed: int = 1_000_003
    players: Mapping[str, Any] = field(default_factory=dict)
    baselines: tuple[str, ...] = ()
    opening: int = 4
    workers: int = 0
    shard: int = 250
    only: str | None = None

    def __post_init__(self) -> None:
        at_least("games", self.games, 0)
        at_least("first", self.first, 0)
        at_least("seed", self.seed, 0)
        at_least("opening", self.opening, 0)
        at_least("workers", self.workers, 0)
        at_least("shard", self.shard, 1)
        for name in self.baselines:
            one_of("baselines", name, self.players)

    def check_game(self, name: str) -> None:
        """Refuse a game that these settings are not made for."""
        if self.only not in (None, name):
            raise InvalidSetting(
                "only", f"got {name}, wanted {self.only}, the only game that these settings are made for"
            )


@dataclass(frozen=True)
class EpisodesConfig:
    """Held episodes of a world that measure its agents, without exploration, beside random and rule-based players.

    Attributes:
        count: at the end of a run; 0 for none.
        every_s: seconds of training between two measurements while the run goes on; 0 for none.
        during: episodes of each of those.
        animation_s: seconds of training between two animations of an episode, at most one a measurement; 0 for none.
        seed: of the episodes; training never sees them.
        workers: evaluation actors at the end; 0 for all cores.
        shard: episodes that are played side by side at the end.
        draw: whether agents with a policy draw their actions by it; else each takes the one that it prefers.
        teams: more teams that play at the end, by name: for each agent of the world, one of the run's agents, "random"
            or "rule".
    """

    count: int = 1024
    every_s: float = 60.0
    during: int = 128
    animation_s: float = 0.0
    seed: int = 3_000_003
    workers: int = 0
    shard: int = 256
    draw: bool = False
    teams: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        at_least("count", self.count, 0)
        within("every_s", self.every_s, 0.0, 1e9)
        at_least("during", self.during, 1)
        within("animation_s", self.animation_s, 0.0, 1e9)
        at_least("seed", self.seed, 0)
        at_least("workers", self.workers, 0)
        at_least("shard", self.shard, 1)
        switch("draw", self.draw)
        for name, seats in self.teams.items():
            if isinstance(seats, str) or not isinstance(seats, list | tuple):
                raise InvalidSetting(f"teams.{name}", f"got {seats!r}, wanted a list: who acts for each agent")
        if self.animation_s and not self.every_s:
            raise InvalidSetting("animation_s", "got one without measurements, wanted every_s above 0 with it")


@dataclass(frozen=True)
class ArenaConfig:
    """Matches of a run's newest weights against its best so far, while it trains.

    Attributes:
        every_s: seconds of training between two; 0 for none.
        deals: of a match, each played from every seat, both ways.
        confidence: standard errors by which the newest must be ahead to become the best; 0 asks for its sign alone, so
            that an equal one passes about as often as it fails.
        gate: self-play uses the best, not the newest, and the best is the run's agent.
        seed: of the deals.
    """

    every_s: float = 0.0
    deals: int = 50
    confidence: float = 0.0
    gate: bool = False
    seed: int = 2_000_003

    def __post_init__(self) -> None:
        within("every_s", self.every_s, 0.0, 1e9)
        at_least("deals", self.deals, 2)
        within("confidence", self.confidence, 0.0, 10.0)
        at_least("seed", self.seed, 0)
        if self.gate and not self.every_s:
            raise InvalidSetting("gate", "got true without matches, wanted every_s above 0 with it")
