"""Settings: each wrong value is refused in one line that says what, got, wanted and which key."""

import pickle
from dataclasses import dataclass
from typing import Protocol

import pytest

from actors.checking import check_run
from scoundrel_ray.game import Game
from scoundrel_ray.players import Player
from scoundrel_ray.runs.plan import source_of
from scoundrel_ray.runs.settings import train_config
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.settings.build import build, check_members, settings_of
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting, at_least, within_section
from tests.conftest import small_config, small_settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed: got -1, wanted an integer >= 0"),
        ({"seed": "x"}, "seed: got 'x', wanted int"),
        ({"minutes": 0}, "minutes: got 0, wanted a number from 0.01"),
        ({"minutes": "soon"}, "minutes: got 'soon', wanted a number"),
        ({"inference": {"precision": "int4"}}, "inference.precision: got 'int4', wanted one of auto"),
        ({"inference": {"batch_sizes": [8, 4]}}, "inference.batch_sizes: got 4, wanted an integer >= 9"),
        ({"evaluation": {"baselines": ["nobody"]}}, "evaluation.baselines: got 'nobody', wanted one of random"),
        ({"inference": {"batch_sizes": []}}, "inference.batch_sizes: got (), wanted a list of integers"),
        ({"inference": {"max_batch": 0}}, "inference.max_batch: got 0, wanted an integer >= 1"),
        ({"cluster": {"learner_gpus": -1}}, "cluster.learner_gpus: got -1"),
        ({"arena": {"deals": 1}}, "arena.deals: got 1, wanted an integer >= 2"),
        ({"arena": {"gate": True}}, "arena.gate: got true without matches, wanted every_s above 0 with it"),
        ({"rollout": {"workers": 0}}, "rollout.workers: got 0, wanted an integer >= 1"),
        ({"publish_steps": 0}, "agents.agent.publish_steps: got 0, wanted an integer >= 1"),
        ({"turns": "yes"}, "turns: got 'yes', wanted true or false"),
    ],
    ids=str,
)
def test_wrong_values_are_named(changes, message):
    with pytest.raises(InvalidConfig) as error:
        train_config(small_settings(**changes))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "game._target_: got None, wanted the dotted path of a Game"),
        ({"_target_": "nowhere.make"}, "game._target_: cannot import 'nowhere.make'"),
        ({"_target_": "os.system"}, "game._target_: os.system makes no Game"),
        ({"_target_": "subprocess.Popen", "args": "true"}, "game._target_: subprocess.Popen makes no Game"),
        ({"_target_": "scoundrel_ray.games.tic_tac_toe.make", "size": 4}, "game: scoundrel_ray.games.tic_tac_toe.make"),
        (
            {"_target_": "scoundrel_ray.games.scoundrel.make", "avoided": "burnt"},
            "game.avoided: got 'burnt', wanted one of ordered, shuffled",
        ),
    ],
    ids=str,
)
def test_nothing_is_called_that_makes_no_member(section, message):
    with pytest.raises(InvalidConfig) as error:
        build("game", section, Game)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"simulations": 0}, "search.simulations: got 0"),
        ({"simulations": 8, "considered": 0}, "search.considered: got 0"),
        ({"simulations": 8, "tree": "per_world", "worlds": 0}, "search.worlds: got 0, wanted an integer >= 1"),
        ({"worlds": 3}, "search.worlds: got 3 with tree shared, wanted tree per_world with more than 1"),
        ({"tree": "none"}, "search.tree: got 'none', wanted one of shared, per_world"),
    ],
    ids=str,
)
def test_settings_of_members_are_checked(settings, message):
    with pytest.raises(InvalidConfig) as error:
        build("search", {"_target_": "scoundrel_ray.searches.gumbel.Gumbel", **settings}, SearchConfig)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("key", ["search", "evaluation_search", "curriculum[0]", "evaluation.players.uct"])
def test_the_key_of_a_section_stands_in_front_of_its_settings(key):
    """Whatever the section is called: a member does not know where it stands."""
    with pytest.raises(InvalidConfig) as error:
        build(key, {"_target_": "scoundrel_ray.searches.puct.Puct", "simulations": 0}, SearchConfig)
    assert str(error.value) == f"{key}.simulations: got 0, wanted an integer >= 1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"simulations": 0}, "evaluation.players.a.simulations: got 0, wanted an integer >= 1"),
        ({"exploration": -1.0}, "evaluation.players.a.exploration: got -1.0, wanted a number from 0 to 1000"),
        ({"shards": 4, "simulations": 3}, "evaluation.players.a.shards: got 4, wanted at most simulations, 3"),
    ],
    ids=str,
)
def test_both_parts_of_a_players_settings_name_its_section(settings, message):
    game = build("game", {"_target_": "scoundrel_ray.games.tic_tac_toe.make"}, Game)
    with pytest.raises(InvalidConfig) as error:
        build("evaluation.players.a", {"_target_": "actors.shards.uct", **settings}, Player, game)
    assert str(error.value) == message


