"""Settings of runs of worlds that make no sense are refused in one line that names the key, before anything starts."""

import pytest

from actors.checking import check_run
from scoundrel_ray.runs.plan import source_of
from scoundrel_ray.runs.settings import train_config
from scoundrel_ray.settings.checks import InvalidConfig
from scripts.entry import section
from tests.conftest import small_settings, small_world_member, small_world_settings

THREE = {"agent_0": {}, "agent_1": {}, "agent_2": {}}
A, B, C = THREE


def refused(settings):
    """What is said of settings; it must be one line."""
    with pytest.raises(InvalidConfig) as error:
        config = train_config(settings)
        check_run(config, source_of(config))
    assert "\n" not in str(error.value)
    return str(error.value)


def with_groups(groups):
    return {"cluster": {"learner_groups": groups}}


ONCE = "wanted each agent that learns once: agent_0, agent_1, agent_2"
CASES = [
    ({"agents": {**THREE, "agent_9": {}}}, "agents.agent_9: treasure_hunt has no such agent, only agent_0, agent_1,"),
    ({"agents": {A: {}, B: {}}}, "agents: got agent_0, agent_1, wanted 'agent_2', too"),
    ({"source": {"seats": [A]}}, "source.seats: got ['agent_0'], wanted one of the agents for each of agent_0, "),
    ({"source": {"seats": [A, B, "d"]}}, "agents: got agent_0, agent_1, agent_2, wanted 'd', too"),
    ({"source": {"seats": [A, B, B]}}, "agents.agent_2: treasure_hunt has no such agent, only"),
    (with_groups([[A, B]]), f"cluster.learner_groups: got agent_0, agent_1, {ONCE}"),
    (with_groups([[A, B], [C, A]]), f"cluster.learner_groups: got agent_0, agent_1, agent_2, agent_0, {ONCE}"),
    (with_groups([[A, B], [C, "d"]]), f"cluster.learner_groups: got agent_0, agent_1, agent_2, d, {ONCE}"),
    *(
        (with_groups(groups), "cluster.learner_groups: got ")
        for groups in ("both", [], {}, None, 5, [[]], [[1]], [[A, B, C], []], [[A, B], C], [[A, B], [[C]]])
    ),
    ({"cluster": {"stacking": "maybe"}}, "cluster.stacking: got 'maybe', wanted one of auto, on, off"),
    ({"replay": {"place": "here"}}, "agents.agent_0.replay.place: got 'here', wanted 'learner' or 'actor'"),
    (
        {"agents": {**THREE, B: {"replay": {"place": "here"}}}},
        "agents.agent_1.replay.place: got 'here', wanted 'learner' or 'actor'",
    ),
    ({"when_behind": "wait"}, "agents.agent_0.when_behind: got 'wait', wanted one of hold, drop"),
    (
        {"world": {"speed": 3}, "agents": THREE},
        "world: scoundrel_ray.worlds.treasure_hunt.make: got an unexpected keyword argument 'spe",
    ),
    ({"rollout": {"games": 3}}, "rollout.games: unknown; known are workers, copies"),
    ({"rollout": {"copies": 3}}, "rollout.copies: got 3, wanted an even number"),
    (
        {"learner": {"batch_size": 5000}},
        "agents.agent_0.learner.batch_size: got 5000, wanted at most 2000, what agents",
    ),
    ({"arena": {"every_s": 10.0}}, "arena.every_s: got matches without a game, wanted 0"),
    ({"episodes": {"counts": 3}}, "episodes.counts: unknown; known are count"),
    ({"episodes": {"animation_s": 3.0, "every_s": 0.0}}, "episodes.animation_s: got one without measurements"),
    ({"turns": True, "inference": {"transport": "shm"}}, "inference.transport: got 'shm' for a run in turn"),
    ({"agents": {**THREE, C: {"network": {"width": 0}}}}, "agents.agent_2.network.width: got 0, wanted"),
]


