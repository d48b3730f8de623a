"""The loops over trees: begin, select, backup, decide. Those of playouts and of tree reuse have files of their own.

Each works on the trees that it is given alone and draws from a tree's own stream, so any split over threads gives the
same trees. They return 0, or a status that `scoundrel_ray.search` turns into an error.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types

from scoundrel_ray import rng
from scoundrel_ray.compiled import inlined, inner, kernel, loop
from scoundrel_ray.game import RULES, seat_after, to_value
from scoundrel_ray.searches.choice import (
    GUMBEL,
    PARAMETERS,
    PUCT,
    UCT,
    choose,
    completed_values,
)
from scoundrel_ray.searches.forest import DECISIONS, FOREST, NO_NODE

BAD_RULE = 1  # a rule of the game returned a status, or no legal action before the end
TOO_LONG = 2  # a path longer than the game's max_steps

LEAF = -1  # descend: stopped at a new node
_TERMINAL = -2
_COLLISION = -3
FAILED = -4

_i16_1 = types.int16[::1]
_i8_2 = types.int8[:, ::1]
_i32_1 = types.int32[::1]
_i32_2 = types.int32[:, ::1]
_i64_1 = types.int64[::1]
_f32_1 = types.float32[::1]
_f32_2 = types.float32[:, ::1]
_u64_2 = types.uint64[:, ::1]


@inner
def fork(parent, child):
    """Seed the stream `child` from three words of `parent`, as SFC64 is seeded: counter 1, twelve words thrown away."""
    for i in range(3):
        child[i] = rng.next_word(parent)
    child[3] = np.uint64(1)
    for _ in range(12):
        rng.next_word(child)


@inlined
def add_node(f, t, parent, seat, actions, count):
    """Index of a new node with one edge for each of actions[:count], not yet evaluated."""
    node = f.nodes[t]
    first = f.edges[t]
    f.nodes[t] = node + 1
    f.edges[t] = first + count
    f.node[t, node].first = first
    f.node[t, node].count = count
    f.node[t, node].seat = seat
    f.node[t, node].visits = 0
    f.node[t, node].flight = 0
    f.node[t, node].ready = 0
    f.node[t, node].forced = 0
    f.node[t, node].parent = parent
    for i in range(count):
        edge = first + i
        f.edge[t, edge].action = actions[i]
        f.edge[t, edge].child = NO_NODE
        f.edge[t, edge].prior = 0.0
        f.edge[t, edge].visits = 0
        f.edge[t, edge].flight = 0
        for k in range(f.edge_total.shape[2]):
            f.edge_total[t, edge, k] = 0.0
    return node


@inlined
def find(f, t, edge, key):
    """Slot of the hash table that holds the node of (parent edge, information key), or the free slot where it goes."""
    mask = np.uint64(f.table.shape[1] - 1)
    slot = np.int64(rng.mix(key, np.uint64(edge)) & mask)
    while True:
        node = f.table[t, slot]
        if node == NO_NODE or (f.node[t, node].key == key and f.node[t, node].parent == edge):
            return slot
        slot = np.int64((np.uint64(slot) + np.uint64(1)) & mask)


@inlined
def descend(rules, f, p, t, leaf, state, actions, scratch):
    """Walk one simulation down tree t from its root, stepping `state` along.

    Returns (outcome, node, seat): LEAF with the new node, _TERMINAL with none, _COLLISION with a node that already
    waits for its evaluation, or FAILED with a status in place of the node. The path stands in path_node and path_edge
    [t, leaf, :leaf_depth[t, leaf]], its edges count as under way.
    """
    for i in range(state.shape[0]):  # a slice assignment would allocate, in case the two overlapped
        state[i] = f.root_state[t, i]
    if p.shared and p.hidden and rules.redeal(state, f.node[t, 0].seat, f.rng[t]) != 0:
        return FAILED, BAD_RULE, 0
    node = 0
    depth = 0
    limit = f.path_edge.shape[2]
    while True:
        if depth == limit:
            return FAILED, TOO_LONG, 0
        edge = choose(f, p, t, node, scratch)
        f.path_node[t, leaf, depth] = node
        f.path_edge[t, leaf, depth] = edge
        depth += 1
        f.leaf_depth[t, leaf] = depth
        f.node[t, node].flight += 1
        f.edge[t, edge].flight += 1
        if rules.step(state, f.edge[t, edge].action) != 0:
            return FAILED, BAD_RULE, 0
        child = f.edge[t, edge].child
        if not p.shared and child != NO_NODE and f.node[t, child].forced == 0:
            if f.node[t, child].ready == 0:
                return _COLLISION, child, 0
            node = child
            continue
        forced = 0
        count = 0
        seat = rules.seat(state)
        while seat >= 0:
            count = rules.legal(state, actions)
            if count != 1:
                break
            forced = 1
            if rules.step(state, actions[0]) != 0:
                return FAILED, BAD_RULE, 0
            seat = rules.seat(state)
        if seat < 0:
            return _TERMINAL, NO_NODE, 0
        if count < 1:
            return FAILED, BAD_RULE, 0
        if p.shared:
            key = rules.information_key(state, seat)
            if child == NO_NODE or f.node[t, child].key != key:
                slot = find(f, t, edge, key)
                child = f.table[t, slot]
                if child == NO_NODE:
                    child = add_node(f, t, edge, seat, actions, count)
                    f.node[t, child].key = key
                    f.table[t, slot] = child
                    f.edge[t, edge].child = child
                    return LEAF, child, seat
                f.edge[t, edge].child = child
        elif child == NO_NODE:
            child = add_node(f, t, edge, seat, actions, count)
            f.node[t, child].forced = forced
            f.edge[t, edge].child = child
            return LEAF, child, seat
        if f.node[t, child].ready == 0:
            return _COLLISION, child, 0
        node = child


@inlined
def add_values(f, t, leaf, values):
    """Credit values [P], by seat, to every edge of a path; its simulation is no longer under way."""
    for d in range(f.leaf_depth[t, leaf]):
        node = f.path_node[t, leaf, d]
        edge = f.path_edge[t, leaf, d]
        f.node[t, node].visits += 1
        f.node[t, node].flight -= 1
        f.edge[t, edge].visits += 1
        f.edge[t, edge].flight -= 1
        for k in range(values.shape[0]):
            f.edge_total[t, edge, k] += values[k]


@inlined
def take_back(f, t, leaf):
    """Undo the walk of a simulation that met a node under evaluation."""
    for d in range(f.leaf_depth[t, leaf]):
        f.node[t, f.path_node[t, leaf, d]].flight -= 1
        f.edge[t, f.path_edge[t, leaf, d]].flight -= 1


@inlined
def final_values(rules, state, knots, values):
    """Fill values [P] with the values of a finished game's scores; returns the rule's status."""
    status = rules.returns(state, values)
    for k in range(values.shape[0]):
        values[k] = to_value(values[k], knots)
    return status


@inlined
def draw_noise(p, stream, count, out):
    """Fill out[:count] with what the root's exploration needs: Gumbel variables, or a Dirichlet draw."""
    if p.kind == GUMBEL:
        for i in range(count):
            out[i] = np.float32(0.0)
            if p.noise_scale > 0.0:
                unit = 1.0 - rng.uniform(stream)  # (0, 1]
                out[i] = -np.float32(p.noise_scale) * math.log(max(-math.log(unit), 1e-300))
    elif p.kind == PUCT and p.noise_share > 0.0:
        total = 0.0
        for i in range(count):
            draw = rng.gamma(stream, p.noise_alpha)
            out[i] = draw
            total += draw
        for i in range(count):
            out[i] = out[i] / total if total > 0.0 else np.float32(1.0 / count)


