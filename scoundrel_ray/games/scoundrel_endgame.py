"""Scoundrel's last rooms, solved: the expected value of every choice, over all orders of the cards never seen.

An expectimax over what the player knows: a choice takes the best of what follows, a draw the mean over the cards that
may come. Drawn cards are taken in every order where their room may be avoided, since avoided cards come back in it,
and else as a set. Positions that the player cannot tell apart are valued once.

The cost grows with the orders left and with the avoided cards at the bottom, from a few hundred positions to millions
(1.3 us each). `solve` gives up beyond a given number of positions, so that its answer is the same on every machine.
"""

from __future__ import annotations

import numpy as np
from numba import types

from scoundrel_ray import rng
from scoundrel_ray.compiled import inlined, inner, kernel
from scoundrel_ray.game import OK, RULES, Game, to_value
from scoundrel_ray.games import scoundrel_state as s

MOST_UNSEEN = 7  # beyond, no position was solved within the most positions
MOST_POSITIONS = 100_000
_DEEPEST = 64  # choices left with so few cards

_FAILED = np.inf  # in place of a value: too many positions, or a rule failed


@inlined
def key_of(rules, state):
    """Key of what the player knows; of a room that may be avoided, with the order in which its cards came."""
    key = np.uint64(rules.information_key(state, 0))
    if state[s.MAY_AVOID]:
        word = np.uint64(1)
        for position in range(state[s.HEAD] - s.ROOM_SIZE, state[s.HEAD]):
            word = (word << np.uint64(6)) | np.uint64(state[s.place(position)])
        key = np.uint64(rng.mix(key, word))
    return key


@inlined
def unseen(state):
    """Cards never seen: all lie in [HEAD, 44)."""
    return max(0, s.CARDS - state[s.HEAD])


@inner
def pick(state, code, drawn, ordered):
    """Put the cards that `code` names, digit by digit to the base of the unseen ones, on top of the dungeon.

    Returns 0 if it names one twice or, unless `ordered`, not in ascending order; then the state is useless.
    """
    count = unseen(state)
    top = s.DUNGEON + s.CARDS - count
    last = -1
    taken = 0
    for i in range(drawn):
        digit = code % count
        code //= count
        if taken & (1 << digit) or (not ordered and digit < last):
            return 0
        taken |= 1 << digit
        last = digit
        # What was taken before moved the cards in front of it back by a place each.
        at = digit
        for other in range(digit + 1, count):
            at += (taken >> other) & 1
        card = state[top + at]
        for j in range(top + at, top + i, -1):
            state[j] = state[j - 1]
        state[top + i] = card
    return 1


@kernel(
    types.float64(
        RULES, types.int32[:, ::1], types.int16[:, ::1], types.int64, types.float32[:, ::1], types.uint64[::1],
        types.float64[::1], types.int64[::1], types.float64[::1],
    )
)  # fmt: skip
def expect(rules, states, legal, depth, knots, keys, known, left, root):
    """Value of states[depth] for a player who plays perfectly on; at depth 0 also that of each action, into `root`."""
    state = states[depth]
    if rules.seat(state) < 0:
        score = np.empty(1, np.float32)
        if rules.returns(state, score) != OK:
            return _FAILED
        return np.float64(to_value(score[0], knots))
    key = key_of(rules, state)
    slot = np.int64(key & np.uint64(keys.shape[0] - 1))
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & (keys.shape[0] - 1)
    if keys[slot] == key:
        return known[slot]
    left[0] -= 1
    if left[0] < 0 or depth + 1 >= states.shape[0]:
        return _FAILED
    count = rules.legal(state, legal[depth])
    best = -np.inf
    after = states[depth + 1]
    for i in range(count):
        action = legal[depth, i]
        after[:] = state
        if rules.step(after, action) != OK:
            return _FAILED
        drawn = unseen(state) - unseen(after)
        ordered = after[s.MAY_AVOID]
        total = 0.0
        ways = 0
        for code in range(unseen(state) ** drawn):
            if drawn:
                after[:] = state
                if not pick(after, code, drawn, ordered):
                    continue
                if rules.step(after, action) != OK:
                    return _FAILED
            value = expect(rules, states, legal, depth + 1, knots, keys, known, left, root)
            if value == _FAILED:
                return _FAILED
            total += value
            ways += 1
        total /= ways
        if depth == 0:
            root[i] = total
        best = max(best, total)
    while keys[slot] != 0:  # positions below took slots
        slot = (slot + 1) & (keys.shape[0] - 1)
    keys[slot] = key
    known[slot] = best
    return best


def solve(game: Game, state: np.ndarray, most_positions: int) -> np.ndarray | None:
    """Exact value of each legal action, for a player who from then on plays as well as what it knows allows.

    Args:
        game: Scoundrel.
        state: [S] int32, the player to move.
        most_positions: beyond which it is given up; MOST_POSITIONS at most.

    Returns:
        [n, 1] float32 in the game's values, expected over all orders of the unseen cards; None where too many positions
        are left, and where avoided cards are shuffled, whose orders it does not enumerate.
    """
    if state[s.AVOIDED] or s.CARDS - state[s.HEAD] > MOST_UNSEEN:
        return None
    most_positions = min(most_positions, MOST_POSITIONS)
    slots = 1 << (2 * most_positions).bit_length()  # a power of two, of which at most half are used
    states = np.empty((_DEEPEST, game.state_size), dtype=np.int32)
    states[0] = state
    legal = np.empty((_DEEPEST, game.max_legal), dtype=np.int16)
    root = np.empty(game.max_legal, dtype=np.float64)
    value = expect.launch(
        game.rules, states, legal, 0, game.knots, np.zeros(slots, dtype=np.uint64), np.empty(slots),
        np.array([most_positions]), root,
    )  # fmt: skip
    return None if value == _FAILED else root[: len(game.legal(state)), None].astype(np.float32)
