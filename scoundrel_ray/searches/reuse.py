"""Tree reuse: after a move, what the tree knows of the decision that it led to is kept."""

from __future__ import annotations

from numba import types

from scoundrel_ray.compiled import inlined, kernel
from scoundrel_ray.game import RULES
from scoundrel_ray.searches.choice import PARAMETERS
from scoundrel_ray.searches.forest import FOREST, NO_NODE
from scoundrel_ray.searches.kernels import find

_i16_1 = types.int16[::1]
_i32_1 = types.int32[::1]
_i32_2 = types.int32[:, ::1]
_i64_1 = types.int64[::1]


@inlined
def keep_subtree(f, p, t, root, moved):
    """Make `root` the root of tree t and forget all but its subtree, compacted in place; `moved` [E] is scratch.

    A child is younger than its parent and edges are laid in the order of their nodes, so one pass from old to new
    never overwrites what is still to be read. Nothing may be under way.
    """
    nodes = 0
    edges = 0
    moved[: f.edges[t]] = -1
    if p.shared:
        f.table[t, :] = NO_NODE
    for old in range(root, f.nodes[t]):
        parent = -1
        if old != root:
            parent = moved[f.node[t, old].parent]
            if parent < 0:
                continue
        first = f.node[t, old].first
        count = f.node[t, old].count
        new = nodes
        nodes += 1
        f.node[t, new].first = edges
        f.node[t, new].count = count
        f.node[t, new].seat = f.node[t, old].seat
        f.node[t, new].visits = f.node[t, old].visits
        f.node[t, new].flight = 0
        f.node[t, new].ready = f.node[t, old].ready
        f.node[t, new].forced = f.node[t, old].forced
        for k in range(p.seats):
            f.node_value[t, new, k] = f.node_value[t, old, k]
        f.node[t, new].parent = parent
        if parent >= 0:
            f.edge[t, parent].child = new
        if p.shared:
            key = f.node[t, old].key
            f.node[t, new].key = key
            if parent >= 0:
                f.table[t, find(f, t, parent, key)] = new
        for i in range(count):
            source = first + i
            f.edge[t, edges].action = f.edge[t, source].action
            f.edge[t, edges].child = NO_NODE
            f.edge[t, edges].prior = f.edge[t, source].prior
            f.edge[t, edges].visits = f.edge[t, source].visits
            f.edge[t, edges].flight = 0
            for k in range(p.seats):
                f.edge_total[t, edges, k] = f.edge_total[t, source, k]
            moved[source] = edges
            edges += 1
    f.nodes[t] = nodes
    f.edges[t] = edges


@kernel(types.int64(RULES, FOREST, PARAMETERS, _i64_1, _i16_1, _i32_2, _i32_1))
def advance(rules, f, p, games, played, states, moved):
    """After action played[i] led game games[i] to the decision states[i], keep what its tree knows of that decision.

    One tree a game. Where the tree has no such node, or another seat's knowledge is needed than the tree was searched
    from, it is emptied. `moved` [E] is scratch.
    """
    for row in range(games.shape[0]):
        t = games[row]
        child = NO_NODE
        seat = rules.seat(states[row])
        if f.nodes[t] > 0 and seat >= 0 and (not p.hidden or (p.shared and seat == f.node[t, 0].seat)):
            first = f.node[t, 0].first
            for edge in range(first, first + f.node[t, 0].count):
                if f.edge[t, edge].action == played[row]:
                    child = f.edge[t, edge].child
                    if p.shared and child != NO_NODE:
                        child = f.table[t, find(f, t, edge, rules.information_key(states[row], seat))]
        if child == NO_NODE or f.node[t, child].ready == 0:
            f.nodes[t] = 0
        else:
            keep_subtree(f, p, t, child, moved)
    return 0
