"""Scoundrel: one player, 44 cards, rooms of four; fight, equip, drink or avoid, and leave the dungeon alive.

**Source:** Zach Gage and Kurt Bieg, "Scoundrel", rules v1.0 of 15 August 2011. Where the rules can be read in two
ways, the reading is a named option (see `make`), the official one first. Cards, actions and the layout of a state:
`scoundrel_state`.

A monster may always be fought barehanded, even where the weapon could be used: that costs life but spares the weapon's
limit, and is often the better choice.

The dungeon is a ring whose positions only grow: 0..43 as dealt, then what avoiding put back, four by four. Cards
are drawn at HEAD, put back at TAIL. So what lies in [HEAD, 44) was never seen, and what lies from 44 on was: in order,
or, if avoided cards are shuffled, as the set of its group of four. A card carried into the next room goes back on top
first, so a room's four lie in [HEAD - 4, HEAD) in the order in which they came, until they are overwritten much later.
The room's own entries are kept ascending, so that legal actions are, too. The player is shown a room as a set: in which
order its cards came is hidden, and drawn by `redeal`, until they are put back.
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray import compiled
from scoundrel_ray.compiled import rule
from scoundrel_ray.game import ILLEGAL, OK, OVER, Game, Rules
from scoundrel_ray.games import scoundrel_state as s
from scoundrel_ray.games.scoundrel_endgame import solve
from scoundrel_ray.games.scoundrel_heuristic import heuristic
from scoundrel_ray.games.scoundrel_playout import playout
from scoundrel_ray.games.scoundrel_text import action_names, text
from scoundrel_ray.rng import mix, shuffle
from scoundrel_ray.settings.checks import InvalidSetting, one_of
from scoundrel_ray.spec import Field

_GONE, _IN_ROOM, _UNSEEN, _KNOWN = range(4)  # where a card is

OBSERVATION = (
    Field("location", s.CARDS, _GONE, _KNOWN),
    Field("draws_until_known", s.CARDS, 0, s.CARDS - s.ROOM_SIZE, "number"),
    Field("life", 1, 0, s.FULL_LIFE, "number"),
    Field("weapon", 1, 0, 10, "number"),
    Field("weapon_limit", 1, 0, s.FRESH, "number"),
    Field("unseen", 1, 0, s.CARDS - s.ROOM_SIZE, "number"),
    Field("in_room", 1, 0, s.ROOM_SIZE, "number"),
    Field("faced_in_room", 1, 0, s.ROOM_SIZE - 1, "number"),
    Field("may_avoid", 1, 0, 1),
    Field("potion_used", 1, 0, 1),
)
_NUMBERS = 2 * s.CARDS

# How scores become values. All have a win above every loss; `mixed` leaves as much to the score of a lost game as to
# winning, so that a search that never wins still knows better from worse.
VALUE_KNOTS = {
    "mixed": ((-188.0, -1.0), (0.0, 0.0), (1.0, 0.5), (30.0, 1.0)),
    "score": ((-188.0, -1.0), (30.0, 1.0)),
    "win": ((-188.0, -1.0), (0.0, -0.8), (1.0, 0.8), (30.0, 1.0)),
}


def make(**options: str) -> Game:
    """The game with the given readings of its rules.

    Args:
        weapon_limit: a used weapon may be used on monsters "at_most" as strong as its last kill, or "below" it.
        last_room: the room of two that is left at the end is faced "whole", or "all_but_one" of its cards, as in every
            other room; the card left over counts for nothing.
        avoided: cards put at the bottom stay "ordered" as they came, which is told from then on, or are "shuffled"
            among the four.
        losing_score: the life that a loss starts from, "unclamped" (below 0) or "clamped" at 0.
        bonus: a win with full life adds the value of a potion that was "last_faced" (whether or not it took effect),
            "last_drunk" (took effect), or "none".
        objective: how scores become values: "mixed", "score" (linear) or "win" (see VALUE_KNOTS).

    Raises:
        InvalidSetting: a ValueError that names the option, what it got and what was wanted.
    """
    for key, value in options.items():
        if key not in s.OPTIONS:
            raise InvalidSetting(key, f"got {value!r}, but scoundrel has only {', '.join(s.OPTIONS)}")
        one_of(key, value, s.OPTIONS[key])
    chosen: dict[str, str] = {key: options.get(key, readings[0]) for key, readings in s.OPTIONS.items()}
    most = s.FULL_LIFE if chosen["bonus"] == "none" else s.FULL_LIFE + 10
    return Game(
        name="scoundrel",
        version=1,
        seats=1,
        actions=s.ACTIONS,
        state_size=s.STATE_SIZE,
        max_legal=2 * s.ROOM_SIZE + 1,
        max_steps=s.CARDS + s.MOST_AVOIDS,
        observation=OBSERVATION,
        score_range=(float(s.FULL_LIFE - s.MONSTER_POINTS), float(most)),
        value_knots=VALUE_KNOTS[chosen["objective"]],
        win_above=0.0,
        hidden=True,
        action_names=action_names(),
        text=text,
        solve=solve,
        rules=Rules(deal, redeal, seat, legal, step, returns, observe, information_key, heuristic, playout),
        header=tuple(s.OPTIONS[key].index(value) for key, value in chosen.items()),
        options=chosen,
    )


@rule(compiled.DEAL)
def deal(state, rng):
    state[s.LIFE :] = 0
    state[s.LIFE] = s.FULL_LIFE
    state[s.LEFT] = s.CARDS
    state[s.POINTS_LEFT] = s.MONSTER_POINTS
    state[s.UNSEEN_LOW] = (1 << s.HALF) - 1
    state[s.UNSEEN_HIGH] = (1 << (s.CARDS - s.HALF)) - 1
    state[s.TAIL] = s.CARDS
    for card in range(s.CARDS):
        state[s.DUNGEON + card] = card
    shuffle(rng, state, s.DUNGEON, s.DUNGEON + s.CARDS)
    if state[s.AVOIDED]:
        s.draw_orders(state, rng)
    s.open_room(state)
    state[s.MAY_AVOID] = 1
    return OK


@rule(compiled.REDEAL)
def redeal(state, _seat, rng):
    # All is put in ascending order first, so that the world drawn depends on what is known and the stream alone.
    # Neither range wraps around the ring: unseen cards lie below 44, groups start at multiples of four.
    if state[s.HEAD] < s.CARDS:
        at = s.DUNGEON + state[s.HEAD]
        card, unseen = 0, np.int64(state[s.UNSEEN_HIGH]) << s.HALF | state[s.UNSEEN_LOW]
        while unseen:  # without branches: what a card that was seen writes is overwritten by the next unseen one
            state[at] = card
            at += unseen & 1
            unseen >>= 1
            card += 1
        shuffle(rng, state, s.DUNGEON + state[s.HEAD], s.DUNGEON + s.CARDS)
    if state[s.MAY_AVOID]:  # else the order in which the room came has no say any more
        s.draw_room_order(state, rng)
    if state[s.AVOIDED]:
        first = max(s.CARDS, state[s.HEAD])
        while first < state[s.TAIL]:
            after = (first | (s.ROOM_SIZE - 1)) + 1
            s.ascend(state, s.place(first), s.place(first) + after - first)
            shuffle(rng, state, s.place(first), s.place(first) + after - first)
            first = after
        s.draw_orders(state, rng)
    return OK


@rule(compiled.SEAT)
def seat(state):
    return OVER if s.game_over(state) else 0


@rule(compiled.LEGAL)
def legal(state, out):
    if s.game_over(state):
        return 0
    count = 0
    for card in state[s.ROOM : s.ROOM + state[s.IN_ROOM]]:
        if card >= s.MONSTERS or s.weapon_allowed(state, s.card_value(card)):
            out[count] = card
            count += 1
    for card in state[s.ROOM : s.ROOM + state[s.IN_ROOM]]:
        if card < s.MONSTERS:
            out[count] = s.BAREHANDED + card
            count += 1
    if state[s.MAY_AVOID]:
        out[count] = s.AVOID
        count += 1
    return count


@rule(compiled.STEP)
def step(state, action):
    if action < 0 or action > s.AVOID or s.game_over(state):
        return ILLEGAL
    if action == s.AVOID:
        if not state[s.MAY_AVOID]:
            return ILLEGAL
        s.put_back(state)
        s.open_room(state)
        return OK
    barehanded = action >= s.BAREHANDED
    card = action - s.BAREHANDED if barehanded else action
    found = s.find(state, card)
    if found < 0:
        return ILLEGAL
    value = s.card_value(card)
    if card < s.MONSTERS and not barehanded and not s.weapon_allowed(state, value):
        return ILLEGAL
    s.face(state, card, value, barehanded)
    s.remove(state, found)
    if state[s.LIFE] > 0 and state[s.IN_ROOM] == 1 and state[s.HEAD] < state[s.TAIL]:
        state[s.HEAD] -= 1
        state[s.place(state[s.HEAD])] = state[s.ROOM]
        s.open_room(state)
        state[s.MAY_AVOID] = state[s.IN_ROOM] == s.ROOM_SIZE
    return OK


@rule(compiled.RETURNS)
def returns(state, out):
    life = state[s.LIFE]
    if life > 0 and state[s.LEFT] <= state[s.LAST_ROOM]:
        out[0] = life + (state[s.LAST_POTION] if life == s.FULL_LIFE else 0)
    else:
        out[0] = (max(0, life) if state[s.LOSING_SCORE] else life) - state[s.POINTS_LEFT]
    return OK


@rule(compiled.OBSERVE)
def observe(state, _seat, out):
    for card in range(s.CARDS):
        out[card] = _UNSEEN if s.is_unseen(state, card) else _GONE
        out[s.CARDS + card] = 0
    for card in state[s.ROOM : s.ROOM + state[s.IN_ROOM]]:
        out[card] = _IN_ROOM
    for position in range(max(s.CARDS, state[s.HEAD]), state[s.TAIL]):
        card = state[s.place(position)]
        out[card] = _KNOWN
        # Of a shuffled group only the place of its first card is known.
        known = max(position & ~(s.ROOM_SIZE - 1), state[s.HEAD]) if state[s.AVOIDED] else position
        out[s.CARDS + card] = known - state[s.HEAD] + 1
    room = s.ROOM_SIZE if state[s.HEAD] < state[s.TAIL] else s.LAST_ROOM_SIZE
    out[_NUMBERS] = max(0, state[s.LIFE])
    out[_NUMBERS + 1] = state[s.WEAPON]
    out[_NUMBERS + 2] = state[s.LIMIT]
    out[_NUMBERS + 3] = max(0, s.CARDS - state[s.HEAD])
    out[_NUMBERS + 4] = state[s.IN_ROOM]
    out[_NUMBERS + 5] = room - state[s.IN_ROOM]
    out[_NUMBERS + 6] = state[s.MAY_AVOID]
    out[_NUMBERS + 7] = state[s.DRUNK]
    return OK


@rule(compiled.INFORMATION_KEY)
def information_key(state, _seat):
    word = np.uint64(state[s.LIFE])  # 5 bits; nobody is to move at 0 or below
    word = (word << np.uint64(4)) | np.uint64(state[s.WEAPON])
    word = (word << np.uint64(4)) | np.uint64(state[s.LIMIT])
    word = (word << np.uint64(2)) | np.uint64(2 * state[s.MAY_AVOID] + state[s.DRUNK])
    word <<= np.uint64(s.CARDS)
    for i in range(s.ROOM, s.ROOM + state[s.IN_ROOM]):
        word |= np.uint64(1) << np.uint64(state[i])
    key = np.uint64(mix(np.uint64(0), word))
    word = (np.uint64(state[s.TAIL] - state[s.HEAD]) << np.uint64(s.HALF)) | np.uint64(state[s.UNSEEN_HIGH])
    key = np.uint64(mix(key, (word << np.uint64(s.HALF)) | np.uint64(state[s.UNSEEN_LOW])))
    word = np.uint64(0)
    for position in range(max(s.CARDS, state[s.HEAD]), state[s.TAIL]):
        card = np.uint64(state[s.place(position)])
        word = word | (np.uint64(1) << card) if state[s.AVOIDED] else (word << np.uint64(6)) | card
        if position & (s.ROOM_SIZE - 1) == s.ROOM_SIZE - 1:
            key = np.uint64(mix(key, word))
            word = np.uint64(0)
    return key
