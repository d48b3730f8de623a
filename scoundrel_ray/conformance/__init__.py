"""Proof that games keep their contract: `check_game`, to be called on your own game as well."""

from scoundrel_ray.conformance.of_games import check_game

__all__ = ["check_game"]
