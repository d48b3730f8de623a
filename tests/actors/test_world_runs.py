"""Runs of worlds from end to end on a local Ray: every agent learns, what is counted agrees, and a run goes on."""

import contextlib
import shutil

import numpy as np
import pytest
from PIL import Image

from actors.checking import check_run
from actors.episodes import ANIMATIONS
from actors.supervisor import Supervisor
from actors.training import Training
from scoundrel_ray.experience.rows import counted
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import METRICS, RunDirectory, newest_checkpoint, start_weights, trained_weights
from scoundrel_ray.runs.metrics import read
from scoundrel_ray.runs.plan import source_of
from tests.actors.badges import STEPS
from tests.actors.test_training import tick_until
from tests.conftest import small_world_config, small_world_member, small_world_settings
from tests.runs.test_checkpoint import assert_same

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

FOUR = ["agent_0", "agent_1", "agent_2", "agent_3"]
WORLD = {"agents": 4}
ONE_PROCESS = {"cluster": {"learner_groups": "one"}, "replay": {"place": "learner"}}
PPO = {
    "learner": small_world_member("learner", "ppo"),
    "network": small_world_member("network", "actor_critic"),
    "replay": small_world_member("replay", "fragments"),
    "publish_steps": 1,
}
"""An agent of its own in a run of others."""
MARKET = {
    "_target_": "scoundrel_ray.worlds.from_pettingzoo.make",
    "env": {"_target_": "tests.worlds.tiny_environments.Market"},
}


def run_until(path, done, names=("treasure_hunt", "iqn"), restored=None, **changes):
    """A whole run, to the moment at which `done(supervisor, reports)` holds."""
    config = small_world_config(*names, **changes)
    source = source_of(config)
    check_run(config, source)
    directory = RunDirectory(path) if restored else RunDirectory.new(path, small_world_settings(*names, **changes))
    with contextlib.closing(directory):
        training, told = Training(config, source, directory, restored), {}

        def look(report):
            told.update({name: value for name, value in (report or {}).items() if value is not None})
            if done(training.supervisor, told):
                training.stop()

        training.run(look)
    assert training.stopped, "the run came to its end before what was waited for"
    return training


def agents_of(supervisor):
    return supervisor.status()["agents"]


def saved_of(path):
    return checkpoint.load_run(newest_checkpoint(path))


def reported(path):
    """Newest of every metric that was reported."""
    return {name: value for line in read(path / METRICS) for name, value in line.items() if value is not None}


def assert_learned(path, specs, agents):
    for name in agents:
        start, trained = (read_(path, specs[name], name) for read_ in (start_weights, trained_weights))
        assert trained.version > 0
        assert any(not np.array_equal(start.arrays[key], trained.arrays[key]) for key in start.arrays), name


def assert_counts_agree(saved, held):
    """What a checkpoint counts: rows that workers gave, those that were inserted, and steps that were taken.

    Args:
        saved: content of a checkpoint.
        held: own steps that the recorders of all copies may hold of an agent.
    """
    rows = 0
    for name, own in saved["agents"].items():
        replay, counters = own.get("replay"), own["counters"]
        taken = saved["counters"]["own_steps"][name]
        assert taken > 0
        if replay is None:
            continue
        rows += counters["rows_given"]
        assert replay["inserted"] == counters["rows_given"] and counters["lost_rows"] == 0
        assert 0 <= taken - counters["rows_given"] <= held, (name, taken, counters)
        assert replay["sampled"] == own["learner"]["samples"] + counters["lost_samples"] or "dropped" not in replay
        if "dropped" in replay:
            assert replay["inserted"] == replay["sampled"] + replay["dropped"] + counted(replay["rows"])
    assert rows == saved["counters"]["rows"]


@pytest.fixture(scope="module")
def finished(local_ray, tmp_path_factory):
    """A run of four agents with IQN that has ended: what it was, its directory, to be left as it is, and its config."""
    path = tmp_path_factory.mktemp("finished") / "run"
    changes = {"world": WORLD, **ONE_PROCESS, "episodes": {"animation_s": 0.1}}

    def done(supervisor, told):
        return supervisor.steps >= 30 and "evaluation/agent_3/return" in told and "rollout/agent_3/return" in told

    return run_until(path, done, **changes), path, small_world_config(**changes)


def test_every_agent_of_a_world_learns(finished):
    training, path, config = finished
    assert list(agents_of(training.supervisor)) == FOUR
    assert_learned(path, source_of(config).specs(FOUR), FOUR)
    assert set(training.supervisor.restarts.values()) == {0}


