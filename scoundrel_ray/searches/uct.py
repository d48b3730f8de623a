"""UCT: upper confidence bounds in a tree whose leaves are evaluated by compiled playouts."""

from __future__ import annotations

from dataclasses import dataclass

from scoundrel_ray.game import Game
from scoundrel_ray.searches import choice
from scoundrel_ray.searches.worlds import WorldSettings
from scoundrel_ray.settings.checks import InvalidSetting, at_least, one_of, switch, within


@dataclass(frozen=True)
class Uct(WorldSettings):
    """Settings of UCT.

    **Source:** Kocsis and Szepesvari 2006; over hidden worlds, Cowling, Powley and Whitehouse 2012, ISMCTS.

    Attributes:
        simulations: per tree and decision.
        tree, worlds: see `WorldSettings`.
        exploration: c, on values in [-1, 1].
        playouts: "random", or "heuristic": the game's playout rule or, where that has no opinion, its heuristic.
        leaves: simulations under way in one tree at a time, whose playouts are spread over threads (tree
            parallelisation with virtual loss, Chaslot, Winands and van den Herik 2008; here in rounds, so that the
            result is the same for any number of threads).
        virtual_loss: value that a simulation under way counts as lost.
        reuse: keep the subtree of the move played.
        cheating: the search sees what is hidden, and plans for it. Not a player: a yardstick beside published figures
            that were measured so.
    """

    simulations: int = 1000
    exploration: float = 1.0
    playouts: str = "random"
    leaves: int = 1
    virtual_loss: float = 1.0
    reuse: bool = False
    cheating: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("simulations", self.simulations, 1)
        within("exploration", self.exploration, 0.0, 1000.0)
        at_least("leaves", self.leaves, 1)
        within("virtual_loss", self.virtual_loss, 0.0, 10.0)
        one_of("playouts", self.playouts, ("random", "heuristic"))
        switch("reuse", self.reuse)
        switch("cheating", self.cheating)
        if self.cheating and self.worlds > 1:
            raise InvalidSetting("worlds", f"got {self.worlds} with cheating true, wanted 1: nothing is redealt")

    def parameters(self, game: Game) -> choice.Parameters:
        """Parameters for a game.

        Raises:
            InvalidSetting: for `cheating` in a game that hides nothing.
        """
        if self.cheating and not game.hidden:
            raise InvalidSetting("cheating", f"got true, wanted false: {game.name} hides nothing")
        seen = {"hidden": False, "shared": False} if self.cheating else {}
        return choice.parameters_for(
            game,
            self.tree,
            choice.UCT,
            exploration=self.exploration,
            virtual_loss=self.virtual_loss if self.leaves > 1 else 0.0,
            leaves=self.leaves,
            heuristic_playouts=self.playouts == "heuristic",
            **seen,
        )
