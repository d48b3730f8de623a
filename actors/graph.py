"""The actors of a run as a table, before any of them is made."""

from __future__ import annotations

from typing import Any

from actors.host import group_name
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
        several, group = "s" if len(names) > 1 else "", group_name(names)
        apart = sum(config.agents[name].replay_place == "actor" for name in names)
        if apart:
            rows.append((f"replay{several} of {group}", 1, 0.0, 0.0, "batches -> learners"))
        own = "" if apart == len(names) else "batches of its own replays; "
        rows.append((f"learner{several} of {group}", 1, c.learner_cpus, c.learner_gpus, f"{own}weights -> {served}"))
    return [dict(zip(("actor", "count", "cpus", "gpus", "sends"), row, strict=True)) for row in rows if row[1]]
