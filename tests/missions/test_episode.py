"""Episodes of missions: the same alone as beside others, and what they are by hand."""

import gymnasium
import numpy as np
import pytest

from scoundrel_ray.missions import drivers, episode
from scoundrel_ray.missions.episode import MISSION, POLICY, play
from scoundrel_ray.missions.mission import Mission, MissionConfig, seating
from scoundrel_ray.missions.policy import BatchOf, OwnPolicies, PolicyFailed
from scoundrel_ray.missions.wrappers import InBatch
from scoundrel_ray.spec import TERMINATED
from scoundrel_ray.streams import stream
from tests.missions import own_policies

SMALL = {"_target_": "scoundrel_ray.worlds.treasure_hunt.make", "agents": 3, "size": 9, "turns": 8}
TINY = "tests.worlds.tiny_environments"
ZOO = {"_target_": "scoundrel_ray.worlds.from_pettingzoo.make"}
GYM = {"_target_": "scoundrel_ray.worlds.from_gymnasium.make"}
CARTPOLE = "scoundrel_ray.worlds.cartpole"
GAME = {"_target_": "scoundrel_ray.missions.game_world.make"}
WORLDS = {
    "hunt": SMALL,
    "tag": {"_target_": "scoundrel_ray.worlds.tag.make", "turns": 8, "caught": "leave"},
    "market": {**ZOO, "env": {"_target_": f"{TINY}.Market"}},
    "passing": {**ZOO, "env": {"_target_": f"{TINY}.Passing"}},
    "pole": {**GYM, "id": "CartPole-v1"},
    "poles": {**GYM, "id": "CartPole-v1", "vector": True},
    "seeded": {**GYM, "id": None, "env": {"_target_": f"{CARTPOLE}.SeededCartPole"}, "vector": True},
    "scoundrel": {**GAME, "game": {"_target_": "scoundrel_ray.games.scoundrel.make"}},
    "blob": {**GAME, "game": {"_target_": "scoundrel_ray.games.blob.make"}},
    "four": {**GAME, "game": {"_target_": "scoundrel_ray.games.connect_four.make"}, "opening": 2},
}


def mission_of(name, steps=0):
    return Mission(name, MissionConfig(WORLDS[name], steps))


def outcomes(mission, team, episodes, seed=7, shares=None, wrap=InBatch):
    shares = shares or [1.0] * len(team)
    seats = {episode: seating(shares, len(mission.world.agents), seed, mission.name, episode) for episode in episodes}
    return play(mission, [wrap(driver) for driver in team], seats, seed)


def plain(outcome):
    return [each.tolist() if isinstance(each, np.ndarray) else each for each in outcome]


@pytest.mark.parametrize("name", WORLDS)
def test_an_episode_is_the_same_alone_and_beside_any_others(name):
    mission = mission_of(name)
    team = [drivers.random(mission), OwnPolicies(own_policies.Remembers)]
    together = {each.episode: plain(each) for each in outcomes(mission, team, range(6))}
    assert all(each[-1] is None and each[5] > 0 for each in together.values())
    assert len({each[6] for each in together.values()}) == 6, "hashes tell episodes apart"
    for episodes in ([3], [5, 0], [4, 2, 1]):
        for each in outcomes(mission, team, episodes):
            assert plain(each) == together[each.episode]


@pytest.mark.parametrize("name", ["hunt", "tag", "pole"])
def test_policies_in_batches_are_alone_what_they_are_together(name):
    mission = mission_of(name)
    team = [BatchOf(own_policies.Rows(None))]
    if name != "pole":
        team.append(drivers.rule(mission))
    together = {each.episode: plain(each) for each in outcomes(mission, team, range(5))}
    for number in range(5):
        (alone,) = outcomes(mission, team, [number])
        assert plain(alone) == together[number]


def test_another_seed_episode_or_policy_is_another_hash():
    mission = mission_of("hunt")
    base = [each.hash for each in outcomes(mission, [drivers.random(mission)], range(3))]
    assert [each.hash for each in outcomes(mission, [drivers.random(mission)], range(3))] == base
    assert outcomes(mission, [drivers.random(mission)], [0], seed=8)[0].hash not in base
    assert outcomes(mission, [drivers.rule(mission)], [0])[0].hash not in base


def test_what_one_policy_draws_moves_nobody_else():
    """An agent's draws do not depend on who acts for the others, as long as the world does not tell."""
    mission = mission_of("hunt")

    class Draws:
        drawn = {}  # noqa: RUF012

        def __init__(self, body):
            self.body, self.dice = body, body.rng

        def act(self, observation, mask):
            self.drawn.setdefault((self.body.episode, self.body.agent), []).append(int(self.dice.integers(1000)))
            return int(np.flatnonzero(mask)[0])

    found = []
    for other in (drivers.random(mission), drivers.rule(mission)):
        Draws.drawn = {}
        outcomes(mission, [OwnPolicies(Draws), other], range(4))
        found.append(Draws.drawn)
    assert found[0] == found[1] and len(found[0]) >= 4


