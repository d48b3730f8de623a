"""Blob's cards and the layout of its state: what the rules, the redeal, the rules of thumb and the texts share.

Cards are numbered 13 * suit + rank: suits in the order in which they become trump (spades, hearts, clubs, diamonds),
ranks 0..12 for 2..ace. A set of cards is a mask of 52 bits, kept in two entries of 26. Actions:

    0..51    play card c
    52..     bid c - 52 tricks
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray.compiled import inner
from scoundrel_ray.rng import below, mix, next_word

CARDS = 52
RANKS = 13
SUITS = 4
NO_TRUMP = 4  # of the five trumps: each suit, then none
TRUMPS = 5
BID = CARDS  # action of bidding 0
MOST_SEATS = 8

ROUND, GAME = 0, 1  # modes

# The header.
COUNTS = 0  # bit n: n players may be dealt in
START = 1  # cards of a hand in the first round
MODE = 2
EXTRA = 3  # one-card rounds beyond one for each player
# Behind it.
PLAYERS = 4  # at the table: seats 0 to PLAYERS - 1
ROUNDS = 5  # of the game
DONE = 6  # rounds that are over
DEALT = 7  # cards of a hand in this round
TRUMP = 8
DEALER = 9
TURN = 10  # whose, or -1
BIDS_MADE = 11
LEADER = 12  # of the current trick, or the next one
IN_TRICK = 13  # cards on the table
TRICKS_LEFT = 14  # the current one included
NEXT = 15  # [2] hidden: from which the next round's deal is drawn
HISTORY = 17  # [2] hash of all that was said and played
SCORES = 19  # [8] of the rounds that are over
BIDS = 27  # [8] -1 before the bid
TRICKS = 35  # [8] won in this round
VOIDS = 43  # [8] bit s: did not follow suit s in this round
TABLE = 51  # [8] card on the table, or -1
HANDS = 59  # [8][2] masks
PLAYED = 75  # [8][2] masks: in this round, the table included
STATE_SIZE = 91

_HALF = np.uint64(26)
_LOW_26 = np.uint64((1 << 26) - 1)
_LOW_32 = np.uint64(0xFFFFFFFF)
_SHIFT_32 = np.uint64(32)
ONE = np.uint64(1)
NO_CARDS = np.uint64(0)
ALL_CARDS = np.uint64((1 << CARDS) - 1)
SUIT_MASK = np.uint64((1 << RANKS) - 1)

# Index of a word's only bit: 64 places of a de Bruijn sequence, each six bits of which occur once.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_SHIFT_58 = np.uint64(58)
_PLACES = np.zeros(64, dtype=np.int64)
for _bit in range(64):
    _PLACES[((1 << _bit) * int(_DE_BRUIJN) & (1 << 64) - 1) >> 58] = _bit


@inner
def lowest(mask):
    """Least card of a mask that is not empty."""
    return _PLACES[np.int64(((mask & (~mask + ONE)) * _DE_BRUIJN) >> _SHIFT_58)]


@inner
def without_lowest(mask):
    """A mask without its least card."""
    return mask & (mask - ONE)


@inner
def bit(card):
    """Mask of one card."""
    return ONE << np.uint64(card)


@inner
def count(mask):
    """Cards of a mask."""
    total = 0
    while mask != NO_CARDS:
        mask = without_lowest(mask)
        total += 1
    return total


@inner
def of_suit(mask, suit):
    """The cards of a suit, as 13 bits by rank."""
    return (mask >> np.uint64(RANKS * suit)) & SUIT_MASK


@inner
def read_mask(state, place):
    """The mask kept in two entries of a state, uint64."""
    return np.uint64(state[place]) | (np.uint64(state[place + 1]) << _HALF)


@inner
def write_mask(state, place, mask):
    """Keep a mask in two entries of a state."""
    state[place] = np.int32(mask & _LOW_26)
    state[place + 1] = np.int32(mask >> _HALF)


@inner
def read_word(state, place):
    """A word of 64 bits kept in two entries of a state."""
    return np.uint64(np.uint32(state[place])) | (np.uint64(np.uint32(state[place + 1])) << _SHIFT_32)


@inner
def write_word(state, place, word):
    """Keep a word of 64 bits in two entries of a state."""
    state[place] = np.int32(np.uint32(word & _LOW_32))
    state[place + 1] = np.int32(np.uint32(word >> _SHIFT_32))


@inner
def hand(state, seat):
    """Mask of a seat's cards."""
    return read_mask(state, HANDS + 2 * seat)


