"""Environments of Gymnasium as worlds of one agent: beside stepping them by hand, alone and in vectors."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from omegaconf import OmegaConf

from scoundrel_ray.settings import handed
from scoundrel_ray.settings.build import build, check_members
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting
from scoundrel_ray.streams import stream, streams
from scoundrel_ray.world import HERE, LOST, TERMINATED, TRUNCATED, AnyCopies, AnyWorld, IllegalActions
from scoundrel_ray.worlds.adapted import WorldFailed, episode_seed

ADAPTER = "scoundrel_ray.worlds.from_gymnasium.make"
TINY = "tests.worlds.tiny_environments"
CONF = Path(__file__).parents[2] / "conf" / "world"


def world_of(**section):
    return build("world", {"_target_": ADAPTER, **section}, AnyWorld)


def own(name, failure="stop", vector=False, **options):
    return world_of(id=None, env={"_target_": f"{TINY}.{name}", **options}, failure=failure, vector=vector)


@pytest.mark.parametrize("vector", [False, True])
def test_cart_pole_is_that_of_stepping_it_by_hand(vector):
    """Rewards, ends and last observations exact, over episodes that fall and episodes that are cut off."""
    world = world_of(id="CartPole-v1", options={"max_episode_steps": 25}, vector=vector)
    copies, dice = world.copies(streams(5, 1)), np.random.default_rng(2)
    check_members("copies", copies, AnyCopies)
    envs = [gymnasium.make("CartPole-v1", max_episode_steps=25) for _ in range(5)]
    episodes, ends = [0] * 5, []
    for copy, env in enumerate(envs):
        observation, _ = env.reset(seed=episode_seed(stream(1, copy), 0))
        np.testing.assert_array_equal(copies.observations[0, copy], observation)
    for _ in range(150):
        assert copies.acting.all()
        actions = dice.integers(0, 2, (1, 5)).astype(np.int16)
        copies.step(actions)
        for copy, env in enumerate(envs):
            observation, reward, terminated, truncated, _ = env.step(int(actions[0, copy]))
            np.testing.assert_array_equal(copies.observations[0, copy], observation)
            assert copies.rewards[0, copy] == reward
            how = TERMINATED if terminated else TRUNCATED if truncated else HERE
            assert copies.ended[0, copy] == how and copies.acting[0, copy] == (how == HERE)
        over = np.flatnonzero(copies.ended[0] != HERE)
        ends += copies.ended[0, over].tolist()
        held = copies.observations.copy()
        assert copies.over.nonzero()[0].tolist() == over.tolist() and copies.renew() == len(over)
        assert copies.acting.all() and not copies.ended.any()
        for copy in over:
            episodes[copy] += 1
            held[0, copy], _ = envs[copy].reset(seed=episode_seed(stream(1, copy), episodes[copy]))
            assert copies.rewards[0, copy] == 0
        np.testing.assert_array_equal(copies.observations, held)
    assert {TERMINATED, TRUNCATED} == set(ends) and len(ends) > 20
    assert copies.under_way() is None and copies.failures == []
    copies.close()


def test_alone_and_in_a_vector_are_the_same():
    """Also where the mask of actions stands in the info, and a category is too large for a small integer: Taxi."""
    taxi, options = max(each for each in gymnasium.registry if each.startswith("Taxi-v")), {"max_episode_steps": 30}
    single, vector = (world_of(id=taxi, options=options, vector=vector) for vector in (False, True))
    assert single.specs[0].as_dict() == vector.specs[0].as_dict() and single.specs[0].observation_size == 500
    one, other, dice = single.copies(streams(3, 4)), vector.copies(streams(3, 4)), np.random.default_rng(0)
    forbidden = 0
    for _ in range(100):
        for name in ("observations", "masks", "rewards", "ended", "acting"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert (one.observations.sum(axis=2) == 1).all()
        forbidden += (one.masks == 0).sum()
        actions = np.array([[dice.choice(np.flatnonzero(mask)) for mask in one.masks[0]]], np.int16)
        one.step(actions)
        other.step(actions)
        np.testing.assert_array_equal(one.ended, other.ended)
        np.testing.assert_array_equal(one.observations, other.observations)
        assert one.renew() == other.renew()
    assert forbidden
    wrong = np.argmin(one.masks[0], axis=1)[None].astype(np.int16)
    copy = int(np.argmin(one.masks[0][np.arange(3), wrong[0]]))
    for copies in (one, other):
        with pytest.raises(IllegalActions, match=rf"^{taxi}: not allowed in copy {copy}: agent {wrong[0, copy]}$"):
            copies.step(wrong)
        with pytest.raises(ValueError, match=r"actions are int64 \[1, 3\], wanted int16 \[1, 3\]"):
            copies.step(wrong.astype(np.int64))


@pytest.mark.parametrize("tuple_mask", [False, True])
def test_an_environment_of_ones_own_with_masks_and_pairs_of_actions(tuple_mask):
    world = own("Spelling", length=3, tuple_mask=tuple_mask)
    (spec,) = world.specs
    assert [(field.name, field.low, field.high) for field in spec.observation] == [("left", -1, 9), ("next", 0, 5)]
    assert world.agents == ("agent",) and spec.actions == 6 and spec.dtype == "int8"
    copies, ends = world.copies(streams(2, 0)), set()
    for step in range(40):
        wanted = copies.observations[0, :, 1]
        letters = np.array(
            [[[1, 1, 1, 1, 1, each == 5], [1, each % 3 == 1, 1] * 2][tuple_mask] for each in wanted], np.int8
        )
        np.testing.assert_array_equal(copies.masks[0], letters)
        right = copies.masks[0][np.arange(2), wanted].astype(bool) & (step % 5 != 4)
        actions = np.where(right, wanted, (wanted + 3) % 6)
        actions = np.where(copies.masks[0][np.arange(2), actions] == 1, actions, 0)
        right = actions == wanted
        copies.step(actions[None].astype(np.int16))
        assert copies.rewards[0].tolist() == np.where(right, 1, -0.25).tolist()
        assert ((copies.ended[0] == TERMINATED) == ~right).all()
        assert ((copies.ended[0] == TRUNCATED) == (right & (copies.observations[0, :, 0] == 0))).all()
        ends |= set(copies.ended[0].tolist())
        copies.renew()
    assert ends == {HERE, TERMINATED, TRUNCATED}


def test_a_vector_environment_of_ones_own():
    """Its copies count to limits that their seeds draw; each is begun again alone."""
    world = own("Odometers", vector=True, most=6)
    assert [field.name for field in world.specs[0].observation] == ["count", "limit"]
    copies, numbers = world.copies(streams(4, 7)), [0] * 4

    def limit(copy):
        seed = episode_seed(stream(7, copy), numbers[copy])
        return int(np.random.default_rng(seed).integers(2, 7))

    limits, counts, ends = [limit(copy) for copy in range(4)], [0] * 4, set()
    for step in range(30):
        assert copies.observations[0].tolist() == [list(each) for each in zip(counts, limits, strict=True)]
        assert copies.masks[0].tolist() == [[1, count % 2 if count % 3 else 1] for count in counts]
        actions = np.array([[(count % 2) * (step % 3 == 0) for count in counts]], np.int16)
        copies.step(actions)
        counts = [count + 1 + int(action) for count, action in zip(counts, actions[0], strict=True)]
        assert (
            copies.observations[0, :, 0].tolist() == counts and copies.rewards[0].tolist() == (actions[0] + 1).tolist()
        )
        how = [HERE if c < m else TRUNCATED if c == m else TERMINATED for c, m in zip(counts, limits, strict=True)]
        assert copies.ended[0].tolist() == how
        ends |= set(how)
        if any(how) and not all(how):
            with pytest.raises(
                ValueError, match=rf"Odometers: copy {how.index(max(how))} is over, wanted renew|is over"
            ):
                copies.step(actions)
        assert copies.renew() == sum(each != HERE for each in how)
        for copy in range(4):
            if how[copy] != HERE:
                numbers[copy] += 1
                limits[copy], counts[copy] = limit(copy), 0
    assert ends == {HERE, TERMINATED, TRUNCATED}


def test_a_vector_environment_that_fails_loses_all_episodes():
    stopped = own("Odometers", vector=True, breaks_at=2, how="nan").copies(streams(3, 7))
    zeros = np.zeros((1, 3), np.int16)
    stopped.step(zeros)
    seed = episode_seed(stream(7, 1), 0)
    line = f"{TINY}.Odometers: copy 1, seed {seed}, step 2: reward is nan, wanted a finite number of float32"
    with pytest.raises(WorldFailed) as failed:
        stopped.step(zeros)
    assert str(failed.value) == line
    copies = own("Odometers", "renew", vector=True, breaks_at=2).copies(streams(3, 7))
    copies.step(zeros)
    copies.step(zeros)
    assert (copies.ended == LOST).all() and not copies.acting.any() and copies.over.all()
    assert len(copies.failures) == 1 and copies.failures[0].endswith("RuntimeError: out of order")
    copies.step(zeros)  # all are over: nothing happens
    assert copies.renew() == 3 and copies.acting.all()
    limits = [int(np.random.default_rng(episode_seed(stream(7, copy), 1)).integers(2, 10)) for copy in range(3)]
    assert copies.observations[0].tolist() == [[0, limit] for limit in limits]
    never = own("Odometers", "renew", vector=True, breaks_at=1).copies(streams(3, 7))
    with pytest.raises(WorldFailed, match=r"out of order \(the 10th lost episode in a row\)$"):
        for _ in range(10):
            never.step(zeros)
            never.renew()


def test_a_vector_environment_that_cannot_begin_again_is_made_afresh():
    """It fails whenever some of its copies are to begin again: all do then, and the others' episodes are lost."""
    copies, zeros = own("Odometers", "renew", vector=True, how="raises when reset").copies(streams(4, 7)), None
    for _ in range(200):
        zeros = np.zeros((1, 4), np.int16)
        copies.step(zeros)
        over, before = copies.over.copy(), len(copies.failures)
        failed = over.any() and not over.all()
        assert copies.renew() == (4 if failed else over.sum()) and len(copies.failures) == before + failed
        assert copies.acting.all() and not copies.ended.any()
        if failed:
            assert not copies.observations[0, :, 0].any()
    assert len(copies.failures) > 12 and all(line.endswith("RuntimeError: stuck") for line in copies.failures)
    wrong = own("Odometers", vector=True, how="wrong when reset").copies(streams(4, 3))
    while not wrong.over.any():
        wrong.step(zeros)
    first = int(np.argmax(wrong.over))
    seed = episode_seed(stream(3, first), 1)
    assert first == 2
    with pytest.raises(
        WorldFailed, match=rf"copy {first}, seed {seed}, step 0: observation 'count' holds 99, wanted 0"
    ):
        wrong.renew()


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP", None])
def test_a_vector_environment_that_begins_episodes_by_itself_is_refused(mode):
    with pytest.raises(InvalidSetting, match=r"^world.env: a vector environment of autoreset mode .*, wanted DISABLED"):
        own("Odometers", vector=True, mode=mode)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"id": None}, "id: got None and env None, wanted one of them"),
        ({"id": "CartPole-v1", "env": {"_target_": f"{TINY}.Spelling"}}, "id: got 'CartPole-v1' and env"),
        ({"id": "NoSuch-v0"}, "id: cannot be made: NameNotFound"),
        ({"id": 3}, "id: got 3, wanted the text"),
        ({"id": "NoSuch-v0", "vector": True}, "id: cannot be made: "),
        ({"id": "CartPole-v1", "options": {"size": 3}}, "id: cannot be made: TypeError"),
        ({"id": "Pendulum-v1"}, "id: action space of agent agent: Box.*, wanted Discrete"),
        ({"id": "CartPole-v1", "vector": 1}, "vector: got 1, wanted true or false"),
        ({"id": "CartPole-v1", "failure": "no"}, "failure: got 'no'"),
        ({"id": None, "env": {"_target_": f"{TINY}.Continuous"}}, "env: action space of agent agent: Box"),
        ({"id": None, "env": {"_target_": f"{TINY}.Market"}}, r"env._target_: got .*Market', wanted Env, or"),
        (
            {"id": None, "env": {"_target_": f"{TINY}.Spelling"}, "vector": True},
            r"env._target_: got .*, wanted VectorEnv, or",
        ),
        ({"id": None, "env": {"_target_": f"{TINY}.Spelling"}, "options": {"a": 1}}, "options: got some beside env"),
    ],
)
def test_what_makes_no_world_is_named(section, said):
    with pytest.raises(InvalidSetting, match=f"^world.{said}"):
        world_of(**section)


