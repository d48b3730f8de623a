"""Tag beside a slow transcription of its rules, by hand in small situations, and by its odds."""

import numpy as np
import pytest

from scoundrel_ray import rng
from scoundrel_ray.conformance.of_worlds import check_world
from scoundrel_ray.copies import Copies
from scoundrel_ray.settings.checks import InvalidSetting
from scoundrel_ray.world import HERE, ILLEGAL, LEFT, OK, TERMINATED, TRUNCATED
from scoundrel_ray.worlds.tag import make
from scoundrel_ray.worlds.tag_shown import kinds, place
from scoundrel_ray.worlds.tag_state import (
    EMPTY,
    PLACES,
    REACH,
    RUNNER,
    TAGGER,
    UNSEEN,
    WALL,
    gone_entry,
    ground_of,
    whole_of,
)
from tests.worlds.slow_tag import SlowTag

UP, DOWN, LEFT_, RIGHT, STAY = range(5)
CODES = {"unseen": UNSEEN, "empty": EMPTY, "wall": WALL, "tagger": TAGGER, "runner": RUNNER}
OPTIONS = [
    {"taggers": 2, "runners": 3, "size": 7, "reach": 2, "turns": 20, "caught": "leave"},
    {"taggers": 3, "runners": 2, "size": 8, "reach": 1, "frames": 3, "turns": 15, "masked": False},
    {
        "taggers": 1,
        "runners": 4,
        "size": 9,
        "reach": 4,
        "turns": 25,
        "pillars": 1.0,
        "caught": "leave",
        "masked": False,
    },
    {"taggers": 4, "runners": 4, "size": 8, "reach": 6, "frames": 2, "turns": 15, "pillars": 0.0},
    {"taggers": 1, "runners": 1, "size": 5, "reach": 3, "turns": 6, "caught": "leave"},
]  # fmt: skip


def copies_of(world, count, seed=0):
    return Copies(world, np.stack([rng.stream(seed, number) for number in range(count)]))


def draw(world, state, drawing):
    """Make a state what is drawn: taggers A, B, ... and runners a, b, ..."""
    taggers, cells, reach, whole = (
        world.options["taggers"],
        state.view(np.int8),
        int(state[REACH]),
        int(whole_of(state)),
    )
    rows = drawing.split()
    assert len(rows) == world.options["size"] == len(rows[0])
    for y, row in enumerate(rows):
        for x, character in enumerate(row):
            at = (reach - 1 + y) * whole + reach - 1 + x
            agent = ord(character) - ord("A") if character.isupper() else taggers + ord(character) - ord("a")
            cells[ground_of(state) + at] = {"#": WALL, ".": EMPTY}.get(character, TAGGER if agent < taggers else RUNNER)
            if character.isalpha():
                state[PLACES + agent] = at


def drawn(world, drawing):
    state = copies_of(world, 1).states[0].copy()
    draw(world, state, drawing)
    return state


def played(world, state, *actions, seed=0):
    """The status, the state after a step, and what each agent got."""
    after, got = state.copy(), np.zeros(len(actions), np.float32)
    status = world.rules.step(after, np.array(actions, np.int16), rng.stream(seed, 7), got)
    return status, after, got.tolist()


def field(world, state):
    return world.text(state).splitlines()[1:]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_contract_is_kept(options):
    check_world(make(**options), episodes=10, twins=1)


def slow_of(state, world):
    """The transcription's field, in the state that a copy is in."""
    free = {tuple(map(int, cell)) for cell in np.argwhere(kinds(state) != WALL)}
    there = [agent for agent in range(len(world.agents)) if not state[gone_entry(state, agent)]]
    return SlowTag(free, {world.agents[agent]: place(state, agent) for agent in there})


