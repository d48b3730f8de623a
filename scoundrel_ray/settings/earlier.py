"""Settings that earlier versions wrote down, as this version reads them.

A search had no `tree`: `worlds: 0` meant one tree over many worlds, and any other number a tree for each of so many
worlds. Gumbel search called the scale of its noise `noise_share`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_GUMBEL = "scoundrel_ray.searches.gumbel.Gumbel"
_SEARCHES = {
    "scoundrel_ray.searches.uct.Uct",
    "scoundrel_ray.searches.puct.Puct",
    _GUMBEL,
    "actors.shards.uct",
}


def current(settings: Any) -> Any:
    """Settings in which every section of a search, however deep, is as this version reads it; the rest is the same."""
    if isinstance(settings, Mapping):
        target = settings.get("_target_")
        known = isinstance(target, str) and target in _SEARCHES
        return {key: current(value) for key, value in (_renamed(settings, target) if known else settings).items()}
    return [current(each) for each in settings] if isinstance(settings, list) else settings


def current_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run as this version reads them: its sections, and its curriculum, whose stages name no member."""
    found = current(config)
    search, stages = config.get("search"), config.get("curriculum")
    if isinstance(search, Mapping) and isinstance(stages, list):
        target = search.get("_target_")
        if target in _SEARCHES and "tree" not in search:
            found["curriculum"] = [_renamed(each, target) if isinstance(each, Mapping) else each for each in stages]
    return found


def _renamed(section: Mapping[str, Any], target: Any) -> dict[str, Any]:
    """A search's settings, or a stage's of them, by their names and values of today."""
    found: dict[str, Any] = {}
    for name, value in section.items():
        if name == "worlds" and "tree" not in section:
            found |= {"tree": "per_world" if value else "shared", "worlds": value or 1}
        elif name == "noise_share" and target == _GUMBEL:
            found["noise_scale"] = value
        else:
            found[name] = value
    return found
