"""A network on a device: batches of observations in, its heads out; weights are exchanged in between.

Legend: B rows (leaves of searches), O observation size.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from inference.cpu import fuse
from inference.errors import NonFiniteOutput
from scoundrel_ray.evaluator import Evaluation
from scoundrel_ray.machine import keep_freed_memory
from scoundrel_ray.network import Network, check_device, load
from scoundrel_ray.runs.settings import BATCH_SIZES
from scoundrel_ray.spec import random_observations

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
GAIN_WANTED = 1.1
_TYPICAL_BATCH = 512
_MEASURED_S = 0.03
# Below this oneDNN's fixed cost a layer, about 12 us, outweighs what it saves in float32.
_FUSED_FROM = 32


class Model:
    """Evaluates batches with the newest weights, in one precision, padded to a few static sizes.

    Batches are padded because every new size costs a compilation, on a device and in oneDNN.

    Args:
        network: gives the form and the first weights; it is copied.
        agent: whose weights these are, for messages.
        precision: "float32", "bfloat16", or "auto": both are timed once and bfloat16 is taken if it is at
            least 1.1 times as fast, for observations that it holds exactly.
        batch_sizes: sizes that batches are padded to; a larger batch is cut by the largest.
        device: as torch names it.
        threads: of torch, for the whole process; None leaves them as they are.
        version: of the first weights.

    Attributes:
        precision: the precision in use.
        choice: a sentence that names the precision and, if both were timed, the speed of each.

    Raises:
        ValueError: for an unknown precision or device, or sizes that do not ascend from at least 1.
    """

    def __init__(
        self,
        network: Network,
        *,
        agent: str = "agent",
        precision: str = "auto",
        batch_sizes: Sequence[int] = BATCH_SIZES,
        device: str = "cpu",
        threads: int | None = None,
        version: int = 0,
    ) -> None:
        self.agent = agent
        self.batch_sizes = _checked_sizes(batch_sizes)
        self._device = check_device("inference.device", device)
        if precision not in ("auto", *PRECISIONS):
            raise ValueError(f"inference: precision is {precision!r}, wanted 'auto', 'float32' or 'bfloat16'")
        if threads is not None:
            torch.set_num_threads(threads)
        if self._device.type == "cpu":
            keep_freed_memory()
        self._network = copy.deepcopy(network).to("cpu", torch.float32).eval().requires_grad_(False)
        reason = "as configured"
        if precision == "auto" and not network.spec.fits_bfloat16:
            precision, reason = "float32", "for bfloat16 keeps three digits of real numbers"
        self._fused = {name: self._can_fuse(name) for name in PRECISIONS if precision in ("auto", name)}
        if precision == "auto":
            self.precision, self.choice = self._faster()
        else:
            self.precision, self.choice = precision, f"{precision} on {self._device}, {reason}"
        self._active = (self._placed(copy.deepcopy(self._network), self.precision), version)
        self._batch_s: float | None = None

    @property
    def version(self) -> int:
        """Version of the weights that the next batch is evaluated with."""
        return self._active[1]

    @property
    def batch_s(self) -> float:
        """Seconds of a batch of the smallest size, timed when first asked for: what one more batch costs whatever its
        size.
        """
        if self._batch_s is None:
            smallest = random_observations(self._network.spec, self.batch_sizes[0])
            self._batch_s = self._seconds(self._active[0], smallest)
        return self._batch_s

    def load(self, arrays: Mapping[str, np.ndarray], version: int) -> None:
        """Exchange the weights. A batch under way keeps the old ones; the next batch has the new ones.

        Raises:
            WeightsMismatch: if they do not fit; the old ones stay.
        """
        fresh = copy.deepcopy(self._network)
        load(fresh, arrays)  # built whole before it takes the old one's place
        self._active = (self._placed(fresh, self.precision), version)

    def evaluate(self, observations: np.ndarray) -> Evaluation:
        """What the network answers to observations [B, O], in the same order.

        Raises:
            ValueError: if the observations are of another type or size than the network's.
            NonFiniteOutput: if any of it is not finite.
        """
        spec = self._network.spec
        size = spec.observation_size
        if observations.dtype != spec.dtype or observations.ndim != 2 or observations.shape[1] != size:
            raise ValueError(
                f"agent {self.agent}: observations are {observations.dtype} {list(observations.shape)}, "
                f"wanted {spec.dtype} [B, {size}]"
            )
        module, version = self._active
        answers = tuple(np.empty((len(observations), *head.shape), np.float32) for head in self._network.answers)
        for start in range(0, len(observations), self.batch_sizes[-1]):
            part = slice(start, start + self.batch_sizes[-1])
            count = len(observations[part])
            for answer, output in zip(answers, self._run(module, self._padded(observations[part])), strict=True):
                answer[part] = output[:count]
        # A sum is finite if all its terms are, short of outputs that are as good as infinite.
        if not np.isfinite(sum(float(answer.sum()) for answer in answers)):
            bad = ~np.all([np.isfinite(answer).reshape(len(answer), -1).all(axis=1) for answer in answers], axis=0)
            raise NonFiniteOutput(
                f"agent {self.agent}, weights version {version}: the network's output is not finite in "
                f"{int(bad.sum())} of {len(observations)} rows"
            )
        return Evaluation(answers, version)

    def padded_size(self, count: int) -> int:
        """Rows that a batch of `count` is evaluated as, cuts included."""
        largest = self.batch_sizes[-1]
        full, rest = divmod(count, largest)
        return full * largest + (next(size for size in self.batch_sizes if size >= rest) if rest else 0)

    def _padded(self, observations: np.ndarray) -> np.ndarray:
        # Padding repeats a true row: zeros may lie outside a field's range.
        count = len(observations)
        padded = np.empty((self.padded_size(count), observations.shape[1]), dtype=observations.dtype)
        padded[:count] = observations
        padded[count:] = observations[:1]
        return padded

    def _run(self, module: nn.Module, observations: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            outputs = module(torch.from_numpy(observations).to(self._device))
            return [output.float().cpu().numpy() for output in outputs]

    def _placed(self, network: Network, precision: str) -> nn.Module:
        """The given network itself, on the device, in a precision, with the faster layers where they work."""
        network.to(self._device, PRECISIONS[precision])
        if self._fused[precision]:
            fuse(network)
        return network

    def _can_fuse(self, precision: str) -> bool:
        too_small = precision == "float32" and self.batch_sizes[-1] < _FUSED_FROM
        if self._device.type != "cpu" or too_small:
            return False
        trial = copy.deepcopy(self._network).to(PRECISIONS[precision])
        try:
            fuse(trial)
            self._run(trial, random_observations(self._network.spec, 2))
        except (AttributeError, RuntimeError):  # the operator is no public one, and not every CPU has it
            return False
        return True

    def _faster(self) -> tuple[str, str]:
        """The precision to use, and why."""
        batch = min(_TYPICAL_BATCH, self.batch_sizes[-1])
        observations = random_observations(self._network.spec, batch)
        modules = {name: self._placed(copy.deepcopy(self._network), name) for name in PRECISIONS}
        seconds = dict.fromkeys(modules, float("inf"))
        for _ in range(3):  # in turns, so that a busy moment of the machine does not decide
            for precision, module in modules.items():
                seconds[precision] = min(seconds[precision], self._seconds(module, observations))
        gain = seconds["float32"] / seconds["bfloat16"]
        chosen = "bfloat16" if gain >= GAIN_WANTED else "float32"
        rates = {precision: f"{batch / taken:,.0f}" for precision, taken in seconds.items()}
        return chosen, (
            f"{chosen} on {self._device}, timed at batch {batch}: float32 {rates['float32']} leaves/s, "
            f"bfloat16 {rates['bfloat16']} leaves/s"
        )

    def _seconds(self, module: nn.Module, observations: np.ndarray) -> float:
        """Least time of a batch, over several within a moment."""
        self._run(module, observations)
        best, end = float("inf"), time.perf_counter() + _MEASURED_S
        while time.perf_counter() < end:
            start = time.perf_counter()
            self._run(module, observations)
            best = min(best, time.perf_counter() - start)
        return best


def _checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    if not sizes or any(a >= b for a, b in zip((0, *sizes), sizes, strict=False)):
        raise ValueError(f"inference: batch_sizes is {list(sizes)}, wanted ascending integers >= 1")
    return tuple(sizes)
