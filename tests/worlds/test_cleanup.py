"""Cleanup beside a slow transcription of its rules, by hand in small situations, and by its odds."""

import numpy as np
import pytest

from scoundrel_ray import rng
from scoundrel_ray.conformance.of_worlds import check_world
from scoundrel_ray.copies import Copies
from scoundrel_ray.settings.checks import InvalidSetting
from scoundrel_ray.world import ILLEGAL, LEFT, OK, TRUNCATED
from scoundrel_ray.worlds.cleanup import make
from scoundrel_ray.worlds.cleanup_shown import kinds, place, text
from scoundrel_ray.worlds.cleanup_state import (
    AGENT,
    APPLE,
    GRASS,
    GROUND,
    PLACES,
    SATURATION,
    UNSEEN,
    WALL,
    WASTE,
    WASTES,
    WATER,
    apple_chance,
    cell_of,
    facing_entry,
    ground_of,
    under_entry,
)
from tests.worlds.slow_cleanup import SlowCleanup

UP, DOWN, LEFT_, RIGHT, STAY, CLEAN, FINE = range(7)
FACES = ("up", "down", "left", "right")
CODES = {"unseen": UNSEEN, "ground": GROUND, "wall": WALL, "water": WATER, "waste": WASTE, "grass": GRASS,
         "apple": APPLE, "agent": AGENT}  # fmt: skip
OPTIONS = [
    {"agents": 5, "width": 9, "height": 11, "reach": 2, "turns": 25, "apple_rate": 0.3, "beam": 3},
    {"agents": 6, "width": 6, "height": 8, "reach": 1, "frames": 3, "turns": 12, "fining": True, "reward": "shared"},
    {"agents": 3, "width": 12, "height": 9, "reach": 4, "frames": 2, "turns": 15, "waste_rate": 1.0, "depletion": 1.0,
     "restoration": 0.5, "apple_rate": 0.9},
    {"agents": 8, "width": 7, "height": 9, "reach": 7, "turns": 15, "fining": True, "fine": 3, "fine_cost": 2,
     "restoration": 0.1, "beam": 2},
    {"agents": 1, "width": 4, "height": 5, "reach": 3, "turns": 5},
]  # fmt: skip


def copies_of(world, count, seed=0):
    return Copies(world, np.stack([rng.stream(seed, number) for number in range(count)]))


def drawn(world, drawing, facing):
    """A state as drawn, agents by their numbers, at the start of an episode; under an agent lies bare ground."""
    state = copies_of(world, 1).states[0].copy()
    width, cells = world.options["width"], state.view(np.int8)
    codes = {"#": WALL, "~": WATER, "%": WASTE, ".": GROUND, ",": GRASS, "o": APPLE}
    rows = drawing.split()
    assert len(rows) == world.options["height"] and {len(row) for row in rows} == {width}
    for y, row in enumerate(rows[1:-1]):
        for x, character in enumerate(row[1:-1]):
            cell = cell_of(state, y, x)
            cells[cell] = codes.get(character, AGENT)
            if character.isdigit():
                agent = int(character)
                state[PLACES + agent] = cell - ground_of(state)
                state[under_entry(state, agent)] = GROUND
                state[facing_entry(state, agent)] = facing[agent]
    state[WASTES] = drawing.count("%")
    return state


def played(world, state, *actions, seed=0):
    """The status, the state after a step, and what each agent got."""
    after, got = state.copy(), np.zeros(len(actions), np.float32)
    status = world.rules.step(after, np.array(actions, np.int16), rng.stream(seed, 7), got)
    return status, after, got.tolist()


def field(state):
    """The rows of the text."""
    return text(state).splitlines()[1:]


def small(agents, **options):
    """7 x 8, two rows of river; nothing grows and nothing comes."""
    options = {"apple_rate": 0.0, "waste_rate": 0.0, "width": 7, "height": 8, "reach": 2, **options}
    return make(agents=agents, **options)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_contract_is_kept(options):
    check_world(make(**options), episodes=6, twins=1)


