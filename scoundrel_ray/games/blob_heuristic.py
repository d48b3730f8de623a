"""A rule-based Blob player: bids what its cards are likely to take, then plays to take just as many.

It acts on what its seat knows alone: its hand, the bids, what was played, and how many cards the others hold.
"""

from __future__ import annotations

import numpy as np

from scoundrel_ray import compiled
from scoundrel_ray.compiled import inner, rule
from scoundrel_ray.game import OVER
from scoundrel_ray.games import blob_state as s

# What a card that is no trump is worth beside its strength: the more tricks there are, the more likely its suit is led,
# and the more cards that beat it are gone by then. Tuned on other deals than any reported, for 3 to 6 players.
_WORTH = 0.4
_WORTH_A_TRICK = 0.1


@inner
def strength(card, unseen, held, unseen_count, others, trump):
    """Chance that a card takes the trick in which its suit is led, as if the unseen cards were dealt at random.

    Args:
        card: of the player.
        unseen: mask of the cards whose place the player does not know.
        held, unseen_count: how many of them the other players hold, and how many there are.
        others: number of other players who have yet to play.
        trump: the trump suit, or NO_TRUMP.
    """
    if unseen_count == 0 or others == 0:
        return 1.0
    suit = card // s.RANKS
    missing = 1.0 - held / unseen_count / others  # chance that a given unseen card is not with a given player
    in_suit = s.of_suit(unseen, suit)
    higher = s.count(in_suit >> np.uint64(card % s.RANKS))  # the card itself is not among the unseen
    taken = 1.0 - missing**higher
    if trump < s.SUITS and suit != trump:
        trumps = s.count(s.of_suit(unseen, trump))
        taken += (1.0 - taken) * missing ** s.count(in_suit) * (1.0 - missing**trumps)
    return (1.0 - taken) ** others


@inner
def expected_tricks(state, seat):
    """How many tricks a seat's hand is likely to take, before any card was played."""
    unseen = ~s.hand(state, seat) & s.ALL_CARDS
    others = state[s.PLAYERS] - 1
    total = 0.0
    own = s.hand(state, seat)
    while own != s.NO_CARDS:
        card = s.lowest(own)
        own = s.without_lowest(own)
        chance = strength(card, unseen, others * state[s.DEALT], s.CARDS - state[s.DEALT], others, state[s.TRUMP])
        side = card // s.RANKS != state[s.TRUMP]
        total += chance * (_WORTH + _WORTH_A_TRICK * state[s.DEALT]) if side else chance
    return total


@inner
def bid(state, seat):
    """The bid nearest to the expected tricks; if that is forbidden, the next nearest."""
    wanted = expected_tricks(state, seat)
    best = min(int(wanted + 0.5), state[s.DEALT])
    if best != s.forbidden_bid(state):
        return best
    return best + 1 if best < state[s.DEALT] and (wanted > best or best == 0) else best - 1


@inner
def card_to_play(state, seat):
    """Takes tricks as surely and as cheaply as it can while it needs them, and throws its best losers away after."""
    allowed = s.playable(state, seat)
    unseen = ~s.seen_by(state, seat) & s.ALL_CARDS
    players = state[s.PLAYERS]
    behind = players - 1 - state[s.IN_TRICK]  # those who play after this seat
    held = 0
    for other in range(players):
        if other != seat:
            held += s.hand_size(state, other)
    wants = state[s.TRICKS + seat] < state[s.BIDS + seat]
    on_table = state[s.TABLE + s.winner(state)] if state[s.IN_TRICK] > 0 else -1
    chosen = -1
    best = -np.inf
    all_unseen = s.count(unseen)
    while allowed != s.NO_CARDS:
        card = s.lowest(allowed)
        allowed = s.without_lowest(allowed)
        worth = strength(card, unseen, held, all_unseen, players - 1, state[s.TRUMP])
        wins = on_table < 0 or s.beats(card, on_table, state[s.TRUMP])
        if wants:
            # The surest card if others follow, the cheapest that wins if none does; else the one least missed.
            merit = (2.0 + (worth if behind > 0 else -worth)) if wins else -worth
        elif wins:
            merit = -worth - (2.0 if on_table >= 0 else 0.0)
            if behind == 0:
                merit = worth - 2.0  # the trick is taken anyway: with the card that is most dangerous later
        else:
            merit = worth
        if merit > best:
            best = merit
            chosen = card
    return chosen


@rule(compiled.HEURISTIC)
def heuristic(state, _rng):
    seat = state[s.TURN]
    if seat == OVER:
        return -1
    if state[s.BIDS_MADE] < state[s.PLAYERS]:
        return s.BID + bid(state, seat)
    return card_to_play(state, seat)
