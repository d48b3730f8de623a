"""Environments that fail or give what nobody can use: one line for each, and episodes that are lost and renewed."""

import threading

import numpy as np
import pytest

from scoundrel_ray.settings.build import build
from scoundrel_ray.streams import stream, streams
from scoundrel_ray.world import HERE, LOST, TERMINATED, TRUNCATED, AnyWorld
from scoundrel_ray.worlds.adapted import WorldFailed, episode_seed
from tests.worlds.broken_environments import Broken, Waiting


def world_of(name, failure="stop", **options):
    env = {"_target_": f"tests.worlds.broken_environments.{name}", **options}
    return build(
        "world", {"_target_": "scoundrel_ray.worlds.from_pettingzoo.make", "env": env, "failure": failure}, AnyWorld
    )


def play(copies, *by_agent):
    copies.step(np.repeat(np.array(by_agent, np.int16)[:, None], copies.rewards.shape[1], axis=1))


BROKEN = [
    ("raises", "RuntimeError: two lines"),
    ("nan reward", "a_1: reward is nan, wanted a finite number of float32"),
    ("infinite reward", "a_1: reward is 1e+39, wanted a finite number of float32"),
    ("no number", "a_1: reward is 'many', wanted a number"),
    ("no reward", "a_1: no reward, wanted one of every agent that acts"),
    ("float nan", "a_1: observation 'observation' holds nan, wanted finite numbers"),
    ("float infinity", "a_1: observation 'observation' holds -inf, wanted finite numbers"),
    ("dtype", "a_1: observation 'observation' is float32, wanted whole numbers"),
    ("text", "a_1: observation 'observation' is <U1, wanted whole numbers"),
    ("shape", "a_1: observation 'observation' has shape [2], wanted [1]"),
    ("bounds", "a_1: observation 'observation' holds 11, wanted 0 to 10"),
    ("no observation", "a_1: no observation, wanted one of every agent that acts"),
    ("mask", "a_1: a mask that allows no action, wanted at least one"),
    ("long mask", "a_1: a mask of 3 actions, wanted 2"),
    ("appears", "a_2: appears in mid-episode, wanted it there from the beginning to its one end"),
    ("leaves", "a_1: left without termination or truncation, wanted one of them"),
    ("unseen end", "a_1: truncated without an observation, wanted its last one"),
]


@pytest.mark.parametrize(("how", "said"), BROKEN, ids=[how for how, _ in BROKEN])
def test_whatever_cannot_be_used_stops_with_one_line(how, said):
    copies = world_of("Broken", how=how).copies(streams(2, 0))
    play(copies, 1, 1, 1)
    with pytest.raises(WorldFailed) as failed:
        play(copies, 1, 1, 1)
    assert str(failed.value) == f"broken_v0: copy 0, seed {episode_seed(stream(0, 0), 0)}, step 2: {said}"
    assert copies.under_way() is None
    copies.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Growing", "agent_3: appears in mid-episode, wanted it there from the beginning to its one end"),
        ("Vanishing", "agent_0: left without termination or truncation, wanted one of them"),
    ],
)
def test_agents_in_turn_that_come_and_go_as_they_like_stop_with_one_line(name, said):
    copies = world_of(name).copies(streams(1, 0))
    play(copies, *[0] * len(copies.rewards))
    with pytest.raises(WorldFailed, match=f"step 2: {said}$"):
        play(copies, *[0] * len(copies.rewards))


def test_an_agent_that_comes_back_stops_with_one_line():
    copies = world_of("Broken", how="comes back", at=-1).copies(streams(1, 0))
    play(copies, 0, 0, 0)
    play(copies, 0, 0, 0)
    assert copies.ended[:2, 0].tolist() == [HERE, TRUNCATED]
    with pytest.raises(WorldFailed, match="step 3: a_1: appears in mid-episode"):
        play(copies, 0, 0, 0)


def test_an_agent_that_is_not_there_as_the_episode_begins_has_ended():
    copies = world_of("Broken", how="").copies(streams(1, 0))
    assert copies.ended[:, 0].tolist() == [HERE, HERE, TERMINATED] and copies.acting[:, 0].tolist() == [
        True,
        True,
        False,
    ]
    for _ in range(4):
        play(copies, 0, 1, 77)
    assert copies.ended[:, 0].tolist() == [TRUNCATED, TRUNCATED, TERMINATED] and copies.over.all()


