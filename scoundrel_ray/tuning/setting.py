"""What plays and how: the sections of a config that a rate of self-play depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from scoundrel_ray.evaluator import Evaluator
from scoundrel_ray.experience.selfplay import RolloutConfig, SelfPlay, SelfPlaySource
from scoundrel_ray.game import Game
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.searches.worlds import PER_WORLD
from scoundrel_ray.settings.build import build, settings_of


@dataclass(frozen=True)
class Setting:
    """What plays, and how.

    Attributes:
        game, search, network: config sections.
        rollout, inference: their configs.
        agents: names of those at the table, each with a network of its own of that section.
    """

    game: Mapping[str, Any]
    search: Mapping[str, Any]
    network: Mapping[str, Any]
    rollout: RolloutConfig
    inference: InferenceConfig
    agents: tuple[str, ...] = ("agent",)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Setting:
        """The setting of a composed config with these sections."""
        return cls(
            config["game"], config["search"], config["network"],
            settings_of("rollout", config["rollout"], RolloutConfig),
            settings_of("inference", config["inference"], InferenceConfig),
        )  # fmt: skip

    def built_game(self) -> Game:
        """The rules."""
        return build("game", self.game, Game)

    def source(self) -> SelfPlaySource:
        """The settings as a source of experience."""
        return SelfPlaySource(self.game, self.search, asdict(self.rollout))

    def worker(self, evaluators: Mapping[str, Evaluator], number: int) -> SelfPlay:
        """A worker's self-play, with an evaluator for each agent."""
        source = self.source()
        return source.collector(dict.fromkeys(self.agents, source.role), evaluators, 0, (number, 0))

    def with_agents(self, count: int) -> Setting:
        """This setting with so many agents at the table."""
        return replace(self, agents=tuple(f"agent_{number}" for number in range(count)))

    def with_search(self, **settings: Any) -> Setting:
        """This setting with other settings of the search."""
        return replace(self, search={**self.search, **settings})

    def with_rollout(self, **settings: Any) -> Setting:
        """This setting with other settings of the rollout."""
        return replace(self, rollout=replace(self.rollout, **settings))

    def described(self, parameters: int) -> str:
        """The setting in a line, with the size of its network."""
        search, rollout = self.search, self.rollout
        name = str(search["_target_"]).rpartition(".")[2]
        worlds = f"{search['worlds']} worlds x " if search["tree"] == PER_WORLD else ""
        several = f", {len(self.agents)} agents" if len(self.agents) > 1 else ""
        return (
            f"self-play, {self.built_game().name}, {name} {worlds}{search['simulations']}, "
            f"{parameters / 1e6:.1f} M parameters, {rollout.workers} workers x {rollout.games} games over "
            f"{self.inference.transport}{several}"
        )
