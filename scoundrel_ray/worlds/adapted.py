"""Many copies of an environment of others, each with one of its own.

A copy's episode k is seeded by a number that its random stream and k alone decide (`episode_seed`): other copies change
nothing of it, as far as the environment draws all its chance from the seed.

Whatever an environment raises, and any answer that nobody can use, is a `WorldFailed`: one line that names the world,
the copy, the seed and the step. It stops the step that it happens in; or, with `failure: renew`, the copy's episode is
lost: its agents' `ended` become LOST, the line is kept in `failures`, and `renew` makes the environment afresh. A copy
that loses its tenth episode in a row stops everything all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from scoundrel_ray.spec import Spec
from scoundrel_ray.world import HERE, LOST, TERMINATED, TRUNCATED, IllegalActions
from scoundrel_ray.worlds.environments import Seat, close, reason
from scoundrel_ray.worlds.spaces import BadAnswer

STOP, RENEW = "stop", "renew"  # settings of what a failure does
MOST_LOST = 10  # episodes in a row
MOST_FAILURES = 100  # lines that are kept
_MOST_REWARD = float(np.finfo(np.float32).max)


class WorldFailed(RuntimeError):
    """An environment failed, or gave what nobody can use; one line with the world, the copy, the seed and the step."""


class UnderWay(NamedTuple):
    """A call of an environment that has not come back.

    Attributes:
        copy: whose environment; -1 for one of all copies.
        seed: of the episode; -1 for one of all copies.
        step: of the episode, 0 for its beginning; of all copies, calls of this kind so far.
        seconds: since it was entered.
    """

    copy: int
    seed: int
    step: int
    seconds: float


class Environment(Protocol):
    """One environment, its calls translated; what it gives is told to a `View`."""

    def reset(self, seed: int, view: View) -> None:
        """Begin an episode."""
        ...

    def step(self, actions: Sequence[int], view: View) -> None:
        """Play the actions, by agent, of those that act."""
        ...

    def picture(self) -> np.ndarray | None:
        """The environment now: [height, width, 3] uint8; None if it draws none."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Arrays:
    """What copies show, in the shapes of `scoundrel_ray.world.AnyCopies`; one array of all agents if they are alike."""

    def __init__(self, specs: Sequence[Spec], count: int) -> None:
        alike = len({(spec.observation_size, spec.dtype, spec.actions) for spec in specs}) == 1
        self.observations: Any = [np.zeros((count, spec.observation_size), spec.dtype) for spec in specs]
        self.masks: Any = [np.ones((count, spec.actions), np.int8) for spec in specs]
        if alike:
            self.observations, self.masks = np.stack(self.observations), np.stack(self.masks)
        self.rewards = np.zeros((len(specs), count), np.float32)
        self.ended = np.zeros((len(specs), count), np.int8)
        self.acting = np.zeros((len(specs), count), np.bool_)

    def check(self, world: str, agents: Sequence[str], actions: np.ndarray) -> None:
        """Refuse actions of another type or shape, and those that a mask forbids.

        Raises:
            ValueError: for the type or the shape.
            IllegalActions: naming the first copy with a forbidden action.
        """
        if actions.dtype != np.int16 or actions.shape != self.rewards.shape:
            raise ValueError(
                f"actions are {actions.dtype} {list(actions.shape)}, wanted int16 {list(self.ended.shape)}"
            )
        for agent, (masks, chosen, acting) in enumerate(zip(self.masks, actions, self.acting, strict=True)):
            known = (chosen >= 0) & (chosen < masks.shape[1])
            allowed = known & (masks[np.arange(len(chosen)), np.where(known, chosen, 0)] != 0)
            if (wrong := acting & ~allowed).any():
                copy = int(np.argmax(wrong))
                raise IllegalActions(f"{world}: not allowed in copy {copy}: {agents[agent]} {chosen[copy]}")