def test_what_is_counted_agrees(finished):
    _, path, config = finished
    saved, rollout = saved_of(path), config.source["rollout"]
    assert_counts_agree(saved, rollout["copies"] * config.agents["agent_0"].learner["n_steps"])
    steps = [*saved["counters"]["own_steps"].values()]
    assert max(steps) - min(steps) <= rollout["copies"]  # all act once a turn, one after another
    assert saved["counters"]["games"] * config.source["world"]["turns"] <= max(steps)


def test_a_run_tells_of_every_agent_and_of_those_who_do_not_learn(finished):
    told = reported(finished[1])
    for name in FOUR:
        wanted = {
            *(f"learner/{name}/{metric}" for metric in ("loss", "td_error", "weights_lag", "steps")),
            *(f"replay/{name}/{metric}" for metric in ("rows", "inserted", "ratio", "age")),
            *(f"rollout/{name}/{metric}" for metric in ("return", "length")),
            *(f"evaluation/{name}/{m}" for m in ("return", "return_of_random_players", "return_of_rule_players")),
            f"inference/{name}/version",
        }
        assert wanted <= set(told), wanted - set(told)
        assert told[f"rollout/{name}/length"] == 10.0
    rule, random = (
        np.mean([told[f"evaluation/{name}/return_of_{kind}_players"] for name in FOUR]) for kind in ("rule", "random")
    )
    assert rule > random


def test_an_episode_is_written_as_a_moving_picture(finished):
    pictures = sorted((finished[1] / ANIMATIONS).glob("*.gif"))
    assert pictures
    with Image.open(pictures[0]) as image:
        assert image.n_frames > 10 and image.size[0] >= 7  # ten turns, in each of which four agents move


def test_a_resumed_run_goes_on_from_the_very_state_and_counts_on(finished, tmp_path):
    config = finished[2]
    shutil.copytree(finished[1], tmp_path / "run")
    saved = saved_of(tmp_path / "run")
    supervisor = Supervisor(config, saved)
    supervisor.start()
    try:
        supervisor.pause(True)
        content = supervisor.content()
        assert_same(content["agents"], saved["agents"])
        for name in FOUR:
            assert_same(supervisor.weights(name), saved["agents"][name]["learner"]["learner"]["weights"])
            assert agents_of(supervisor)[name]["steps"] == saved["agents"][name]["counters"]["steps"]
        assert supervisor.own_steps == saved["counters"]["own_steps"]
        supervisor.pause(False)
        before = {name: own["counters"]["steps"] for name, own in saved["agents"].items()}
        tick_until(supervisor, lambda: all(own.steps > before[name] + 10 for name, own in supervisor.agents.items()))
        tick_until(supervisor, lambda: supervisor.games > saved["counters"]["games"])
        again = supervisor.content()
        assert again["counters"]["games"] > saved["counters"]["games"]
        assert again["counters"]["resumptions"] == 1
        for name in FOUR:
            before, after = (each["agents"][name] for each in (saved, again))
            assert after["replay"]["inserted"] > before["replay"]["inserted"]
            assert after["counters"]["steps"] >= before["counters"]["steps"] + 10
            assert after["learner"]["samples"] == 32 * after["counters"]["steps"]
        assert again["counters"]["rows"] == sum(own["counters"]["rows_given"] for own in again["agents"].values())
    finally:
        supervisor.stop()


@pytest.mark.parametrize("place", ["learner", "actor"])
def test_ppo_learns_from_its_own_versions_alone_and_counts_what_it_drops(tmp_path, place):
    changes = {"replay": {"place": place}, "rollout": {"workers": 2}, "episodes": {"every_s": 0.0}}

    def done(supervisor, _told):
        own = agents_of(supervisor).values()
        return supervisor.steps >= 8 and all(each["dropped_steps"] for each in own)

    training = run_until(tmp_path / "run", done, ("treasure_hunt", "ppo"), **changes)
    config, saved, told = training.config, saved_of(tmp_path / "run"), reported(tmp_path / "run")
    names = list(config.agents)
    assert_learned(tmp_path / "run", source_of(config).specs(names), names)
    assert_counts_agree(saved, 2 * 8 * config.agents["agent_0"].learner["length"])
    for name, own in saved["agents"].items():
        assert own["replay"]["dropped"] > 0 and own["learner"]["samples"] >= 64 * own["counters"]["steps"]
        assert told[f"replay/{name}/dropped_rows"] > 0
        assert told[f"learner/{name}/lag_mean"] == 0.0 == told[f"learner/{name}/dropped_steps"]
        assert told[f"inference/{name}/version"] > 0


