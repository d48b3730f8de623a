"""PUCT: AlphaZero's search on an evaluator's priors and values."""

from __future__ import annotations

from dataclasses import dataclass

from scoundrel_ray.game import Game
from scoundrel_ray.searches import choice
from scoundrel_ray.searches.worlds import WorldSettings
from scoundrel_ray.settings.checks import at_least, switch, within


@dataclass(frozen=True)
class Puct(WorldSettings):
    """Settings of PUCT.

    **Source:** Silver et al. 2018, "A general reinforcement learning algorithm that masters chess, shogi and Go".

    Attributes:
        simulations: per tree and decision, the root's evaluation not counted.
        tree, worlds: see `WorldSettings`.
        exploration, exploration_base: c_init and c_base.
        first_play_reduction: an unvisited action counts as the node's mean value less this.
        noise_share, noise_alpha: share and concentration of Dirichlet noise at the root; share 0 for none.
        leaves: per tree and step; above 1 only where a batch cannot be filled otherwise, since it costs strength.
        virtual_loss: value that a simulation under way counts as lost; 0 counts its visit alone.
        reuse: keep the subtree of the move played; its visits count towards `simulations`.
    """

    simulations: int = 64
    exploration: float = 1.25
    exploration_base: float = 19652.0
    first_play_reduction: float = 0.0
    noise_share: float = 0.25
    noise_alpha: float = 0.5
    leaves: int = 1
    virtual_loss: float = 0.0
    reuse: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("simulations", self.simulations, 1)
        at_least("leaves", self.leaves, 1)
        within("exploration", self.exploration, 0.0, 1000.0)
        within("exploration_base", self.exploration_base, 1.0, 1e9)
        within("first_play_reduction", self.first_play_reduction, -2.0, 2.0)
        within("noise_share", self.noise_share, 0.0, 1.0)
        within("noise_alpha", self.noise_alpha, 1e-3, 1000.0)
        within("virtual_loss", self.virtual_loss, 0.0, 10.0)
        switch("reuse", self.reuse)

    def parameters(self, game: Game) -> choice.Parameters:
        return choice.parameters_for(
            game,
            self.tree,
            choice.PUCT,
            exploration=self.exploration,
            exploration_base=self.exploration_base,
            first_play_reduction=self.first_play_reduction,
            virtual_loss=self.virtual_loss,
            noise_share=self.noise_share,
            noise_alpha=self.noise_alpha,
            leaves=self.leaves,
        )
