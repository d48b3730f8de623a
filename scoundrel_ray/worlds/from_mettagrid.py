"""mettagrid's gridworlds as worlds: a simulation for each copy, which reads and writes the copies' own arrays.

An episode's world is a function of its seed: a fresh simulation with a map drawn from it. (mettagrid's own adapter
resets a simulation whose maps depend on how many episodes came before.) Observations are its tokens, `[tokens, 3]`
uint8 in a row; actions are its primary ones, by number.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from scoundrel_ray.settings.checks import InvalidSetting, at_least, one_of
from scoundrel_ray.spec import HERE, LOST, TERMINATED, TRUNCATED, Field, Spec
from scoundrel_ray.world import IllegalActions
from scoundrel_ray.worlds.adapted import RENEW, STOP, note, seed_of
from scoundrel_ray.worlds.environments import AdaptedWorld, needed, reason

VERSION = 1
BUILDERS = ("arena", "navigation")
EXTRA = "mettagrid"


def make(
    builder: str = "arena",
    agents: int = 4,
    turns: int = 1000,
    options: Mapping[str, Any] = MappingProxyType({}),
    failure: str = STOP,
) -> AdaptedWorld:
    """The world of one of mettagrid's builders.

    Args:
        builder: "arena" or "navigation": `make_...` of `mettagrid.builder.envs`.
        agents: in it.
        turns: of an episode, at most.
        options: of the builder.
        failure: what a simulation that fails does: "stop" everything, or "renew" that copy.

    Raises:
        InvalidConfig: if mettagrid is not installed.
        InvalidSetting: naming the option.
    """
    one_of("failure", failure, (STOP, RENEW))
    config, simulator = config_of(builder, agents, turns, options), needed("mettagrid.simulator.simulator", EXTRA)
    try:
        probe = _simulation(simulator, config, 0, None)
    except Exception as error:  # whatever it raises
        raise InvalidSetting("builder", f"cannot be made: {reason(error)}") from error
    shape = tuple(probe.observation_shape)
    # Vibes have a buffer of their own; an agent that never fills it keeps the vibe that it has.
    actions = [probe.action_ids[name] for name in probe.action_names if name not in probe.vibe_action_names]
    probe.close()
    identity = {"version": VERSION, "builder": builder, "agents": agents, "turns": turns, "options": dict(options)}
    tokens = Field("tokens", int(np.prod(shape)), 0, 255, "number")
    spec = Spec(f"mettagrid_{builder}", (tokens,), len(actions), 1, len(actions), "uint8", identity=identity)
    names = tuple(f"agent_{number}" for number in range(agents))

    def simulation(seed: int, buffers: Any) -> Any:
        return _simulation(simulator, config, seed, buffers)

    def copies(streams: np.ndarray, firsts: Sequence[int] | None) -> Any:
        numbers = np.array(actions, np.int32)
        return GridCopies(spec, shape, names, numbers, simulation, simulator.Buffers, streams, failure, firsts)

    return AdaptedWorld(spec.name, names, (spec,) * agents, copies)


def config_of(
    builder: str = "arena", agents: int = 4, turns: int = 1000, options: Mapping[str, Any] = MappingProxyType({}),
    **_: Any,
) -> Any:  # fmt: skip
    """Mettagrid's own config of such a world; arguments are those of `make`."""
    one_of("builder", builder, BUILDERS)
    at_least("agents", agents, 1)
    at_least("turns", turns, 1)
    build = getattr(needed("mettagrid.builder.envs", EXTRA), f"make_{builder}")
    known = [name for name in inspect.signature(build).parameters if name not in ("num_agents", "map_builder")]
    for name in options:
        if name not in known:
            raise InvalidSetting(f"options.{name}", f"unknown; known are {', '.join(known) or 'none'}")
    config = build(num_agents=agents, **options)
    config.game.max_steps = turns
    return config


def _simulation(simulator: Any, config: Any, seed: int, buffers: Any) -> Any:
    """A simulation whose map and draws are of the seed."""
    maps = config.game.map_builder
    if hasattr(maps, "seed"):
        maps = maps.model_copy(update={"seed": seed})
        config = config.model_copy(update={"game": config.game.model_copy(update={"map_builder": maps})})
    return simulator.Simulation(config, seed=seed, buffers=buffers)


def _step_of(simulation: Any) -> Callable[[], None]:
    """What steps a simulation: its compiled core alone where nothing else listens, without stopwatches around it."""
    if simulation._event_handlers or simulation.config.game.talk.enabled:
        return simulation.step
    return simulation._c_sim.step


