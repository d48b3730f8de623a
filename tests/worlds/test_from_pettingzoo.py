"""Environments of PettingZoo as worlds: beside stepping them by hand, there and back."""

import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from scoundrel_ray.copies import Copies
from scoundrel_ray.settings import handed
from scoundrel_ray.settings.build import build, check_members
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting
from scoundrel_ray.streams import stream, streams
from scoundrel_ray.world import HERE, TERMINATED, TRUNCATED, AnyCopies, AnyWorld, IllegalActions
from scoundrel_ray.worlds import treasure_hunt
from scoundrel_ray.worlds.adapted import episode_seed
from tests.worlds import stairs
from tests.worlds.tiny_environments import Market

ADAPTER = "scoundrel_ray.worlds.from_pettingzoo.make"
CONF = Path(__file__).parents[2] / "conf" / "world"


def world_of(name, failure="stop", **options):
    env = {"_target_": f"tests.worlds.tiny_environments.{name}", **options}
    return build("world", {"_target_": ADAPTER, "env": env, "failure": failure}, AnyWorld)


def play(copies, *by_agent):
    copies.step(np.repeat(np.array(by_agent, np.int16)[:, None], copies.rewards.shape[1], axis=1))


def legal(copies, dice):
    """Random actions; garbage of those that do not act."""
    actions = np.full(copies.rewards.shape, 99, np.int16)
    for agent, copy in zip(*np.nonzero(copies.acting), strict=True):
        actions[agent, copy] = dice.choice(np.flatnonzero(copies.masks[agent][copy]))
    return actions


def test_the_members_are_those_of_a_world():
    world = world_of("Market")
    assert world.name == "tests_market_v0" and world.agents == ("buyer", "seller")
    assert world.section["env"]["_target_"].endswith("Market")
    again = build("world", world.section, AnyWorld)
    assert [spec.as_dict() for spec in again.specs] == [spec.as_dict() for spec in world.specs]
    buyer, seller = world.specs
    assert [field.name for field in buyer.observation] == ["good", "price[0:2]", "price[2]", "signs.0", "signs.1"]
    assert (buyer.dtype, buyer.observation_size, buyer.actions) == ("float32", 13, 3)
    assert (seller.dtype, seller.observation_size, seller.actions) == ("uint8", 3, 6)
    assert seller.identity["options"] == {} and world_of("Market", buyer_steps=2).specs[0] != buyer
    copies = world.copies(streams(2, 0))
    check_members("copies", copies, AnyCopies)
    assert [(each.shape, each.dtype) for each in copies.observations] == [((2, 13), np.float32), ((2, 3), np.uint8)]
    assert [(each.shape, each.dtype) for each in copies.masks] == [((2, 3), np.int8), ((2, 6), np.int8)]
    assert [(each.shape, each.dtype) for each in (copies.rewards, copies.ended, copies.acting)] == [
        ((2, 2), np.float32), ((2, 2), np.int8), ((2, 2), np.bool_),
    ]  # fmt: skip
    alike = world_of("Passing")
    assert alike.specs[0] is alike.specs[2] and alike.copies(streams(2, 0)).observations.shape == (3, 2, 2)
    with pytest.raises(ValueError, match=r"streams are float64 \[4\], wanted uint64 \[copies, 4\]"):
        world.copies(np.zeros(4))


