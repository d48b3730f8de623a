"""UCT's loops over trees: new nodes are evaluated by playouts, one at a time or many under way at once, for threads."""

from __future__ import annotations

import numpy as np
from numba import types

from scoundrel_ray import rng
from scoundrel_ray.compiled import inlined, kernel, loop
from scoundrel_ray.game import MOST_LEGAL, RULES
from scoundrel_ray.searches.choice import PARAMETERS
from scoundrel_ray.searches.forest import FOREST
from scoundrel_ray.searches.kernels import BAD_RULE, FAILED, LEAF, add_values, descend, final_values, fork

_i32_2 = types.int32[:, ::1]
_f32_2 = types.float32[:, ::1]
_u64_2 = types.uint64[:, ::1]


@inlined
def play_out(rules, p, state, actions, stream):
    """Play `state` to its end: if asked by the game's playout rule or, where that has no opinion, its heuristic; where
    none has one, uniformly at random.
    """
    while rules.seat(state) >= 0:
        action = -1
        if p.heuristic_playouts:
            action = rules.playout(state, stream)
            if action < 0:
                action = rules.heuristic(state, stream)
        if action < 0:
            count = rules.legal(state, actions)
            if count < 1:
                return BAD_RULE
            action = np.int64(actions[rng.below(stream, count)])
        if rules.step(state, action) != 0:
            return BAD_RULE
    return 0


@loop
def search_by_playouts(rules, f, p, knots, trees, state, actions, scratch, values):
    """The loop of `run_playouts`, with its scratch."""
    for i in range(trees.shape[0]):
        t = trees[i]
        while f.started[t] < f.budget[t]:
            outcome, node, _ = descend(rules, f, p, t, 0, state, actions, scratch)
            if outcome == FAILED:
                return node
            if outcome == LEAF:
                f.node[t, node].ready = 1
                if play_out(rules, p, state, actions, f.rng[t]) != 0:
                    return BAD_RULE
            if final_values(rules, state, knots, values) != 0:
                return BAD_RULE
            add_values(f, t, 0, values)
            f.started[t] += 1
    return 0


@kernel(types.int64(RULES, FOREST, PARAMETERS, _f32_2, types.int64[::1]))
def run_playouts(rules, f, p, knots, trees):
    """Spend the whole budget of `trees`, evaluating each new node by one playout."""
    state = np.empty(f.root_state.shape[1], np.int32)
    actions = np.empty(f.root_noise.shape[1], np.int16)
    scratch = np.empty(f.root_noise.shape[1], np.float32)
    values = np.empty(p.seats, np.float32)
    return search_by_playouts(rules, f, p, knots, trees, state, actions, scratch, values)


@loop
def walk_down(rules, f, p, t, states, streams, actions, scratch):
    """The loop of `walk`, with its scratch."""
    count = 0
    while count < p.leaves and f.started[t] < f.budget[t]:
        outcome, node, _ = descend(rules, f, p, t, count, states[count], actions, scratch)
        if outcome == FAILED:
            return -node
        if outcome == LEAF:
            f.node[t, node].ready = 1
        fork(f.rng[t], streams[count])
        f.started[t] += 1
        count += 1
    return count


@kernel(types.int64(RULES, FOREST, PARAMETERS, types.int64, _i32_2, _u64_2))
def walk(rules, f, p, t, states, streams):
    """Start up to p.leaves simulations of tree t, to be played out from states [L, S] with streams [L, 4].

    Returns their number, or minus a status.
    """
    actions = np.empty(f.root_noise.shape[1], np.int16)
    scratch = np.empty(f.root_noise.shape[1], np.float32)
    return walk_down(rules, f, p, t, states, streams, actions, scratch)


@kernel(types.int64(FOREST, types.int64, types.int64, _f32_2))
def credit(f, t, count, values):
    """Credit tree t with the values [L, P] of its first `count` simulations under way, in order."""
    for leaf in range(count):
        add_values(f, t, leaf, values[leaf])
    return 0


@kernel(types.int64(RULES, PARAMETERS, _f32_2, _i32_2, _u64_2, _f32_2))
def play_outs(rules, p, knots, states, streams, out):
    """Fill out [B, P] with the values of one playout from each of states [B, S]; the states are played to their end."""
    actions = np.empty(MOST_LEGAL, np.int16)
    for b in range(states.shape[0]):
        if play_out(rules, p, states[b], actions, streams[b]) != 0:
            return BAD_RULE
        if final_values(rules, states[b], knots, out[b]) != 0:
            return BAD_RULE
    return 0
