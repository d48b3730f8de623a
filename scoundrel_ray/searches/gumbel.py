"""Gumbel search: sequential halving at the root, completed values inside; improves the policy at any budget."""

from __future__ import annotations

from dataclasses import dataclass

from scoundrel_ray.game import Game
from scoundrel_ray.searches import choice
from scoundrel_ray.searches.worlds import WorldSettings
from scoundrel_ray.settings.checks import at_least, switch, within


@dataclass(frozen=True)
class Gumbel(WorldSettings):
    """Settings of Gumbel search.

    **Source:** Danihelka, Guez, Schrittwieser, Silver 2022, "Policy improvement by planning with Gumbel".

    Attributes:
        simulations: per tree and decision, the root's evaluation not counted.
        tree, worlds: see `WorldSettings`.
        considered: most actions that enter the halving at the root.
        visit_offset, value_scale: c_visit and c_scale of sigma.
        rescale: stretch a node's completed values to [0, 1] before sigma.
        noise_scale: scale of the Gumbel variables: 1 to explore, 0 to play one's best.
        leaves: per tree and step; above 1 only where a batch cannot be filled otherwise, since it costs strength.
        virtual_loss: value that a simulation under way counts as lost; 0 counts its visit alone.
    """

    simulations: int = 32
    considered: int = 16
    visit_offset: float = 50.0
    value_scale: float = 0.1
    rescale: bool = True
    noise_scale: float = 1.0
    leaves: int = 1
    virtual_loss: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("simulations", self.simulations, 1)
        at_least("considered", self.considered, 1)
        at_least("leaves", self.leaves, 1)
        within("visit_offset", self.visit_offset, 0.0, 1e6)
        within("value_scale", self.value_scale, 0.0, 1e3)
        within("noise_scale", self.noise_scale, 0.0, 10.0)
        switch("rescale", self.rescale)
        within("virtual_loss", self.virtual_loss, 0.0, 10.0)

    @property
    def reuse(self) -> bool:
        """Always false: a kept subtree's visits would break the halving's schedule."""
        return False

    def parameters(self, game: Game) -> choice.Parameters:
        return choice.parameters_for(
            game,
            self.tree,
            choice.GUMBEL,
            virtual_loss=self.virtual_loss,
            considered=min(self.considered, game.max_legal),
            visit_offset=self.visit_offset,
            value_scale=self.value_scale,
            rescale=self.rescale,
            noise_scale=self.noise_scale,
            leaves=self.leaves,
        )
