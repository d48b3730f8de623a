"""Tic-tac-toe: three in a row on a board of nine; the shortest example of a game.

State: 0 and 1 the seats' marks, bit c for cell c, 2 moves made, 3 winner (0 none, else seat + 1). Action c fills cell
c, counted by rows.
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray import compiled
from scoundrel_ray.compiled import inner, rule
from scoundrel_ray.game import ILLEGAL, OK, OVER, Game, Rules, no_opinion, nothing_hidden
from scoundrel_ray.spec import Field

CELLS = 9
MOVES, WINNER = 2, 3


def make() -> Game:
    """The game; it has no options."""
    return Game(
        name="tic_tac_toe",
        version=1,
        seats=2,
        actions=CELLS,
        state_size=4,
        max_legal=CELLS,
        max_steps=CELLS,
        observation=(Field("cells", CELLS, 0, 2),),  # empty, own, other's
        score_range=(-1.0, 1.0),
        value_knots=((-1.0, -1.0), (1.0, 1.0)),
        win_above=0.0,
        hidden=False,
        action_names=tuple(f"{'abc'[cell % 3]}{cell // 3 + 1}" for cell in range(CELLS)),
        text=text,
        rules=Rules(deal, nothing_hidden, seat, legal, step, returns, observe, information_key, no_opinion),
    )


@rule(compiled.DEAL)
def deal(state, _rng):
    state[:] = 0
    return OK


@rule(compiled.SEAT)
def seat(state):
    return OVER if state[WINNER] or state[MOVES] == CELLS else state[MOVES] & 1


@rule(compiled.LEGAL)
def legal(state, out):
    if state[WINNER]:
        return 0
    empty = ~(state[0] | state[1])
    count = 0
    for cell in range(CELLS):  # written always, kept if empty: branches that nobody can predict cost more
        out[count] = cell
        count += (empty >> cell) & 1
    return count


@inner
def has_three(marks):
    """Whether three marks stand in a row, a column or a diagonal."""
    rows = marks & (marks >> 1) & (marks >> 2) & 0b001001001
    columns = marks & (marks >> 3) & (marks >> 6) & 0b000000111
    return bool(rows | columns) or marks & 0b100010001 == 0b100010001 or marks & 0b001010100 == 0b001010100


@rule(compiled.STEP)
def step(state, action):
    if action < 0 or action >= CELLS or ((state[0] | state[1]) >> action) & 1 or state[WINNER]:
        return ILLEGAL
    mover = state[MOVES] & 1
    state[mover] |= 1 << action
    state[MOVES] += 1
    if has_three(state[mover]):
        state[WINNER] = mover + 1
    return OK


@rule(compiled.RETURNS)
def returns(state, out):
    winner = state[WINNER]
    out[0] = 0 if winner == 0 else (1 if winner == 1 else -1)
    out[1] = -out[0]
    return OK


@rule(compiled.OBSERVE)
def observe(state, seat, out):
    for cell in range(CELLS):
        out[cell] = ((state[seat] >> cell) & 1) + 2 * ((state[1 - seat] >> cell) & 1)
    return OK


@rule(compiled.INFORMATION_KEY)
def information_key(state, _seat):
    return np.uint64((state[0] << CELLS) | state[1])


def text(state: np.ndarray, _seat: int | None) -> str:
    """The board in four lines; X is seat 0."""
    marks = [".XO"[(int(state[0]) >> cell & 1) + 2 * (int(state[1]) >> cell & 1)] for cell in range(CELLS)]
    rows = [f"{number + 1} {' '.join(marks[3 * number : 3 * number + 3])}" for number in range(3)]
    return "\n".join(["  a b c", *rows])
