"""Checks of settings: each says in one line which setting, what it got and what was wanted.

A record of settings does not know in which section it stands: `simulations` may be `search.simulations` or
`evaluation.players.uct.simulations`. So its checks name the field alone, and whoever reads a section puts the section's
key in front with `within_section`, as `scoundrel_ray.settings.build` does.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any


class InvalidConfig(ValueError):
    """A setting that cannot be used; the message is one line for the user."""


class InvalidSetting(InvalidConfig):
    """One setting that cannot be used: `<key>: <reason>`.

    Args:
        key: name of the setting; `within_section` puts the keys of the sections around it in front.
        reason: what it got and what was wanted, in one line.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)  # both, so that it can be pickled
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@contextlib.contextmanager
def within_section(section: str) -> Iterator[None]:
    """A block in which an `InvalidSetting` gets the key of its section in front, unless it has it already."""
    try:
        yield
    except InvalidSetting as error:
        if not error.key.startswith(f"{section}."):
            error.key = f"{section}.{error.key}"
        raise


def at_least(key: str, value: Any, least: int) -> None:
    """Refuse anything but an integer >= least."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidSetting(key, f"got {value!r}, wanted an integer >= {least}")


def within(key: str, value: Any, low: float, high: float) -> None:
    """Refuse anything but a finite number in [low, high]."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        raise InvalidSetting(key, f"got {value!r}, wanted a number from {low:g} to {high:g}")


def switch(key: str, value: Any) -> None:
    """Refuse anything but true and false."""
    if not isinstance(value, bool):
        raise InvalidSetting(key, f"got {value!r}, wanted true or false")


def one_of(key: str, value: Any, choices: Collection[Any]) -> None:
    """Refuse anything but one of the choices."""
    if value not in choices:
        raise InvalidSetting(key, f"got {value!r}, wanted one of {', '.join(map(str, choices))}")


def path_or_none(key: str, value: Any) -> Path | None:
    """The path that a setting names; None for null. Refuse anything but text."""
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise InvalidSetting(key, f"got {value!r}, wanted a path")
    return Path(value)


def makeable(key: str, path: Path) -> Path:
    """The path of a directory that is there and can be written to, or can be made."""
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InvalidSetting(key, f"got {str(path)!r}, wanted a directory that can be made and written to")
    return path


def writable(key: str, path: Path) -> Path:
    """The path of a file that can be written. Refuse one in no such directory, and a directory."""
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InvalidSetting(key, f"got {str(path)!r}, wanted a file in a directory that can be written to")
    return path
