"""AlphaZero's learner: the search's policy by cross-entropy, the outcome by squared error.

Legend: B rows of a batch, L most legal actions, A actions, P seats.

**Source:** Silver et al. 2018, "A general reinforcement learning algorithm that masters chess, shogi, and Go through
self-play": l = (z - v)^2 - pi log p + c |theta|^2.

**Departs:** the policy is a softmax over the row's legal actions alone, as in the search; a value for every seat, their
mean counts; the decay of weights is AdamW's (Loshchilov and Hutter 2019), of matrices alone; gradients are clipped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from learners.learner import NonFiniteLoss
from scoundrel_ray.experience.rows import decision_dtype
from scoundrel_ray.network import Network, check_device, load, weights
from scoundrel_ray.settings.checks import at_least, within
from scoundrel_ray.spec import Spec


@dataclass(frozen=True)
class AlphaZeroConfig:
    """Settings of the learner.

    Attributes:
        batch_size: rows of a step.
        learning_rate: after the warm-up.
        weight_decay: of AdamW, on matrices.
        value_weight: of the value's squared error beside the policy's cross-entropy.
        warmup_steps: over which the rate rises linearly.
        decay_steps: the rate then falls as 1 / sqrt(1 + steps / decay_steps); 0 for a constant rate.
        max_gradient_norm: longer gradients are scaled down to it.
        average: decay of an exponential average of the weights, handed out in their place; 0 for none.
        device: as torch names it; "auto" for cuda where there is one, else cpu.
    """

    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    value_weight: float = 1.0
    warmup_steps: int = 100
    decay_steps: int = 0
    max_gradient_norm: float = 1.0
    average: float = 0.0
    device: str = "auto"

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("warmup_steps", self.warmup_steps, 0)
        at_least("decay_steps", self.decay_steps, 0)
        within("learning_rate", self.learning_rate, 1e-9, 10.0)
        within("weight_decay", self.weight_decay, 0.0, 10.0)
        within("value_weight", self.value_weight, 0.0, 1e3)
        within("max_gradient_norm", self.max_gradient_norm, 1e-6, 1e6)
        within("average", self.average, 0.0, 0.999999)

    def row_dtype(self, spec: Spec) -> np.dtype:
        """Type of a searched decision (see `scoundrel_ray.experience.rows`)."""
        return decision_dtype(spec)

    def make(self, network: Network, _seed: int) -> AlphaZero:
        """A learner that trains `network` itself; it draws nothing, so it needs no seed."""
        return AlphaZero(network, self)


class AlphaZero:
    """The AlphaZero learner of one network; see the module for its loss.

    Args:
        network: to train, in float32; moved to the config's device.
        config: settings.

    Raises:
        InvalidConfig: for a device that torch cannot use here.
    """

    def __init__(self, network: Network, config: AlphaZeroConfig) -> None:
        self._config = config
        self._device = check_device("device", config.device)
        self._network = network.to(self._device).train()
        self._steps = 0
        matrices = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim <= 1]
        self._parameters = [*matrices, *others]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
        )
        self._average = weights(network) if config.average else None

    @property
    def version(self) -> int:
        """Steps done."""
        return self._steps

    def step(self, rows: np.ndarray) -> dict[str, float]:
        """One step of gradient descent on rows [B].

        Returns:
            loss, policy_loss (cross-entropy, nats), value_loss (squared error), value_error (absolute error),
            policy_entropy and target_entropy (nats), gradient_norm (before clipping), learning_rate.

        Raises:
            NonFiniteLoss: before anything is changed.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate
        metrics = losses(self._network, rows, self._device)
        loss = metrics["policy_loss"] + self._config.value_weight * metrics["value_loss"]
        metrics["loss"] = loss
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._config.max_gradient_norm)
        metrics["gradient_norm"] = norm
        numbers = dict(zip(metrics, torch.stack([m.detach().float() for m in metrics.values()]).tolist(), strict=True))
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise NonFiniteLoss(f"learner: {name} is {number} at step {self._steps}; the weights are untouched")
        self._optimiser.step()
        numbers["learning_rate"] = self.learning_rate
        self._steps += 1
        self._update_average()
        return numbers

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        c = self._config
        if self._steps < c.warmup_steps:
            return c.learning_rate * (self._steps + 1) / c.warmup_steps
        beyond = self._steps - c.warmup_steps
        return c.learning_rate / math.sqrt(1.0 + beyond / c.decay_steps) if c.decay_steps else c.learning_rate

    def _update_average(self) -> None:
        if self._average is None:
            return
        # Early averages forget the start sooner: after n steps no weight stands longer than they did.
        decay = min(self._config.average, self._steps / (self._steps + 10.0))
        for name, fresh in weights(self._network).items():
            self._average[name] += np.float32(1.0 - decay) * (fresh - self._average[name])

    def weights(self) -> dict[str, np.ndarray]:
        """The average if there is one, else the weights: a copy, float32 by name."""
        if self._average is None:
            return weights(self._network)
        return {name: array.copy() for name, array in self._average.items()}

    def state(self) -> dict[str, Any]:
        """Weights, their average, the optimiser's moments and the counter."""
        moments = self._optimiser.state_dict()["state"]
        return {
            "steps": self._steps,
            "weights": weights(self._network),
            "average": self._average,
            "moments": {
                str(index): {name: value.detach().cpu().numpy().copy() for name, value in moment.items()}
                for index, moment in moments.items()
            },
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`, bit for bit.

        Raises:
            WeightsMismatch: if it is of another network.
        """
        load(self._network, state["weights"])
        average = state["average"]
        self._average = None if average is None else {name: np.array(array) for name, array in average.items()}
        content = self._optimiser.state_dict()
        content["state"] = {
            int(index): {name: torch.from_numpy(np.array(value)) for name, value in moment.items()}
            for index, moment in state["moments"].items()
        }
        self._optimiser.load_state_dict(content)
        self._steps = int(state["steps"])


def losses(network: Network, rows: np.ndarray, device: torch.device) -> dict[str, Tensor]:
    """Losses and metrics, as scalars on the device: see `AlphaZero.step`."""
    observations = torch.from_numpy(np.ascontiguousarray(rows["observation"])).to(device)
    actions = torch.from_numpy(rows["actions"].astype(np.int64)).to(device)  # [B, L], -1 behind the legal ones
    policy = torch.from_numpy(np.ascontiguousarray(rows["policy"])).to(device)  # [B, L]
    target = torch.from_numpy(np.ascontiguousarray(rows["value"])).to(device)  # [B, P]
    logits, values = network(observations)
    legal = actions >= 0
    of_legal = logits.gather(1, actions.clamp(min=0)).masked_fill(~legal, -torch.inf)  # [B, L]
    # Where an action is not legal its log-probability is -inf and its weight 0: their product must be 0, not NaN.
    log_policy = F.log_softmax(of_legal, dim=1).masked_fill(~legal, 0.0)
    error = values - target
    with torch.no_grad():
        entropy = -(log_policy.exp() * log_policy).sum(dim=1).mean()
        target_entropy = -torch.xlogy(policy, policy).sum(dim=1).mean()
    return {
        "policy_loss": -(policy * log_policy).sum(dim=1).mean(),
        "value_loss": error.square().mean(),
        "value_error": error.detach().abs().mean(),
        "policy_entropy": entropy,
        "target_entropy": target_entropy,
    }
