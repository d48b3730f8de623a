"""The choice formulas against slow transcriptions of their papers."""

import math

import numpy as np
import pytest

from scoundrel_ray.compiled import kernel
from scoundrel_ray.searches import choice
from scoundrel_ray.searches.choice import PARAMETERS, Parameters
from scoundrel_ray.searches.forest import FOREST, Forest, sizes

types = pytest.importorskip("numba").types


class OneNode:
    """The sizes of a game, for a forest of a single node."""

    seats, max_legal, max_steps, state_size = 2, 6, 8, 1


def parameters(**settings) -> Parameters:
    blank = {name: 0.0 if name in choice._FLOATS else 0 for name in Parameters._fields}
    return Parameters(**{**blank, "seats": 2, "leaves": 1, "exploration_base": 19652.0, "noise_alpha": 1.0, **settings})


def node(generator: np.random.Generator, flights: bool, started: int = 0) -> Forest:
    """A forest of one tree whose root has six edges, some unvisited."""
    arrays = {name: np.zeros(dims, dtype) for name, (dims, dtype) in sizes(OneNode, 1, 8, 1, False).items()}  # type: ignore[arg-type]
    f = Forest(schedule=choice.halving_table(6, 64), **arrays)
    f.nodes[0], f.edges[0], f.started[0] = 1, 6, started
    f.node["count"][0, 0] = 6
    f.node["seat"][0, 0] = generator.integers(2)
    visits = generator.integers(0, 7, 6) * (generator.random(6) < 0.7)
    prior = generator.dirichlet(np.ones(6))
    f.edge["prior"][0, :6] = prior
    f.edge["visits"][0, :6] = visits
    f.edge_total[0, :6] = generator.uniform(-1, 1, (6, 2)) * visits[:, None]
    if flights:
        f.edge["flight"][0, :6] = generator.integers(0, 3, 6)
    f.node["visits"][0, 0] = visits.sum()
    f.node["flight"][0, 0] = f.edge["flight"][0, :6].sum()
    f.node_value[0, 0] = generator.uniform(-1, 1, 2)
    f.root_noise[0] = generator.gumbel(size=6)
    return f


@kernel(types.int64(FOREST, PARAMETERS, types.int64, types.float32[::1]))
def run(f, p, which, scratch):
    if which == 0:
        return choice.choose_puct(f, p, 0, 0)
    if which == 1:
        return choice.choose_gumbel(f, p, 0, 0, scratch)
    if which == 2:
        return choice.choose_gumbel_root(f, p, 0, scratch)
    if which == 3:
        choice.completed_values(f, p, 0, 0, scratch)
        return 0
    return choice.choose_ucb1(f, p, 0, 0)


def read(f):
    seat = f.node["seat"][0, 0]
    return (
        f.edge["visits"][0, :6].astype(float),
        f.edge["flight"][0, :6].astype(float),
        f.edge_total[0, :6, seat].astype(float),
        f.edge["prior"][0, :6].astype(float),
        float(f.node_value[0, 0, seat]),
    )


def slow_puct(f, p):
    n, o, w, prior, raw = read(f)
    total = n.sum() + o.sum()
    c = p.exploration + math.log((1 + total + p.exploration_base) / p.exploration_base)
    fallback = (raw + w.sum()) / (1 + n.sum()) - p.first_play_reduction
    scores = []
    for a in range(6):
        if p.virtual_loss > 0 and n[a] + o[a] > 0:
            q = (w[a] - p.virtual_loss * o[a]) / (n[a] + o[a])
        elif n[a] > 0:
            q = w[a] / n[a]
        else:
            q = fallback
        scores.append(q + c * prior[a] * math.sqrt(max(total, 1)) / (1 + n[a] + o[a]))
    return np.array(scores)


def slow_sigma(f, p):
    """sigma(completed Q), Danihelka et al. 2022, with mctx's rescaling."""
    n, o, w, prior, raw = read(f)
    visited = n > 0
    q = np.where(visited, (w - p.virtual_loss * o) / np.maximum(n + (o if p.virtual_loss else 0), 1), 0)
    mixed = raw
    if visited.any():
        mixed = (raw + n.sum() * (prior[visited] @ q[visited]) / prior[visited].sum()) / (1 + n.sum())
    completed = np.where(visited, q, mixed)
    if p.rescale:
        completed = (completed - completed.min()) / max(completed.max() - completed.min(), 2e-5)
    return (p.visit_offset + (n + o).max()) * p.value_scale * completed


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


@pytest.mark.parametrize("flights", [False, True])
@pytest.mark.parametrize("virtual_loss", [0.0, 1.0])
def test_puct_equals_its_formula(flights, virtual_loss):
    generator = np.random.default_rng(1)
    for _ in range(300):
        f = node(generator, flights)
        p = parameters(kind=choice.PUCT, exploration=1.25, first_play_reduction=0.1, virtual_loss=virtual_loss)
        scores = slow_puct(f, p)
        assert scores[run(f, p, 0, np.zeros(6, np.float32))] >= scores.max() - 1e-5