def slow_of(state, world):
    """The transcription's field, in the state that a copy is in."""
    found = kinds(state)
    agents = [
        {"at": place(state, number), "facing": FACES[state[facing_entry(state, number)]]}
        for number in range(len(world.agents))
    ]
    waste, apples = ({tuple(map(int, cell)) for cell in np.argwhere(found == kind)} for kind in (WASTE, APPLE))
    return SlowCleanup(world.options["width"], world.options["height"], waste, apples, agents, world.options)


@pytest.mark.parametrize("options", OPTIONS)
def test_episodes_are_those_of_a_slow_transcription(options):
    world = make(**options)
    reach, frames = world.options["reach"], world.options["frames"]
    copies, dice, agents = copies_of(world, 1, seed=5), np.random.default_rng(1), len(world.agents)
    seen = 0
    for _ in range(6):
        slow = slow_of(copies.states[0], world)
        assert len(slow.waste) == np.ceil(world.options["depletion"] * len(slow.river) - 1e-9) and not slow.apples
        side = 2 * reach + 1
        views = [[[UNSEEN] * side * side] * frames for _ in world.agents]
        for turn in range(world.options["turns"] + 1):
            for number, agent in enumerate(slow.agents):
                y, x = agent["at"]
                around = [
                    (y + down, x + right) for down in range(-reach, reach + 1) for right in range(-reach, reach + 1)
                ]
                views[number] = [*views[number][1:], [CODES[slow.what(cell)] for cell in around]]
                wanted = [*np.ravel(views[number]), FACES.index(agent["facing"])]
                assert copies.observations[number, 0].tolist() == wanted
            over = turn == world.options["turns"]
            assert copies.over[0] == over and (copies.acting[:, 0] != over).all()
            if over:
                break
            actions = dice.integers(0, len(world.action_names), agents).astype(np.int16)
            copies.step(actions[:, None])
            order = copies.states[0, PLACES + 2 * agents : PLACES + 3 * agents].tolist()
            assert sorted(order) == list(range(agents))
            got = slow.turn([world.action_names[action] for action in actions], order)
            np.testing.assert_allclose(copies.rewards[:, 0], got, atol=1e-4)
            seen += sum(got)
            after = slow_of(copies.states[0], world)
            assert after.agents == slow.agents
            slow.take_over(after.waste, after.apples)
            assert copies.states[0, WASTES] == len(slow.waste)
            assert apple_chance(copies.states[0]) == pytest.approx(slow.chance(), abs=1e-6)
        assert (copies.ended == TRUNCATED).all() and copies.renew() == 1
    assert seen != 0 or world.options["turns"] < 10  # apples were eaten, or fines paid


def test_of_those_who_want_one_cell_each_has_it_as_often():
    world = small(3)
    state = drawn(world, "####### #~~~~~# #~~~~~# #..0..# #.1o2.# #,,,,,# #,,,,,# #######", [UP, UP, UP])
    wins = np.zeros(3)
    for seed in range(3000):
        status, after, got = played(world, state, DOWN, RIGHT, LEFT_, seed=seed)
        assert status == OK and sorted(got) == [0, 0, 1]
        wins += got
        winner = int(np.argmax(got))
        assert place(after, winner) == (4, 3)
        assert all(place(after, other) == place(state, other) for other in {0, 1, 2} - {winner})
        assert [after[facing_entry(after, agent)] for agent in range(3)] == [DOWN, RIGHT, LEFT_]
    assert abs(wins / 3000 - 1 / 3).max() < 4 * np.sqrt(2 / 9 / 3000)


def test_agents_do_not_change_places_and_a_follower_goes_on_if_its_turn_is_later():
    world = small(2)
    state = drawn(world, "####### #~~~~~# #~~~~~# #.....# #.01..# #,,,,,# #,,,,,# #######", [UP, UP])
    followed = 0
    for seed in range(400):
        _, after, _ = played(world, state, RIGHT, LEFT_, seed=seed)
        assert place(after, 0) == (4, 2) and place(after, 1) == (4, 3)
        _, after, _ = played(world, state, RIGHT, RIGHT, seed=seed)
        assert place(after, 1) == (4, 4) and place(after, 0) in ((4, 2), (4, 3))
        followed += place(after, 0) == (4, 3)
    assert abs(followed / 400 - 1 / 2) < 4 * 0.5 / 20