class Followed:
    """An episode of a copy, followed by the transcription: who is there, what each sees, and from where."""

    def __init__(self, copies, world):
        self.copies, self.world, self.turn = copies, world, 0
        self.slow = slow_of(copies.states[0], world)
        assert len(set(self.slow.at.values())) == len(world.agents)
        self.last, self.ended = dict(self.slow.at), dict.fromkeys(world.agents, HERE)
        unseen = ["unseen"] * (2 * world.options["reach"] + 1) ** 2
        self.views = {name: [unseen] * world.options["frames"] for name in world.agents}
        self.look(world.agents)

    def look(self, names):
        for name in names:
            self.views[name] = [*self.views[name][1:], self.slow.view(self.last[name], self.world.options["reach"])]

    def compare(self):
        copies = self.copies
        for number, (name, known) in enumerate(self.ended.items()):
            codes = [CODES[seen] for view in self.views[name] for seen in view]
            assert copies.observations[number, 0].tolist() == [*codes, int(name.startswith("runner"))]
            assert copies.ended[number, 0] == known and copies.acting[number, 0] == (known == HERE)
            if known == HERE and self.world.masked:
                allowed = [self.slow.what(self.slow.beside(name, move)) != "wall" for move in self.world.action_names]
                assert copies.masks[number, 0].tolist() == allowed

    def step(self, chosen):
        """Play a turn; returns how many were caught."""
        world, slow, copies = self.world, self.slow, self.copies
        there = [name for name, known in self.ended.items() if known == HERE]
        given = [action if name in there else 99 for name, action in zip(world.agents, chosen, strict=True)]
        copies.step(np.array(given, np.int16)[:, None])
        self.turn += 1
        agents = len(world.agents)
        order = copies.states[0, PLACES + 2 * agents : PLACES + 3 * agents].tolist()
        assert sorted(order) == list(range(agents))
        moves = dict(zip(world.agents, (world.action_names[action] for action in chosen), strict=True))
        got, caught = slow.turn(moves, [world.agents[number] for number in order])
        assert {name: copies.rewards[world.agents.index(name), 0] for name in got} == got
        after = slow_of(copies.states[0], world)
        for name in caught:
            if world.options["caught"] == "respawn":
                assert slow.what(after.at[name]) == "empty"
                slow.at[name] = after.at[name]
            else:
                self.ended[name] = TERMINATED
        assert after.at == slow.at and after.free == slow.free
        self.last |= caught | slow.at
        if not slow.runners() or self.turn == world.options["turns"]:
            how = TRUNCATED if slow.runners() else TERMINATED
            self.ended = {name: known or how for name, known in self.ended.items()}
        self.look(there)
        return len(caught)


@pytest.mark.parametrize("options", OPTIONS)
def test_episodes_are_those_of_a_slow_transcription(options):
    """With who acts, who has left and how, what each sees, gets and may do, in every turn."""
    world = make(**options)
    copies, dice, catches = copies_of(world, 1, seed=5), np.random.default_rng(1), 0
    for _ in range(20):
        episode = Followed(copies, world)
        episode.compare()
        while HERE in episode.ended.values():
            masks = copies.masks[:, 0] if world.masked else np.ones((len(world.agents), 5))
            catches += episode.step([int(dice.choice(np.flatnonzero(mask))) for mask in masks])
            episode.compare()
        assert copies.over[0] and copies.renew() == 1
    assert catches > 10


def test_a_caught_runner_leaves_with_its_last_row_and_the_rest_goes_on():
    world = make(taggers=2, runners=2, size=7, reach=2, caught="leave", turns=4)
    copies = copies_of(world, 2)
    draw(world, copies.states[1], "####### #A....# #.....# #.a...# #....B# #b....# #######")
    actions = np.full((4, 2), STAY, np.int16)

    def step(*by_agent):
        actions[:, 1] = by_agent
        copies.step(actions)
        return copies.rewards[:, 1].tolist(), copies.ended[:, 1].tolist()

    assert step(DOWN, STAY, UP, STAY) == ([1, 0, -1, 0], [HERE, HERE, TERMINATED, HERE])  # A and a stand side by side
    drawing = "####### #.....# #A....# #.....# #....B# #b....# #######"
    assert field(world, copies.states[1]) == drawing.split()
    assert copies.acting[:, 1].tolist() == [True, True, False, True]
    seen = copies.observations[2, 1].copy()
    e, w = EMPTY, WALL
    rows = [[w, w, w, w, w], [w, e, e, e, e], [w, TAGGER, e, e, e], [w, e, e, e, e], [w, e, e, e, e]]
    assert seen.tolist() == [*np.ravel(rows), 1]
    leave = [HERE, HERE, TERMINATED, HERE]
    assert step(DOWN, LEFT_, 77, STAY) == ([0, 0, -1, 0], leave)  # nobody reads the action of who has left
    assert step(RIGHT, STAY, 77, STAY) == ([0, 0, -1, 0], leave)  # nor changes its last reward
    assert (copies.observations[2, 1] == seen).all() and not copies.over[1]
    assert step(DOWN, STAY, 77, RIGHT) == ([1, 0, -1, -1], [TERMINATED] * 4)  # also those whose last turn it was
    assert copies.over[1]


