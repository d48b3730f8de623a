"""A server from config sections, wherever it is to run: in an actor for all workers, or in each worker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from inference.server import InferenceServer, static_sizes
from scoundrel_ray.machine import give_back_freed_memory
from scoundrel_ray.runs.settings import InferenceConfig
from scoundrel_ray.spec import Spec


class Served(NamedTuple):
    """Form of an agent's network.

    Attributes:
        spec: of the world that it reads and answers for.
        network: config section.
    """

    spec: Spec
    network: Mapping[str, Any]


def make_server(agents: Mapping[str, Served], config: InferenceConfig) -> InferenceServer:
    """A server without weights; torch is imported here and not before.

    Args:
        agents: those served by name, each with weights of its own.
        config: of the inference.
    """
    # Read once, when torch is loaded; Ray sets it by an actor's num_cpus, which may be 0.
    os.environ["OMP_NUM_THREADS"] = "1"
    from inference.model import Model
    from scoundrel_ray.network import make_network

    models: dict[str, Model] = {}
    for agent, served in agents.items():
        # Timed once for each form: equal agents that meet at a table should answer in the same precision.
        equal = [models[other].precision for other, known in agents.items() if other in models and known == served]
        precision = equal[0] if equal else config.precision
        models[agent] = Model(
            make_network(served.network, served.spec),
            agent=agent,
            precision=precision,
            batch_sizes=static_sizes(config),
            device=config.device,
            threads=1,  # of torch: the server has threads of its own
        )
    give_back_freed_memory()
    return InferenceServer(models, config)
