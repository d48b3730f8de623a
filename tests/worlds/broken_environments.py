"""Environments of PettingZoo that break its contract, or fail, when they are told to."""

import threading
from typing import ClassVar

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from tests.worlds.tiny_environments import Passing


class Growing(Passing):
    """A fourth agent is there from the second action on, and acts next."""

    def __init__(self):
        super().__init__()
        self.possible_agents = [*self.possible_agents, "agent_3"]

    def reset(self, seed=None, options=None):
        super().reset(seed, options)
        self.agents.remove("agent_3")

    def step(self, action):
        super().step(action)
        if self.made == 2:
            self.agents.append("agent_3")
            self.agent_selection = "agent_3"


class Vanishing(Passing):
    """All agents are gone after the second action, and none has ended."""

    def step(self, action):
        super().step(action)
        if self.made == 2:
            self.agents = []


class Broken(ParallelEnv):
    """Two agents for 4 steps; episodes of an odd seed, or all, are `how` broken at step `at` (0: as they begin)."""

    metadata: ClassVar = {"name": "broken_v0"}
    closed = 0

    def __init__(self, how, at=2, odd=False):
        self.possible_agents, self.agents, self.how, self.at, self.odd = ["a_0", "a_1", "a_2"], [], how, at, odd
        self.observation = spaces.Box(0, 10, (1,), np.float32 if "float" in how else np.int32)
        self.action = spaces.Discrete(2)
        self.failed = False

    def observation_space(self, agent):
        return self.observation

    def action_space(self, agent):
        return self.action

    def close(self):
        Broken.closed += 1
        raise RuntimeError("it cannot be closed")

    def reset(self, seed=None, options=None):
        assert not self.failed, "one that failed is used again"
        self.turn, self.seed, self.agents = 0, seed, ["a_0", "a_1"]
        if self.how == "nobody":
            self.agents = []
        elif self.how == "unknown":
            self.agents = ["a_0", "a_7"]
        observations = {agent: np.zeros(1, self.observation.dtype) for agent in self.agents}
        infos = {agent: {} for agent in self.agents}
        if self.at == 0:
            self.breaks(observations, {"a_1": 0}, {}, {}, infos)
        return observations, infos

    def step(self, actions):
        self.turn += 1
        observations = {agent: np.full(1, self.turn, self.observation.dtype) for agent in self.agents}
        rewards, infos = dict.fromkeys(self.agents, 1.0), {agent: {} for agent in self.agents}
        ends = dict.fromkeys(self.agents, self.turn == 4)
        never = dict.fromkeys(self.agents, False)
        if self.turn == 4:
            self.agents = []
        if self.how == "comes back" and "a_1" in self.agents and self.turn == 2:
            self.agents.remove("a_1")
            ends["a_1"] = True
        elif self.how == "comes back" and self.turn == 3:
            self.agents = ["a_0", "a_1"]
        if self.turn == self.at:
            self.breaks(observations, rewards, never, ends, infos)
        return observations, rewards, never, ends, infos

    def breaks(self, observations, rewards, terminations, truncations, infos):
        if self.odd and self.seed % 2 == 0:
            return
        self.failed = True
        if self.how == "raises":
            raise RuntimeError("two\nlines")
        if self.how == "nan reward":
            rewards["a_1"] = float("nan")
        elif self.how == "infinite reward":
            rewards["a_1"] = 1e39
        elif self.how == "no number":
            rewards["a_1"] = "many"
        elif self.how == "no reward":
            del rewards["a_1"]
        elif self.how == "float nan":
            observations["a_1"][0] = np.nan
        elif self.how == "float infinity":
            observations["a_1"][0] = -np.inf
        elif self.how == "dtype":
            observations["a_1"] = np.zeros(1, np.float32)
        elif self.how == "text":
            observations["a_1"] = np.array(["x"])
        elif self.how == "shape":
            observations["a_1"] = np.zeros(2, np.int32)
        elif self.how == "bounds":
            observations["a_1"][0] = 11
        elif self.how == "no observation":
            del observations["a_1"]
        elif self.how == "mask":
            infos["a_1"]["action_mask"] = np.zeros(2)
        elif self.how == "long mask":
            infos["a_1"]["action_mask"] = np.ones(3)
        elif self.how == "appears":
            self.agents.append("a_2")
        elif self.how == "leaves":
            self.agents.remove("a_1")
        elif self.how == "unseen end":
            self.agents.remove("a_1")
            truncations["a_1"] = True
            del observations["a_1"]


class Waiting(Broken):
    """Waits in its second step until it is told to go on."""

    entered, go_on = threading.Event(), threading.Event()

    def __init__(self):
        super().__init__("", at=-1)

    def step(self, actions):
        if self.turn == 1:
            self.entered.set()
            assert self.go_on.wait(60)
        return super().step(actions)
