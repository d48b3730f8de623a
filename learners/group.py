"""Learners of one or several agents on one thread, each at its own pace.

The thread makes all steps. Whoever wants an agent trained asks for a stretch and waits for its end; where several
agents of one form have a batch at the same time, their steps are made together, if the group has a stack for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from learners.learner import Learner, NonFiniteLoss, Stack
from scoundrel_ray.experience.rows import counted
from scoundrel_ray.streams import generator_state, restore_generator
from scoundrel_ray.symmetry import Symmetries

_LOOK_S = 0.5  # between two looks at the time while nothing happens


class BatchesGone(RuntimeError):
    """The replay that batches came from is gone; another takes its place, or the run ends."""


class Batches(Protocol):
    """Batches of one agent."""

    def take(self, ahead: bool) -> np.ndarray | None:
        """The next batch, or None if it is not there yet.

        Args:
            ahead: whether the one behind it may be prepared already.

        Raises:
            BatchesGone: if the replay is gone.
        """
        ...

    def stepped(self, rows: np.ndarray, learner: Learner) -> None:
        """Tell the replay what a step on these rows has shown, if it wants to know."""
        ...


class _Stretch:
    """A stretch of one agent's training that somebody waits for."""

    def __init__(self, most_steps: int, seconds: float, ahead: bool) -> None:
        self.most_steps, self.ahead = most_steps, ahead
        self.start = time.perf_counter()
        self.end = self.start + seconds
        self.steps, self.busy_s = 0, 0.0
        self.sums: dict[str, float] = {}
        self.error: Exception | None = None
        self.over = threading.Event()

    def add(self, metrics: Mapping[str, float]) -> None:
        """Count a step with its metrics."""
        self.steps += 1
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)


