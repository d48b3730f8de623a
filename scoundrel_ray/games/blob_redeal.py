"""Blob's redeal: all that a seat cannot know, drawn anew, every deal that agrees with what it knows equally likely.

A seat knows its hand, what was played, how many cards the others hold, and which suits they did not follow. The hands
of those who lack suits are dealt first, one after another: how many cards of each suit a hand gets is drawn in
proportion to the number of ways in which the rest can still be dealt, which is counted; which cards they are is a plain
draw. The other hands are then dealt from what is left. So no attempt is thrown away, and none can fail.
"""

from __future__ import annotations

import math

import numpy as np

from scoundrel_ray import compiled
from scoundrel_ray.compiled import inner, rule
from scoundrel_ray.game import OK, OVER
from scoundrel_ray.games import blob_state as s
from scoundrel_ray.rng import below, next_word, uniform

_WIDE = s.RANKS + 1
_WAYS = np.array([[float(math.comb(n, k)) for k in range(s.CARDS + 1)] for n in range(s.CARDS + 1)])


@inner
def _of_three(taken):
    """Place in a table of how many cards of the first three suits are taken; the fourth follows from their sum."""
    return (taken[0] * _WIDE + taken[1]) * _WIDE + taken[2]


@inner
def deal_suits(left, size, voids, later, taken, target, chosen):
    """Walk all ways to take `size` cards, none of a suit in `voids`, from left[4] cards; returns the sum of weights.

    The weight of a way is the number of draws that give it times what `later` says of what is then taken in all (an
    empty table says 1). The way at which the running sum first exceeds `target` is written to chosen[4].
    """
    total = 0.0
    found = False
    for a in range((0 if voids & 1 else min(size, left[0])) + 1):
        for b in range((0 if voids & 2 else min(size - a, left[1])) + 1):
            for c in range((0 if voids & 4 else min(size - a - b, left[2])) + 1):
                d = size - a - b - c
                if d > left[3] or (d > 0 and voids & 8):
                    continue
                weight = _WAYS[left[0], a] * _WAYS[left[1], b] * _WAYS[left[2], c] * _WAYS[left[3], d]
                if later.shape[0]:
                    weight *= later[((taken[0] + a) * _WIDE + taken[1] + b) * _WIDE + taken[2] + c]
                total += weight
                if weight > 0.0 and not found:
                    chosen[0], chosen[1], chosen[2], chosen[3] = a, b, c, d
                    found = total > target
    return total


@inner
def count_ways(unseen, sizes, voids, hands, ways):
    """Fill ways[i], for hands 1 to hands - 1 of those that lack suits, with the number of ways to deal hand i and all
    later ones, by how many cards of each suit the earlier ones took.
    """
    taken = np.zeros(s.SUITS, np.int64)
    left = np.zeros(s.SUITS, np.int64)
    chosen = np.zeros(s.SUITS, np.int64)
    for i in range(hands - 1, 0, -1):
        before = 0
        for j in range(i):
            before += sizes[j]
        for a in range(min(before, unseen[0]) + 1):
            for b in range(min(before - a, unseen[1]) + 1):
                for c in range(min(before - a - b, unseen[2]) + 1):
                    d = before - a - b - c
                    if d > unseen[3]:
                        continue
                    taken[0], taken[1], taken[2], taken[3] = a, b, c, d
                    allowed = 0
                    for suit in range(s.SUITS):
                        left[suit] = unseen[suit] - taken[suit]
                        if not (voids[i] >> suit) & 1:
                            allowed += left[suit]
                    if i == hands - 1:
                        found = _WAYS[allowed, sizes[i]]
                    else:
                        found = deal_suits(left, sizes[i], voids[i], ways[i + 1], taken, np.inf, chosen)
                    ways[i, _of_three(taken)] = found


@inner
def take(cards, start, left, suit, rng):
    """A random card of the left[suit] ones from cards[start[suit]] on; it is removed."""
    at = start[suit] + below(rng, left[suit])
    left[suit] -= 1
    last = start[suit] + left[suit]
    card = cards[at]
    cards[at] = cards[last]
    return card


@inner
def deal_those_who_lack_suits(state, seats, hands, cards, start, left, rng):
    """Deal the hands of seats[:hands], from left[4] unseen cards that lie by suit from cards[start[suit]] on."""
    sizes = np.empty(hands, np.int64)
    voids = np.empty(hands, np.int64)
    for i in range(hands):
        sizes[i] = s.hand_size(state, seats[i])
        voids[i] = state[s.VOIDS + seats[i]]
    ways = np.empty((hands, _WIDE**3 if hands > 1 else 0))
    count_ways(left, sizes, voids, hands, ways)
    nothing = np.empty(0)
    taken = np.zeros(s.SUITS, np.int64)
    chosen = np.zeros(s.SUITS, np.int64)
    for i in range(hands):
        later = ways[i + 1] if i + 1 < hands else nothing
        total = deal_suits(left, sizes[i], voids[i], later, taken, np.inf, chosen)
        deal_suits(left, sizes[i], voids[i], later, taken, uniform(rng) * total, chosen)
        mask = s.NO_CARDS
        for suit in range(s.SUITS):
            taken[suit] += chosen[suit]
            for _ in range(chosen[suit]):
                mask |= s.bit(take(cards, start, left, suit, rng))
        s.write_mask(state, s.HANDS + 2 * seats[i], mask)


@rule(compiled.REDEAL)
def redeal(state, seat, rng):
    if state[s.TURN] == OVER:
        return OK
    if state[s.DONE] + 1 < state[s.ROUNDS]:
        s.write_word(state, s.NEXT, next_word(rng))
    seen = s.seen_by(state, seat)
    room = np.empty(s.CARDS + 2 * s.SUITS + s.MOST_SEATS, np.int64)  # one piece of memory in place of four
    cards, start = room[: s.CARDS], room[s.CARDS : s.CARDS + s.SUITS]
    left, seats = room[s.CARDS + s.SUITS : s.CARDS + 2 * s.SUITS], room[s.CARDS + 2 * s.SUITS :]
    total = 0
    there = 0
    for suit in range(s.SUITS):
        start[suit] = total
        unseen = s.of_suit(~seen, suit)
        while unseen != s.NO_CARDS:
            cards[total] = s.RANKS * suit + s.lowest(unseen)
            unseen = s.without_lowest(unseen)
            total += 1
        left[suit] = total - start[suit]
        if left[suit] > 0:
            there |= 1 << suit
    hands = 0
    for other in range(state[s.PLAYERS]):
        if other != seat and state[s.VOIDS + other] & there and s.hand_size(state, other) > 0:
            seats[hands] = other
            hands += 1
    if hands > 0:
        deal_those_who_lack_suits(state, seats, hands, cards, start, left, rng)
        total = 0
        for suit in range(s.SUITS):  # what is left, side by side again
            for i in range(left[suit]):
                cards[total] = cards[start[suit] + i]
                total += 1
    for other in range(state[s.PLAYERS]):
        if other == seat or state[s.VOIDS + other] & there:
            continue
        mask = s.NO_CARDS
        for _ in range(s.hand_size(state, other)):
            at = below(rng, total)
            mask |= s.bit(cards[at])
            total -= 1
            cards[at] = cards[total]
        s.write_mask(state, s.HANDS + 2 * other, mask)
    return OK
