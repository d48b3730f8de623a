"""Treasure hunt: what agents see and get beside a slow transcription of the rules, and the known returns of players."""

import numpy as np
import pytest

from scoundrel_ray import rng
from scoundrel_ray.conformance.of_worlds import check_world
from scoundrel_ray.copies import Copies
from scoundrel_ray.settings.checks import InvalidSetting
from scoundrel_ray.world import OVER, TRUNCATED
from scoundrel_ray.worlds import treasure_hunt
from scoundrel_ray.worlds.treasure_hunt import AGENT, BONE, EMPTY, FOOD, GEM, PLACES, UNSEEN, WALL, make

MOVES = {0: (-1, 0), 1: (1, 0), 2: (0, -1), 3: (0, 1)}
OPTIONS = [
    {"agents": 3, "size": 7, "turns": 20, "spawn": 0.1},
    {"agents": 2, "size": 6, "reach": 1, "frames": 1, "turns": 9, "spawn": 0.2},
    {"agents": 1, "size": 9, "reach": 4, "frames": 3, "turns": 8, "spawn": 0.05},
]


def copies_of(world, count, seed=0):
    return Copies(world, np.stack([rng.stream(seed, number) for number in range(count)]))


def cells_of(state):
    return treasure_hunt._cells(state).copy()


def place_of(state, agent, reach, size):
    whole = size + 2 * (reach - 1)
    y, x = divmod(int(state[PLACES + agent]), whole)
    return y - reach + 1, x - reach + 1


@pytest.mark.parametrize("options", OPTIONS)
def test_the_contract_is_kept(options):
    check_world(make(**options), episodes=6, twins=1)


@pytest.mark.parametrize("options", OPTIONS)
def test_views_and_rewards_are_those_of_a_slow_transcription(options):
    """Cells are read before and after every move, by somebody who knows the rules in words alone."""
    world = make(**options)
    reach, frames, size = (world.options[name] for name in ("reach", "frames", "size"))
    copies, dice = copies_of(world, 1, seed=5), np.random.default_rng(1)
    for _ in range(3):
        views = [[np.full((2 * reach + 1,) * 2, UNSEEN)] * frames for _ in world.agents]
        owed = np.zeros(len(world.agents))
        while not copies.over[0]:
            (agent,) = np.flatnonzero(copies.acting[:, 0])
            before = cells_of(copies.states[0])
            y, x = place_of(copies.states[0], agent, reach, size)
            assert before[y, x] == AGENT
            around = np.pad(before, reach, constant_values=WALL)[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
            views[agent] = [*views[agent][1:], around]
            np.testing.assert_array_equal(copies.observations[agent, 0], np.concatenate(views[agent]).ravel())
            assert copies.rewards[agent, 0] == owed[agent]
            action = dice.integers(4)
            down, right = MOVES[action]
            held = before[y + down, x + right]
            owed[agent] = {GEM: 10, FOOD: 5, BONE: -10, WALL: -1, EMPTY: 0, AGENT: 0}[held]
            actions = np.full((len(world.agents), 1), 99, np.int16)  # nobody reads those of the others
            actions[agent] = action
            copies.step(actions)
            moved = held not in (WALL, AGENT)
            assert place_of(copies.states[0], agent, reach, size) == ((y + down, x + right) if moved else (y, x))
            after = cells_of(copies.states[0])
            assert (after == AGENT).sum() == len(world.agents)
            appeared = (after != before) & ~np.isin(after, (EMPTY, AGENT))
            assert not appeared.any() or (agent == len(world.agents) - 1 and (before[appeared] != WALL).all())
        np.testing.assert_array_equal(copies.rewards[:, 0], owed)
        assert (copies.ended == TRUNCATED).all()
        final = cells_of(copies.states[0])
        for agent in range(len(world.agents)):
            y, x = place_of(copies.states[0], agent, reach, size)
            around = np.pad(final, reach, constant_values=WALL)[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
            last = np.concatenate([*views[agent][1:], around]).ravel()
            np.testing.assert_array_equal(copies.observations[agent, 0], last)
        assert copies.renew() == 1 and not copies.over[0] and not copies.rewards.any()


def test_things_appear_on_empty_cells_by_the_odds_that_were_given():
    """Counts of a turn beside the binomial law, and kinds beside the uniform one."""
    world = make(agents=1, size=12, turns=2, spawn=0.03)
    copies = copies_of(world, 20_000)
    first = np.stack([cells_of(state) for state in copies.states])
    appeared = np.isin(first, (GEM, FOOD, BONE))
    cells = 10 * 10 - 1
    counts = appeared.sum(axis=(1, 2))
    assert counts.mean() == pytest.approx(cells * 0.03, abs=4 * np.sqrt(cells * 0.03 * 0.97 / len(counts)))
    assert counts.var() == pytest.approx(cells * 0.03 * 0.97, rel=0.05)
    kinds = np.bincount(first[appeared], minlength=7)[[GEM, FOOD, BONE]]
    assert abs(kinds / kinds.sum() - 1 / 3).max() < 4 * np.sqrt(2 / 9 / kinds.sum())
    inside = appeared[:, 1:-1, 1:-1].mean(axis=0)
    assert abs(inside / 0.03 / (cells / 100) - 1).max() < 0.25  # no cell is left out, none is favoured


def returns_of(world, count, guided):
    copies, dice = copies_of(world, count, seed=2), np.random.default_rng(0)
    streams = np.stack([rng.stream(3, number) for number in range(count)])
    totals, actions = np.zeros_like(copies.rewards), np.zeros(copies.rewards.shape, np.int16)
    while not copies.over.all():
        (agent,) = np.flatnonzero(copies.acting[:, 0])
        totals[agent] += copies.rewards[agent]
        if guided:
            actions[agent] = [
                world.rules.guide(*each) for each in zip(copies.states, [agent] * count, streams, strict=True)
            ]
        else:
            actions[agent] = dice.integers(0, 4, count)
        copies.step(actions)
    return totals + copies.rewards


@pytest.mark.parametrize(
    ("agents", "random", "rule"), [(2, 10.2, 172.7), (5, 9.7, 114.9), (10, 6.6, 69.6)], ids=["2", "5", "10"]
)
def test_random_players_and_the_rule_return_what_is_known(agents, random, rule):
    """Published defaults; the rule's figure is of another rule of ten lines, so it is met roughly."""
    world = make(agents=agents)
    got = returns_of(world, 256, guided=False)
    assert got.mean() == pytest.approx(random, abs=4 * float(got.mean(axis=0).std()) / 16 + 0.2)
    assert returns_of(world, 256, guided=True).mean() == pytest.approx(rule, rel=0.03)


def test_the_square_is_shown():
    world = make(agents=2, size=6)
    state = copies_of(world, 1).states[0]
    lines = world.text(state).splitlines()
    assert lines[0] == "turn 0 of 100" and lines[1] == "######" == lines[-1] and len(lines) == 7
    for agent in range(2):
        y, x = place_of(state, agent, 2, 6)
        assert lines[1 + y][x] == str(agent)
    assert world.picture(state).shape == (48, 48, 3)
    assert world.rules.mover(state) != OVER


@pytest.mark.parametrize(
    ("options", "named"),
    [({"agents": 0}, "agents"), ({"size": 3}, "size"), ({"spawn": 0.9}, "spawn"), ({"agents": 20, "size": 7}, "size"),
     ({"turns": 0}, "turns"), ({"reach": 0}, "reach"), ({"frames": 99}, "frames")],
)  # fmt: skip
def test_options_that_make_no_world_are_named(options, named):
    with pytest.raises(InvalidSetting, match=named):
        make(**options)