@pytest.mark.parametrize("name", ["pole", "poles", "seeded"])
def test_episodes_are_those_of_stepping_the_environment_by_hand(name):
    mission = mission_of(name)
    for outcome in outcomes(mission, [OwnPolicies(own_policies.Remembers)], [0, 4, 9], seed=100):
        env, total, steps, over = gymnasium.make("CartPole-v1"), 0.0, 0, False
        observation, _ = env.reset(seed=100 + outcome.episode)
        body = mission.body(100, outcome.episode, 0)
        policy = own_policies.Remembers(body)
        while not over:
            observation, reward, terminated, truncated, _ = env.step(policy.act(observation, np.ones(2, bool)))
            total, steps, over = total + float(reward), steps + 1, terminated or truncated
        assert outcome.returns.tolist() == [total] and outcome.lengths.tolist() == [steps] and outcome.steps == steps
        assert outcome.ends == ["terminated"]


def test_a_worlds_episodes_are_those_of_stepping_its_copies():
    mission, seed = mission_of("hunt"), 3
    (outcome,) = outcomes(mission, [OwnPolicies(own_policies.Remembers)], [5], seed=seed)
    copies = mission.world.copies(stream(seed + 5)[None])
    policies = [own_policies.Remembers(mission.body(seed, 5, agent)) for agent in range(3)]
    returns, lengths, done = np.zeros(3), np.zeros(3, int), np.zeros(3, bool)
    while not copies.over[0]:
        actions = np.zeros((3, 1), np.int16)
        for agent in np.flatnonzero(copies.acting[:, 0]):
            returns[agent] += copies.rewards[agent, 0]
            lengths[agent] += 1
            actions[agent, 0] = policies[agent].act(copies.observations[agent, 0], copies.masks[agent, 0] != 0)
        copies.step(actions)
        for agent in np.flatnonzero(copies.ended[:, 0] & ~done):
            returns[agent] += copies.rewards[agent, 0]
            done[agent] = True
    assert outcome.returns.tolist() == returns.tolist() and outcome.lengths.tolist() == lengths.tolist()


def test_scores_of_a_game_are_the_returns_of_its_seats():
    mission = mission_of("blob")
    for outcome in outcomes(mission, [drivers.rule(mission)], range(6)):
        present = outcome.policies >= 0
        assert present.sum() >= 2 and set(np.array(outcome.ends)[present]) == {"terminated"}
        assert (outcome.returns[~present] == 0).all() and not outcome.lengths[~present].any()
    copies = mission.world.copies(np.stack([stream(1)]))
    while not copies.over[0]:
        copies.step(copies.masks.argmax(axis=2).astype(np.int16))
    game = mission.world.game
    seats = game.players(copies.states[0])
    assert copies.rewards[:seats, 0].tolist() == game.scores(copies.states[0])[:seats].tolist()
    assert (copies.ended[:, 0] == TERMINATED).all()


def test_an_episode_is_cut_off_after_the_missions_steps():
    whole, cut = (mission_of("hunt", steps) for steps in (0, 10))
    (outcome,) = outcomes(cut, [drivers.random(cut)], [0])
    assert outcome.steps == 10 and outcome.ends == ["cut"] * 3 and outcome.lengths.sum() == 10
    (beside,) = outcomes(whole, [drivers.random(whole)], [0])
    assert beside.steps == 24 and (beside.lengths == 8).all()
    poles = mission_of("poles", 12)
    found = outcomes(poles, [drivers.random(poles)], range(20))
    assert {each.steps for each in found if each.ends == ["cut"]} == {12}
    assert all(each.steps <= 12 for each in found) and any(each.ends == ["terminated"] for each in found)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("raises", "RuntimeError: no idea"),
        ("exits", "SystemExit: 0"),
        ("true", "gave True of bool, wanted the number of an action"),
        ("one", "gave 1.0 of float, wanted the number of an action"),
        ("none", "gave None of NoneType"),
        ("text", "gave '1' of str"),
        ("low", "gave action -1, wanted 0 to "),
        ("high", "wanted 0 to "),
        ("writes", "ValueError: assignment destination is read-only"),
    ],
)
@pytest.mark.parametrize("name", ["hunt", "market", "four"])
def test_a_policy_that_fails_loses_its_own_episode_alone(name, what, message):
    mission = mission_of(name)
    good = outcomes(mission, [OwnPolicies(lambda body: own_policies.Bad(body, ""))], range(4))
    step = 2 if name == "market" else 3
    found = outcomes(mission, [OwnPolicies(lambda body: own_policies.Bad(body, what, step=step))], range(4))
    assert [plain(each) for each in found if each.episode != 2] == [plain(each) for each in good if each.episode != 2]
    failure = found[2].failure
    assert failure.kind == POLICY and message in failure.message and failure.agent == mission.world.agents[0]
    assert "\n" not in failure.message and 0 < failure.step <= good[2].steps


