"""Blob, an Oh Hell for 3 to 8 players: bid how many tricks you will take, then take just as many.

Everyone is dealt a hand of 52 cards, ace high; the rest is the stock, which nobody sees. Trump is spades in the first
round, then hearts, clubs, diamonds, none, and over again. From the dealer's left each player bids; the dealer bids last
and may not make the bids add up to the tricks there are. The dealer's left leads; who can must follow suit; the highest
trump takes the trick, else the highest card of the suit led, and its player leads to the next. Who takes exactly the
tricks bid scores 10 and the bid, everyone else nothing. A game is played with fewer cards each round, down to one, then
up again; the dealer goes round.

A round can be a game of its own, with a random dealer and trump. Two readings of the number of one-card rounds are in
use; an option names them. Cards, actions and the layout of a state: `blob_state`. A later round's deal is drawn from
a hidden word of the state, so all chance is decided in `deal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scoundrel_ray import compiled
from scoundrel_ray.compiled import inner, rule
from scoundrel_ray.game import ILLEGAL, OK, OVER, Game, Rules
from scoundrel_ray.games import blob_state as s
from scoundrel_ray.games.blob_heuristic import heuristic
from scoundrel_ray.games.blob_redeal import redeal
from scoundrel_ray.games.blob_symmetries import suit_symmetries
from scoundrel_ray.games.blob_text import action_names, text
from scoundrel_ray.rng import below, mix, next_word
from scoundrel_ray.settings.checks import InvalidSetting, at_least, one_of
from scoundrel_ray.spec import Field

# What a card is to the observer. Unseen, or its own by how many unseen cards of its suit are higher (at most _MANY),
# each once for side suits and once for trumps; then gone, by who played it; then on the table, by who played it.
_MANY = 4
_UNSEEN, _OWN, _GONE = 0, 2, 2 + 2 * (_MANY + 1)
_SCORE_STEP = 16  # scores are observed as two digits to this base
MODES = ("round", "game")
ONE_CARD_ROUNDS = ("players", "players_and_one")


def make(
    players: int | Sequence[int] = 4, cards: int = 5, mode: str = "round", one_card_rounds: str = "players"
) -> Game:
    """The game with the given size and readings of its rules.

    Args:
        players: 3 to 8; or several such numbers, one of which is drawn in each deal: one network for all of them.
        cards: of a hand; in a game, of the first and the last round.
        mode: "round": one round with a random dealer and trump; "game": all rounds of a game.
        one_card_rounds: of a game: as many as there are "players", or "players_and_one".

    Raises:
        InvalidSetting: a ValueError that names the option, what it got and what was wanted.
    """
    counts = _checked_players(players)
    at_least("cards", cards, 1)
    one_of("mode", mode, MODES)
    one_of("one_card_rounds", one_card_rounds, ONE_CARD_ROUNDS)
    most = max(counts)
    if cards * most > s.CARDS:
        raise InvalidSetting(
            "cards",
            f"got {cards} for {most} players, which makes {cards * most} cards, wanted at most {s.CARDS}: "
            f"at most {s.CARDS // most} each",
        )
    extra = ONE_CARD_ROUNDS.index(one_card_rounds)
    whole = mode == "game"
    sizes = _hands_of_a_game(cards, most, extra) if whole else [cards]
    best = float(sum(10 + size for size in sizes))
    observation = _observation(most, cards, len(sizes) if whole else 0, len(counts) > 1)
    return Game(
        name="blob",
        version=1,
        seats=most,
        actions=s.BID + cards + 1,
        state_size=s.STATE_SIZE,
        max_legal=cards + 1,
        max_steps=sum(most + most * size for size in sizes),
        observation=observation,
        score_range=(0.0, best),
        value_knots=((0.0, -1.0), (best, 1.0)),
        win_above=None if whole else 0.0,
        hidden=True,
        action_names=action_names(cards),
        text=text,
        rules=Rules(deal, redeal, seat, legal, step, returns, observe, information_key, heuristic, players=players_of),
        header=(sum(1 << n for n in counts), cards, MODES.index(mode), extra),
        options={
            "players": counts[0] if len(counts) == 1 else counts,
            "cards": cards,
            "mode": mode,
            "one_card_rounds": one_card_rounds,
        },
        symmetries=suit_symmetries(observation, s.BID + cards + 1),
    )


def _checked_players(players: int | Sequence[int]) -> list[int]:
    listed: list[Any] = list(players) if isinstance(players, Sequence) and not isinstance(players, str) else [players]
    for n in listed:
        if isinstance(n, bool) or not isinstance(n, int) or not 3 <= n <= s.MOST_SEATS:
            raise InvalidSetting("players", f"got {players!r}, wanted 3 to {s.MOST_SEATS}, or a list of such numbers")
    if not listed or len(set(listed)) != len(listed):
        raise InvalidSetting("players", f"got {players!r}, wanted at least one number, each once")
    return sorted(listed)


def _hands_of_a_game(cards: int, players: int, extra: int) -> list[int]:
    """Cards of a hand, round by round."""
    return [*range(cards, 1, -1), *[1] * (players + extra), *range(2, cards + 1)]


def _observation(players: int, cards: int, rounds: int, mixed: bool) -> tuple[Field, ...]:
    """Fields by seat count from the observer's own seat, in the order of play."""
    fields = [
        Field("card", s.CARDS, _UNSEEN, _GONE + 2 * players - 1),
        Field("takes", s.CARDS, 0, 1),  # own cards that would beat all on the table
        Field("bid", players, -1, cards),
        Field("to_take", players, -cards, cards),  # bid less tricks taken; 0 before the bid
        Field("void", (players - 1) * s.SUITS, 0, 1),  # of the others
        Field("trump", 1, 0, s.NO_TRUMP),
        Field("led", 1, 0, s.SUITS),  # suit, or SUITS for none
        Field("leader", 1, 0, players - 1),
        Field("dealer", 1, 0, players - 1),
        Field("dealt", 1, 0, cards),
        Field("tricks_left", 1, 0, cards),
        Field("bidding", 1, 0, 1),
    ]
    if mixed:
        fields.append(Field("at_table", players, 0, 1))
    if rounds:
        fields.append(Field("score_sixteens", players, 0, 127, "number"))
        fields.append(Field("score_ones", players, 0, _SCORE_STEP - 1, "number"))
        fields.append(Field("rounds_left", 1, 0, rounds, "number"))
    return tuple(fields)


