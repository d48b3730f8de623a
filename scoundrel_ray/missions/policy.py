"""Policies: who acts for agents of missions, and how many of them are asked at once.

Legend: k rows, each an agent of an episode that is to act; O observation size, A actions.

A policy of your own is a class with `act` (one object for each agent of each episode, so that what it remembers is that
agent's own) or with `act_batch` (one object for all, which remembers nothing). A *driver* asks policies of one kind;
built-in ones are drivers themselves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from scoundrel_ray.missions.global_draws import Own
from scoundrel_ray.spec import Spec
from scoundrel_ray.world import AnyCopies


class Body(NamedTuple):
    """An agent of a mission in one of its episodes: whom a policy acts for.

    Attributes:
        mission: its name.
        agent: its name in the mission.
        number: of the agent.
        episode: number of the episode.
        spec: what the agent observes and may do.
        stream: [4] uint64, of all that the policy draws; a function of the evaluation's seed, the mission's name, the
            episode and the agent alone.
    """

    mission: str
    agent: str
    number: int
    episode: int
    spec: Spec
    stream: np.ndarray

    @property
    def rng(self) -> np.random.Generator:
        """A fresh generator of numpy's for what the policy draws."""
        return np.random.Generator(np.random.PCG64(int(self.stream[0])))


class Policy(Protocol):
    """Acts for one agent in one episode; built as `Class(body, **data)`."""

    def act(self, observation: np.ndarray, mask: np.ndarray) -> int:
        """The number of an allowed action.

        Args:
            observation: [O] of the spec's dtype; a copy that cannot be written to.
            mask: [A] bool, which actions are allowed; the same.
        """
        ...


class BatchPolicy(Protocol):
    """Acts for many agents at once, and remembers nothing; built as `Class(spec, **data)`."""

    def act_batch(self, observations: np.ndarray, masks: np.ndarray, streams: np.ndarray) -> np.ndarray:
        """The numbers of allowed actions: [k] of integers, row by row.

        A row's action must depend on that row alone: others come and go.

        Args:
            observations: [k, O] of the spec's dtype.
            masks: [k, A] bool, which actions are allowed.
            streams: [k, 4] uint64, of what each row's agent draws (see `scoundrel_ray.rng`); to be advanced in place.
        """
        ...