def test_unlike_agents_that_leave_are_those_of_stepping_by_hand():
    """The environment stepped by hand with the same seeds, its answers written out entry by entry."""
    copies, dice = world_of("Market").copies(streams(3, 5)), np.random.default_rng(0)
    envs, episodes = [Market() for _ in range(3)], [0] * 3
    answers = [env.reset(seed=episode_seed(stream(5, copy), 0)) for copy, env in enumerate(envs)]

    def buyer(seen):
        good = np.eye(3)[seen["good"] + 1]
        first, second = seen["signs"][1]
        return [*good, *seen["price"], *seen["signs"][0], *np.eye(2)[first], *np.eye(3)[second]]

    for turn in range(1, 24):
        before = copies.acting.copy()
        for copy in range(3):
            for agent, name in enumerate(("buyer", "seller")):
                assert before[agent, copy] == (name in envs[copy].agents)
            if before[0, copy]:
                np.testing.assert_array_equal(
                    copies.observations[0][copy], np.float32(buyer(answers[copy][0]["buyer"]))
                )
            seen = answers[copy][0]["seller"]["observation"]
            np.testing.assert_array_equal(copies.observations[1][copy], seen)
            first = "action_mask" not in answers[copy][-1]["seller"]
            assert copies.masks[1][copy].tolist() == ([1] * 6 if first else [1, 0, 1, 0, 1, 1])
        actions = legal(copies, dice)
        copies.step(actions)
        for copy, env in enumerate(envs):
            given = {"seller": np.add(divmod(int(actions[1, copy]), 3), [0, 1]), "buyer": int(actions[0, copy]) + 5}
            answers[copy] = env.step({name: given[name] for name in env.agents})
            observations, rewards, terminations, truncations, _ = answers[copy]
            for agent, name in enumerate(("buyer", "seller")):
                if before[agent, copy]:
                    assert copies.rewards[agent, copy] == np.float32(rewards[name])
                    how = TERMINATED if terminations[name] else TRUNCATED if truncations[name] else HERE
                    assert copies.ended[agent, copy] == how
            if before[0, copy]:
                np.testing.assert_array_equal(copies.observations[0][copy], np.float32(buyer(observations["buyer"])))
            np.testing.assert_array_equal(copies.observations[1][copy], observations["seller"]["observation"])
        assert copies.over.tolist() == [not env.agents for env in envs] == [turn % 5 == 0] * 3
        assert (copies.ended == [[TERMINATED], [TRUNCATED]]).all() == (turn % 5 == 0)
        if turn % 5 == 0:
            frozen = [copies.observations[0].copy(), copies.rewards.copy()]
            copies.step(actions)  # those that are over stay as they are
            np.testing.assert_array_equal(copies.observations[0], frozen[0])
            np.testing.assert_array_equal(copies.rewards, frozen[1])
            assert copies.renew() == 3 and not copies.rewards.any() and not copies.ended.any()
            for copy, env in enumerate(envs):
                episodes[copy] += 1
                answers[copy] = env.reset(seed=episode_seed(stream(5, copy), episodes[copy]))
        else:
            assert copies.renew() == 0


@pytest.mark.parametrize("first", [True, False])
def test_rewards_between_an_agents_own_turns_are_summed(first):
    copies = world_of("Passing", moves=8, first=first).copies(streams(2, 0))

    def look():
        (agent,) = np.flatnonzero(copies.acting[:, 0])
        assert (copies.acting[:, 0] == copies.acting[:, 1]).all()
        return int(agent), float(copies.rewards[agent, 0]), copies.observations[agent, 0].tolist()

    assert look() == (0, 0, [0, 0])
    play(copies, 0, 77, 77)
    assert look() == (1, 1, [1, 0])  # from agent_0, who paid 1
    play(copies, 77, 1, 77)
    assert look() == (2, 3, [2, 0]) and copies.masks[2, 0].tolist() == [1, 0, 1]
    play(copies, 77, 77, 2)
    assert look() == (0, 5.5, [3, 1])  # its own half, and 2 and 3 of the others
    play(copies, 1, 77, 77)
    assert look() == (1, 5.5, [4, 1]) and copies.ended[:, 0].tolist() == [HERE] * 3
    assert copies.rewards[0, 0] == 0  # it has acted, and hears of what that brought when it acts again
    with pytest.raises(IllegalActions, match=r"^passing_v0: not allowed in copy 0: agent_1 3$"):
        play(copies, 0, 3, 0)
    play(copies, 77, 0, 77)  # its second and last
    assert look() == (2, 3.5, [5, 1]) and copies.masks[2, 0].tolist() == [1, 1, 1]
    if first:
        assert copies.ended[:, 0].tolist() == [HERE, TERMINATED, HERE]
        assert copies.rewards[1, 0] == 0.5 and copies.observations[1, 0].tolist() == [5, 2]
    play(copies, 77, 77, 0)
    assert look() == (0, 2.5, [6, 2])
    play(copies, 2, 77, 77)
    assert look() == (2, 3.5, [7, 2])
    assert copies.ended[:, 0].tolist() == [HERE, TERMINATED, HERE]
    if not first:  # it is selected with its end after agent_2 and agent_0 have moved, and has what they paid
        assert copies.rewards[1, 0] == 0.5 + 1 + 3 and copies.observations[1, 0].tolist() == [7, 2]
    play(copies, 77, 77, 2)
    assert copies.over.all() and copies.ended[:, 1].tolist() == [TRUNCATED, TERMINATED, TRUNCATED]
    assert copies.rewards[:, 0].tolist()[::2] == [3.5, 0.5]
    assert copies.observations[0, 0].tolist() == [8, 3] and copies.observations[2, 0].tolist() == [8, 3]
    assert copies.renew() == 2 and look() == (0, 0, [0, 0])


