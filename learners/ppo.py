"""PPO: the clipped policy gradient with GAE, on an agent's own fragments; or near its own, corrected by V-trace.

Legend: n fragments, T own steps of a fragment at most, M own steps of a batch, A actions, O observation size.

**Source:** Schulman et al. 2017, "Proximal policy optimization algorithms", equations 7 and 9; advantages and targets
of the value as in `scoundrel_ray.experience.advantages`. With r = pi(a) / pi_old(a), every step adds

    -min(r A, clip(r, 1 - e, 1 + e) A) + value_weight (V - target)^2 / 2 - entropy_weight H(pi)

*strict*: the batch is of the weights that are trained; pi_old is the log-probability that came with the action.
*bounded*: it is of weights up to `max_lag` versions older. Then pi_old is the policy at the beginning of the step, the
proximal one, and the first term is weighed by min(rho_clip, pi_old(a) / mu(a)), where mu took the action: Hilton et al.
2021, "Batch size-invariance for policy optimization", equation 4. Targets and advantages are V-trace's for pi_old.
Where the batch is of the trained weights, both are the same.

**Departs:** log-probabilities and entropy are of the allowed actions alone. Values are learned in units of their
targets' running mean and deviation (see `scoundrel_ray.experience.scale`), so that rewards may be of any size.
Advantages are normalised over the batch, not over each minibatch. Hilton's proximal policy is an average of past ones,
and pi_old / mu is not clipped there; here it is, as V-trace's ratios are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learners.learner import NonFiniteLoss
from learners.ppo_loss import Batch, chosen, log_policy, losses
from scoundrel_ray.experience.advantages import advantages, there
from scoundrel_ray.experience.fragments import usable
from scoundrel_ray.experience.rows import fragment_dtype
from scoundrel_ray.experience.scale import Scale
from scoundrel_ray.network import Network, check_device, load, weights
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting, at_least, one_of, switch, within
from scoundrel_ray.spec import Head, Spec
from scoundrel_ray.streams import generator, generator_state, restore_generator, stream

LEAST_RATE = 0.01
"""Share of the learning rate that is left when it has decayed."""
PARTS = ("policy_loss", "value_loss", "entropy", "kl", "clip_share", "gradient_norm")
"""Metrics of every minibatch."""


class StaleRows(ValueError):
    """A batch without a fragment that may be learned from; the message names its versions and the learner's."""


