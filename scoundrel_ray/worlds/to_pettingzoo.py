"""Worlds of this project as environments of PettingZoo: `parallel_env` and `aec_env`. Importing this needs PettingZoo.

Observations are flat. If all fields are categories the space is a MultiDiscrete, else a Box with the bounds of each
entry (which says no more of what is a category; `metadata["fields"]` does); both int8. If the world has masks, an
observation is {"observation": that, "action_mask": [A] int8}. Actions are Discrete.

`reset(seed=s)` begins the episode of `streams.stream(s)`; without a seed the next one of the same stream, which is
drawn from the system if there was never a seed. An action that is masked raises `IllegalActions`.

`aec_env` takes any world. Where all agents act at once they are asked one after another, see nothing of each other's
choices, and the world is stepped with the last one. PettingZoo's `aec_to_parallel` makes a world of turns parallel by
its own rule: everybody acts on what it knew when the first agent of the turn was to act. It stops with an error if an
agent ends within a turn, and masks of those whose turn has not come are all 0, as nobody knows them yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scoundrel_ray.streams import stream
from scoundrel_ray.world import (
    ALL,
    HERE,
    LEFT,
    OK,
    OVER,
    TERMINATED,
    TRUNCATED,
    IllegalActions,
    InvalidWorld,
    World,
)
from scoundrel_ray.worlds.environments import needed

needed("pettingzoo")

from gymnasium import spaces  # noqa: E402
from pettingzoo import AECEnv, ParallelEnv  # noqa: E402

RENDER_MODES = ("ansi", "rgb_array")
_FRAMES_PER_SECOND = 10
_MOST_VALUES = np.iinfo(np.int8).max  # that MultiDiscrete holds in int8


def parallel_env(world: World, render_mode: str | None = None) -> WorldParallelEnv:
    """A world in which all agents act at once, as a `ParallelEnv`.

    Args:
        world: the rules.
        render_mode: what `render` gives: "ansi" a text, "rgb_array" [height, width, 3] uint8, None nothing.

    Raises:
        InvalidWorld: for a world of turns, which `aec_env` takes.
    """
    return WorldParallelEnv(world, render_mode)


def aec_env(world: World, render_mode: str | None = None) -> WorldAECEnv:
    """Any world as an `AECEnv`; arguments as of `parallel_env`."""
    return WorldAECEnv(world, render_mode)


class Play:
    """One copy of a world, an episode after another, with what each single step brought.

    Attributes:
        seen: [N, O] int8, what each agent knew when it was last to act, or when it ended.
        ended: of each agent, HERE, TERMINATED or TRUNCATED.
        acting: numbers of those that act next.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.state, self._stream = world.blank(1)[0], None
        self.seen = np.zeros((len(world.agents), world.spec.observation_size), np.int8)
        self.ended, self.acting = [HERE] * len(world.agents), list[int]()

    def begin(self, seed: int | None) -> None:
        """Begin an episode: the first of a seed's stream, or the next of the stream there is."""
        if seed is not None:
            self._stream = stream(seed)
        elif self._stream is None:
            self._stream = np.random.default_rng().integers(1, 2**63, 4, dtype=np.uint64)
        self.state[:] = self.world.blank(1)[0]
        self.world.rules.reset(self.state, self._stream)
        self.seen[:] = 0
        self.ended = [HERE] * len(self.world.agents)
        self._look()

    def step(self, actions: Mapping[int, Any]) -> list[float]:
        """Play the actions, by agent, of those that act; what each agent got by this step alone.

        Raises:
            IllegalActions: for a masked action; nothing has changed.
        """
        chosen, gained = (np.zeros(len(self.ended), dtype) for dtype in (np.int16, np.float32))
        for agent, action in actions.items():
            self.check(agent, action)
            chosen[agent] = action
        status = self.world.rules.step(self.state, chosen, self._stream, gained)
        if status not in (OK, LEFT):
            raise InvalidWorld(f"world {self.world.name}: rule step returned status {status}, wanted 0, 1 or 2")
        if status == LEFT:
            for agent, known in enumerate(self.ended):
                self.ended[agent] = known or self.world.rules.ended(self.state, agent)
                if known != self.ended[agent]:
                    self.world.rules.observe(self.state, agent, self.seen[agent])
        self._look()
        return gained.tolist()

    def check(self, agent: int, action: Any) -> None:
        """Refuse an action that an agent, about to act, may not take.

        Raises:
            IllegalActions: naming both.
        """
        if not (0 <= action < len(self.world.action_names) and self.mask(agent)[int(action)]):
            raise IllegalActions(f"{self.world.name}: not allowed: {self.world.agents[agent]} {action}")

    def knows(self, agent: int) -> np.ndarray:
        """What an agent knows: of one that neither acts next nor has ended, what it would know if it did: [O] int8."""
        seen = self.seen[agent].copy()
        if agent not in self.acting and self.ended[agent] == HERE:
            self.world.rules.observe(self.state, agent, seen)
        return seen

    def observation(self, agent: int) -> Any:
        """The same as the agent's space has it; a mask is all 0 of an agent that does not act next."""
        if not self.world.masked:
            return self.knows(agent)
        return {"observation": self.knows(agent), "action_mask": self.mask(agent)}

    def mask(self, agent: int) -> np.ndarray:
        """1 for every action that an agent may take next: [A] int8, all 0 if it does not act."""
        allowed = np.zeros(len(self.world.action_names), np.int8)
        if agent in self.acting:
            self.world.rules.mask(self.state, agent, allowed)
        return allowed

    def render(self, mode: str | None) -> Any:
        """The state as a text or a picture."""
        if mode is None:
            return None
        return (self.world.text if mode == "ansi" else self.world.picture)(self.state)

    def _look(self) -> None:
        mover = self.world.rules.mover(self.state)
        if mover == ALL:
            self.acting = [agent for agent, how in enumerate(self.ended) if how == HERE]
        else:
            self.acting = [] if mover == OVER else [int(mover)]
        for agent in self.acting:
            self.world.rules.observe(self.state, agent, self.seen[agent])


