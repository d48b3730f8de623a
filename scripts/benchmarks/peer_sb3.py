"""Stable-Baselines3 on CartPole, in a process of its own: python -m scripts.benchmarks.peer_sb3 ppo SEED EPISODES.

It prints one line of JSON: "return", the mean over held episodes of greedy play. PPO and DQN, the nearest that the
library has to IQN, with the settings for CartPole of its own collection of tuned ones, RL Baselines3 Zoo, and one
thread of torch, which is the fastest for networks of this size.
"""

from __future__ import annotations

import json
import sys
from typing import Any

_HELD = 3_000_003  # first seed of the held episodes


def learned(algorithm: str, seed: int) -> Any:
    """A trained model of "ppo" or "dqn"."""
    from stable_baselines3 import DQN, PPO
    from stable_baselines3.common.env_util import make_vec_env

    if algorithm == "ppo":
        model = PPO(
            "MlpPolicy",
            make_vec_env("CartPole-v1", n_envs=8, seed=seed),
            n_steps=32,
            batch_size=256,
            gae_lambda=0.8,
            gamma=0.98,
            n_epochs=20,
            ent_coef=0.0,
            learning_rate=lambda left: 1e-3 * left,
            clip_range=lambda left: 0.2 * left,
            seed=seed,
            device="cpu",
        )
        return model.learn(100_000)
    model = DQN(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=1, seed=seed),
        learning_rate=2.3e-3,
        batch_size=64,
        buffer_size=100_000,
        learning_starts=1000,
        gamma=0.99,
        target_update_interval=10,
        train_freq=256,
        gradient_steps=128,
        exploration_fraction=0.16,
        exploration_final_eps=0.04,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        device="cpu",
    )
    return model.learn(50_000)


def held_return(model: Any, episodes: int) -> float:
    """Mean return of greedy play in held episodes, played side by side."""
    import gymnasium
    import numpy as np

    copies: Any = gymnasium.make_vec("CartPole-v1", num_envs=episodes, vectorization_mode="sync")
    seen, _ = copies.reset(seed=[_HELD + episode for episode in range(episodes)])
    returns, going = np.zeros(episodes), np.ones(episodes, bool)
    while going.any():
        actions, _ = model.predict(seen, deterministic=True)
        seen, rewards, ended, cut, _ = copies.step(actions)
        returns += rewards * going
        going &= ~(ended | cut)
    return float(returns.mean())


def main() -> None:
    """The command."""
    import torch

    torch.set_num_threads(1)
    algorithm, seed, episodes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    model = learned(algorithm, seed)
    print(json.dumps({"return": held_return(model, episodes)}))


if __name__ == "__main__":
    main()
