"""The baseline of the suite "worlds" is the same treasure hunt: step for step beside the compiled rules."""

import numpy as np
import pytest

from scoundrel_ray import rng
from scoundrel_ray.copies import Copies
from scoundrel_ray.world import HERE, TRUNCATED
from scoundrel_ray.worlds import treasure_hunt
from scripts.measuring import numpy_treasure_hunt
from scripts.measuring.numpy_treasure_hunt import BONE, EMPTY, FOOD, GEM, NumpyTreasureHunt, TunedNumpyTreasureHunt

VERSIONS = [NumpyTreasureHunt, TunedNumpyTreasureHunt]
OPTIONS = [
    {"agents": 3, "size": 7, "turns": 12, "spawn": 0.2},
    {"agents": 4, "size": 9, "reach": 3, "frames": 2, "turns": 20, "spawn": 0.05},
]


def whole_board(state):
    """The compiled world's cells, with all walls around."""
    side = treasure_hunt._whole(state)
    return state.view(np.int8)[treasure_hunt._ground(state) :][: side * side].reshape(side, side)


def follow(environment, copies):
    """Let agents start, and things appear, where they do in the compiled world; the list of turns in which they do."""
    state, turns = copies.states[0], []

    def places():
        flat = state[treasure_hunt.PLACES : treasure_hunt.PLACES + len(environment.possible_agents)]
        return np.stack(np.divmod(flat, len(environment.board)), axis=1)

    def appear():
        turns.append(environment.turn)
        board = whole_board(state)
        new = (board != environment.board) & (environment.board == EMPTY) & np.isin(board, (GEM, FOOD, BONE))
        environment.board[new] = board[new]

    environment.draw_places, environment.appear = places, appear
    return turns


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("options", OPTIONS)
def test_transitions_are_those_of_the_compiled_rules(version, options):
    world = treasure_hunt.make(**options)
    copies, dice = Copies(world, rng.stream(4)[None]), np.random.default_rng(3)
    environment = version(**world.options)
    appeared = follow(environment, copies)
    for _ in range(3):
        seen = {name: np.zeros(world.spec.observation_size, np.int8) for name in world.agents}
        observations, _infos = environment.reset()
        for turn in range(world.options["turns"] + 1):
            np.testing.assert_array_equal(environment.board, whole_board(copies.states[0]))
            for agent, name in enumerate(world.agents):
                world.rules.observe(copies.states[0], agent, seen[name])
                np.testing.assert_array_equal(observations[name], seen[name])
            np.testing.assert_array_equal(observations["agent_0"], copies.observations[0, 0])
            if not environment.agents:
                break
            actions = dice.integers(0, 4, len(world.agents))
            assert (copies.ended == HERE).all() and environment.turn == turn
            for _ in world.agents:
                copies.step(actions.astype(np.int16)[:, None])
            kept = {name: each.copy() for name, each in observations.items()}
            was = observations
            observations, rewards, terminated, truncated, _infos = environment.step(
                dict(zip(world.agents, actions.tolist(), strict=True))
            )
            assert all((was[name] == kept[name]).all() for name in was), "what was handed out stays as it was"
            assert list(rewards.values()) == copies.rewards[:, 0].tolist()
            assert not any(terminated.values()) and {*truncated.values()} == {bool(copies.over[0])}
        assert environment.turn == world.options["turns"] and (copies.ended == TRUNCATED).all()
        copies.renew()
    assert appeared == [*range(world.options["turns"])] * 3


def test_codes_values_and_moves_are_the_same():
    for name in ("UNSEEN", "EMPTY", "WALL", "GEM", "FOOD", "BONE", "AGENT"):
        code = getattr(treasure_hunt, name)
        assert getattr(numpy_treasure_hunt, name) == code
        assert numpy_treasure_hunt.VALUES.get(code, 0.0) == treasure_hunt.VALUES[code]


@pytest.mark.parametrize("version", VERSIONS)
def test_things_appear_by_the_same_law_and_agents_start_anywhere(version):
    options = {**treasure_hunt.make(agents=2, size=8, spawn=0.1).options}
    environment, boards = version(**options), []
    for seed in range(3000):
        environment.reset(seed if seed == 0 else None)
        boards.append(environment.inside.copy())
        assert len({*map(tuple, environment.places)}) == 2
    found = np.stack(boards)
    counts = np.isin(found, (GEM, FOOD, BONE)).sum(axis=(1, 2))
    assert counts.mean() == pytest.approx(34 * 0.1, abs=4 * np.sqrt(34 * 0.09 / 3000))
    kinds = np.bincount(found.ravel(), minlength=7)[[GEM, FOOD, BONE]]
    assert abs(kinds / kinds.sum() - 1 / 3).max() < 4 * np.sqrt(2 / 9 / kinds.sum())
    stood = (found == treasure_hunt.AGENT).mean(axis=0)
    assert abs(stood - 2 / 36).max() < 4.5 * np.sqrt(2 / 36 * 34 / 36 / 3000)
