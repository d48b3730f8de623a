"""A small honest game of several seats that is not zero-sum, after Blob: does your card win?

Every seat holds a card of its own, of ten, and says in turn whether it is the highest of all. Who is right scores 10,
and 1 more for a yes; who is wrong scores nothing.

State: 0 header (seats that play), 1 answers given, then the cards, then the answers (0 none, 1 no, 2 yes). Action 0 is
no, 1 yes. With `empty` one seat more is there, at which nobody sits.
"""

import numpy as np

from scoundrel_ray import compiled
from scoundrel_ray.compiled import inner, rule
from scoundrel_ray.game import Game, Rules, everyone
from scoundrel_ray.players import heuristic as rule_player
from scoundrel_ray.players import uniform
from scoundrel_ray.rng import below, mix
from scoundrel_ray.spec import Field

CARDS = 10
MOST = 4
HANDS, ANSWERS = 2, 2 + MOST


def make(seats: int = 3, empty: bool = False) -> Game:
    """The game for 2 to 4 players."""
    return Game(
        name="high card",
        version=1,
        seats=seats + empty,
        actions=2,
        state_size=ANSWERS + MOST,
        max_legal=2,
        max_steps=seats,
        observation=(Field("own", 1, 0, CARDS - 1, "number"), Field("answers", MOST, 0, 2)),
        score_range=(0.0, 11.0),
        value_knots=((0.0, -1.0), (11.0, 1.0)),
        win_above=None,
        hidden=True,
        action_names=("no", "yes"),
        text=lambda state, seat: f"seat {seat}, {state[1]} answers",
        rules=Rules(
            deal, redeal, seat, legal, step, returns, observe, information_key, heuristic,
            players=players if empty else everyone,
        ),
        header=(seats,),
        options={"seats": seats, "empty": empty},
    )  # fmt: skip


@inner
def draw_cards(state, kept, rng):
    """Other cards for all seats but `kept`."""
    for seat in range(state[0]):
        if seat != kept:
            state[HANDS + seat] = -1
    for seat in range(state[0]):
        while state[HANDS + seat] < 0:
            card = below(rng, CARDS)
            taken = False
            for other in range(state[0]):
                taken |= state[HANDS + other] == card
            if not taken:
                state[HANDS + seat] = card


@rule(compiled.DEAL)
def deal(state, rng):
    state[1:] = 0
    draw_cards(state, -1, rng)
    return 0


@rule(compiled.REDEAL)
def redeal(state, seat, rng):
    if state[1] < state[0]:
        draw_cards(state, seat, rng)
    return 0


@rule(compiled.SEAT)
def players(state):
    return state[0]


@rule(compiled.SEAT)
def seat(state):
    return state[1] if state[1] < state[0] else -1


@rule(compiled.LEGAL)
def legal(state, out):
    if state[1] == state[0]:
        return 0
    out[0], out[1] = 0, 1
    return 2


@rule(compiled.STEP)
def step(state, action):
    if state[1] == state[0] or action < 0 or action > 1:
        return 1
    state[ANSWERS + state[1]] = 1 + action
    state[1] += 1
    return 0


@rule(compiled.RETURNS)
def returns(state, out):
    out[:] = 0
    best = 0
    for seat in range(state[0]):
        if state[HANDS + seat] > state[HANDS + best]:
            best = seat
    for seat in range(state[0]):
        yes = state[ANSWERS + seat] == 2
        if yes == (seat == best):
            out[seat] = 10 + yes
    return 0


@rule(compiled.OBSERVE)
def observe(state, seat, out):
    out[0] = state[HANDS + seat]
    for place in range(MOST):
        out[1 + place] = state[ANSWERS + place]
    return 0


@rule(compiled.INFORMATION_KEY)
def information_key(state, seat):
    word = state[HANDS + seat]
    for place in range(state[0]):
        word = 3 * word + state[ANSWERS + place]
    return mix(np.uint64(seat), np.uint64(word))


@rule(compiled.HEURISTIC)
def heuristic(state, _rng):
    """Yes with a high card."""
    return 1 if state[HANDS + state[1]] >= 7 else 0


class Salted:
    """Plays uniformly, by draws that a uniform player in its place would not make; by the heuristic now and then."""

    def __init__(self, game, salt=1, sense=0.0):
        self.uniform, self.rule, self.sense = uniform(game), rule_player(game), sense
        self.salt = np.uint64(0x9E3779B97F4A7C15 * salt % 2**64)

    def choose(self, states, streams):
        own = streams ^ self.salt
        actions = self.uniform.choose(states, own)
        streams[:] = own ^ self.salt
        sensible = (own[:, 0] % np.uint64(1000)) < np.uint64(round(1000 * self.sense))
        return np.where(sensible, self.rule.choose(states, own), actions).astype(np.int16)
