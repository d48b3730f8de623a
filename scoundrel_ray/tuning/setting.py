"""What plays and how: the sections of a config that a rate of self-play depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scoundrel_ray.experience.selfplay import RolloutConfig
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
    """

    game: Mapping[str, Any]
    search: Mapping[str, Any]
    network: Mapping[str, Any]
    rollout: RolloutConfig
    inference: InferenceConfig

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
        return (
            f"self-play, {self.built_game().name}, {name} {worlds}{search['simulations']}, "
            f"{parameters / 1e6:.1f} M parameters, {rollout.workers} workers x {rollout.games} games over "
            f"{self.inference.transport}"
        )
