"""Environments of PettingZoo as worlds: `ParallelEnv`, in which all agents that are there act at once, and `AECEnv`.

An agent's observation may be any that `scoundrel_ray.worlds.spaces` reads; agents need not be alike. Masks are read
from `observation["action_mask"]` and from `info["action_mask"]`.

All agents are there from the beginning of an episode or not in it at all: one of `possible_agents` that `reset` leaves
out has ended (TERMINATED) as the episode begins. One that appears later, or comes back, is refused. What an agent of an
AECEnv got is the sum of its rewards since its own last action, as `last` gives it; it has ended once it is selected
with its end, and is then stepped with None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scoundrel_ray.settings.checks import InvalidSetting, one_of
from scoundrel_ray.world import TERMINATED, TRUNCATED
from scoundrel_ray.worlds.adapted import RENEW, STOP, SeparateCopies, View
from scoundrel_ray.worlds.environments import (
    AdaptedWorld,
    Seat,
    close,
    made,
    maker,
    needed,
    plain_name,
    seat,
    specs_of,
)
from scoundrel_ray.worlds.spaces import BadAnswer

CONVENTION = ("parallel_env", "env", "raw_env")  # what PettingZoo calls the functions of its modules


def make(env: Mapping[str, Any], failure: str = STOP) -> AdaptedWorld:
    """The world of an environment.

    Args:
        env: `_target_`, dotted path of what makes the environment, and its options: a class that derives from
            ParallelEnv or AECEnv, a function annotated to give one, or one with a name of PettingZoo's convention:
            parallel_env, env, raw_env. A section that lies in a file of somebody else may name installed packages
            alone (see `scoundrel_ray.settings.handed`).
        failure: what an environment that fails does: "stop" everything, or "renew" that copy.

    Raises:
        InvalidConfig: if PettingZoo is not installed.
        InvalidSetting: naming the option, and for spaces the agent, the space and what is wanted.
    """
    one_of("failure", failure, (STOP, RENEW))
    zoo = needed("pettingzoo")
    kinds = (zoo.ParallelEnv, zoo.AECEnv)
    path, begin = maker("env", env, kinds, CONVENTION)
    probe = made("env", begin, kinds)
    try:
        agents = getattr(probe, "possible_agents", None)
        if not agents or len({str(agent) for agent in agents}) != len(agents):
            raise InvalidSetting("env", f"possible_agents are {agents!r}, wanted different names, one at least")
        seats = [
            seat("env", agent, probe.observation_space(agent), probe.action_space(agent)) for agent in list(agents)
        ]
        name = plain_name(str(getattr(probe, "metadata", {}).get("name") or path))
    finally:
        close(probe)
    options = {key: value for key, value in env.items() if key != "_target_"}
    specs = specs_of("env", name, seats, {"environment": path, "options": options})
    adapter = AtOnce if isinstance(probe, zoo.ParallelEnv) else InTurn

    def copies(streams: np.ndarray, firsts: Sequence[int] | None) -> SeparateCopies:
        return SeparateCopies(name, seats, specs, lambda: adapter(begin(), seats), streams, failure, firsts)

    return AdaptedWorld(name, tuple(str(each.agent) for each in seats), specs, copies)


class AtOnce:
    """A `ParallelEnv`, its calls translated (see `scoundrel_ray.worlds.adapted.Environment`)."""

    def __init__(self, env: Any, seats: Sequence[Seat]) -> None:
        self.env = env
        self._names = [each.agent for each in seats]
        self._numbers = {each.agent: number for number, each in enumerate(seats)}
        self._given = [each.actions.given for each in seats]

    def reset(self, seed: int, view: View) -> None:
        """Begin an episode."""
        observations, infos = self.env.reset(seed=seed)
        for agent in sorted(_numbered(self._numbers, name) for name in self.env.agents):
            view.comes(agent)
            name = self._names[agent]
            view.acts(agent, _of(observations, name, "observation"), infos.get(name))

    def step(self, actions: Sequence[int], view: View) -> None:
        """Play the actions of all that are there."""
        moves = view.moves()
        names, given = self._names, self._given
        answer = self.env.step({names[agent]: given[agent](actions[agent]) for agent in moves})
        observations, rewards, terminations, truncations, infos = answer
        there = self.env.agents
        for agent in moves:
            name = names[agent]
            view.gets(agent, _of(rewards, name, "reward"))
            if terminations.get(name):
                view.ends(agent, TERMINATED, observations.get(name))
            elif truncations.get(name):
                view.ends(agent, TRUNCATED, observations.get(name))
            elif name not in there:
                raise BadAnswer(f"{name}: left without termination or truncation, wanted one of them")
            else:
                view.acts(agent, _of(observations, name, "observation"), infos.get(name))
        if len(there) > len(view.here):
            self._check(there, moves)

    def picture(self) -> np.ndarray | None:
        """What it renders."""
        return rendered(self.env)

    def close(self) -> None:
        """Close it."""
        self.env.close()

    def _check(self, there: Sequence[Any], moves: Sequence[int]) -> None:
        """Refuse agents that were not there before the step; one that ended in it may be listed still."""
        for name in there:
            if _numbered(self._numbers, name) not in moves:
                raise BadAnswer(f"{name}: appears in mid-episode, wanted it there from the beginning to its one end")


class InTurn:
    """An `AECEnv`, its calls translated (see `scoundrel_ray.worlds.adapted.Environment`)."""

    def __init__(self, env: Any, seats: Sequence[Seat]) -> None:
        self.env = env
        self._names = [each.agent for each in seats]
        self._numbers = {each.agent: number for number, each in enumerate(seats)}
        self._given = [each.actions.given for each in seats]

    def reset(self, seed: int, view: View) -> None:
        """Begin an episode."""
        self.env.reset(seed=seed)
        for name in self.env.agents:
            view.comes(_numbered(self._numbers, name))
        if view.here:
            self._look(view)

    def step(self, actions: Sequence[int], view: View) -> None:
        """Play the action of the agent whose turn it is."""
        (agent,) = view.moves()
        self.env.step(self._given[agent](actions[agent]))
        self._look(view)

    def picture(self) -> np.ndarray | None:
        """What it renders."""
        return rendered(self.env)

    def close(self) -> None:
        """Close it."""
        self.env.close()

    def _look(self, view: View) -> None:
        """Note who acts next, after the ends of those that are selected before."""
        while self.env.agents:
            name = self.env.agent_selection
            agent = _numbered(self._numbers, name)
            if agent not in view.here:
                raise BadAnswer(f"{name}: appears in mid-episode, wanted it there from the beginning to its one end")
            observation, reward, terminated, truncated, info = self.env.last()
            view.gets(agent, reward)
            if not (terminated or truncated):
                view.acts(agent, observation, info)
                return
            view.ends(agent, TERMINATED if terminated else TRUNCATED, observation)
            self.env.step(None)
        if view.here:
            name = self._names[min(view.here)]
            raise BadAnswer(f"{name}: left without termination or truncation, wanted one of them")


def rendered(env: Any) -> np.ndarray | None:
    """What an environment renders if it was made with render_mode rgb_array: [height, width, 3] uint8; else None."""
    if getattr(env, "render_mode", None) != "rgb_array":
        return None
    picture = np.asarray(env.render())
    return picture if picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3 else None


def _numbered(numbers: Mapping[Any, int], name: Any) -> int:
    if name not in numbers:
        raise BadAnswer(f"{name}: is none of possible_agents, wanted {', '.join(map(str, numbers))}")
    return numbers[name]


def _of(answers: Any, name: Any, what: str) -> Any:
    if name not in answers:
        raise BadAnswer(f"{name}: no {what}, wanted one of every agent that acts")
    return answers[name]
