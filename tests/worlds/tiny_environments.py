"""Environments of PettingZoo and Gymnasium, each small enough to be worked out by hand."""

from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import aec_to_parallel

from scoundrel_ray.worlds import treasure_hunt
from scoundrel_ray.worlds.to_pettingzoo import aec_env, parallel_env
from tests.worlds import stairs


class Market(ParallelEnv):
    """Two agents that are not alike: the buyer leaves (terminated) after 3 steps, the seller (truncated) after 5.

    Prices are drawn from the episode's seed. The seller's mask stands in its info after every odd step.
    """

    metadata: ClassVar = {"name": "tests/market v0"}  # not a name for files
    possible_agents: ClassVar = ["buyer", "seller"]

    def __init__(self, buyer_steps=3, seller_steps=5):
        self.steps = {"buyer": buyer_steps, "seller": seller_steps}
        self.agents = []
        parts = {
            "price": spaces.Box(np.array([0, 0, -1]), np.array([1, 1, np.inf]), dtype=np.float64),
            "good": spaces.Discrete(3, start=-1),
            "signs": spaces.Tuple((spaces.MultiBinary(2), spaces.MultiDiscrete([2, 3]))),
        }
        seller = spaces.Dict({"observation": spaces.MultiDiscrete([4, 5, 200], start=[0, 1, 2])})
        self._observation = {"buyer": spaces.Dict(parts), "seller": seller}
        self._action = {"buyer": spaces.Discrete(3, start=5), "seller": spaces.MultiDiscrete([2, 3], start=[0, 1])}

    def observation_space(self, agent):
        return self._observation[agent]

    def action_space(self, agent):
        return self._action[agent]

    def answers(self):
        drawn = self.dice.integers(0, 1000)
        buyer = {
            "price": np.array([drawn / 1000, 0.5, self.turn]), "good": int(drawn % 3 - 1),
            "signs": (np.array([1, drawn % 2], np.int8), np.array([drawn % 2, 2])),
        }  # fmt: skip
        return {"buyer": buyer, "seller": {"observation": np.array([drawn % 4, 5, 2 + drawn % 200])}}

    def reset(self, seed=None, options=None):
        self.dice, self.turn, self.agents = np.random.default_rng(seed), 0, list(self.possible_agents)
        return self.answers(), {agent: {} for agent in self.agents}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        for agent, action in actions.items():
            assert self._action[agent].contains(action), (agent, action)
        self.turn += 1
        before, self.agents = self.agents, [agent for agent in self.agents if self.turn < self.steps[agent]]
        rewards = {"buyer": np.float64(actions.get("buyer", 0)) / 10, "seller": sum(actions["seller"] * [10, 1])}
        gone = {agent: agent not in self.agents for agent in before}
        info = {"action_mask": np.array([1, 0, 1, 0, 1, 1], bool)}
        return (
            {agent: self.answers()[agent] for agent in before},
            {agent: rewards[agent] for agent in before},
            {agent: gone[agent] and agent == "buyer" for agent in before},
            {agent: gone[agent] and agent == "seller" for agent in before},
            {agent: info if agent == "seller" and self.turn % 2 else {} for agent in before},
        )


class Passing(AECEnv):
    """Three agents in turn: action k pays k + 1 to each other agent and a half to who acts.

    agent_1 terminates after its second action; all others are truncated after `moves` actions. With `first`, those that
    ended are selected at once, else when their turn comes. The mask of agent_2 stands in its observation.
    """

    metadata: ClassVar = {"name": "passing_v0"}

    def __init__(self, moves=10, first=True):
        super().__init__()
        self.possible_agents, self.moves, self.first = ["agent_0", "agent_1", "agent_2"], moves, first
        self.agents = []
        self.plain, self.action = spaces.Box(0, 50, (2,), np.int64), spaces.Discrete(3)
        self.with_mask = spaces.Dict({"observation": self.plain, "action_mask": spaces.Box(0, 1, (3,), np.int8)})

    def observation_space(self, agent):
        return self.with_mask if agent == "agent_2" else self.plain

    def action_space(self, agent):
        return self.action

    def observe(self, agent):
        seen = np.array([self.made, self.taken[agent]])
        mask = np.array([1, self.made % 2, 1], np.int8)
        return {"observation": seen, "action_mask": mask} if agent == "agent_2" else seen

    def reset(self, seed=None, options=None):
        self.agents, self.made, self._skip_agent_selection = list(self.possible_agents), 0, None
        self.taken = dict.fromkeys(self.agents, 0)
        self.rewards, self._cumulative_rewards = dict.fromkeys(self.agents, 0), dict.fromkeys(self.agents, 0)
        self.terminations, self.truncations = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self.agent_selection = self.agents[0]

    def step(self, action):
        name = self.agent_selection
        after = self.agents[(self.agents.index(name) + 1) % len(self.agents)]
        if self.terminations[name] or self.truncations[name]:
            self._was_dead_step(action)
            if not self.first and self.agents:
                self.agent_selection = after
            return
        self._cumulative_rewards[name] = 0
        self.made, self.taken[name] = self.made + 1, self.taken[name] + 1
        for agent in self.agents:
            self.rewards[agent] = 0.5 if agent == name else int(action) + 1
            self.terminations[agent] |= agent == "agent_1" and self.taken[agent] == 2
            self.truncations[agent] = self.made >= self.moves and not self.terminations[agent]
        self._accumulate_rewards()
        self.agent_selection = after
        if self.first:
            self._deads_step_first()


