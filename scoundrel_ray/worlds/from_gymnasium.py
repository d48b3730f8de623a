"""Environments of Gymnasium as worlds of one agent: an environment for each copy, or one vector environment for all.

Gymnasium's vector environments begin new episodes by themselves in three ways; only one that leaves it to us
(autoreset mode DISABLED) lets each copy's episode have its own seed and its last observation, so any other is refused.
`gymnasium.make_vec` is asked for the environment's own vector environment if that one takes `autoreset_mode`, else for
`SyncVectorEnv`, which steps the environments one by one and is no faster than an environment for each copy.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting, one_of, switch
from scoundrel_ray.settings.handed import check_targets
from scoundrel_ray.world import TERMINATED, TRUNCATED
from scoundrel_ray.worlds.adapted import RENEW, STOP, SeparateCopies, View
from scoundrel_ray.worlds.environments import AdaptedWorld, Seat, close, made, maker, needed, plain_name, seat, specs_of
from scoundrel_ray.worlds.from_pettingzoo import rendered
from scoundrel_ray.worlds.together import TogetherCopies

AGENT = "agent"


def make(
    id: str | None,
    env: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
    vector: bool = False,
    failure: str = STOP,
) -> AdaptedWorld:
    """The world of an environment, of one agent, named "agent".

    Args:
        id: of a registered environment, such as CartPole-v1; `package:Id-v0` imports an installed package first. None
            with `env`.
        env: instead of an id, for your own: `_target_`, dotted path of a class that derives from gymnasium.Env
            (with `vector`, from gymnasium.vector.VectorEnv) or of a function annotated to give one, and its options.
        options: of the environment of an id.
        vector: whether one vector environment holds all copies. One of your own gets `num_envs`.
        failure: what an environment that fails does: "stop" everything, or "renew" that copy (with `vector`, all).

    Raises:
        InvalidConfig: if Gymnasium is not installed.
        InvalidSetting: naming the option, and for spaces the space and what is wanted.
    """
    switch("vector", vector)
    one_of("failure", failure, (STOP, RENEW))
    gymnasium = needed("gymnasium")
    kind = needed("gymnasium.vector").VectorEnv if vector else gymnasium.Env
    if (id is None) == (env is None):
        raise InvalidSetting("id", f"got {id!r} and env {env!r}, wanted one of them")
    if env is not None:
        if options:
            raise InvalidSetting("options", "got some beside env, wanted them in env")
        path, begin = maker("env", env, (kind,))
        key, given = "env", {name: value for name, value in env.items() if name != "_target_"}
    else:
        key, path, given = "id", _checked(id), dict(options)
        begin = _registered(gymnasium, path, given, vector)
    probe = made(key, (lambda: begin(num_envs=1)) if vector else begin, (kind,))
    try:
        if vector:
            _check_resets(key, gymnasium, probe)
        one = "single_" if vector else ""
        spaces = (getattr(probe, f"{one}observation_space"), getattr(probe, f"{one}action_space"))
        seats = [seat(key, AGENT, *spaces)]
    finally:
        close(probe)
    name = plain_name(path)
    specs = specs_of(key, name, seats, {"environment": path, "options": given})

    def copies(streams: np.ndarray, firsts: Sequence[int] | None) -> Any:
        if vector:
            return TogetherCopies(
                name, seats[0], specs[0], lambda count: begin(num_envs=count), streams, failure, firsts
            )
        return SeparateCopies(name, seats, specs, lambda: Single(begin(), seats), streams, failure, firsts)

    return AdaptedWorld(name, (AGENT,), specs, copies)


class Single:
    """A `gymnasium.Env`, its calls translated (see `scoundrel_ray.worlds.adapted.Environment`)."""

    def __init__(self, env: Any, seats: Sequence[Seat]) -> None:
        self.env = env
        self._given = seats[0].actions.given

    def reset(self, seed: int, view: View) -> None:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed)
        view.comes(0)
        view.acts(0, observation, info)

    def step(self, actions: Sequence[int], view: View) -> None:
        """Play the action."""
        view.moves()
        observation, reward, terminated, truncated, info = self.env.step(self._given(actions[0]))
        view.gets(0, reward)
        if terminated or truncated:
            view.ends(0, TERMINATED if terminated else TRUNCATED, observation)
        else:
            view.acts(0, observation, info)

    def picture(self) -> np.ndarray | None:
        """What it renders."""
        return rendered(self.env)

    def close(self) -> None:
        """Close it."""
        self.env.close()


def _checked(id: Any) -> str:
    """An id that imports nothing but installed packages: it may stand in a file of somebody else."""
    if not isinstance(id, str) or not id:
        raise InvalidSetting("id", f"got {id!r}, wanted the text of a registered environment")
    module, colon, _ = id.rpartition(":")
    if colon:
        try:
            check_targets("the config", {"_target_": f"{module}."})
        except InvalidConfig as error:
            wanted = "wanted an installed package before the colon; name a module of your own as env._target_"
            raise InvalidSetting("id", f"got {id!r}, {wanted}") from error
    return id


def _registered(gymnasium: Any, id: str, options: Mapping[str, Any], vector: bool) -> Callable[..., Any]:
    """What makes a registered environment; a vector environment takes `num_envs`."""
    if not vector:
        return lambda: gymnasium.make(id, **{"disable_env_checker": True, **options})
    disabled = gymnasium.vector.AutoresetMode.DISABLED

    def begin(num_envs: int) -> Any:
        module, _, name = id.rpartition(":")
        if module:
            importlib.import_module(module)
        own = gymnasium.spec(name).vector_entry_point
        creator = gymnasium.envs.registration.load_env_creator(own) if isinstance(own, str) else own
        if creator is not None and "autoreset_mode" in inspect.signature(creator).parameters:
            return gymnasium.make_vec(
                id, num_envs, vectorization_mode="vector_entry_point", autoreset_mode=disabled, **options
            )
        return gymnasium.make_vec(
            id, num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": disabled},
            **{"disable_env_checker": True, **options},
        )  # fmt: skip

    return begin


def _check_resets(key: str, gymnasium: Any, environment: Any) -> None:
    mode = environment.metadata.get("autoreset_mode")
    if mode != gymnasium.vector.AutoresetMode.DISABLED:
        raise InvalidSetting(key, f"a vector environment of autoreset mode {mode}, wanted DISABLED (see vector: false)")
