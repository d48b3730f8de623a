"""The agents of a run: what each leaves out is the run's, and what makes no sense is refused by its key in one line."""

import pytest

from learners.alphazero import AlphaZeroConfig
from scoundrel_ray.runs.settings import train_config
from scoundrel_ray.settings.checks import InvalidConfig
from tests.conftest import small_config, small_settings

PAST = {"frozen": True, "weights": "runs/a:wide"}


def agents_of(**agents):
    return small_config(agents=agents).agents


def test_an_agent_has_the_runs_sections_with_its_own_settings_in_them():
    run = small_settings()
    agents = agents_of(
        wide=None, narrow={"network": {"width": 8}, "learner": {"batch_size": 16}, "publish_steps": 3},
        plain={"symmetries": False, "replay": {"min_rows": 50}},
    )  # fmt: skip
    assert list(agents) == ["wide", "narrow", "plain"]
    place = run["replay"].pop("place")  # where it lies is no setting of what lies there
    assert {agent.replay_place for agent in agents.values()} == {place} == {"actor"}
    for key in ("network", "learner", "replay", "publish_steps", "symmetries"):
        assert getattr(agents["wide"], key) == run[key]
    assert agents["narrow"].network == {**run["network"], "width": 8}
    assert agents["narrow"].learner == {**run["learner"], "batch_size": 16}
    assert agents["narrow"].replay == run["replay"]
    assert (agents["narrow"].publish_steps, agents["narrow"].symmetries) == (3, True)
    assert agents["plain"].replay == {**run["replay"], "min_rows": 50} and not agents["plain"].symmetries
    assert agents["plain"].network == run["network"]


def test_a_section_with_a_target_of_its_own_replaces_the_runs():
    target = f"{AlphaZeroConfig.__module__}.{AlphaZeroConfig.__qualname__}"
    own = {"_target_": target, "batch_size": 16}
    other = {"_target_": "somewhere.Else", "depth": 3}
    agents = agents_of(wide={"learner": own, "network": other}, narrow={})
    assert agents["wide"].learner == own and agents["wide"].network == other
    assert agents["narrow"].learner == small_settings()["learner"]


def test_a_frozen_agent_plays_and_does_not_learn():
    config = small_config(agents={"wide": {}, "past": PAST})
    assert config.learning == ["wide"]
    assert config.agents["past"].frozen and config.agents["past"].weights == "runs/a:wide"
    assert agents_of(wide={"weights": "runs/a"})["wide"].weights == "runs/a"


@pytest.mark.parametrize(
    ("agents", "message"),
    [
        ({"wide": {"network": {"breadth": 8}}}, "agents.wide.network.breadth: unknown; the run's has width, blocks"),
        (
            {"wide": {"replay": {"size": 8}}},
            "agents.wide.replay.size: unknown; the run's has place, capacity",
        ),
        ({"wide": {"learner": 8}}, "agents.wide.learner: got 8, wanted settings"),
        ({"wide": {"depth": 8}}, "agents.wide.depth: unknown; known are network, learner, replay, publish_steps"),
        ({"wide": 3}, "agents.wide: got 3, wanted settings"),
        ({"wide": {"publish_steps": 0}}, "agents.wide.publish_steps: got 0, wanted an integer >= 1"),
        ({"wide": {"publish_steps": "often"}}, "agents.wide.publish_steps: got 'often', wanted int"),
        ({"wide": {"symmetries": "no"}}, "agents.wide.symmetries: got 'no', wanted bool"),
        ({"wide": {}, "past": {"frozen": True}}, "agents.past.weights: got null, wanted the weights that a frozen"),
        ({"wide": {"weights": ""}}, "agents.wide.weights: got '', wanted a path"),
        ({"wide": {"weights": 3}}, "agents.wide.weights: got 3, wanted a path"),
        ({"past": PAST, "older": PAST}, "agents: got past, older, wanted at least one that is not frozen"),
        ({}, "agents: got {}, wanted a name and settings for each"),
        (["wide"], "agents: got ['wide'], wanted a name and settings for each"),
        (None, "agents: got None, wanted a name and settings for each"),
        *(
            ({name: {}}, f"agents: got the name {name!r}, wanted small letters, digits and _, a letter first")
            for name in ("", "Wide", "2nd", "a/b", "a.b", "a-b", "../a", "ä", "a\n", 3)
        ),
    ],
    ids=str,
)
def test_agents_that_make_no_sense_are_refused_by_their_key(agents, message):
    with pytest.raises(InvalidConfig) as error:
        small_config(agents=agents)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_run_in_turn_wants_each_worker_to_evaluate_by_itself():
    assert small_config(turns=True, inference={"transport": "local"}).turns
    for transport in ("ray", "shm"):
        with pytest.raises(InvalidConfig) as error:
            small_config(turns=True, inference={"transport": transport})
        assert str(error.value).startswith(f"inference.transport: got '{transport}' for a run in turn, wanted 'local'")


def test_a_key_that_no_run_has_is_named():
    with pytest.raises(InvalidConfig, match=r"^agent_s: unknown; known are agents, arena"):
        train_config({**small_settings(), "agent_s": 3.0})
