"""Blob's rules against a slow second implementation, rounds worked out by hand, and what a player may know."""

import itertools
import math

import numpy as np
import pytest

from scoundrel_ray import rng
from scoundrel_ray.experience.rows import decision_dtype
from scoundrel_ray.game import ILLEGAL, OK, OVER, IllegalAction, seat_after
from scoundrel_ray.games import blob
from scoundrel_ray.games import blob_redeal as r
from scoundrel_ray.games import blob_state as s
from scoundrel_ray.settings.checks import InvalidConfig
from tests.games.slow_blob import CARDS, RANKS, SUITS, TRUMPS, Table, beats, rounds_of, winner_of

GAME = blob.make()
READINGS = ("players", "players_and_one")
ROUNDS = [  # (players, cards, games)
    (3, 1, 200), (3, 3, 200), (3, 17, 40), (4, 1, 100), (4, 5, 300), (4, 13, 60), (5, 7, 100), (5, 10, 60),
    (6, 3, 100), (6, 8, 60), (7, 4, 80), (7, 7, 60), (8, 1, 100), (8, 6, 80),
    ((3, 4, 5), 5, 200), ((3, 8), 6, 100), ((4, 6, 7), 2, 200),
]  # fmt: skip
GAMES = [  # (players, cards, reading, games)
    (3, 1, "players", 20), (3, 4, "players_and_one", 12), (4, 5, "players", 10), (5, 3, "players_and_one", 10),
    (6, 2, "players", 10), (7, 7, "players_and_one", 3), (8, 6, "players", 3), (4, 13, "players_and_one", 3),
    ((3, 4, 5), 3, "players", 20), ((3, 8), 4, "players_and_one", 10),
]  # fmt: skip
PUBLIC = [at for at in range(s.STATE_SIZE) if not s.NEXT <= at < s.NEXT + 2 and not s.HANDS <= at < s.PLAYED]


def label(value):
    return "-".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def make(players, cards, mode="round", reading="players"):
    return blob.make(list(players) if isinstance(players, tuple) else players, cards, mode, reading)


def number(card):
    return 13 * SUITS.index(card[0]) + RANKS.index(card[1])


def fast(action):
    verb, what = action
    return s.BID + what if verb == "bid" else number(what)


def slow(action):
    return ("bid", action - s.BID) if action >= s.BID else ("play", CARDS[action])


def mask_of(cards):
    return sum(1 << number(card) for card in cards)


def read(state, place):
    """The cards of a mask, ascending."""
    mask = int(state[place]) + (int(state[place + 1]) << 26)
    return [card for at, card in enumerate(CARDS) if mask >> at & 1]


def hands_of(state, players):
    return [read(state, s.HANDS + 2 * seat) for seat in range(players)]


def ascending(cards):
    return sorted(cards, key=number)


def table_for(game, state):
    """The slow game with the same deal as a fresh state."""
    players, options = int(state[s.PLAYERS]), game.options
    whole = options["mode"] == "game"
    sizes = rounds_of(players, options["cards"], options["one_card_rounds"]) if whole else [options["cards"]]
    table = Table(players, sizes, int(state[s.DEALER]), TRUMPS[state[s.TRUMP]])
    table.open(hands_of(state, players))
    return table


def step(game, state, table, action):
    """The state after an action; the slow game goes along, and is dealt the state's next round."""
    state = game.step(state, action)
    table.play(slow(action))
    if table.turn is None and not table.over():
        table.open(hands_of(state, table.players))
    return state


def dealt(game, seed):
    """A fresh game both ways."""
    state = game.deal(rng.stream(seed))
    return state, table_for(game, state)


def walk(game, seed, bold=0.0):
    """(state, slow game) pairs along a random game; `bold` is how often the heuristic chooses."""
    generator = np.random.default_rng(seed)
    state, table = dealt(game, seed)
    while True:
        yield state, table
        if game.seat(state) == OVER:
            return
        if generator.random() < bold:
            action = int(game.rules.heuristic(state, rng.stream(seed)))
        else:
            action = int(generator.choice(game.legal(state)))
        state = step(game, state, table, action)


def check_same(game, state, table, every_action):
    """The two agree on everything; illegal actions are refused, all of them or a few."""
    players, turn = table.players, OVER if table.turn is None else table.turn
    assert game.players(state) == players and game.seat(state) == turn
    legal = sorted(map(fast, table.legal()))
    assert game.legal(state).tolist() == legal
    tries = range(-2, game.actions + 3) if every_action else (-1, 0, 31, s.BID, s.BID + 1, game.actions)
    trial = state.copy()
    for action in tries:
        if action not in legal:
            assert game.rules.step(trial, action) == ILLEGAL, action
    assert (trial == state).all()
    assert hands_of(state, players) == [ascending(hand) for hand in table.hands]
    assert state[s.DEALT] == table.size() and TRUMPS[state[s.TRUMP]] == table.trump and state[s.DEALER] == table.dealer
    ended = table.turn is None
    assert state[s.DONE] == table.round + ended and state[s.ROUNDS] == len(table.sizes)
    assert state[s.TRICKS : s.TRICKS + players].tolist() == table.won
    assert state[s.BIDS : s.BIDS + players].tolist() == [table.bids.get(seat, -1) for seat in range(players)]
    on_table = dict(table.trick())
    wanted = [number(on_table[seat]) if seat in on_table else -1 for seat in range(players)]
    assert state[s.TABLE : s.TABLE + players].tolist() == wanted
    for seat in range(players):
        lacks = {SUITS[suit] for suit in range(4) if state[s.VOIDS + seat] >> suit & 1}
        assert lacks == table.voids[seat]
        played = [card for trick in table.tricks for who, card in trick if who == seat]
        assert read(state, s.PLAYED + 2 * seat) == ascending(played)
    assert game.scores(state).tolist() == [*table.totals, *[0] * (game.seats - players)]
    assert (turn == OVER) == table.over()


