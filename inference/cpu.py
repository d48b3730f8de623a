"""What makes torch fast at inference on a CPU: fused linear layers, beside memory that is kept.

Measured on one Zen 5 core. A product of 512 x 1100 by 1100 x 1100 takes 4.6 ms in float32 by oneDNN, 10.3 ms
by torch's default (MKL, which leaves that CPU's widest vectors unused), 2.2 ms by oneDNN in bfloat16. A
network of 2 x 128, batch 2048: 1.10 M leaves/s, and 1.80 M once the allocator keeps what is freed (see
`scoundrel_ray.machine`).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class FusedLinear(nn.Module):
    """A linear layer with or without a ReLU behind it, for inference alone: [..., inputs] to [...,
    outputs].
    """

    def __init__(self, linear: nn.Linear, activation: str) -> None:
        super().__init__()
        self.weight = linear.weight.detach()
        self.bias = None if linear.bias is None else linear.bias.detach()
        self._activation = activation
        # In bfloat16 the weight is ordered once as the kernel wants it; in float32 the operator takes it as
        # it is.
        half = self.weight.dtype == torch.bfloat16
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight) if half else self.weight

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, self._activation, [], "")


def fuse(module: nn.Module) -> None:
    """Replaces every linear layer below `module` in place; in an nn.Sequential also a ReLU that follows one.

    Raises:
        AttributeError, RuntimeError: where this torch or this CPU lacks the operator.
    """
    children = list(module.named_children())
    for at, (name, child) in enumerate(children):
        if type(child) is not nn.Linear:  # a subclass may compute something else
            fuse(child)
            continue
        relu = isinstance(module, nn.Sequential) and at + 1 < len(children) and type(children[at + 1][1]) is nn.ReLU
        setattr(module, name, FusedLinear(cast(nn.Linear, child), "relu" if relu else "none"))
        if relu:
            setattr(module, children[at + 1][0], nn.Identity())
