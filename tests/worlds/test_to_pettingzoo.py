"""Worlds as environments of PettingZoo: its own tests, both conversions, and every step of an episode twice."""

import sys
import warnings

import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo import ParallelEnv
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
from pettingzoo.utils.conversions import aec_to_parallel, parallel_to_aec

from scoundrel_ray.copies import Copies
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import Field
from scoundrel_ray.streams import stream
from scoundrel_ray.world import IllegalActions, InvalidWorld
from scoundrel_ray.worlds import treasure_hunt
from scoundrel_ray.worlds.to_pettingzoo import aec_env, observation_space, parallel_env
from tests.worlds import stairs

STAIRS = stairs.make()
HUNT = treasure_hunt.make(agents=3, size=7, turns=6, spawn=0.2)
ENVIRONMENTS = {
    "stairs": lambda: parallel_env(STAIRS),
    "stairs, converted": lambda: parallel_to_aec(parallel_env(STAIRS)),
    "stairs in turn": lambda: aec_env(STAIRS),
    "stairs in turn, converted": lambda: aec_to_parallel(aec_env(STAIRS)),
    "hunt": lambda: aec_env(HUNT),
    "hunt, converted": lambda: aec_to_parallel(aec_env(HUNT)),
    "hunt, converted twice": lambda: parallel_to_aec(aec_to_parallel(aec_env(HUNT))),
}
EVERY = pytest.mark.parametrize("make", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
# Of the first observations of `stairs`, and of spaces of categories.
FINE = (
    "Observation numpy array is all zeros",
    "Observation space for each agent probably should be",
    "Observation is not a",
)


@EVERY
def test_the_tests_of_pettingzoo_pass(make):
    tests = (parallel_api_test, parallel_seed_test) if isinstance(make(), ParallelEnv) else (api_test, seed_test)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for message in FINE:
            warnings.filterwarnings("ignore", message=message)
        tests[0](make(), num_cycles=50)
        tests[1](make, num_cycles=50)


def chosen(env, agent, observation, dice):
    mask = observation["action_mask"] if isinstance(observation, dict) else np.ones(env.action_space(agent).n)
    return int(dice.choice(np.flatnonzero(mask)))


def episode(env, dice, seed=None):
    """Everything that an episode shows, step by step."""
    shown = []
    if isinstance(env, ParallelEnv):
        observations, infos = env.reset(seed=seed)
        shown.append((observations, infos))
        while env.agents:
            actions = {agent: chosen(env, agent, observations[agent], dice) for agent in env.agents}
            observations, *rest = env.step(actions)
            shown.append((actions, observations, rest, list(env.agents), env.render()))
    else:
        env.reset(seed=seed)
        for agent in env.agent_iter():
            observation, *rest = env.last()
            action = None if rest[1] or rest[2] else chosen(env, agent, observation, dice)
            shown.append((agent, observation, rest, action, dict(env.rewards), env.render()))
            env.step(action)
    assert len(shown) > 3
    return str(shown)


@EVERY
def test_every_step_of_a_seed_is_the_same_and_other_seeds_differ(make):
    """PettingZoo's test of parallel environments ends with the first step."""
    with np.printoptions(threshold=sys.maxsize):
        envs = [make() for _ in range(2)]
        first, again = (
            [episode(env, np.random.default_rng(0), seed) for seed in (5, None, None, 6, 5)] for env in envs
        )
        assert first == again  # also episodes without a seed, after one with it
        assert first[0] == first[4]
        drawn = [episode(make(), np.random.default_rng(0)) for _ in range(3)]
        if "hunt" in str(envs[0]):  # nothing is drawn in stairs
            assert len({*first, *drawn}) == 4 + 3


@pytest.mark.parametrize("name", ["stairs, converted", "stairs in turn", "stairs in turn, converted", "stairs"])
def test_conversions_show_the_same_episodes(name):
    """What each agent sees and gets in stairs, whichever way it is asked."""

    def told(env):
        dice, told = np.random.default_rng(3), {agent: [] for agent in env.possible_agents}
        for seed in range(5):
            if isinstance(env, ParallelEnv):
                observations, _ = env.reset(seed=seed)
                rewards = terminations = truncations = dict.fromkeys(env.agents, 0)
                while observations:
                    for agent, seen in observations.items():
                        end = (bool(terminations[agent]), bool(truncations[agent]))
                        told[agent].append((seen["observation"].tolist(), round(rewards[agent], 4), end))
                    actions = {agent: chosen(env, agent, observations[agent], dice) for agent in env.agents}
                    if not actions:
                        break
                    observations, rewards, terminations, truncations, _ = env.step(actions)
            else:
                env.reset(seed=seed)
                for agent in env.agent_iter():
                    seen, reward, *end, _ = env.last()
                    told[agent].append((seen["observation"].tolist(), round(reward, 4), tuple(end)))
                    env.step(None if any(end) else chosen(env, agent, seen, dice))
        return told

    assert told(ENVIRONMENTS[name]()) == told(parallel_env(STAIRS))


def test_agents_in_turn_are_those_of_compiled_copies():
    env, copies, dice = aec_env(HUNT), Copies(HUNT, stream(9)[None]), np.random.default_rng(0)
    env.reset(seed=9)
    names = list(HUNT.agents)
    while not copies.over[0]:
        (agent,) = np.flatnonzero(copies.acting[:, 0])
        assert env.agent_selection == names[agent]
        observation, reward, terminated, truncated, _ = env.last()
        np.testing.assert_array_equal(observation, copies.observations[agent, 0])
        assert reward == copies.rewards[agent, 0] and not terminated and not truncated
        assert observation.dtype == np.int8 and env.observation_space(names[agent]).contains(observation)
        np.testing.assert_array_equal(env.observe(names[agent]), observation)  # whoever looks changes nothing
        env.observe(names[(agent + 1) % 3])
        actions = np.full((3, 1), dice.integers(4), np.int16)
        env.step(actions[agent, 0])
        copies.step(actions)
    for agent in range(3):
        observation, reward, terminated, truncated, _ = env.last()
        number = names.index(env.agent_selection)
        assert number == agent and reward == copies.rewards[agent, 0] and (terminated, truncated) == (False, True)
        np.testing.assert_array_equal(observation, copies.observations[agent, 0])
        env.step(None)
    assert not env.agents


def test_an_agent_that_waits_sees_what_it_would_if_it_were_to_act():
    env = aec_env(HUNT)
    env.reset(seed=1)
    env.step(0)
    view = HUNT.options["frames"] - 1
    waits, side = env.observe("agent_2").reshape(view + 1, 5, 5), HUNT.options["reach"]
    assert waits[view, side, side] == treasure_hunt.AGENT and not waits[:view].any()
    env.step(1)
    acts = env.observe("agent_2").reshape(view + 1, 5, 5)
    assert not acts[:view].any() and acts[view, side, side] == treasure_hunt.AGENT


def test_actions_that_are_masked_are_refused_and_change_nothing():
    env = parallel_env(STAIRS)
    env.reset()
    env.step(dict.fromkeys(env.agents, 1))
    with pytest.raises(IllegalActions, match=r"^stairs: not allowed: climber_1 2$"):
        env.step({"climber_0": 0, "climber_1": 2, "climber_2": 0})
    observations, *_ = env.step(dict.fromkeys(env.agents, 0))
    assert observations["climber_1"]["observation"].tolist() == [1, 2]
    assert observations["climber_1"]["action_mask"].tolist() == [1, 1, 0]
    turns = aec_env(STAIRS)
    turns.reset()
    for action in (0, 1, 2):
        turns.step(action)
    for wrong in (-1, 3):
        with pytest.raises(IllegalActions, match=f"climber_0 {wrong}"):
            turns.step(wrong)
    turns.step(0)
    with pytest.raises(IllegalActions, match="climber_1 2"):
        turns.step(2)
    assert turns.agent_selection == "climber_1" and turns.observe("climber_0")["observation"].tolist() == [0, 1]
    assert turns.observe("climber_2")["action_mask"].tolist() == [1, 1, 1]


def test_who_leaves_is_told_and_takes_no_part_any_more():
    env = parallel_env(STAIRS)
    env.reset(seed=0)
    env.step({"climber_0": 2, "climber_1": 1, "climber_2": 0})
    observations, rewards, terminations, truncations, infos = env.step({"climber_0": 2, "climber_1": 0, "climber_2": 0})
    assert terminations == {"climber_0": True, "climber_1": False, "climber_2": False} and not any(truncations.values())
    assert rewards == pytest.approx({"climber_0": 4.2, "climber_1": 1.2, "climber_2": 0.2})
    assert observations["climber_0"]["observation"].tolist() == [4, 2] and set(infos) == set(rewards)
    assert observations["climber_0"]["action_mask"].tolist() == [0, 0, 0] and env.agents == ["climber_1", "climber_2"]
    for _ in range(4):
        observations, rewards, terminations, truncations, _ = env.step(dict.fromkeys(env.agents, 0))
        assert set(observations) == set(rewards) == {"climber_1", "climber_2"}
    assert truncations == {"climber_1": True, "climber_2": True} and not any(terminations.values()) and not env.agents
    assert env.step({}) == ({}, {}, {}, {}, {})


def test_spaces_say_what_fields_say():
    space = observation_space(HUNT)
    assert isinstance(space, spaces.MultiDiscrete) and space.dtype == np.int8 and (space.nvec == 7).all()
    both = observation_space(STAIRS)
    assert both["observation"] == spaces.Box(np.zeros(2, np.int8), np.array([5, 6], np.int8), dtype=np.int8)
    assert both["action_mask"].shape == (3,)
    env = aec_env(STAIRS)
    assert env.metadata["fields"] == [("step", 1, "category"), ("turn", 1, "number")]
    assert env.metadata["name"] == "stairs_v1" and str(env) == "stairs_v1"
    wide = stairs.make()
    object.__setattr__(wide, "observation", (Field("wide", 2, -100, 100),))
    assert isinstance(observation_space(wide)["observation"], spaces.Box)


@pytest.mark.parametrize("make", [parallel_env, aec_env])
def test_states_are_rendered(make):
    for mode, wanted in (("ansi", str), ("rgb_array", np.ndarray), (None, type(None))):
        env = make(STAIRS, render_mode=mode)
        env.reset(seed=0)
        assert isinstance(env.render(), wanted) and env.render_mode == mode
    assert env.metadata["render_modes"] == ["ansi", "rgb_array"]
    with pytest.raises(ValueError, match="render_mode is 'human', wanted None or one of ansi, rgb_array"):
        make(STAIRS, render_mode="human")


def test_a_world_of_turns_is_not_parallel():
    with pytest.raises(InvalidWorld, match="world treasure_hunt: agents act in turn, wanted all at once: see aec_env"):
        parallel_env(HUNT)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    monkeypatch.delitem(sys.modules, "scoundrel_ray.worlds.to_pettingzoo")
    with pytest.raises(InvalidConfig, match=r"pip install 'scoundrel_ray\[worlds\]'"):
        import scoundrel_ray.worlds.to_pettingzoo  # noqa: F401