def observation_space(world: World) -> spaces.Space:
    """The space of every agent's observations (see the module)."""
    low, high = (np.repeat([getattr(f, end) for f in world.observation], [f.size for f in world.observation])
                 for end in ("low", "high"))  # fmt: skip
    values = high - low + 1
    if all(part.kind == "category" for part in world.observation) and values.max() <= _MOST_VALUES:
        space: spaces.Space = spaces.MultiDiscrete(values.astype(np.int8), np.int8, start=low.astype(np.int8))
    else:
        space = spaces.Box(low.astype(np.int8), high.astype(np.int8), dtype=np.int8)
    if not world.masked:
        return space
    mask = spaces.Box(0, 1, (len(world.action_names),), np.int8)
    return spaces.Dict({"observation": space, "action_mask": mask})


def metadata(world: World) -> dict[str, Any]:
    """What PettingZoo and its users read of a world."""
    return {
        "name": f"{world.name}_v{world.version}",
        "render_modes": list(RENDER_MODES),
        "render_fps": _FRAMES_PER_SECOND,
        "is_parallelizable": True,
        "fields": [(part.name, part.size, part.kind) for part in world.observation],
        "actions": list(world.action_names),
    }


def _check_mode(mode: str | None) -> None:
    if mode is not None and mode not in RENDER_MODES:
        raise ValueError(f"render_mode is {mode!r}, wanted None or one of {', '.join(RENDER_MODES)}")


