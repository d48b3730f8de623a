"""Learner actor: a Ray shell around a group of learners, and around their replays where those live with them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import ray

from actors.batches import OwnBatches, SentBatches
from actors.replay import TABLE_GROUPS, TableForm, Tables
from scoundrel_ray.machine import give_back_freed_memory, keep_freed_memory
from scoundrel_ray.runs.plan import AgentPlan
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import within_section
from scoundrel_ray.streams import Purpose, agent_seed, agent_stream, generator
from scoundrel_ray.symmetry import Symmetries

if TYPE_CHECKING:  # torch is loaded in the actor's process alone
    from learners.group import LearnerGroup, Member

_remote: Any = ray.remote  # type checkers do not see what it adds
_WITHOUT_REPLAY_S = 0.1  # before a stretch that its dead replay cut short ends: the supervisor replaces it meanwhile


class LearnerForm(NamedTuple):
    """What an agent's learner is made of.

    Attributes:
        plan: of the agent.
        symmetries: the guises that rows are learned from in; None for rows as they are.
        state: of a checkpoint to go on from (see `LearnerActor.state`).
        weights: float32 by name, to start from in place of fresh ones.
    """

    plan: AgentPlan
    symmetries: Symmetries | None = None
    state: Mapping[str, Any] | None = None
    weights: Mapping[str, np.ndarray] | None = None


# Stretches block a thread each. It says that it is there on a thread of its own, whatever its learners are at.
@_remote(concurrency_groups=TABLE_GROUPS, enable_task_events=False)  # pyright: ignore[reportCallIssue]
class LearnerActor(Tables):
    """Trains the networks of a group's agents, in stretches that the supervisor asks for.

    Args:
        agents: by name.
        seed: of the run.
        threads: that step them, at most one for each agent. What is left over of them goes to each, as torch's own.
        stacking: whether agents of one form are stepped together: "auto", "on", "off"; or "never", which takes no
            measure of time either, so that every run makes the same steps.
        tables: by agent, its replay if that is to live in this process.
        replay: handle of the actor that holds the other replays.
    """

    def __init__(
        self,
        agents: Mapping[str, LearnerForm],
        seed: int,
        threads: int,
        stacking: str,
        tables: Mapping[str, TableForm],
        replay: Any,
    ) -> None:
        import torch

        from learners.group import Member, shared_out

        steppers = 1 if stacking == "never" else min(threads, len(agents))
        torch.set_num_threads(threads // steppers)
        keep_freed_memory()
        super().__init__(tables, self._wake)
        self._groups: dict[str, LearnerGroup] = {}
        self._sent: dict[str, SentBatches] = {}
        members, chosen = {}, _chosen(agents, stacking, steppers)
        for name, form in agents.items():
            learner, batch_size = _learner(name, form, seed, chosen)
            version = partial(getattr, learner, "version")
            if name in tables:
                sample, stepped = partial(self._sample, name, batch_size), partial(self._stepped, name)
                batches: Any = OwnBatches(sample, version, stepped)
            else:
                arrived = partial(self._wake, name)
                batches = self._sent[name] = SentBatches(replay, name, batch_size, version, arrived)
            guises = generator(agent_stream(seed, Purpose.SYMMETRIES, name))
            members[name] = Member(learner, batches, form.symmetries, guises)
            if form.state is not None:
                members[name].restore(form.state, batch_size)
        self._groups = shared_out(
            members, [(each.names, each.stack if each.stacked else None) for each in chosen], steppers
        )
        self._gave_state = False  # since the last stretch was begun
        self._told = {name: each.sentence for each in chosen for name in each.names}
        give_back_freed_memory()

    def _wake(self, agent: str) -> None:
        if agent in self._groups:  # not before all are made
            self._groups[agent].wake()

    def train(
        self, agent: str, most_steps: int, seconds: float, ahead: bool = True
    ) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
        """See `learners.group.LearnerGroup.train`; besides, the weights that it came to, None if there was no step."""
        if self._gave_state:  # what was copied for a checkpoint is not wanted until the next
            self._gave_state = False
            give_back_freed_memory()
        report = self._groups[agent].train(agent, most_steps, seconds, ahead)
        arrays = self.weights(agent) if report["steps"] else None
        if ahead and report["steps"] < most_steps and report["total_s"] < min(seconds, _WITHOUT_REPLAY_S):
            time.sleep(_WITHOUT_REPLAY_S)
        return report, arrays

    def attach(self, agent: str, replay: Any) -> int:
        """Take an agent's batches from another actor from now on; returns the samples taken so far."""
        if agent in self._sent:
            self._sent[agent].attach(replay)
        return self.samples(agent)

    def version(self, agent: str) -> int:
        """Version of an agent's weights: steps done by the end of its last stretch."""
        return self._groups[agent].weights(agent)[0]

    def stepping(self, agent: str) -> str:
        """How an agent's steps are made, and what was measured to choose it; "" if nothing was to be chosen."""
        return self._told.get(agent, "")

    def samples(self, agent: str) -> int:
        """Samples learned from so far, as the agent's replay counts them."""
        return self._groups[agent].members[agent].samples

    def weights(self, agent: str) -> dict[str, np.ndarray]:
        """The weights of an agent that rollouts should use, of `version`."""
        return self._groups[agent].weights(agent)[1]

    def state(self, agent: str) -> dict[str, Any]:
        """All that a checkpoint needs of an agent to go on bit for bit."""
        self._gave_state = True
        return self._groups[agent].state(agent)


