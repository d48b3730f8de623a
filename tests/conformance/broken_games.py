"""A small game with hidden cards, and variants of it that each break one promise of the contract.

Two seats hold one card each, of four. Each in turn bids 0, 1 or 2, the second not the same as the first; then both
cards are shown and the higher one wins, the more if the bids are high.

State: 0 header (always 7), 1 bids made, 2 and 3 the cards, 4 and 5 the bids + 1.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from scoundrel_ray import compiled
from scoundrel_ray.compiled import inner, rule
from scoundrel_ray.game import Game, Rules, everyone, no_opinion
from scoundrel_ray.rng import below, mix
from scoundrel_ray.spec import Field

HEADER = 7
RULES = {"players": everyone}


class Broken(NamedTuple):
    """One broken promise: the rules and attributes that break it, and how the message starts and goes on."""

    rules: dict
    says: str
    wanted: str = "wanted"
    attributes: Mapping = MappingProxyType({})


def game(**changes):
    """The game, with rules or attributes replaced by name."""
    rules = Rules(**{name: changes.pop(name, kept) for name, kept in RULES.items()})
    attributes = {
        "name": "two cards",
        "version": 1,
        "seats": 2,
        "actions": 3,
        "state_size": 6,
        "max_legal": 3,
        "max_steps": 2,
        "observation": (Field("own", 1, 1, 4), Field("other", 1, 0, 4), Field("bids", 2, 0, 3)),
        "score_range": (-9.0, 9.0),
        "value_knots": ((-9.0, -1.0), (9.0, 1.0)),
        "win_above": 0.0,
        "hidden": True,
        "action_names": ("bid 0", "bid 1", "bid 2"),
        "text": text,
        "rules": rules,
        "header": (HEADER,),
    }
    return Game(**{**attributes, **changes})


def text(state, seat):
    cards = [str(state[2 + i]) if seat in (None, i) or state[1] == 2 else "?" for i in range(2)]
    return f"cards {' '.join(cards)}, bids {state[4:6] - 1}"


def keep(py_func):
    RULES[py_func.__name__] = rule(getattr(compiled, py_func.__name__.upper()))(py_func)
    return RULES[py_func.__name__]


@keep
def deal(state, rng):
    state[1:] = 0
    state[2] = below(rng, 4)
    state[3] = (state[2] + 1 + below(rng, 3)) % 4
    return 0


@keep
def redeal(state, seat, rng):
    if state[1] < 2:
        state[3 - seat] = (state[2 + seat] + 1 + below(rng, 3)) % 4
    return 0


@keep
def seat(state):
    return state[1] if state[1] < 2 else -1


@keep
def legal(state, out):
    count = 0
    for bid in range(3):
        if state[1] < 2 and state[4] != bid + 1:
            out[count] = bid
            count += 1
    return count


@keep
def step(state, action):
    if state[1] == 2 or action < 0 or action > 2 or state[4] == action + 1:
        return 1
    state[4 + state[1]] = action + 1
    state[1] += 1
    return 0


@keep
def returns(state, out):
    out[0] = (state[2] - state[3]) * max(state[4], state[5])
    out[1] = -out[0]
    return 0


@keep
def observe(state, seat, out):
    out[0] = state[2 + seat] + 1
    out[1] = state[3 - seat] + 1 if state[1] == 2 else 0
    out[2] = state[4]
    out[3] = state[5]
    return 0


@keep
def information_key(state, seat):
    return mix(np.uint64(state[2 + seat]), np.uint64(4 * state[4] + state[5]))


@keep
def heuristic(state, _rng):
    """Bids high with a high card."""
    bid = 2 if state[2 + state[1]] >= 2 else 0
    return -1 if state[4] == bid + 1 else bid


@rule(compiled.DEAL)
def deal_leaves_old_bids(state, rng):
    state[1] = 0
    state[2] = below(rng, 4)
    state[3] = (state[2] + 1 + below(rng, 3)) % 4
    return 0


@rule(compiled.DEAL)
def deal_changes_header(state, _rng):
    state[:] = 0
    return 0


@rule(compiled.DEAL)
def deal_fails(_state, _rng):
    return 3


@rule(compiled.DEAL)
def deal_draws_elsewhere(state, _rng):
    state[1:] = 0
    state[2] = np.random.randint(1 << 30)
    return 0


@rule(compiled.REDEAL)
def redeal_own_card(state, seat, rng):
    if state[1] < 2:
        state[2 + seat] = (state[3 - seat] + 1 + below(rng, 3)) % 4
    return 0


@rule(compiled.REDEAL)
def redeal_draws_elsewhere(state, seat, _rng):
    if state[1] < 2:
        state[3 - seat] = (state[2 + seat] + 1 + np.random.randint(3)) % 4
    return 0


@rule(compiled.REDEAL)
def redeal_finished(state, seat, rng):
    state[3 - seat] = (state[2 + seat] + 1 + below(rng, 3)) % 4
    return 0


@rule(compiled.REDEAL)
def redeal_from_the_hidden(state, seat, rng):
    if state[1] < 2:
        hidden = (state[3 - seat] - state[2 + seat] - 1) % 4
        state[3 - seat] = (state[2 + seat] + 1 + (hidden + below(rng, 3)) % 3) % 4
    return 0


@rule(compiled.REDEAL)
def redeal_nothing(_state, _seat, _rng):
    return 0


@rule(compiled.SEAT)
def seat_too_high(state):
    return 2 * state[1] if state[1] < 2 else -1


@rule(compiled.SEAT)
def seat_goes_on(state):
    return state[1] & 1


@rule(compiled.SEAT)
def players_three(_state):
    return 3


@rule(compiled.SEAT)
def players_one(_state):
    return 1


@rule(compiled.SEAT)
def players_come(state):
    return 1 + min(state[1], 1)


@rule(compiled.SEAT)
def seat_writes(state):
    state[4] = 1
    return state[1] if state[1] < 2 else -1


@rule(compiled.LEGAL)
def legal_descends(state, out):
    if state[1] == 2:
        return 0
    out[0], out[1] = 2, 1
    return 2


@rule(compiled.LEGAL)
def legal_too_many(_state, _out):
    return 4


@rule(compiled.LEGAL)
def legal_out_of_range(_state, out):
    out[0] = 3
    return 1


@rule(compiled.LEGAL)
def legal_unwritten(_state, _out):
    return 1


@rule(compiled.LEGAL)
def legal_leaves_out(state, out):
    if state[1] == 2:
        return 0
    out[0] = 1 if state[4] == 1 else 0
    return 1


@inner
def barred(state):
    """A bid that depends on the other's card."""
    return state[3 - state[1]] % 3