def test_a_ray_takes_the_first_waste_within_its_reach():
    world = small(1, beam=2)
    state = drawn(world, "####### #%%~%%# #%~%~%# #..0..# #.....# #,,,,,# #,,,,,# #######", [UP])
    _, after, got = played(world, state, CLEAN)
    assert field(after)[1:4] == ["#%~~~%#", "#%~~~%#", "#..0..#"] and after[WASTES] == 4 and got == [0]
    for beam, wanted in ((2, "#%%%%%#"), (3, "#%~~~%#")):  # the waste is three cells away
        world = small(1, beam=beam)
        state = drawn(world, "####### #%%%%%# #~~~~~# #.....# #..0..# #,,,,,# #,,,,,# #######", [UP])
        assert field(played(world, state, CLEAN)[1])[1] == wanted


def test_a_ray_ends_at_a_wall_and_at_an_agent():
    world = small(3)
    state = drawn(world, "####### #%%%%%# #~#~1~# #..0..# #..2..# #,,,,,# #,,,,,# #######", [UP, LEFT_, UP])
    _, after, _ = played(world, state, CLEAN, STAY, STAY)
    assert field(after)[1] == "#%%~%%#"
    _, after, _ = played(world, state, STAY, STAY, CLEAN)  # agent 0 stands before it, the others as before
    assert field(after)[1] == "#%%%%%#"


def test_two_beams_on_one_waste_take_it_once_and_nothing_behind():
    world = small(2, beam=5)
    state = drawn(world, "####### #~%%%~# #~%%%~# #..0..# #..1..# #,,,,,# #,,,,,# #######", [UP, UP])
    aside = drawn(world, "####### #~%%%~# #~%%%~# #.01..# #.....# #,,,,,# #,,,,,# #######", [UP, UP])
    assert field(played(world, aside, CLEAN, CLEAN)[1])[1:3] == ["#~%%%~#", "#~~~~~#"]
    _, after, _ = played(world, state, CLEAN, CLEAN)  # 1's side rays meet what 0's meet
    assert field(after)[1:3] == ["#~%%%~#", "#~~~~~#"] and after[WASTES] == 3


def test_fines_meet_the_nearest_agent_of_each_ray_and_cost_who_fires():
    drawing = "####### #~~~~~# #~~2~~# #.31..# #.40..# #,,,,,# #,,,,,# #######"
    options = {"fining": True, "fine": 50, "fine_cost": 1}
    facing = [UP, UP, DOWN, DOWN, RIGHT]
    world, shared, without = small(5, **options), small(5, reward="shared", **options), small(5)
    state = drawn(world, drawing, facing)
    status, after, got = played(world, state, FINE, STAY, STAY, STAY, STAY)
    assert (status, got) == (OK, [-1, -50, 0, -50, 0]) and field(after) == field(state)
    _, _, got = played(world, state, FINE, STAY, FINE, STAY, STAY)  # 1 and 3 are met by both
    assert got == [-1, -100, -1, -100, 0]
    _, _, got = played(shared, drawn(shared, drawing, facing), FINE, *[STAY] * 4)
    np.testing.assert_allclose(got, [-101 / 5] * 5, rtol=1e-6)
    assert played(without, drawn(without, drawing, facing), FINE, *[STAY] * 4)[0] == ILLEGAL


def test_who_walks_over_waste_covers_it_and_leaves_it():
    world = small(1)
    state = drawn(world, "####### #~~~~~# #~~%~~# #..0..# #.....# #,,,,,# #,,,,,# #######", [UP])
    _, on, _ = played(world, state, UP)
    assert place(on, 0) == (2, 3) and kinds(on)[2, 3] == WASTE and on[WASTES] == 1
    _, away, _ = played(world, on, UP)
    assert field(away)[1:3] == ["#~~0~~#", "#~~%~~#"]