@dataclass(frozen=True)
class Record:
    """A record of settings; one of its checks names a section of its own."""

    bare: int = 1
    whole: int = 1

    def __post_init__(self):
        at_least("bare", self.bare, 1)
        at_least("outer.whole", self.whole, 1)


def test_a_check_that_names_its_section_gets_it_once():
    for name in ("bare", "whole"):
        with pytest.raises(InvalidConfig, match=rf"^outer\.{name}: got 0, wanted an integer >= 1$"):
            settings_of("outer", {name: 0}, Record)


def test_sections_within_sections():
    with pytest.raises(InvalidSetting) as error, within_section("a"), within_section("b"):
        at_least("c", 0, 1)
    assert str(error.value) == "a.b.c: got 0, wanted an integer >= 1"
    with pytest.raises(InvalidSetting) as error, within_section("a"), within_section("a.b"):
        at_least("c", 0, 1)
    assert str(error.value) == "a.b.c: got 0, wanted an integer >= 1"
    # It goes from process to process.
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"simulations": 0}}, "search.simulations: got 0"),
        ({"evaluation_search": {"simulations": 0}}, "evaluation_search.simulations: got 0"),
        ({"curriculum": [{"steps": 0}, {"steps": 9, "simulations": 0}]}, "curriculum[1].simulations: got 0"),
        ({"learner": {"warmup_steps": -1}}, "agents.agent.learner.warmup_steps: got -1"),
        ({"agents": {"wide": {"network": {"value_width": 0}}}}, "agents.wide.network.value_width: got 0"),
        ({"agents": {"wide": {"replay": {"min_rows": 0}}}}, "agents.wide.replay.min_rows: got 0"),
        ({"rollout": {"games": 1}}, "rollout.games: got 1"),
        ({"rollout": {"threads": 0}}, "rollout.threads: got 0"),
    ],
    ids=str,
)
def test_the_members_of_a_run_are_refused_by_their_full_keys(changes, message):
    config = small_config(**changes)
    with pytest.raises(InvalidConfig) as error:
        check_run(config, source_of(config))
    assert str(error.value).startswith(f"{message}, wanted an integer >= ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rollout": {"games": 7}}, "rollout.games: got 7, wanted an even number"),
        ({"rollout": {"games": "many"}}, "rollout.games: got 'many', wanted int"),
        ({"rollout": {"gamez": 8}}, "rollout.gamez: unknown; known are workers, games"),
        ({"rollout": {"bootstrap": 2}}, "rollout.bootstrap: got 2, wanted a number from 0 to 1"),
        (
            {"replay": {"min_rows": 10**9}},
            "agents.agent.replay.min_rows: got 1000000000, wanted at most capacity, 4000",
        ),
        (
            {"agents": {"wide": {"replay": {"tolerance": 0}}}},
            "agents.wide.replay.tolerance: got 0, wanted a number from 0.01",
        ),
        (
            {"agents": {"wide": {"learner": {"device": "gpu7"}}}},
            "agents.wide.learner.device: got 'gpu7', which torch cannot use here: ",
        ),
        (
            {"agents": {"wide": {"learner": {"batch_size": 10**6}}}},
            "agents.wide.learner.batch_size: got 1000000, wanted at most 2400, what agents.wide.replay lets through",
        ),
        ({"inference": {"device": "gpu7"}}, "inference.device: got 'gpu7', which torch cannot use here: "),
        ({"source": {"seats": "agent"}}, "source.seats: got 'agent', wanted a list of agents"),
        ({"source": {"seats": ["agent"]}}, "source.seats: got ['agent'], wanted 2 of agent, one for each seat"),
        ({"source": {"seats": ["agent", "wide"]}}, "source.seats: got 'wide' in seat 1, wanted one of agent"),
    ],
    ids=str,
)
def test_what_the_members_of_a_run_refuse_is_one_line_with_the_full_key_once(changes, message):
    config = small_config(**changes)
    with pytest.raises(InvalidConfig) as error:
        check_run(config, source_of(config))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"search": {"_target_": "scoundrel_ray.searches.puct.Puct", "simulations": 8, "reuse": True, "worlds": 2}},
            "search.worlds: got 2 with tree shared",
        ),
        ({"curriculum": [{"steps": 9, "worlds": 2}]}, "curriculum[0].worlds: got 2 with tree shared"),
        (
            {"evaluation_search": {"tree": "both"}},
            "evaluation_search.tree: got 'both', wanted one of shared, per_world",
        ),
    ],
    ids=str,
)
def test_a_search_that_makes_no_sense_is_refused_before_a_run(changes, message):
    settings = small_settings()
    for key, value in changes.items():
        whole = isinstance(value, list) or "_target_" in value
        settings[key] = value if whole else {**settings[key], **value}
        if key in settings["source"]:
            settings["source"][key] = settings[key]
    config = train_config(settings)
    with pytest.raises(InvalidConfig) as error:
        check_run(config, source_of(config))
    assert str(error.value).startswith(message)