@rule(compiled.SEAT)
def players_of(state):
    """How many play: seats 0 to that are at the table."""
    return state[s.PLAYERS]


@rule(compiled.DEAL)
def deal(state, rng):
    state[s.PLAYERS :] = 0
    ways = 0
    for n in range(s.MOST_SEATS + 1):
        ways += (state[s.COUNTS] >> n) & 1
    skip = below(rng, ways)
    for n in range(s.MOST_SEATS + 1):
        if (state[s.COUNTS] >> n) & 1:
            if skip == 0:
                state[s.PLAYERS] = n
            skip -= 1
    state[s.DEALER] = below(rng, state[s.PLAYERS])
    state[s.DEALT] = state[s.START]
    if state[s.MODE] == s.GAME:
        state[s.ROUNDS] = 2 * state[s.START] - 2 + state[s.PLAYERS] + state[s.EXTRA]
    else:
        state[s.ROUNDS] = 1
        state[s.TRUMP] = below(rng, s.TRUMPS)
    s.note(state, (state[s.PLAYERS] * s.MOST_SEATS + state[s.DEALER]) * s.TRUMPS + state[s.TRUMP])
    s.open_round(state, rng)
    return OK


@rule(compiled.SEAT)
def seat(state):
    return state[s.TURN]


@rule(compiled.LEGAL)
def legal(state, out):
    if state[s.TURN] == OVER:
        return 0
    count = 0
    if state[s.BIDS_MADE] < state[s.PLAYERS]:
        forbidden = s.forbidden_bid(state)
        for bid in range(state[s.DEALT] + 1):
            if bid != forbidden:
                out[count] = s.BID + bid
                count += 1
        return count
    mask = s.playable(state, state[s.TURN])
    while mask != s.NO_CARDS:
        out[count] = s.lowest(mask)
        mask = s.without_lowest(mask)
        count += 1
    return count


@inner
def end_trick(state):
    """The winner takes the trick and leads to the next; after the last one the round is over."""
    taker = s.winner(state)
    state[s.TRICKS + taker] += 1
    state[s.LEADER] = taker
    state[s.TURN] = taker
    state[s.IN_TRICK] = 0
    state[s.TABLE : s.TABLE + state[s.PLAYERS]] = -1
    state[s.TRICKS_LEFT] -= 1
    if state[s.TRICKS_LEFT] > 0:
        return
    for seat in range(state[s.PLAYERS]):
        if state[s.TRICKS + seat] == state[s.BIDS + seat]:
            state[s.SCORES + seat] += 10 + state[s.BIDS + seat]
    state[s.DONE] += 1
    if state[s.DONE] == state[s.ROUNDS]:
        state[s.TURN] = OVER
        return
    state[s.DEALER] = (state[s.DEALER] + 1) % state[s.PLAYERS]
    state[s.DEALT] = s.cards_in_round(state, state[s.DONE])
    state[s.TRUMP] = state[s.DONE] % s.TRUMPS
    stream = np.empty(4, np.uint64)
    word = s.read_word(state, s.NEXT)
    for i in range(3):
        word = mix(word, np.uint64(i))
        stream[i] = word
    stream[3] = np.uint64(1)
    for _ in range(12):
        next_word(stream)
    s.open_round(state, stream)


