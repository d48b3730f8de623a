"""Blob a second time, as plainly as the rules read: what the fast rules are compared with.

Cards are texts such as "SA", "HT" or "C2". The deal of a round comes from outside: `open` is given the hands.
"""

from dataclasses import dataclass, field

SUITS = "SHCD"
RANKS = "23456789TJQKA"
TRUMPS = (*SUITS, None)  # in the order in which the rounds of a game take them
CARDS = [suit + rank for suit in SUITS for rank in RANKS]


def rounds_of(players, cards, one_card_rounds):
    """Cards dealt to each hand, round by round, of a whole game."""
    ones = {"players": players, "players_and_one": players + 1}[one_card_rounds]
    return [*range(cards, 1, -1), *[1] * ones, *range(2, cards + 1)]


def beats(card, best, trump):
    """Whether `card` takes the trick from `best`, played before it."""
    if card[0] == best[0]:
        return RANKS.index(card[1]) > RANKS.index(best[1])
    return card[0] == trump


def winner_of(trick, trump):
    """The seat that takes a trick of (seat, card)."""
    leader, best = trick[0]
    for seat, card in trick[1:]:
        if beats(card, best, trump):
            leader, best = seat, card
    return leader


@dataclass
class Table:
    """A game in progress. Actions are ("bid", number) and ("play", card)."""

    players: int
    sizes: list  # of the hands, round by round
    dealer: int
    trump: str | None
    round: int = -1
    totals: list = field(default_factory=list)
    hands: list = field(default_factory=list)
    bids: dict = field(default_factory=dict)
    won: list = field(default_factory=list)
    tricks: list = field(default_factory=list)  # of this round; each a list of (seat, card); the last may be going on
    voids: list = field(default_factory=list)  # by seat: suits that it did not follow
    turn: int | None = None
    history: list = field(default_factory=list)  # of the whole game: (seat, action)

    def __post_init__(self):
        self.totals = [0] * self.players

    def after(self, seat, places=1):
        order = [*range(self.players)] * 2
        return order[seat + places % self.players]

    def open(self, hands):
        """Deal the next round."""
        assert not self.over() and self.turn is None
        self.round += 1
        if self.round > 0:
            self.dealer = self.after(self.dealer)
            self.trump = TRUMPS[(TRUMPS.index(self.trump) + 1) % len(TRUMPS)]
        self.hands = [list(hand) for hand in hands]
        dealt = [card for hand in hands for card in hand]
        assert len(hands) == self.players and {len(hand) for hand in hands} == {self.size()}
        assert len(set(dealt)) == len(dealt) and set(dealt) <= set(CARDS)
        self.bids, self.won, self.tricks = {}, [0] * self.players, []
        self.voids = [set() for _ in range(self.players)]
        self.turn = self.after(self.dealer)

    def size(self):
        return self.sizes[self.round]

    def over(self):
        return self.turn is None and self.round == len(self.sizes) - 1

    def bidding(self):
        return len(self.bids) < self.players

    def trick(self):
        """The cards on the table; [] where one is to lead."""
        going_on = self.tricks and len(self.tricks[-1]) < self.players
        return self.tricks[-1] if going_on else []

    def legal(self):
        if self.turn is None:
            return set()
        if self.bidding():
            last = len(self.bids) == self.players - 1
            bids = [b for b in range(self.size() + 1) if not (last and sum(self.bids.values()) + b == self.size())]
            return {("bid", b) for b in bids}
        hand, trick = self.hands[self.turn], self.trick()
        follow = [card for card in hand if trick and card[0] == trick[0][1][0]]
        return {("play", card) for card in follow or hand}

    def play(self, action):
        verb, what = action
        seat = self.turn
        assert action in self.legal() and seat is not None
        self.history.append((seat, action))
        self.turn = self.after(seat)
        if verb == "bid":
            self.bids[seat] = what
            if len(self.bids) == self.players:
                assert sum(self.bids.values()) != self.size() and seat == self.dealer
                self.turn = self.after(self.dealer)
            return
        self.hands[seat].remove(what)
        if not self.trick():
            self.tricks.append([])
        trick = self.tricks[-1]
        trick.append((seat, what))
        if what[0] != trick[0][1][0]:
            self.voids[seat].add(trick[0][1][0])
        if len(trick) == self.players:
            taker = winner_of(trick, self.trump)
            self.won[taker] += 1
            self.turn = taker
            if len(self.tricks) == self.size():
                for each in range(self.players):
                    self.totals[each] += 10 + self.bids[each] if self.bids[each] == self.won[each] else 0
                self.turn = None

    def public(self):
        """All that everyone knows of this round and the game, but for the hands."""
        return (self.players, self.size(), self.round, self.dealer, self.trump, tuple(self.totals)), tuple(self.history)

    def played(self):
        return [card for trick in self.tricks for _, card in trick]