def test_nothing_of_an_episode_is_left_in_the_next():
    copies = world_of("Passing", moves=3).copies(streams(1, 0))
    for _ in range(3):
        play(copies, 1, 1, 0)
    assert copies.over.all() and copies.masks[2, 0].tolist() == [1, 0, 1] and copies.rewards.all()
    assert copies.observations[:, 0].any(axis=1).all() and copies.renew() == 1
    assert (copies.masks == 1).all() and not copies.rewards.any() and not copies.observations.any()


def reference(world, seed):
    """One fresh copy of compiled rules at the episode of a seed."""
    return Copies(world, stream(seed)[None])


@pytest.mark.parametrize(
    ("name", "world", "one_by_one"),
    [
        ("parallel_stairs", stairs.make(), False),
        ("stairs_in_turn", stairs.make(), True),
        ("hunt", treasure_hunt.make(agents=3, size=7, turns=6, spawn=0.1), False),
    ],
)
def test_a_world_there_and_back_is_the_same(name, world, one_by_one):
    """Observations, masks, rewards and ends of compiled copies with the same actions, exact in every step."""
    copies, dice = world_of(name).copies(streams(2, 3)[1:]), np.random.default_rng(1)
    assert copies.observations.dtype == np.int8
    for episode in range(8):
        compiled = reference(world, episode_seed(stream(3, 1), episode))
        while not compiled.over[0]:
            chosen, before = legal(compiled, dice), compiled.ended == HERE
            asked = []
            for _ in range(int(compiled.acting.sum()) if one_by_one else 1):
                for agent in np.flatnonzero(copies.acting[:, 0]):
                    asked.append(agent)
                    assert copies.rewards[agent, 0] == compiled.rewards[agent, 0]
                    np.testing.assert_array_equal(copies.observations[agent, 0], compiled.observations[agent, 0])
                    np.testing.assert_array_equal(copies.masks[agent, 0], compiled.masks[agent, 0])
                copies.step(chosen)
            np.testing.assert_array_equal(asked, np.flatnonzero(compiled.acting[:, 0]))
            compiled.step(chosen)
            np.testing.assert_array_equal(copies.ended, compiled.ended)
            gone = before & (compiled.ended != HERE)
            np.testing.assert_array_equal(copies.rewards[gone], compiled.rewards[gone])
            np.testing.assert_array_equal(copies.observations[gone], compiled.observations[gone])
        assert copies.renew() == 1


def test_a_world_of_turns_made_parallel_pays_the_same():
    """PettingZoo's conversion lets all act on what they know as the turn begins; rules and chance are the same."""
    world = treasure_hunt.make(agents=3, size=7, turns=6, spawn=0.1)
    copies, dice = world_of("parallel_hunt").copies(streams(1, 3)), np.random.default_rng(1)
    compiled, total = reference(world, episode_seed(stream(3, 0), 0)), np.zeros(3)
    for _ in range(6):
        assert copies.acting.all()
        np.testing.assert_array_equal(copies.observations[0, 0], compiled.observations[0, 0])
        actions = dice.integers(0, 4, (3, 1)).astype(np.int16)
        copies.step(actions)
        for agent in range(3):
            assert compiled.acting[agent, 0]
            compiled.step(actions)
            if not compiled.over[0]:
                assert compiled.rewards[agent, 0] == copies.rewards[agent, 0]
        total += copies.rewards[:, 0]
    assert (copies.ended == TRUNCATED).all() and total.any()
    np.testing.assert_array_equal(copies.rewards, compiled.rewards)
    np.testing.assert_array_equal(copies.observations, compiled.observations)