@pytest.mark.parametrize(("changes", "message"), CASES, ids=lambda value: str(value)[:60])
def test_what_makes_no_sense_in_a_world_is_refused_by_its_key(changes, message):
    assert refused(small_world_settings(**changes)).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learner": {"batch_size": 65}}, "agents.agent_0.learner.batch_size: got 65, wanted at most 64, what agent"),
        ({"publish_steps": 2}, "agents.agent_0.publish_steps: got 2, wanted at most 1: agents.agent_0.replay drops"),
        ({"replay": {"max_lag": 1}}, "agents.agent_0.replay: got max_lag 1, wanted replay=fragments with max_lag at"),
        ({"replay": {"max_lag": None}}, "agents.agent_0.replay: got max_lag None, wanted replay=fragments with max_"),
    ],
)  # fmt: skip
def test_what_would_leave_ppo_without_rows_of_its_own_version_is_refused(changes, message):
    assert refused(small_world_settings("treasure_hunt", "ppo", **changes)).startswith(message)


def test_ppo_may_publish_less_often_where_it_learns_from_older_versions_too():
    changes = {"learner": {"on_policy": "bounded", "max_lag": 3}, "replay": {"max_lag": 3}, "publish_steps": 4}
    config = train_config(small_world_settings("treasure_hunt", "ppo", **changes))
    check_run(config, source_of(config))
    changes["publish_steps"] = 5
    assert refused(small_world_settings("treasure_hunt", "ppo", **changes)).startswith("agents.agent_0.publish_steps")


@pytest.mark.parametrize(
    ("kind", "group", "member", "message"),
    [
        ("iqn", "learner", "alphazero", "agents.agent_0.learner: learns from searched decisions, and agents of trea"),
        ("iqn", "network", "residual_mlp", "agents.agent_0.network: answers with logits [4], values [1], wanted val"),
        ("iqn", "network", "actor_critic", "agents.agent_0.network: answers with logits [4], value [1], wanted valu"),
        ("ppo", "network", "quantile", "agents.agent_0.network: answers with values [4], wanted logits [4], value ["),
        ("iqn", "replay", "fragments", "agents.agent_0.replay: a queue of fragments wants rows with 'steps', the le"),
        ("ppo", "replay", "uniform", "agents.agent_0.replay: got a replay that keeps rows of any version, wanted re"),
    ],
)  # fmt: skip
def test_members_that_do_not_fit_each_other_are_refused(kind, group, member, message):
    settings = {**small_world_settings("treasure_hunt", kind), group: section(group, member)}
    assert refused(settings).startswith(message)


@pytest.mark.parametrize(("learner", "replay"), [("iqn", "uniform"), ("ppo", "fragments")])
def test_learners_of_worlds_do_not_learn_from_self_play(learner, replay):
    members = {key: small_world_member(key, name) for key, name in (("learner", learner), ("replay", replay))}
    told = refused({**small_settings(), **members, "publish_steps": 1})
    assert told.startswith("agents.agent.learner: its experience acts by scoundrel_ray.experience.behaviours.")
    assert told.endswith("wanted a learner of searched decisions, such as learner=alphazero")


def test_matches_of_games_are_refused_in_a_world_also_where_a_game_is_named():
    settings = small_world_settings(arena={"every_s": 10.0}) | {"game": section("game", "tic_tac_toe")}
    assert refused(settings) == "arena.every_s: got 10 without self-play of a game, wanted 0"


@pytest.mark.parametrize("kind", ["world", "game"])
def test_a_run_without_what_it_is_of_is_refused(kind):
    settings = small_world_settings() if kind == "world" else small_settings()
    settings["source"][kind] = None
    assert refused(settings) == f"{kind}: got None, wanted a section with _target_"


def test_a_batch_of_nobody_but_one_agent_is_told_by_its_name():
    agents = {**THREE, B: {"learner": {"batch_size": 2001}}}
    assert refused(small_world_settings(agents=agents)).startswith("agents.agent_1.learner.batch_size: got 2001")


def test_groups_reserve_once_what_their_agents_share():
    """A machine has fewer cores than a process for each of ten agents would reserve."""
    ten = {f"agent_{number}": {} for number in range(10)}
    changes = {"world": {"agents": 10}, "agents": ten}
    cluster = {"cpus": 2, "learner_cpus": 1.0}
    together = train_config(small_world_settings(**changes, cluster={**cluster, "learner_groups": "one"}))
    check_run(together, source_of(together))
    told = refused(small_world_settings(**changes, cluster={**cluster, "learner_groups": "each"}))
    assert told.startswith("cluster.*_cpus: the actors reserve 10 in all, wanted at most this machine's 2")