@pytest.mark.parametrize(
    ("wastes", "wanted"), [(0, 0.2), (1, 0.2), (2, 0.2 * 0.3 / 0.4), (3, 0.2 * 0.2 / 0.4), (4, 0.2 * 0.1 / 0.4), (5, 0)]
)
def test_apples_grow_by_the_formula(wastes, wanted):
    """10 cells of river, depletion 0.5, restoration 0.1; 10 cells of orchard, one with an agent, one with an apple."""
    world = small(1, apple_rate=0.2, depletion=0.5, restoration=0.1)
    dirty = "%" * wastes + "~" * (5 - wastes)
    state = drawn(world, f"####### #{dirty}# #~~~~~# #.....# #.....# #,,0,,# #o,,,,# #######", [UP])
    assert apple_chance(state) == pytest.approx(wanted, abs=1e-9)
    state[under_entry(state, 0)] = GRASS
    counts = np.zeros((8, 7))
    for seed in range(2000):
        after = kinds(played(world, state, STAY, seed=seed)[1])
        counts += after == APPLE
    assert counts[6, 1] == 2000 and counts[5, 3] == 0  # what was there stays; none grows under an agent
    free = np.delete(counts[5:7, 1:6].ravel(), [2, 5])
    assert abs(free / 2000 - wanted).max() <= 4.5 * np.sqrt(wanted * (1 - wanted) / 2000)
    assert counts.sum() == 2000 + free.sum()


def test_waste_comes_by_its_rate_to_any_clean_cell_until_the_river_is_full_of_it():
    world = small(1, waste_rate=0.3, depletion=0.4)
    state = drawn(world, "####### #%0~~~# #~~%~~# #.....# #.....# #,,,,,# #,,,,,# #######", [DOWN])
    state[under_entry(state, 0)] = WATER
    counts = np.zeros((8, 7))
    for seed in range(6000):
        after = played(world, state, STAY, seed=seed)[1]
        found = kinds(after) == WASTE
        assert found.sum() == after[WASTES] in (2, 3)
        counts += found
    assert counts[1, 1] == counts[2, 3] == 6000
    clean = np.delete(counts[1:3, 1:6].ravel(), [0, 7]) / 6000
    assert abs(clean - 0.3 / 8).max() < 4.5 * np.sqrt(0.0375 / 6000)
    assert abs(clean.sum() - 0.3) < 4 * np.sqrt(0.21 / 6000)
    full = drawn(world, "####### #%%0~~# #~%%~~# #.....# #.....# #,,,,,# #,,,,,# #######", [DOWN])
    assert all(played(world, full, STAY, seed=seed)[1][WASTES] == 4 for seed in range(200))


def test_an_episode_begins_with_a_river_just_full_of_waste_anywhere():
    world = make(agents=2, width=7, height=8, depletion=0.35)
    found = np.stack([kinds(state)[1:3, 1:6] == WASTE for state in copies_of(world, 4000).states])
    assert set(found.sum(axis=(1, 2))) == {4} and world.header[SATURATION] == 4
    assert abs(found.mean(axis=0) - 0.4).max() < 4.5 * np.sqrt(0.24 / 4000)


def test_an_episode_is_cut_off_after_its_last_turn():
    world = small(2, turns=2)
    state = copies_of(world, 1).states[0]
    status, state, _ = played(world, state, STAY, STAY)
    assert status == OK and world.rules.ended(state, 0) == 0
    status, state, _ = played(world, state, STAY, STAY)
    assert status == LEFT and [world.rules.ended(state, agent) for agent in range(2)] == [TRUNCATED] * 2
    assert played(world, state, STAY, STAY)[0] == ILLEGAL


def returns_of(world, count, guided):
    """Mean over episodes and agents, and each agent's over episodes."""
    copies, dice = copies_of(world, count, seed=2), np.random.default_rng(0)
    streams = np.stack([rng.stream(3, number) for number in range(count)])
    totals = np.zeros(copies.rewards.shape)
    while not copies.over.all():
        actions = dice.integers(0, len(world.action_names), copies.rewards.shape).astype(np.int16)
        if guided:
            for agent, copy in np.ndindex(actions.shape):
                actions[agent, copy] = world.rules.guide(copies.states[copy], agent, streams[copy])
        copies.step(actions)
        totals += copies.rewards
    return totals.mean(axis=1)


