"""A search whose settings change as learning goes on, and what becomes of the games under way."""

import numpy as np
import pytest

from scoundrel_ray.evaluator import Constant
from scoundrel_ray.experience import curriculum
from scoundrel_ray.experience.source import Progress
from scoundrel_ray.experience.targets import tempered
from scoundrel_ray.game import Game
from scoundrel_ray.runs.plan import source_of
from scoundrel_ray.searches.puct import Puct
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig
from tests import self_play
from tests.conftest import small_config

SEARCH = {"_target_": "x", "worlds": 3, "simulations": 30, "leaves": 1}
STAGES = ({"steps": 10, "worlds": 2, "simulations": 8}, {"steps": 50, "leaves": 4})


def test_a_stage_holds_from_its_step_on_and_leaves_the_rest_as_it_was():
    for steps, wanted in ((0, (3, 30, 1)), (9, (3, 30, 1)), (10, (2, 8, 1)), (49, (2, 8, 1)), (50, (3, 30, 4))):
        section = curriculum.section_at(SEARCH, STAGES, steps)
        assert (section["worlds"], section["simulations"], section["leaves"]) == wanted
        assert section["_target_"] == "x"
    assert [each["simulations"] for each in curriculum.sections(SEARCH, STAGES)] == [30, 8, 30]
    assert curriculum.sections(SEARCH, ()) == [SEARCH]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"simulations": 8}], r"curriculum\[0\]: got {'simulations': 8}, wanted the learner's steps"),
        ([3], r"curriculum\[0\]: got 3"),
        ([{"steps": -1}], r"curriculum\[0\].steps: got -1, wanted an integer >= 0"),
        ([{"steps": 5}, {"steps": 5}], r"curriculum\[1\].steps: got 5, wanted an integer >= 6"),
        ([{"steps": 0, "depth": 3}], r"curriculum\[0\].depth: unknown; the search has worlds, simulations, leaves"),
        ([{"steps": 0, "_target_": "y"}], r"curriculum\[0\]._target_: unknown"),
    ],
)
def test_stages_that_make_no_sense_are_refused_with_their_place(stages, message):
    with pytest.raises(InvalidConfig, match=message):
        curriculum.check(stages, SEARCH)


def test_a_run_refuses_them_before_it_starts():
    source_of(small_config(curriculum=[{"steps": 3, "simulations": 4}]))
    with pytest.raises(InvalidConfig, match=r"^curriculum\[0\].sims: unknown"):
        source_of(small_config(curriculum=[{"steps": 3, "sims": 4}]))


def test_games_go_on_when_the_search_changes():
    game = build("game", {"_target_": "scoundrel_ray.games.blob.make", "cards": 2}, Game)
    stages = (
        {"steps": 10, "simulations": 6, "worlds": 3},
        {"steps": 20, "simulations": 2, "tree": "shared", "leaves": 2},
    )
    source = self_play.source_of(game, Puct(simulations=4, tree="per_world"), curriculum=stages, games=8, rows=60)
    player = source.collector({"agent": source.role}, {"agent": Constant(game.actions, game.seats)}, 1, (0, 0))
    player.play()
    games = player._lockstep
    for steps, wanted in ((9, (4, 1)), (10, (6, 3)), (20, (2, 1))):
        before = games._states.copy()
        player.prepare(Progress(steps, {}))
        assert np.array_equal(games._states, before)
        assert (games.search.config.simulations, games.search.config.worlds) == wanted
        rows, report = self_play.rows_of(player.play())
        assert len(rows) >= 60 and np.allclose(rows["policy"].sum(axis=1), 1.0)
        assert report["scores"].shape[1] == game.seats
    player.close()


def test_a_changed_search_begins_anew_wherever_a_game_is():
    """A game whose decision it did not begin would rest for ever."""
    game = build("game", {"_target_": "scoundrel_ray.games.tic_tac_toe.make"}, Game)
    stages = ({"steps": 10, "simulations": 6},)
    source = self_play.source_of(game, Puct(simulations=4), curriculum=stages, games=8, rows=60)
    player = source.collector({"agent": source.role}, {"agent": Constant(game.actions, game.seats)}, 1, (0, 0))
    player.play()
    player.prepare(Progress(10, {}))
    games = player._lockstep
    assert (games._lengths > 0).any() and not len(games.search.finished(np.arange(8)))
    assert len(games.search.select(np.arange(8))) == 8  # the root of each
    player.close()


def test_a_target_is_sharpened_below_one_and_flattened_above():
    policy = np.array([[0.5, 0.3, 0.2, 0.0], [1.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    assert tempered(policy, 1.0) is policy
    sharp, flat = tempered(policy, 0.5), tempered(policy, 2.0)
    squares = policy[0].astype(np.float64) ** 2
    assert np.allclose(sharp[0], squares / squares.sum(), atol=1e-6)
    assert flat[0, 0] < 0.5 < sharp[0, 0]
    for found in (sharp, flat):
        assert np.allclose(found.sum(axis=1), 1.0, atol=1e-6) and (found[policy == 0] == 0).all()
        assert found.dtype == np.float32
    assert np.isfinite(tempered(np.array([[1e-30, 1.0]], dtype=np.float32), 0.01)).all()
