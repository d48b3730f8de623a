"""Which edge a simulation takes: the formulas, one function each, for one node of one tree.

The kinds of search (UCT, PUCT, GUMBEL) are a closed set, and a new one is a function here and a branch in `choose`: a
kernel cannot take a formula as an argument, because a formula that is called by address is not inlined, which costs
speed, and one that is compiled in needs a kernel of its own, which numba's cache on disk does not hold (see
`scoundrel_ray.compiled`).

All take the forest `f`, the search's parameters `p`, tree `t` and node `node`, and give an edge. Values are those of
the seat that decides at the node. An edge's simulations under way count as visits wherever a formula counts visits;
with `p.virtual_loss` > 0 each also counts as that much value lost.

The slow transcriptions in tests/searches/test_choice.py say the same in plain numpy.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from scoundrel_ray import rng
from scoundrel_ray.compiled import inlined
from scoundrel_ray.game import Game
from scoundrel_ray.searches.worlds import SHARED

UCT = 0
PUCT = 1
GUMBEL = 2

_TINY = np.float32(1e-30)
_LEAST_SPREAD = np.float32(2e-5)  # of completed values, which are from -1 to 1


class Parameters(NamedTuple):
    """What a kernel must know of a search.

    Attributes:
        kind: of search: UCT, PUCT or GUMBEL.
        exploration: c of UCB1; c_init of PUCT.
        exploration_base: c_base of PUCT.
        first_play_reduction: PUCT: an unvisited edge counts as the node's mean value less this.
        virtual_loss: value lost by a simulation under way; 0 counts the visit alone.
        considered: Gumbel: most actions considered at the root.
        visit_offset, value_scale: Gumbel: c_visit and c_scale of sigma.
        rescale: Gumbel: 1 to stretch a node's completed values to [0, 1] before sigma.
        noise_scale: Gumbel: scale of the root's Gumbel variables; 0 for none.
        noise_share: PUCT: share of Dirichlet noise in the root's priors; 0 for none.
        noise_alpha: PUCT: concentration of the Dirichlet noise.
        shared: 1 for one tree over many worlds, keyed by what the mover sees.
        hidden: 1 if the game hides anything.
        seats: P.
        leaves: most leaves a tree gives in one step.
        heuristic_playouts: UCT: 1 to play out by the game's playout rule or heuristic where these have an opinion.
    """

    kind: int
    exploration: float
    exploration_base: float
    first_play_reduction: float
    virtual_loss: float
    considered: int
    visit_offset: float
    value_scale: float
    rescale: int
    noise_scale: float
    noise_share: float
    noise_alpha: float
    shared: int
    hidden: int
    seats: int
    leaves: int
    heuristic_playouts: int

    @property
    def needs_evaluator(self) -> bool:
        """Whether the search asks for its leaves; UCT plays them out."""
        return self.kind != UCT


_FLOATS = (
    "exploration", "exploration_base", "first_play_reduction", "virtual_loss", "visit_offset", "value_scale",
    "noise_scale", "noise_share", "noise_alpha",
)  # fmt: skip
PARAMETERS = numba.types.NamedTuple(
    [numba.types.float64 if name in _FLOATS else numba.types.int64 for name in Parameters._fields], Parameters
)


def parameters_for(game: Game, tree: str, kind: int, **settings: float) -> Parameters:
    """Parameters of a search of `game`; settings that this kind of search does not read are 0, or 1 if divided by."""
    given = {
        "kind": kind,
        "shared": tree == SHARED and game.hidden,
        "hidden": game.hidden,
        "seats": game.seats,
        "exploration_base": 1.0,
        "noise_alpha": 1.0,
        "leaves": 1,
        **settings,
    }
    types: dict[str, Any] = {name: float if name in _FLOATS else int for name in Parameters._fields}
    return Parameters(**{name: convert(given.get(name, 0)) for name, convert in types.items()})


@inlined
def edge_value(f, p, t, edge, seat):
    """Mean value of an edge for `seat`, virtual losses included; its visits and flight together must be > 0."""
    if p.virtual_loss > 0.0:
        flight = f.edge[t, edge].flight
        return (f.edge_total[t, edge, seat] - np.float32(p.virtual_loss) * np.float32(flight)) / np.float32(
            f.edge[t, edge].visits + flight
        )
    return f.edge_total[t, edge, seat] / np.float32(f.edge[t, edge].visits)


@inlined
def choose_ucb1(f, p, t, node):
    """An unvisited edge, uniformly; when there is none the edge with the highest upper confidence bound.

    **Source:** UCB1 (Auer et al. 2002) in trees (Kocsis and Szepesvari 2006): Q + c sqrt(ln N / n). A simulation under
    way counts as a visit and loses `p.virtual_loss`.
    """
    first = f.node[t, node].first
    count = np.int64(f.node[t, node].count)
    total = f.node[t, node].visits + f.node[t, node].flight
    if total < count:  # some edge is unvisited: each visit of this node until now took a new one
        skip = rng.below(f.rng[t], count - total)
        for edge in range(first, first + count):
            if f.edge[t, edge].visits + f.edge[t, edge].flight == 0:
                if skip == 0:
                    return edge
                skip -= 1
    seat = f.node[t, node].seat
    spread = np.float32(p.exploration) * np.sqrt(np.float32(math.log(total)))
    best = np.float32(-np.inf)
    choice = first
    for edge in range(first, first + count):
        flight = np.float32(f.edge[t, edge].flight)
        inverse = np.float32(1.0) / (np.float32(f.edge[t, edge].visits) + flight)
        value = f.edge_total[t, edge, seat] - np.float32(p.virtual_loss) * flight
        score = value * inverse + spread * np.sqrt(inverse)
        if score > best:
            best = score
            choice = edge
    return choice


@inlined
def choose_puct(f, p, t, node):
    """The edge with the highest Q + c(N) P sqrt(N) / (1 + n), c(N) = c_init + ln((1 + N + c_base) / c_base).

    **Source:** AlphaZero (Silver et al. 2018). **Departs:** an unvisited edge's Q is the node's mean value, the
    evaluator's estimate counted once, less `first_play_reduction` (as in later engines), not 0.
    """
    first = f.node[t, node].first
    last = first + f.node[t, node].count
    seat = f.node[t, node].seat
    visited = f.node[t, node].visits
    total = np.float32(visited + f.node[t, node].flight)
    scale = np.float32(p.exploration + math.log((1.0 + total + p.exploration_base) / p.exploration_base)) * np.sqrt(
        max(total, np.float32(1.0))
    )
    value_sum = f.node_value[t, node, seat]
    for edge in range(first, last):
        value_sum += f.edge_total[t, edge, seat]
    unvisited = value_sum / np.float32(1 + visited) - np.float32(p.first_play_reduction)
    best = np.float32(-np.inf)
    choice = first
    for edge in range(first, last):
        flight = f.edge[t, edge].flight
        counted = f.edge[t, edge].visits + flight
        known = f.edge[t, edge].visits > 0 or (flight > 0 and p.virtual_loss > 0.0)
        value = edge_value(f, p, t, edge, seat) if known else unvisited
        score = value + scale * f.edge[t, edge].prior / np.float32(1 + counted)
        if score > best:
            best = score
            choice = edge
    return choice


@inlined
def completed_values(f, p, t, node, out):
    """Fill out[:count] with sigma(completed Q) of a node's edges, shifted so that the greatest is 0.

    **Source:** Danihelka et al. 2022, "Policy improvement by planning with Gumbel", equations 8 and 10 and appendix D:
    an unvisited edge's value is v_mix, and sigma(q) = (c_visit + max n) c_scale q. **Departs:** with `rescale` the
    node's completed values are stretched to [0, 1] first, as in the authors' mctx; but a spread below 1e-5 of the range
    of values (mctx: below 1e-8) is not stretched to the whole, for it may be rounding: an evaluator that says the same
    everywhere would seem to know one best action. The shift changes no softmax and no argmax, and keeps exp from
    overflowing.
    """
    first = f.node[t, node].first
    count = f.node[t, node].count
    seat = f.node[t, node].seat
    raw = f.node_value[t, node, seat]
    most = np.float32(0.0)
    visits_sum = np.float32(0.0)
    prior_sum = np.float32(0.0)
    weighted = np.float32(0.0)
    low = np.float32(np.inf)
    high = np.float32(-np.inf)
    for i in range(count):
        edge = first + i
        counted = np.float32(f.edge[t, edge].visits + f.edge[t, edge].flight)
        most = max(most, counted)
        visits = f.edge[t, edge].visits
        if visits > 0:
            value = edge_value(f, p, t, edge, seat)
            prior = max(f.edge[t, edge].prior, _TINY)
            visits_sum += np.float32(visits)
            prior_sum += prior
            weighted += prior * value
            out[i] = value
            low = min(low, value)
            high = max(high, value)
    mixed = raw
    if visits_sum > 0:
        mixed = (raw + visits_sum * weighted / prior_sum) / (np.float32(1.0) + visits_sum)
    for i in range(count):
        if f.edge[t, first + i].visits == 0:
            out[i] = mixed
            low = min(low, mixed)
            high = max(high, mixed)
    scale = (np.float32(p.visit_offset) + most) * np.float32(p.value_scale)
    if p.rescale:
        scale /= max(high - low, _LEAST_SPREAD)
    for i in range(count):
        out[i] = scale * (out[i] - high)


@inlined
def choose_gumbel(f, p, t, node, scratch):
    """The edge furthest below its share of the improved policy: argmax pi'(a) - n(a) / (1 + N).

    **Source:** Danihelka et al. 2022, equation 14; pi' = softmax(logits + sigma(completed Q)), equation 11.
    """
    first = f.node[t, node].first
    count = f.node[t, node].count
    completed_values(f, p, t, node, scratch)
    total = np.float32(0.0)
    for i in range(count):
        weight = max(f.edge[t, first + i].prior, _TINY) * np.exp(scratch[i])
        scratch[i] = weight
        total += weight
    share = np.float32(1.0) / np.float32(1 + f.node[t, node].visits + f.node[t, node].flight)
    scale = np.float32(1.0) / total
    best = np.float32(-np.inf)
    choice = first
    for i in range(count):
        edge = first + i
        score = scratch[i] * scale - np.float32(f.edge[t, edge].visits + f.edge[t, edge].flight) * share
        if score > best:
            best = score
            choice = edge
    return choice


@inlined
def choose_gumbel_root(f, p, t, scratch):
    """The root's edge by sequential halving: among those with the visits that the schedule wants now, the one with
    the greatest Gumbel variable + logit + sigma(completed Q).

    **Source:** Danihelka et al. 2022, algorithm 2; the schedule as a table of wanted visits is mctx's formulation.
    """
    first = f.node[t, 0].first
    count = f.node[t, 0].count
    completed_values(f, p, t, 0, scratch)
    wanted = f.schedule[min(np.int64(count), p.considered), f.started[t]]
    best = np.float32(-np.inf)
    choice = first
    for i in range(count):
        edge = first + i
        if f.edge[t, edge].visits + f.edge[t, edge].flight == wanted:
            score = f.root_noise[t, i] + np.log(max(f.edge[t, edge].prior, _TINY)) + scratch[i]
            if score > best:
                best = score
                choice = edge
    return choice


@inlined
def choose(f, p, t, node, scratch):
    """The edge that the search's formula takes at a node; `scratch` [M] float32 is overwritten."""
    if p.kind == PUCT:
        return choose_puct(f, p, t, node)
    if p.kind == GUMBEL:
        if node == 0:
            return choose_gumbel_root(f, p, t, scratch)
        return choose_gumbel(f, p, t, node, scratch)
    return choose_ucb1(f, p, t, node)


def halving_schedule(considered: int, simulations: int) -> np.ndarray:
    """Visits that an edge must have to be chosen, for each simulation of sequential halving: [simulations] int32.

    **Source:** Karnin et al. 2013; phases as in Danihelka et al. 2022, algorithm 2: log2(considered) phases of equal
    length, each action left is visited equally often in a phase, then the better half is kept; what integer division
    leaves over is spent on the last two.
    """
    if considered <= 1:
        return np.arange(simulations, dtype=np.int32)
    phases = math.ceil(math.log2(considered))
    visits = [0] * considered
    wanted: list[int] = []
    left = considered
    while len(wanted) < simulations:
        for _ in range(max(1, simulations // (phases * left))):
            wanted.extend(visits[:left])
            for i in range(left):
                visits[i] += 1
        left = max(2, left // 2)
    return np.asarray(wanted[:simulations], dtype=np.int32)


def halving_table(considered: int, simulations: int) -> np.ndarray:
    """Row m is the schedule for m considered actions: [considered + 1, simulations] int32."""
    return np.stack([halving_schedule(m, simulations) for m in range(considered + 1)])
