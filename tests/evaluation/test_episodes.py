"""Held episodes: the same for any number side by side, returns beside episodes stepped one by one, and known means."""

import contextlib
import dataclasses

import numpy as np
import pytest

from scoundrel_ray.copies import Copies
from scoundrel_ray.evaluation.episodes import (
    GuidedEpisodes,
    NetworkEpisodes,
    RandomEpisodes,
    baselines,
    by_episode,
    play_episodes,
    players_for,
)
from scoundrel_ray.experience.behaviours import NoAction
from scoundrel_ray.settings.build import build
from scoundrel_ray.streams import Purpose, agent_stream, stream
from scoundrel_ray.world import HERE, LOST, TERMINATED, AnyWorld
from scoundrel_ray.worlds import treasure_hunt
from tests.experience.slow_world_steps import Hashed
from tests.worlds import stairs
from tests.worlds.stairs import LEAP, STAY, UP


def adapted(name, **options):
    section = {"_target_": "scoundrel_ray.worlds.from_pettingzoo.make", "failure": "renew"}
    return build("world", {**section, "env": {"_target_": f"tests.worlds.{name}", **options}}, AnyWorld)


WORLDS = {
    "in order": lambda: treasure_hunt.make(agents=3, size=7, turns=5, spawn=0.2),
    "at once": stairs.make,
    "leaving in order": lambda: adapted("tiny_environments.Passing"),
    "failing": lambda: adapted("broken_environments.Broken", how="raises", at=3, odd=True),
}


class Says:
    """Plays the same actions in every copy, by turn; keeps in which copies it was asked."""

    def __init__(self, *actions):
        self.actions, self.asked = [*actions], []

    def act(self, copies, agent, places):
        self.asked.append(places.tolist())
        return np.full(len(places), self.actions[len(self.asked) - 1], np.int16)


def networks(world):
    """A network of its own for each agent, and players by them."""
    evaluators = {name: Hashed(name, world.specs[0].actions) for name in world.agents}
    return evaluators, players_for(world, world.agents, evaluators, 0, 0)


def by_hand(world, evaluators, seed, number):
    """Returns and lengths of one held episode: every agent takes the allowed action that its network prefers."""
    copies = world.copies(stream(seed, Purpose.HELD_EPISODES, number)[None])
    agents = range(len(world.agents))
    returns, lengths, open_ = [0.0] * len(agents), [0] * len(agents), {*agents}
    for agent in agents:
        if copies.ended[agent, 0] != HERE:  # not there
            returns[agent] = float("nan")
            open_.remove(agent)
    while open_:
        actions = np.zeros((len(agents), 1), np.int16)
        for agent in agents:
            if copies.acting[agent, 0]:
                values = evaluators[world.agents[agent]].preferences(copies.observations[agent][0])
                allowed = np.flatnonzero(copies.masks[agent][0])
                actions[agent, 0] = max(allowed, key=lambda action, values=values: values[action])
                returns[agent] += float(copies.rewards[agent, 0])
                lengths[agent] += 1
        copies.step(actions)
        for agent in [agent for agent in open_ if copies.ended[agent, 0] != HERE]:
            open_.remove(agent)
            returns[agent] += float("nan") if copies.ended[agent, 0] == LOST else float(copies.rewards[agent, 0])
    copies.close()
    return returns, lengths


@pytest.mark.parametrize("kind", [*WORLDS])
def test_returns_and_lengths_equal_those_of_episodes_stepped_one_by_one(kind):
    world = WORLDS[kind]()
    evaluators, players = networks(world)
    returns, lengths = play_episodes(world, players, 5, 7, 12)
    assert returns.dtype == np.float64 and lengths.dtype == np.int64
    for episode in range(12):
        wanted, steps = by_hand(world, evaluators, 5, 7 + episode)
        np.testing.assert_allclose(returns[:, episode], wanted, rtol=1e-6, atol=1e-6)
        assert lengths[:, episode].tolist() == steps
    assert np.isnan(returns).any() == (kind == "failing") and not np.isnan(returns).all()


@pytest.mark.parametrize("kind", [*WORLDS])
def test_episodes_are_the_same_however_many_are_played_side_by_side(kind):
    world = WORLDS[kind]()
    _, players = networks(world)
    whole = play_episodes(world, players, 3, 0, 11)
    for shard in (1, 4):
        parts = [play_episodes(world, players, 3, first, min(shard, 11 - first)) for first in range(0, 11, shard)]
        for found, wanted in zip(zip(*parts, strict=True), whole, strict=True):
            np.testing.assert_array_equal(np.concatenate(found, axis=1), wanted)
    if kind in ("in order", "failing"):  # in the others nothing is drawn
        assert (play_episodes(world, players, 4, 0, 11).returns != whole.returns).any()