@pytest.mark.parametrize(("players", "cards", "games"), ROUNDS, ids=label)
def test_fast_and_slow_rounds_agree(players, cards, games):
    game = make(players, cards)
    counts = {}
    for seed in range(games):
        (state, table), steps = dealt(game, seed), -1
        for state, table in walk(game, seed, bold=(seed % 3) / 2):
            check_same(game, state, table, every_action=seed % 10 == 0)
            steps += 1
        assert steps == table.players * (1 + cards) <= game.max_steps
        assert sum(table.won) == cards != sum(table.bids.values())
        counts[table.players] = counts.get(table.players, 0) + 1
    assert sorted(counts) == sorted(players if isinstance(players, tuple) else [players])


@pytest.mark.parametrize(("players", "cards", "reading", "games"), GAMES, ids=label)
def test_fast_and_slow_games_agree(players, cards, reading, games):
    game = make(players, cards, "game", reading)
    met = set()
    for seed in range(games):
        (state, table), steps, rounds = dealt(game, seed), -1, []
        for state, table in walk(game, seed, bold=(seed % 3) / 2):
            check_same(game, state, table, every_action=seed == 0 and cards < 5)
            steps += 1
            if table.turn is not None and not table.bids:
                rounds.append((table.size(), table.trump, table.dealer, sum(map(len, table.hands))))
        number_of_ones = table.players + (reading == "players_and_one")
        assert [size for size, *_ in rounds].count(1) == number_of_ones
        assert len(rounds) == 2 * (cards - 1) + number_of_ones
        assert [trump for _, trump, *_ in rounds] == [
            trump for trump, _ in zip(itertools.cycle(["S", "H", "C", "D", None]), rounds, strict=False)
        ]
        assert steps == sum(table.players * (1 + size) for size, *_ in rounds) <= game.max_steps
        assert max(table.totals) <= game.score_range[1] and game.won(game.scores(state)).any()
        met.add((table.players, rounds[0][2]))
    assert len(met) > 1  # who deals first is drawn


def test_the_rounds_of_a_game():
    """As the rules say it: down to one, ones until there were as many as players, up again."""
    assert rounds_of(4, 3, "players") == [3, 2, 1, 1, 1, 1, 2, 3]
    assert rounds_of(3, 3, "players_and_one") == [3, 2, 1, 1, 1, 1, 2, 3]
    assert rounds_of(3, 1, "players") == [1, 1, 1]


def z_of(counts, degrees=None):
    """How far counts that should be alike are from that, in standard deviations (Wilson and Hilferty 1931)."""
    expected, degrees = sum(counts) / len(counts), degrees or len(counts) - 1
    chi_square = sum((count - expected) ** 2 / expected for count in counts)
    return ((chi_square / degrees) ** (1 / 3) - 1 + 2 / (9 * degrees)) / math.sqrt(2 / (9 * degrees))


def test_rounds_are_drawn_evenly():
    """Players, dealer and trump, and who gets which card."""
    game, stream = make((3, 5, 6), 4), rng.stream(2)
    first = {}
    for n in (3, 5, 6):
        first |= {(n, dealer, trump): 0 for dealer in range(n) for trump in range(5)}
    where = np.zeros((3, s.CARDS), int)
    for _ in range(12_000):
        state = game.deal(stream)
        first[int(state[s.PLAYERS]), int(state[s.DEALER]), int(state[s.TRUMP])] += 1
        for seat in range(3):
            where[seat, [number(card) for card in read(state, s.HANDS + 2 * seat)]] += 1
    for n in (3, 5, 6):
        assert abs(z_of([count for (players, *_), count in first.items() if players == n])) < 4.5
    assert abs(z_of([sum(c for (p, *_), c in first.items() if p == n) for n in (3, 5, 6)])) < 4.5
    for row in where:
        assert abs(z_of(row.tolist())) < 4.5


def test_a_game_starts_with_spades_and_any_dealer():
    game, stream = make(5, 3, "game"), rng.stream(3)
    dealers = [0] * 5
    for _ in range(5_000):
        state = game.deal(stream)
        assert state[s.TRUMP] == 0 and state[s.DEALT] == 3 and state[s.DONE] == 0
        dealers[state[s.DEALER]] += 1
    assert abs(z_of(dealers)) < 4.5


def position(game, hands, trump, dealer):
    """A state before the first bid, with these hands."""
    players = len(hands)
    state = next(state for state in map(game.deal, rng.streams(50, 0)) if state[s.PLAYERS] == players)
    state[s.TRUMP] = TRUMPS.index(trump)
    state[s.DEALER] = dealer
    state[s.LEADER] = state[s.TURN] = (dealer + 1) % players
    for seat, hand in enumerate(hands):
        assert len(hand.split()) == game.options["cards"]
        s.write_mask(state, s.HANDS + 2 * seat, np.uint64(mask_of(hand.split())))
    return state


