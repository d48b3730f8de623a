"""Elo ratings by maximum likelihood from the results of pairs, with intervals that know that pairs share deals.

Legend: N players, M pairs of them, D deals.

The model is Bradley and Terry's: a player rated r beats one rated q with probability 1 / (1 + 10^((q - r) / 400)); a
tie is half a win and half a loss.

A player who won everything would be rated infinitely high. So each has also tied `prior` times with an average player,
whose rating is the origin, in the manner of BayesElo's virtual draws. One such tie weighs as much as one deal.

Intervals are a Bayesian bootstrap over deals: each draw weighs every deal, with the results of all pairs on it, by an
exponential variate, and the win and the loss that a virtual tie stands for by gamma variates of shape prior / 2, and
rates anew. Fisher's information would take pairs for independent that meet on the same deals, and a tie for a tossed
coin: where most deals are drawn its intervals are far too wide. A plain bootstrap would give none at all to whoever won
every deal; here the virtual tie varies, too, which for one rate by itself comes to Jeffreys' interval.

**Sources:** Bradley and Terry 1952, "Rank analysis of incomplete block designs"; Rubin 1981, "The Bayesian bootstrap";
Coulom 2008, "Whole-history rating", and his program BayesElo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from scoundrel_ray.evaluation.intervals import Estimate

ELO_A_NAT = 400.0 / math.log(10.0)
_STEPS = 200  # of Newton's method; ten are usual
_LONGEST_STEP = 1.0  # nats
_CLOSE = 1e-7  # nats
_LEAST_WEIGHT = 1e-6


def ratings(
    players: int,
    pairs: Sequence[tuple[int, int]],
    points: np.ndarray,
    anchor: int | None = None,
    prior: float = 1.0,
    draws: int = 1000,
    seed: int = 0,
) -> list[Estimate]:
    """Elo of each player with its 95 % interval.

    Args:
        players: N.
        pairs: M of them, by number, each once.
        points: [D, M], of the first of each pair on each deal: 1 won, 0.5 tied, 0 lost.
        anchor: whose Elo is 0, without an interval; None for a mean of 0, to which one player of uncertain rating, such
            as one who lost everything, lends its uncertainty.
        prior: virtual ties of each player with an average one, above 0.
        draws: of the bootstrap.
        seed: of the draws.
    """
    if len(points) < 1 or prior <= 0:
        raise ValueError(f"ratings: got {len(points)} deals and a prior of {prior}, wanted some and a prior above 0")
    generator = np.random.default_rng(seed)
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    wins = np.zeros((1 + draws, players, players))  # row 0: as they were played
    halves = np.full((1 + draws, 2, players), prior / 2)
    halves[1:] = np.maximum(generator.gamma(prior / 2, size=(draws, 2, players)), _LEAST_WEIGHT)
    for row in range(1 + draws):
        weights = generator.exponential(size=len(points)) if row else np.ones(len(points))
        wins[row, first, second] = weights @ points
        wins[row, second, first] = weights @ (1.0 - points)
    found = ELO_A_NAT * bradley_terry(wins, halves[:, 0], halves[:, 1])
    found -= found.mean(axis=1, keepdims=True) if anchor is None else found[:, [anchor]]
    low, high = np.quantile(found[1:], [0.025, 0.975], axis=0)
    return [Estimate(*map(float, each)) for each in zip(found[0], low, high, strict=True)]


def bradley_terry(wins: np.ndarray, above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Ratings of greatest likelihood in nats, relative to an average player: [..., N] float64.

    The likelihood is strictly concave, so that Newton's method finds its one maximum; where it would leap, from flat
    parts, it takes steps of bounded length.

    Args:
        wins: [..., N, N], of row against column; the diagonal is 0.
        above, below: [..., N], wins and losses of each against an average player, above 0.

    Raises:
        RuntimeError: if it is not found.
    """
    losses = np.swapaxes(wins, -1, -2)
    found = np.zeros(wins.shape[:-1])
    diagonal = np.arange(wins.shape[-1])
    for _ in range(_STEPS):
        beats, yields = _chances(found[..., :, None] - found[..., None, :])
        rises, falls = _chances(found)
        gradient = (wins * yields - losses * beats).sum(axis=-1) + above * falls - below * rises
        curvature = (wins + losses) * beats * yields
        hessian = -curvature
        hessian[..., diagonal, diagonal] += curvature.sum(axis=-1) + (above + below) * rises * falls
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        longest = np.abs(step).max(axis=-1, keepdims=True)
        found += step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, _CLOSE))
        if longest.max(initial=0.0) < _CLOSE:
            return found
    raise RuntimeError(f"elo: no ratings within {_STEPS} steps, wanted weights of less different sizes")


def _chances(ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chances to win and to lose of who is ahead by so many nats; tiny ones are exact, for neither is subtracted."""
    return 1.0 / (1.0 + np.exp(-ahead)), 1.0 / (1.0 + np.exp(ahead))
