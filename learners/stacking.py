"""Learners of the same form that step together, and whether that is faster here than one after another.

Legend: B rows of a batch, M members of a stack, P parameters of a network.

A stack evaluates its members' networks by one vectorised call; all that a step changes is each member's own: gradient
norm, moments and their count of steps, target network, generator. What is faster depends on the machine and on the
network's size, so it is measured, on random rows, before a run.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from learners.gradients import Gradients, form
from learners.learner import LearnerSettings, NonFiniteLoss
from scoundrel_ray.network import Network, make_network
from scoundrel_ray.spec import Spec, random_observations

GAIN_WANTED = 1.05  # below it what is simpler, or more exact, is as good
_TURNS = 3  # of each way that comes into question; the first also warms up
_HOPELESS = 2.0  # times as slow as the fastest in the first turn: not tried again

Way = tuple[bool, str]  # whether together, and in which precision


class Member(Protocol):
    """A learner that can be stacked; see `learners.iqn.IQN` for what is told of each."""

    config: Any
    precision: str
    network: Network
    device: torch.device
    gradients: Gradients
    memory: Tensor

    def settle(self, memory: Tensor) -> None:
        """Let all parameters lie in `memory` from now on."""
        ...

    def columns(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """What is evaluated of rows, as arrays of equal shapes for all members."""
        ...

    def take(
        self, rows: np.ndarray, numbers: Sequence[float], errors: Tensor, gradient: Tensor
    ) -> dict[str, float] | NonFiniteLoss:
        """The rest of a step; metrics, or why nothing was changed."""
        ...


class Stack:
    """Steps several learners together. Each stays a learner of its own, which may also step alone in between.

    Args:
        members: of equal settings, with networks of the same form. From now on their parameters lie in one array.

    Raises:
        ValueError: if their settings or the forms of their networks differ.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        if not members:
            raise ValueError("stack: got no members")
        first = members[0]
        for member in members[1:]:
            if member.config != first.config or member.device != first.device:
                raise ValueError("stack: the members' settings differ")
            if form(member.network) != form(first.network):
                raise ValueError("stack: the members' networks differ in form")
        self._members = list(members)
        self._memory = torch.empty(len(members), *first.memory.shape, device=first.device)
        for member, memory in zip(members, self._memory, strict=True):
            member.settle(memory)

    def step(self, rows: Sequence[np.ndarray | None]) -> list[dict[str, float] | NonFiniteLoss | None]:
        """One step of every member that has rows.

        Args:
            rows: for each member [B], as its own `step` takes them; None for one that is to stay as it is.

        Returns:
            For each member its metrics, or None without rows, or the error that left it as it was.
        """
        told: list[dict[str, float] | NonFiniteLoss | None] = [None] * len(self._members)
        batches = {at: own for at, own in enumerate(rows) if own is not None}
        if not batches:
            return told
        first, members = self._members[0], [self._members[at] for at in batches]
        parts = [member.columns(own) for member, own in zip(members, batches.values(), strict=True)]
        columns = {name: torch.from_numpy(np.stack([p[name] for p in parts])).to(first.device) for name in parts[0]}
        memory = self._memory if len(batches) == len(self._members) else self._memory[list(batches)]
        if first.precision == "auto":
            first.precision = first.gradients.faster(memory, columns)
        for member in members:
            member.precision = first.precision
        numbers, errors, gradients = first.gradients(memory, columns, first.precision)
        found = zip(batches.items(), members, numbers.tolist(), errors, gradients, strict=True)
        for (at, own), member, own_numbers, own_errors, gradient in found:
            told[at] = member.take(own, own_numbers, own_errors, gradient)
        return told


class Choice(NamedTuple):
    """How to step learners.

    Attributes:
        stacked: whether together.
        precision: setting of the learners.
        sentence: what was measured, in one line.
    """

    stacked: bool
    precision: str
    sentence: str


def fastest(settings: Any, spec: Spec, network: Mapping[str, Any], members: int) -> Choice:
    """The fastest way to step so many learners, on this process's threads and the settings' device.

    Separate steps in float32 are taken unless another way is at least 1.05 times as fast. A precision that the settings
    name is kept. A way that cannot be had, such as a network of operations that cannot be vectorised, is left out.

    Args:
        settings: of each learner (see `LearnerSettings`); `stack` and a setting `precision` are used where it has them.
        spec: of the world.
        network: config section of each learner's network.
        members: how many.
    """
    named = getattr(settings, "precision", "float32")
    rows = [random_rows(settings, spec, seed) for seed in range(members)]
    ways: dict[Way, Callable[[], Any]] = {}
    both = ("float32", "bfloat16") if spec.fits_bfloat16 else ("float32",)
    for precision in both if named == "auto" else (named,):
        own = dataclasses.replace(settings, precision=precision) if named == "auto" else settings
        learners = [own.make(make_network(network, spec, seed), seed) for seed in range(members)]
        ways[False, precision] = lambda learners=learners: [
            learner.step(batch) for learner, batch in zip(learners, rows, strict=True)
        ]
        if members > 1 and hasattr(own, "stack"):
            stack = functools.cache(functools.partial(own.stack, learners))  # made, or refused, when it is first used
            ways[True, precision] = lambda stack=stack: stack().step(rows)
    seconds, refused = _least_seconds(dict(sorted(ways.items(), key=lambda way: (way[0][0], way[0][1] != "float32"))))
    chosen = _chosen(seconds)
    rates = ", ".join(f"{_name(way)} {members / taken:,.0f}" for way, taken in seconds.items())
    who = f"{members} learner{'s' if members > 1 else ''}"
    told = f"{who}: {_name(chosen)}; steps/s of all at batch {settings.batch_size}: {rates}{refused}"
    return Choice(*chosen, told)


def _least_seconds(ways: Mapping[Way, Callable[[], Any]]) -> tuple[dict[Way, float], str]:
    """Least seconds of each way, by turns, so that a busy moment of the machine does not decide; what cannot be had."""
    seconds, refused = {}, ""
    for way, step in ways.items():
        try:
            seconds[way] = _seconds(step)
        except (RuntimeError, ValueError) as error:
            if not way[0]:
                raise
            refused = f"; together they cannot step: {str(error).splitlines()[0]}"
    hopeful = [way for way, taken in seconds.items() if taken <= _HOPELESS * min(seconds.values())]
    for _ in range(1, _TURNS):
        for way in hopeful:
            seconds[way] = min(seconds[way], _seconds(ways[way]))
    return seconds, refused


def _seconds(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _chosen(seconds: Mapping[Way, float]) -> Way:
    """The fastest way, or the first that is nearly as fast."""
    least = min(seconds.values())
    return next(way for way, taken in seconds.items() if taken <= GAIN_WANTED * least)


def _name(way: Way) -> str:
    return f"{'together' if way[0] else 'one after another'} in {way[1]}"


def random_rows(settings: LearnerSettings, spec: Spec, seed: int) -> np.ndarray:
    """A batch of the learner's rows to be timed on: random observations, all actions allowed, all else 0."""
    rows = np.zeros(settings.batch_size, settings.row_dtype(spec))
    for at, name in enumerate(rows.dtype.names or ()):
        form = rows.dtype[name]
        if form.shape[-1:] == (spec.observation_size,) and form.base == np.dtype(spec.dtype):
            count = rows[name].size // spec.observation_size
            rows[name] = random_observations(spec, count, seed + 1000 * at).reshape(rows[name].shape)
        elif "mask" in name:
            rows[name] = 1
    return rows
