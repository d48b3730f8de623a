"""A trained agent as a player: its network in this process, its search around it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inference.local import LocalEvaluator
from inference.model import Model
from scoundrel_ray.game import Game
from scoundrel_ray.network import load, make_network
from scoundrel_ray.players import Arrays, Participant, SearchPlayer, read_by
from scoundrel_ray.runs.directory import CONFIG, named_weights, run_and_agent, saved_config
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.searches.worlds import SHARED, check_worlds
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig, at_least

TARGET = "inference.agent.trained"


class Agent(NamedTuple):
    """What a trained agent consists of.

    Attributes:
        arrays: weights of its network.
        network, search: config sections.
    """

    arrays: Arrays
    network: dict[str, Any]
    search: dict[str, Any]

    @property
    def recorded(self) -> dict[str, Any]:
        """What records say of the agent; the digest of the weights tells it from others of the same form."""
        return {"network": self.network, "search": self.search, "weights": digest(self.arrays)}


def read_agent(
    game: Game,
    weights: str | Path | Arrays,
    network: Mapping[str, Any] | None = None,
    search: Mapping[str, Any] | None = None,
    simulations: int = 0,
    tree: str | None = None,
    worlds: int | None = None,
) -> Agent:
    """The agent that the settings of `trained` name.

    Raises:
        InvalidConfig: naming the setting that is missing or wrong, or if there is no such run or no checkpoint in it.
        StorageError: if a file cannot be read, or was made for another game.
    """
    if isinstance(weights, Mapping):
        if network is None or search is None:
            raise InvalidConfig("network, search: got null beside weights that are arrays, wanted sections")
        read = Agent(weights, dict(network), dict(search))
    elif not isinstance(weights, str | Path):
        raise InvalidConfig(f"weights: got {weights!r}, wanted a run's directory or a weights file")
    else:
        saved = named_weights(str(weights), game.spec)
        of_run = search or saved_config(_run_of(str(weights)))["evaluation_search"]
        read = Agent(saved.arrays, dict(network or saved.network), dict(of_run))
    section = agent_search(read.search, simulations, tree, worlds)
    build("search", section, SearchConfig)
    return read._replace(search=section)


def _run_of(named: str) -> Path:
    """The directory of the run that a text names, or that the weights file that it names lies in."""
    path = Path(named)
    if not path.is_file():
        return run_and_agent(named)[0]
    for directory in path.absolute().parents[:3]:  # such as <run>/checkpoints/000001/weights.safetensors
        if (directory / CONFIG).exists():
            return directory
    raise InvalidConfig(f"search: got null, wanted a section: {path} lies in no run's directory")


def _participant(
    key: str, section: Mapping[str, Any], game: Game, positions: int = 1, threads: int | None = None
) -> Participant:
    """An agent whose files were read here, so that other nodes need not have them."""
    own = {name: value for name, value in section.items() if name not in ("_target_", "positions", "threads")}
    try:
        at_least("positions", section.get("positions") or positions, 1)
        agent = read_agent(game, **{"weights": None, **own})
    except (ValueError, TypeError) as error:
        raise InvalidConfig(f"{key}: {error}") from error
    return Participant(
        {
            "_target_": section["_target_"],
            "network": agent.network,
            "search": agent.search,
            "positions": section.get("positions") or positions,
            "threads": section.get("threads") or threads,
        },
        {"weights": agent.arrays},
        agent.recorded,
    )


@read_by(_participant)
def trained(
    game: Game,
    weights: str | Path | Arrays,
    network: Mapping[str, Any] | None = None,
    search: Mapping[str, Any] | None = None,
    simulations: int = 0,
    tree: str | None = None,
    worlds: int | None = None,
    positions: int | None = None,
    threads: int | None = None,
) -> SearchPlayer:
    """A player that searches with a network, in float32, so that its play is the same on every machine of a kind.

    Args:
        game: to play; must be the one that it was trained for.
        weights: a run's directory, whose newest weights are read; or a weights file; or the arrays by name.
        network: config section; None for the weights file's own.
        search: config section; None for the `evaluation_search` of the run that the weights lie in.
        simulations: of its search; 0 for those of `search`.
        tree, worlds: of its search (see `agent_search`); None for those of `search`.
        positions: searched at once; None for 1.
        threads: of torch, for the whole process; None leaves them as they are.

    Raises:
        InvalidConfig, StorageError: see `read_agent`.
    """
    agent = read_agent(game, weights, network, search, simulations, tree, worlds)
    return network_player(game, agent.network, agent.search, agent.arrays, positions or 1, threads=threads)


def network_player(
    game: Game,
    network: Mapping[str, Any],
    search: Mapping[str, Any],
    arrays: Arrays,
    games: int,
    agent: str = "agent",
    threads: int | None = None,
) -> SearchPlayer:
    """A player that searches with a network in float32.

    Args:
        game: the rules.
        network, search: config sections.
        arrays: the network's weights.
        games: positions searched at once.
        agent: for messages.
        threads: of torch, for the whole process; None leaves them as they are.
    """
    net = make_network(network, game.spec)
    load(net, arrays)
    model = Model(net, agent=agent, precision="float32", threads=threads)
    return SearchPlayer(game, build("search", search, SearchConfig), LocalEvaluator(model), games)


def agent_search(
    search: Mapping[str, Any], simulations: int = 0, tree: str | None = None, worlds: int | None = None
) -> dict[str, Any]:
    """Section of the search that an agent plays with.

    Args:
        search: section, such as a run's `evaluation_search`.
        simulations: 0 for the section's own.
        tree: "shared" or "per_world" (see `scoundrel_ray.searches.worlds`), None for the section's own.
        worlds: redealt worlds with a tree each; None for the section's own, or for 1 if `tree` is given as "shared".

    Raises:
        InvalidSetting: naming what is wrong with the three.
    """
    at_least("simulations", simulations, 0)
    section = dict(search)
    if simulations:
        section["simulations"] = simulations
    if tree is not None:
        section |= {"tree": tree, "worlds": 1} if tree == SHARED else {"tree": tree}
    if worlds is not None:
        section["worlds"] = worlds
    if tree is not None or worlds is not None:
        check_worlds(section["tree"], section["worlds"])
    return section


def digest(arrays: Arrays) -> str:
    """16 hexadecimal digits that tell weights from others."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()[:16]
