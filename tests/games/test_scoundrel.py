"""Scoundrel's rules against a slow second implementation, positions worked out by hand, and what a player may know."""

import itertools

import numpy as np
import pytest

from scoundrel_ray import rng
from scoundrel_ray.evaluation.match import play_match
from scoundrel_ray.games import scoundrel
from scoundrel_ray.games import scoundrel_state as s
from scoundrel_ray.games.scoundrel_text import name_of
from scoundrel_ray.players import heuristic, uniform
from scoundrel_ray.settings.checks import InvalidConfig
from tests.games.slow_scoundrel import AVOID, BY_NUMBER, CARDS, Dungeon, number

OFFICIAL = {name: readings[0] for name, readings in s.OPTIONS.items()}
VARIANTS = [
    {},
    {"weapon_limit": "below", "losing_score": "clamped"},
    {"last_room": "all_but_one", "bonus": "last_drunk"},
    {"avoided": "shuffled", "bonus": "none"},
    {"avoided": "shuffled", "last_room": "all_but_one", "weapon_limit": "below"},
]
GAME = scoundrel.make()
SHUFFLED = scoundrel.make(avoided="shuffled")


def fast_action(action):
    verb, card = action
    if verb == AVOID:
        return s.AVOID
    return number(card) + (s.BAREHANDED if verb == "barehanded" else 0)


def room_of(state):
    return [BY_NUMBER[int(c)] for c in state[s.ROOM : s.ROOM + state[s.IN_ROOM]]]


def ring(state, start, stop):
    return [BY_NUMBER[int(state[s.place(position)])] for position in range(start, stop)]


def dealt(game, seed):
    """A fresh game both ways, the same cards in the same order."""
    state = game.deal(rng.stream(seed))
    return state, Dungeon(dict(game.options), ring(state, 0, len(CARDS)))


def walk(game, seed, bold=0.0):
    """(state, slow) pairs along a random game; `bold` is how often the heuristic chooses, to live longer."""
    generator = np.random.default_rng(seed)
    state, slow = dealt(game, seed)
    while True:
        yield state, slow
        if game.seat(state) < 0:
            return
        actions = sorted(slow.legal(), key=fast_action)
        if generator.random() < bold:
            chosen = int(game.rules.heuristic(state, rng.stream(seed)))
        else:
            chosen = int(generator.choice(game.legal(state)))
        action = next(a for a in actions if fast_action(a) == chosen)
        state = game.step(state, chosen)
        slow.play(action, ring(state, state[s.TAIL] - 4, state[s.TAIL]) if action[0] == AVOID else None)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_fast_and_slow_rules_agree(options):
    game = scoundrel.make(**options)
    wins = avoids = 0
    for seed in range(150):
        state, slow = dealt(game, seed)
        for state, slow in walk(game, seed, bold=(seed % 3) / 2):
            assert (game.seat(state) < 0) == slow.over()
            assert sorted(map(fast_action, slow.legal())) == list(game.legal(state))
            assert sorted(room_of(state)) == sorted(slow.room)
            assert ring(state, state[s.HEAD], state[s.TAIL]) == slow.dungeon
            assert state[s.LIFE] == slow.life and state[s.WEAPON] == (slow.weapon or 0)
            known = ring(state, max(len(CARDS), state[s.HEAD]), state[s.TAIL])
            assert known == [card for group in slow.known_bottom for card in group]
            avoids += slow.avoided_last
        score = float(game.scores(state)[0])
        assert score == slow.score()
        assert game.score_range[0] <= score <= game.score_range[1]
        wins += score > 0
    assert wins > 2 and avoids > 100  # the walks reached both


def position(game=GAME, room=("C2", "C3", "C4", "C5"), rest=(), **entries):
    """A state with the given room and, below it, the given unseen cards."""
    cards = [number((text[0], int(text[1:]))) for text in room]
    state = game.deal(rng.stream(0))
    below = [number((text[0], int(text[1:]))) for text in rest]
    others = [c for c in range(s.CARDS) if c not in cards and c not in below]
    state[s.DUNGEON : s.DUNGEON + s.CARDS] = [*others, *cards, *below]
    state[s.HEAD] = s.CARDS - len(below)
    state[s.ROOM : s.ROOM + 4] = -1
    state[s.ROOM : s.ROOM + len(cards)] = sorted(cards)
    state[s.IN_ROOM] = len(cards)
    state[s.LEFT] = len(cards) + len(below)
    state[s.POINTS_LEFT] = sum(s.card_value(c) for c in cards + below if c < s.MONSTERS)
    unseen = sum(1 << c for c in below)
    state[s.UNSEEN_LOW], state[s.UNSEEN_HIGH] = unseen & ((1 << s.HALF) - 1), unseen >> s.HALF
    state[s.MAY_AVOID] = len(cards) == 4
    for name, value in entries.items():
        state[getattr(s, name)] = value
    return state


