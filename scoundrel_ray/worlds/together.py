"""Copies of a world of one agent that one vector environment of Gymnasium holds, with autoreset mode DISABLED.

Seeds and failures are those of `scoundrel_ray.worlds.adapted`, but as nobody knows which of its environments failed, a
failure loses the episodes of all copies.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from scoundrel_ray.spec import Spec
from scoundrel_ray.world import HERE, LOST, TERMINATED, TRUNCATED
from scoundrel_ray.worlds.adapted import Arrays, UnderWay, note, seed_of
from scoundrel_ray.worlds.environments import Seat, close, reason
from scoundrel_ray.worlds.spaces import MASK, BadAnswer


class TogetherCopies:
    """Copies in one vector environment: the members of `scoundrel_ray.world.AnyCopies`.

    Args:
        world: name, for messages.
        seat, spec: of the agent.
        make: makes a vector environment of so many.
        streams: [C, 4] uint64.
        failure: STOP or RENEW.
        seeds: of each copy's first episode; None for those that streams make (see `adapted.episode_seed`).

    Attributes:
        observations: [1, C, O] of the spec's dtype.
        masks: [1, C, A] int8.
        rewards, ended, acting: [1, C].
        failures: a line for each time that episodes were lost, the newest 100.
        last_failures: by copy, the line of the episode that it lost last.
    """

    def __init__(
        self, world: str, seat: Seat, spec: Spec, make: Callable[[int], Any], streams: np.ndarray, failure: str,
        seeds: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        count = len(streams)
        self._arrays = Arrays([spec], count)
        self.observations, self.masks = self._arrays.observations, self._arrays.masks
        self.rewards, self.ended, self.acting = self._arrays.rewards, self._arrays.ended, self._arrays.acting
        self.failures: list[str] = []
        self.last_failures: dict[int, str] = {}
        self._first_seeds = seeds
        self._world, self._seat, self._make, self._failure, self._streams = world, seat, make, failure, streams
        self._environment: Any = None
        self._episodes, self._seeds, self._steps = np.zeros((3, count), np.int64)
        self._lost = self._calls = 0
        self._entered: tuple[int, int, int, float] | None = None
        self.ended[:] = TERMINATED
        try:
            self.renew()
        except BaseException:
            self.close()
            raise

    @property
    def over(self) -> np.ndarray:
        """[C] bool, whose episode is over."""
        return self.ended[0] != HERE

    def step(self, actions: np.ndarray) -> None:
        """Play an action in every copy.

        Args:
            actions: [1, C] int16.

        Raises:
            ValueError: if some episodes are over, as the environment steps all: renew them before.
            IllegalActions: naming the first copy with a forbidden action; no copy has been stepped.
            WorldFailed: if the environment failed.
        """
        self._arrays.check(self._world, [self._seat.agent], actions)
        over = self.over
        if over.any():
            if over.all():
                return
            raise ValueError(f"{self._world}: copy {int(np.argmax(over))} is over, wanted renew before step")
        self._steps += 1
        self._asked(np.arange(len(over)), lambda every: self._played(actions[0], every))
        if self.over.any() and not (self.ended == LOST).any():
            self._lost = 0

    def renew(self) -> int:
        """Begin a new episode in every copy whose episode is over; returns in how many.

        Raises:
            WorldFailed: if the environment cannot be made or begun.
        """
        over = np.flatnonzero(self.over)
        if not len(over):
            return 0
        while not self._asked(over, self._begin):
            over = np.arange(len(self._streams))  # the environment is made afresh
        return len(over)

    def again(self) -> None:
        """Begin the same episodes again in copies whose episode is over: for whoever looks at one of each alone.

        Raises:
            WorldFailed: if the environment cannot begin them.
        """
        over = np.flatnonzero(self.over)
        if len(over):
            self._asked(over, self._begin_at)

    def picture(self, copy: int = 0) -> np.ndarray | None:
        """A copy's environment: [height, width, 3] uint8; None unless it was made with render_mode rgb_array."""
        if self._environment is None or getattr(self._environment, "render_mode", None) != "rgb_array":
            return None
        return np.asarray(self._environment.render()[copy])

    def under_way(self) -> UnderWay | None:
        """The call of the environment that goes on, for another thread to ask; None if there is none."""
        entered = self._entered
        return None if entered is None else UnderWay(*entered[:3], time.monotonic() - entered[3])

    def close(self) -> None:
        """Free what the environment holds; one that cannot be closed is left."""
        environment, self._environment = self._environment, None
        if environment is not None:
            close(environment)

    def _asked(self, rows: np.ndarray, question: Callable[[np.ndarray], None]) -> bool:
        """Ask the environment, made first if there is none; False if the episodes of all copies were lost."""
        self._calls += 1
        self._entered = (-1, -1, self._calls, time.monotonic())
        try:
            if self._environment is None:
                self._environment = self._make(len(self._streams))
            question(rows)
        except Exception as error:
            copy = error.row if isinstance(error, BadAnswer) else -1
            if copy >= 0:
                where = f"copy {copy}, seed {self._seeds[copy]}, step {self._steps[copy]}"
            else:
                where = f"one of all copies, seeds {self._seeds.min()} to {self._seeds.max()}, call {self._calls}"
            line = f"{self._world}: {where}: {reason(error)}"
            self.last_failures |= dict.fromkeys(np.flatnonzero(self.ended[0] == HERE).tolist(), line)
            self.ended[self.ended == HERE] = LOST
            self.acting[:] = False
            self._lost += 1
            note(self.failures, self._failure, self._lost, line, error)
            self.close()
            return False
        finally:
            self._entered = None
        return True

    def _begin(self, rows: np.ndarray) -> None:
        """Begin a new episode in these copies: all of them if the environment is fresh."""
        for row in rows:
            self._seeds[row] = seed_of(self._streams, self._first_seeds, row, int(self._episodes[row]))
        self._episodes[rows] += 1
        self._begin_at(rows)

    def _begin_at(self, rows: np.ndarray) -> None:
        """Begin the episodes of the seeds that these copies have."""
        self._steps[rows] = 0
        chosen = np.zeros(len(self._streams), np.bool_)
        chosen[rows] = True
        options = None if chosen.all() else {"reset_mask": chosen}
        observations, infos = self._environment.reset(seed=self._seeds.tolist(), options=options)
        self.rewards[0, rows] = 0
        self._see(observations, infos, rows)
        self.ended[0, rows] = HERE
        self.acting[0, rows] = True

    def _played(self, actions: np.ndarray, every: np.ndarray) -> None:
        given = self._seat.actions.given(actions)
        observations, rewards, terminated, truncated, infos = self._environment.step(given)
        rewards = np.asarray(rewards, np.float64).astype(np.float32)
        if not (finite := np.isfinite(rewards)).all():
            row = int(np.argmin(finite))
            raise BadAnswer(f"reward is {rewards[row]}, wanted a finite number of float32", row)
        going = np.flatnonzero(~(terminated | truncated))
        ended = np.flatnonzero(terminated | truncated)
        self._see(observations, infos, going)
        if len(ended):
            self.observations[0][ended] = self._rows(observations, ended)
        self.rewards[0] = rewards
        self.ended[0] = np.where(terminated, TERMINATED, np.where(truncated, TRUNCATED, HERE))
        self.acting[0] = self.ended[0] == HERE

    def _see(self, observations: Any, infos: Any, rows: np.ndarray) -> None:
        """Note what the agent knows in these copies, and what it may do."""
        if not len(rows):
            return
        self.observations[0][rows] = self._rows(observations, rows)
        mask = self._seat.encoding.mask(observations, infos)
        self.masks[0][rows] = 1
        if mask is None:
            return
        there = np.asarray(infos.get(f"_{MASK}", True)) if not self._seat.encoding.masked else np.True_
        masked = rows[np.broadcast_to(there, len(self._streams))[rows]]
        if len(masked):
            out = np.empty((len(masked), self._seat.actions.count), np.int8)
            with _of_copies(masked):
                self._seat.actions.write(mask, out, masked)
            self.masks[0][masked] = out

    def _rows(self, observations: Any, rows: np.ndarray) -> np.ndarray:
        encoding = self._seat.encoding
        out = np.empty((len(rows), encoding.size), encoding.dtype)
        with _of_copies(rows):
            encoding.write(observations, out, rows)
        return out


@contextlib.contextmanager
def _of_copies(rows: np.ndarray) -> Iterator[None]:
    """A block in which what is wrong with a row is said of the copy that it belongs to."""
    try:
        yield
    except BadAnswer as error:
        if error.row >= 0:
            error.row = int(rows[error.row])
        raise