class View:
    """What one copy's environment tells of its agents, written into the copies' arrays.

    Attributes:
        seats: of the agents, by number.
        here: numbers of the agents whose episode goes on.
        acting: numbers of those that act next.
    """

    def __init__(self, seats: Sequence[Seat], arrays: Arrays, copy: int) -> None:
        self.seats, self.here, self.acting = seats, set[int](), list[int]()
        self._copy, self._arrays = copy, arrays
        self._seen = [observations[copy : copy + 1] for observations in arrays.observations]
        self._allowed = [masks[copy : copy + 1] for masks in arrays.masks]
        self._masked = [False] * len(seats)

    def fresh(self) -> None:
        """Forget the episode before; nobody is there yet."""
        self.here.clear()
        self.acting.clear()
        self._arrays.rewards[:, self._copy] = 0
        self._arrays.acting[:, self._copy] = False
        self._arrays.ended[:, self._copy] = TERMINATED
        for seen, allowed in zip(self._seen, self._allowed, strict=True):
            seen[:], allowed[:] = 0, 1

    def comes(self, agent: int) -> None:
        """An agent is there as the episode begins; one that is not has ended."""
        self.here.add(agent)
        self._arrays.ended[agent, self._copy] = HERE

    def moves(self) -> list[int]:
        """Those that act, whose actions are taken now."""
        acting, self.acting = self.acting, []
        for agent in acting:
            self._arrays.acting[agent, self._copy] = False
            self._arrays.rewards[agent, self._copy] = 0
        return acting

    def gets(self, agent: int, reward: Any) -> None:
        """What an agent got since its own last action."""
        try:
            got = float(reward)
        except (TypeError, ValueError) as error:
            raise BadAnswer(f"{self.seats[agent].agent}: reward is {reward!r}, wanted a number") from error
        if not abs(got) <= _MOST_REWARD:  # nor is nan
            raise BadAnswer(f"{self.seats[agent].agent}: reward is {got}, wanted a finite number of float32")
        self._arrays.rewards[agent, self._copy] = got

    def acts(self, agent: int, observation: Any, info: Any) -> None:
        """An agent acts next, and knows this."""
        name, encoding, actions = self.seats[agent]
        try:
            encoding.write(observation, self._seen[agent])
            mask = encoding.mask(observation, info)
            if mask is not None:
                actions.write(mask, self._allowed[agent])
                self._masked[agent] = True
            elif self._masked[agent]:
                self._allowed[agent][:] = 1
                self._masked[agent] = False
        except BadAnswer as error:
            raise BadAnswer(f"{name}: {error}") from error
        self._arrays.acting[agent, self._copy] = True
        self.acting.append(agent)

    def ends(self, agent: int, how: int, observation: Any) -> None:
        """An agent's episode is over: TERMINATED, or TRUNCATED; what it knew then, None for nothing new."""
        name, encoding, _ = self.seats[agent]
        if observation is not None:
            try:
                encoding.write(observation, self._seen[agent])
            except BadAnswer as error:
                raise BadAnswer(f"{name}: {error}") from error
        elif how == TRUNCATED:
            raise BadAnswer(f"{name}: truncated without an observation, wanted its last one")
        self._arrays.ended[agent, self._copy] = how
        self.here.remove(agent)

    def loses(self) -> None:
        """The environment failed: nobody knows what the last actions brought."""
        for agent in self.here:
            self._arrays.ended[agent, self._copy] = LOST
        self._arrays.acting[:, self._copy] = False
        self.here.clear()
        self.acting.clear()


