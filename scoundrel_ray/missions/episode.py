"""Episodes of a mission, side by side: what every agent got, and a hash of all that happened.

Legend: C copies (an episode in each), N agents, k rows that are asked.

What is said of an episode depends on the mission, the policies, the seed and the episode's number alone, never on what
is played beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types

from scoundrel_ray.compiled import inner, kernel
from scoundrel_ray.missions.mission import Mission
from scoundrel_ray.missions.policy import Asked, Body, PolicyFailed
from scoundrel_ray.missions.wrappers import Wrapper
from scoundrel_ray.world import HERE, LOST, TERMINATED, TRUNCATED
from scoundrel_ray.worlds.together import TogetherCopies

POLICY, MISSION, WORKER, DEADLINE = "policy", "mission", "worker", "deadline"  # whose failure
_ENDS = {TERMINATED: "terminated", TRUNCATED: "truncated", HERE: "cut"}
_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


class Failure(NamedTuple):
    """Why an episode has no result.

    Attributes:
        kind: POLICY, MISSION, WORKER or DEADLINE.
        message: in one line.
        agent: name of the agent whose policy failed; "" where no agent is to blame.
        step: of the episode, 0 at its beginning.
    """

    kind: str
    message: str
    agent: str
    step: int


class Outcome(NamedTuple):
    """Of an episode.

    Attributes:
        episode: its number.
        policies: number of the policy that acted for each agent [N]; -1 for one that was not there.
        returns: [N] float64, sum of each agent's rewards.
        lengths: [N] int64, own steps of each agent.
        ends: for each agent "terminated", "truncated", or "cut" where the mission's steps were over first.
        steps: of the episode.
        hash: of all observations, actions and rewards, 16 hexadecimal digits; "" with a failure.
        failure: if it has no result; then all others tell how far it came.
    """

    episode: int
    policies: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray
    ends: list[str]
    steps: int
    hash: str
    failure: Failure | None


@inner
def _word(row, at):
    """Eight bytes of a row from `at` on, the lowest first."""
    word = np.uint64(row[at])
    for byte in range(1, 8):
        word |= np.uint64(row[at + byte]) << np.uint64(8 * byte)
    return word


@kernel(types.int64(types.uint64[::1], types.uint8[:, ::1], types.int64[::1], types.uint64))
def _fold(hashes, rows, places, salt):
    """Fold row i [B] of bytes into hashes[places[i]]: FNV-1a over words of eight bytes, then over what is left."""
    size = rows.shape[1]
    whole = size - size % 8
    for i in range(len(places)):
        value, row = (hashes[places[i]] ^ salt) * _PRIME, rows[i]
        for at in range(0, whole, 8):
            value = (value ^ _word(row, at)) * _PRIME
            value ^= value >> np.uint64(32)
        for at in range(whole, size):
            value = (value ^ np.uint64(row[at])) * _PRIME
        hashes[places[i]] = value ^ (value >> np.uint64(32))
    return 0


class _Hashes:
    """A running hash of each copy.

    **Source:** Fowler, Noll and Vo, FNV-1a of 64 bits, but of words instead of bytes, which is eight times as fast; so
    the high half is folded into the low one after each word, as multiplication carries nothing down.
    """

    def __init__(self, count: int) -> None:
        self._values = np.full(count, _BASIS, np.uint64)

    def fold(self, array: np.ndarray, places: np.ndarray, agent: int) -> None:
        """Fold rows [k, ...] of an agent in copies `places` [k] in."""
        rows = np.ascontiguousarray(array).reshape(len(places), -1).view(np.uint8)
        _fold(self._values, rows, places, np.uint64(agent + 1))

    def text(self, place: int) -> str:
        """Of a copy."""
        return f"{int(self._values[place]):016x}"


def play(
    mission: Mission,
    wrappers: Sequence[Wrapper],
    seating: Mapping[int, np.ndarray],
    seed: int,
    frames: list[Any] | None = None,
    beat: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Episodes of a mission, all side by side.

    Args:
        mission: that is played.
        wrappers: of the policies, by number.
        seating: for each episode which policy acts for each agent: [N].
        seed: of the evaluation.
        frames: to which a picture of the first episode is added before every step and at its end, if the mission has
            pictures: [height, width, 3] uint8.
        beat: called once all have begun, and after every step.

    Returns:
        For each episode its outcome, in the order of `seating`.

    Raises:
        PolicyFailed: if a policy failed and nobody knows in which episode; play them one by one then.
        Exception: whatever else the mission raised in more than one episode.
    """
    block = _Block(mission, wrappers, seating, seed)
    try:
        block.begin()
        beat()
        block.see(frames)
        while not block.done.all():
            block.step()
            block.see(frames)
            beat()
    finally:
        block.close()
    return block.outcomes()


