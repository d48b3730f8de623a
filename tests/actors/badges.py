"""An environment whose agents see nothing but their own number: what belongs to another agent shows at once."""

from typing import ClassVar

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

STEPS = 4


class Badges(ParallelEnv):
    """Agent number k observes k and gets k + 1 for whatever it does, four times."""

    metadata: ClassVar = {"name": "badges"}

    def __init__(self, agents=3):
        self.possible_agents, self.agents = [f"badge_{number}" for number in range(agents)], []

    def observation_space(self, agent):
        return spaces.MultiDiscrete([len(self.possible_agents)])

    def action_space(self, agent):
        return spaces.Discrete(2)

    def _seen(self):
        return {agent: np.array([number]) for number, agent in enumerate(self.possible_agents)}

    def reset(self, seed=None, options=None):
        self.agents, self.left = [*self.possible_agents], STEPS
        return self._seen(), {agent: {} for agent in self.agents}

    def step(self, actions):
        self.left -= 1
        before, self.agents = self.agents, self.agents if self.left else []
        rewards = {agent: float(number + 1) for number, agent in enumerate(before)}
        return self._seen(), rewards, dict.fromkeys(before, False), dict.fromkeys(before, not self.left), {
            agent: {} for agent in before
        }  # fmt: skip
