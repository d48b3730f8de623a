"""Scoundrel a second time, as plainly as the rule book reads: what the fast rules are compared with."""

from dataclasses import dataclass, field

SUITS = {"C": range(2, 15), "S": range(2, 15), "D": range(2, 11), "H": range(2, 11)}


def number(card):
    """The fast rules' number of a card, a pair of suit and value."""
    suit, value = card
    return {"C": 0, "S": 13, "D": 26, "H": 35}[suit] + value - 2


CARDS = [(suit, value) for suit, values in SUITS.items() for value in values]
BY_NUMBER = {number(card): card for card in CARDS}
AVOID = "avoid"


@dataclass
class Dungeon:
    """A game in progress. Cards are pairs; the dungeon's first card is its top."""

    options: dict
    dungeon: list
    room: list = field(default_factory=list)
    life: int = 20
    weapon: int | None = None
    slain: int | None = None  # by the present weapon, last
    faced: int = 0
    avoided_last: bool = False
    potion_taken: bool = False
    last_card: tuple | None = None
    last_potion_worked: bool = False
    known_bottom: list = field(default_factory=list)  # groups of four cards put back, oldest first, as far as undrawn

    def __post_init__(self):
        self.enter()

    def enter(self):
        while len(self.room) < 4 and self.dungeon:
            card = self.dungeon.pop(0)
            if self.known_bottom and len(self.dungeon) < sum(map(len, self.known_bottom)):
                self.known_bottom[0].remove(card)
                if not self.known_bottom[0]:
                    self.known_bottom.pop(0)
            self.room.append(card)
        self.faced = 0
        self.potion_taken = False

    def over(self):
        if self.life <= 0:
            return True
        left = len(self.room) + len(self.dungeon)
        return left <= (1 if self.options["last_room"] == "all_but_one" else 0)

    def may_use_weapon(self, value):
        if self.weapon is None:
            return False
        if self.slain is None:
            return True
        return value <= self.slain if self.options["weapon_limit"] == "at_most" else value < self.slain

    def legal(self):
        if self.over():
            return set()
        actions = set()
        for suit, value in self.room:
            if suit in "CS":
                actions.add(("barehanded", (suit, value)))
                if self.may_use_weapon(value):
                    actions.add(("face", (suit, value)))
            else:
                actions.add(("face", (suit, value)))
        if len(self.room) == 4 and self.faced == 0 and not self.avoided_last:
            actions.add((AVOID, None))
        return actions

    def play(self, action, order=None):
        """`order` is how avoided cards come to lie, where they are shuffled."""
        verb, card = action
        if verb == AVOID:
            group = list(order) if order else list(self.room)
            self.dungeon += group
            self.known_bottom.append(list(group))
            self.room = []
            self.enter()
            self.avoided_last = True
            return
        suit, value = card
        self.room.remove(card)
        self.faced += 1
        self.last_card, self.last_potion_worked = card, False
        if suit == "D":
            self.weapon, self.slain = value, None
        elif suit == "H":
            if not self.potion_taken:
                self.life = min(20, self.life + value)
                self.last_potion_worked = True
            self.potion_taken = True
        elif verb == "barehanded":
            self.life -= value
        else:
            self.life -= max(0, value - self.weapon)
            self.slain = value
        if self.life > 0 and len(self.room) == 1 and self.dungeon:
            self.enter()
            self.avoided_last = False

    def score(self):
        """Of a finished game."""
        if self.life <= 0:
            monsters = sum(v for s, v in self.room + self.dungeon if s in "CS")
            life = 0 if self.options["losing_score"] == "clamped" else self.life
            return life - monsters
        bonus = 0
        counts = self.options["bonus"] == "last_faced" or (
            self.options["bonus"] == "last_drunk" and self.last_potion_worked
        )
        suit, value = self.last_card or ("", 0)
        if self.life == 20 and suit == "H" and counts:
            bonus = value
        return self.life + bonus