@dataclass(frozen=True)
class PPOConfig:
    """Settings of the learner.

    Attributes:
        batch_size: own steps of a batch, at least; the learner's version rises by one with every batch.
        length: T, own steps of a fragment at most. Its end costs a bootstrap by the value, unless the episode ended.
        epochs: times that each step is learned from.
        minibatch: own steps of a step of gradient descent, about.
        learning_rate: of Adam.
        decay_steps: batches in which the rate falls linearly to a hundredth, where it stays; 0 for a constant rate.
        discount: of what follows by one own step.
        gae_lambda: see `scoundrel_ray.experience.advantages`.
        clip: e, how far the ratio of probabilities may lead from 1.
        value_clip: how far a value may lead from the one at the beginning of the step, in normalised units; None for
            any distance.
        value_weight, entropy_weight: in the loss.
        target_kl: an epoch that is further than this from the old policy, nats, is the last one; None for all epochs.
        max_gradient_norm: longer gradients are scaled down to it.
        normalise_advantages: whether a batch's advantages get mean 0 and deviation 1.
        normalise_returns: whether values are learned in units of the targets' running mean and deviation.
        on_policy: "strict", or "bounded" for fragments of earlier versions, too.
        max_lag: versions that any step of a fragment may be behind, where it is bounded; None for any.
        rho_clip, c_clip: the most that a ratio of probabilities counts, where it is bounded (V-trace's).
        device: as torch names it; "auto" for cuda where there is one, else cpu.
    """

    batch_size: int = 2048
    length: int = 128
    epochs: int = 10
    minibatch: int = 256
    learning_rate: float = 1e-3
    decay_steps: int = 0
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_clip: float | None = None
    value_weight: float = 0.5
    entropy_weight: float = 0.0
    target_kl: float | None = 0.03
    max_gradient_norm: float = 0.5
    normalise_advantages: bool = True
    normalise_returns: bool = True
    on_policy: str = "strict"
    max_lag: int | None = 4
    rho_clip: float = 1.0
    c_clip: float = 1.0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("batch_size", "length", "epochs", "minibatch"):
            at_least(name, getattr(self, name), 1)
        at_least("decay_steps", self.decay_steps, 0)
        within("learning_rate", self.learning_rate, 1e-9, 10.0)
        within("discount", self.discount, 0.0, 1.0)
        within("gae_lambda", self.gae_lambda, 0.0, 1.0)
        within("clip", self.clip, 1e-6, 10.0)
        for name in ("value_clip", "target_kl"):
            if getattr(self, name) is not None:
                within(name, getattr(self, name), 1e-6, 1e6)
        within("value_weight", self.value_weight, 0.0, 1e3)
        within("entropy_weight", self.entropy_weight, 0.0, 1e3)
        within("max_gradient_norm", self.max_gradient_norm, 1e-6, 1e6)
        switch("normalise_advantages", self.normalise_advantages)
        switch("normalise_returns", self.normalise_returns)
        one_of("on_policy", self.on_policy, ("strict", "bounded"))
        if self.max_lag is not None:
            at_least("max_lag", self.max_lag, 0)
        within("rho_clip", self.rho_clip, 1e-6, 1e6)
        within("c_clip", self.c_clip, 1e-6, 1e6)
        if self.c_clip > self.rho_clip:
            raise InvalidSetting("c_clip", f"got {self.c_clip}, wanted at most rho_clip, {self.rho_clip}")

    @property
    def behaviour(self) -> dict[str, Any]:
        """Section of how workers act for this learner: they draw from the policy, and send fragments."""
        own = self.on_policy == "strict"
        return {"_target_": "scoundrel_ray.experience.behaviours.Sampled", "length": self.length, "cut": own}

    @property
    def most_lag(self) -> int | None:
        """Versions that a step may be behind the learner's; None for any."""
        return 0 if self.on_policy == "strict" else self.max_lag

    def row_dtype(self, spec: Spec) -> np.dtype:
        """Type of a fragment (see `scoundrel_ray.experience.rows`)."""
        return fragment_dtype(spec, self.length)

    def make(self, network: Network, seed: int) -> PPO:
        """A learner that trains `network` itself; the seed is of the order in which steps are learned from."""
        return PPO(network, self, seed)


