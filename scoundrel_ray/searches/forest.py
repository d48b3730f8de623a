"""The forest: many search trees at once in flat arrays, allocated once.

Legend: T trees, N nodes a tree, E edges a tree, P seats, L leaves a tree and step, D longest path, S state size,
O observation size, A actions, H slots of a hash table, M most legal actions.

A node is a decision with at least two legal actions; forced moves are stepped over inside an edge. Node 0 of a tree is
its root. A node's edges stand side by side, one for each legal action, ascending. A child is always younger than its
parent, which is what lets `reuse` compact a tree in one pass.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from scoundrel_ray.compiled import interpreted
from scoundrel_ray.game import Game

NO_NODE = -1


# One record a node and an edge, so that a step down a tree touches few cache lines; a field an array cost a third of
# the speed of large trees.
NODE = np.dtype(
    [
        ("key", np.uint64),  # information key of who decides; one tree over many worlds only
        ("first", np.int32),  # first edge
        ("parent", np.int32),  # edge that led here
        ("visits", np.int32),  # finished simulations that chose an edge here
        ("flight", np.int32),  # simulations under way that chose an edge here
        ("count", np.int16),  # number of edges
        ("seat", np.int16),  # who decides
        ("ready", np.int8),  # 1 once evaluated
        ("forced", np.int8),  # 1 if forced moves lie between the parent's action and this node
    ],
    align=True,
)
EDGE = np.dtype(
    [
        ("child", np.int32),  # node last reached by this edge, or NO_NODE
        ("visits", np.int32),  # finished simulations
        ("flight", np.int32),  # simulations under way
        ("prior", np.float32),  # probability
        ("action", np.int16),
    ],
    align=True,
)


class Forest(NamedTuple):
    """All arrays of a forest; kernels take it whole."""

    node: np.ndarray  # [T, N] NODE
    node_value: np.ndarray  # [T, N, P] float32, the evaluator's estimate, by seat
    edge: np.ndarray  # [T, E] EDGE
    edge_total: np.ndarray  # [T, E, P] float32, sum of values of finished simulations, by seat
    table: np.ndarray  # [T, H] int32, nodes by (parent, key) (open addressing), or NO_NODE
    nodes: np.ndarray  # [T] int32, in use
    edges: np.ndarray  # [T] int32, in use
    started: np.ndarray  # [T] int32, simulations begun
    budget: np.ndarray  # [T] int32, simulations wanted
    root_state: np.ndarray  # [T, S] int32
    players: np.ndarray  # [T] int32, of the P seats those that play
    root_noise: np.ndarray  # [T, M] float32, Gumbel variables or Dirichlet shares of the root's edges
    rng: np.ndarray  # [T, 4] uint64
    leaf_count: np.ndarray  # [T] int32, leaves that wait for an evaluation
    leaf_node: np.ndarray  # [T, L] int32
    leaf_depth: np.ndarray  # [T, L] int32
    path_node: np.ndarray  # [T, L, D] int32
    path_edge: np.ndarray  # [T, L, D] int32
    schedule: np.ndarray  # [M + 1, simulations] int32, visits wanted at the root by sequential halving


def allocate(
    game: Game, trees: int, simulations: int, leaves: int, shared: bool, schedule: np.ndarray | None = None
) -> Forest:
    """A forest for `trees` searches of `simulations` each; pages are touched only as trees grow."""
    shape = sizes(game, trees, simulations, leaves, shared)
    if schedule is None:
        schedule = np.zeros((1, 1), dtype=np.int32)
    arrays = {name: np.empty(dims, dtype=dtype) for name, (dims, dtype) in shape.items()}
    for name in ("leaf_count", "started", "budget", "nodes", "edges"):
        arrays[name][:] = 0
    if interpreted():  # plain Python reads a record's fields as attributes only so
        arrays |= {name: arrays[name].view(np.recarray) for name in ("node", "edge")}
    return Forest(schedule=np.ascontiguousarray(schedule, dtype=np.int32), **arrays)


def sizes(game: Game, trees: int, simulations: int, leaves: int, shared: bool) -> dict[str, tuple]:
    """Shape and dtype of every array of a forest but `schedule`."""
    t, n, p = trees, simulations + 1, game.seats
    e = n * game.max_legal
    h = 1 << (2 * n - 1).bit_length() if shared else 1
    depth = min(game.max_steps, simulations) + 1
    i32, u64, f32 = np.int32, np.uint64, np.float32
    return {
        "node": ((t, n), NODE),
        "node_value": ((t, n, p), f32),
        "edge": ((t, e), EDGE),
        "edge_total": ((t, e, p), f32),
        "table": ((t, h), i32),
        "nodes": ((t,), i32),
        "edges": ((t,), i32),
        "started": ((t,), i32),
        "budget": ((t,), i32),
        "root_state": ((t, game.state_size), i32),
        "players": ((t,), i32),
        "root_noise": ((t, game.max_legal), f32),
        "rng": ((t, 4), u64),
        "leaf_count": ((t,), i32),
        "leaf_node": ((t, leaves), i32),
        "leaf_depth": ((t, leaves), i32),
        "path_node": ((t, leaves, depth), i32),
        "path_edge": ((t, leaves, depth), i32),
    }


def most_bytes(game: Game, trees: int, simulations: int, leaves: int, shared: bool) -> int:
    """Upper bound of a forest's memory in bytes, reached only if every decision had the most legal actions."""
    return sum(
        int(np.prod(dims)) * np.dtype(dtype).itemsize
        for dims, dtype in sizes(game, trees, simulations, leaves, shared).values()
    )