@inlined
def mix_noise(f, p, t):
    """Mix the root's Dirichlet noise into its priors."""
    if p.kind == PUCT and p.noise_share > 0.0:
        share = np.float32(p.noise_share)
        first = f.node[t, 0].first
        for i in range(f.node[t, 0].count):
            f.edge[t, first + i].prior += share * (f.root_noise[t, i] - f.edge[t, first + i].prior)


@kernel(types.int64(RULES, FOREST, PARAMETERS, types.int64, types.int64, _i64_1, _i32_2, _u64_2))
def begin(rules, f, p, worlds, simulations, games, states, streams):
    """Start a search for each of `games`; row i of states [G, S] and streams [G, 4] belongs to games[i].

    Each game owns `worlds` trees side by side, with streams forked from its own. A tree that `advance` kept goes on
    with what it holds; any other starts anew and, if the game hides anything and trees do not share worlds, from a
    redealt root of its own.
    """
    actions = np.empty(f.root_noise.shape[1], np.int16)
    for row in range(games.shape[0]):
        base = games[row] * worlds
        stream = streams[row]
        seat = rules.seat(states[row])
        count = rules.legal(states[row], actions)
        if seat < 0 or count < 1:
            return BAD_RULE
        # One draw for all worlds of a decision: they stand for the same position.
        draw_noise(p, stream, count, f.root_noise[base])
        for t in range(base, base + worlds):
            fork(stream, f.rng[t])
            if t != base:
                f.root_noise[t] = f.root_noise[base]
            f.root_state[t] = states[row]
            f.players[t] = rules.players(states[row]) or p.seats
            if p.hidden and not p.shared and rules.redeal(f.root_state[t], seat, f.rng[t]) != 0:
                return BAD_RULE
            f.leaf_count[t] = 0
            f.started[t] = 0
            f.budget[t] = simulations
            if f.nodes[t] > 0:
                f.budget[t] = simulations - f.node[t, 0].visits
                mix_noise(f, p, t)
                continue
            f.edges[t] = 0
            if p.shared:
                f.table[t, :] = NO_NODE
            add_node(f, t, -1, seat, actions, count)
            if p.kind == UCT:
                f.node[t, 0].ready = 1
    return 0