def test_every_tagger_beside_a_runner_gets_one_and_none_that_stands_diagonally():
    world = make(taggers=3, runners=2, size=7, pillars=0.0)
    state = drawn(world, "####### #.....# #.A...# #.aB..# #..C..# #....b# #######")
    status, after, got = played(world, state, *[STAY] * 5)
    assert (status, got) == (OK, [1, 1, 0, -1, 0])
    assert kinds(after)[3, 2] in (EMPTY, RUNNER) and (kinds(after) == RUNNER).sum() == 2
    state = drawn(world, "####### #A....# #.a...# #..B..# #C..b.# #.....# #######")
    assert played(world, state, *[STAY] * 5)[2] == [0] * 5
    state = drawn(world, "####### #aAb..# #.....# #..B..# #C....# #.....# #######")
    assert played(world, state, *[STAY] * 5)[2] == [2, 0, 0, -1, -1]


def test_of_those_who_want_one_cell_each_has_it_as_often_and_nobody_enters_a_taken_one():
    world = make(taggers=2, runners=1, size=7, pillars=0.0)
    state = drawn(world, "####### #..A..# #.....# #..B..# #.....# #....a# #######")
    wins = 0
    for seed in range(1000):
        _, after, got = played(world, state, DOWN, UP, STAY, seed=seed)
        assert got == [0, 0, 0] and kinds(after)[2, 3] == TAGGER
        wins += place(after, 0) == (2, 3)
        assert (place(after, 0) == (1, 3)) == (place(after, 1) == (2, 3))
    assert abs(wins / 1000 - 1 / 2) < 4 * 0.5 / np.sqrt(1000)


def test_a_caught_runner_comes_back_on_any_empty_cell():
    world = make(taggers=1, runners=1, size=5, pillars=0.0, reach=1)
    state = drawn(world, "##### #Aa.# #...# #...# #####")
    counts = np.zeros((5, 5))
    for seed in range(4000):
        status, after, got = played(world, state, STAY, STAY, seed=seed)
        assert (status, got) == (OK, [1, -1])
        counts[place(after, 1)] += 1
    free = counts[1:4, 1:4].ravel()
    assert counts.sum() == free.sum() == 4000 and free[0] == 0
    assert abs(free[1:] / 4000 - 1 / 8).max() < 4.5 * np.sqrt(7 / 64 / 4000)


@pytest.mark.parametrize("masked", [True, False])
def test_moves_into_walls_are_masked_or_do_nothing(masked):
    world = make(taggers=1, runners=1, size=7, masked=masked)
    state = drawn(world, "####### #A....# #.#...# #..a..# #.....# #.....# #######")
    out = np.zeros(5, np.int8)
    assert world.rules.mask(state, 0, out) == OK
    assert out.tolist() == ([0, 1, 0, 1, 1] if masked else [1] * 5)
    status, after, _ = played(world, state, UP, STAY)
    assert status == (ILLEGAL if masked else OK) and place(after, 0) == (1, 1)
    status, after, _ = played(world, state, STAY, 5)
    assert status == ILLEGAL and (after == state).all()
    state = drawn(world, "####### #.A...# #.#...# #..a..# #.....# #.....# #######")
    assert played(world, state, DOWN, STAY)[0] == (ILLEGAL if masked else OK)  # a pillar
    assert played(world, state, STAY, UP)[0] == OK


@pytest.mark.parametrize("size", [9, 10])
def test_pillars_stand_by_their_chance_and_cut_nothing_off(size):
    world = make(size=size, taggers=1, runners=1, pillars=0.7)
    there = np.zeros((size, size))
    for state in copies_of(world, 500).states:
        free = {tuple(cell) for cell in np.argwhere(kinds(state) != WALL)}
        reached, todo = set(), [(1, 1)]
        while todo:
            y, x = todo.pop()
            if (y, x) in free - reached:
                reached.add((y, x))
                todo += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        assert reached == free
        there += kinds(state) == WALL
    inner = there[1:-1, 1:-1] / 500
    places = inner[1::2, 1::2]
    assert abs(places - 0.7).max() < 4.5 * np.sqrt(0.21 / 500)
    assert inner.sum() == pytest.approx(places.sum())


