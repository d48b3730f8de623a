"""Checks of settings: each says in one line which key, what it got and what was wanted."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any


class InvalidConfig(ValueError):
    """A setting that cannot be used; the message is one line for the user."""


def at_least(key: str, value: Any, least: int) -> None:
    """Refuse anything but an integer >= least."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidConfig(f"{key}: got {value!r}, wanted an integer >= {least}")


def within(key: str, value: Any, low: float, high: float) -> None:
    """Refuse anything but a finite number in [low, high]."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        raise InvalidConfig(f"{key}: got {value!r}, wanted a number from {low:g} to {high:g}")


def switch(key: str, value: Any) -> None:
    """Refuse anything but true and false."""
    if not isinstance(value, bool):
        raise InvalidConfig(f"{key}: got {value!r}, wanted true or false")


def one_of(key: str, value: Any, choices: Collection[Any]) -> None:
    """Refuse anything but one of the choices."""
    if value not in choices:
        raise InvalidConfig(f"{key}: got {value!r}, wanted one of {', '.join(map(str, choices))}")


def path_or_none(key: str, value: Any) -> Path | None:
    """The path that a setting names; None for null. Refuse anything but text."""
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise InvalidConfig(f"{key}: got {value!r}, wanted a path")
    return Path(value)


def writable(key: str, path: Path) -> Path:
    """The path of a file that can be written. Refuse one in no such directory, and a directory."""
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InvalidConfig(f"{key}: got {str(path)!r}, wanted a file in a directory that can be written to")
    return path
