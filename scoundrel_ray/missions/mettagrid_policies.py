"""mettagrid's own policies in missions of its worlds."""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from scoundrel_ray.missions.mission import Mission
from scoundrel_ray.missions.policy import Body, Driver, OwnPolicies, told
from scoundrel_ray.players import Participant, read_by
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.worlds.environments import needed
from scoundrel_ray.worlds.from_mettagrid import EXTRA, config_of

_NO_FEATURE = 0xFF  # of tokens from the first empty one on
_WORLD = "scoundrel_ray.worlds.from_mettagrid.make"


def _prepared(key: str, section: Mapping[str, Any], mission: Mission) -> Participant:
    """The policy with a digest of its weights, by which results tell it from others."""
    settings = {name: value for name, value in section.items() if name != "_target_"}
    driver(mission, **settings)
    recorded, weights = dict(section), settings.get("data", {}).get("weights")
    if weights is not None:
        try:
            recorded["digest"] = hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:16]
        except (OSError, TypeError) as error:
            raise InvalidConfig(f"{key}.data.weights: cannot read {weights!r}: {error}") from error
    return Participant(dict(section), {}, recorded)


@read_by(_prepared)
def driver(mission: Mission, policy: str, data: Mapping[str, Any] = MappingProxyType({})) -> Driver:
    """A policy of mettagrid's kind.

    Args:
        mission: of a world of mettagrid's.
        policy: dotted path of a class that derives from `mettagrid.policy.policy.MultiAgentPolicy`, or a name that such
            a class has registered.
        data: settings that it is built with; `weights` names a file that the class loads, in whatever way it does that:
            name files alone that you trust.

    Raises:
        InvalidConfig: for another mission, or what is no such class.
    """
    section: Any = mission.world
    if section.section.get("_target_") != _WORLD:
        raise InvalidConfig(f"policy {policy}: plays mettagrid's worlds, and mission {mission.name} is none")
    config = config_of(**{name: value for name, value in section.section.items() if name != "_target_"})
    interface = needed("mettagrid.policy.policy_env_interface", EXTRA).PolicyEnvInterface.from_mg_cfg(config)
    kind = policy_class(policy)
    settings = {name: value for name, value in data.items() if name != "weights"}

    def make(body: Body) -> _Policy:
        made = kind(interface, **settings)
        if "weights" in data:
            made.load_policy_data(data["weights"])
        return _Policy(made.agent_policy(body.number), body, interface, config)

    return OwnPolicies(make)


def policy_class(policy: str) -> Any:
    """The class that a dotted path or a registered name names.

    Raises:
        InvalidConfig: if there is none, or it is of another kind.
    """
    base = needed("mettagrid.policy.policy", EXTRA).MultiAgentPolicy
    loader = needed("mettagrid.policy.loader", EXTRA)
    try:
        found = pkgutil.resolve_name(loader.resolve_policy_class_path(policy))
    except Exception as error:  # whatever the module raises
        raise InvalidConfig(f"policy {policy}: cannot be imported: {told(error)}") from error
    if not isinstance(found, type) or not issubclass(found, base):
        raise InvalidConfig(f"policy {policy}: wanted a class that derives from mettagrid's MultiAgentPolicy")
    return found


class _Policy:
    """A policy of one agent, asked with numbers (see `scoundrel_ray.missions.policy.Policy`)."""

    def __init__(self, own: Any, body: Body, interface: Any, config: Any) -> None:
        self._interface = needed("mettagrid.simulator.interface", EXTRA)
        self._own, self._number = own, body.number
        self._features = {feature.id: feature for feature in config.game.id_map().features()}
        self._actions = {name: number for number, name in enumerate(interface.action_names)}
        own.reset()

    def act(self, observation: np.ndarray, mask: np.ndarray) -> int:
        """The number of its action; one that it names for vibes alone leaves the agent where it is."""
        tokens = observation.reshape(-1, 3)
        empty = np.flatnonzero(tokens[:, 1] == _NO_FEATURE)
        tokens = tokens[: empty[0]] if len(empty) else tokens
        seen = [
            self._interface.ObservationToken(
                feature=self._features[int(token[1])], value=int(token[2]), raw_token=tuple(token.tolist())
            )
            for token in tokens
        ]
        action = self._own.step(self._interface.AgentObservation(agent_id=self._number, tokens=seen))
        return self._actions.get(action.name, 0)