def test_an_episode_is_cut_off_after_its_last_turn():
    world = make(taggers=1, runners=2, size=7, turns=1, caught="leave")
    state = drawn(world, "####### #A....# #a....# #.....# #.....# #....b# #######")
    status, after, got = played(world, state, STAY, STAY, STAY)
    assert (status, got) == (LEFT, [1, -1, 0])
    assert [world.rules.ended(after, agent) for agent in range(3)] == [TRUNCATED, TERMINATED, TRUNCATED]
    assert played(world, after, STAY, STAY, STAY)[0] == ILLEGAL


def returns_of(world, count, guided):
    """Each agent's mean over episodes, of players by the guide where `guided`, else random."""
    copies, dice = copies_of(world, count, seed=2), np.random.default_rng(0)
    streams = np.stack([rng.stream(3, number) for number in range(count)])
    totals = np.zeros(copies.rewards.shape)
    while not copies.over.all():
        actions = (dice.random(copies.masks.shape) * copies.masks).argmax(axis=2).astype(np.int16)
        was = copies.acting.copy()
        for agent, copy in np.argwhere(was):
            if guided(world.agents[agent]):
                actions[agent, copy] = world.rules.guide(copies.states[copy], agent, streams[copy])
        copies.step(actions)
        totals += copies.rewards * was
    return totals.mean(axis=1)


def test_guided_taggers_catch_more_and_guided_runners_are_caught_less():
    world = make()
    random = returns_of(world, 64, lambda name: False)
    chasing = returns_of(world, 32, lambda name: name.startswith("tagger"))
    fleeing = returns_of(world, 32, lambda name: name.startswith("runner"))
    assert chasing[:3].min() > 3 * random[:3].max() > 0
    assert random[3:].max() < 4 * fleeing[3:].min() < 0


@pytest.mark.parametrize(
    ("agent", "drawing", "wanted"),
    [
        (0, "####### #A....# #.....# #..a..# #.....# #b....# #######", {RIGHT, DOWN}),
        (0, "####### #A.a..# #.#...# #.....# #.....# #b....# #######", {RIGHT}),
        (0, "####### #A....# #.....# #...a.# #.....# #b....# #######", {RIGHT, DOWN, STAY}),  # sees no runner
        (1, "####### #..A..# #.....# #..a..# #.....# #b....# #######", {DOWN, LEFT_, RIGHT}),
        (1, "####### #.....# #..#..# #b.a.A# #..#..# #.....# #######", {LEFT_}),
        (1, "####### #.....# #.A...# #.....# #....a# #....b# #######", {UP, LEFT_, STAY}),  # sees no tagger
    ],
)
def test_the_guide_does_what_it_says(agent, drawing, wanted):
    """By what is two cells far at most, and never onto a cell that is taken."""
    world = make(taggers=1, runners=2, size=7, reach=2)
    state = drawn(world, drawing)
    assert {int(world.rules.guide(state, agent, rng.stream(seed))) for seed in range(60)} == wanted


def test_the_field_is_shown():
    world = make(taggers=1, runners=2, size=7, caught="leave")
    drawing = "####### #A....# #.#...# #..a..# #.....# #..b..# #######"
    state = drawn(world, drawing)
    assert world.text(state).splitlines() == ["turn 0 of 100, runners that left: 0", *drawing.split()]
    seen = world.picture(state)
    assert seen.shape == (56, 56, 3)
    colours = [tuple(seen[8 * y + 4, 8 * x + 4]) for y, x in ((0, 0), (1, 1), (3, 3), (5, 3), (1, 2), (2, 2))]
    assert colours[2] == colours[3] and colours[0] == colours[5] and len(set(colours)) == 4
    assert world.agents == ("tagger_0", "runner_0", "runner_1")


@pytest.mark.parametrize(
    ("options", "named"),
    [({"taggers": 0}, "taggers"), ({"runners": 0}, "runners"), ({"size": 3}, "size"), ({"size": 4}, "size"),
     ({"reach": 11}, "reach"), ({"frames": 0}, "frames"), ({"turns": 1.5}, "turns"), ({"pillars": 1.1}, "pillars"),
     ({"caught": "die"}, "caught"), ({"masked": 1}, "masked")],
)  # fmt: skip
def test_options_that_make_no_world_are_named(options, named):
    with pytest.raises(InvalidSetting, match=f"^{named}: "):
        make(**options)
