"""From a policy's config to what worker processes build it from; its files are read here, so that they need none."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scoundrel_ray.missions import drivers
from scoundrel_ray.missions.lineup import PolicyConfig
from scoundrel_ray.missions.mission import Mission
from scoundrel_ray.missions.policy import Driver
from scoundrel_ray.players import Participant
from scoundrel_ray.settings.build import build, target_of
from scoundrel_ray.settings.checks import InvalidConfig

_OWN = f"{drivers.__name__}.{drivers.own.__name__}"
_PLAYER = f"{drivers.__name__}.{drivers.player.__name__}"
_TRAINED = "inference.policies.trained"


def section_of(policy: PolicyConfig, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The section that a policy's text names.

    Args:
        policy: as a config names it.
        known: sections of conf/policy by name.

    Raises:
        InvalidConfig: if it names nothing; with the nearest names.
    """
    text, data = policy.policy, dict(policy.data)
    if text in known:
        return {**known[text], **data}
    if Path(text).exists() or (":" in text and Path(text.rpartition(":")[0]).is_dir()):
        return {"_target_": _TRAINED, "weights": text, **data}
    if "." in text and "/" not in text:
        drivers.own_class(text)
        return {"_target_": _OWN, "policy": text, "data": data}
    near = difflib.get_close_matches(text, known, 3) or sorted(known)
    wanted = f"a run's directory, a weights file, a class, or a name such as {', '.join(near)}"
    raise InvalidConfig(f"policies: got {text!r}, wanted {wanted}")


def prepared(policy: PolicyConfig, section: Mapping[str, Any], mission: Mission) -> Participant:
    """A policy, made ready to act in a mission.

    Raises:
        InvalidConfig, StorageError: naming the policy, for what cannot be used there.
    """
    key = f"policies.{policy.title}"
    read = getattr(target_of(key, section, Driver), "read_by", None)
    if read is None:
        if section["_target_"] != _OWN:  # whose code runs in workers alone
            build(key, section, Driver, mission)
        return Participant(dict(section), {}, dict(section))
    try:
        return read(key, section, mission)
    except TypeError as error:
        raise InvalidConfig(f"{key}: {error}") from error
