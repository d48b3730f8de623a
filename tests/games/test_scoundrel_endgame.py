"""The end-game solver beside an expectimax over explicit sets of worlds, in plain Python."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from scoundrel_ray import rng
from scoundrel_ray.games import scoundrel
from scoundrel_ray.games import scoundrel_state as s
from scoundrel_ray.games.scoundrel_endgame import MOST_POSITIONS, solve

GAME = scoundrel.make()


def late_states(game, unseen, count, most_left=8):
    """States with a choice, so many unseen cards and few left, from games played by rules of thumb."""
    found = []
    for seed in range(20_000):
        state, stream = game.deal(rng.stream(seed)), rng.stream(seed, 1)
        while game.seat(state) >= 0:
            small = state
            while state[s.TAIL] == s.CARDS and unseen < s.CARDS - small[s.HEAD] <= 4:
                small = without_top(small)
            fits = s.CARDS - min(small[s.HEAD], s.CARDS) == unseen and small[s.LEFT] <= most_left
            if fits and len(game.legal(small)) > 1:
                found.append(small)
                break
            state = game.step(state, int(game.rules.playout(state, stream)))
        if len(found) == count:
            return found
    raise AssertionError(f"only {len(found)} states")


def without_top(state):
    """The state had the dungeon one card less: the first unseen one is gone."""
    state = state.copy()
    head = s.DUNGEON + int(state[s.HEAD])
    card = int(state[head])
    state[head - 3 : head + 1] = state[head - 4 : head]  # the room's cards in the order in which they came
    state[s.HEAD] += 1
    state[s.LEFT] -= 1
    state[s.POINTS_LEFT] -= s.card_value(card) if card < s.MONSTERS else 0
    mask = s.UNSEEN_LOW if card < s.HALF else s.UNSEEN_HIGH
    state[mask] &= ~(1 << (card % s.HALF))
    return state


def worlds_of(state):
    """Every order of the unseen cards."""
    low, high = s.DUNGEON + min(int(state[s.HEAD]), s.CARDS), s.DUNGEON + s.CARDS
    for order in itertools.permutations(state[low:high].tolist()):
        world = state.copy()
        world[low:high] = order
        yield world


def seen(game, state):
    """All that the player has seen: the observation, and the order in which the room's cards came."""
    if game.seat(state) < 0:
        return tuple(map(float, game.scores(state)))
    head = int(state[s.HEAD])
    came = tuple(int(state[s.place(p)]) for p in range(head - s.ROOM_SIZE, head)) if state[s.MAY_AVOID] else ()
    return (*map(int, game.observe(state, 0)), *came)


def values(game, worlds):
    """Exact value of each action of equally likely worlds that the player cannot tell apart."""
    found = []
    for action in game.legal(worlds[0]):
        groups = {}
        for world in worlds:
            after = game.step(world, int(action))
            groups.setdefault(seen(game, after), []).append(after)
        found.append(sum(Fraction(len(group), len(worlds)) * value(game, group) for group in groups.values()))
    return found


def value(game, worlds):
    if game.seat(worlds[0]) < 0:
        return Fraction(float(game.values(game.scores(worlds[0]))[0]))
    return max(values(game, worlds))


@pytest.mark.parametrize("options", [{}, {"weapon_limit": "below", "last_room": "all_but_one", "objective": "win"}])
@pytest.mark.parametrize(("unseen", "count"), [(0, 20), (1, 20), (2, 20), (3, 6), (4, 3)])
def test_exact_values_are_those_of_the_slow_expectimax(options, unseen, count):
    game = scoundrel.make(**options)
    for state in late_states(game, unseen, count, most_left=6 if unseen != 3 else 7):
        exact = solve(game, state, MOST_POSITIONS)
        assert exact is not None and exact.dtype == np.float32
        np.testing.assert_allclose(exact[:, 0], [float(v) for v in values(game, list(worlds_of(state)))], atol=1e-6)


def test_the_true_order_has_no_say():
    for state in late_states(GAME, 3, 5):
        wanted = solve(GAME, state, MOST_POSITIONS)
        for world in worlds_of(state):
            np.testing.assert_array_equal(solve(GAME, world, MOST_POSITIONS), wanted)


def test_what_is_too_much_is_given_up():
    state = late_states(GAME, 3, 1)[0]
    assert solve(GAME, state, 1) is None
    assert solve(GAME, GAME.deal(rng.stream(0)), MOST_POSITIONS) is None
    shuffled = scoundrel.make(avoided="shuffled")
    assert solve(shuffled, late_states(shuffled, 0, 1)[0], MOST_POSITIONS) is None
