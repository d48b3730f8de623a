"""Settings: each wrong value is refused in one line that says what, got, wanted and which key."""

import pytest

from scoundrel_ray.game import Game
from scoundrel_ray.runs.settings import train_config
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig
from tests.conftest import small_settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed: got -1, wanted an integer >= 0"),
        ({"seed": "x"}, "seed: got 'x', wanted int"),
        ({"minutes": 0}, "minutes: got 0, wanted a number from 0.01"),
        ({"minutes": "soon"}, "minutes: got 'soon', wanted a number"),
        ({"rollout": {"games": 7}}, "rollout.games: got 7, wanted an even number"),
        ({"rollout": {"games": "many"}}, "rollout.games: got 'many', wanted int"),
        ({"rollout": {"gamez": 8}}, "rollout.gamez: unknown; known are workers, games"),
        ({"replay": {"min_rows": 10**9}}, "replay.min_rows: got 1000000000, wanted at most replay.capacity"),
        ({"inference": {"precision": "int4"}}, "inference.precision: got 'int4', wanted one of auto"),
        ({"inference": {"batch_sizes": [8, 4]}}, "inference.batch_sizes: got 4, wanted an integer >= 9"),
        ({"evaluation": {"baselines": ["nobody"]}}, "evaluation.baselines: got 'nobody', wanted one of random"),
        ({"cluster": {"learner_gpus": -1}}, "cluster.learner_gpus: got -1"),
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
        ({"simulations": 8, "worlds": -1}, "search.worlds: got -1"),
    ],
    ids=str,
)
def test_settings_of_members_are_checked(settings, message):
    with pytest.raises(InvalidConfig) as error:
        build("search", {"_target_": "scoundrel_ray.searches.gumbel.Gumbel", **settings}, SearchConfig)
    assert str(error.value).startswith(message)
