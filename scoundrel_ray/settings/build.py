"""From a composed Hydra config to checked plain data, before anything starts.

Members (games, searches, networks, learners) are named in YAML by `_target_`; `build` turns such a section into the
object. Everything else becomes a frozen dataclass. Checks name the setting, and what is here puts the section's key in
front.
"""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting, within_section

if TYPE_CHECKING:
    from omegaconf import DictConfig

T = TypeVar("T")


def build(key: str, section: Mapping[str, Any], kind: type[T], *arguments: Any) -> T:
    """The member that a section names by `_target_`, called with `arguments` and the section's other settings.

    A config may come from someone else's run, so nothing is called that does not declare that it makes a `kind`: a
    class must derive from it (or, for a protocol, have its members), a function must say so in its return annotation.

    Raises:
        InvalidConfig: naming the full key, for a missing or foreign target and for settings that it refuses.
    """
    target, path = target_of(key, section, kind), section["_target_"]
    settings = {name: value for name, value in section.items() if name != "_target_"}
    try:
        inspect.signature(target).bind(*arguments, **settings)
    except TypeError as error:
        raise InvalidConfig(f"{key}: {path}: {error}") from error
    try:
        with within_section(key):
            made = target(*arguments, **settings)
    except InvalidSetting:
        raise
    except ValueError as error:
        raise InvalidConfig(f"{key}: {error}") from error
    except TypeError as error:
        raise InvalidConfig(f"{key}: {path} failed: {error}") from error
    if dataclasses.is_dataclass(made) and any(field.name == "section" for field in dataclasses.fields(made)):
        made = dataclasses.replace(made, section=dict(section))  # such as a game, which processes build anew  # pyright: ignore[reportArgumentType]
    return made  # pyright: ignore[reportReturnType]


def target_of(key: str, section: Mapping[str, Any], kind: type) -> Any:
    """The class or function that a section names by `_target_`, which declares that it makes a `kind`.

    Raises:
        InvalidConfig: naming the key, for a missing or foreign target.
    """
    if not isinstance(section, Mapping):
        raise InvalidConfig(f"{key}: got {section!r}, wanted a section with _target_")
    path = section.get("_target_")
    if not isinstance(path, str):
        raise InvalidConfig(f"{key}._target_: got {path!r}, wanted the dotted path of a {kind.__name__}")
    try:
        target = pkgutil.resolve_name(path)
    except Exception as error:  # whatever the module raises
        message = " ".join(str(error).split())
        raise InvalidConfig(f"{key}._target_: cannot import {path!r}: {type(error).__name__}: {message}") from error
    if not _makes(target, kind):
        raise InvalidConfig(
            f"{key}._target_: {path} makes no {kind.__name__} (wanted a class of that kind, or a function annotated so)"
        )
    return target


def check_members(key: str, made: Any, kind: type) -> None:
    """Refuse an object that lacks a member of a protocol.

    Raises:
        InvalidConfig: naming the key and the first member.
    """
    for name in _members(kind):
        if not hasattr(made, name):
            raise InvalidConfig(f"{key}: {type(made).__name__} has no {name}, wanted a {kind.__name__}")


def _members(protocol: type) -> list[str]:
    return [*getattr(protocol, "__annotations__", {}), *(n for n in vars(protocol) if not n.startswith("_"))]


def _makes(target: Any, kind: type) -> bool:
    """Whether calling `target` is declared to give a `kind`."""
    made = target
    if inspect.isfunction(target):
        try:
            made = typing.get_type_hints(target).get("return")
        except NameError:
            return False
    if not inspect.isclass(made):
        return False
    if getattr(kind, "_is_protocol", False):
        return all(hasattr(made, name) or name in getattr(made, "__annotations__", {}) for name in _members(kind))
    return issubclass(made, kind)


def settings_of(key: str, section: Mapping[str, Any], kind: type[T]) -> T:
    """A dataclass from a section's plain values.

    Raises:
        InvalidConfig: naming the full key, for unknown keys, wrong types and refused values.
    """
    known = {f.name: f for f in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    for name in section:
        if name not in known:
            raise InvalidConfig(f"{key}.{name}: unknown; known are {', '.join(known)}")
    hints = typing.get_type_hints(kind)
    for name, value in section.items():
        wanted = hints[name]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            continue
        plain = {int: int, float: float, str: str, bool: bool}.get(wanted)
        if plain and (not isinstance(value, plain) or (plain is int and isinstance(value, bool))):
            raise InvalidConfig(f"{key}.{name}: got {value!r}, wanted {plain.__name__}")
        if typing.get_origin(wanted) is tuple and not isinstance(value, list | tuple):
            raise InvalidConfig(f"{key}.{name}: got {value!r}, wanted a list")
    with within_section(key):
        return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in section.items()})


def composed(config: DictConfig) -> dict[str, Any]:
    """The composed config as plain dicts and lists, interpolations resolved.

    Raises:
        InvalidConfig: for a missing value or a broken interpolation.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # pyright: ignore[reportReturnType]
    except OmegaConfBaseException as error:
        raise InvalidConfig(f"config: {str(error).splitlines()[0]}") from error
