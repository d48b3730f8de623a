"""A transformer over what an observation lists: the cards of a deck, the cells of a board, the seats of a table.

Legend: B rows of a batch, T tokens, A actions, P values.

Fields of equal size describe the same things entry by entry (where each card lies, and how soon it will be
drawn), so they share tokens: token i is the sum of what each such field says of thing i, and of a vector of
i's own. A lone field of numbers, and every field of one entry, goes into the one state token, which also
answers for the values. Every action looks over all tokens by itself: its logit is a mean of what the tokens
say of it, under its own attention, so actions need no names and no game is built in.

**Source:** Vaswani et al. 2017; layer norms before the layers, as in Xiong et al. 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scoundrel_ray.network import Inputs, Network, is_scaled, place, scaling, seeded
from scoundrel_ray.settings.checks import InvalidSetting, at_least
from scoundrel_ray.spec import Field, Spec


class CardTransformer(Network):
    """A pre-norm transformer encoder over tokens, with a policy that every action gathers and a value head.

    Args:
        spec: of the world (see `Network`).
        width: of a token; a multiple of heads.
        layers: encoder layers.
        heads: of attention in each.
        feed_forward: width of the hidden layer in each, in multiples of `width`.
        value_width: of the value head's hidden layer.
        seed: of the initial weights.

    Raises:
        InvalidSetting: for a setting below 1, or a width that the heads do not divide.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: int,
        layers: int,
        heads: int = 4,
        feed_forward: int = 2,
        value_width: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(spec)
        observation = spec.observation
        for name, size in (
            ("width", width),
            ("layers", layers),
            ("heads", heads),
            ("feed_forward", feed_forward),
            ("value_width", value_width),
        ):
            at_least(name, size, 1)
        if width % heads:
            raise InvalidSetting("width", f"got {width}, wanted a multiple of heads, {heads}")
        groups = token_groups(observation)
        in_tokens = {field.name for group in groups for field in group}
        rest = [field.name for field in observation if field.name not in in_tokens]
        with seeded(seed):
            self.state = Inputs(observation, width, chosen=rest)
            self.tokens = nn.ModuleList(Tokens(observation, group, width) for group in groups)
            self.layers = nn.Sequential(*[Layer(width, heads, feed_forward) for _ in range(layers)])
            self.norm = nn.LayerNorm(width)
            self.look = nn.Linear(width, spec.actions)
            self.say = nn.Linear(width, spec.actions)
            self.value = nn.Sequential(nn.Linear(width, value_width), nn.ReLU(), nn.Linear(value_width, spec.values))
        with torch.no_grad():
            for output in (*self.say.parameters(), *self.value[2].parameters()):
                output.zero_()

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        state = self.state(observations).unsqueeze(1)
        x = torch.cat([state, *[tokens(observations) for tokens in self.tokens]], dim=1)  # [B, T, width]
        x = self.norm(self.layers(x))
        attention = torch.softmax(self.look(x), dim=1, dtype=torch.float32)  # [B, T, A]
        logits = (attention * self.say(x)).sum(dim=1)  # [B, A] float32
        return logits, torch.tanh(self.value(x[:, 0]).float())


def token_groups(observation: Sequence[Field]) -> list[list[Field]]:
    """Fields that share tokens, by their size: those of more than one entry, unless they are lone numbers."""
    by_size: dict[int, list[Field]] = {}
    for field in observation:
        if field.size > 1:
            by_size.setdefault(field.size, []).append(field)
    return [group for group in by_size.values() if len(group) > 1 or group[0].kind == "category"]


class Tokens(nn.Module):
    """Tokens of fields of equal size, [B, size, width]: what each field says of an entry, summed, and the
    entry's own.
    """

    offsets: Tensor
    low: Tensor
    scale: Tensor

    def __init__(self, observation: Sequence[Field], group: Sequence[Field], width: int) -> None:
        super().__init__()
        size = group[0].size
        placed = [(field, at) for field, at in place(observation) if field in group]
        self._looked_up = [(at, at + size) for field, at in placed if not is_scaled(field)]
        self._scaled = [(at, at + size) for field, at in placed if is_scaled(field)]
        rows, offsets, low, span = 0, [], [], []
        for field, _ in placed:
            if is_scaled(field):
                start, reach = scaling(field)
                low.append(start)
                span.append(reach)
            else:
                offsets.append(rows - int(field.low))
                rows += int(field.high - field.low) + 1
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.int32), persistent=False)
        self.register_buffer("low", torch.tensor(low, dtype=torch.float32), persistent=False)
        self.register_buffer("scale", 1.0 / torch.tensor(span, dtype=torch.float32), persistent=False)
        deviation = width**-0.5
        self.entry = nn.Parameter(torch.randn(size, width) * deviation)
        self.table = nn.Parameter(torch.randn(rows, width) * deviation) if rows else None
        self.weight = nn.Parameter(torch.randn(width, len(low)) * deviation) if low else None

    def forward(self, observations: Tensor) -> Tensor:
        batch, (size, width) = len(observations), self.entry.shape
        out = self.entry
        if self.table is not None:
            rows = torch.stack([observations[:, a:b] for a, b in self._looked_up], dim=-1) + self.offsets
            rows = rows.view(batch * size, -1)  # [B size, fields] int32
            out = out + F.embedding_bag(rows, self.table, mode="sum").view(batch, size, width)
        if self.weight is not None:
            numbers = torch.stack([observations[:, a:b] for a, b in self._scaled], dim=-1)  # [B, size, fields]
            out = out + F.linear((numbers.to(self.entry.dtype) - self.low) * self.scale, self.weight)
        return out


class Layer(nn.Module):
    """One pre-norm encoder layer, [B, T, width] to the same: attention, then a feed-forward network."""

    def __init__(self, width: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, feed_forward * width),
            nn.ReLU(),
            nn.Linear(feed_forward * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = self.queries_keys_values(self.norm(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # [B, heads, T, width / heads] each
        mixed = attend(queries, keys, values).transpose(1, 2)
        x = x + self.mix(mixed.reshape(batch, tokens, width))
        return x + self.feed_forward(x)


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Scaled dot-product attention, [B, heads, T, D] of each to the same.

    Written out on a CPU: for 45 tokens torch's fused kernel takes 1.3 times as long in float32 and 2.2-3
    times in bfloat16. The softmax is in float32, which is also the faster one there.
    """
    if queries.device.type != "cpu":
        return F.scaled_dot_product_attention(queries, keys, values)
    scores = torch.matmul(queries * queries.shape[-1] ** -0.5, keys.transpose(-1, -2))  # [B, heads, T, T]
    return torch.matmul(torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype), values)