def test_a_policy_that_cannot_be_built_loses_its_own_episode_alone():
    mission = mission_of("hunt")
    found = outcomes(mission, [OwnPolicies(lambda body: own_policies.Bad(body, "build"))], range(4))
    assert [each.failure is None for each in found] == [True, True, False, True]
    assert found[2].failure.message == "cannot be built: ValueError: not today" and found[2].failure.step == 0


def test_masked_actions_and_numbers_of_numpy_are_told_apart():
    mission = mission_of("tag")

    class Masked:
        def __init__(self, body):
            self.body = body

        def act(self, observation, mask):
            return int(np.flatnonzero(~mask)[0]) if not mask.all() else 0

    (found,) = outcomes(mission, [OwnPolicies(Masked)], [0])
    assert found.failure.message.endswith("which is masked")
    found = outcomes(mission, [OwnPolicies(lambda body: own_policies.Bad(body, "numpy"))], range(4))
    assert all(each.failure is None for each in found)


@pytest.mark.parametrize(
    ("what", "message"), [("short", "act_batch gave [5], wanted an array [6]"), ("list", "act_batch gave [")]
)
def test_a_batch_of_the_wrong_form_fails_as_a_whole(what, message):
    mission = mission_of("pole")
    with pytest.raises(PolicyFailed) as raised:
        outcomes(mission, [BatchOf(own_policies.ShortRows(None, what))], range(6))
    assert message in str(raised.value) and not raised.value.rows
    (alone,) = outcomes(mission, [BatchOf(own_policies.ShortRows(None, what))], [0])
    assert alone.failure.kind == POLICY and "act_batch gave" in alone.failure.message


@pytest.mark.parametrize("what", ["real", "bool"])
def test_a_batch_of_the_wrong_numbers_fails_row_by_row(what):
    mission = mission_of("pole")
    found = outcomes(mission, [BatchOf(own_policies.ShortRows(None, what))], range(3))
    assert all("wanted the number of an action" in each.failure.message for each in found)


def test_an_environment_that_fails_loses_its_own_episode_alone():
    section = {**GYM, "id": None, "env": {"_target_": "tests.missions.own_environments.Fails", "seed": 9}}
    mission = Mission("fails", MissionConfig(section))
    found = outcomes(mission, [drivers.random(mission)], range(4), seed=7)
    assert [each.failure is None for each in found] == [True, True, False, True]
    assert found[2].failure.kind == MISSION and "seed 9, step 2: ZeroDivisionError" in found[2].failure.message
    assert found[2].failure.step == 2


def test_a_hash_is_of_every_byte():
    """Beside the formula in whole numbers of Python."""
    dice = np.random.default_rng(1)
    for size in (1, 7, 8, 9, 24, 31):
        rows = dice.integers(0, 256, (3, size), np.uint8)
        hashes, places = np.array([5, 6, 7, 8], np.uint64), np.array([2, 0, 3])
        episode._fold(hashes, rows, places, np.uint64(9))
        for row, place, start in zip(rows.tolist(), (2, 0, 3), (7, 5, 8), strict=True):
            value = (start ^ 9) * 0x100000001B3 % 2**64
            for at in range(0, size - size % 8, 8):
                value = (value ^ int.from_bytes(bytes(row[at : at + 8]), "little")) * 0x100000001B3 % 2**64
                value ^= value >> 32
            for byte in row[size - size % 8 :]:
                value = (value ^ byte) * 0x100000001B3 % 2**64
            assert hashes[place] == value ^ (value >> 32)
        assert hashes[1] == 6
    base = np.zeros((1, 31), np.uint8)
    seen = set()
    for at in range(31):
        for bit in range(8):
            changed, hashes = base.copy(), np.array([5], np.uint64)
            changed[0, at] = 1 << bit
            episode._fold(hashes, changed, np.array([0]), np.uint64(1))
            seen.add(int(hashes[0]))
    assert len(seen) == 31 * 8


def test_cartpole_with_seeds_of_its_own_comes_to_the_very_bytes_of_cartpole():
    one, seeded = mission_of("pole"), Mission("pole", MissionConfig(WORLDS["seeded"]))
    for seed in (0, 9):
        ours, theirs = (outcomes(each, [drivers.random(each)], range(40), seed=seed) for each in (seeded, one))
        assert [plain(each) for each in ours] == [plain(each) for each in theirs]