def face(text):
    return number((text[0], int(text[1:])))


def bare(text):
    return face(text) + s.BAREHANDED


@pytest.mark.parametrize(("reading", "allowed"), [("at_most", [8, 9]), ("below", [8])])
def test_a_used_weapon_is_limited_by_its_last_kill(reading, allowed):
    game = scoundrel.make(weapon_limit=reading)
    state = position(game, ("C8", "C9", "C10", "S9"), WEAPON=5, LIMIT=9)
    with_weapon = sorted({s.card_value(int(a)) for a in game.legal(state) if a < s.MONSTERS})
    assert with_weapon == allowed
    assert {int(a) for a in game.legal(state)} >= {bare("C8"), bare("C9"), bare("C10"), bare("S9")}


def test_weapons_hurt_less_and_wear_and_bare_hands_do_not():
    state = position(room=("C8", "C9", "C10", "D5"), LIFE=20)
    armed = GAME.step(state, face("D5"))
    assert armed[s.WEAPON] == 5 and armed[s.LIMIT] == s.FRESH
    hit = GAME.step(armed, face("C9"))
    assert hit[s.LIFE] == 16 and hit[s.LIMIT] == 9
    assert face("C10") not in GAME.legal(hit)
    bitten = GAME.step(hit, bare("C8"))
    assert bitten[s.LIFE] == 8 and bitten[s.LIMIT] == 9  # bare hands leave the limit alone
    assert GAME.step(position(room=("C3", "D9"), WEAPON=7, LIMIT=15), face("C3"))[s.LIFE] == 20  # never below no harm


def test_one_potion_a_room_and_never_above_full_life():
    state = position(room=("H9", "H5", "H2", "C4"), rest=("C5", "C6", "C7"), LIFE=15)
    first = GAME.step(state, face("H9"))
    assert first[s.LIFE] == 20
    hurt = first.copy()
    hurt[s.LIFE] = 10
    second = GAME.step(hurt, face("H5"))
    assert second[s.LIFE] == 10  # discarded
    third = GAME.step(second, bare("C4"))  # opens the next room, with the potion carried over
    assert sorted(room_of(third)) == sorted([("H", 2), ("C", 5), ("C", 6), ("C", 7)])
    assert GAME.step(third, face("H2"))[s.LIFE] == third[s.LIFE] + 2


def test_avoiding():
    state, _ = dealt(GAME, 3)
    assert s.AVOID in GAME.legal(state)
    assert s.AVOID not in GAME.legal(GAME.step(state, int(GAME.legal(state)[0])))  # a card has been faced
    after = GAME.step(state, s.AVOID)
    assert s.AVOID not in GAME.legal(after)  # never two running
    assert ring(after, s.CARDS, after[s.TAIL]) == ring(state, 0, 4)  # in the order in which they came
    moves = [int(a) for a in GAME.legal(after) if a < s.BAREHANDED + s.MONSTERS]
    for _ in range(3):
        after[s.LIFE] = 20
        after = GAME.step(after, moves[0])
        moves = [int(a) for a in GAME.legal(after) if a != s.AVOID]
    assert s.AVOID in GAME.legal(after)  # the room after one that was faced


def test_fewer_than_four_cards_cannot_be_avoided():
    state = position(room=("C2", "C3", "C4", "D5"), rest=("H2",))
    for card in ("C2", "C3", "C4"):
        state = GAME.step(state, bare(card))
    assert sorted(room_of(state)) == [("D", 5), ("H", 2)]
    assert list(GAME.legal(state)) == [face("D5"), face("H2")]


@pytest.mark.parametrize(("reading", "over_with"), [("whole", 0), ("all_but_one", 1)])
def test_the_last_room(reading, over_with):
    game = scoundrel.make(last_room=reading)
    state = position(game, ("C2", "C3"), LIFE=20, MAY_AVOID=0)
    after = game.step(state, bare("C2"))
    assert (game.seat(after) < 0) == (over_with == 1)
    if over_with:
        assert game.scores(after)[0] == 18
    else:
        assert game.scores(game.step(after, bare("C3")))[0] == 15