class Decisions(NamedTuple):
    """What finished searches say, a row a game; G rows, M most legal actions.

    A decision's seat is the one to move at the root; values and totals are by seat.
    """

    chosen: np.ndarray  # [G] int16, action to play
    actions: np.ndarray  # [G, M] int16, legal actions, padded with -1
    visits: np.ndarray  # [G, M] int32, over all worlds
    priors: np.ndarray  # [G, M] float32, mean over worlds
    policy: np.ndarray  # [G, M] float32, what the search recommends: the target of a policy
    totals: np.ndarray  # [G, M, P] float32, sums of values: totals / visits is the value of an action
    values: np.ndarray  # [G, P] float32, mean value of the root


def blank_decisions(game: Game, rows: int) -> Decisions:
    """Decisions to be filled."""
    wide = (rows, game.max_legal)
    return Decisions(
        chosen=np.empty(rows, np.int16),
        actions=np.empty(wide, np.int16),
        visits=np.empty(wide, np.int32),
        priors=np.empty(wide, np.float32),
        policy=np.empty(wide, np.float32),
        totals=np.empty((*wide, game.seats), np.float32),
        values=np.empty((rows, game.seats), np.float32),
    )


def _named_tuple_type(named_tuple: type, **members: tuple) -> numba.types.Type:
    """Numba type of a record of C-contiguous arrays, each given as (dtype, dimensions)."""
    return numba.types.NamedTuple(
        [numba.types.Array(*members[name], "C") for name in named_tuple._fields],  # pyright: ignore[reportAttributeAccessIssue]
        named_tuple,
    )


_i16, _i32, _u64, _f32 = (
    numba.types.int16,
    numba.types.int32,
    numba.types.uint64,
    numba.types.float32,
)

FOREST = _named_tuple_type(
    Forest,
    node=(numba.from_dtype(NODE), 2),
    node_value=(_f32, 3),
    edge=(numba.from_dtype(EDGE), 2),
    edge_total=(_f32, 3),
    table=(_i32, 2),
    nodes=(_i32, 1),
    edges=(_i32, 1),
    started=(_i32, 1),
    budget=(_i32, 1),
    root_state=(_i32, 2),
    players=(_i32, 1),
    root_noise=(_f32, 2),
    rng=(_u64, 2),
    leaf_count=(_i32, 1),
    leaf_node=(_i32, 2),
    leaf_depth=(_i32, 2),
    path_node=(_i32, 3),
    path_edge=(_i32, 3),
    schedule=(_i32, 2),
)

DECISIONS = _named_tuple_type(
    Decisions,
    chosen=(_i16, 1),
    actions=(_i16, 2),
    visits=(_i32, 2),
    priors=(_f32, 2),
    policy=(_f32, 2),
    totals=(_f32, 3),
    values=(_f32, 2),
)