class _Block:
    """Episodes under way."""

    def __init__(
        self, mission: Mission, wrappers: Sequence[Wrapper], seating: Mapping[int, np.ndarray], seed: int
    ) -> None:
        self._mission, self._wrappers, self._seed = mission, wrappers, seed
        self._episodes = [*seating]
        self._who = np.stack([*seating.values()], axis=1).astype(np.int64)  # [N, C]
        agents, count = self._who.shape
        self._returns, self._lengths = np.zeros((agents, count)), np.zeros((agents, count), np.int64)
        self._settled = np.zeros((agents, count), np.bool_)  # whose return is complete
        self._ends = np.zeros((agents, count), np.int8)
        self._steps, self._hashes = np.zeros(count, np.int64), _Hashes(count)
        self._failures: dict[int, Failure] = {}
        self._streams = np.zeros((agents, count, 4), np.uint64)
        self._copies: Any = None
        self.done = np.zeros(count, np.bool_)

    def begin(self) -> None:
        """Make the copies, and tell the drivers whom they act for."""
        self._copies = self._mission.begin(self._seed, self._episodes)
        self._lose_lost()
        self._who[self._copies.ended != HERE] = -1
        self._settled |= self._who < 0
        bodies = {
            (agent, place): self._mission.body(self._seed, episode, agent)
            for place, episode in enumerate(self._episodes)
            for agent in np.flatnonzero(self._who[:, place] >= 0).tolist()
        }
        for (agent, place), body in bodies.items():
            self._streams[agent, place] = body.stream
        for number, wrapper in enumerate(self._wrappers):
            self._begin(wrapper, {key: body for key, body in bodies.items() if self._who[key] == number})

    def _begin(self, wrapper: Wrapper, bodies: dict[tuple[int, int], Body]) -> None:
        """Have a policy begin; where it fails, the episode is lost, and it begins without."""
        while True:
            try:
                wrapper.begin(bodies)
                return
            except PolicyFailed as error:
                if not error.rows:
                    raise
                keys = [*bodies]
                for row, message in error.rows.items():
                    agent, place = keys[row]
                    self._fail(place, Failure(POLICY, message, self._mission.world.agents[agent], 0))
                lost = {keys[row][1] for row in error.rows}
                bodies = {key: body for key, body in bodies.items() if key[1] not in lost}

    def step(self) -> None:
        """Ask everybody who is to act, and play it."""
        copies = self._copies
        acting = copies.acting & ~self.done
        actions = np.zeros(acting.shape, np.int16)
        for agent in np.flatnonzero(acting.any(axis=1)).tolist():
            places = np.flatnonzero(acting[agent])
            rewards = copies.rewards[agent, places]
            self._returns[agent, places] += rewards
            self._lengths[agent, places] += 1
            self._hashes.fold(copies.observations[agent][places], places, agent)
            self._hashes.fold(rewards, places, agent)
        under_way = []
        for number, wrapper in enumerate(self._wrappers):
            agents, places = np.nonzero(acting & (self._who == number))
            if len(agents):
                under_way.append((wrapper, Asked(copies, agents, places, self._streams[agents, places])))
                wrapper.submit(under_way[-1][1])
        for wrapper, asked in sorted(under_way, key=lambda each: each[0].elsewhere):  # who works here works meanwhile
            self._collect(wrapper, asked, actions)
        for agent in np.flatnonzero(acting.any(axis=1)).tolist():
            places = np.flatnonzero(acting[agent])
            self._hashes.fold(actions[agent, places], places, agent)
        self._fill(actions)
        self._steps[~self.done] += 1
        copies.step(actions)
        self._settle()

    def _collect(self, wrapper: Wrapper, asked: Asked, actions: np.ndarray) -> None:
        """Fill in what a policy does; episodes for which it fails are lost."""
        agents, places = asked.agents, asked.places
        try:
            found = wrapper.collect()
        except PolicyFailed as error:
            if not error.rows or error.actions is None:
                raise
            for row, message in error.rows.items():
                agent, place = int(agents[row]), int(places[row])
                name = self._mission.world.agents[agent]
                self._fail(place, Failure(POLICY, message, name, int(self._steps[place]) + 1))
            found = error.actions
        actions[agents, places] = found  # of those that failed, too: they are not looked at any more
        self._streams[agents, places] = asked.streams

    def _fill(self, actions: np.ndarray) -> None:
        """Let agents of episodes that are not looked at any more do something that is allowed."""
        for agent in np.flatnonzero((self._copies.acting & self.done).any(axis=1)).tolist():
            places = np.flatnonzero(self._copies.acting[agent] & self.done)
            actions[agent, places] = self._copies.masks[agent][places].argmax(axis=1)

    def _settle(self) -> None:
        """Note what has ended."""
        copies = self._copies
        self._lose_lost()
        fresh = (copies.ended != HERE) & ~self._settled & ~self.done
        for agent in np.flatnonzero(fresh.any(axis=1)).tolist():
            self._finish(agent, np.flatnonzero(fresh[agent]), copies.ended[agent])
        over = copies.over & ~self.done
        if self._mission.steps:
            cut = (self._steps >= self._mission.steps) & ~over & ~self.done
            for agent in np.flatnonzero((cut & ~self._settled).any(axis=1)).tolist():
                self._finish(agent, np.flatnonzero(cut & ~self._settled[agent]), copies.ended[agent])
            over |= cut
        self.done |= over
        if isinstance(copies, TogetherCopies) and not self.done.all():
            copies.again()  # it steps all copies or none

    def _finish(self, agent: int, places: np.ndarray, ended: np.ndarray) -> None:
        """Add an agent's last rewards, and how it ended."""
        rewards = self._copies.rewards[agent, places]
        self._returns[agent, places] += rewards
        self._hashes.fold(rewards, places, agent)
        self._hashes.fold(ended[places], places, agent)
        self._ends[agent, places] = ended[places]
        self._settled[agent, places] = True

    def _lose_lost(self) -> None:
        lost = (self._copies.ended == LOST).any(axis=0) & ~self.done
        for place in np.flatnonzero(lost).tolist():
            message = getattr(self._copies, "last_failures", {}).get(place, f"{self._mission.name}: failed")
            self._fail(place, Failure(MISSION, message, "", int(self._steps[place])))

    def _fail(self, place: int, failure: Failure) -> None:
        """Note why an episode has no result: what came first and, of one step, what the first agent's policy did."""
        known, order = self._failures.get(place), self._mission.world.agents.index
        both = known is not None and failure.kind == known.kind == POLICY and failure.step == known.step
        if known is None or (both and order(failure.agent) < order(known.agent)):
            self._failures[place] = failure
        self.done[place] = True

    def see(self, frames: list[Any] | None) -> None:
        """Add a picture of the first episode."""
        if frames is None:
            return
        picture = getattr(self._mission.world, "picture", None)
        if picture is not None:
            frames.append(picture(self._copies.states[0]))
        elif hasattr(self._copies, "picture") and (drawn := self._copies.picture(0)) is not None:
            frames.append(drawn)

    def close(self) -> None:
        """Free what the copies hold."""
        if self._copies is not None:
            self._copies.close()

    def outcomes(self) -> list[Outcome]:
        """Of all episodes, in order."""
        return [
            Outcome(
                episode,
                self._who[:, place].copy(),
                self._returns[:, place].copy(),
                self._lengths[:, place].copy(),
                [_ENDS[int(end)] for end in self._ends[:, place]],
                int(self._steps[place]),
                "" if place in self._failures else self._hashes.text(place),
                self._failures.get(place),
            )
            for place, episode in enumerate(self._episodes)
        ]