class WorldParallelEnv(ParallelEnv):
    """A world in which all agents act at once (see `parallel_env`)."""

    def __init__(self, world: World, render_mode: str | None = None) -> None:
        _check_mode(render_mode)
        self.metadata, self.render_mode = metadata(world), render_mode
        self.possible_agents, self.agents = list(world.agents), list[str]()
        self._play, self._numbers = Play(world), {name: number for number, name in enumerate(world.agents)}
        self._observations = {name: observation_space(world) for name in world.agents}
        self._actions = {name: spaces.Discrete(len(world.action_names)) for name in world.agents}
        probe = Play(world)
        probe.begin(0)
        if world.rules.mover(probe.state) != ALL:
            raise InvalidWorld(f"world {world.name}: agents act in turn, wanted all at once: see aec_env")

    def observation_space(self, agent: str) -> spaces.Space:
        """Of an agent."""
        return self._observations[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """Of an agent."""
        return self._actions[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode; options are not read."""
        self._play.begin(seed)
        self.agents = list(self.possible_agents)
        return {name: self._play.observation(self._numbers[name]) for name in self.agents}, self._infos(self.agents)

    def step(self, actions: Mapping[str, Any]) -> Any:
        """Play the actions of all agents that are there.

        Raises:
            IllegalActions: for a masked action; nothing has changed.
            InvalidWorld: if agents act in turn in the state that it leads to.
        """
        before, play = self.agents, self._play
        if not before:
            return {}, {}, {}, {}, {}
        gained = play.step({self._numbers[name]: actions[name] for name in before})
        how = {name: play.ended[self._numbers[name]] for name in before}
        self.agents = [name for name in before if how[name] == HERE]
        if len(play.acting) != len(self.agents):
            raise InvalidWorld(f"world {play.world.name}: agents act in turn, wanted all at once: see aec_env")
        return (
            {name: play.observation(self._numbers[name]) for name in before},
            {name: gained[self._numbers[name]] for name in before},
            {name: how[name] == TERMINATED for name in before},
            {name: how[name] == TRUNCATED for name in before},
            self._infos(before),
        )

    def render(self) -> Any:
        """The state, by the render_mode."""
        return self._play.render(self.render_mode)

    def close(self) -> None:
        """Nothing is held but memory."""

    def _infos(self, names: list[str]) -> dict[str, dict[str, Any]]:
        return {name: {} for name in names}


class WorldAECEnv(AECEnv):
    """Any world, one agent after another (see `aec_env`)."""

    def __init__(self, world: World, render_mode: str | None = None) -> None:
        super().__init__()
        _check_mode(render_mode)
        self.metadata, self.render_mode = metadata(world), render_mode
        self.possible_agents, self.agents = list(world.agents), list[str]()
        self._play, self._numbers = Play(world), {name: number for number, name in enumerate(world.agents)}
        self._observations = {name: observation_space(world) for name in world.agents}
        self._actions = {name: spaces.Discrete(len(world.action_names)) for name in world.agents}

    def observation_space(self, agent: str) -> spaces.Space:
        """Of an agent."""
        return self._observations[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """Of an agent."""
        return self._actions[agent]

    def observe(self, agent: str) -> Any:
        """What an agent knows now (see `Play.knows`)."""
        return self._play.observation(self._numbers[agent])

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode; options are not read."""
        self._play.begin(seed)
        self.agents = list(self.possible_agents)
        self.terminations, self.truncations = (dict.fromkeys(self.agents, False) for _ in range(2))
        self.rewards, self._cumulative_rewards = (dict.fromkeys(self.agents, 0.0) for _ in range(2))
        self.infos = {name: {} for name in self.agents}
        self._turn()

    def step(self, action: Any) -> None:
        """Take the action of the agent that is selected; None of one that has ended.

        Raises:
            IllegalActions: for a masked action; nothing has changed.
        """
        name = self.agent_selection
        if self.terminations[name] or self.truncations[name]:
            self._was_dead_step(action)
            return
        self._play.check(self._numbers[name], action)
        self._chosen[self._numbers[name]] = action
        last = len(self._chosen) == len(self._play.acting)
        gained = self._play.step(self._chosen) if last else None
        self._cumulative_rewards[name] = 0.0
        self._clear_rewards()
        if gained is None:
            self.agent_selection = self.possible_agents[self._play.acting[len(self._chosen)]]
            return
        for other in self.agents:
            number = self._numbers[other]
            self.rewards[other] = gained[number]
            self.terminations[other] = self._play.ended[number] == TERMINATED
            self.truncations[other] = self._play.ended[number] == TRUNCATED
        self._accumulate_rewards()
        self._turn()
        self._deads_step_first()

    def render(self) -> Any:
        """The state, by the render_mode."""
        return self._play.render(self.render_mode)

    def close(self) -> None:
        """Nothing is held but memory."""

    def _turn(self) -> None:
        """Select the first of those that act next."""
        self._chosen: dict[int, Any] = {}
        if self._play.acting:
            self.agent_selection = self.possible_agents[self._play.acting[0]]