@rule(compiled.LEGAL)
def legal_peeks(state, out):
    count = 0
    for bid in range(3):
        if state[1] < 2 and bid != barred(state):
            out[count] = bid
            count += 1
    return count


@rule(compiled.STEP)
def step_peeks(state, action):
    if state[1] == 2 or action < 0 or action > 2 or action == barred(state):
        return 1
    state[4 + state[1]] = action + 1
    state[1] += 1
    return 0


@rule(compiled.STEP)
def step_takes_all(state, action):
    if state[1] == 2 or action < 0 or action > 2:
        return 1
    state[4 + state[1]] = action + 1
    state[1] += 1
    return 0


@rule(compiled.STEP)
def step_writes_first(state, action):
    bids = state[4 + state[1]]
    state[4 + state[1]] = action + 1
    if bids or state[1] == 2 or action < 0 or action > 2 or (state[1] and state[4] == action + 1):
        return 1
    state[1] += 1
    return 0


@rule(compiled.STEP)
def step_refuses_two(state, action):
    if state[1] == 2 or action < 0 or action > 1 or state[4] == action + 1:
        return 1
    state[4 + state[1]] = action + 1
    state[1] += 1
    return 0


@rule(compiled.STEP)
def step_draws(state, action):
    if state[1] == 2 or action < 0 or action > 2 or state[4] == action + 1:
        return 1
    state[3] = np.random.randint(1 << 30)
    state[4 + state[1]] = action + 1
    state[1] += 1
    return 0


@rule(compiled.STEP)
def step_changes_header(state, action):
    if state[1] == 2 or action < 0 or action > 2 or state[4] == action + 1:
        return 1
    state[0] += 1
    state[4 + state[1]] = action + 1
    state[1] += 1
    return 0


@rule(compiled.STEP)
def step_writes_behind(state, action):
    if state[1] == 2 or action < 0 or action > 2 or state[4] == action + 1:
        return 1
    state[4 + state[1]] = action + 1
    state[1] += 1
    state[5 + state[1]] = 0
    return 0


