"""Implicit quantile networks' learner: it learns the whole distribution of what each action may bring.

Legend: B rows of a batch, O observation size, A actions, N quantiles of the online network, N' of the target network,
P parameters of a network.

**Source:** Dabney et al. 2018, "Implicit Quantile Networks for Distributional Reinforcement Learning", eq. 2 and 3;
double: van Hasselt et al. 2016, "Deep Reinforcement Learning with Double Q-learning"; weights of rows: Schaul et al.
2016, "Prioritized Experience Replay".

**Departs:** the action at the next observation is the best by the network's acting values, means over fixed midpoints
(see `scoundrel_ray.networks.quantile`), where the paper draws quantiles for that too; gradients are clipped.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from learners.gradients import PRECISIONS, Gradients, lay_out
from learners.learner import NonFiniteLoss
from learners.stacking import Stack
from scoundrel_ray.experience.rows import transition_dtype
from scoundrel_ray.network import Network, check_device, load, parameter_count, weights
from scoundrel_ray.settings.checks import InvalidSetting, at_least, one_of, switch, within
from scoundrel_ray.spec import Head, Spec
from scoundrel_ray.streams import generator, generator_state, restore_generator, stream

_METRICS = ("loss", "td_error", "value", "gradient_norm")


@dataclass(frozen=True)
class IQNConfig:
    """Settings of the learner.

    Attributes:
        batch_size: rows of a step.
        learning_rate: of Adam.
        decay_steps: the rate falls as 1 / sqrt(1 + steps / decay_steps); 0 for a constant rate.
        average: decay of an exponential average of the weights, handed out in their place; 0 for none.
        adam_epsilon: of Adam.
        discount: of a reward one own step later.
        n_steps: own steps of a row.
        quantiles: N, drawn for each row.
        target_quantiles: N', drawn for each row.
        kappa: up to which error the loss is quadratic.
        double: whether the online network chooses the next action that the target network values.
        target_every: steps after which the target network becomes the online one; 0 for `target_rate`.
        target_rate: share of the way to the online network that the target network goes in each step; 0 for
            `target_every`.
        max_gradient_norm: longer gradients are scaled down to it.
        precision: of the networks' evaluations and their gradients: "float32", "bfloat16", or "auto" for the faster by
            the first batch, if bfloat16 holds observations exactly. Weights, their gradient's sum of squares and Adam
            are in float32.
        epsilon_start, epsilon_end: chance of a random action at the agent's first step, and from `epsilon_steps` on.
        epsilon_steps: the agent's own environment steps over which the chance falls linearly.
        device: as torch names it; "auto" for cuda where there is one, else cpu.
    """

    batch_size: int = 64
    learning_rate: float = 2.5e-4
    decay_steps: int = 0
    average: float = 0.0
    adam_epsilon: float = 3.125e-4
    discount: float = 0.99
    n_steps: int = 3
    quantiles: int = 8
    target_quantiles: int = 8
    kappa: float = 1.0
    double: bool = True
    target_every: int = 500
    target_rate: float = 0.0
    max_gradient_norm: float = 10.0
    precision: str = "auto"
    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    epsilon_steps: int = 50_000
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("batch_size", "n_steps", "quantiles", "target_quantiles"):
            at_least(name, getattr(self, name), 1)
        at_least("target_every", self.target_every, 0)
        at_least("decay_steps", self.decay_steps, 0)
        within("average", self.average, 0.0, 0.999999)
        at_least("epsilon_steps", self.epsilon_steps, 0)
        within("learning_rate", self.learning_rate, 1e-9, 10.0)
        within("adam_epsilon", self.adam_epsilon, 1e-15, 1.0)
        within("kappa", self.kappa, 1e-6, 1e6)
        within("max_gradient_norm", self.max_gradient_norm, 1e-6, 1e6)
        for name in ("discount", "target_rate", "epsilon_start", "epsilon_end"):
            within(name, getattr(self, name), 0.0, 1.0)
        switch("double", self.double)
        one_of("precision", self.precision, ("auto", *PRECISIONS))
        if bool(self.target_every) == bool(self.target_rate):
            raise InvalidSetting(
                "target_rate", f"got {self.target_rate} with target_every {self.target_every}, wanted one of them 0"
            )

    @property
    def behaviour(self) -> dict[str, Any]:
        """Section of how the agent acts to gather rows, and of the rows that come of it."""
        return {
            "_target_": "scoundrel_ray.experience.behaviours.EpsilonGreedy",
            "n_steps": self.n_steps,
            "discount": self.discount,
            "start": self.epsilon_start,
            "end": self.epsilon_end,
            "steps": self.epsilon_steps,
        }

    def row_dtype(self, spec: Spec) -> np.dtype:
        """Type of a transition (see `scoundrel_ray.experience.rows`)."""
        return transition_dtype(spec)

    def make(self, network: Network, seed: int) -> IQN:
        """A learner that trains `network` itself; it draws quantiles by `seed`."""
        return IQN(network, self, seed)

    def stack(self, members: Sequence[IQN]) -> Stack:
        """What steps `members`, learners of these settings, together.

        Raises:
            ValueError: if their settings or the forms of their networks differ.
        """
        return Stack(members)


class QuantileLoss(nn.Module):
    """The loss of an online network beside a target network.

    Args:
        online, target: of the same form, with `quantiles` as `scoundrel_ray.networks.quantile.QuantileNetwork` has it.
        config: settings.
    """

    def __init__(self, online: Network, target: Network, config: IQNConfig) -> None:
        super().__init__()
        self.online, self.target = online, target
        self._double, self._kappa = config.double, config.kappa

    def forward(self, rows: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of rows.

        Args:
            rows: the fields of `transition_dtype` [B, ...], with "action" int64 and "next_mask" bool, and "taus"
                [B, N], "target_taus" [B, N'] and "weight" [B], float32.

        Returns:
            loss: [], the mean over rows, each by its weight.
            errors: [B], the mean over pairs of quantiles of the absolute TD error.
            values: [B], the mean of the quantiles of the action taken.
        """
        target = self._target(rows)  # [B, N']
        taus = rows["taus"]
        quantiles = _of_action(self.online.quantiles(rows["observation"], taus), rows["action"])  # [B, N]  # pyright: ignore[reportCallIssue]
        errors = target[:, None, :] - quantiles[:, :, None]  # [B, N, N']
        size = errors.abs()
        huber = torch.where(size <= self._kappa, 0.5 * size.square(), self._kappa * (size - 0.5 * self._kappa))
        tilt = (taus[:, :, None] - (errors < 0).float()).abs()
        loss = (tilt * huber / self._kappa).mean(dim=2).sum(dim=1)  # [B]
        return (rows["weight"] * loss).mean(), size.detach().mean(dim=(1, 2)), quantiles.detach().mean(dim=1)

    @torch.no_grad()
    def _target(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Where the quantiles of the action taken are to go: [B, N']."""
        upcoming = rows["next_observation"]
        (values,) = (self.online if self._double else self.target)(upcoming)  # [B, A]
        best = values.masked_fill(~rows["next_mask"], -torch.inf).argmax(dim=1)
        quantiles = _of_action(self.target.quantiles(upcoming, rows["target_taus"]), best)  # pyright: ignore[reportCallIssue]
        return rows["reward"][:, None] + rows["discount"][:, None] * quantiles


def _of_action(quantiles: Tensor, actions: Tensor) -> Tensor:
    """Quantiles [B, K, A] of an action [B] of each row: [B, K]."""
    return quantiles.gather(2, actions[:, None, None].expand(-1, quantiles.shape[1], 1)).squeeze(2)


class IQN:
    """The learner of one network; see the module for its loss.

    Args:
        network: to train, in float32; moved to the config's device.
        config: settings.
        seed: of the quantiles drawn.

    Attributes:
        config: settings.
        network: that it trains.
        device: where it is.
        gradients: what evaluates it.
        memory: [2, P] float32, parameters of the online and the target network.
        precision: of its evaluations; "auto" until the first batch.
        priorities: [B] float32, mean absolute TD error of each row of the last step; None where its rows had no weight.

    Raises:
        InvalidConfig: for a device that torch cannot use here, and for a network without quantiles.
    """

    def __init__(self, network: Network, config: IQNConfig, seed: int) -> None:
        wanted = (Head("values", (network.spec.actions,)),)
        if network.answers != wanted or not hasattr(network, "quantiles"):
            raise InvalidSetting(
                "network",
                f"got {type(network).__name__}, wanted one with quantiles(observations, taus), such as quantile",
            )
        self.config, self.precision = config, config.precision
        if config.precision == "auto" and not network.spec.fits_bfloat16:
            self.precision = "float32"
        self.priorities: np.ndarray | None = None
        self.device = check_device("device", config.device)
        self.network = network.to(self.device).train()
        self._loss = QuantileLoss(network, copy.deepcopy(network).requires_grad_(False), config)
        self.gradients = Gradients(self._loss)
        self._vector = nn.Parameter(torch.empty(parameter_count(network), device=self.device))
        self.settle(torch.empty(2, len(self._vector), device=self.device))
        self._optimiser = torch.optim.Adam([self._vector], config.learning_rate, eps=config.adam_epsilon, fused=True)
        self._taus = generator(stream(seed))
        self._steps = 0
        self._averaged = copy.deepcopy(network).requires_grad_(False) if config.average else None
        if self._averaged is not None:
            self._average = self.memory[0].clone()
            lay_out(self._averaged, self._average)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        c = self.config
        return c.learning_rate / math.sqrt(1.0 + self._steps / c.decay_steps) if c.decay_steps else c.learning_rate

    def settle(self, memory: Tensor) -> None:
        """Let the parameters of the online and the target network lie in `memory` [2, P] from now on."""
        for network, vector in zip((self._loss.online, self._loss.target), memory, strict=True):
            lay_out(network, vector)
        self.memory, self._vector.data = memory, memory[0]

    @property
    def version(self) -> int:
        """Steps done."""
        return self._steps

    def step(self, rows: np.ndarray) -> dict[str, float]:
        """One step of gradient descent on rows [B].

        Args:
            rows: of `transition_dtype`; a field "weight" float32 weighs each in the loss.

        Returns:
            loss (quantile Huber), td_error (mean absolute, over pairs of quantiles), value (mean over quantiles, of the
            actions taken), gradient_norm (before clipping).

        Raises:
            NonFiniteLoss: before anything is changed but the generator of quantiles.
        """
        columns = {name: torch.from_numpy(array).to(self.device) for name, array in self.columns(rows).items()}
        if self.precision == "auto":
            self.precision = self.gradients.faster(self.memory, columns)
        numbers, errors, gradient = self.gradients(self.memory, columns, self.precision)
        told = self.take(rows, numbers.tolist(), errors, gradient)
        if isinstance(told, NonFiniteLoss):
            raise told
        return told

    def columns(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """What `QuantileLoss.forward` reads, as arrays; the quantiles of the next step are drawn."""
        count, config = len(rows), self.config
        names = ("observation", "reward", "discount", "next_observation")
        weighted = "weight" in (rows.dtype.names or ())
        return {
            **{name: np.ascontiguousarray(rows[name]) for name in names},
            "action": rows["action"].astype(np.int64),
            "next_mask": rows["next_mask"].astype(bool),
            "taus": self._taus.random((count, config.quantiles), np.float32),
            "target_taus": self._taus.random((count, config.target_quantiles), np.float32),
            "weight": np.ascontiguousarray(rows["weight"]) if weighted else np.ones(count, np.float32),
        }

    def take(
        self, rows: np.ndarray, numbers: Sequence[float], errors: Tensor, gradient: Tensor
    ) -> dict[str, float] | NonFiniteLoss:
        """The rest of a step, from what `Gradients` gave for these rows; metrics, or why nothing was changed."""
        told: dict[str, float] = dict(zip(_METRICS, numbers, strict=True))
        for name, number in told.items():
            if not math.isfinite(number):
                return NonFiniteLoss(f"learner: {name} is {number} at step {self._steps}; the weights are untouched")
        limit = self.config.max_gradient_norm
        if told["gradient_norm"] > limit:
            gradient = gradient * (limit / told["gradient_norm"])
        self._vector.grad = gradient
        self._optimiser.param_groups[0]["lr"] = self.learning_rate
        self._optimiser.step()
        self._vector.grad = None
        self._steps += 1
        online, target = self.memory
        if self.config.target_rate:
            target.lerp_(online, self.config.target_rate)
        elif self._steps % self.config.target_every == 0:
            target.copy_(online)
        if self._averaged is not None:
            # Early averages forget the start sooner: after n steps no weight stands longer than they did.
            self._average.lerp_(online, 1.0 - min(self.config.average, self._steps / (self._steps + 10.0)))
        self.priorities = errors.cpu().numpy() if "weight" in (rows.dtype.names or ()) else None
        return told

    def weights(self) -> dict[str, np.ndarray]:
        """A copy of the average of the online network's weights if there is one, else of them, float32 by name."""
        return weights(self.network if self._averaged is None else self._averaged)

    def state(self) -> dict[str, Any]:
        """Weights of both networks, their average, the optimiser's moments, the counter, the generator of quantiles."""
        moments = self._optimiser.state.get(self._vector, {})
        return {
            "steps": self._steps,
            "precision": self.precision,
            "weights": weights(self._loss.online),
            "target": weights(self._loss.target),
            "average": None if self._averaged is None else weights(self._averaged),
            "moments": {name: value.detach().cpu().numpy().copy() for name, value in moments.items()},
            "taus": generator_state(self._taus),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`, bit for bit.

        Raises:
            WeightsMismatch: if it is of another network.
        """
        load(self._loss.online, state["weights"])
        load(self._loss.target, state["target"])
        if self._averaged is not None:
            load(self._averaged, state["average"])
        content = self._optimiser.state_dict()
        moments = {name: torch.from_numpy(np.array(value)) for name, value in state["moments"].items()}
        content["state"] = {0: moments} if moments else {}
        self._optimiser.load_state_dict(content)
        restore_generator(self._taus, state["taus"])
        self._steps = int(state["steps"])
        if self.config.precision == "auto":
            self.precision = state["precision"]
