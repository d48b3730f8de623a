"""How much better actions turned out than the value of where they were taken: GAE, and V-trace's correction of it.

Legend: n fragments, T own steps of a fragment at most (see `scoundrel_ray.experience.rows.fragment_dtype`).

**Source:** Schulman et al. 2016, "High-dimensional continuous control using generalized advantage estimation",
equation 16; Espeholt et al. 2018, "IMPALA: Scalable distributed deep-RL with importance weighted actor-learner
architectures", equation 1 and remark 2. With delta_t = r_t + g V_t+1 - V_t and x_t = pi(a_t) / mu(a_t):

    v_t - V_t = min(rho, x_t) delta_t + g l min(c, x_t) (v_t+1 - V_t+1)        the target of the value
    A_t = delta_t + g l (v_t+1 - V_t+1)                                        the advantage of the action

where all x are 1, the first is TD(l)'s target and the second is GAE.

**Departs:** IMPALA's advantage is r_t + g v_t+1 - V_t times min(rho, x_t). Here l weighs what follows, as in GAE, which
is the same at l = 1; and x_t is left to the loss, which weighs the action by it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scoundrel_ray.spec import TERMINATED


class Advantages(NamedTuple):
    """Of every step; 0 where a fragment has none.

    Attributes:
        advantages: [n, T] float64, of what was done.
        targets: [n, T] float64, what the value should have been.
    """

    advantages: np.ndarray
    targets: np.ndarray


def there(steps: np.ndarray, length: int) -> np.ndarray:
    """Which entries stand for a step: [n, length] bool, where fragments have `steps` [n]."""
    return np.arange(length) < steps[:, None]


def advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    steps: np.ndarray,
    end: np.ndarray,
    discount: float,
    gae_lambda: float,
    ratios: np.ndarray | None = None,
    rho_clip: float = 1.0,
    c_clip: float = 1.0,
) -> Advantages:
    """Advantages and targets of fragments, in the rewards' units.

    Args:
        rewards: [n, T], what each step brought.
        values: [n, T + 1], V of what was known before each step, and behind the last one; finite everywhere. The one
            behind the last step counts unless the agent terminated.
        steps: [n], how many there are, at least 1.
        end: [n], HERE, TERMINATED or TRUNCATED.
        discount: g, of one step.
        gae_lambda: l, from 0 (one step of rewards, then the value) to 1 (all of them).
        ratios: [n, T], x: how much likelier the policy that is judged takes each action than the one that took it,
            finite everywhere; None for the same policy.
        rho_clip, c_clip: the most that a ratio counts in a step's own error, and in what follows it.
    """
    count, length = rewards.shape
    x = np.ones((count, length)) if ratios is None else ratios
    found = Advantages(np.zeros((count, length)), np.zeros((count, length)))
    beyond = np.zeros(count)  # v_t+1 - V_t+1
    for t in reversed(range(length)):
        last = steps == t + 1
        after = np.where(last & (end == TERMINATED), 0.0, values[:, t + 1])
        beyond = np.where(last, 0.0, beyond)
        delta = rewards[:, t] + discount * after - values[:, t]
        advantage = delta + discount * gae_lambda * beyond
        beyond = np.minimum(rho_clip, x[:, t]) * delta + discount * gae_lambda * np.minimum(c_clip, x[:, t]) * beyond
        found.advantages[:, t] = advantage
        found.targets[:, t] = values[:, t] + beyond
    for array in found:
        array[~there(steps, length)] = 0.0
    return found