@pytest.mark.parametrize(("reading", "score"), [("unclamped", -4 - 10 - 3), ("clamped", 0 - 10 - 3)])
def test_a_loss_counts_life_and_all_monsters_left(reading, score):
    game = scoundrel.make(losing_score=reading)
    state = position(game, ("C10", "S14", "D3", "H2"), rest=("C3",), LIFE=10)
    after = game.step(state, bare("S14"))
    assert game.seat(after) < 0 and len(game.legal(after)) == 0
    assert game.scores(after)[0] == score


@pytest.mark.parametrize(
    ("reading", "drunk", "life", "score"),
    [
        ("last_faced", 0, 20, 27), ("last_drunk", 0, 20, 27), ("none", 0, 20, 20),
        ("last_faced", 1, 20, 27), ("last_drunk", 1, 20, 20), ("none", 1, 20, 20),
        ("last_faced", 1, 19, 19), ("last_faced", 0, 13, 27), ("last_faced", 0, 12, 19),
    ],
)  # fmt: skip
def test_the_bonus_of_a_win_at_full_life(reading, drunk, life, score):
    game = scoundrel.make(bonus=reading)
    state = position(game, ("H7",), LIFE=life, DRUNK=drunk, MAY_AVOID=0)
    assert game.scores(game.step(state, face("H7")))[0] == score


def test_scores_reach_both_ends_of_their_range():
    """Nobody can do worse than fight all monsters barehanded, nor better than drink the 10 last, unhurt."""
    rest = [f"{suit}{value}" for suit in "CS" for value in range(2, 15)][4:]
    worst = position(room=("C2", "C3", "C4", "C5"), rest=rest)
    while GAME.seat(worst) == 0:
        worst = GAME.step(worst, next(int(a) for a in GAME.legal(worst) if a >= s.BAREHANDED))
    best = GAME.step(position(room=("H10",), LIFE=20, MAY_AVOID=0), face("H10"))
    assert (GAME.scores(worst)[0], GAME.scores(best)[0]) == GAME.score_range == (-188, 30)
    assert scoundrel.make(bonus="none").score_range == (-188, 20)


def midgame(game, count, seed=0, avoided=True):
    """States of random games, most of them late, with something known at the bottom if `avoided`."""
    found: list[np.ndarray] = []
    for number_ in itertools.count(seed):
        for state, _ in walk(game, number_, bold=0.7):
            fits = not avoided or state[s.TAIL] > max(s.CARDS, state[s.HEAD])
            if game.seat(state) == 0 and fits and state[s.HEAD] > 8 and number_ % 7 == len(found) % 7:
                found.append(state)
                break
        if len(found) == count:
            break
    return found


@pytest.mark.parametrize("game", [GAME, SHUFFLED], ids=["ordered", "shuffled"])
def test_what_the_player_cannot_know_shows_nowhere(game):
    for at, state in enumerate(midgame(game, 40)):
        other = game.redeal(state, 0, rng.stream(1, at))
        np.testing.assert_array_equal(game.observe(state, 0), game.observe(other, 0))
        assert game.information_key(state, 0) == game.information_key(other, 0)
        assert game.text(state, 0) == game.text(other, 0)
        np.testing.assert_array_equal(game.legal(state), game.legal(other))
        assert game.rules.heuristic(state, rng.stream(2)) == game.rules.heuristic(other, rng.stream(2))


@pytest.mark.parametrize("entry", ["LIFE", "WEAPON", "LIMIT", "MAY_AVOID", "DRUNK"])
def test_what_the_player_knows_is_told(entry):
    state = position(rest=("C6", "C7", "C8", "C9"), LIFE=12, WEAPON=5, LIMIT=9, MAY_AVOID=1, DRUNK=0)
    other = state.copy()
    other[getattr(s, entry)] = 1 - state[getattr(s, entry)] if state[getattr(s, entry)] < 2 else 3
    assert GAME.information_key(state, 0) != GAME.information_key(other, 0)
    assert not np.array_equal(GAME.observe(state, 0), GAME.observe(other, 0))


def test_the_order_at_the_bottom_is_known_only_where_it_stays():
    for game, known in ((GAME, True), (SHUFFLED, False)):
        state = game.step(game.deal(rng.stream(5)), s.AVOID)
        other = state.copy()
        first = s.place(s.CARDS)
        other[[first, first + 1]] = state[[first + 1, first]]
        assert (game.information_key(state, 0) != game.information_key(other, 0)) == known
        assert (not np.array_equal(game.observe(state, 0), game.observe(other, 0))) == known