class Spelling(gymnasium.Env):
    """Two letters a step, in an order that `observation["next"]` asks for; masks stand in the observation."""

    def __init__(self, length=4, tuple_mask=False):
        self.length, self.tuple_mask = length, tuple_mask
        self.action_space = spaces.MultiDiscrete([2, 3])
        mask = spaces.Tuple((spaces.MultiBinary(2), spaces.MultiBinary(3))) if tuple_mask else spaces.MultiBinary(6)
        parts = {"next": spaces.Discrete(6), "left": spaces.Box(-1, 9, (), np.int64), "action_mask": mask}
        self.observation_space = spaces.Dict(parts)

    def seen(self):
        mask = np.array([1, 1, 1, 1, 1, self.wanted == 5], np.int8)
        if self.tuple_mask:
            mask = (np.array([1, 1], np.int8), np.array([1, self.wanted % 3 == 1, 1], np.int8))
        return {"next": np.int64(self.wanted), "left": self.left, "action_mask": mask}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.wanted, self.left = self.np_random.integers(6), self.length
        return self.seen(), {}

    def step(self, action):
        right = (action == [self.wanted // 3, self.wanted % 3]).all()
        self.wanted, self.left = self.np_random.integers(6), self.left - 1
        return self.seen(), 1.0 if right else -0.25, not right, self.left == 0, {}


class Continuous(Spelling):
    """Its actions are numbers."""

    def __init__(self):
        super().__init__()
        self.action_space = spaces.Box(-1, 1, (2,))


class Odometers(VectorEnv):
    """Copies that count to their own limit, drawn from their seed, by 1 or 2; 2 is masked at 2, 4, 8 and 10."""

    metadata: ClassVar = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, num_envs, most=9, breaks_at=0, how="raises", mode="DISABLED"):
        self.num_envs, self.most, self.breaks_at, self.how, self.calls = num_envs, most, breaks_at, how, 0
        self.metadata = {"autoreset_mode": AutoresetMode[mode]} if mode else {}
        self.single_observation_space = spaces.Dict(
            {"count": spaces.Discrete(12), "limit": spaces.Box(0, 9, (1,), int)}
        )
        self.single_action_space = spaces.Discrete(2, start=1)
        self.counts = self.limits = np.zeros(num_envs, np.int64)

    def seen(self):
        mask = np.stack([np.ones(self.num_envs), self.counts % 2], axis=1)
        infos = {"action_mask": mask, "_action_mask": self.counts % 3 != 0}
        return {"count": self.counts.copy(), "limit": self.limits[:, None]}, infos

    def reset(self, *, seed=None, options=None):
        if options and self.how == "raises when reset":
            raise RuntimeError("stuck")
        chosen = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self.counts = np.where(chosen, 0, self.counts)
        drawn = [np.random.default_rng(each).integers(2, self.most + 1) for each in seed]
        self.limits = np.where(chosen, drawn, self.limits)
        if options and self.how == "wrong when reset":
            self.counts[chosen] = 99
        return self.seen()

    def step(self, actions):
        self.calls += 1
        self.counts = self.counts + actions
        rewards = actions.astype(float)
        if self.calls == self.breaks_at:
            if self.how == "raises":
                raise RuntimeError("out of order")
            rewards[1] = np.nan
        observations, infos = self.seen()
        return observations, rewards, self.counts > self.limits, self.counts >= self.limits, infos


def untold():
    """Does not say what it makes."""
    raise AssertionError("called")


def env(moves=10):
    """Made, as it is named by PettingZoo's convention."""
    return Passing(moves)


def parallel_stairs(agents: int = 3, turns: int = 6) -> ParallelEnv:
    """A world of this project, there and back."""
    return parallel_env(stairs.make(agents, turns))


def stairs_in_turn(agents: int = 3, turns: int = 6) -> AECEnv:
    """The same, its agents asked one after another."""
    return aec_env(stairs.make(agents, turns))


def hunt(agents: int = 3, size: int = 7, turns: int = 6, spawn: float = 0.1) -> AECEnv[str, np.ndarray, int]:
    """A world of turns, there and back."""
    return aec_env(treasure_hunt.make(agents=agents, size=size, turns=turns, spawn=spawn))


def parallel_hunt(agents: int = 3, size: int = 7, turns: int = 6, spawn: float = 0.1) -> ParallelEnv:
    """The same, made parallel by PettingZoo."""
    return aec_to_parallel(hunt(agents, size, turns, spawn))