class Member:
    """An agent of a group.

    Args:
        learner: of the agent.
        batches: what it learns from.
        symmetries: the guises that rows are learned from in; None for rows as they are.
        guises: draws them.

    Attributes:
        samples: learned from so far, as the replay counts them.
        handed: version and arrays of the weights at the end of the last stretch.
    """

    def __init__(
        self,
        learner: Learner,
        batches: Batches,
        symmetries: Symmetries | None,
        guises: np.random.Generator,
    ) -> None:
        self.learner, self.batches = learner, batches
        self._symmetries, self._guises = symmetries, guises
        self.samples = 0
        self.handed = (learner.version, learner.weights())

    def seen(self, rows: np.ndarray) -> np.ndarray:
        """Rows in the guises that they are learned from in."""
        if self._symmetries is None:
            return rows
        return self._symmetries.see(rows, self._guises.integers(len(self._symmetries), size=len(rows)))

    def note(self, rows: np.ndarray, metrics: Mapping[str, float]) -> dict[str, float]:
        """Count a step on rows; its metrics, and how old the rows' weights were where rows tell."""
        self.samples += counted(rows)
        self.batches.stepped(rows, self.learner)
        found = dict(metrics)
        if "version" in (rows.dtype.names or ()):
            found["weights_lag"] = self.learner.version - 1 - float(rows["version"].mean())
        return found

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs to go on bit for bit."""
        return {
            "learner": self.learner.state(),
            "guises": generator_state(self._guises),
            "samples": self.samples,
        }

    def restore(self, state: Mapping[str, Any], batch_size: int) -> None:
        """Go on from `state()`; those of earlier versions count no samples, but all their batches were of one size."""
        self.learner.restore(state["learner"])
        restore_generator(self._guises, state["guises"])
        self.samples = int(state.get("samples", self.learner.version * batch_size))
        self.handed = (self.learner.version, self.learner.weights())


class LearnerGroup:
    """Agents whose learners one thread of this process steps.

    Args:
        members: by name.
        stacks: for agents of one form, what steps them together; agents that are in none are stepped by themselves.
    """

    def __init__(self, members: Mapping[str, Member], stacks: Sequence[tuple[Sequence[str], Stack]] = ()) -> None:
        self.members = dict(members)
        self._stacks = [(tuple(names), stack) for names, stack in stacks]
        self._open: dict[str, _Stretch] = {}
        self._changed = threading.Condition()
        self._stepping = threading.Lock()
        self._over: Exception | None = None  # why no stretch is begun any more
        self._wakes = 0  # counted, so that none is missed that comes while batches are looked for
        self._thread = threading.Thread(target=self._run, name="learners", daemon=True)
        self._thread.start()

    def train(self, agent: str, most_steps: int, seconds: float, ahead: bool = True) -> dict[str, Any]:
        """Up to `most_steps` steps of an agent, or as many as its replay feeds within `seconds`; waits for them.

        Args:
            agent: its name.
            most_steps, seconds: of the stretch.
            ahead: whether the next batch is prepared while one is learned from. If not, the stretch ends where there is
                no batch.

        Returns:
            metrics: means over the steps of whatever the learner gives, and weights_lag (versions between a row's
                weights and the learner's) where rows have a version.
            steps, version, wait_s (without a batch), total_s.

        Raises:
            NonFiniteLoss: of the agent's learner.
            RuntimeError: if a stretch of the agent is under way, or the group was closed.
            Exception: whatever else ended the thread that makes the steps, now or before.
        """
        stretch = _Stretch(most_steps, seconds, ahead)
        with self._changed:
            if self._over is not None:
                raise self._over
            if agent in self._open:
                raise RuntimeError(f"learner of {agent}: asked for a stretch while one is under way")
            self._open[agent] = stretch
            self._wake()
        stretch.over.wait()
        if stretch.error is not None:
            raise stretch.error
        total_s = time.perf_counter() - stretch.start
        return {
            "metrics": {name: value / stretch.steps for name, value in stretch.sums.items()},
            "steps": stretch.steps,
            "version": self.members[agent].handed[0],
            "wait_s": max(total_s - stretch.busy_s, 0.0),
            "total_s": total_s,
        }

    def wake(self) -> None:
        """Look for batches now: a replay has changed."""
        with self._changed:
            self._wake()

    def _wake(self) -> None:
        self._wakes += 1
        self._changed.notify_all()

    def weights(self, agent: str) -> tuple[int, dict[str, np.ndarray]]:
        """Version and arrays of the weights that rollouts should use: those of the end of the agent's last stretch."""
        return self.members[agent].handed

    def state(self, agent: str) -> dict[str, Any]:
        """All that a checkpoint needs of an agent whose stretches are over."""
        with self._stepping:
            return self.members[agent].state()

    def close(self) -> None:
        """End the thread; stretches that are open end with an error."""
        with self._changed:
            self._over = self._over or RuntimeError("the learners' process is ending")
            self._changed.notify_all()
        self._thread.join()

    # The thread that makes the steps

    def _run(self) -> None:
        try:
            while self._wait_for_stretches():
                wakes = self._wakes
                batches = self._batches()
                if batches:
                    with self._stepping:
                        self._step(batches)
                self._end_stretches()
                if not batches:
                    self._wait_for_batches(wakes)
            self._end_all(self._over)
        except Exception as error:
            self._end_all(error)
            raise

    def _wait_for_stretches(self) -> bool:
        """Wait until there is a stretch; False if there is to be none any more."""
        with self._changed:
            while not self._open and self._over is None:
                self._changed.wait()
            return self._over is None

    def _end_all(self, error: Exception | None) -> None:
        """End all stretches with an error, and refuse those that are asked for from now on."""
        with self._changed:
            self._over = error
            for agent in [*self._open]:
                self._let_go(agent, error)

    def _batches(self) -> dict[str, np.ndarray]:
        """A batch for each open stretch that has one now."""
        found = {}
        for agent, stretch in [*self._open.items()]:
            try:
                rows = self.members[agent].batches.take(stretch.ahead)
            except BatchesGone:  # what was learned until now counts
                self._end(agent)
                continue
            if rows is not None:
                found[agent] = self.members[agent].seen(rows)
            elif not stretch.ahead:
                self._end(agent)
        return found

    def _step(self, batches: dict[str, np.ndarray]) -> None:
        """A step of each agent that has a batch."""
        left = dict(batches)
        for names, stack in self._stacks:
            if sum(name in left for name in names) < 2:
                continue
            before = time.perf_counter()
            rows = [left.pop(name, None) for name in names]
            results = stack.step(rows)
            seconds = time.perf_counter() - before
            for name, own, result in zip(names, rows, results, strict=True):
                if own is not None:
                    self._count(name, own, result, seconds)
        for name, own in left.items():
            before = time.perf_counter()
            try:
                result: Any = self.members[name].learner.step(own)
            except NonFiniteLoss as error:
                result = error
            self._count(name, own, result, time.perf_counter() - before)

    def _count(self, name: str, rows: np.ndarray, result: Any, seconds: float) -> None:
        stretch = self._open[name]
        if isinstance(result, NonFiniteLoss):
            self._end(name, result)
            return
        stretch.busy_s += seconds
        stretch.add(self.members[name].note(rows, result))

    def _end_stretches(self) -> None:
        """End those that are at their end."""
        now = time.perf_counter()
        for agent, stretch in [*self._open.items()]:
            if stretch.steps >= stretch.most_steps or now >= stretch.end:
                self._end(agent)

    def _wait_for_batches(self, wakes: int) -> None:
        """Wait until something may have changed since there were so many wakes."""
        with self._changed:
            if self._open and self._over is None and self._wakes == wakes:
                soonest = min(stretch.end for stretch in self._open.values())
                self._changed.wait(min(max(soonest - time.perf_counter(), 0.0), _LOOK_S))

    def _end(self, agent: str, error: Exception | None = None) -> None:
        """End a stretch; the weights that it came to are handed out from now on."""
        member = self.members[agent]
        if self._open[agent].steps:
            member.handed = (member.learner.version, member.learner.weights())
        self._let_go(agent, error)

    def _let_go(self, agent: str, error: Exception | None) -> None:
        stretch = self._open.pop(agent)
        stretch.error = error
        stretch.over.set()


def shared_out(
    members: Mapping[str, Member],
    forms: Sequence[tuple[Sequence[str], Callable[[Sequence[Member]], Stack] | None]],
    threads: int,
) -> dict[str, LearnerGroup]:
    """By name, the group of each member: so many groups, with as many members each as can be, of every form and in all.

    Args:
        members: by name.
        forms: names of those of one form, and what makes a stack of some of them; None if each is stepped by itself.
        threads: groups, at most one for each member.
    """
    in_order = [name for names, _ in forms for name in names]
    found = {}
    for number in range(threads):
        share = {name: members[name] for name in in_order[number::threads]}
        stacks = []
        for names, stack in forms:
            own = [name for name in names if name in share]
            if stack is not None and len(own) > 1:
                stacks.append((own, stack([members[name] for name in own])))
        found |= dict.fromkeys(share, LearnerGroup(share, stacks))
    return found