@inner
def hand_size(state, seat):
    """How many cards a seat holds, as everyone at the table knows."""
    return state[TRICKS_LEFT] - (state[TABLE + seat] >= 0)


@inner
def seen_by(state, seat):
    """Mask of the cards whose place a seat knows: its own, and all that were played in this round."""
    mask = hand(state, seat)
    for other in range(state[PLAYERS]):
        mask |= read_mask(state, PLAYED + 2 * other)
    return mask


@inner
def led_suit(state):
    """Suit of the first card on the table, or -1 if there is none."""
    return state[TABLE + state[LEADER]] // RANKS if state[IN_TRICK] > 0 else -1


@inner
def playable(state, seat):
    """Mask of the cards that a seat may play: it follows suit if it can."""
    own = hand(state, seat)
    led = led_suit(state)
    if led >= 0:
        following = own & (SUIT_MASK << np.uint64(RANKS * led))
        if following != NO_CARDS:
            return following
    return own


@inner
def beats(card, best, trump):
    """Whether a card, played later, takes the trick from the card that wins it so far."""
    if card // RANKS == best // RANKS:
        return card > best
    return card // RANKS == trump


@inner
def winner(state):
    """Seat whose card wins the trick so far; some card must be on the table."""
    seat = state[LEADER]
    best = seat
    for _ in range(state[IN_TRICK] - 1):
        seat = seat + 1 if seat + 1 < state[PLAYERS] else 0
        if beats(state[TABLE + seat], state[TABLE + best], state[TRUMP]):
            best = seat
    return best


@inner
def forbidden_bid(state):
    """The bid that the last to bid may not make, for the bids would add up to the cards dealt; or -1."""
    if state[BIDS_MADE] + 1 < state[PLAYERS]:
        return -1
    said = 0
    for seat in range(state[PLAYERS]):
        said += max(state[BIDS + seat], 0)
    return state[DEALT] - said if said <= state[DEALT] else -1


@inner
def cards_in_round(state, index):
    """Cards of a hand in a round of a game: down to one, some more rounds of one, up again."""
    start = state[START]
    if index < start:
        return start - index
    up = index - (start - 1 + state[PLAYERS] + state[EXTRA])
    return 1 if up < 0 else 2 + up


@inner
def note(state, word):
    """Add something that everyone at the table heard or saw to the history."""
    write_word(state, HISTORY, mix(read_word(state, HISTORY), np.uint64(word)))


@inner
def deal_hands(state, rng):
    """Give every player the round's cards, every deal equally likely; the rest is the stock."""
    deck = np.empty(CARDS, np.int64)
    for card in range(CARDS):
        deck[card] = card
    left = CARDS
    for seat in range(state[PLAYERS]):
        mask = NO_CARDS
        for _ in range(state[DEALT]):
            at = below(rng, left)
            mask |= bit(deck[at])
            left -= 1
            deck[at] = deck[left]
        write_mask(state, HANDS + 2 * seat, mask)


@inner
def open_round(state, rng):
    """Clear the table, deal, and let the player on the dealer's left bid; dealer, trump and cards are set."""
    for seat in range(MOST_SEATS):
        state[BIDS + seat] = -1
        state[TRICKS + seat] = 0
        state[VOIDS + seat] = 0
        state[TABLE + seat] = -1
    state[PLAYED : PLAYED + 2 * MOST_SEATS] = 0
    state[BIDS_MADE] = 0
    state[IN_TRICK] = 0
    state[TRICKS_LEFT] = state[DEALT]
    state[LEADER] = (state[DEALER] + 1) % state[PLAYERS]
    state[TURN] = state[LEADER]
    deal_hands(state, rng)
    write_word(state, NEXT, next_word(rng))