@rule(compiled.STEP)
def step_stays(state, action):
    return 1 if state[1] == 2 or action < 0 or action > 2 or state[4] == action + 1 else 0


@rule(compiled.RETURNS)
def returns_too_much(state, out):
    out[0] = 100 * state[4]
    out[1] = -out[0]
    return 0


@rule(compiled.RETURNS)
def returns_first_alone(state, out):
    out[0] = state[2] - state[3]
    return 0


@rule(compiled.RETURNS)
def returns_nan(_state, out):
    out[:] = np.nan
    return 0


@rule(compiled.OBSERVE)
def observe_other(state, seat, out):
    out[0] = state[2 + seat] + 1
    out[1] = state[3 - seat] + 1
    out[2] = state[4]
    out[3] = state[5]
    return 0


@rule(compiled.OBSERVE)
def observe_own(state, seat, out):
    out[0] = state[2 + seat] + 1
    out[1] = 0
    out[2] = state[4]
    out[3] = state[5]
    return 0


@rule(compiled.OBSERVE)
def observe_out_of_range(_state, _seat, out):
    out[:] = 4
    return 0


@rule(compiled.OBSERVE)
def observe_in_part(state, seat, out):
    out[0] = state[2 + seat] + 1
    out[1] = 0
    out[3] = 0
    return 0


@rule(compiled.OBSERVE)
def observe_behind(state, seat, out):
    out[:] = 0
    out[0] = state[2 + seat] + 1
    out[4] = 0
    return 0


@rule(compiled.OBSERVE)
def observe_overflows(state, seat, out):
    """Python keeps 32 bits here, compiled code 64."""
    out[0] = state[2 + seat] + 1
    out[1] = state[3 - seat] + 1 if state[1] == 2 else 0
    out[2] = ((state[4] + 64) * (1 << 30) >> 30) - 64
    out[3] = state[5]
    return 0


@rule(compiled.INFORMATION_KEY)
def key_of_all(state, _seat):
    return mix(np.uint64(4 * state[2] + state[3]), np.uint64(4 * state[4] + state[5]))


@rule(compiled.INFORMATION_KEY)
def key_of_bids(state, _seat):
    return np.uint64(4 * state[4] + state[5])


@rule(compiled.INFORMATION_KEY)
def key_of_chance(_state, _seat):
    return np.uint64(np.random.randint(1 << 30))


@rule(compiled.HEURISTIC)
def heuristic_peeks(state, _rng):
    bid = 2 if state[2 + state[1]] > state[3 - state[1]] else 0
    return -1 if state[4] == bid + 1 else bid


@rule(compiled.HEURISTIC)
def heuristic_repeats(_state, _rng):
    return 1


def text_of_bids(state, _seat):
    return f"bids {state[4:6] - 1}"


def text_of_all(state, _seat):
    return text(state, None)