def test_who_leaves_early_is_counted_once_and_not_asked_any_more():
    """Worked out: the first climber is at the top after two turns, with 2 + 4 and a tenth for each step of others."""
    players = [Says(LEAP, LEAP), Says(*[STAY] * 6), Says(*[UP, STAY] * 3)]
    returns, lengths = play_episodes(stairs.make(), players, 0, 0, 3)
    assert lengths.tolist() == [[2] * 3, [6] * 3, [6] * 3]
    # The third stands on 1, 1, 2, 2, 3, 3; the others bring it two tenths twice, then one.
    np.testing.assert_allclose(returns, np.repeat([[6 + 0.4], [0.4 + 0.4], [12 + 0.8]], 3, axis=1), rtol=1e-6)
    assert players[0].asked == [[0, 1, 2]] * 2 and players[1].asked == [[0, 1, 2]] * 6


def test_who_is_not_there_has_no_return():
    class WithoutTheSecond:
        name, agents, specs = "stairs", stairs.make().agents, stairs.make().specs

        def copies(self, streams):
            copies = stairs.make().copies(streams)
            copies.states[:, stairs.STEPS + 1] = stairs.TOP
            copies.ended[1], copies.acting[1] = TERMINATED, False
            return copies

    returns, lengths = play_episodes(WithoutTheSecond(), [Says(*[STAY] * 6) for _ in range(3)], 0, 0, 2)
    assert np.isnan(returns[1]).all() and not lengths[1].any()
    np.testing.assert_allclose(returns[[0, 2]], 0.6, rtol=1e-6)


def test_an_agents_mean_in_an_episode_leaves_out_what_is_not_known():
    nan = np.nan
    bodies = np.array([[1.0, nan, 3.0, nan], [5.0, 2.0, nan, nan]])
    assert by_episode(bodies).tolist() == [3.0, 2.0, 3.0]
    assert by_episode(bodies[:, 3:]).tolist() == []


def test_what_others_bring_an_agent_after_its_last_action_in_order_counts():
    """Ten moves of three agents in turn: each own one brings a half, each of another's 1 (see `Passing`)."""
    world = adapted("tiny_environments.Passing")
    returns, lengths = play_episodes(world, [Says(*[0] * 4) for _ in range(3)], 0, 0, 2)
    # The second leaves with its second action, the fifth of all; of those, three are others'. Then two play on.
    assert lengths[:, 0].tolist() == [4, 2, 4]
    np.testing.assert_allclose(returns[:, 0], [0.5 * 4 + 6, 0.5 * 2 + 3, 0.5 * 4 + 6])
    np.testing.assert_array_equal(returns[:, 0], returns[:, 1])


def test_copies_that_are_out_of_phase_are_asked_for_whom_it_is_the_turn_of():
    """In each copy another climber leaves early, so that turns of agents fall apart; all at once they do not."""

    class OneClimbs:
        def act(self, copies, agent, places):
            assert copies.acting[agent, places].all()
            return np.where((places + agent) % 3 == 0, LEAP, STAY).astype(np.int16)

    in_turn, at_once = (
        play_episodes(world, [OneClimbs()] * 3, 0, 0, 3)
        for world in (adapted("tiny_environments.stairs_in_turn"), stairs.make())
    )
    assert in_turn.lengths.tolist() == [[2, 6, 6], [6, 6, 2], [6, 2, 6]] == at_once.lengths.tolist()
    np.testing.assert_allclose(in_turn.returns, at_once.returns, rtol=1e-6)


@pytest.mark.parametrize(("kind", "wanted", "near"), [("random", 6.6, 0.2), ("rule", 69.6, 0.03 * 69.6)])
def test_players_who_do_not_learn_return_what_is_known(kind, wanted, near):
    """Means of reference, of ten agents; the rule's figure is of another rule of ten lines, so it is met roughly."""
    world = treasure_hunt.make(agents=10)
    returns, lengths = play_episodes(world, players_for(world, [kind] * 10, {}, 1, 0), 1, 0, 48)
    means = returns.mean(axis=0)
    assert means.mean() == pytest.approx(wanted, abs=4 * float(means.std()) / np.sqrt(48) + near)
    assert (lengths == 100).all()


def test_random_players_choose_uniformly_among_what_is_allowed():
    count = 30_000
    copies = stairs.make(agents=2).copies(np.stack([stream(0)] * 2 * count))
    copies.masks[1, 1::2, LEAP] = 0
    places = np.arange(2 * count)
    actions = RandomEpisodes(stream(1)).act(copies, 1, places)
    assert actions.dtype == np.int16
    for part, chances in ((actions[::2], [1 / 3] * 3), (actions[1::2], [0.5, 0.5, 0])):
        got = np.bincount(part, minlength=3) / count
        np.testing.assert_allclose(got, chances, atol=4 * np.sqrt(0.25 / count))
        assert got[LEAP] > 0 or chances[LEAP] == 0
    few = RandomEpisodes(stream(1)).act(copies, 1, np.array([1, 3, 5]))
    assert set(few.tolist()) <= {STAY, UP}


def test_the_rule_is_asked_for_its_own_agent_and_copy():
    world = stairs.make()
    copies = world.copies(np.stack([stream(0)] * 2))
    copies.step(np.array([[UP, STAY], [STAY, UP], [STAY, STAY]], np.int16))
    guided = GuidedEpisodes(world, stream(0))
    assert [guided.act(copies, agent, np.array([0, 1])).tolist() for agent in range(3)] == [
        [UP, LEAP],
        [LEAP, UP],
        [LEAP, LEAP],
    ]
    assert guided.act(copies, 0, np.array([1])).tolist() == [LEAP]


