"""Networks that learn well until they answer NaN, and one that cannot be made where it is wanted."""

from typing import Any

import ray
import torch
from torch import Tensor

from scoundrel_ray.networks.residual_mlp import ResidualMLP

GOOD_STEPS = 20


class NaNOnceTrained(ResidualMLP):
    """Its values are NaN at inference as soon as any step was learnt."""

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        logits, values = super().forward(observations)
        if torch.is_inference_mode_enabled() and self.value.weight.any():
            values = values * torch.nan
        return logits, values


class NaNInTraining(ResidualMLP):
    """Its values are NaN in training once it has learnt from `GOOD_STEPS` batches; at inference it is sound."""

    learnt = 0

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        logits, values = super().forward(observations)
        if torch.is_grad_enabled():
            values = values * torch.nan if self.learnt == GOOD_STEPS else values
            self.learnt += 1
        return logits, values


class Unmade(ResidualMLP):
    """It can be made to be checked, and not by an actor."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        if ray.is_initialized():
            raise RuntimeError("no room for the network")
        super().__init__(*arguments, **settings)
