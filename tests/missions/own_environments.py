"""Environments that fail where a test wants it."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Fails(gymnasium.Env):
    """Five steps; the second one of the episode with a seed raises, gives NaN, or never ends."""

    observation_space = spaces.Box(0, 1, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, seed, what="raises"):
        self.bad, self.what = seed, what

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.steps = seed, 0
        return self.np_random.random(2).astype(np.float32), {}

    def step(self, action):
        self.steps += 1
        bad, reward = self.seed == self.bad, float(action)
        if bad and self.steps == 2:
            if self.what == "raises":
                raise ZeroDivisionError("of the world")
            if self.what == "nan":
                reward = float("nan")
        over = self.steps == 5 and not (bad and self.what == "endless")
        return self.np_random.random(2).astype(np.float32), reward, over, False, {}
