"""Blob's texts for people: cards, actions, and a state as one of its players sees it."""

from __future__ import annotations

import numpy as np

from scoundrel_ray.games import blob_state as s
from scoundrel_ray.games.cards import card_text

_SUITS = ("spades", "hearts", "clubs", "diamonds")


def name_of(card: int) -> str:
    """Short text of a card, such as "K♠"."""
    return card_text(2 + card % s.RANKS, _SUITS[card // s.RANKS])


def action_names(cards: int) -> tuple[str, ...]:
    """[A] short texts, unique."""
    return (*(name_of(card) for card in range(s.CARDS)), *(f"bid {bid}" for bid in range(cards + 1)))


def cards_of(mask: int) -> list[int]:
    """Cards of a mask, ascending."""
    return [card for card in range(s.CARDS) if mask >> card & 1]


def text(state: np.ndarray, seat: int | None) -> str:
    """A few lines for a terminal; with seat None, every hand."""
    players = int(state[s.PLAYERS])
    trump = "no trump" if state[s.TRUMP] == s.NO_TRUMP else f"{_SUITS[state[s.TRUMP]]} are trump"
    lines = [f"round {min(state[s.DONE] + 1, state[s.ROUNDS])} of {state[s.ROUNDS]}, {state[s.DEALT]} cards, {trump}"]
    for player in range(players):
        bid, tricks = int(state[s.BIDS + player]), int(state[s.TRICKS + player])
        marks = [mark for entry, mark in ((s.DEALER, "dealer"), (s.TURN, "to move")) if state[entry] == player]
        held = f"{s.hand_size(state, player)} cards"
        if seat is None or seat == player:
            held = " ".join(name_of(card) for card in cards_of(int(s.hand(state, player)))) or "no cards"
        card = int(state[s.TABLE + player])
        played = f"  plays {name_of(card)}" if card >= 0 else ""
        who = f"seat {player}" + (" (you)" if player == seat else "")
        said = "no bid yet" if bid < 0 else f"{tricks} of {bid} tricks"
        lines.append(
            f"{who:<15} {int(state[s.SCORES + player]):>4} points  {said:<14} {held}{played}"
            + (f"  ({', '.join(marks)})" if marks else "")
        )
    order = [(int(state[s.LEADER]) + k) % players for k in range(int(state[s.IN_TRICK]))]
    if order:
        lines.append("table: " + " ".join(name_of(int(state[s.TABLE + player])) for player in order))
    return "\n".join(lines)
