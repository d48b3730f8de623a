"""Loss and gradient of one network, or of several of the same form at once.

Legend: B rows of a batch, P parameters of a network, M networks.

All parameters of a network lie in one vector, so that a step's norm and Adam are an operation each, and those of
several networks in one array, so that one vectorised call evaluates them all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_TIMED = 3  # evaluations in each precision, of which the fastest counts


class Gradients:
    """Loss and gradient of one network, or of several of the same form at once.

    Args:
        loss: of any one of them: a module with an `online` and a `target` network, whose `forward` takes rows and gives
            a loss [], a TD error [B] and a value [B]. It gives the form, and its networks' buffers count for all.
    """

    def __init__(self, loss: nn.Module) -> None:
        self._loss = loss
        self._shapes = {name: parameter.shape for name, parameter in loss.get_submodule("online").named_parameters()}
        self._sizes = [shape.numel() for shape in self._shapes.values()]

    def __call__(self, memory: Tensor, rows: Mapping[str, Tensor], precision: str) -> tuple[Tensor, Tensor, Tensor]:
        """What one step asks of the networks; nothing is changed.

        Args:
            memory: [2, P] float32, the online network's parameters and the target's; [M, 2, P] for several.
            rows: as the loss takes them; with M in front for several.
            precision: of what is computed.

        Returns:
            numbers: [4] float32, loss, mean TD error, mean value and the gradient's norm.
            errors: [B] float32, TD error of each row.
            gradient: [P] float32.
            All three with M in front for several.
        """
        dtype = PRECISIONS[precision]
        online = {f"online.{name}": part.requires_grad_() for name, part in self._parts(memory[..., 0, :], dtype)}
        target = {f"target.{name}": part for name, part in self._parts(memory[..., 1, :], dtype)}
        buffers = {
            name: buffer.to(dtype) if buffer.is_floating_point() else buffer
            for name, buffer in self._loss.named_buffers()
        }

        def evaluate(parameters: dict[str, Tensor], rows: Mapping[str, Tensor]) -> Any:
            return functional_call(self._loss, (parameters, buffers), (rows,))

        several = memory.ndim > 2
        loss, errors, values = (vmap(evaluate) if several else evaluate)({**online, **target}, rows)
        gradients = torch.autograd.grad(loss.sum(), list(online.values()))
        gradient = torch.cat([part.reshape(*memory.shape[:-2], -1) for part in gradients], dim=-1).float()
        norm = torch.linalg.vector_norm(gradient, dim=-1)
        return torch.stack([loss.detach(), errors.mean(-1), values.mean(-1), norm], dim=-1), errors, gradient

    def _parts(self, vector: Tensor, dtype: torch.dtype) -> list[tuple[str, Tensor]]:
        """Parameters by name, of a vector [..., P]: in another type, or views of it."""
        parts = vector.detach().split(self._sizes, dim=-1)
        return [
            (name, part.to(dtype).view(vector.shape[:-1] + shape))
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        ]

    def faster(self, memory: Tensor, rows: Mapping[str, Tensor]) -> str:
        """The precision in which a step is faster here."""
        seconds = dict.fromkeys(PRECISIONS, math.inf)
        for turn in range(1 + _TIMED):  # in turns, so that a busy moment does not decide; the first warms up
            for precision in PRECISIONS:
                start = time.perf_counter()
                self(memory, rows, precision)[0].tolist()
                if turn:
                    seconds[precision] = min(seconds[precision], time.perf_counter() - start)
        return min(seconds, key=seconds.__getitem__)


def lay_out(network: nn.Module, vector: Tensor) -> None:
    """Copy a network's parameters into `vector` [P], one behind the other, and let them lie there from now on."""
    parameters = list(network.parameters())
    for parameter, part in zip(parameters, vector.split([each.numel() for each in parameters]), strict=True):
        part.copy_(parameter.detach().reshape(-1))
        parameter.data = part.view(parameter.shape)


def form(network: nn.Module) -> Any:
    """What must be equal for one call to evaluate several networks: kinds, plain settings, shapes and buffers."""
    plain = (bool, int, float, str, tuple)
    return (
        [
            (type(module), {name: value for name, value in vars(module).items() if isinstance(value, plain)})
            for module in network.modules()
        ],
        [(name, parameter.shape) for name, parameter in network.named_parameters()],
        [(name, buffer.tolist()) for name, buffer in network.named_buffers()],
    )
