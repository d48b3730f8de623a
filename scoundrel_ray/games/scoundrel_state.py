"""Scoundrel's cards and the layout of its state: what the rules, the heuristic and the texts share.

Cards are numbered 0..25 monsters (clubs 2..ace, spades 2..ace), 26..34 weapons (diamonds 2..10) and 35..43 potions
(hearts 2..10). Actions name cards, never places in the room, so that an action means the same in every world:

    0..43    face card c: a monster with the weapon, a weapon by equipping it, a potion by drinking it
    44..69   face monster c - 44 barehanded
    70       avoid the room
"""

from __future__ import annotations

from scoundrel_ray.compiled import inner
from scoundrel_ray.rng import below

CARDS = 44
MONSTERS = 26  # cards below this one
WEAPONS = 35  # cards from MONSTERS below this one; the rest are potions
BAREHANDED = CARDS  # added to a monster's card
AVOID = BAREHANDED + MONSTERS
ACTIONS = AVOID + 1

FULL_LIFE = 20
MONSTER_POINTS = 208  # all monsters together
ROOM_SIZE = 4
LAST_ROOM_SIZE = 2  # 44 cards are 14 rooms of which three are faced, and two more
FRESH = 15  # limit of a weapon that has killed nothing: above every monster
MOST_AVOIDS = 14  # rooms of four that are faced; each can be preceded by one avoided

HALF = 22  # cards in each mask of unseen cards
GROUP_ORDERS = 24  # of four cards
DIGITS = 6  # orders in one entry of the state: 24^6 < 2^31

# Rule variants: name -> readings, the official one first. `make` documents them; the header holds their places.
OPTIONS: dict[str, tuple[str, ...]] = {
    "weapon_limit": ("at_most", "below"),
    "last_room": ("whole", "all_but_one"),
    "avoided": ("ordered", "shuffled"),
    "losing_score": ("unclamped", "clamped"),
    "bonus": ("last_faced", "last_drunk", "none"),
    "objective": ("mixed", "score", "win"),
}

LAST_DRUNK, NO_BONUS = 1, 2  # readings of the bonus

# The header, in the order of OPTIONS; the objective is no rule and is read by nobody.
WEAPON_LIMIT, LAST_ROOM, AVOIDED, LOSING_SCORE, BONUS, OBJECTIVE = range(6)
LIFE = 6
WEAPON = 7  # value of the equipped weapon, 0 without one
LIMIT = 8  # its last kill, FRESH before the first, 0 without a weapon
MAY_AVOID = 9  # 1 before the first card of a room of four that does not follow an avoided one
DRUNK = 10  # 1 once a potion took effect in this room
IN_ROOM = 11  # cards in the room
LEFT = 12  # cards in room and dungeon
POINTS_LEFT = 13  # of the monsters in room and dungeon
LAST_POTION = 14  # value of the card faced last if it was a potion that counts for the bonus, else 0
UNSEEN_LOW = 15  # bit c: card c < 22 was never seen
UNSEEN_HIGH = 16  # bit c - 22: card c >= 22 was never seen
HEAD = 17  # position from which the next card is drawn
TAIL = 18  # position at which the next avoided card is put back
ORDERS = 19  # [3] six digits to base 24 each: the hidden orders in which avoided rooms will be shuffled
ROOM = 22  # [4] ascending; entries from IN_ROOM on are stale
DUNGEON = 26  # [64] ring by position
RING = 64
STATE_SIZE = DUNGEON + RING


@inner
def card_value(card):
    """Value of a card, 2..14."""
    if card < MONSTERS:
        return 2 + card % 13
    return 2 + (card - MONSTERS) % 9


@inner
def place(position):
    """Entry of the state that holds a position of the dungeon."""
    return DUNGEON + (position & (RING - 1))


@inner
def game_over(state):
    """Whether the player is dead or through the dungeon."""
    return state[LIFE] <= 0 or state[LEFT] <= state[LAST_ROOM]


@inner
def weapon_allowed(state, value):
    """Whether the weapon may be used on a monster; never without one, as the limit is 0 then."""
    return value + state[WEAPON_LIMIT] <= state[LIMIT]


