"""Lineups: which policies play together in an evaluation, by what shares, and what they are called.

Policies that are named side by side act in the same episodes, each for its share of the agents. A *group* names
several, its members: each in turn takes the group's place, in all episodes, so that what is said of the group is said
over its members.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from scoundrel_ray.settings.build import settings_of
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting, one_of, within_section

FOCAL, BACKGROUND = "focal", "background"


@dataclass(frozen=True)
class PolicyConfig:
    """A policy as a config names it; a text alone is its `policy`.

    Attributes:
        policy: name of a member of conf/policy; a run's directory, or one of its agents (runs/a:name); a weights file;
            or the dotted path of a class (see `scoundrel_ray.missions.policy`).
        name: that results call it by; "" for the policy's own.
        share: of the agents, beside the other policies' shares.
        role: "focal", "background", or "" for neither: agents are then not told apart by it.
        data: settings that it is built with.
    """

    policy: str
    name: str = ""
    share: float = 1.0
    role: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.policy:
            raise InvalidSetting("policy", "got nothing, wanted a name, a path or a class")
        if isinstance(self.share, bool) or not math.isfinite(self.share) or self.share < 0:
            raise InvalidSetting("share", f"got {self.share!r}, wanted a number >= 0")
        one_of("role", self.role, ("", FOCAL, BACKGROUND))
        if not isinstance(self.data, Mapping):
            raise InvalidSetting("data", f"got {self.data!r}, wanted settings")

    @property
    def title(self) -> str:
        """What results call it."""
        return self.name or self.policy.rstrip("/")


class Lineup(NamedTuple):
    """Policies that play together.

    Attributes:
        member: name of the group's member that plays in it; "" without a group.
        policies: by number.
    """

    member: str
    policies: tuple[PolicyConfig, ...]

    @property
    def shares(self) -> list[float]:
        """Of the agents."""
        return [each.share for each in self.policies]


class Lineups(NamedTuple):
    """All lineups of an evaluation.

    Attributes:
        each: one, or one for each member of the group.
        group: name of the group, "" without one.
    """

    each: tuple[Lineup, ...]
    group: str

    @property
    def policies(self) -> dict[str, PolicyConfig]:
        """All policies by title."""
        return {policy.title: policy for lineup in self.each for policy in lineup.policies}

    @property
    def groups(self) -> dict[str, str]:
        """For titles of the group's members, the group's name."""
        return {lineup.member: self.group for lineup in self.each if self.group}


def lineups(entries: Any) -> Lineups:
    """The lineups of a list of policies: texts, sections of a policy, or one `{group: name, of: [...]}` among them.

    Raises:
        InvalidConfig: naming the entry.
    """
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise InvalidConfig(f"policies: got {entries!r}, wanted a list of at least one")
    places: list[list[PolicyConfig]] = []
    group = ""
    for at, entry in enumerate(entries):
        key = f"policies[{at}]"
        if isinstance(entry, Mapping) and "group" in entry:
            if group:
                raise InvalidConfig(f"{key}: got a second group, wanted one at most")
            group, members = _group(key, entry)
            places.append(members)
        else:
            places.append([_policy(key, entry)])
    counts = max(map(len, places))
    each = []
    for number in range(counts):
        policies = tuple(own[number] if len(own) > 1 else own[0] for own in places)
        member = next((own[number].title for own in places if len(own) > 1), "")
        titles = [policy.title for policy in policies]
        if len(set(titles)) < len(titles):
            twice = next(title for title in titles if titles.count(title) > 1)
            raise InvalidConfig(f"policies: got {twice} twice, wanted different names (name=)")
        if not sum(policy.share for policy in policies) > 0:
            raise InvalidConfig("policies: got shares that sum to 0, wanted one above it at least")
        each.append(Lineup(member, policies))
    return Lineups(tuple(each), group)


def _policy(key: str, entry: Any) -> PolicyConfig:
    if isinstance(entry, str):
        entry = {"policy": entry}
    if not isinstance(entry, Mapping):
        raise InvalidConfig(f"{key}: got {entry!r}, wanted a name, or settings of a policy")
    if "policy" not in entry:
        raise InvalidConfig(f"{key}: got {dict(entry)!r}, wanted policy= or group= in it")
    return settings_of(key, entry, PolicyConfig)


def _group(key: str, entry: Mapping[str, Any]) -> tuple[str, list[PolicyConfig]]:
    unknown = [name for name in entry if name not in ("group", "of", "share", "role")]
    if unknown:
        raise InvalidConfig(f"{key}.{unknown[0]}: unknown; known are group, of, share, role")
    name, members = entry["group"], entry.get("of")
    if not isinstance(name, str) or not name:
        raise InvalidConfig(f"{key}.group: got {name!r}, wanted a name")
    if not isinstance(members, Sequence) or isinstance(members, str) or len(members) < 2:
        raise InvalidConfig(f"{key}.of: got {members!r}, wanted a list of two policies or more")
    shared = {field: entry[field] for field in ("share", "role") if field in entry}
    made = []
    for at, member in enumerate(members):
        section = {"policy": member} if isinstance(member, str) else member
        if not isinstance(section, Mapping):
            raise InvalidConfig(f"{key}.of[{at}]: got {member!r}, wanted a name, or settings of a policy")
        made.append(_policy(f"{key}.of[{at}]", {**section, **shared}))
    with within_section(key):
        titles = [each.title for each in made]
        if len(set(titles)) < len(titles):
            raise InvalidSetting("of", f"got {titles}, wanted different members")
    return name, made
