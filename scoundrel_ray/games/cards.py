"""Texts of playing cards, shared by the card games."""

from __future__ import annotations

SUITS = {"clubs": "♣", "diamonds": "♦", "hearts": "♥", "spades": "♠"}
JACK, QUEEN, KING, ACE = 11, 12, 13, 14


def card_text(rank: int, suit: str) -> str:
    """Short text of a card, such as "10♥" or "K♠".

    Args:
        rank: 2..14, ace high.
        suit: a key of `SUITS`.
    """
    faces = {JACK: "J", QUEEN: "Q", KING: "K", ACE: "A"}
    return f"{faces.get(rank, rank)}{SUITS[suit]}"
