"""Connect four: seven columns of six; four in a line wins.

State: 0..6 stones in each column, 7 moves made, 8 winner (0 none, else seat + 1), 9..12 the seats' boards, each as two
halves of 64 bits. Bit 7 * column + row of a board is a stone; bit 6 of every column stays empty, so that shifts find
lines without running over an edge.

**Source:** bitboards of Fhourstones (John Tromp), and of Pascal Pons, "Solving Connect 4".
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray import compiled
from scoundrel_ray.compiled import inner, rule
from scoundrel_ray.game import ILLEGAL, OK, OVER, Game, Rules, nothing_hidden
from scoundrel_ray.rng import below, mix
from scoundrel_ray.spec import Field

COLUMNS, ROWS = 7, 6
CELLS = COLUMNS * ROWS
MOVES, WINNER, BOARDS = 7, 8, 9
_ONE = np.uint64(1)
_LOW_32 = np.uint64(0xFFFFFFFF)
_SHIFT_32 = np.uint64(32)


def make() -> Game:
    """The game; it has no options."""
    return Game(
        name="connect_four",
        version=1,
        seats=2,
        actions=COLUMNS,
        state_size=BOARDS + 4,
        max_legal=COLUMNS,
        max_steps=CELLS,
        # By columns from the bottom. Binary planes cost a network less than one field of three categories.
        observation=(Field("own", CELLS, 0, 1, "number"), Field("other", CELLS, 0, 1, "number")),
        score_range=(-1.0, 1.0),
        value_knots=((-1.0, -1.0), (1.0, 1.0)),
        win_above=0.0,
        hidden=False,
        action_names=tuple(f"column {column + 1}" for column in range(COLUMNS)),
        text=text,
        rules=Rules(deal, nothing_hidden, seat, legal, step, returns, observe, information_key, heuristic),
    )


@inner
def board(state, seat):
    """A seat's stones, uint64."""
    high = np.uint64(np.uint32(state[BOARDS + 2 * seat]))
    return (high << _SHIFT_32) | np.uint64(np.uint32(state[BOARDS + 2 * seat + 1]))


@inner
def has_four(stones):
    """Whether four stones stand in a line: columns, rows and both diagonals by shifts of 1, 7, 8 and 6."""
    for shift in (1, 7, 8, 6):
        pairs = stones & (stones >> np.uint64(shift))
        if pairs & (pairs >> np.uint64(2 * shift)):
            return True
    return False


@inner
def dropped(state, column):
    """The bit of a stone dropped into a column."""
    return _ONE << np.uint64(7 * column + state[column])


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
    for column in range(COLUMNS):  # written always, kept if there is room: no branch to mispredict
        out[count] = column
        count += state[column] < ROWS
    return count


@rule(compiled.STEP)
def step(state, action):
    if action < 0 or action >= COLUMNS or state[action] >= ROWS or state[WINNER]:
        return ILLEGAL
    mover = state[MOVES] & 1
    stones = board(state, mover) | dropped(state, action)
    state[BOARDS + 2 * mover] = np.int32(np.uint32(stones >> _SHIFT_32))
    state[BOARDS + 2 * mover + 1] = np.int32(np.uint32(stones & _LOW_32))
    state[action] += 1
    state[MOVES] += 1
    if has_four(stones):
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
    own, other = board(state, seat), board(state, 1 - seat)
    for column in range(COLUMNS):
        for row in range(ROWS):
            shift = np.uint64(7 * column + row)
            out[ROWS * column + row] = (own >> shift) & _ONE
            out[CELLS + ROWS * column + row] = (other >> shift) & _ONE
    return OK


@rule(compiled.INFORMATION_KEY)
def information_key(state, _seat):
    return mix(mix(np.uint64(0), board(state, 0)), board(state, 1))


@rule(compiled.HEURISTIC)
def heuristic(state, rng):
    """Wins if it can, else blocks, else plays where the cell above does not win for the other; ties by lot."""
    mover = state[MOVES] & 1
    own, other = board(state, mover), board(state, 1 - mover)
    for stones in (own, other):
        for column in range(COLUMNS):
            if state[column] < ROWS and has_four(stones | dropped(state, column)):
                return column
    best, chosen, ties = -1, -1, 0
    for column in range(COLUMNS):
        if state[column] >= ROWS:
            continue
        above = state[column] + 1 < ROWS and has_four(other | (dropped(state, column) << _ONE))
        merit = 0 if above else 4 - abs(column - 3)
        if merit > best:
            best, chosen, ties = merit, column, 1
        elif merit == best:
            ties += 1
            if below(rng, ties) == 0:
                chosen = column
    return chosen


def text(state: np.ndarray, _seat: int | None) -> str:
    """The board, top row first; X is seat 0."""
    marks = [
        [int((int(board(state, who)) >> (7 * c + r)) & 1) for c in range(COLUMNS)]
        for who in (0, 1)
        for r in range(ROWS)
    ]
    rows = []
    for r in reversed(range(ROWS)):
        first, second = marks[r], marks[ROWS + r]
        rows.append(" ".join("X" if a else "O" if b else "." for a, b in zip(first, second, strict=True)))
    return "\n".join([*rows, " ".join(str(column + 1) for column in range(COLUMNS))])
