"""What the settings of an evaluation of missions name: missions, policies, and what makes it another evaluation."""

from __future__ import annotations

import difflib
import fnmatch
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType

from scoundrel_ray.missions.lineup import Lineups
from scoundrel_ray.missions.mission import Mission, MissionConfig
from scoundrel_ray.missions.prepare import prepared, section_of
from scoundrel_ray.players import Participant
from scoundrel_ray.settings.build import composed, settings_of
from scoundrel_ray.settings.checks import InvalidConfig, at_least

_NOTED = ("scoundrel_ray", "numpy", "torch", "gymnasium", "pettingzoo", "mettagrid")


def chosen_missions(settings: Mapping[str, Any]) -> dict[str, MissionConfig]:
    """The missions that are named, wildcards and sets in place of their members; sections of their own besides."""
    entries = settings["missions"]
    if not isinstance(entries, list):
        raise InvalidConfig(f"missions: got {entries!r}, wanted a list")
    known, sets, found = _members("mission"), _members("mission_set"), {}
    for at, entry in enumerate(entries):
        if isinstance(entry, Mapping):
            own = dict(entry)
            name = own.pop("name", None)
            if not isinstance(name, str) or not name:
                raise InvalidConfig(f"missions[{at}].name: got {name!r}, wanted a name")
            found[name] = settings_of(f"missions.{name}", own, MissionConfig)
            continue
        names = _section("mission_set", entry)["missions"] if entry in sets else fnmatch.filter(known, str(entry))
        if not names:
            near = difflib.get_close_matches(str(entry), [*known, *sets], 3) or [*known, *sets]
            raise InvalidConfig(f"missions: got {entry!r}, wanted {', '.join(near)}, or a wildcard of such")
        for name in names:
            found[name] = settings_of(f"missions.{name}", _section("mission", name), MissionConfig)
    if settings["steps"]:
        at_least("steps", settings["steps"], 1)
        found = {name: MissionConfig(config.world, settings["steps"]) for name, config in found.items()}
    return found


def _members(group: str) -> list[str]:
    """Names in a group of conf/, the user's own directory included."""
    return GlobalHydra.instance().config_loader().get_group_options(group, ObjectType.CONFIG)


def _section(group: str, name: str) -> dict[str, Any]:
    return composed(hydra.compose(f"{group}/{name}"))[group]


def prepared_policies(
    lined: Lineups, missions: Mapping[str, Mission]
) -> dict[tuple[str, str], list[tuple[str, float, Participant]]]:
    """By mission and member the policies that play, title, share and what they are built from."""
    known = {name: _section("policy", name) for name in _members("policy")}
    sections = {title: section_of(policy, known) for title, policy in lined.policies.items()}
    made = {
        (title, name): prepared(policy, sections[title], mission)
        for title, policy in lined.policies.items()
        for name, mission in missions.items()
    }
    return {
        (name, lineup.member): [(each.title, each.share, made[each.title, name]) for each in lineup.policies]
        for name in missions
        for lineup in lined.each
    }


def identity_of(
    seed: int, missions: Mapping[str, MissionConfig], lined: Lineups, ready: Mapping[Any, Any]
) -> dict[str, Any]:
    """What decides what an episode is."""
    return {
        "seed": seed,
        "missions": {name: {"world": dict(each.world), "steps": each.steps} for name, each in missions.items()},
        "group": lined.group,
        "lineups": [
            {
                "member": each.member,
                "policies": [{"name": own.title, "share": own.share, "role": own.role} for own in each.policies],
            }
            for each in lined.each
        ],
        "policies": {
            f"{title} in {name}": participant.recorded
            for (name, _), policies in ready.items()
            for title, _, participant in policies
        },
    }


def versions() -> dict[str, str]:
    """What is noted beside the results."""
    found = {"python": platform.python_version()}
    for name in _NOTED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
