"""The actors of a run as a table, before any of them is made."""

from __future__ import annotations

from typing import Any

from actors.host import LEARNER, REPLAY, process_names
from scoundrel_ray.runs.settings import TrainConfig


def actor_graph(config: TrainConfig) -> list[dict[str, Any]]:
    """The actors of a run, with what each reserves and what flows to whom: plain rows for a table."""
    c = config.cluster
    shared = config.inference.transport != "local"
    leaves = {
        "ray": "leaves -> inference",
        "shm": "leaves -> inference (shared memory on its node)",
        "local": "leaves evaluated in its own process",
    }[config.inference.transport]
    served = "inference" if shared else "rollout"
    rows = [
        ("rollout", config.workers, c.rollout_cpus, 0.0, f"rows -> replays; {leaves}"),
        ("inference", int(shared), c.inference_cpus, c.inference_gpus, "answers of networks -> rollout"),
    ]
    for names in config.groups:
        apart = [name for name in names if config.agents[name].replay_place == "actor"]
        named, their = process_names(names), "its learner" if len(names) == 1 else "their learners"
        rows.append((named[REPLAY], int(bool(apart)), 0.0, 0.0, f"batches -> {their}"))
        rows.append((named[LEARNER], 1, c.learner_cpus, c.learner_gpus, f"weights -> {served}"))
    return [dict(zip(("actor", "count", "cpus", "gpus", "sends"), row, strict=True)) for row in rows if row[1]]