def test_the_guide_cleans_by_one_in_five_and_harvests_by_the_others():
    """Without the one that cleans, nothing is to be had."""
    world = make(turns=250)
    random, guided = returns_of(world, 32, False), returns_of(world, 8, True)
    assert guided.mean() > 5 * random.mean() > 0
    assert guided[0] < 2 and guided[1:].min() > 40


@pytest.mark.parametrize(
    ("agent", "drawing", "facing", "wanted"),
    [
        (0, "####### #~~~~~# #%~~~~# #.0..1# #.....# #..o..# #,,,,,# #######", UP, {CLEAN}),  # by the ray on its left
        (0, "####### #~~~~~# #~~~%~# #.0..1# #..o..# #,,,,,# #,,,,,# #######", UP, {RIGHT, UP}),
        (0, "####### #~~~~~# #~~~~~# #.....# #....1# #..o0.# #,,,,,# #######", UP, {UP}),  # sees no river
        (0, "####### #~~~~~# #~~~~~# #..0..# #....1# #..o..# #,,,,,# #######", DOWN, {UP, DOWN, LEFT_, RIGHT}),
        (1, "####### #~~~~~# #~%~~~# #..1..# #..0o.# #o,,,,# #,,,,,# #######", UP, {RIGHT}),  # down is taken
        (1, "####### #~~~~~# #~%1~~# #..o..# #..0..# #,,,,,# #,,,,,# #######", UP, {DOWN}),
        (1, "####### #~~~~~# #~%1~~# #.....# #..0..# #,,,,,# #,,,,,# #######", UP, {DOWN}),  # sees no orchard
    ],
)
def test_the_guide_does_what_it_says(agent, drawing, facing, wanted):
    """Agent 0 cleans and sees two cells far, agent 1 harvests and sees one."""
    world = small(2, reach=2 - agent)
    state = drawn(world, drawing, [facing] * 2)
    assert {int(world.rules.guide(state, agent, rng.stream(seed))) for seed in range(40)} == wanted


def test_the_field_is_shown():
    world = small(2)
    drawing = "####### #~~%~~# #~~~~~# #..0..# #....1# #,,o,,# #,,,,,# #######"
    state = drawn(world, drawing, [UP, LEFT_])
    lines = world.text(state).splitlines()
    assert lines[0] == "turn 0 of 1000, waste on 1 of 10 cells of the river"
    assert lines[1:] == drawing.split()
    seen = world.picture(state)
    assert seen.shape == (64, 56, 3)
    for agent, (y, x), spot in ((0, (3, 3), (1, 3)), (1, (4, 5), (3, 1))):
        block = seen[8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
        white = np.argwhere((block == 255).all(axis=2))
        assert white.min(axis=0).tolist() == list(spot) and len(white) == 4, agent


@pytest.mark.parametrize(
    ("options", "named"),
    [({"agents": 0}, "agents"), ({"height": 4}, "height"), ({"width": 2}, "width"), ({"width": 200}, "width"),
     ({"agents": 9, "width": 5, "height": 5}, "width"), ({"reach": 0}, "reach"), ({"frames": 99}, "frames"),
     ({"turns": 0}, "turns"), ({"apple_rate": 1.5}, "apple_rate"), ({"waste_rate": -0.1}, "waste_rate"),
     ({"depletion": 0.0}, "depletion"), ({"restoration": 0.4}, "restoration"), ({"beam": 2.5}, "beam"),
     ({"fining": 1}, "fining"), ({"fine": -1}, "fine"), ({"reward": "mine"}, "reward")],
)  # fmt: skip
def test_options_that_make_no_world_are_named(options, named):
    with pytest.raises(InvalidSetting, match=f"^{named}: "):
        make(**options)
