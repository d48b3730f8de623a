"""An implicit quantile network: how much each action may bring, at whatever quantiles one asks for.

Legend: B rows of a batch, O observation size, K quantiles of a row, W width, A actions.

**Source:** Dabney et al. 2018, "Implicit Quantile Networks for Distributional Reinforcement Learning", eq. 4: the
features of an observation times relu(sum_i cos(pi i tau) w_i + b). With `dueling`, a value and advantages, as Wang et
al. 2016, "Dueling Network Architectures for Deep Reinforcement Learning", eq. 9, at each quantile.

**Departs:** to act, the paper draws K quantiles anew for every observation and takes the mean. Here they are the
midpoints (k + 0.5) / K, the same for all rows: an answer depends on its row alone, and the mean over midpoints is the
integral that the paper estimates, with less error. An observation's features are one layer, as the worlds of this
framework tell codes and no pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scoundrel_ray.network import Inputs, Network, seeded
from scoundrel_ray.settings.checks import at_least, switch
from scoundrel_ray.spec import Head, Spec


class QuantileNetwork(Network):
    """Quantiles of what is yet to come, for each action; it answers with their means, "values" [A].

    Args:
        spec: of the world (see `Network`).
        width: W, of every hidden layer.
        cosines: of the embedding of a quantile.
        acting_quantiles: K when the network acts.
        dueling: a value and advantages, with a hidden layer each, in place of one hidden layer.
        seed: of the initial weights.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: int = 240,
        cosines: int = 64,
        acting_quantiles: int = 8,
        dueling: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(spec, (Head("values", (spec.actions,)),))
        for name, size in (("width", width), ("cosines", cosines), ("acting_quantiles", acting_quantiles)):
            at_least(name, size, 1)
        switch("dueling", dueling)
        self._width, self._cosines, self._acting = width, cosines, acting_quantiles
        with seeded(seed):
            self.inputs = Inputs(spec.observation, width)
            self.embedding = nn.Sequential(nn.Linear(cosines, width), nn.ReLU())
            # The hidden layers of value and advantages read the same, so that one product makes both.
            self.hidden = nn.Sequential(nn.Linear(width, 2 * width if dueling else width), nn.ReLU())
            self.value = nn.Linear(width, 1) if dueling else None
            self.advantages = nn.Linear(width, spec.actions)

    def forward(self, observations: Tensor) -> tuple[Tensor]:
        """Means over the acting quantiles: ([B, A] float32,)."""
        midpoints = (torch.arange(self._acting, device=observations.device) + 0.5) / self._acting
        x = self._hidden(observations, midpoints[None])  # [B, K, 2 W]
        # What follows is linear, so that the mean of the hidden layers is enough. A product takes it: torch's own mean
        # over so few takes 2.6 times as long in bfloat16 (1,024 rows, measured).
        shares = x.new_full((1, 1, self._acting), 1.0 / self._acting).expand(len(x), -1, -1)
        return (self._outputs(torch.bmm(shares, x).squeeze(1)),)

    def quantiles(self, observations: Tensor, taus: Tensor) -> Tensor:
        """Quantiles of what each action may bring.

        Args:
            observations: [B, O] of the spec's dtype.
            taus: [B, K] float32 in [0, 1], which quantiles of each row.

        Returns:
            [B, K, A] float32.
        """
        return self._outputs(self._hidden(observations, taus))

    def _hidden(self, observations: Tensor, taus: Tensor) -> Tensor:
        """Hidden layers at quantiles [B, K], or [1, K] for those of all rows: [B, K, 2 W], or W without `dueling`."""
        # In float32 whatever the weights are: bfloat16 would not hold the angles.
        angles = taus[..., None] * (math.pi * torch.arange(self._cosines, device=taus.device))
        x = torch.relu(self.inputs(observations))  # [B, W]
        x = x[:, None] * self.embedding(torch.cos(angles).to(x.dtype))  # [B, K, W]
        return self.hidden(x)

    def _outputs(self, x: Tensor) -> Tensor:
        """From hidden layers [..., 2 W] to [..., A] float32."""
        if self.value is None:
            return self.advantages(x).float()
        # The value and what an advantage is above their mean are linear, and so is their sum: one product for all.
        value, advantages = self.value, self.advantages
        weight = torch.cat(
            [value.weight.expand_as(advantages.weight), advantages.weight - advantages.weight.mean(dim=0)], dim=1
        )
        return F.linear(x, weight, value.bias + advantages.bias - advantages.bias.mean()).float()