@loop
def select_leaves(rules, f, p, knots, trees, observations, state, actions, scratch, values):
    """The loop of `select`, with its scratch."""
    row = 0
    for i in range(trees.shape[0]):
        t = trees[i]
        count = 0
        if f.nodes[t] > 0 and f.node[t, 0].ready == 0:
            f.leaf_node[t, 0] = 0
            f.leaf_depth[t, 0] = 0
            rules.observe(f.root_state[t], f.node[t, 0].seat, observations[row])
            f.leaf_count[t] = 1
            row += 1
            continue
        while count < p.leaves and f.started[t] < f.budget[t]:
            outcome, node, seat = descend(rules, f, p, t, count, state, actions, scratch)
            if outcome == FAILED:
                return -node
            if outcome == _COLLISION:
                take_back(f, t, count)
                break
            f.started[t] += 1
            if outcome == _TERMINAL:
                if final_values(rules, state, knots, values) != 0:
                    return -BAD_RULE
                add_values(f, t, count, values)
                continue
            f.leaf_node[t, count] = node
            rules.observe(state, seat, observations[row])
            count += 1
            row += 1
        f.leaf_count[t] = count
    return row


@kernel(types.int64(RULES, FOREST, PARAMETERS, _f32_2, _i64_1, _i8_2))
def select(rules, f, p, knots, trees, observations):
    """Walk `trees` to their next leaves; fill observations from row 0, tree by tree, leaf by leaf.

    Returns the number of rows, or minus a status. A tree's first leaf is its root if that is not yet evaluated; games
    that end on the way are credited at once. A tree stops at p.leaves leaves, at its budget, or at a collision.
    """
    state = np.empty(f.root_state.shape[1], np.int32)
    actions = np.empty(f.root_noise.shape[1], np.int16)
    scratch = np.empty(f.root_noise.shape[1], np.float32)
    values = np.empty(p.seats, np.float32)
    return select_leaves(rules, f, p, knots, trees, observations, state, actions, scratch, values)


@loop
def back_up(f, p, trees, logits, values, absolute):
    """The loop of `backup`, with its scratch."""
    row = 0
    for i in range(trees.shape[0]):
        t = trees[i]
        for leaf in range(f.leaf_count[t]):
            node = f.leaf_node[t, leaf]
            first = f.node[t, node].first
            last = first + f.node[t, node].count
            greatest = np.float32(-np.inf)
            for edge in range(first, last):
                greatest = max(greatest, logits[row, f.edge[t, edge].action])
            total = np.float32(0.0)
            for edge in range(first, last):
                weight = np.exp(logits[row, f.edge[t, edge].action] - greatest)
                f.edge[t, edge].prior = weight
                total += weight
            for edge in range(first, last):
                f.edge[t, edge].prior /= total
            if node == 0:
                mix_noise(f, p, t)
            seat = np.int64(f.node[t, node].seat)
            for k in range(p.seats):
                absolute[seat_after(seat, k, np.int64(f.players[t]))] = values[row, k]
            for k in range(p.seats):
                f.node_value[t, node, k] = absolute[k]
            f.node[t, node].ready = 1
            add_values(f, t, leaf, absolute)
            row += 1
        f.leaf_count[t] = 0
    return row


@kernel(types.int64(FOREST, PARAMETERS, _i64_1, _f32_2, _f32_2))
def backup(f, p, trees, logits, values):
    """Give the leaves of `trees` their priors and values, in the order in which `select` gave them.

    logits [B, A]: masked to the legal actions and normalised here. values [B, P]: seat k places after the observer (see
    `scoundrel_ray.game.seat_after`).
    """
    return back_up(f, p, trees, logits, values, np.empty(p.seats, np.float32))


