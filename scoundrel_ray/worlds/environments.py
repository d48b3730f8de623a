"""Environments of others in a world's place: from a section of a config to an environment, its seats and its specs.

Nothing of Gymnasium or PettingZoo is imported before a config asks for it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting
from scoundrel_ray.spec import InvalidSpec, Spec
from scoundrel_ray.world import AnyCopies
from scoundrel_ray.worlds.spaces import Actions, BadAnswer, Encoding

VERSION = 1  # of how spaces become specs; weights hold it


class Seat(NamedTuple):
    """How an agent's observations and actions are translated.

    Attributes:
        agent: its name in the environment.
        encoding, actions: of its spaces.
    """

    agent: Any
    encoding: Encoding
    actions: Actions


@dataclass(frozen=True, eq=False)
class AdaptedWorld:
    """An environment in a world's place: the members of `scoundrel_ray.world.AnyWorld`. Build one from its config.

    Attributes:
        name: of the environment.
        agents: names, in the order of their numbers.
        specs: of each; equal specs are one object.
        begin: makes copies from their streams, and the seeds of their first episodes where these are given.
        section: of a config that it was built from, for processes that must build it again; set by `config.build`.
    """

    name: str
    agents: tuple[str, ...]
    specs: tuple[Spec, ...]
    begin: Callable[[np.ndarray, Sequence[int] | None], AnyCopies]
    section: Mapping[str, Any] = field(default_factory=dict)

    def copies(self, streams: np.ndarray, seeds: Sequence[int] | None = None) -> AnyCopies:
        """Copies at the start of an episode, one for each random stream: [C, 4] uint64.

        Args:
            streams: of the copies; they make the seeds of all episodes (see `adapted.episode_seed`)
            seeds: but of the copies' first ones, if these are given.

        Raises:
            WorldFailed: for environments that cannot be made or begun.
        """
        if streams.dtype != np.uint64 or streams.ndim != 2 or streams.shape[1] != 4 or not len(streams):
            raise ValueError(f"streams are {streams.dtype} {list(streams.shape)}, wanted uint64 [copies, 4]")
        return self.begin(streams.copy(), seeds)


def needed(module: str, extra: str = "worlds") -> Any:
    """A module that an extra of this project brings.

    Raises:
        InvalidConfig: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InvalidConfig(
            f"this world needs {error.name}, which is not installed: pip install 'scoundrel_ray[{extra}]'"
        ) from error


def maker(key: str, section: Any, kinds: tuple[type, ...], names: Sequence[str] = ()) -> tuple[str, Callable[..., Any]]:
    """What a section `{_target_: ..., options}` names, and a function that makes it.

    As a config may come from somebody else, nothing is called but a class of these kinds, a function that says in its
    return annotation that it makes one, and whatever has one of `names` in its module.

    Raises:
        InvalidSetting: naming the key.
    """
    path = section.get("_target_") if isinstance(section, Mapping) else None
    if not isinstance(path, str):
        raise InvalidSetting(key, f"got {section!r}, wanted {{_target_: dotted path, and options}}")
    try:
        target = pkgutil.resolve_name(path)
    except Exception as error:  # whatever the module raises
        raise InvalidSetting(f"{key}._target_", f"cannot import {path!r}: {reason(error)}") from error
    made = target
    if inspect.isfunction(target):
        with contextlib.suppress(NameError):
            made = typing.get_type_hints(target).get("return")
    made = typing.get_origin(made) or made
    conventional = path.rpartition(".")[2] in names and callable(target)
    if not conventional and not (inspect.isclass(made) and issubclass(made, kinds)):
        wanted = " or ".join([*(kind.__name__ for kind in kinds), *(f"a function named {name}" for name in names)])
        raise InvalidSetting(f"{key}._target_", f"got {path!r}, wanted {wanted}, or a function annotated to give such")
    options = {name: value for name, value in section.items() if name != "_target_"}
    return path, functools.partial(target, **options)


def made(key: str, make: Callable[[], Any], kinds: tuple[type, ...]) -> Any:
    """An environment, made to look at its spaces.

    Raises:
        InvalidSetting: naming the key, for whatever it raises, and for what is no environment.
    """
    try:
        environment = make()
    except Exception as error:  # whatever the environment raises
        raise InvalidSetting(key, f"cannot be made: {reason(error)}") from error
    if not isinstance(environment, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise InvalidSetting(key, f"got {type(environment).__name__}, wanted {wanted}")
    return environment


def close(environment: Any) -> None:
    """Close an environment; one that cannot be closed is left."""
    with contextlib.suppress(Exception):
        environment.close()


def seat(key: str, agent: Any, observations: Any, actions: Any) -> Seat:
    """An agent's seat, by its spaces.

    Raises:
        InvalidSetting: naming the key, the agent, the space and what is wanted.
    """
    translated: list[Any] = []
    for what, space, kind in (("observation", observations, Encoding), ("action", actions, Actions)):
        try:
            translated.append(kind(space))
        except InvalidConfig as error:
            raise InvalidSetting(key, f"{what} space of agent {agent}: {error}") from error
    return Seat(agent, *translated)


def specs_of(key: str, name: str, seats: Sequence[Seat], identity: Mapping[str, Any]) -> tuple[Spec, ...]:
    """The spec of each agent; agents that are alike have the same one.

    Raises:
        InvalidSetting: naming the key.
    """
    known: dict[Any, Spec] = {}
    specs = []
    for _, encoding, actions in seats:
        kind = (encoding.fields, encoding.dtype, actions.count)
        if kind not in known:
            try:
                known[kind] = Spec(
                    name, encoding.fields, actions.count, 1, actions.count, encoding.dtype,
                    identity={"version": VERSION, **identity},
                )  # fmt: skip
            except InvalidSpec as error:
                raise InvalidSetting(key, str(error)) from error
        specs.append(known[kind])
    return tuple(specs)


def plain_name(name: str) -> str:
    """A name of letters, digits, dots, dashes and underscores, as it stands in names of files."""
    return re.sub(r"[^\w.-]+", "_", name)


def reason(error: Exception) -> str:
    """What an environment's exception says, in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, BadAnswer) else f"{type(error).__name__}: {text}".removesuffix(": ")
