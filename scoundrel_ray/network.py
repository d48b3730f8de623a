"""Networks: from what a seat or an agent observes to what is asked of them, such as logits and values.

Legend: B rows of a batch, O observation size, A actions, P values: one for each seat of a game.

A network is a subclass of `Network`, named in YAML by its `_target_` and built as `make(spec, **config)`.
Observations arrive as the world wrote them, mostly small integers; casting and encoding happen inside, on the
device. Weights travel between processes as float32 arrays by name, without torch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidSetting
from scoundrel_ray.spec import Field, Head, Spec, search_heads


class WeightsMismatch(ValueError):
    """Arrays that do not fit a network; the message names the first one and both shapes."""


class Network(nn.Module):
    """Base of every network: what it reads and what it answers.

    A subclass defines `forward(observations)`: from [B, O] of the spec's dtype, on any device, to a tuple with a tensor
    [B, ...] float32 for each of its heads. Those that searches ask for, unless a subclass gives others:

        logits: [B, A], unnormalised log-probabilities of the observer's actions, also illegal ones.
        values: [B, P] in [-1, 1]; column k is for the seat k places after the observer.

    A row's answer depends on that row alone, and the initial weights on the arguments alone (see `seeded`).
    The module may be cast to bfloat16 as a whole; what it answers stays float32.

    Args:
        spec: of the world that it reads and answers for.
        heads: what it answers; None for what searches ask.
    """

    def __init__(self, spec: Spec, heads: tuple[Head, ...] | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.answers = search_heads(spec) if heads is None else heads


class Inputs(nn.Module):
    """A first layer over chosen fields of an observation: [B, O] int8 to [B, width].

    Numbers, and categories of two values, are scaled to [0, 1]; a game whose fields are all binary costs a
    mere cast. Other categories are looked up in a table and summed, which equals a linear layer over their
    one-hot rows; measured at 44 to 104 entries it takes a third to two thirds of the time. It can be vmapped.

    Args:
        observation: all fields, in order.
        width: of the output.
        chosen: names of the fields to read; all of them if None.
    """

    low: Tensor
    scale: Tensor
    offsets: Tensor

    def __init__(self, observation: Sequence[Field], width: int, chosen: Sequence[str] | None = None) -> None:
        super().__init__()
        placed = [(f, at) for f, at in place(observation) if chosen is None or f.name in chosen]
        scaled = [(f, at) for f, at in placed if is_scaled(f)]
        looked_up = [(f, at) for f, at in placed if not is_scaled(f)]
        self._scaled_runs = _runs(scaled)
        self._looked_up_runs = _runs(looked_up)
        entries = sum(f.size for f, _ in placed)
        low = [scaling(f)[0] for f, _ in scaled for _ in range(f.size)]
        span = [scaling(f)[1] for f, _ in scaled for _ in range(f.size)]
        self._mere_cast = not any(low) and all(s == 1 for s in span)
        # Buffers are constants of the game, not weights: they are neither saved nor sent.
        self.register_buffer("low", torch.tensor(low, dtype=torch.float32), persistent=False)
        self.register_buffer("scale", 1.0 / torch.tensor(span, dtype=torch.float32), persistent=False)
        rows, offsets = table_rows(looked_up)
        self.register_buffer("offsets", offsets, persistent=False)
        # The bound that nn.Linear uses, with the entries that are at work at a time for its inputs.
        bound = max(entries, 1) ** -0.5
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))
        self.weight = nn.Parameter(torch.empty(width, len(low)).uniform_(-bound, bound)) if low else None
        self.table = nn.Parameter(torch.empty(rows, width).uniform_(-bound, bound)) if rows else None

    def forward(self, observations: Tensor) -> Tensor:
        out = self.bias
        if self.weight is not None:
            numbers = _columns(observations, self._scaled_runs).to(self.bias.dtype)
            if not self._mere_cast:
                numbers = (numbers - self.low) * self.scale
            out = F.linear(numbers, self.weight, self.bias)  # [B, width]
        if self.table is not None:
            rows = _columns(observations, self._looked_up_runs) + self.offsets  # [B, categories] int32
            out = _SumsOfRows.apply(rows[None], self.table[None])[0] + out  # [B, width]
        return out if out.ndim == 2 else out.expand(len(observations), -1)


_MANY = 12  # rows of a table for each that is chosen


class _SumsOfRows(torch.autograd.Function):
    """Sums of rows of T tables: rows [T, B, n] and tables [T, R, width] to [T, B, width]; no row comes twice in a sum.

    torch has no rule to vmap it, and its own gradient adds row by row. Here the gradient is a product with one-hot
    rows: 0.1 to 0.3 of the time in bfloat16, 0.3 to 0.8 in float32 (64 and 512 sums of 44 to 125 rows, measured). Where
    a table has many rows for each that is chosen, as 17, torch's own is the faster one in float32, and is taken.
    """

    @staticmethod
    def forward(rows: Tensor, tables: Tensor) -> Tensor:
        sums = [F.embedding_bag(*each, mode="sum") for each in zip(rows, tables, strict=True)]
        return torch.stack(sums) if len(sums) > 1 else sums[0][None]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        rows, tables = inputs
        ctx.save_for_backward(rows, tables)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows, tables = ctx.saved_tensors
        if tables.dtype == torch.float32 and tables.shape[1] > _MANY * rows.shape[2]:
            with torch.enable_grad():
                tables = tables.detach().requires_grad_()
                sums = _SumsOfRows.forward(rows, tables)
            return None, torch.autograd.grad(sums, tables, gradient)[0]
        one_hot = gradient.new_zeros((*rows.shape[:2], tables.shape[1])).scatter_(2, rows.long(), 1.0)
        return None, torch.bmm(one_hot.mT, gradient)

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: tuple[int | None, int | None], rows: Tensor, tables: Tensor
    ) -> tuple[Tensor, int]:
        """All copies' tables as so many more tables."""
        whole = [
            each.movedim(at, 0) if at is not None else each.expand(info.batch_size, *each.shape)
            for each, at in zip((rows, tables), in_dims, strict=True)
        ]
        sums = _SumsOfRows.apply(*(each.flatten(0, 1) for each in whole))
        return sums.unflatten(0, (info.batch_size, -1)), 0