@rule(compiled.STEP)
def step(state, action):
    mover = state[s.TURN]
    if mover == OVER or action < 0:
        return ILLEGAL
    after = mover + 1 if mover + 1 < state[s.PLAYERS] else 0
    if state[s.BIDS_MADE] < state[s.PLAYERS]:
        bid = action - s.BID
        if bid < 0 or bid > state[s.DEALT] or bid == s.forbidden_bid(state):
            return ILLEGAL
        state[s.BIDS + mover] = bid
        state[s.BIDS_MADE] += 1
        state[s.TURN] = after  # after the dealer it is the dealer's left again, who leads
        s.note(state, action)
        return OK
    if action >= s.CARDS or s.playable(state, mover) & s.bit(action) == s.NO_CARDS:
        return ILLEGAL
    led = s.led_suit(state)
    if led >= 0 and action // s.RANKS != led:
        state[s.VOIDS + mover] |= 1 << led
    s.write_mask(state, s.HANDS + 2 * mover, s.hand(state, mover) & ~s.bit(action))
    played = s.read_mask(state, s.PLAYED + 2 * mover) | s.bit(action)
    s.write_mask(state, s.PLAYED + 2 * mover, played)
    state[s.TABLE + mover] = action
    state[s.IN_TRICK] += 1
    state[s.TURN] = after
    s.note(state, action)
    if state[s.IN_TRICK] == state[s.PLAYERS]:
        end_trick(state)
    return OK


@rule(compiled.RETURNS)
def returns(state, out):
    for seat in range(out.shape[0]):
        out[seat] = state[s.SCORES + seat]
    return OK


@rule(compiled.OBSERVE)
def observe(state, seat, out):
    seats = 0
    for n in range(s.MOST_SEATS + 1):
        if (state[s.COUNTS] >> n) & 1:
            seats = n
    players = state[s.PLAYERS]
    trump = state[s.TRUMP]
    takes = s.CARDS
    bids = takes + s.CARDS
    to_take = bids + seats
    voids = to_take + seats
    rest = voids + (seats - 1) * s.SUITS
    out[:rest] = 0
    out[bids : bids + seats] = -1
    unseen = ~s.seen_by(state, seat)
    if trump < s.SUITS:
        out[s.RANKS * trump : s.RANKS * (trump + 1)] = _UNSEEN + 1
    best = state[s.TABLE + s.winner(state)] if state[s.IN_TRICK] > 0 else -1
    own = s.hand(state, seat)
    while own != s.NO_CARDS:
        card = s.lowest(own)
        own = s.without_lowest(own)
        suit = card // s.RANKS
        higher = min(s.count(s.of_suit(unseen, suit) >> np.uint64(card % s.RANKS)), _MANY)
        out[card] = _OWN + higher + (_MANY + 1 if suit == trump else 0)
        out[takes + card] = best >= 0 and s.beats(card, best, trump)
    leader = 0
    dealer = 0
    other = seat
    for k in range(players):
        played = s.read_mask(state, s.PLAYED + 2 * other)
        while played != s.NO_CARDS:
            out[s.lowest(played)] = _GONE + k
            played = s.without_lowest(played)
        if state[s.TABLE + other] >= 0:
            out[state[s.TABLE + other]] = _GONE + seats + k
        out[bids + k] = state[s.BIDS + other]
        if state[s.BIDS + other] >= 0:
            out[to_take + k] = state[s.BIDS + other] - state[s.TRICKS + other]
        if k > 0:
            for suit in range(s.SUITS):
                out[voids + (k - 1) * s.SUITS + suit] = (state[s.VOIDS + other] >> suit) & 1
        if other == state[s.LEADER]:
            leader = k
        if other == state[s.DEALER]:
            dealer = k
        other = other + 1 if other + 1 < players else 0
    led = s.led_suit(state)
    out[rest] = trump
    out[rest + 1] = led if led >= 0 else s.SUITS
    out[rest + 2] = leader
    out[rest + 3] = dealer
    out[rest + 4] = state[s.DEALT]
    out[rest + 5] = state[s.TRICKS_LEFT]
    out[rest + 6] = state[s.BIDS_MADE] < players
    rest += 7
    if 1 << seats != state[s.COUNTS]:
        for k in range(seats):
            out[rest + k] = k < players
        rest += seats
    if state[s.MODE] == s.GAME:
        other = seat
        for k in range(seats):
            score = state[s.SCORES + other] if k < players else 0
            out[rest + k] = score // _SCORE_STEP
            out[rest + seats + k] = score % _SCORE_STEP
            other = other + 1 if other + 1 < players else 0
        out[rest + 2 * seats] = state[s.ROUNDS] - state[s.DONE]
    return OK


@rule(compiled.INFORMATION_KEY)
def information_key(state, seat):
    return mix(s.read_word(state, s.HISTORY), s.hand(state, seat))
