"""Scoundrel's texts for people: cards, actions, and a state as its player sees it."""

from __future__ import annotations

import numpy as np

from scoundrel_ray.games import scoundrel_state as s
from scoundrel_ray.games.cards import card_text


def name_of(card: int) -> str:
    """Short text of a card, such as "K♠"."""
    if card < s.MONSTERS:
        suit = "clubs" if card < 13 else "spades"
    else:
        suit = "diamonds" if card < s.WEAPONS else "hearts"
    return card_text(s.card_value(card), suit)


def action_names() -> tuple[str, ...]:
    """[A] short texts, unique."""
    verbs = ("fight {} with the weapon", "equip {}", "drink {}")
    faced = [verbs[(c >= s.MONSTERS) + (c >= s.WEAPONS)].format(name_of(c)) for c in range(s.CARDS)]
    barehanded = [f"fight {name_of(c)} barehanded" for c in range(s.MONSTERS)]
    return (*faced, *barehanded, "avoid the room")


def dungeon_cards(state: np.ndarray) -> list[int]:
    """The dungeon's cards from the top, the hidden ones included."""
    return [int(state[s.place(position)]) for position in range(state[s.HEAD], state[s.TAIL])]


def text(state: np.ndarray, seat: int | None) -> str:
    """A few lines for a terminal; with seat None, the true order of the dungeon as well."""
    room = " ".join(name_of(int(card)) for card in state[s.ROOM : s.ROOM + state[s.IN_ROOM]])
    notes = [note for entry, note in ((s.MAY_AVOID, "may be avoided"), (s.DRUNK, "potion used")) if state[entry]]
    lines = [
        f"life     {max(0, state[s.LIFE])}/{s.FULL_LIFE}   weapon {_weapon_text(state)}",
        f"room     {room or 'empty'}" + (f"   ({', '.join(notes)})" if notes else ""),
        f"dungeon  {_dungeon_text(state)}",
    ]
    if seat is None:
        lines.append(f"order    {' '.join(map(name_of, dungeon_cards(state))) or 'nothing'}")
    if s.game_over(state):
        lines.append("dead" if state[s.LIFE] <= 0 else "through the dungeon")
    return "\n".join(lines)


def _weapon_text(state: np.ndarray) -> str:
    """The weapon and what it may still be used on."""
    if not state[s.WEAPON]:
        return "none"
    reading = s.OPTIONS["weapon_limit"][state[s.WEAPON_LIMIT]].replace("_", " ")
    limit = "unused" if state[s.LIMIT] == s.FRESH else f"for monsters {reading} {state[s.LIMIT]}"
    return f"{card_text(int(state[s.WEAPON]), 'diamonds')}, {limit}"


def _dungeon_text(state: np.ndarray) -> str:
    """How many cards lie in the dungeon, and what the player knows of them: groups put back by avoiding."""
    cards = dungeon_cards(state)
    unseen = max(0, min(s.CARDS - state[s.HEAD], len(cards)))
    known = cards[unseen:]
    if not known:
        return f"{len(cards)} cards, all unseen" if cards else "empty"
    if s.OPTIONS["avoided"][state[s.AVOIDED]] == "ordered":
        return f"{len(cards)} cards: {unseen} unseen, then {' '.join(map(name_of, known))}"
    first = len(known) % s.ROOM_SIZE or s.ROOM_SIZE
    starts = [0, *range(first, len(known), s.ROOM_SIZE)]
    groups = [sorted(known[a:b]) for a, b in zip(starts, [*starts[1:], None], strict=True)]
    shown = ", ".join("{" + " ".join(map(name_of, group)) + "}" for group in groups)
    return f"{len(cards)} cards: {unseen} unseen, then in any order {shown}"
