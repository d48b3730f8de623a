"""Compiled code on disk that forgets nothing: it is made anew when any source that went into it has changed.

numba stamps what it keeps with the function's own file alone. But rules and kernels inline helpers of other files, and
would go on with the old ones after an edit there. Here the stamp is of the file and of all that it imports, directly
or not, from its own package and from this one.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from numba.core import caching

_OWN = __name__.partition(".")[0]


@functools.cache
def _imports(source: Path, package: str) -> tuple[str, ...]:
    """Dotted names of what a source file imports; some may be no modules but names in them."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            found += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _sources(module: str) -> Iterator[Path]:
    """Files of a module and of those that it imports, directly or not, from its own package or this one; each once."""
    package = getattr(sys.modules.get(module), "__package__", None) or module  # of __main__, too
    packages = (package.partition(".")[0], _OWN)
    seen, waiting = {module}, [module]
    while waiting:
        loaded = sys.modules.get(waiting.pop())  # what a module imports is loaded when its functions are compiled
        file = getattr(loaded, "__file__", None)
        if not file or not file.endswith(".py"):
            continue
        source = Path(file)
        yield source
        for name in _imports(source, getattr(loaded, "__package__", None) or ""):
            if name not in seen and name.partition(".")[0] in packages:
                seen.add(name)
                waiting.append(name)


@functools.cache
def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


@functools.cache
def stamp(module: str) -> str:
    """Digest of a module's source and of all that it imports from its own package and from this one."""
    parts = sorted(_digest(source) for source in _sources(module))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def stamp_all_sources() -> None:
    """Have numba stamp compiled functions so, from now on, wherever it keeps them."""
    known: list[Any] = caching.CacheImpl._locator_classes
    for place, locator in enumerate(known):
        if locator in (caching.UserProvidedCacheLocator, caching.InTreeCacheLocator, caching.UserWideCacheLocator):
            known[place] = _stamping(locator)


def _stamping(locator: Any) -> Any:
    class Stamping(locator):
        """The locator with the stamp of this module."""

        def __init__(self, py_func: Any, py_file: str) -> None:
            super().__init__(py_func, py_file)
            self._stamp = stamp(py_func.__module__)

        def get_source_stamp(self) -> Any:
            return self._stamp

    return Stamping