@inlined
def sum_worlds(f, p, base, worlds, row, d):
    """Sum the roots of trees [base, base + worlds) into row `row` of the decisions `d`; returns the number of edges."""
    count = np.int64(f.node[base, 0].count)
    d.actions[row, :] = -1
    d.visits[row, :] = 0
    d.priors[row, :] = 0.0
    d.policy[row, :] = 0.0
    d.values[row, :] = 0.0
    d.totals[row, :, :] = 0.0
    weight = np.float32(0.0)
    for t in range(base, base + worlds):
        first = f.node[t, 0].first
        for i in range(count):
            edge = first + i
            d.actions[row, i] = f.edge[t, edge].action
            d.visits[row, i] += f.edge[t, edge].visits
            d.priors[row, i] += f.edge[t, edge].prior / np.float32(worlds)
            weight += np.float32(f.edge[t, edge].visits)
            for k in range(p.seats):
                d.totals[row, i, k] += f.edge_total[t, edge, k]
                d.values[row, k] += f.edge_total[t, edge, k]
        if p.kind != UCT:
            weight += np.float32(1.0)
            for k in range(p.seats):
                d.values[row, k] += f.node_value[t, 0, k]
    for k in range(p.seats):
        d.values[row, k] /= max(weight, np.float32(1.0))
    return count


@inlined
def improve_policy(f, p, base, worlds, row, count, d, scratch, scores):
    """Fill d.policy with the worlds' improved policies, averaged, and scores [M] with Gumbel variable + logit + sigma.

    **Source:** Danihelka et al. 2022, equation 11 and algorithm 2, line 9; one world is the paper's.
    """
    for i in range(count):
        scores[i] = f.root_noise[base, i] + np.log(max(d.priors[row, i], np.float32(1e-30)))
    for t in range(base, base + worlds):
        completed_values(f, p, t, 0, scratch)
        first = f.node[t, 0].first
        total = np.float32(0.0)
        for i in range(count):
            scores[i] += scratch[i] / np.float32(worlds)
            scratch[i] = max(f.edge[t, first + i].prior, np.float32(1e-30)) * np.exp(scratch[i])
            total += scratch[i]
        for i in range(count):
            d.policy[row, i] += scratch[i] / (total * np.float32(worlds))


@inlined
def sample_visits(d, row, count, temperature, stream):
    """Index of an edge drawn in proportion to visits^(1 / temperature); the most visited at temperature 0."""
    most = 0
    for i in range(1, count):
        if d.visits[row, i] > d.visits[row, most]:
            most = i
    if temperature <= 0.0 or d.visits[row, most] == 0:
        return most
    total = 0.0
    for i in range(count):
        total += (d.visits[row, i] / d.visits[row, most]) ** (1.0 / temperature)
    left = rng.uniform(stream) * total
    for i in range(count):
        left -= (d.visits[row, i] / d.visits[row, most]) ** (1.0 / temperature)
        if left < 0.0:
            return i
    return most


@kernel(types.int64(FOREST, PARAMETERS, types.int64, _i64_1, _f32_1, _u64_2, DECISIONS))
def decide(f, p, worlds, games, temperatures, streams, d):
    """Read the finished searches of `games` into the rows of `d` (see Decisions) and choose an action for each.

    GUMBEL recommends the improved policy and plays the survivor of the halving; the others recommend visit shares and
    draw from them, row i at temperatures[i] and from streams [G, 4] row i.
    """
    scratch = np.empty(f.root_noise.shape[1], np.float32)
    scores = np.empty(f.root_noise.shape[1], np.float32)
    for row in range(games.shape[0]):
        base = games[row] * worlds
        count = sum_worlds(f, p, base, worlds, row, d)
        if p.kind == GUMBEL:
            improve_policy(f, p, base, worlds, row, count, d, scratch, scores)
            best = 0
            for i in range(1, count):
                more = d.visits[row, i] - d.visits[row, best]
                if more > 0 or (more == 0 and scores[i] > scores[best]):
                    best = i
        else:
            spent = 0
            for i in range(count):
                spent += d.visits[row, i]
            for i in range(count):
                d.policy[row, i] = np.float32(d.visits[row, i]) / np.float32(max(spent, 1))
            best = sample_visits(d, row, count, temperatures[row], streams[row])
        d.chosen[row] = d.actions[row, best]
    return 0