class SeparateCopies:
    """Copies that have an environment each: the members of `scoundrel_ray.world.AnyCopies`.

    Args:
        world: name, for messages.
        seats: of the agents, by number.
        specs: of the agents.
        make: makes an environment.
        streams: [C, 4] uint64.
        failure: STOP or RENEW.
        seeds: of each copy's first episode; None for those that streams make (see `episode_seed`).

    Attributes:
        observations: [N, C, O], or, of agents that are not alike, for each [C, O] of its spec's dtype.
        masks: [N, C, A] int8, or for each agent [C, A].
        rewards, ended, acting: [N, C]; rewards of those that act or have ended alone are up to date.
        failures: a line for each episode that was lost, the newest 100; whoever has read them may clear the list.
        last_failures: by copy, the line of the episode that it lost last.
    """

    def __init__(
        self, world: str, seats: Sequence[Seat], specs: Sequence[Spec], make: Callable[[], Environment],
        streams: np.ndarray, failure: str, seeds: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        count = len(streams)
        self._arrays = Arrays(specs, count)
        self.observations, self.masks = self._arrays.observations, self._arrays.masks
        self.rewards, self.ended, self.acting = self._arrays.rewards, self._arrays.ended, self._arrays.acting
        self.failures: list[str] = []
        self.last_failures: dict[int, str] = {}
        self._first_seeds = seeds
        self._world, self._names, self._make, self._failure = world, [str(s.agent) for s in seats], make, failure
        self._streams, self._views = streams, [View(seats, self._arrays, copy) for copy in range(count)]
        self._environments: list[Environment | None] = [None] * count
        self._episodes, self._seeds, self._steps, self._lost = ([0] * count for _ in range(4))
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
        return (self.ended != HERE).all(axis=0)

    def step(self, actions: np.ndarray) -> None:
        """Play one action of every agent that acts; copies whose episode is over stay as they are.

        Args:
            actions: [N, C] int16; those of agents that do not act are not read.

        Raises:
            IllegalActions: naming the first copy with a forbidden action; no copy has been stepped.
            WorldFailed: for the first environment that failed; those before it have been stepped.
        """
        self._arrays.check(self._world, self._names, actions)
        for copy, chosen in enumerate(actions.T.tolist()):
            if not self._views[copy].here:
                continue
            self._steps[copy] += 1
            went_well = self._asked(copy, lambda environment, view, chosen=chosen: environment.step(chosen, view))
            if went_well and not self._views[copy].here:
                self._lost[copy] = 0

    def renew(self) -> int:
        """Begin a new episode in every copy whose episode is over; returns in how many.

        Raises:
            WorldFailed: for the first environment that cannot be made or begun; those before it have been renewed.
        """
        over = [copy for copy, view in enumerate(self._views) if not view.here]
        for copy in over:
            while not self._begun(copy):
                pass
        return len(over)

    def picture(self, copy: int = 0) -> np.ndarray | None:
        """A copy's environment: [height, width, 3] uint8; None unless it was made with render_mode rgb_array."""
        environment = self._environments[copy]
        return None if environment is None else environment.picture()

    def under_way(self) -> UnderWay | None:
        """The call of an environment that goes on, for another thread to ask; None if there is none."""
        entered = self._entered
        return None if entered is None else UnderWay(*entered[:3], time.monotonic() - entered[3])

    def close(self) -> None:
        """Free what the environments hold; one that cannot be closed is left."""
        for copy in range(len(self._environments)):
            self._close(copy)

    def _begun(self, copy: int) -> bool:
        self._seeds[copy] = seed = seed_of(self._streams, self._first_seeds, copy, self._episodes[copy])
        self._episodes[copy] += 1
        self._steps[copy] = 0
        self._views[copy].fresh()
        return self._asked(copy, lambda environment, view: _reset(environment, seed, view))

    def _asked(self, copy: int, question: Callable[[Environment, View], None]) -> bool:
        """Ask a copy's environment, made first if there is none; False if its episode was lost."""
        self._entered = (copy, self._seeds[copy], self._steps[copy], time.monotonic())
        try:
            environment = self._environments[copy]
            if environment is None:
                environment = self._environments[copy] = self._make()
            question(environment, self._views[copy])
        except Exception as error:
            where = f"copy {copy}, seed {self._seeds[copy]}, step {self._steps[copy]}"
            self._views[copy].loses()
            self._lost[copy] += 1
            self.last_failures[copy] = line = f"{self._world}: {where}: {reason(error)}"
            note(self.failures, self._failure, self._lost[copy], line, error)
            self._close(copy)
            return False
        finally:
            self._entered = None
        return True

    def _close(self, copy: int) -> None:
        environment, self._environments[copy] = self._environments[copy], None
        if environment is not None:
            close(environment)


def _reset(environment: Environment, seed: int, view: View) -> None:
    environment.reset(seed, view)
    if not view.here:
        raise BadAnswer("nobody is there as the episode begins, wanted at least one agent")


def note(failures: list[str], failure: str, lost: int, line: str, error: Exception) -> None:
    """Keep the line of a lost episode, or stop.

    Raises:
        WorldFailed: if failures stop everything, or too many episodes in a row were lost.
    """
    if failure == STOP:
        raise WorldFailed(line) from error
    if lost >= MOST_LOST:
        raise WorldFailed(f"{line} (the {lost}th lost episode in a row)") from error
    failures.append(line)
    del failures[:-MOST_FAILURES]


def seed_of(streams: np.ndarray, firsts: Sequence[int] | None, copy: int, episode: int) -> int:
    """The seed of a copy's episode, counted from 0: the given one of its first, if any is given, else by its stream."""
    return int(firsts[copy]) if firsts is not None and episode == 0 else episode_seed(streams[copy], episode)


def episode_seed(stream: np.ndarray, episode: int) -> int:
    """The seed in [0, 2^31) of a copy's episode, counted from 0: a function of the stream [4] uint64 and it alone."""
    entropy = int.from_bytes(np.ascontiguousarray(stream).tobytes(), "little")
    return int(np.random.SeedSequence(entropy, spawn_key=(episode,)).generate_state(1)[0] >> 1)