def test_agents_of_unlike_learners_share_a_world_with_one_that_does_not_learn(finished, tmp_path):
    past = {"frozen": True, "weights": f"{finished[1]}:agent_0"}
    agents = {"agent_0": {}, "agent_1": {}, "agent_2": PPO, "agent_3": past}
    changes = {"world": WORLD, "agents": agents, "cluster": {"learner_groups": [["agent_0", "agent_2"], ["agent_1"]]}}

    def done(supervisor, told):
        return supervisor.steps >= 8 and "evaluation/agent_3/return" in told

    training = run_until(tmp_path / "run", done, **changes)
    supervisor, specs = training.supervisor, source_of(training.config).specs(FOUR)
    assert_learned(tmp_path / "run", specs, FOUR[:3])
    assert not agents_of(supervisor)["agent_3"]["inserted"] and agents_of(supervisor)["agent_3"]["frozen"]
    saved = saved_of(tmp_path / "run")
    assert_counts_agree(saved, 8 * 8)
    assert saved["counters"]["own_steps"]["agent_3"] > 0 and "learner" not in saved["agents"]["agent_3"]
    told = reported(tmp_path / "run")
    assert not [name for name in told if name.startswith(("learner/agent_3", "replay/agent_3"))]
    assert {"learner/agent_0/td_error", "learner/agent_2/entropy", "rollout/agent_3/return"} <= set(told)
    given, used = trained_weights(finished[1], specs["agent_0"], "agent_0"), supervisor.agents["agent_3"].newest
    assert given.version > 0 == used[0]


def test_an_environment_of_gymnasium_is_learned_by_ppo(tmp_path):
    changes = {"world": {"id": "CartPole-v1"}}

    def done(supervisor, told):
        return supervisor.steps >= 5 and {"evaluation/agent/return", "rollout/agent/return"} <= set(told)

    run_until(tmp_path / "run", done, ("gymnasium", "ppo"), **changes)
    told = reported(tmp_path / "run")
    assert told["rollout/agent/return"] == told["rollout/agent/length"] > 8  # a point for every step
    assert told["evaluation/agent/return_of_random_players"] > 8
    assert "evaluation/agent/return_of_rule_players" not in told
    assert_counts_agree(saved_of(tmp_path / "run"), 8 * 8)


def test_agents_of_pettingzoo_that_are_not_alike_and_leave_learn_each_in_its_own_way(tmp_path):
    changes = {"world": MARKET, "agents": {"buyer": {}, "seller": PPO}}

    def done(supervisor, told):
        return supervisor.steps >= 5 and {"evaluation/seller/return", "rollout/buyer/return"} <= set(told)

    training = run_until(tmp_path / "run", done, ("pettingzoo", "iqn"), **changes)
    told, saved = reported(tmp_path / "run"), saved_of(tmp_path / "run")
    assert (told["rollout/buyer/length"], told["rollout/seller/length"]) == (3.0, 5.0)
    assert_counts_agree(saved, 8 * 8)
    assert_learned(tmp_path / "run", source_of(training.config).specs(["buyer", "seller"]), ["buyer", "seller"])


@pytest.mark.parametrize("place", ["learner", "actor"])
def test_whatever_an_agent_is_given_is_its_own(tmp_path, place):
    """Two agents of the world act as one of the run; what they saw, got and are worth is told of it alone."""
    env = {"_target_": "scoundrel_ray.worlds.from_pettingzoo.make", "env": {"_target_": "tests.actors.badges.Badges"}}
    owned = {"one": (1,), "two": (0, 2)}
    changes = {
        "world": env,
        "agents": {"two": {}, "one": {}},
        "source": {"seats": ["two", "one", "two"]},
        "cluster": {"learner_groups": "one", "stacking": "on"},
        "replay": {"place": place},
        "learner": {"n_steps": 1},
    }

    def done(supervisor, told):
        measured = {f"{kind}/{name}/return" for kind in ("rollout", "evaluation") for name in owned}
        return supervisor.steps >= 5 and measured <= set(told)

    run_until(tmp_path / "run", done, **changes)
    told, saved = reported(tmp_path / "run"), saved_of(tmp_path / "run")
    for name, bodies in owned.items():
        returns = np.mean([STEPS * (body + 1) for body in bodies])
        wanted = [f"evaluation/{name}/return{of}" for of in ("", "_of_random_players")] + [f"rollout/{name}/return"]
        assert [told[metric] for metric in wanted] == [returns] * 3
        rows = saved["agents"][name]["replay"]["rows"]
        rows = rows[: saved["agents"][name]["replay"]["inserted"]]
        assert set(rows["observation"].ravel()) == set(bodies)
        np.testing.assert_array_equal(rows["next_observation"], rows["observation"])
        np.testing.assert_array_equal(rows["reward"], rows["observation"][:, 0] + 1)
    ratio = saved["agents"]["two"]["replay"]["inserted"] / saved["agents"]["one"]["replay"]["inserted"]
    assert ratio == pytest.approx(2.0, rel=0.1)
