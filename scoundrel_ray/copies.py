"""Copies of a world: many episodes of compiled rules, stepped in one call.

Legend: C copies, N agents, A actions, S state size, O observation size (see `scoundrel_ray.world`).
"""

from __future__ import annotations

import numpy as np
from numba import types

from scoundrel_ray.compiled import borrowed, inlined, kernel, loop
from scoundrel_ray.world import ALL, HERE, ILLEGAL, LEFT, OK, OVER, WORLD_RULES, IllegalActions, InvalidWorld, World


class Copies:
    """Many copies of a world, stepped together. All arrays stay where they are; a step writes into them.

    Whoever steps them reads what ended, calls `renew`, and goes on.

    Args:
        world: the rules.
        streams: [C, 4] uint64, the random stream of each copy (see `scoundrel_ray.streams.streams`).

    Attributes:
        states: [C, S] int32; to be read, as who acts next is noted beside them.
        observations: [N, C, O] int8, of each agent when it was last to act, or when it ended.
        masks: [N, C, A] int8, of each agent when it was last to act.
        rewards: [N, C] float32, what each agent got since its last own action.
        ended: [N, C] int8, HERE, TERMINATED or TRUNCATED, in the episode that each copy is in.
        acting: [N, C] bool, who acts next.
    """

    def __init__(self, world: World, streams: np.ndarray) -> None:
        if streams.dtype != np.uint64 or streams.ndim != 2 or streams.shape[1] != 4 or not len(streams):
            raise ValueError(f"streams are {streams.dtype} {list(streams.shape)}, wanted uint64 [copies, 4]")
        count, agents, spec = len(streams), len(world.agents), world.spec
        self.world = world
        self.states = world.blank(count)
        self.streams = streams.copy()
        self.observations = np.zeros((agents, count, spec.observation_size), dtype=np.int8)
        self.masks = np.ones((agents, count, spec.actions), dtype=np.int8)
        self.rewards = np.zeros((agents, count), dtype=np.float32)
        self.ended = np.zeros((agents, count), dtype=np.int8)
        self.acting = np.zeros((agents, count), dtype=np.bool_)
        self._movers = np.zeros(count, dtype=np.int64)
        self._begin(every=True)

    def step(self, actions: np.ndarray) -> None:
        """Play one action of every agent that acts; copies whose episode is over stay as they are.

        Args:
            actions: [N, C] int16; those of agents that do not act are not read.

        Raises:
            IllegalActions: naming the first copy with an action that its world does not allow; those before it have
                been stepped.
            InvalidWorld: for a rule that gave another status.
        """
        if actions.dtype != np.int16 or actions.shape != self.rewards.shape or not actions.flags.c_contiguous:
            raise ValueError(
                f"actions are {actions.dtype} {list(actions.shape)}, wanted int16 {list(self.rewards.shape)} in C order"
            )
        failed = _advance.launch(
            self.world.rules, self.states, self.streams, actions, self._movers, self.observations, self.masks,
            self.rewards, self.ended, self.acting, self.world.masked,
        )  # fmt: skip
        if failed < 0:
            return
        copy, status = failed // _STATUSES, _signed(failed)
        if status == ILLEGAL:
            who = ", ".join(
                f"{name} {actions[number, copy]}"
                for number, name in enumerate(self.world.agents)
                if self.acting[number, copy]
            )
            raise IllegalActions(f"{self.world.name}: not allowed in copy {copy}: {who}")
        raise InvalidWorld(f"world {self.world.name}: rule step returned status {status}, wanted 0, 1 or 2")

    @property
    def over(self) -> np.ndarray:
        """[C] bool, whose episode is over."""
        return self._movers == OVER

    def renew(self) -> int:
        """Begin a new episode in every copy whose episode is over; returns in how many."""
        return self._begin(every=False)

    def close(self) -> None:
        """Nothing is held but memory."""

    def _begin(self, every: bool) -> int:
        begun = _begin_copies.launch(
            self.world.rules, self.states, self.streams, len(self.world.header), every, self._movers, self.observations,
            self.masks, self.rewards, self.ended, self.acting, self.world.masked,
        )  # fmt: skip
        if begun < 0:
            raise InvalidWorld(f"world {self.world.name}: rule reset returned status {_signed(~begun)}, wanted 0")
        return int(begun)


_STATUSES = 2**32  # a kernel's one answer holds a copy and what a rule returned in it, below zero, too