def test_an_id_imports_installed_packages_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(handed, "_allowed", set())
    (tmp_path / "evil_ids.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for vector in (False, True):
        with pytest.raises(InvalidSetting, match=r"^world.id: got 'evil_ids:CartPole-v1', wanted an installed package"):
            world_of(id="evil_ids:CartPole-v1", vector=vector)
        assert world_of(id="gymnasium:CartPole-v1", vector=vector).name == "gymnasium_CartPole-v1"
    assert "evil_ids" not in sys.modules


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(InvalidConfig, match=r"this world needs gymnasium, .*pip install 'scoundrel_ray\[worlds\]'"):
        world_of(id="CartPole-v1")


def test_a_worker_that_steps_environments_loads_no_torch():
    lines = """
import sys
from scoundrel_ray.worlds import from_gymnasium, from_pettingzoo, to_pettingzoo
from scoundrel_ray.streams import streams
import numpy as np
copies = from_gymnasium.make(id="CartPole-v1").copies(streams(2, 0))
copies.step(np.zeros((1, 2), np.int16))
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", lines], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_a_picture_is_that_of_the_environment():
    copies = own("Spelling").copies(streams(1, 0))
    assert copies.picture() is None
    world = world_of(id="FrozenLake-v1")
    assert world.copies(streams(1, 0)).picture() is None and world.specs[0].dtype == "int8"


def test_the_files_of_conf_make_a_world():
    section = OmegaConf.to_container(OmegaConf.load(CONF / "gymnasium.yaml"))
    assert build("world", section, AnyWorld).name == "CartPole-v1"