@inner
def see(state, card):
    """Note that a card is known from now on."""
    if card < HALF:
        state[UNSEEN_LOW] &= ~(1 << card)
    else:
        state[UNSEEN_HIGH] &= ~(1 << (card - HALF))


@inner
def is_unseen(state, card):
    """Whether a card was never seen."""
    if card < HALF:
        return (state[UNSEEN_LOW] >> card) & 1
    return (state[UNSEEN_HIGH] >> (card - HALF)) & 1


@inner
def open_room(state):
    """Draw up to four cards as the next room."""
    size = min(ROOM_SIZE, state[TAIL] - state[HEAD])
    for i in range(size):
        card = state[place(state[HEAD] + i)]
        see(state, card)
        at = ROOM + i
        while at > ROOM and state[at - 1] > card:
            state[at] = state[at - 1]
            at -= 1
        state[at] = card
    state[HEAD] += size
    state[IN_ROOM] = size
    state[DRUNK] = 0


@inner
def put_back(state):
    """Avoid the room: its cards go to the bottom of the dungeon, in the order in which they came or shuffled."""
    order = 0
    if state[AVOIDED]:
        avoids = (state[TAIL] - CARDS) // ROOM_SIZE
        order = state[ORDERS + avoids // DIGITS] // GROUP_ORDERS ** (avoids % DIGITS) % GROUP_ORDERS
    start = place(state[TAIL])
    for i in range(ROOM_SIZE):
        state[start + i] = state[place(state[HEAD] - ROOM_SIZE + i)]
    for last in range(ROOM_SIZE - 1, 0, -1):  # the order's digits, to mixed base, are the swaps of a shuffle
        other = last - order % (last + 1)
        order //= last + 1
        card = state[start + last]
        state[start + last] = state[start + other]
        state[start + other] = card
    state[TAIL] += ROOM_SIZE
    state[MAY_AVOID] = 0


@inner
def ascend(state, start, stop):
    """Put a few entries of the state in ascending order."""
    for i in range(start + 1, stop):
        card = state[i]
        at = i
        while at > start and state[at - 1] > card:
            state[at] = state[at - 1]
            at -= 1
        state[at] = card


@inner
def draw_room_order(state, rng):
    """Draw the order in which the four cards of a room came; unlike the groups at the bottom it may wrap around."""
    first = state[HEAD] - ROOM_SIZE
    for i in range(ROOM_SIZE):
        state[place(first + i)] = state[ROOM + i]
    for last in range(ROOM_SIZE - 1, 0, -1):
        other = below(rng, last + 1)
        card = state[place(first + last)]
        state[place(first + last)] = state[place(first + other)]
        state[place(first + other)] = card


@inner
def draw_orders(state, rng):
    """Draw the hidden orders of all rooms that may be avoided later."""
    for i in range(ORDERS, ROOM):
        state[i] = below(rng, GROUP_ORDERS**DIGITS)


@inner
def face(state, card, value, barehanded):
    """Apply a card's effect and the book-keeping of having faced it."""
    state[MAY_AVOID] = 0
    state[LEFT] -= 1
    state[LAST_POTION] = 0
    if card < MONSTERS:
        state[POINTS_LEFT] -= value
        if barehanded:
            state[LIFE] -= value
        else:
            state[LIFE] -= max(0, value - state[WEAPON])
            state[LIMIT] = value
    elif card < WEAPONS:
        state[WEAPON] = value
        state[LIMIT] = FRESH
    else:
        if state[BONUS] != NO_BONUS and not (state[DRUNK] and state[BONUS] == LAST_DRUNK):
            state[LAST_POTION] = value
        if not state[DRUNK]:
            state[LIFE] = min(FULL_LIFE, state[LIFE] + value)
        state[DRUNK] = 1


@inner
def find(state, card):
    """Place of a card in the room, -1 if it is not there."""
    for i in range(state[IN_ROOM]):
        if state[ROOM + i] == card:
            return i
    return -1


@inner
def remove(state, found):
    """Take a place's card out of the room, the rest staying ascending."""
    state[IN_ROOM] -= 1
    for i in range(ROOM + found, ROOM + state[IN_ROOM]):
        state[i] = state[i + 1]