def test_a_copy_is_the_same_among_any_others():
    world, dice = world_of("hunt"), np.random.default_rng(0)
    many, alone = world.copies(streams(4, 0)), world.copies(streams(4, 0)[2:3])
    for _ in range(60):
        actions = dice.integers(0, 4, (3, 4)).astype(np.int16)
        many.step(actions)
        alone.step(actions[:, 2:3].copy())
        assert many.renew() == 4 * alone.renew()
        np.testing.assert_array_equal(many.observations[:, 2], alone.observations[:, 0])
        np.testing.assert_array_equal(many.rewards[:, 2], alone.rewards[:, 0])


def test_seeds_of_episodes_are_a_function_of_stream_and_number_alone():
    assert [episode_seed(stream(0, 1), number) for number in range(3)] == [
        episode_seed(stream(0, 1).copy(), number) for number in range(3)
    ]
    drawn = {episode_seed(stream(0, copy), number) for copy in range(20) for number in range(20)}
    assert len(drawn) == 400 and all(0 <= seed < 2**31 for seed in drawn)
    assert [episode_seed(stream(0), number) for number in (0, 7)] == [50017398, 1473387604]  # of today


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"_target_": "tests.worlds.tiny_environments.Spelling"}, "env._target_: got .*, wanted ParallelEnv or"),
        ({"_target_": "tests.worlds.tiny_environments.untold"}, "env._target_: got .*untold.*annotated"),
        ({"_target_": "os.getcwd"}, "env._target_: got 'os.getcwd', wanted ParallelEnv or AECEnv"),
        ({"_target_": "no.such"}, "env._target_: cannot import 'no.such': ModuleNotFoundError"),
        ({"size": 3}, "env: got .*, wanted {_target_: dotted path, and options}"),
        ("text", "env: got 'text', wanted"),
        ({"_target_": "tests.worlds.tiny_environments.Market", "size": 3}, "env: cannot be made: TypeError: .*size"),
    ],
)  # fmt: skip
def test_what_makes_no_environment_is_named(env, said):
    with pytest.raises(InvalidSetting, match=f"^world.{said}"):
        build("world", {"_target_": ADAPTER, "env": env}, AnyWorld)


def test_functions_of_the_usual_names_and_annotated_ones_are_called():
    assert world_of("env", moves=4).name == "passing_v0" and world_of("hunt").agents[0] == "agent_0"


def test_a_space_that_cannot_be_used_is_named_with_its_agent(monkeypatch):
    monkeypatch.setattr(Market, "action_space", lambda self, agent: self.observation_space("buyer"))
    with pytest.raises(InvalidSetting, match=r"^world.env: action space of agent buyer: Dict.*, wanted Discrete"):
        world_of("Market")
    monkeypatch.setattr(Market, "observation_space", lambda self, agent: None)
    with pytest.raises(
        InvalidSetting, match=r"^world.env: observation space of agent buyer: None at the top, wanted Box"
    ):
        world_of("Market")
    monkeypatch.setattr(Market, "possible_agents", ["1", 1])
    with pytest.raises(InvalidSetting, match=r"^world.env: possible_agents are"):
        world_of("Market")
    with pytest.raises(InvalidSetting, match=r"^world.failure: got 'ignore', wanted one of stop, renew"):
        world_of("Market", failure="ignore")


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    with pytest.raises(InvalidConfig, match=r"this world needs pettingzoo, .*pip install 'scoundrel_ray\[worlds\]'"):
        world_of("Market")


def test_a_section_of_somebody_else_imports_no_module_of_theirs(monkeypatch):
    monkeypatch.setattr(handed, "_allowed", set())
    section = {"world": {"_target_": ADAPTER, "env": {"_target_": "tests.worlds.tiny_environments.env"}}}
    with pytest.raises(
        InvalidConfig, match=r"^world.env._target_: got .* from a file, wanted a module that is installed"
    ):
        handed.check_targets("a file", section)


def test_the_files_of_conf_name_adapters():
    section = OmegaConf.to_container(OmegaConf.load(CONF / "pettingzoo.yaml"))
    section["env"] = {"_target_": "tests.worlds.tiny_environments.Market"}
    assert build("world", section, AnyWorld).agents == ("buyer", "seller")