def place(observation: Sequence[Field]) -> list[tuple[Field, int]]:
    """Every field with the column at which it starts."""
    placed, at = [], 0
    for field in observation:
        placed.append((field, at))
        at += field.size
    return placed


def is_scaled(field: Field) -> bool:
    """Whether a field is read as numbers in [0, 1]: two categories need no more than one number."""
    return field.kind == "number" or field.high - field.low == 1


def scaling(field: Field) -> tuple[float, float]:
    """What is taken from an entry, and what the rest is divided by, to reach [0, 1]; (0, 1) for an infinite range."""
    span = field.high - field.low
    return (field.low, span) if math.isfinite(span) else (0.0, 1.0)


def table_rows(placed: Sequence[tuple[Field, int]]) -> tuple[int, Tensor]:
    """Rows of a table with one for each entry's every value, and what turns entries into rows: [entries] int32."""
    rows, offsets = 0, []
    for field, _ in placed:
        for _ in range(field.size):
            offsets.append(rows - int(field.low))
            rows += int(field.high - field.low) + 1
    return rows, torch.tensor(offsets, dtype=torch.int32)


def _runs(placed: Sequence[tuple[Field, int]]) -> list[tuple[int, int]]:
    """Fewest column ranges that cover fields in order; slices cost far less than single columns."""
    runs: list[tuple[int, int]] = []
    for field, at in placed:
        if runs and runs[-1][1] == at:
            runs[-1] = (runs[-1][0], at + field.size)
        else:
            runs.append((at, at + field.size))
    return runs


def _columns(observations: Tensor, runs: Sequence[tuple[int, int]]) -> Tensor:
    parts = [observations[:, start:stop] for start, stop in runs]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def make_network(section: Mapping[str, Any], spec: Spec, seed: int = 0, key: str = "network") -> Network:
    """The network that a config section names, for a world.

    Args:
        section: of the config.
        spec: of the world that it reads and answers for.
        seed: of the initial weights, unless the section has its own.
        key: of the section, for what is wrong with it.

    Raises:
        InvalidConfig: as `scoundrel_ray.settings.build.build`.
    """
    return build(key, {"seed": seed, **section}, Network, spec)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A block in which torch on the CPU draws from the seed alone, and which leaves torch's stream as it was."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would also reseed every accelerator.
        torch.default_generator.manual_seed(seed)
        yield


def check_device(key: str, name: str) -> torch.device:
    """The device that a setting names; "auto" is cuda where there is one, else cpu.

    Raises:
        InvalidSetting: for one that torch cannot use here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidSetting(key, f"got {name!r}, which torch cannot use here: {reason}") from error
    return device


def parameter_count(network: nn.Module) -> int:
    """Number of trained scalars."""
    return sum(parameter.numel() for parameter in network.parameters())


def weights(network: nn.Module) -> dict[str, np.ndarray]:
    """A copy of all weights by name, float32."""
    return {
        name: tensor.detach().to("cpu", torch.float32, copy=True).numpy()
        for name, tensor in network.state_dict().items()
    }


def load(network: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Copies weights into a network, cast to the network's own types; it is untouched if they do not fit.

    Raises:
        WeightsMismatch: naming the first array that is missing, unknown or of another shape.
    """
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | arrays.keys()):
        got = tuple(arrays[name].shape) if name in arrays else "missing"
        want = tuple(wanted[name].shape) if name in wanted else "no such array"
        if got != want:
            raise WeightsMismatch(f"weights do not fit {type(network).__name__}: {name} is {got}, wanted {want}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            # Arrays from shared memory are read-only, which torch refuses to wrap without a warning.
            tensor.copy_(torch.from_numpy(np.require(arrays[name], requirements=["C", "W"])))