@pytest.mark.parametrize("rescale", [0, 1])
@pytest.mark.parametrize("flights", [False, True])
def test_completed_values_equal_their_formula(rescale, flights):
    generator = np.random.default_rng(2)
    for _ in range(300):
        f = node(generator, flights)
        p = parameters(kind=choice.GUMBEL, visit_offset=50.0, value_scale=0.1, rescale=rescale)
        got = np.zeros(6, np.float32)
        run(f, p, 3, got)
        wanted = slow_sigma(f, p)
        np.testing.assert_allclose(got, wanted - wanted.max(), atol=2e-3)


def test_values_that_differ_by_rounding_alone_are_not_stretched():
    """Else an evaluator that says the same everywhere would seem to know one best action."""
    generator = np.random.default_rng(8)
    for value in (0.3, -0.9):
        f = node(generator, False)
        n = f.edge["visits"][0, :6]
        n[:] = [3, 1, 7, 0, 2, 5]
        totals = np.float32(value) * n + generator.normal(0, 2e-7, 6)
        f.edge_total[0, :6] = totals[:, None]
        f.node_value[0, 0] = value
        p = parameters(kind=choice.GUMBEL, visit_offset=50.0, value_scale=0.1, rescale=1)
        got = np.zeros(6, np.float32)
        run(f, p, 3, got)
        assert np.ptp(got) < 0.3  # logits; stretched to the whole they would be 5.7 apart


@pytest.mark.parametrize("flights", [False, True])
def test_gumbel_inside_equals_its_formula(flights):
    generator = np.random.default_rng(3)
    for _ in range(300):
        f = node(generator, flights)
        p = parameters(kind=choice.GUMBEL, visit_offset=50.0, value_scale=0.1, rescale=1)
        n, o, _, prior, _ = read(f)
        improved = softmax(np.log(prior) + slow_sigma(f, p))
        scores = improved - (n + o) / (1 + (n + o).sum())
        assert scores[run(f, p, 1, np.zeros(6, np.float32))] >= scores.max() - 1e-4


def test_gumbel_root_takes_the_best_of_those_the_schedule_wants():
    generator = np.random.default_rng(4)
    for _ in range(300):
        f = node(generator, False)
        p = parameters(kind=choice.GUMBEL, considered=6, visit_offset=50.0, value_scale=0.1, rescale=1)
        n, _, _, prior, _ = read(f)
        wanted = generator.choice(n)
        f.schedule[6, 0] = wanted
        scores = f.root_noise[0] + np.log(prior) + slow_sigma(f, p)
        scores = np.where(n == wanted, scores, -np.inf)
        assert scores[run(f, p, 2, np.zeros(6, np.float32))] >= scores.max() - 2e-3


def test_ucb1_equals_its_formula_and_tries_all_first():
    generator = np.random.default_rng(5)
    for _ in range(300):
        f = node(generator, False)
        p = parameters(exploration=1.4)
        n, _, w, _, _ = read(f)
        # UCB1 visits each edge once before any twice: its state with unvisited edges has no edge above one visit.
        if (n == 0).any():
            f.edge["visits"][0, :6] = n > 0
            f.node["visits"][0, 0] = (n > 0).sum()
            assert f.edge["visits"][0, run(f, p, 4, np.zeros(6, np.float32))] == 0
        else:
            scores = w / n + 1.4 * np.sqrt(math.log(n.sum()) / n)
            assert scores[run(f, p, 4, np.zeros(6, np.float32))] >= scores.max() - 1e-5


@pytest.mark.parametrize("virtual_loss", [0.0, 1.0, 0.3])
def test_ucb1_counts_simulations_under_way_as_visits_that_lose(virtual_loss):
    generator = np.random.default_rng(6)
    tried = 0
    for _ in range(300):
        f = node(generator, True)
        p = parameters(exploration=1.4, virtual_loss=virtual_loss, leaves=4)
        counted = f.edge["visits"][0, :6] + f.edge["flight"][0, :6]
        got = run(f, p, 5, np.zeros(6, np.float32))
        if (counted == 0).any():
            f.edge["visits"][0, :6] = (counted > 0) & (f.edge["flight"][0, :6] == 0)
            f.edge["flight"][0, :6] = f.edge["flight"][0, :6] > 0
            f.node["visits"][0, 0] = f.edge["visits"][0, :6].sum()
            f.node["flight"][0, 0] = f.edge["flight"][0, :6].sum()
            assert counted[run(f, p, 5, np.zeros(6, np.float32))] == 0
            continue
        tried += 1
        seat = f.node["seat"][0, 0]
        value = (f.edge_total[0, :6, seat] - virtual_loss * f.edge["flight"][0, :6]) / counted
        scores = value + 1.4 * np.sqrt(math.log(counted.sum()) / counted)
        assert scores[got] >= scores.max() - 1e-5
    assert tried > 50


def test_halving_schedule():
    # 16 actions, 32 simulations, 4 phases of 8: too few for one visit each of 16, so the last phase falls away.
    got = choice.halving_schedule(16, 32)
    assert list(got[:16]) == [0] * 16
    assert list(got[16:24]) == [1] * 8
    assert list(got[24:]) == [2] * 4 + [3] * 4
    assert list(choice.halving_schedule(1, 4)) == [0, 1, 2, 3]
    # 4 actions, 16 simulations: 2 phases of 8: two visits of four, then four visits of two.
    assert list(choice.halving_schedule(4, 16)) == [0] * 4 + [1] * 4 + [2, 2, 3, 3, 4, 4, 5, 5]
