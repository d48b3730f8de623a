"""A server from config sections, wherever it is to run: in an actor for all workers, or in each worker."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from inference.server import InferenceServer, static_sizes
from scoundrel_ray.game import Game
from scoundrel_ray.runs.settings import InferenceConfig


def make_server(
    game: Game, network: Mapping[str, Any], config: InferenceConfig, agents: Sequence[str]
) -> InferenceServer:
    """A server without weights; torch is imported here and not before.

    Args:
        game: that the network reads and plays.
        network: config section.
        config: of the inference.
        agents: names of those served, each with weights of its own.
    """
    # Read once, when torch is loaded; Ray sets it by an actor's num_cpus, which may be 0.
    os.environ["OMP_NUM_THREADS"] = "1"
    from inference.model import Model
    from scoundrel_ray.network import make_network

    built = make_network(network, game)
    models: dict[str, Model] = {}
    for agent in agents:
        # Timed once: agents that meet in a match should answer in the same precision.
        precision = models[agents[0]].precision if models else config.precision
        models[agent] = Model(
            built,
            agent=agent,
            precision=precision,
            batch_sizes=static_sizes(config),
            device=config.device,
            threads=1,  # of torch: the server has threads of its own
        )
    return InferenceServer(models, config)