def test_redealt_cards_are_those_unseen_and_nothing_else_moves():
    for at, state in enumerate(midgame(GAME, 20)):
        other = GAME.redeal(state, 0, rng.stream(3, at))
        head = int(state[s.HEAD])
        unseen = slice(s.DUNGEON + head, s.DUNGEON + s.CARDS)
        assert sorted(state[unseen]) == sorted(other[unseen])
        same = np.ones(len(state), bool)
        same[unseen] = False
        if state[s.MAY_AVOID]:  # the order in which the room came is hidden
            places = [s.place(position) for position in range(head - s.ROOM_SIZE, head)]
            assert sorted(other[places]) == list(other[s.ROOM : s.ROOM + s.ROOM_SIZE])
            same[places] = False
        np.testing.assert_array_equal(state[same], other[same])  # the room, the bottom's order and all else


@pytest.mark.parametrize("game", [GAME, SHUFFLED], ids=["ordered", "shuffled"])
def test_one_stream_draws_one_world_for_all_that_look_alike(game):
    """What is hidden has no say in what is drawn: the unseen cards' order, the room's, and that of shuffled groups."""
    for at, state in enumerate(midgame(game, 20)):
        wanted = game.redeal(state, 0, rng.stream(4, at))
        for other in range(3):
            twin = game.redeal(state, 0, rng.stream(5, at, other))
            np.testing.assert_array_equal(game.redeal(twin, 0, rng.stream(4, at)), wanted)


def test_a_room_is_put_back_in_an_order_that_is_drawn_also_across_the_rings_end():
    state = GAME.deal(rng.stream(12))
    for wraps in (False, True):
        if wraps:  # the room's four lie at 62..65 of a ring of 64
            state[s.HEAD], state[s.TAIL], state[s.UNSEEN_LOW], state[s.UNSEEN_HIGH] = 66, 72, 0, 0
            state[[s.place(p) for p in range(62, 66)]] = state[s.ROOM : s.ROOM + 4]
        room, stream = state[s.ROOM : s.ROOM + 4].tolist(), rng.stream(13)
        counts = dict.fromkeys(itertools.permutations(room), 0)
        for _ in range(24_000):
            tail = int(state[s.TAIL])
            fresh = GAME.step(GAME.redeal(state, 0, stream), s.AVOID)
            counts[tuple(int(fresh[s.place(p)]) for p in range(tail, tail + 4))] += 1
        assert chi_square(list(counts.values())) < 49.7


def chi_square(counts):
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 / expected for count in counts)


@pytest.mark.parametrize(("unseen", "limit"), [(3, 20.5), (4, 49.7)])  # 0.1 % of 5 and of 23 degrees of freedom
def test_every_order_of_the_unseen_cards_is_equally_likely(unseen, limit):
    rest = ("C6", "S14", "D9", "H2")[:unseen]
    state = position(rest=rest)
    stream = rng.stream(8)
    counts = dict.fromkeys(itertools.permutations(map(face, rest)), 0)
    for _ in range(24_000):
        fresh = GAME.redeal(state, 0, stream)
        counts[tuple(int(c) for c in fresh[s.DUNGEON + s.CARDS - unseen : s.DUNGEON + s.CARDS])] += 1
    assert chi_square(list(counts.values())) < limit