GOLDEN = [
    # The only spade follows; a trump takes a trick of spades; it is overtrumped; diamonds take the last trick.
    ("H", 3, ["SA H2 D9", "SK CT C3", "S5 HA D2", "HK C4 DA"],
     [(0, [1], "0 1 2 3"), (1, [1], "0 1 2 3"), (2, [1], "0 1 2 3"), (3, [1], "1 2 3"),
      (0, ["SA"], "SA H2 D9"), (1, ["SK"], "SK"), (2, ["S5"], "S5"), (3, ["HK"], "HK C4 DA"),
      (3, ["C4"], "C4 DA"), (0, ["H2"], "H2 D9"), (1, ["CT"], "CT C3"), (2, ["HA"], "HA D2"),
      (2, ["D2"], "D2"), (3, ["DA"], "DA"), (0, ["D9"], "D9"), (1, ["C3"], "C3")],
     [0, 0, 11, 0]),
    # No trump: an ace of another suit takes nothing.
    (None, 0, ["S3 DA", "S2 C9", "SA SK"],
     [(1, [0], "0 1 2"), (2, [2], "0 1 2"), (0, [1], "1 2"),
      (1, ["S2"], "S2 C9"), (2, ["SA"], "SA SK"), (0, ["S3"], "S3"),
      (2, ["SK"], "SK"), (0, ["DA"], "DA"), (1, ["C9"], "C9")],
     [0, 10, 12]),
    (None, 0, ["S3 DA", "S2 C9", "SA SK"],
     [(1, [2], "0 1 2"), (2, [1], "0 1 2"), (0, [0], "0 1 2"),  # the bids are already too many: all are allowed
      (1, ["C9"], "S2 C9"), (2, ["SA"], "SA SK"), (0, ["DA"], "S3 DA"),
      (1, ["S2"], "S2"), (2, ["SK"], "SK"), (0, ["S3"], "S3")],
     [10, 0, 11]),
    # Trump led: who has none may throw anything; the higher trump wins.
    ("C", 2, ["C5 DA", "S9 S8", "C6 H2"],
     [(0, [2], "0 1 2"), (1, [0], "0 1 2"), (2, [2], "1 2"),
      (0, ["C5"], "C5 DA"), (1, ["S9"], "S9 S8"), (2, ["C6"], "C6"),
      (2, ["H2"], "H2"), (0, ["DA"], "DA"), (1, ["S8"], "S8")],
     [0, 10, 12]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("trump", "dealer", "hands", "course", "scores"), GOLDEN, ids=["overtrumped", "no trump", "over", "trump led"]
)
def test_a_round_played_by_hand(trump, dealer, hands, course, scores):
    game = make(len(hands), len(hands[0].split()))
    state = position(game, hands, trump, dealer)
    for seat, (said,), allowed in course:
        assert game.seat(state) == seat
        legal = [("bid", int(each)) if each.isdigit() else ("play", each) for each in allowed.split()]
        assert game.legal(state).tolist() == sorted(map(fast, legal))
        state = game.step(state, fast(("bid", said) if isinstance(said, int) else ("play", said)))
    assert game.seat(state) == OVER and len(game.legal(state)) == 0
    assert game.scores(state).tolist() == scores
    assert game.won(game.scores(state)).tolist() == [score > 0 for score in scores]


def test_an_illegal_action_is_named():
    state = position(make(3, 2), ["S3 DA", "S2 C9", "SA SK"], None, 0)
    game = make(3, 2)
    for bid in (0, 2):
        state = game.step(state, s.BID + bid)
    with pytest.raises(IllegalAction) as error:
        game.step(state, s.BID)
    assert str(error.value) == f"blob: action {s.BID} (bid 0) is not legal here; legal: bid 1, bid 2"


# What a seat cannot know.


def view(table, seat):
    """What a seat knows of the others: (unseen cards, {other: cards held}, {other: suits it lacks})."""
    known = {*table.hands[seat], *table.played()}
    others = [other for other in range(table.players) if other != seat]
    unseen = [card for card in CARDS if card not in known]
    return unseen, {o: len(table.hands[o]) for o in others}, {o: table.voids[o] for o in others}


def deals(unseen, sizes, voids):
    """All ways to give the unseen cards to the others that agree with what they lack: {other: cards}."""
    if not sizes:
        yield {}
        return
    (other, size), *rest = sizes.items()
    for hand in itertools.combinations([card for card in unseen if card[0] not in voids[other]], size):
        left = [card for card in unseen if card not in hand]
        for others in deals(left, dict(rest), voids):
            yield {other: hand, **others}


def lacking(unseen, sizes, voids):
    """Others whose hands are not free: they hold cards, and lack a suit of which some are unseen."""
    suits = {card[0] for card in unseen}
    return sum(1 for other, size in sizes.items() if size and voids[other] & suits)


def hands_bytes(players, hands):
    """The hands' part of a state."""
    part = np.zeros(2 * players, np.int32)
    for seat, cards in hands.items():
        mask = mask_of(cards)
        part[2 * seat : 2 * seat + 2] = mask & (1 << 26) - 1, mask >> 26
    return part.tobytes()


def small_positions(players, cards, lack, mover, wanted):
    """Positions near the end of random rounds: few deals are consistent, so many others lack suits."""
    game, found = make(players, cards), []
    for seed in range(3000):
        for state, table in walk(game, seed, bold=(seed % 3) / 2):
            rest = sum(map(len, table.hands))
            if not 1 < rest <= 4 * players or table.bidding():
                continue
            others = [seat for seat in range(players) if (seat == table.turn) == mover]
            seat = others[seed % len(others)]
            known = view(table, seat)
            unseen, sizes, _ = known
            if lacking(*known) != lack or not any(sizes.values()):
                continue
            free = math.factorial(len(unseen)) // math.factorial(len(unseen) - sum(sizes.values()))
            if free // math.prod(map(math.factorial, sizes.values())) > 100_000:
                continue
            listed = list(itertools.islice(deals(*known), 301))
            if 3 <= len(listed) <= 300:
                found.append((game, state, table, seat, listed))
                break
        if len(found) == wanted:
            break
    assert len(found) == wanted
    return found


SMALL = [  # (players, cards, how many others lack suits)
    (4, 13, 0), (4, 13, 1), (4, 13, 2), (4, 13, 3), (3, 17, 0), (3, 17, 1), (3, 17, 2), (4, 12, 2),
    (5, 10, 0), (5, 10, 1), (5, 10, 3), (5, 10, 4), (6, 8, 3), (6, 8, 4), (7, 7, 0), (7, 7, 2), (7, 7, 5),
    (8, 6, 1), (8, 6, 3), (8, 6, 5),
]  # fmt: skip


@pytest.mark.parametrize("mover", [True, False], ids=["mover", "waiting"])
@pytest.mark.parametrize(("players", "cards", "lack"), SMALL, ids=label)
def test_every_consistent_deal_is_equally_likely(players, cards, lack, mover):
    for at, (game, state, table, seat, listed) in enumerate(small_positions(players, cards, lack, mover, 2)):
        stream = rng.stream(1, players, cards, lack, at)
        counts = {hands_bytes(players, {seat: table.hands[seat], **deal}): 0 for deal in listed}
        assert len(counts) == len(listed) and state[s.HANDS : s.HANDS + 2 * players].tobytes() in counts
        fresh, redeal = state.copy(), game.rules.redeal
        for _ in range(max(10_000, 40 * len(counts))):
            fresh[:] = state
            assert redeal(fresh, seat, stream) == OK
            counts[fresh[s.HANDS : s.HANDS + 2 * players].tobytes()] += 1  # a KeyError is an impossible deal
        assert min(counts.values()) > 0
        assert abs(z_of(list(counts.values()))) < 4.5, (at, seat, counts)


def test_the_deals_of_a_hand_worked_out():
    """One void, by hand: of S2 H2 H3 player 1 (no hearts) and player 2 get one each, one stays in the stock."""
    unseen, sizes, voids = ["S2", "H2", "H3"], {1: 1, 2: 1}, {1: {"H"}, 2: set()}
    assert list(deals(unseen, sizes, voids)) == [{1: ("S2",), 2: ("H2",)}, {1: ("S2",), 2: ("H3",)}]


def test_the_stock_is_drawn_from():
    """The published trap: to permute only the cards really dealt tells which are in the stock."""
    game, stream = make(4, 5), rng.stream(4)
    state = game.deal(rng.stream(3))
    own = read(state, s.HANDS + 4)
    counts = {(other, card): 0 for other in (0, 1, 3) for card in CARDS if card not in own}
    for _ in range(6_000):
        for other, hand in enumerate(hands_of(game.redeal(state, 2, stream), 4)):
            assert len(hand) == 5
            if other == 2:
                assert hand == own
            else:
                for card in hand:
                    counts[other, card] += 1  # a KeyError is a card of one's own
    for other in (0, 1, 3):
        assert abs(z_of([count for (who, _), count in counts.items() if who == other])) < 4.5


@pytest.mark.parametrize(
    ("players", "cards", "mode"),
    [(4, 5, "round"), (4, 13, "round"), (6, 8, "round"), ((3, 5, 8), 6, "round"), ((3, 4), 3, "game")],
    ids=label,
)
def test_redeal_keeps_what_is_known(players, cards, mode):
    """Own hand, all that is public, sizes of hands and suits not followed; and all that the seat is told."""
    game, stream, void_hands = make(players, cards, mode), rng.stream(5), 0
    for seed in range(30):
        for state, table in walk(game, seed, bold=0.5):
            seat = seed % table.players if table.turn is None or seed % 2 else table.turn
            other = game.redeal(state, seat, stream)
            assert (other[PUBLIC] == state[PUBLIC]).all()
            if game.seat(state) == OVER:
                assert (other == state).all()
                continue
            hands = hands_of(other, table.players)
            assert hands[seat] == ascending(table.hands[seat])
            assert [len(hand) for hand in hands] == [len(hand) for hand in table.hands]
            given = [card for hand in hands for card in hand]
            assert len(set(given)) == len(given) and not {*given} & {*table.played()}
            for hand, lacks in zip(hands, table.voids, strict=True):
                assert not {card[0] for card in hand} & lacks
                void_hands += bool(lacks and hand)
            assert not other[s.HANDS + 2 * table.players : s.PLAYED].any()
            more = table.round + 1 < len(table.sizes)
            assert (other[s.NEXT : s.NEXT + 2] != state[s.NEXT : s.NEXT + 2]).any() == more  # nothing hidden, no change
            assert (game.observe(other, seat) == game.observe(state, seat)).all()
            assert game.information_key(other, seat) == game.information_key(state, seat)
            assert game.text(other, seat) == game.text(state, seat)
            if seat == table.turn:
                assert game.legal(other).tolist() == game.legal(state).tolist()
                opinions = [game.rules.heuristic(each, rng.stream(0)) for each in (state, other)]
                assert opinions[0] == opinions[1]
    assert void_hands > 50


def ways_by_hand(left, sizes, voids):
    """Deals of `left` cards of each suit to hands that lack suits, counted card by card."""
    deck = [(suit, at) for suit in range(4) for at in range(left[suit])]

    def count(deck, at):
        if at == len(sizes):
            return 1
        fit = [card for card in deck if not voids[at] >> card[0] & 1]
        return sum(count([c for c in deck if c not in hand], at + 1) for hand in itertools.combinations(fit, sizes[at]))

    return count(deck, 0)


def small_voids(count, seed, most_hands):
    """Random (unseen by suit, sizes, voids), few cards."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        unseen = generator.integers(0, 4, 4)
        hands = int(generator.integers(1, most_hands + 1))
        sizes = generator.integers(0, 3, hands)
        if sizes.sum() <= unseen.sum():
            yield unseen, sizes, generator.integers(0, 16, hands)


def test_ways_are_counted_right():
    checked = possible = 0
    for unseen, sizes, voids in small_voids(150, 6, 4):
        hands = len(sizes)
        ways = np.full((hands, 14**3), np.nan)
        r.count_ways(unseen, sizes, voids, hands, ways)
        for i in range(1, hands):
            before = sizes[:i].sum()
            for taken in itertools.product(*(range(n + 1) for n in unseen)):
                if sum(taken) == before:
                    wanted = ways_by_hand(unseen - taken, sizes[i:], voids[i:])
                    assert ways[i, (taken[0] * 14 + taken[1]) * 14 + taken[2]] == wanted, (unseen, sizes, voids, taken)
                    checked, possible = checked + 1, possible + (wanted > 0)
    assert checked > 500 and possible > 200


def test_each_split_of_a_hand_has_its_share():
    """Every whole number below the sum of weights is a deal: the splits that they lead to have as many as deals."""
    checked, nothing, none = 0, np.empty(0), np.zeros(4, np.int64)
    for unseen, sizes, voids in small_voids(250, 7, 3):
        hands = len(sizes)
        ways = np.full((hands, 14**3), np.nan)
        r.count_ways(unseen, sizes, voids, hands, ways)
        later = ways[1] if hands > 1 else nothing
        chosen = np.zeros(4, np.int64)
        total = r.deal_suits(unseen, sizes[0], voids[0], later, none, np.inf, chosen)
        assert total == ways_by_hand(unseen, sizes, voids)
        if not 0 < total <= 400:
            continue
        shares = {}
        for target in range(int(total)):
            for place in (0.0, 0.999):
                r.deal_suits(unseen, sizes[0], voids[0], later, none, target + place, chosen)
                shares[tuple(chosen.tolist())] = shares.get(tuple(chosen.tolist()), 0) + 1
        for split, share in shares.items():
            assert sum(split) == sizes[0] and not any(n and voids[0] >> suit & 1 for suit, n in enumerate(split))
            draws = math.prod(math.comb(int(n), k) for n, k in zip(unseen, split, strict=True))
            assert share == 2 * draws * ways_by_hand(unseen - split, sizes[1:], voids[1:])
        checked += len(shares) > 1
    assert checked > 30


# From one round of a game to the next.


def last_cards(game, count):
    """(state, slow game) where one card ends a round and another one follows."""
    found = []
    for seed in range(1000):
        for state, table in walk(game, seed, bold=0.5):
            if sum(map(len, table.hands)) == 1 and not table.bidding() and table.round == seed % (len(table.sizes) - 1):
                found.append((state, table))
                break
        if len(found) == count:
            break
    assert len(found) == count
    return found


@pytest.mark.parametrize(("players", "cards"), [(3, 3), (4, 5), ((3, 5), 2)], ids=label)
def test_the_next_round_is_decided_by_the_state_alone(players, cards):
    game = make(players, cards, "game")
    for at, (state, table) in enumerate(last_cards(game, 10)):
        (action,) = game.legal(state).tolist()
        after = {game.step(state, action).tobytes() for _ in range(3)}
        assert len(after) == 1
        hands = set()
        for draw in range(20):
            other = game.redeal(state, table.turn, rng.stream(8, at, draw))
            opened = game.step(other, action)
            hands.add(opened[s.HANDS : s.PLAYED].tobytes())
            assert (opened[PUBLIC] == game.step(state, action)[PUBLIC]).all()
        cards_dealt = table.players * table.sizes[table.round + 1]
        assert len(hands) == 20 or cards_dealt < 6  # of so many deals hardly two are alike
        assert len(hands) > 10


def test_the_next_round_is_dealt_evenly():
    game, stream = make(4, 3, "game"), rng.stream(9)
    ((state, table),) = last_cards(game, 1)
    (action,) = game.legal(state).tolist()
    counts = np.zeros((4, s.CARDS), int)
    for _ in range(8_000):
        opened = game.step(game.redeal(state, table.turn, stream), action)
        for seat, hand in enumerate(hands_of(opened, 4)):
            counts[seat, [number(card) for card in hand]] += 1
    for row in counts:
        assert abs(z_of(row.tolist())) < 4.5


def test_a_redealt_game_is_played_to_its_end():
    game = make((3, 4), 3, "game")
    for seed in range(20):
        for at, (state, table) in enumerate(walk(game, seed)):
            if at % 9 == seed % 9 and table.turn is not None:
                seat = (table.turn + at) % table.players
                other, generator = game.redeal(state, seat, rng.stream(seed, at)), np.random.default_rng(seed)
                steps = at
                while game.seat(other) != OVER:
                    other = game.step(other, int(generator.choice(game.legal(other))))
                    steps += 1
                assert steps == sum(table.players * (1 + size) for size in table.sizes)
                assert other[s.DONE] == other[s.ROUNDS] == len(table.sizes)


# What a seat is told.


def told(game, table, seat):
    """The observation of a seat by field, from the slow game."""
    players, seats = table.players, game.seats
    order = [table.after(seat, k) for k in range(players)]
    absent = [None] * (seats - players)
    played = {each for trick in table.tricks for _, each in trick}
    card = [int(each[0] == table.trump) for each in CARDS]
    takes = [0] * s.CARDS
    for each in table.hands[seat]:
        higher = {CARDS[n] for n in range(number(each) + 1, s.CARDS) if CARDS[n][0] == each[0]}
        unseen = len(higher - played - set(table.hands[seat]))
        card[number(each)] = 2 + min(unseen, 4) + 5 * (each[0] == table.trump)
        if on_table := table.trick():
            takes[number(each)] = int(beats(each, dict(on_table)[winner_of(on_table, table.trump)], table.trump))
    for trick in table.tricks:
        for who, each in trick:
            card[number(each)] = 12 + order.index(who) + (seats if trick is table.trick() else 0)
    trick, bidding = table.trick(), table.bidding()
    if trick:
        leader = trick[0][0]
    elif table.turn is None:
        leader = winner_of(table.tricks[-1], table.trump)
    else:
        leader = table.after(table.dealer) if bidding else table.turn
    fields = {
        "card": card,
        "takes": takes,
        "bid": [-1 if who is None else table.bids.get(who, -1) for who in order + absent],
        "to_take": [table.bids[w] - table.won[w] if w in table.bids else 0 for w in order + absent],
        "void": [int(w is not None and suit in table.voids[w]) for w in (order + absent)[1:] for suit in SUITS],
        "trump": [TRUMPS.index(table.trump)],
        "led": [SUITS.index(trick[0][1][0]) if trick else 4],
        "leader": [order.index(leader)],
        "dealer": [order.index(table.dealer)],
        "dealt": [table.size()],
        "tricks_left": [table.size() - sum(table.won)],
        "bidding": [int(bidding)],
    }
    if isinstance(game.options["players"], list):
        fields["at_table"] = [int(who is not None) for who in order + absent]
    if game.options["mode"] == "game":
        totals = [0 if who is None else table.totals[who] for who in order + absent]
        fields["score_sixteens"] = [total // 16 for total in totals]
        fields["score_ones"] = [total % 16 for total in totals]
        fields["rounds_left"] = [len(table.sizes) - table.round - (table.turn is None)]
    return fields


def observed(game, state, seat):
    entries, fields = game.observe(state, seat).tolist(), {}
    for part in game.observation:
        fields[part.name], entries = entries[: part.size], entries[part.size :]
        assert all(part.low <= entry <= part.high for entry in fields[part.name]), part.name
    assert not entries
    return fields


@pytest.mark.parametrize(
    ("players", "cards", "mode", "games"),
    [
        (3, 5, "round", 40), (4, 13, "round", 8), (8, 6, "round", 8), ((3, 4, 5), 4, "round", 40),
        ((3, 8), 6, "round", 10), (3, 4, "game", 8), ((3, 5), 3, "game", 10), (8, 6, "game", 1),
    ],
    ids=label,
)  # fmt: skip
def test_every_seat_is_told_what_it_knows(players, cards, mode, games):
    game, most = make(players, cards, mode), 0
    for seed in range(games):
        for state, table in walk(game, seed, bold=(seed % 3) / 2):
            for seat in range(table.players):
                assert observed(game, state, seat) == told(game, table, seat), seat
            most = max(most, *table.totals)
    assert most > 16 or mode == "round"  # both digits of a score were met


def test_an_observation_worked_out():
    """The first golden round, with two cards of the second trick on the table, as the dealer and player 1 see it."""
    trump, dealer, hands, course, _ = GOLDEN[0]
    game = make(4, 3)
    state = position(game, hands, trump, dealer)
    for _, (said,), _ in course[:10]:
        state = game.step(state, fast(("bid", said) if isinstance(said, int) else ("play", said)))
    unseen = {card: 1 for card in CARDS if card[0] == "H"}
    first = unseen | {"SA": 12 + 1, "SK": 12 + 2, "S5": 12 + 3, "HK": 12, "C4": 16, "H2": 16 + 1, "DA": 2}
    # Of clubs above the ten four are unseen, above the three more than that.
    second = unseen | {"SA": 12 + 3, "SK": 12, "S5": 12 + 1, "HK": 12 + 2, "C4": 16 + 2, "H2": 16 + 3, "CT": 6, "C3": 6}
    spade, club = [1, 0, 0, 0], [0, 0, 1, 0]
    common = {
        "takes": [0] * 52,
        "bid": [1] * 4,
        "trump": [1],
        "led": [2],
        "dealt": [3],
        "tricks_left": [2],
        "bidding": [0],
    }
    assert observed(game, state, 3) == common | {
        "card": [first.get(card, 0) for card in CARDS],
        "to_take": [0, 1, 1, 1],
        "void": club + [0] * 8,
        "leader": [0],
        "dealer": [0],
    }
    assert observed(game, state, 1) == common | {
        "card": [second.get(card, 0) for card in CARDS],
        "to_take": [1, 1, 0, 1],
        "void": [0] * 4 + spade + club,
        "leader": [2],
        "dealer": [2],
    }


def renamed(state, order):
    """The state with every suit x called order[x]."""
    out = state.copy()
    for at in [*range(s.HANDS, s.HANDS + 2 * s.MOST_SEATS, 2), *range(s.PLAYED, s.PLAYED + 2 * s.MOST_SEATS, 2)]:
        mask = int(s.read_mask(state, at))
        cards = [card for card in range(s.CARDS) if mask >> card & 1]
        s.write_mask(out, at, np.uint64(sum(1 << (13 * order[card // 13] + card % 13) for card in cards)))
    table = state[s.TABLE : s.TABLE + s.MOST_SEATS]
    out[s.TABLE : s.TABLE + s.MOST_SEATS] = [card if card < 0 else 13 * order[card // 13] + card % 13 for card in table]
    for at in range(s.VOIDS, s.VOIDS + s.MOST_SEATS):
        out[at] = sum(1 << order[suit] for suit in range(4) if state[at] >> suit & 1)
    out[s.TRUMP] = [*order, s.NO_TRUMP][state[s.TRUMP]]
    return out


@pytest.mark.parametrize(
    ("players", "cards", "mode"), [(4, 5, "round"), (7, 7, "round"), ((3, 5), 4, "game")], ids=label
)
def test_suits_may_bear_any_names(players, cards, mode):
    game = make(players, cards, mode)
    symmetries, dtype = game.symmetries, decision_dtype(game.spec)
    orders = list(itertools.permutations(range(4)))
    assert len(symmetries) == len(orders)
    for seed in range(12):
        for state, _ in walk(game, seed, bold=0.5):
            if game.seat(state) == OVER:
                break
            k = int(np.random.default_rng(seed).integers(24))
            row = np.zeros(1, dtype)
            row["actions"] = -1
            legal = game.legal(state)
            row["actions"][0, : len(legal)] = legal
            row["observation"] = game.observe(state, game.seat(state))
            row["version"] = 7
            seen, other = symmetries.see(row, np.array([k])), renamed(state, orders[k])
            np.testing.assert_array_equal(seen["observation"][0], game.observe(other, game.seat(state)))
            assert sorted(seen["actions"][0, : len(legal)]) == list(game.legal(other))
            assert (seen["actions"][0, len(legal) :] == -1).all() and seen["version"] == 7
            for before, after in zip(legal, seen["actions"][0], strict=False):  # it leads to the same place
                then = renamed(game.step(state, before), orders[k]), game.step(other, int(after))
                if then[0][s.DONE] == state[s.DONE]:  # else another round was dealt
                    hidden = [*range(s.HISTORY, s.HISTORY + 2), *range(s.NEXT, s.NEXT + 2)]
                    np.testing.assert_array_equal(*(np.delete(x, hidden) for x in then))
                np.testing.assert_array_equal(*(game.scores(x) for x in then))


@pytest.mark.parametrize("players", range(3, 9))
def test_seats_go_round_those_who_play(players):
    for seat in range(players):
        order = [*range(players)][seat:] + [*range(players)][:seat] + [*range(players, 8)]
        assert [seat_after(seat, places, players) for places in range(8)] == order


@pytest.mark.parametrize(
    ("players", "cards", "mode", "games"),
    [(3, 1, "round", 4000), (3, 2, "round", 1500), ((3, 4, 5), 3, "round", 500), (3, 2, "game", 150)],
    ids=label,
)
def test_keys_tell_apart_what_a_seat_can(players, cards, mode, games):
    """Public history and own hand, for every seat: each pair has one key, each key one pair."""
    game, stream, pair_of, key_of = make(players, cards, mode), rng.stream(11), {}, {}
    again = 0
    for seed in range(games):
        for state, table in walk(game, seed, bold=(seed % 2) / 2):
            public = table.public()
            for each in (state, game.redeal(state, seed % table.players, stream)):
                for seat, hand in enumerate(hands_of(each, table.players)):
                    pair, key = (public, tuple(hand)), game.information_key(each, seat)
                    again += pair in key_of
                    assert key_of.setdefault(pair, key) == key
                    assert pair_of.setdefault(key, pair) == pair
    assert again > 200 and len(pair_of) == len(key_of) > 2000


# Scores.


def test_scores_become_values():
    game = make(4, 5)
    assert game.score_range == (0, 15) and game.win_above == 0
    assert game.values(np.array([0, 15])).tolist() == [-1, 1]
    assert game.values(np.array([7.5, 10, 12])).tolist() == pytest.approx([0, 1 / 3, 0.6])
    assert game.won(np.array([0, 10, 11, 0])).tolist() == [False, True, True, False]
    whole = make((3, 4), 3, "game", "players_and_one")
    best = sum(10 + size for size in rounds_of(4, 3, "players_and_one"))
    assert whole.score_range == (0, best) == (0, 105)
    assert whole.values(np.array([0, best])).tolist() == [-1, 1]
    assert whole.won(np.array([30, 41, 0, 41])).tolist() == [False, True, False, True]


@pytest.mark.parametrize("cards", [1, 5])
def test_an_exact_bid_scores_ten_and_itself(cards):
    game, met = make(4, cards), set()
    for seed in range(100):
        *_, (state, table) = walk(game, seed, bold=(seed % 3) / 2)
        for seat, score in enumerate(game.scores(state).tolist()):
            assert score == (10 + table.bids[seat] if table.bids[seat] == table.won[seat] else 0)
            met.add(score)
    assert {0, 10, 11} <= met


def test_empty_seats_score_nothing():
    game = make((3, 8), 2)
    for seed in range(20):
        *_, (state, table) = walk(game, seed)
        assert not game.scores(state)[table.players :].any() and game.players(state) == table.players


# The rule-based player.


def unbeatable(table, card, unseen):
    """Whether a card takes the trick for certain: it wins so far, and nothing unseen beats it."""
    trick = [*table.trick(), (table.turn, card)]
    return winner_of(trick, table.trump) == table.turn and not any(beats(each, card, table.trump) for each in unseen)


@pytest.mark.parametrize(("players", "cards"), [(3, 5), (4, 8), (6, 4), ((3, 5), 6)], ids=label)
def test_the_heuristic_takes_and_ducks(players, cards):
    """Legal always; a sure trick is taken where one is needed; the last to play takes none that it does not need."""
    game = make(players, cards)
    sure = taken = ducked = 0
    for seed in range(150):
        for state, table in walk(game, seed, bold=(seed % 3) / 2):
            if table.turn is None:
                continue
            before, stream = state.copy(), rng.stream(seed)
            action = slow(int(game.rules.heuristic(state, stream)))
            assert action in table.legal()
            assert (state == before).all() and (stream == rng.stream(seed)).all()
            if table.bidding():
                continue
            unseen = view(table, table.turn)[0]
            needs = table.bids[table.turn] > table.won[table.turn]
            last = len(table.trick()) == table.players - 1
            choice = [card for _, card in table.legal()]
            if needs and not last and any(unbeatable(table, card, unseen) for card in choice):
                assert unbeatable(table, action[1], unseen)
                sure += 1
            if last:
                wins = {card: unbeatable(table, card, ()) for card in choice}
                if len(set(wins.values())) == 2:
                    assert wins[action[1]] == needs
                    taken, ducked = taken + needs, ducked + (not needs)
    assert sure > 20 and taken > 20 and ducked > 20


@pytest.mark.parametrize(
    ("hands", "trump", "bids", "cards", "wanted"),
    [
        (["SA S2", "S5 C2", "S9 H3"], None, [1, 0, 0], "", "SA"),  # sure of it
        (["SA S2", "S5 C2", "S9 H3"], None, [0, 0, 0], "", "S2"),
        (["SK S2", "S5 C2", "S9 H3"], None, [1, 0, 1], "S5 S9", "SK"),  # last to play
        (["SK S2", "S5 C2", "S9 H3"], None, [0, 0, 1], "S5 S9", "S2"),
        (["SK SJ", "S5 C2", "S9 H3"], None, [1, 0, 1], "S5 S9", "SJ"),  # the cheapest will do
        (["SK SJ", "S5 C2", "S9 H3"], None, [0, 0, 1], "S5 S9", "SK"),  # taken anyway: with the more dangerous
        (["H2 D9", "SK C2", "SA H3"], "H", [1, 0, 1], "SK SA", "H2"),
        (["H2 D9", "SK C2", "SA H3"], "H", [0, 0, 1], "SK SA", "D9"),
        (["DA D9", "SK C2", "SA H3"], "H", [0, 0, 1], "SK SA", "DA"),  # the best loser goes
    ],
)  # fmt: skip
def test_the_heuristic_in_plain_cases(hands, trump, bids, cards, wanted):
    """Seat 0 plays after seats 1 and 2, or leads."""
    game = make(3, 2)
    state = position(game, hands, trump, 2 if not cards else 0)
    dealer = int(state[s.DEALER])
    for k in range(3):
        seat = (dealer + 1 + k) % 3
        legal = game.legal(state).tolist()
        bid = bids[seat]
        state = game.step(state, s.BID + bid if s.BID + bid in legal else s.BID + bid + 1)
    state[s.BIDS : s.BIDS + 3] = bids
    for card in cards.split():
        state = game.step(state, number(card))
    assert game.seat(state) == 0
    assert CARDS[game.rules.heuristic(state, rng.stream(0))] == wanted


def played_out(game, state, generator, bold):
    """Scores of a round; the seats of `bold` follow the heuristic, the others play at random."""
    while (seat := game.seat(state)) != OVER:
        if seat in bold:
            action = int(game.rules.heuristic(state, rng.stream(0)))
        else:
            action = int(generator.choice(game.legal(state)))
        state = game.step(state, action)
    return game.scores(state)[: game.players(state)]


@pytest.mark.parametrize(("players", "cards"), [(3, 5), (4, 5), (6, 3), (4, 1)], ids=label)
def test_the_heuristic_beats_chance(players, cards):
    game, generator = make(players, cards), np.random.default_rng(12)
    means = []
    for bold in (range(players), [0], []):
        scores = [played_out(game, game.deal(rng.stream(seed)), generator, bold) for seed in range(300)]
        means.append(np.mean(scores, axis=0))
    ruled, alone, chance = means
    assert ruled.mean() > 1.3 * chance.mean()
    assert alone[0] > 1.3 * chance[0] and alone[0] > 1.3 * alone[1:].mean()


# Options and texts.


@pytest.mark.parametrize(
    ("options", "key", "got"),
    [
        ({"players": 2}, "players", "2"),
        ({"players": 9}, "players", "9"),
        ({"players": [3, 3]}, "players", "[3, 3]"),
        ({"players": [3, 9]}, "players", "[3, 9]"),
        ({"players": []}, "players", "[]"),
        ({"players": "four"}, "players", "'four'"),
        ({"players": "345"}, "players", "'345'"),
        ({"players": True}, "players", "True"),
        ({"players": 4.0}, "players", "4.0"),
        ({"players": None}, "players", "None"),
        ({"cards": 0}, "cards", "0"),
        ({"cards": "5"}, "cards", "'5'"),
        ({"cards": 2.5}, "cards", "2.5"),
        ({"cards": 14}, "cards", "14"),
        ({"players": [3, 8], "cards": 7}, "cards", "7"),
        ({"mode": "match"}, "mode", "'match'"),
        ({"one_card_rounds": "x"}, "one_card_rounds", "'x'"),
    ],
)
def test_wrong_options_are_named(options, key, got):
    with pytest.raises(InvalidConfig) as error:
        blob.make(**options)
    assert str(error.value).startswith(f"{key}: got {got}") and "\n" not in str(error.value)
    assert "wanted" in str(error.value)


def test_the_deck_is_the_limit():
    with pytest.raises(InvalidConfig, match=r"^cards: got 14 for 4 players.* at most 52.* 13 each"):
        blob.make(players=4, cards=14)
    with pytest.raises(InvalidConfig, match=r"^cards: got 7 for 8 players.* at most 52.* 6 each"):
        blob.make(players=[3, 8], cards=7)
    for mode in ("round", "game"):
        game = blob.make(players=4, cards=13, mode=mode)
        assert sorted(itertools.chain(*hands_of(game.deal(rng.stream(1)), 4))) == sorted(CARDS)


def test_the_order_of_players_is_no_option():
    assert blob.make(players=[5, 3]).spec.as_dict() == blob.make(players=[3, 5]).spec.as_dict()
    assert blob.make(players=[4]).spec.as_dict() == blob.make(players=4).spec.as_dict()


def words(text):
    return text.replace("(", " ").replace(")", " ").replace(",", " ").split()


def name_of(card):
    return card[1].replace("T", "10") + dict(zip(SUITS, "♠♥♣♦", strict=True))[card[0]]


@pytest.mark.parametrize(("players", "cards", "mode"), [(4, 5, "round"), ((3, 5), 3, "game")], ids=label)
def test_text_shows_a_seat_its_own_hand_alone(players, cards, mode):
    game = make(players, cards, mode)
    assert [game.action_names[number(card)] for card in CARDS] == [name_of(card) for card in CARDS]
    assert game.action_names[s.BID :] == tuple(f"bid {bid}" for bid in range(cards + 1))
    for seed in range(15):
        for state, table in walk(game, seed):
            on_table = {name_of(card) for _, card in table.trick()}
            everything = words(game.text(state, None))
            held = {name_of(card) for hand in table.hands for card in hand}
            assert {word for word in everything if word[-1] in "♠♥♣♦"} == held | on_table
            for seat in range(table.players):
                shown = {word for word in words(game.text(state, seat)) if word[-1] in "♠♥♣♦"}
                assert shown == {name_of(card) for card in table.hands[seat]} | on_table
