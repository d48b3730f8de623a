"""Tic-tac-toe: three in a row on a board of nine; the shortest example of a game.

State: 0..8 cells (0 empty, 1 seat 0, 2 seat 1), 9 moves made, 10 winner (0 none, else seat + 1). Action c fills cell c,
counted by rows.
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray import compiled
from scoundrel_ray.compiled import inner, rule
from scoundrel_ray.game import ILLEGAL, OK, OVER, Field, Game, Rules, no_opinion, nothing_hidden

CELLS = 9
MOVES, WINNER = 9, 10


def make() -> Game:
    """The game; it has no options."""
    return Game(
        name="tic_tac_toe",
        version=1,
        seats=2,
        actions=CELLS,
        state_size=11,
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
    count = 0
    for cell in range(CELLS):
        if state[cell] == 0:
            out[count] = cell
            count += 1
    return count


@inner
def in_row(state, cell):
    """Whether the mark in `cell` is one of three in a row."""
    mark = state[cell]
    top, left = cell % 3, cell - cell % 3
    if state[left] == mark and state[left + 1] == mark and state[left + 2] == mark:
        return True
    if state[top] == mark and state[top + 3] == mark and state[top + 6] == mark:
        return True
    if state[4] != mark:
        return False
    return (state[0] == mark and state[8] == mark) or (state[2] == mark and state[6] == mark)


@rule(compiled.STEP)
def step(state, action):
    if action < 0 or action >= CELLS or state[action] or state[WINNER]:
        return ILLEGAL
    mark = 1 + (state[MOVES] & 1)
    state[action] = mark
    state[MOVES] += 1
    if in_row(state, action):
        state[WINNER] = mark
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
        mark = state[cell]
        out[cell] = 0 if mark == 0 else (1 if mark == seat + 1 else 2)
    return OK


@rule(compiled.INFORMATION_KEY)
def information_key(state, _seat):
    key = np.uint64(0)
    for cell in range(CELLS):
        key = key * np.uint64(3) + np.uint64(state[cell])
    return key


def text(state: np.ndarray, _seat: int | None) -> str:
    """The board in three lines."""
    marks = [".XO"[mark] for mark in state[:CELLS]]
    rows = [f"{number + 1} {' '.join(marks[3 * number : 3 * number + 3])}" for number in range(3)]
    return "\n".join(["  a b c", *rows])
