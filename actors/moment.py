"""A checkpoint of one moment: steps, samples, games and rows agree, though a run does not stand still for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray

from actors.agent import Agent
from actors.calls import RunFailed
from scoundrel_ray.storage.nested import copied

_LOOK_S = 0.5
_TICK_S = 0.05  # between two ticks of a run that goes on meanwhile


class NotSaved(RuntimeError):
    """The state of a run could not be gathered; the run may go on, and the message says whom it waited for."""


def content(
    agents: Mapping[str, Agent],
    counters: Callable[[], dict[str, Any]],
    tick: Callable[[], None] | None,
    get: Callable[[str, Any, float], Any],
    seconds: float,
    whole: bool = True,
) -> dict[str, Any]:
    """What a checkpoint holds: `agents` (see `Agent.content`), `weights` by agent, and `counters`.

    Learners come to rest first, while play goes on, for a learner may be waiting for rows. Then what has come from
    workers is counted, and later rows wait until all states were given. Whoever calls this lets the learners go on.

    Args:
        agents: by name.
        counters: of the run, of the moment at which it is called.
        tick: lets the run go on for a moment; None if it does not move by itself.
        get: gives the answer of an actor by its name, or raises RunFailed.
        seconds: for all of it.
        whole: False to leave out agents that do not give their state.

    Raises:
        NotSaved: naming whoever did not come to rest, or did not give its state, in time.
        Exception: what `tick` raises.
    """
    deadline = time.monotonic() + seconds
    for agent in agents.values():
        agent.hold(True)
    try:
        if tick:
            _until(agents, lambda agent: agent.rests, tick, deadline)
        counted = counters()
        for agent in agents.values():
            agent.hold_rows(True)
        if tick:
            _until(agents, lambda agent: agent.settled, tick, deadline)
        parts, weights = {}, {}
        for name, agent in agents.items():
            # One after another: what is in Ray's store at a time is the state of one.
            given = _given(name, agent, tick, get, deadline, whole)
            if given is None:
                continue
            parts[name] = agent.content(given)
            if given:
                weights[name] = given["weights"]
        return {"agents": parts, "weights": weights, "counters": counted}
    finally:
        for agent in agents.values():
            agent.hold_rows(False)


def _until(
    agents: Mapping[str, Agent], there: Callable[[Agent], bool], tick: Callable[[], None], deadline: float
) -> None:
    while slow := [name for name, agent in agents.items() if not there(agent)]:
        if time.monotonic() > deadline:
            raise NotSaved(f"{', '.join(slow)} did not come to rest in time")
        tick()


def _given(
    name: str,
    agent: Agent,
    tick: Callable[[], None] | None,
    get: Callable[[str, Any, float], Any],
    deadline: float,
    whole: bool,
) -> dict[str, Any] | None:
    """What an agent gives for a checkpoint, copied out of Ray's store; None if it is left out."""
    asked = agent.asked_for_content()
    waiting = [*asked.values()]
    while waiting and time.monotonic() < deadline:
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_TICK_S if tick else _LOOK_S)
        if tick and waiting:
            tick()
    given = {}
    try:
        for key, answer in asked.items():
            owner = f"{'replay' if key == 'replay' else 'learner'} of {name}"
            # What is there may yet have to be read from the disk, where Ray puts what its store has no room for.
            given[key] = copied(get(owner, answer, max(deadline - time.monotonic(), _LOOK_S)))
    except RunFailed as failure:
        if whole:
            raise NotSaved(str(failure)) from failure
        return None
    return given