def test_shuffled_groups_are_redealt_each_for_itself():
    """Of two avoided groups every order is equally likely, whatever the true one; so are the orders still to come."""
    state = SHUFFLED.deal(rng.stream(1))
    state = SHUFFLED.step(state, s.AVOID)
    for _ in range(3):
        state[s.LIFE] = 20
        state = SHUFFLED.step(state, int(next(a for a in SHUFFLED.legal(state) if a != s.AVOID)))
    state = SHUFFLED.step(state, s.AVOID)
    stream = rng.stream(9)
    groups = [list(range(s.CARDS, s.CARDS + 4)), list(range(s.CARDS + 4, s.CARDS + 8))]
    held = [sorted(int(state[s.place(p)]) for p in group) for group in groups]
    counts = [dict.fromkeys(itertools.permutations(cards), 0) for cards in held]
    orders = np.zeros((s.MOST_AVOIDS, s.GROUP_ORDERS))  # by how many rooms were avoided before
    for _ in range(24_000):
        fresh = SHUFFLED.redeal(state, 0, stream)
        for group, count in zip(groups, counts, strict=True):
            count[tuple(int(fresh[s.place(p)]) for p in group)] += 1
        for avoids in range(s.MOST_AVOIDS):
            digits = int(fresh[s.ORDERS + avoids // s.DIGITS]) // s.GROUP_ORDERS ** (avoids % s.DIGITS)
            orders[avoids, digits % s.GROUP_ORDERS] += 1
    for count in [*(list(count.values()) for count in counts), *map(list, orders)]:
        assert chi_square(count) < 56  # 0.01 % of 23 degrees of freedom, as there are 16 of them


@pytest.mark.parametrize("swapped", [False, True])
def test_a_group_half_drawn_is_redealt_among_its_rest(swapped):
    """Three cards of an avoided group are left: their six orders are equally likely, whatever the true one."""
    state = SHUFFLED.deal(rng.stream(6))
    while state[s.HEAD] <= s.CARDS:
        state[s.LIFE] = 20
        avoids = state[s.MAY_AVOID] and state[s.TAIL] < s.CARDS + 8  # the first two rooms that may be
        state = SHUFFLED.step(state, s.AVOID if avoids else int(SHUFFLED.legal(state)[0]))
    places = [s.place(p) for p in range(state[s.HEAD], s.CARDS + 4)]
    assert len(places) == 3
    if swapped:
        state[places] = state[places[::-1]]
    stream, counts = rng.stream(10), dict.fromkeys(itertools.permutations(map(int, state[places])), 0)
    for _ in range(12_000):
        counts[tuple(map(int, SHUFFLED.redeal(state, 0, stream)[places]))] += 1
    assert chi_square(list(counts.values())) < 20.5


def test_avoided_cards_come_to_lie_in_every_order_alike():
    stream = rng.stream(4)
    counts = {}
    state = SHUFFLED.deal(rng.stream(2))
    for _ in range(24_000):
        fresh = SHUFFLED.step(SHUFFLED.redeal(state, 0, stream), s.AVOID)
        order = tuple(int(fresh[s.place(p)]) for p in range(s.CARDS, s.CARDS + 4))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == s.GROUP_ORDERS and chi_square(list(counts.values())) < 49.7


@pytest.mark.parametrize("rule", ["heuristic", "playout"])
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_rules_of_thumb_are_legal_and_draw_nothing(options, rule):
    game = scoundrel.make(**options)
    for seed in range(100):
        for state, _ in walk(game, seed, bold=0.5):
            if game.seat(state) == 0:
                before, stream = state.copy(), rng.stream(seed)
                assert getattr(game.rules, rule)(state, stream) in game.legal(state)
                assert (state == before).all() and (stream == rng.stream(seed)).all()


def test_yardsticks():
    """Uniform play wins nothing and scores about -180 (reference); the rule-based player is far above it."""
    random_scores = play_match(GAME, [uniform(GAME)], 1, 0, 20_000)
    assert (random_scores <= 0).all() and -182 < random_scores.mean() < -178
    scores = play_match(GAME, [heuristic(GAME)], 1, 0, 5_000)
    assert scores.mean() > -35 and 0.15 < (scores > 0).mean() < 0.25


def test_values_rank_every_win_above_every_loss():
    for objective in s.OPTIONS["objective"]:
        game = scoundrel.make(objective=objective)
        values = game.values(np.arange(-188, 31))
        assert (np.diff(values) > 0).all() and abs(values).max() <= 1


def words(text):
    return text.replace("{", " ").replace("}", " ").replace(",", " ").split()


@pytest.mark.parametrize("game", [GAME, SHUFFLED], ids=["ordered", "shuffled"])
def test_text_names_what_is_known_and_no_more(game):
    for state in midgame(game, 20):
        shown = words(game.text(state, 0))
        head, tail = int(state[s.HEAD]), int(state[s.TAIL])
        dungeon = [name_of(int(state[s.place(p)])) for p in range(head, tail)]
        unseen, known = dungeon[: max(0, s.CARDS - head)], dungeon[max(0, s.CARDS - head) :]
        for name in unseen:
            assert name not in shown
        for name in [name_of(number(card)) for card in room_of(state)]:
            assert name in shown
        at = [shown.index(name) for name in known]
        assert at == sorted(at) or game is SHUFFLED
        assert f"{state[s.LIFE]}/20" in shown
        everything = game.text(state, None).splitlines()
        assert f"order    {' '.join(dungeon)}" in everything


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"avoided": "burnt"}, "avoided: got 'burnt', wanted one of ordered, shuffled"),
        ({"bonus": ""}, "bonus: got '', wanted one of last_faced, last_drunk, none"),
        ({"losing_score": None}, "losing_score: got None, wanted one of unclamped, clamped"),
        ({"jokers": "yes"}, "jokers: got 'yes', but scoundrel has only weapon_limit, last_room"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InvalidConfig) as error:
        scoundrel.make(**options)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
