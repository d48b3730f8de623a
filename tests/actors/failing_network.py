"""A network that learns well and answers NaN."""

import torch
from torch import Tensor

from scoundrel_ray.networks.residual_mlp import ResidualMLP


class NaNOnceTrained(ResidualMLP):
    """Its values are NaN at inference as soon as any step was learnt."""

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        logits, values = super().forward(observations)
        if torch.is_inference_mode_enabled() and self.value.weight.any():
            values = values * torch.nan
        return logits, values