class Asked(NamedTuple):
    """What a driver is asked in a step.

    Attributes:
        copies: of the mission, an episode in each.
        agents, places: [k] int64, numbers of the agents that are to act, and in which copy.
        streams: [k, 4] uint64, of what each draws; advanced in place.
    """

    copies: AnyCopies
    agents: np.ndarray
    places: np.ndarray
    streams: np.ndarray

    def observations(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """What the agents of rows know: [k, O]. They have to observe alike."""
        return _gathered(self.copies.observations, self.agents[rows], self.places[rows])

    def masks(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """What they may do: [k, A] int8."""
        return _gathered(self.copies.masks, self.agents[rows], self.places[rows])


def _gathered(arrays: Any, agents: np.ndarray, places: np.ndarray) -> np.ndarray:
    if isinstance(arrays, np.ndarray):
        return arrays[agents, places]
    if len(agents) and (agents == agents[0]).all():
        return arrays[agents[0]][places]
    return np.stack([arrays[agent][place] for agent, place in zip(agents.tolist(), places.tolist(), strict=True)])


class PolicyFailed(RuntimeError):
    """A policy raised, or gave what is no allowed action.

    Attributes:
        rows: of those that were asked, whose episodes are lost by it, each with the reason; empty if nobody knows.
        actions: of all rows, of which those of other rows count; None if these have to be asked again.
    """

    def __init__(self, message: str, rows: Mapping[int, str] | None = None, actions: np.ndarray | None = None) -> None:
        super().__init__(message)
        self.rows, self.actions = dict(rows or {}), actions


class Driver(Protocol):
    """Asks a policy for all agents that it acts for."""

    @property
    def splits(self) -> bool:
        """Whether calls for different agents may overlap."""
        ...

    @property
    def batches(self) -> bool:
        """Whether many rows cost less in one call."""
        ...

    def begin(self, bodies: Mapping[tuple[int, int], Body]) -> None:
        """Forget all agents, and begin to act for these, by (agent, place)."""
        ...

    def act(self, asked: Asked) -> np.ndarray:
        """Actions: [k] int16, row by row.

        Raises:
            PolicyFailed: naming the rows, if somebody knows them. A driver that remembers gives the others' actions.
        """
        ...


_UNGUARDED = contextlib.nullcontext()
_RAISED = (Exception, SystemExit)  # by policies: sys.exit(0) is no success


class OwnPolicies:
    """A driver of a policy with an object for each agent of each episode.

    Args:
        make: builds it: `make(body)`.

    Attributes:
        splits, batches: see `Driver`.
        guarded: whether each object draws from a state of its own of the process's generators (see `global_draws`);
            read when it begins.
    """

    batches = False

    def __init__(self, make: Any) -> None:
        self._make = make
        self.guarded = False
        self._policies: dict[tuple[int, int], Policy] = {}
        self._draws: dict[tuple[int, int], Own] = {}

    def begin(self, bodies: Mapping[tuple[int, int], Body]) -> None:
        """See `Driver.begin`."""
        self._policies, self._draws, failed = {}, {}, {}
        if self.guarded:
            self._draws = {key: Own(int(body.stream[1])) for key, body in bodies.items()}
        for row, (key, body) in enumerate(bodies.items()):
            try:
                with self._drawing(key):
                    self._policies[key] = self._make(body)
            except _RAISED as error:
                failed[row] = f"cannot be built: {told(error)}"
        if failed:
            raise PolicyFailed("cannot be built", failed)

    def act(self, asked: Asked) -> np.ndarray:
        """See `Driver.act`."""
        actions, failed = np.zeros(len(asked.agents), np.int16), {}
        for row, (agent, place) in enumerate(zip(asked.agents.tolist(), asked.places.tolist(), strict=True)):
            observation = asked.copies.observations[agent][place].copy()
            mask = asked.copies.masks[agent][place] != 0
            observation.flags.writeable = mask.flags.writeable = False
            try:
                with self._drawing((agent, place)):
                    action = self._policies[agent, place].act(observation, mask)
                actions[row] = checked(action, mask)
            except BadAction as error:
                failed[row] = str(error)
            except _RAISED as error:
                failed[row] = told(error)
        if failed:
            raise PolicyFailed("failed", failed, actions)
        return actions

    @property
    def splits(self) -> bool:
        """Whether calls for different agents may overlap: not where they draw from what all share."""
        return not self.guarded

    def _drawing(self, key: tuple[int, int]) -> contextlib.AbstractContextManager[None]:
        return self._draws[key].in_place() if self._draws else _UNGUARDED


class BatchOf:
    """A driver of a policy that is asked for many rows at once.

    Args:
        policy: to ask.

    Attributes:
        splits, batches: see `Driver`.
        guarded: whether it draws from a state of its own of the process's generators; read when it begins.
    """

    batches = True

    def __init__(self, policy: BatchPolicy) -> None:
        self._policy = policy
        self.guarded = False
        self._draws: Own | None = None

    def begin(self, bodies: Mapping[tuple[int, int], Body]) -> None:
        """See `Driver.begin`: nothing is remembered."""
        first = next(iter(bodies.values()), None)
        self._draws = Own(int(first.stream[1])) if self.guarded and first is not None else None

    def act(self, asked: Asked) -> np.ndarray:
        """See `Driver.act`."""
        count, masks = len(asked.agents), asked.masks() != 0
        try:
            with self._draws.in_place() if self._draws else _UNGUARDED:
                actions = self._policy.act_batch(asked.observations(), masks.copy(), asked.streams)
            if not isinstance(actions, np.ndarray) or actions.shape != (count,):
                got = f"{list(actions.shape)}" if isinstance(actions, np.ndarray) else f"{actions!r:.80}"
                raise BadAction(f"act_batch gave {got}, wanted an array [{count}]")
        except _RAISED as error:
            message = str(error) if isinstance(error, BadAction) else told(error)
            raise PolicyFailed(message, {0: message} if count == 1 else None) from error
        failed, found = {}, np.zeros(count, np.int16)
        for row in range(count):
            try:
                found[row] = checked(actions[row], masks[row])
            except BadAction as error:
                failed[row] = str(error)
        if failed:
            raise PolicyFailed("failed", failed, found)
        return found

    @property
    def splits(self) -> bool:
        """Whether calls for different agents may overlap."""
        return not self.guarded


class BadAction(ValueError):
    """What a policy gave is no allowed action."""


def checked(action: Any, mask: np.ndarray) -> int:
    """An action that is a whole number and allowed.

    Raises:
        BadAction: for anything else, True and 1.0 included.
    """
    if isinstance(action, np.ndarray) and action.ndim == 0:
        action = action[()]
    if isinstance(action, bool | np.bool_) or not isinstance(action, int | np.integer):
        raise BadAction(f"gave {action!r:.80} of {type(action).__name__}, wanted the number of an action")
    if not 0 <= action < len(mask):
        raise BadAction(f"gave action {action}, wanted 0 to {len(mask) - 1}")
    if not mask[action]:
        raise BadAction(f"gave action {action}, which is masked")
    return int(action)


def told(error: BaseException) -> str:
    """What an exception says, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