class PPO:
    """The PPO learner of one network; see the module for its loss.

    Args:
        network: to train, in float32; moved to the config's device. It answers logits [A] and value [1], in this order.
        config: settings.
        seed: of the minibatches.

    Raises:
        InvalidConfig: for a device that torch cannot use here, and for a network with other heads.
    """

    def __init__(self, network: Network, config: PPOConfig, seed: int = 0) -> None:
        wanted = (Head("logits", (network.spec.actions,)), Head("value", (1,)))
        if network.answers != wanted:
            raise InvalidConfig(f"PPO wants a network that answers {_text(wanted)}, got {_text(network.answers)}")
        self._config = config
        self._device = check_device("device", config.device)
        self._network = network.to(self._device).train()
        self._parameters = list(network.parameters())
        self._optimiser = torch.optim.Adam(self._parameters, lr=config.learning_rate, eps=1e-5)
        self._draws = generator(stream(seed))
        self._scale = Scale()
        if not config.normalise_returns:
            self._scale.restore((0.0, 1.0, 1.0))  # for good: a mean of 0 and a deviation of 1, the rewards' units
        self._steps = self._samples = 0

    @property
    def version(self) -> int:
        """Batches learned from; each takes several epochs."""
        return self._steps

    @property
    def samples(self) -> int:
        """Own steps learned from so far, each once however many epochs."""
        return self._samples

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next batch."""
        c = self._config
        done = min(self._steps / c.decay_steps, 1.0) if c.decay_steps else 0.0
        return c.learning_rate * (1.0 - (1.0 - LEAST_RATE) * done)

    def step(self, rows: np.ndarray) -> dict[str, float]:
        """All epochs on fragments [n]; those that are not usable at this version are left out.

        Returns:
            Means over the minibatches: loss, policy_loss, value_loss (half a squared error, normalised units), entropy
            (nats), kl (from the old policy, nats), clip_share (of ratios beyond the clip), gradient_norm (before
            clipping). Of the batch: explained_variance (by the values of before), value_mean and value_deviation (the
            units), lag_mean (versions), own_steps (learned from), dropped_steps (own, left out), epochs, learning_rate.

        Raises:
            StaleRows: if no fragment is usable.
            NonFiniteLoss: everything is as it was before.
        """
        kept = rows[usable(rows, self._steps, self._config.most_lag)]
        if not len(kept):
            raise StaleRows(self._stale(rows))
        before = self.state()
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate
        batch, told = self._prepare(kept)
        told |= self._learn(batch, before)
        told["dropped_steps"] = float(rows["steps"].sum() - kept["steps"].sum())
        told["learning_rate"] = self.learning_rate
        self._steps += 1
        self._samples += int(told["own_steps"])
        return told

    def _stale(self, rows: np.ndarray) -> str:
        versions = rows["versions"][there(rows["steps"], rows["versions"].shape[1])]
        found = f"{versions.min()} to {versions.max()}" if len(versions) else "none"
        lag = self._config.most_lag
        wanted = f"{self._steps}" if lag == 0 else f"{max(self._steps - lag, 0)} to {self._steps}" if lag else "any"
        return f"learner: no fragment that may be learned from: got versions {found}, wanted {wanted}"

    def _prepare(self, rows: np.ndarray) -> tuple[Batch, dict[str, float]]:
        """The batch's steps with their advantages and targets, and the metrics that are known before any epoch."""
        c = self._config
        length, steps = rows["versions"].shape[1], rows["steps"]
        valid = there(steps, length)
        seen = there(steps + 1, length + 1)
        observations = torch.from_numpy(rows["observations"][seen]).to(self._device)
        acts = np.flatnonzero(np.pad(valid, ((0, 0), (0, 1)))[seen])  # all that is seen but what lies behind the last
        masks = torch.from_numpy(rows["masks"][valid] != 0).to(self._device)
        actions = torch.from_numpy(rows["actions"][valid].astype(np.int64)).to(self._device)
        old = torch.from_numpy(rows["log_probabilities"][valid]).to(self._device)
        with torch.no_grad():
            logits, value = self._network(observations)
        at = torch.from_numpy(acts).to(self._device)
        values = np.zeros(seen.shape)
        values[seen] = self._scale.real(value[:, 0].double().cpu().numpy())
        ratios, weight = None, torch.ones_like(old)
        if c.on_policy == "bounded":
            proximal = chosen(log_policy(logits[at], masks), actions)
            likelier = (proximal - old).exp()
            ratios = np.ones(valid.shape)
            ratios[valid] = likelier.double().cpu().numpy()
            old, weight = proximal, likelier.clamp(max=c.rho_clip)
        found = advantages(
            rows["rewards"].astype(np.float64), values, steps, rows["end"], c.discount, c.gae_lambda, ratios,
            c.rho_clip, c.c_clip,
        )  # fmt: skip
        targets, gained = found.targets[valid], found.advantages[valid]
        if c.normalise_returns:
            self._scale.update(targets)
        if c.normalise_advantages:
            gained = (gained - gained.mean()) / (gained.std() + 1e-8)
        told = {
            "explained_variance": _explained(values[:, :-1][valid], targets),
            "value_mean": self._scale.mean,
            "value_deviation": self._scale.deviation,
            "lag_mean": float(self._steps - rows["versions"][valid].mean()),
            "own_steps": float(valid.sum()),
        }
        wanted, so_far = (self._tensor(self._scale.normal(each)) for each in (targets, values[:, :-1][valid]))
        return Batch(observations[at], masks, actions, old, weight, self._tensor(gained), wanted, so_far), told

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(self._device)

    def _learn(self, batch: Batch, before: Mapping[str, Any]) -> dict[str, float]:
        """The epochs; `before` is what to go back to."""
        c, told = self._config, []
        count = len(batch.actions)
        parts = max(1, round(count / c.minibatch))
        epochs = 0
        while epochs < c.epochs:
            order = torch.from_numpy(self._draws.permutation(count)).to(self._device)
            for some in torch.tensor_split(order, parts):
                told.append(self._descend(Batch(*(each[some] for each in batch))))
            epochs += 1
            if c.target_kl is not None and torch.stack(told[-parts:])[:, PARTS.index("kl")].mean() > c.target_kl:
                break
        table = torch.stack(told).tolist()
        for numbers in table:
            for name, number in zip(PARTS, numbers, strict=True):
                if not math.isfinite(number):
                    self.restore(before)
                    raise NonFiniteLoss(f"learner: {name} is {number} at step {self._steps}; the weights are untouched")
        means = dict(zip(PARTS, np.mean(table, axis=0).tolist(), strict=True))
        weighed = c.value_weight * means["value_loss"] - c.entropy_weight * means["entropy"]
        return {**means, "loss": means["policy_loss"] + weighed, "epochs": float(epochs)}

    def _descend(self, batch: Batch) -> Tensor:
        """One step of gradient descent; its `PARTS`."""
        c = self._config
        told = losses(self._network, batch, c.clip, c.value_clip)
        loss = told["policy_loss"] + c.value_weight * told["value_loss"] - c.entropy_weight * told["entropy"]
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        told["gradient_norm"] = torch.nn.utils.clip_grad_norm_(self._parameters, c.max_gradient_norm)
        self._optimiser.step()
        return torch.stack([told[name].detach() for name in PARTS])

    def weights(self) -> dict[str, np.ndarray]:
        """A copy of the weights, float32 by name."""
        return weights(self._network)

    def state(self) -> dict[str, Any]:
        """Weights, the optimiser's moments, the targets' statistics, the generator and the counters."""
        moments = self._optimiser.state_dict()["state"]
        return {
            "steps": self._steps,
            "samples": self._samples,
            "weights": weights(self._network),
            "moments": {
                str(index): {name: value.detach().cpu().numpy().copy() for name, value in moment.items()}
                for index, moment in moments.items()
            },
            "scale": self._scale.state(),
            "draws": generator_state(self._draws),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`, bit for bit.

        Raises:
            WeightsMismatch: if it is of another network.
        """
        load(self._network, state["weights"])
        content = self._optimiser.state_dict()
        content["state"] = {
            int(index): {name: torch.from_numpy(np.array(value)) for name, value in moment.items()}
            for index, moment in state["moments"].items()
        }
        self._optimiser.load_state_dict(content)
        self._scale.restore(state["scale"])
        restore_generator(self._draws, state["draws"])
        self._steps, self._samples = int(state["steps"]), int(state["samples"])


def _explained(values: np.ndarray, targets: np.ndarray) -> float:
    """Share of the targets' variance that the values explain; 0 where there is none, short of rounding."""
    variance = targets.var()
    return float(1.0 - (targets - values).var() / variance) if variance > 1e-12 * np.square(targets).mean() else 0.0


def _text(heads: tuple[Head, ...]) -> str:
    return ", ".join(f"{head.name} {list(head.shape)}" for head in heads)
