"""How a search treats what a game hides: one tree over many redealt worlds, or a tree for each of several."""

from __future__ import annotations

from dataclasses import dataclass

from scoundrel_ray.settings.checks import InvalidSetting, at_least, one_of

SHARED = "shared"
PER_WORLD = "per_world"


@dataclass(frozen=True, kw_only=True)
class WorldSettings:
    """The settings that all searches share. A game that hides nothing has one world, and the same tree by either.

    **Source:** one tree over many worlds: information set search, Cowling, Powley and Whitehouse 2012.

    Attributes:
        tree: "shared": one tree over many worlds, with a fresh redeal for every simulation; "per_world": each redealt
            world has a tree of its own, and the roots are summed.
        worlds: redealt worlds that are searched side by side, with tree "per_world".
    """

    tree: str = SHARED
    worlds: int = 1

    def __post_init__(self) -> None:
        check_worlds(self.tree, self.worlds)

    @property
    def trees_per_game(self) -> int:
        """Trees that a decision is searched in."""
        return self.worlds


def check_worlds(tree: str, worlds: int) -> None:
    """Refuse a number of worlds that the kind of tree does not have.

    Raises:
        InvalidSetting: naming the settings `tree` and `worlds`.
    """
    one_of("tree", tree, (SHARED, PER_WORLD))
    at_least("worlds", worlds, 1)
    if worlds > 1 and tree == SHARED:
        raise InvalidSetting("worlds", f"got {worlds} with tree {SHARED}, wanted tree {PER_WORLD} with more than 1")