class GridCopies:
    """Copies that are a simulation each: the members of `scoundrel_ray.world.AnyCopies`.

    Args:
        spec: of every agent.
        shape: of its tokens.
        agents: names.
        numbers: [A] int32, mettagrid's numbers of the actions.
        simulation: makes one of a seed, over buffers.
        buffers: makes these of arrays.
        streams: [C, 4] uint64.
        failure: STOP or RENEW.
        seeds: of each copy's first episode; None for those that streams make (see `adapted.episode_seed`).

    Attributes:
        observations: [N, C, O] uint8.
        masks: [N, C, A] int8, all 1.
        rewards: [N, C] float32.
        ended, acting: [N, C].
        failures: a line for each episode that was lost, the newest 100.
        last_failures: by copy, the line of the episode that it lost last.
    """

    def __init__(
        self, spec: Spec, shape: tuple[int, ...], agents: Sequence[str], numbers: np.ndarray,
        simulation: Callable[[int, Any], Any], buffers: Callable[..., Any], streams: np.ndarray, failure: str,
        seeds: Sequence[int] | None,
    ) -> None:  # fmt: skip
        count, many = len(streams), len(agents)
        self._spec, self._agents, self._numbers, self._failure = spec, agents, numbers, failure
        self._make, self._streams, self._first_seeds = simulation, streams, seeds
        # By copy, as simulations have them; what is shown by agent is the same memory.
        tokens = np.zeros((count, many, *shape), np.uint8)
        rewards = np.zeros((count, many), np.float32)
        self._ends = np.zeros((2, count, many), np.bool_)  # terminals, truncations
        self._actions, vibes = np.zeros((2, count, many), np.int32)
        self._buffers = [
            buffers(
                observations=tokens[copy], terminals=self._ends[0, copy], truncations=self._ends[1, copy],
                rewards=rewards[copy], masks=np.ones(many, np.bool_), actions=self._actions[copy],
                teacher_actions=vibes[copy], vibe_actions=vibes[copy],
            )
            for copy in range(count)
        ]  # fmt: skip
        self.observations = tokens.reshape(count, many, -1).transpose(1, 0, 2)
        self.masks = np.ones((many, count, spec.actions), np.int8)
        self.rewards = rewards.T
        self.ended = np.full((many, count), TERMINATED, np.int8)
        self.acting = np.zeros((many, count), np.bool_)
        self.failures: list[str] = []
        self.last_failures: dict[int, str] = {}
        self._simulations: list[Any] = [None] * count
        self._step_of: list[Any] = [None] * count
        self._episodes, self._seeds, self._steps, self._lost = ([0] * count for _ in range(4))
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
        """Play one action of every agent; copies whose episode is over stay as they are.

        Args:
            actions: [N, C] int16.

        Raises:
            ValueError, IllegalActions: for actions of another form, or beyond the last.
            WorldFailed: for the first simulation that failed; those before it have been stepped.
        """
        if actions.dtype != np.int16 or actions.shape != self.ended.shape:
            raise ValueError(
                f"actions are {actions.dtype} {list(actions.shape)}, wanted int16 {list(self.ended.shape)}"
            )
        wrong = self.acting & ((actions < 0) | (actions >= self._spec.actions))
        if wrong.any():
            agent, copy = (int(each[0]) for each in np.nonzero(wrong))
            what = f"{self._agents[agent]} {int(actions[agent, copy])}"
            raise IllegalActions(f"{self._spec.name}: not allowed in copy {copy}: {what}")
        self._actions[:] = self._numbers[np.where(self.acting, actions, 0)].T
        for copy in np.flatnonzero(self.acting.any(axis=0)).tolist():
            self._steps[copy] += 1
            self._asked(copy, self._step_of[copy])
        fresh = (self.ended == HERE) & self._ends.any(axis=0).T
        self.ended[fresh] = np.where(self._ends[0].T, TERMINATED, TRUNCATED)[fresh]
        self.acting[:] = self.ended == HERE

    def renew(self) -> int:
        """Begin a new episode in every copy whose episode is over; returns in how many.

        Raises:
            WorldFailed: for the first simulation that cannot be made; those before it have been renewed.
        """
        over = np.flatnonzero(self.over).tolist()
        for copy in over:
            while not self._asked(copy, lambda copy=copy: self._begin(copy)):
                pass
        return len(over)

    def close(self) -> None:
        """Free the simulations; one that cannot be closed is left."""
        for copy in range(len(self._simulations)):
            self._end(copy)

    def _begin(self, copy: int) -> None:
        self._seeds[copy] = seed_of(self._streams, self._first_seeds, copy, self._episodes[copy])
        self._episodes[copy] += 1
        self._steps[copy] = 0
        self._end(copy)
        self._ends[:, copy] = False
        self.rewards[:, copy] = 0.0
        self._simulations[copy] = made = self._make(self._seeds[copy], self._buffers[copy])
        self._step_of[copy] = _step_of(made)
        self.ended[:, copy], self.acting[:, copy] = HERE, True

    def _asked(self, copy: int, question: Callable[[], None]) -> bool:
        """Ask a copy's simulation; False if its episode was lost."""
        try:
            question()
            got = self.rewards[:, copy]
            if not np.isfinite(got).all():
                raise ValueError(f"rewards are {got.tolist()}, wanted finite numbers")
        except Exception as error:
            where = f"copy {copy}, seed {self._seeds[copy]}, step {self._steps[copy]}"
            self.ended[self.ended[:, copy] == HERE, copy] = LOST
            self.acting[:, copy] = False
            self._lost[copy] += 1
            self.last_failures[copy] = line = f"{self._spec.name}: {where}: {reason(error)}"
            note(self.failures, self._failure, self._lost[copy], line, error)
            self._end(copy)
            return False
        if self._ends[:, copy].any(axis=0).all():
            self._lost[copy] = 0
        return True

    def _end(self, copy: int) -> None:
        simulation, self._simulations[copy], self._step_of[copy] = self._simulations[copy], None, None
        if simulation is not None:
            simulation.close()