def test_a_search_by_playouts_is_no_agents_search():
    settings = small_settings()
    settings["evaluation_search"] = {"_target_": "scoundrel_ray.searches.uct.Uct", "simulations": 8}
    config = train_config(settings)
    with pytest.raises(InvalidConfig, match="evaluates its leaves by playouts, wanted one that asks the network"):
        check_run(config, source_of(config))


def check(**changes):
    config = small_config(**changes)
    check_run(config, source_of(config))


def test_the_largest_batch_that_the_replay_lets_through_passes():
    check(agents={"wide": {"learner": {"batch_size": 2400}}})
    with pytest.raises(InvalidConfig, match=r"batch_size: got 2401, wanted at most 2400"):
        check(agents={"wide": {"learner": {"batch_size": 2401}}})


def test_nobody_asks_how_a_frozen_agent_would_learn():
    past = {"frozen": True, "weights": "runs/past", "learner": {"batch_size": 10**6}}
    check(agents={"wide": {}, "past": past})


def test_the_baselines_of_the_evaluation_are_built():
    players = {"uct": {"_target_": "actors.shards.uct", "simulations": 0}}
    with pytest.raises(InvalidConfig, match=r"^evaluation\.players\.uct\.simulations: got 0"):
        check(evaluation={"players": players, "baselines": ["uct"]})
    check(evaluation={"players": players, "baselines": []})


RESERVED = {"cpus": 9, "rollout_cpus": 1.0, "inference_cpus": 0.5, "learner_cpus": 2.0}
LEARNING = {"wide": {}, "narrow": {}, "past": {"frozen": True, "weights": "runs/past"}}


def test_all_that_the_actors_reserve_is_counted(monkeypatch):
    """A worker's share for each, the inference actor's where there is one, a learner's for each that learns."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    changes = {"agents": LEARNING, "rollout": {"workers": 5}, "inference": {"transport": "ray"}}
    with pytest.raises(InvalidConfig, match=r"^cluster\.\*_cpus: the actors reserve 9\.5 in all, .* machine's 9$"):
        check(cluster=RESERVED, **changes)
    check(cluster=RESERVED, **{**changes, "inference": {"transport": "local"}})
    check(cluster={**RESERVED, "cpus": 10}, **changes)
    reserved = {"cpus": 100, "learner_gpus": 30.0, "inference_gpus": 50.0}
    with pytest.raises(InvalidConfig, match=r"^cluster\.\*_gpus: the actors reserve 110 in all"):
        check(cluster=reserved, **changes)


def test_of_a_cluster_nobody_knows_what_it_has(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    check(cluster={"rollout_cpus": 1000.0}, inference={"device": "cuda:77"})


# Learners and replays of a user's own.

OWN = "tests.settings.own_members"


def with_own(**sections):
    """Settings of a run with an agent, wide, that has such members."""
    return small_config(agents={"wide": {key: {"_target_": f"{OWN}.{name}"} for key, name in sections.items()}})


def test_own_members_with_all_that_is_wanted_pass():
    config = with_own(learner="OwnLearner", replay="OwnReplay")
    check_run(config, source_of(config))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"learner": "WithoutRows"}, f"agents.wide.learner._target_: {OWN}.WithoutRows makes no LearnerSettings"),
        ({"replay": "WithoutMost"}, f"agents.wide.replay._target_: {OWN}.WithoutMost makes no ReplaySettings"),
        ({"learner": "MakesWithoutState"}, "agents.wide.learner: WithoutState has no state, wanted a Learner"),
        ({"replay": "MakesWithoutRestore"}, "agents.wide.replay: WithoutRestore has no restore, wanted a Replay"),
        (
            {"learner": "ForeignRows"},
            "agents.wide.learner: wants rows with 'reward', the source gives observation, actions, policy, value, vers",
        ),
        ({"learner": "OtherRows"}, "agents.wide.learner: wants rows with 'value' of ('<f8', (2,)), the source gives "),
        ({"learner": "OwnReplay"}, f"agents.wide.learner._target_: {OWN}.OwnReplay makes no LearnerSettings"),
    ],
    ids=str,
)
def test_own_members_that_lack_something_are_refused_by_their_key(sections, message):
    config = with_own(**sections)
    with pytest.raises(InvalidConfig) as error:
        check_run(config, source_of(config))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


class Protocolled(Protocol):
    number: int

    @property
    def most(self) -> int: ...

    def give(self) -> int: ...

    def _own(self) -> int: ...


def test_members_of_a_protocol_are_checked_by_name():
    """Attributes, properties and methods; what begins with _ is nobody's business."""

    class Whole:
        number = most = 3

        def give(self):
            return 3

    check_members("key", Whole(), Protocolled)
    for name in ("number", "most", "give"):
        lacking = type("Lacking", (), {key: value for key, value in vars(Whole).items() if key != name})()
        with pytest.raises(InvalidConfig, match=f"^key: Lacking has no {name}, wanted a Protocolled$"):
            check_members("key", lacking, Protocolled)