def _signed(answer: int) -> int:
    """The status in a kernel's answer."""
    return (answer + _STATUSES // 2) % _STATUSES - _STATUSES // 2


_WHO = (
    types.int64[::1],
    types.int8[:, :, ::1],
    types.int8[:, :, ::1],
    types.float32[:, ::1],
    types.int8[:, ::1],
    types.boolean[:, ::1],
    types.boolean,
)


@inlined
def _look(rules, state, copy, movers, observations, masks, ended, acting, masked):
    """Note who acts next in a copy, and what they see."""
    mover = rules.mover(state)
    movers[copy] = mover
    if mover >= 0:
        acting[mover, copy] = True
        rules.observe(state, mover, observations[mover, copy])
        if masked:
            rules.mask(state, mover, masks[mover, copy])
    elif mover == ALL:
        for agent in range(len(ended)):
            if ended[agent, copy] == HERE:
                acting[agent, copy] = True
                rules.observe(state, agent, observations[agent, copy])
                if masked:
                    rules.mask(state, agent, masks[agent, copy])


@inlined
def _choose(actions, mover, copy, chosen):
    """The actions of those that act in a copy; what stands in the others' places is not read."""
    if mover >= 0:
        chosen[mover] = actions[mover, copy]
    else:
        for agent in range(len(chosen)):
            chosen[agent] = actions[agent, copy]


@inlined
def _reward(gained, words, mover, copy, rewards, acting):
    """What those that acted get now, and what the others have got besides since they last acted; empties `gained`.

    `words` are the memory of `gained`, two agents in each, looked through first: most moves bring nobody anything.
    """
    if mover >= 0:
        rewards[mover, copy] = 0.0
        acting[mover, copy] = False
    else:
        for agent in range(len(gained)):
            if acting[agent, copy]:
                rewards[agent, copy] = 0.0
                acting[agent, copy] = False
    anything = 0
    for word in words:
        anything |= word
    if anything != 0:
        for agent in range(len(gained)):
            if gained[agent] != 0.0:
                rewards[agent, copy] += gained[agent]
        words[:] = 0


@loop
def _step_copies(
    rules, states, streams, actions, movers, observations, masks, rewards, ended, acting, masked, chosen, gained, words
):  # fmt: skip
    for copy in range(len(states)):
        mover, state = movers[copy], states[copy]
        if mover == OVER:
            continue
        _choose(actions, mover, copy, chosen)
        status = rules.step(state, chosen, streams[copy], gained)
        if status not in (OK, LEFT):
            return copy * _STATUSES + (status & (_STATUSES - 1))
        _reward(gained, words, mover, copy, rewards, acting)
        if status == LEFT:
            for agent in range(len(ended)):
                if ended[agent, copy] == HERE:
                    how = rules.ended(state, agent)
                    if how != HERE:
                        ended[agent, copy] = how
                        rules.observe(state, agent, observations[agent, copy])
        _look(rules, state, copy, movers, observations, masks, ended, acting, masked)
    return -1


@kernel(
    types.int64(
        WORLD_RULES, types.int32[:, ::1], types.uint64[:, ::1], types.int16[:, ::1], *_WHO,
    )
)  # fmt: skip
def _advance(rules, states, streams, actions, movers, observations, masks, rewards, ended, acting, masked):
    chosen, words = np.zeros(len(ended), dtype=np.int16), np.zeros((len(ended) + 1) // 2, dtype=np.int64)
    gained = words.view(np.float32)[: len(ended)]
    return _step_copies(
        rules, borrowed(states), borrowed(streams), actions, movers, borrowed(observations), borrowed(masks),
        rewards, ended, acting, masked, borrowed(chosen), borrowed(gained), words,
    )  # fmt: skip


@kernel(types.int64(WORLD_RULES, types.int32[:, ::1], types.uint64[:, ::1], types.int64, types.boolean, *_WHO))
def _begin_copies(rules, states, streams, header, every, movers, observations, masks, rewards, ended, acting, masked):
    begun = 0
    for copy in range(len(states)):
        if not every and movers[copy] != OVER:
            continue
        state = states[copy]
        begun += 1
        state[header:] = 0
        status = rules.reset(state, streams[copy])
        if status != OK:
            return ~(status & (_STATUSES - 1))
        for agent in range(len(ended)):
            rewards[agent, copy] = 0.0
            ended[agent, copy] = HERE
            acting[agent, copy] = False
            observations[agent, copy, :] = 0
        _look(rules, state, copy, movers, observations, masks, ended, acting, masked)
    return begun