@pytest.mark.parametrize(
    ("how", "at", "said"),
    [("raises", 0, "RuntimeError: two lines"), ("mask", 0, "a_1: a mask that allows"), ("bounds", 0, "a_1: obs"),
     ("nobody", -1, "nobody is there as the episode begins, wanted at least one agent"),
     ("unknown", -1, "a_7: is none of possible_agents, wanted a_0, a_1, a_2")],
)  # fmt: skip
def test_an_episode_that_cannot_begin_stops_with_one_line(how, at, said):
    with pytest.raises(WorldFailed) as failed:
        world_of("Broken", how=how, at=at).copies(streams(2, 0))
    assert str(failed.value).startswith(f"broken_v0: copy 0, seed {episode_seed(stream(0, 0), 0)}, step 0: {said}")


@pytest.mark.parametrize("at", [0, 2])
def test_with_renew_an_environment_that_fails_loses_its_episode_alone(at):
    """Episodes of an odd seed fail at step `at`, those of an even one are cut off at step 4."""
    closed, noted = Broken.closed, []
    seeds = [iter([episode_seed(stream(0, copy), number) for number in range(99)]) for copy in range(4)]

    def failed(copy, seed):
        noted.append(f"broken_v0: copy {copy}, seed {seed}, step {at}: RuntimeError: two lines")

    def begin(copy):
        for seed in seeds[copy]:
            if at or seed % 2 == 0:
                return seed
            failed(copy, seed)
        raise AssertionError

    now, step = [begin(copy) for copy in range(4)], [0] * 4
    copies = world_of("Broken", failure="renew", how="raises", at=at, odd=True).copies(streams(4, 0))
    for _ in range(40):
        play(copies, 1, 0, 77)
        step = [each + 1 for each in step]
        lost = [step[copy] == at and now[copy] % 2 == 1 for copy in range(4)]
        for copy in range(4):
            if lost[copy]:
                failed(copy, now[copy])
            how = LOST if lost[copy] else TRUNCATED if step[copy] == 4 else HERE
            assert copies.ended[:, copy].tolist() == [how, how, TERMINATED]
            assert copies.acting[:, copy].tolist() == [how == HERE, how == HERE, False]
            if not lost[copy]:
                assert copies.observations[:2, copy].tolist() == [[step[copy]]] * 2
                assert copies.rewards[:2, copy].tolist() == [1, 1]
        over = copies.over.copy()
        assert copies.renew() == over.sum() and not copies.over.any()
        for copy in np.flatnonzero(over):
            now[copy], step[copy] = begin(copy), 0
            assert not copies.observations[:, copy].any() and not copies.rewards[:, copy].any()
        assert copies.failures == noted
    assert len(noted) > 10 and Broken.closed - closed == len(noted) + 1  # and that which was made to look at
    copies.close()
    assert Broken.closed - closed == len(noted) + 5


def test_lost_episodes_in_a_row_stop_everything():
    copies = world_of("Broken", failure="renew", how="float nan", at=1).copies(streams(12, 0))
    for lost in range(1, 10):
        play(copies, 0, 0, 77)
        assert (copies.ended[:2] == LOST).all() and len(copies.failures) == min(12 * lost, 100)
        assert copies.renew() == 12 and not copies.ended[:2].any()
    with pytest.raises(
        WorldFailed, match=r"copy 0, .*, step 1: a_1: .* holds nan.* \(the 10th lost episode in a row\)$"
    ):
        play(copies, 0, 0, 77)
    with pytest.raises(WorldFailed, match=r"step 0: .*the 10th lost episode in a row"):
        world_of("Broken", failure="renew", how="raises", at=0).copies(streams(2, 0))


def test_a_call_that_does_not_come_back_can_be_named():
    copies = world_of("Waiting").copies(streams(2, 0))
    assert copies.under_way() is None
    play(copies, 0, 0, 77)
    stepping = threading.Thread(target=play, args=(copies, 0, 0, 77))
    stepping.start()
    try:
        assert Waiting.entered.wait(60)
        call = copies.under_way()
        assert call[:3] == (0, episode_seed(stream(0, 0), 0), 2) and call.seconds >= 0
    finally:
        Waiting.go_on.set()
        stepping.join()
    assert copies.under_way() is None
