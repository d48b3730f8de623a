"""A worker's evaluators to inference actors: agents of one form that one actor serves are asked together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

from inference.remote import RemoteEvaluator
from inference.segment import Shape
from inference.shm import ShmEvaluator
from inference.shm_directory import Attachment
from scoundrel_ray.evaluator import AgentEvaluator, EvaluatorGone
from scoundrel_ray.runs.settings import InferenceConfig


def evaluators_to(
    servers: Mapping[str, Any], config: InferenceConfig, client: str, shapes: Mapping[str, Shape]
) -> dict[str, AgentEvaluator]:
    """An evaluator for each agent; a joint evaluator is behind those of equal shapes that one actor serves.

    Args:
        servers: by agent, handle of an `inference.actor.InferenceActor`.
        config: of the inference; its transport is not "local".
        client: who asks.
        shapes: by agent, what can be under way of it and the others that it shares a segment with.

    Raises:
        EvaluatorGone: if shared memory is wanted and an actor did not answer within the deadline.
    """
    together: dict[tuple[Any, Shape], list[str]] = {}
    for agent, shape in shapes.items():
        together.setdefault((servers[agent], shape), []).append(agent)
    found: dict[str, AgentEvaluator] = {}
    for (actor, shape), agents in together.items():
        if config.transport == "shm":
            joint = through_actor(actor, client, agents, config.request_deadline_s, shape)
        else:
            joint = RemoteEvaluator(actor, client, config.request_deadline_s)
        found |= {agent: AgentEvaluator(joint, agent) for agent in agents}
    return {agent: found[agent] for agent in shapes}


def through_actor(actor: Any, client: str, agents: Sequence[str], deadline_s: float, shape: Shape) -> ShmEvaluator:
    """A joint evaluator that asks an inference actor: through shared memory if it is on this node, else by calls.

    Args:
        actor: handle of an `inference.actor.InferenceActor`.
        client, agents, deadline_s: see `ShmEvaluator`.
        shape: how much can be under way; its number of agents is that of `agents`, whatever it says.

    Raises:
        EvaluatorGone: if the actor did not answer within the deadline.
    """
    node, shape = ray.get_runtime_context().get_node_id(), shape._replace(agents=len(agents))

    def attach(seconds: float) -> Attachment:
        asked = actor.attach.remote(client, list(agents), node, os.getpid(), tuple(shape))
        try:
            answer: Any = ray.get(asked, timeout=seconds)
        except GetTimeoutError:
            raise EvaluatorGone("gave no answer") from None
        except RayActorError as error:
            raise EvaluatorGone(f"is down ({str(error).strip().partition(chr(10))[0]})") from None
        return Attachment(*answer)

    calls = RemoteEvaluator(actor, client, deadline_s)
    return ShmEvaluator(attach, calls, client, agents, deadline_s, shape)