BROKEN = {
    "deal leaves entries": Broken({"deal": deal_leaves_old_bids}, "rule deal gave two values, or none, for entry 4"),
    "deal changes header": Broken({"deal": deal_changes_header}, "rule deal gave the header (0,), wanted it untouched"),
    "deal fails": Broken({"deal": deal_fails}, "rule deal gave status 3, wanted 0"),
    "deal draws elsewhere": Broken({"deal": deal_draws_elsewhere}, "rule deal gave two values, or none, for entry 2"),
    "redeal changes the known": Broken(
        {"redeal": redeal_own_card}, "rule observe of own gave [", "as before redeal for seat "
    ),
    "redeal draws elsewhere": Broken({"redeal": redeal_draws_elsewhere}, "rule redeal gave two different states"),
    "redeal changes the result": Broken(
        {"redeal": redeal_finished, "observe": observe_own},
        "rule returns gave ",
        "as before redeal for seat ",
        {"text": text_of_bids},
    ),
    "redeal starts from the hidden": Broken(
        {"redeal": redeal_from_the_hidden}, "rule redeal gave two different states", "wanted that of before"
    ),
    "redeal does nothing": Broken({"redeal": redeal_nothing}, "rule redeal gave the same state every time"),
    "redeal of nothing hidden": Broken({}, "rule redeal gave another state for seat 0", "wanted", {"hidden": False}),
    "seat too high": Broken({"seat": seat_too_high}, "rule seat gave 2, wanted -1 to 1"),
    "seat without legal": Broken({"seat": seat_goes_on}, "rule seat gave 0 with legal actions []"),
    "too many players": Broken({"players": players_three}, "rule players gave 3, wanted 1 to 2, or 0 for that"),
    "an empty seat moves": Broken({"players": players_one}, "rule seat gave 1, wanted -1 to 0"),
    "a player comes late": Broken({"players": players_come}, "rule players gave 2, wanted 1, as when it was dealt"),
    "seat writes": Broken({"seat": seat_writes}, "rule seat gave a changed state, wanted an untouched one"),
    "legal descends": Broken({"legal": legal_descends}, "rule legal gave [2, 1], wanted ascending"),
    "legal too many": Broken({"legal": legal_too_many}, "rule legal gave 4 actions, wanted 0 to max_legal = 3"),
    "legal out of range": Broken({"legal": legal_out_of_range}, "rule legal gave [3], wanted ascending"),
    "legal unwritten": Broken({"legal": legal_unwritten}, "rule legal gave [85] and [-86] for one state"),
    "legal leaves out": Broken({"legal": legal_leaves_out}, "rule step gave status 0 for illegal action 1"),
    "legal leaks": Broken(
        {"legal": legal_peeks, "step": step_peeks, "heuristic": no_opinion}, "rule legal gave ", "], wanted ["
    ),
    "step takes all": Broken({"step": step_takes_all}, "rule step gave status 0 for illegal action"),
    "step writes first": Broken({"step": step_writes_first}, "rule step gave a changed state for illegal action"),
    "step refuses": Broken({"step": step_refuses_two}, "rule step gave status 1 for 2, wanted 0"),
    "step draws": Broken({"step": step_draws}, "rule step gave two different states after action 0"),
    "step changes header": Broken({"step": step_changes_header}, "rule step gave the header (8,), wanted it untouched"),
    "step writes behind": Broken({"step": step_writes_behind}, "rule step gave a write outside the arrays"),
    "endless": Broken({"step": step_stays}, "rule seat gave a game that goes on, wanted its end within max_steps = 2"),
    "score out of range": Broken(
        {"returns": returns_too_much}, "rule returns gave [", ".0], wanted scores from -9.0 to 9.0"
    ),
    "score unwritten": Broken(
        {"returns": returns_first_alone},
        "rule returns gave [",
        " for one state, wanted the same, with every entry written",
    ),
    "score not a number": Broken({"returns": returns_nan}, "rule returns gave [nan, nan], wanted scores from -9.0"),
    "observation leaks": Broken(
        {"observe": observe_other}, "rule observe of other gave [", "as before redeal for seat "
    ),
    "observation out of range": Broken({"observe": observe_out_of_range}, "rule observe gave bids [4, 4] to seat 0"),
    "observation unwritten": Broken({"observe": observe_in_part}, "rule observe gave [3, 0, 85, 0] and [3, 0, -86, 0]"),
    "observation too long": Broken({"observe": observe_behind}, "rule observe gave a write outside the arrays"),
    "twin differs": Broken({"observe": observe_overflows}, "rule observe gave [", " as plain Python, wanted ["),
    "key leaks": Broken({"information_key": key_of_all}, "rule information_key gave ", "as before redeal for seat "),
    "key forgets": Broken({"information_key": key_of_bids}, "rule information_key gave 0 to seat 0 as for deal("),
    "key draws": Broken(
        {"information_key": key_of_chance}, "rule information_key gave ", " for one state, wanted one key"
    ),
    "heuristic peeks": Broken({"heuristic": heuristic_peeks}, "rule heuristic gave ", "as before redeal for seat "),
    "heuristic illegal": Broken({"heuristic": heuristic_repeats}, "rule heuristic gave 1, then 1, wanted twice"),
    "text leaks": Broken({}, "rule text gave 'cards ", "as before redeal for seat ", {"text": text_of_all}),
    "text missing": Broken(
        {}, "rule text gave '' to seat None, wanted a text", "wanted", {"text": lambda _state, _seat: ""}
    ),
    "text of an action": Broken(
        {}, "action_names gave ' b' for action 1", "wanted", {"action_names": ("a", " b", "c")}
    ),
}
