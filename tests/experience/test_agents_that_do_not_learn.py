"""Agents of a world that do not learn act as those that have learned, however young the run is."""

from dataclasses import dataclass
from typing import ClassVar

from scoundrel_ray.evaluator import Constant
from scoundrel_ray.experience.behaviours import EpsilonGreedy
from scoundrel_ray.experience.rows import transition_dtype
from scoundrel_ray.experience.source import Progress, Role
from scoundrel_ray.experience.world_source import WorldSource
from tests.conftest import small_world_member

AGENTS = ("agent_0", "agent_1")


@dataclass(frozen=True)
class Noting(EpsilonGreedy):
    """Notes how far each agent is said to be."""

    agent: str = ""
    noted: ClassVar[dict[str, list[float]]] = {name: [] for name in AGENTS}

    def choose(self, evaluation, masks, rng, steps):
        self.noted[self.agent].append(self.epsilon(steps))
        return super().choose(evaluation, masks, rng, steps)


def test_only_agents_that_learn_explore_by_their_own_steps():
    world = small_world_member("world", "treasure_hunt", agents=2)
    rollout = {"workers": 1, "copies": 2, "steps": 20, "seconds": 5.0}
    source = WorldSource(world, rollout)
    spec = source.specs(AGENTS)["agent_0"]
    target = f"{Noting.__module__}.{Noting.__qualname__}"
    behaviours = {name: {"_target_": target, "agent": name, "end": 0.25, "steps": 100} for name in AGENTS}
    roles = {
        "agent_0": Role(transition_dtype(spec), behaviours["agent_0"]),
        "agent_1": Role(None, behaviours["agent_1"]),
    }
    evaluators = dict.fromkeys(AGENTS, Constant(spec.actions, spec.values))
    collector = source.collector(roles, evaluators, 0, (0, 0))
    collector.prepare(Progress(0, {"agent_0": 40, "agent_1": 40}))
    rows, _ = collector.collect()
    collector.close()
    assert set(rows) == {"agent_0"}
    assert set(Noting.noted["agent_1"]) == {0.25}
    learning = Noting.noted["agent_0"]
    assert learning[0] == 1.0 - 0.75 * 0.4 and learning == sorted(learning, reverse=True) and min(learning) < 0.7
