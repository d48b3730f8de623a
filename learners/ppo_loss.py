"""The losses of PPO over a batch of steps; see `learners.ppo`.

Legend: M own steps of a batch, A actions, O observation size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scoundrel_ray.network import Network


class Batch(NamedTuple):
    """Own steps to learn from.

    Attributes:
        observations: [M, O]. masks: [M, A] bool. actions: [M] int64.
        old: [M], log-probabilities of the actions by the old policy.
        weight: [M], of the policy's loss.
        advantages: [M]. targets, values: [M], what the value is to be and was, in normalised units.
    """

    observations: Tensor
    masks: Tensor
    actions: Tensor
    old: Tensor
    weight: Tensor
    advantages: Tensor
    targets: Tensor
    values: Tensor


def losses(network: Network, batch: Batch, clip: float, value_clip: float | None) -> dict[str, Tensor]:
    """Means over a batch, as scalars on its device: see `PPO.step`."""
    logits, value = network(batch.observations)
    policy = log_policy(logits, batch.masks)
    change = chosen(policy, batch.actions) - batch.old
    ratio = change.exp()
    gain = torch.minimum(ratio * batch.advantages, ratio.clamp(1.0 - clip, 1.0 + clip) * batch.advantages)
    error = (value[:, 0] - batch.targets).square()
    if value_clip is not None:
        near = batch.values + (value[:, 0] - batch.values).clamp(-value_clip, value_clip)
        error = torch.maximum(error, (near - batch.targets).square())
    # Where an action is not allowed its log-probability is -inf and its weight 0: their product must be 0, not NaN.
    plogp = policy.exp() * policy.masked_fill(~batch.masks, 0.0)
    return {
        "policy_loss": -(batch.weight * gain).mean(),
        "value_loss": 0.5 * error.mean(),
        "entropy": -plogp.sum(dim=1).mean(),
        "kl": (ratio - 1.0 - change).mean(),  # an estimate without bias that is never negative
        "clip_share": ((ratio - 1.0).abs() > clip).float().mean(),
    }


def log_policy(logits: Tensor, masks: Tensor) -> Tensor:
    """Log-probabilities [M, A] of the allowed actions, -inf of the others."""
    return F.log_softmax(logits.masked_fill(~masks, -torch.inf), dim=1)


def chosen(policy: Tensor, actions: Tensor) -> Tensor:
    """Log-probabilities [M] of actions [M] in [M, A]."""
    return policy.gather(1, actions[:, None])[:, 0]