class _Alike(NamedTuple):
    """Agents of one form, and how they are stepped.

    Attributes:
        names: of the agents.
        settings: of their learners.
        stacked: whether those of a thread are stepped together.
        sentence: what was measured.
    """

    names: list[str]
    settings: Any
    stacked: bool
    sentence: str

    def stack(self, members: Sequence[Member]) -> Any:
        """What steps them together."""
        return self.settings.stack([member.learner for member in members])


def _chosen(agents: Mapping[str, LearnerForm], stacking: str, steppers: int) -> list[_Alike]:
    """Agents by their form, each with the fastest way to step them, or the way that is asked for.

    What is timed are as many as one of so many threads steps.
    """
    from learners.learner import LearnerSettings
    from learners.stacking import fastest

    forms: list[tuple[Any, list[str]]] = []
    for name, form in agents.items():
        own = (form.plan.spec, form.plan.network, form.plan.learner)
        alike = next((names for known, names in forms if known == own), None)
        if alike is None:
            forms.append((own, [name]))
        else:
            alike.append(name)
    found = []
    for (spec, network, section), names in forms:
        settings: Any = build(f"agents.{names[0]}.learner", section, LearnerSettings)
        timed = getattr(settings, "precision", "") == "auto"
        together = len(names) > 1 and hasattr(settings, "stack")
        if stacking == "never":
            settings = dataclasses.replace(settings, precision="float32") if timed else settings
            found.append(_Alike(names, settings, False, ""))
        elif stacking == "auto" and together:
            choice = fastest(settings, spec, network, -(-len(names) // steppers))
            settings = dataclasses.replace(settings, precision=choice.precision) if timed else settings
            found.append(_Alike(names, settings, choice.stacked, choice.sentence))
        else:
            found.append(_Alike(names, settings, stacking == "on" and together, ""))
    return found


def _learner(name: str, form: LearnerForm, seed: int, chosen: Sequence[_Alike]) -> tuple[Any, int]:
    """A fresh learner, and the rows of its batches."""
    from scoundrel_ray.network import load, make_network

    plan = form.plan
    settings = next(each.settings for each in chosen if name in each.names)
    network = make_network(plan.network, plan.spec, agent_seed(seed, Purpose.NETWORK, name))
    if form.weights is not None:
        load(network, form.weights)
    with within_section(f"agents.{name}.learner"):
        return settings.make(network, agent_seed(seed, Purpose.LEARNER, name)), settings.batch_size
