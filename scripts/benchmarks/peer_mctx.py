"""The other side of the Gumbel benchmark: mctx's search over pgx's connect four, compiled by JAX for all cores."""

# mctx's records are chex dataclasses, whose arguments type checkers do not see.
# pyright: reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import jax
import jax.numpy as jnp
import mctx
import pgx

from scripts.measuring.timing import least_seconds

_WIDTH = 128
_BATCHES = {64: (256, 1024, 4096), 400: (64, 256, 1024), 800: (64, 256)}


def rate(simulations: int, repeats: int) -> tuple[float, int]:
    """Simulations a second at the best of several batches, and that batch."""
    found = []
    for batch in _BATCHES[simulations]:
        search = _search(simulations, batch)
        found.append((simulations * batch / least_seconds(search, repeats), batch))
    return max(found)


def _search(simulations: int, batch: int):
    """A call that searches a batch of first positions."""
    env = pgx.make("connect_four")
    key = jax.random.PRNGKey(0)
    state = jax.jit(jax.vmap(env.init))(jax.random.split(key, batch))
    size = int(state.observation[0].size)
    keys = jax.random.split(key, 5)
    shapes = ((size, _WIDTH), (_WIDTH, _WIDTH), (_WIDTH, _WIDTH), (_WIDTH, env.num_actions), (_WIDTH, 1))
    weights = [jax.random.normal(k, s) * s[0] ** -0.5 for k, s in zip(keys, shapes, strict=True)]

    def evaluate(weights, observation):
        x = jax.nn.relu(observation.reshape(observation.shape[0], -1).astype(jnp.float32) @ weights[0])
        x = jax.nn.relu(x + jax.nn.relu(x @ weights[1]) @ weights[2])
        return x @ weights[3], jnp.tanh(x @ weights[4])[:, 0]

    def recurrent(weights, _key, action, state):
        mover = state.current_player
        state = jax.vmap(env.step)(state, action)
        logits, value = evaluate(weights, state.observation)
        logits = jnp.where(state.legal_action_mask, logits, jnp.finfo(logits.dtype).min)
        reward = state.rewards[jnp.arange(state.rewards.shape[0]), mover]
        over = state.terminated
        out = mctx.RecurrentFnOutput(
            reward=reward,
            discount=jnp.where(over, 0.0, -1.0),
            prior_logits=logits,
            value=jnp.where(over, 0.0, value),
        )
        return out, state

    @jax.jit
    def policy(weights, state, key):
        logits, value = evaluate(weights, state.observation)
        root = mctx.RootFnOutput(prior_logits=logits, value=value, embedding=state)
        return mctx.gumbel_muzero_policy(
            params=weights,
            rng_key=key,
            root=root,
            recurrent_fn=recurrent,
            num_simulations=simulations,
            invalid_actions=~state.legal_action_mask,
            max_num_considered_actions=16,
        ).action

    return lambda: policy(weights, state, key).block_until_ready()
