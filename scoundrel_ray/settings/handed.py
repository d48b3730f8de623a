"""Settings that lie in files: a run directory, a record or a weights file may come from somebody else.

A `_target_` that such a file names is imported only from what is installed, and from modules that the user named: in
the composed config, or as `modules=[...]`. Anything else is refused before it is imported.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import site
import sysconfig
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from scoundrel_ray.settings.checks import InvalidConfig

_OURS = ("scoundrel_ray", "learners", "actors", "inference")
_HOME = Path(__file__).resolve().parents[2]
_allowed: set[str] = set()


def allow(*modules: str) -> None:
    """Import what lies in these modules, whichever file names it, from now on in this process."""
    _allowed.update(modules)


def allow_targets(settings: Any) -> None:
    """Allow the modules of all `_target_`s in settings that the user composed."""
    for _, target in _targets(settings, ""):
        allow(target.rpartition(".")[0])


def check_targets(where: str, settings: Any) -> None:
    """Refuse settings from a file that would have a foreign module imported; nothing is imported to find that out.

    Args:
        where: the file, for the message.
        settings: plain data.

    Raises:
        InvalidConfig: naming the key, its target, the file and what would allow it.
    """
    for key, target in _targets(settings, ""):
        module = target.rpartition(".")[0]
        if not (_is_allowed(target) or _is_installed(target.partition(".")[0])):
            raise InvalidConfig(
                f"{key}: got {target!r} from {where}, wanted a module that is installed: code of others may lie there; "
                f"if it is yours, allow it with modules=[{module or target}]"
            )


def _targets(settings: Any, key: str) -> Iterator[tuple[str, str]]:
    """Key and text of every `_target_`, however deep."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            own = f"{key}.{name}".lstrip(".")
            if name == "_target_" and isinstance(value, str):
                yield own, value
            yield from _targets(value, own)
    elif isinstance(settings, list | tuple):
        for number, value in enumerate(settings):
            yield from _targets(value, f"{key}[{number}]")


def _is_allowed(target: str) -> bool:
    return any(target.startswith(f"{module}.") for module in _allowed)


@functools.cache
def _is_installed(package: str) -> bool:
    """Whether a top-level module lies where packages are installed; one that is not there at all counts as such."""
    try:
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
    except ValueError:  # a module that was made by hand, such as __main__
        return False
    if spec is None or spec.origin in ("built-in", "frozen"):
        return True
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else ())]
    homes = [_HOME] if package in _OURS else [*_installed_at(), *_editable().get(package, ())]
    return all(any(Path(place).resolve().is_relative_to(home) for home in homes) for place in places)


@functools.cache
def _installed_at() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    found = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(Path(path).resolve() for path in (*found, *site.getsitepackages(), site.getusersitepackages()))


@functools.cache
def _editable() -> Mapping[str, tuple[Path, ...]]:
    """Directories of packages that were installed in place, by top-level module."""
    found: dict[str, tuple[Path, ...]] = {}
    for name, distributions in metadata.packages_distributions().items():
        for each in distributions:
            about = json.loads(metadata.distribution(each).read_text("direct_url.json") or "{}")
            if about.get("dir_info", {}).get("editable"):
                found[name] = (*found.get(name, ()), Path(unquote(urlparse(about["url"]).path)).resolve())
    return found