def test_networks_are_asked_for_the_rows_of_their_agent_in_the_named_copies():
    world = treasure_hunt.make(agents=2, size=7, spawn=0.2)
    copies = world.copies(np.stack([stream(0, copy) for copy in range(4)]))
    copies.step(np.zeros((2, 4), np.int16))
    evaluator, places = Hashed("any", 4), np.array([3, 1])
    wanted = [int(evaluator.preferences(copies.observations[1, copy]).argmax()) for copy in places]
    assert NetworkEpisodes(evaluator).act(copies, 1, places).tolist() == wanted


def test_seats_name_networks_random_players_and_the_rule():
    world = stairs.make()
    evaluators = {"a": Hashed("a", 3), "b": Hashed("b", 3)}
    made = players_for(world, ["b", "random", "rule"], evaluators, 4, 9)
    assert [type(each) for each in made] == [NetworkEpisodes, RandomEpisodes, GuidedEpisodes]
    copies = world.copies(np.stack([stream(0, copy) for copy in range(5)]))
    values = evaluators["b"].preferences(copies.observations[0, 0])
    assert made[0].act(copies, 0, np.array([0])).tolist() == [int(values.argmax())]
    drawn = RandomEpisodes(agent_stream(4, Purpose.HELD_EPISODES, "climber_1", 9)).act(copies, 1, np.arange(5))
    assert made[1].act(copies, 1, np.arange(5)).tolist() == drawn.tolist()


def test_who_plays_without_learning():
    assert baselines(WORLDS["in order"]()) == ["random", "rule"]
    assert baselines(WORLDS["leaving in order"]()) == ["random"]


@pytest.mark.parametrize(("kind", "seat"), [("at once", "nobody"), ("leaving in order", "rule")])
def test_players_whom_nobody_has_are_refused(kind, seat):
    world = WORLDS[kind]()
    with pytest.raises(ValueError, match=rf"^world {world.name}: nobody plays {world.agents[1]} as '{seat}'$"):
        players_for(world, ["random", seat, "random"], {}, 0, 0)


def test_what_random_players_draw_depends_on_seed_agent_and_first_episode():
    world = stairs.make(agents=2)
    copies = world.copies(np.stack([stream(0)] * 60))

    def drawn(world, agent, seed=0, first=0):
        made = players_for(world, ["random"] * len(world.agents), {}, seed, first)
        return made[agent].act(copies, agent, np.arange(60)).tolist()

    assert drawn(world, 1) == drawn(stairs.make(agents=5), 1)
    others = [drawn(world, 0), drawn(world, 1, seed=1), drawn(world, 1, first=60)]
    assert all(other != drawn(world, 1) for other in others)


def test_frames_are_those_of_the_first_episode_alone():
    """States stand for pictures. The first episode is over before others, which bring no frames any more."""

    class FirstClimbs:
        def act(self, copies, agent, places):
            return np.where(places == 0, LEAP, STAY).astype(np.int16)

    world = dataclasses.replace(stairs.make(agents=2), picture=lambda state: state[stairs.TURN :].copy())
    frames = []
    returns, lengths = play_episodes(world, [FirstClimbs()] * 2, 0, 0, 3, frames)
    assert [each.tolist() for each in frames] == [[0, 0, 0], [1, 2, 2], [2, 4, 4]]
    assert lengths.tolist() == [[2, 6, 6]] * 2
    untold = play_episodes(world, [FirstClimbs()] * 2, 0, 0, 3)
    np.testing.assert_array_equal(untold.returns, returns)


def test_frames_are_pictures_of_every_step():
    world = WORLDS["in order"]()
    evaluators, players = networks(world)
    frames = []
    play_episodes(world, players, 5, 2, 2, frames)
    copies = Copies(world, stream(5, Purpose.HELD_EPISODES, 2)[None])
    for number, frame in enumerate(frames):
        assert frame.dtype == np.uint8
        np.testing.assert_array_equal(frame, world.picture(copies.states[0]))
        if number < 15:
            (agent,) = np.flatnonzero(copies.acting[:, 0])
            values = evaluators[world.agents[agent]].preferences(copies.observations[agent, 0])
            copies.step(np.full((3, 1), values.argmax(), np.int16))
    assert len(frames) == 16
    none = []
    play_episodes(WORLDS["leaving in order"](), [Says(*[0] * 4) for _ in range(3)], 0, 0, 1, none)
    assert none == []


@pytest.mark.parametrize("fails", [False, True])
def test_copies_are_closed_whatever_happens(fails, monkeypatch):
    closed = []

    class Stays:
        def act(self, copies, agent, places):
            if fails:
                raise NoAction("row 0")
            return np.full(len(places), STAY, np.int16)

    def close(copies):
        closed.append(copies)

    monkeypatch.setattr(Copies, "close", close)
    with pytest.raises(NoAction) if fails else contextlib.nullcontext():
        play_episodes(stairs.make(), [Stays()] * 3, 0, 0, 2)
    assert len(closed) == 1
