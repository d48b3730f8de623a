"""An actor and a critic for policy gradients: logits of actions and the value of where the agent is.

**Source:** the networks of Schulman et al. 2017, "Proximal policy optimization algorithms": two hidden layers of 64
with tanh, nothing shared between policy and value. Weights are orthogonal (Saxe et al. 2014), with a gain of sqrt(2) in
front of a nonlinearity, 1 for the value, and 0.01 for the logits, so that an agent starts out nearly uniform, which
Andrychowicz et al. 2021, "What matters for on-policy deep actor-critic methods?", found to matter; biases are 0.

**Departs:** a first layer that looks categories up in a table keeps the initialisation of
`scoundrel_ray.network.Inputs`, which has the same variance for any number of categories.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scoundrel_ray.network import Inputs, Network, seeded
from scoundrel_ray.settings.checks import at_least, one_of, switch
from scoundrel_ray.spec import Head, Spec

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class ActorCritic(Network):
    """Answers two heads: logits [A] and value [1], any real number.

    Args:
        spec: of the world (see `Network`).
        width: of every hidden layer.
        layers: hidden layers, at least 1.
        activation: behind each of them, "tanh" or "relu" (which inference fuses with its layer on a CPU).
        separate: whether logits and value have hidden layers of their own, or share them.
        seed: of the initial weights.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: int = 64,
        layers: int = 2,
        activation: str = "tanh",
        separate: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(spec, (Head("logits", (spec.actions,)), Head("value", (1,))))
        at_least("width", width, 1)
        at_least("layers", layers, 1)
        one_of("activation", activation, ACTIVATIONS)
        switch("separate", separate)
        with seeded(seed):
            outputs = ([0.01] * spec.actions, [1.0]) if separate else ([0.01] * spec.actions + [1.0],)
            self.towers = nn.ModuleList(
                _tower(spec, width, layers, ACTIVATIONS[activation], gains) for gains in outputs
            )

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        answers = torch.cat([tower(observations) for tower in self.towers], dim=1).float()  # [B, A + 1]
        return answers[:, :-1], answers[:, -1:]


def _tower(spec: Spec, width: int, layers: int, activation: type[nn.Module], gains: list[float]) -> nn.Sequential:
    """Hidden layers and a last one, with an output for each of `gains`."""
    inputs = Inputs(spec.observation, width)
    if inputs.weight is not None and inputs.table is None:
        nn.init.orthogonal_(inputs.weight, math.sqrt(2.0))
        nn.init.zeros_(inputs.bias)
    stack: list[nn.Module] = [inputs, activation()]
    for _ in range(layers - 1):
        stack += [_orthogonal(nn.Linear(width, width), math.sqrt(2.0)), activation()]
    last = _orthogonal(nn.Linear(width, len(gains)), 1.0)
    with torch.no_grad():
        last.weight.mul_(torch.tensor(gains)[:, None])
    return nn.Sequential(*stack, last)


def _orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
