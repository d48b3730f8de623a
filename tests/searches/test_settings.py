"""Settings of searches: one tree or a tree a world, and what a search refuses of a game."""

import dataclasses

import numpy as np
import pytest

from inference.agent import agent_search
from scoundrel_ray import rng
from scoundrel_ray.decision.shards import Effort, PositionSearch, ShardSearch
from scoundrel_ray.evaluator import Constant
from scoundrel_ray.games import blob, connect_four, scoundrel, tic_tac_toe
from scoundrel_ray.players import SearchPlayer
from scoundrel_ray.search import Search, search_one
from scoundrel_ray.searches.gumbel import Gumbel
from scoundrel_ray.searches.puct import Puct
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.settings.checks import InvalidConfig, InvalidSetting

TTT, C4, SCOUNDREL, BLOB = tic_tac_toe.make(), connect_four.make(), scoundrel.make(), blob.make()
KINDS = [Uct, Puct, Gumbel]


@pytest.mark.parametrize("kind", KINDS)
def test_one_tree_over_many_worlds_or_a_tree_for_each(kind):
    for settings, trees, shared in (
        ({}, 1, 1),
        ({"tree": "shared"}, 1, 1),
        ({"tree": "per_world"}, 1, 0),
        ({"tree": "per_world", "worlds": 3}, 3, 0),
    ):
        config = kind(simulations=4, **settings)
        search = Search(SCOUNDREL, config, 2)
        assert config.trees_per_game == search.trees_per_game == trees
        assert len(search.forest.nodes) == 2 * trees
        assert search.parameters.shared == shared and search.parameters.hidden == 1
        assert config.parameters(C4).shared == 0  # one world, so nothing to share


def roots(config):
    """Root states after the first step of a search of Scoundrel's deal, and what is hidden of it."""
    search = Search(SCOUNDREL, config, 1)
    state = SCOUNDREL.deal(np.array([1, 2, 3, 4], dtype=np.uint64))
    search.begin(np.zeros(1, np.int64), state[None], np.array([[5, 6, 7, 8]], dtype=np.uint64))
    return search.forest.root_state.copy(), state


@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_a_world_is_rooted_in_a_redealt_one_and_a_shared_tree_redeals_in_every_simulation(kind):
    (shared,), state = roots(kind(simulations=4))
    np.testing.assert_array_equal(shared, state)
    several, state = roots(kind(simulations=4, tree="per_world", worlds=3))
    assert len({root.tobytes() for root in several} | {state.tobytes()}) == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"worlds": 3}, "worlds: got 3 with tree shared, wanted tree per_world with more than 1"),
        ({"tree": "shared", "worlds": 2}, "worlds: got 2 with tree shared, wanted tree per_world with more than 1"),
        ({"tree": "per_world", "worlds": 0}, "worlds: got 0, wanted an integer >= 1"),
        ({"worlds": True}, "worlds: got True, wanted an integer >= 1"),
        ({"tree": "open"}, "tree: got 'open', wanted one of shared, per_world"),
        ({"leaves": 0}, "leaves: got 0, wanted an integer >= 1"),
        ({"simulations": 0}, "simulations: got 0, wanted an integer >= 1"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(kind, settings, message):
    with pytest.raises(InvalidSetting) as error:
        kind(**settings)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("game", "config", "message"),
    [
        (C4, Puct(tree="per_world", worlds=3, reuse=True), "reuse: got true with worlds 3, wanted one tree a game"),
        (
            SCOUNDREL,
            Uct(tree="per_world", worlds=2, reuse=True),
            "reuse: got true with worlds 2, wanted one tree a game",
        ),
        (
            SCOUNDREL,
            Puct(tree="per_world", reuse=True),
            "reuse: got true with tree per_world, wanted tree shared: scoundrel hides something",
        ),
        (
            BLOB,
            Uct(tree="per_world", reuse=True),
            "reuse: got true with tree per_world, wanted tree shared: blob hides something",
        ),
        (C4, Uct(cheating=True), "cheating: got true, wanted false: connect_four hides nothing"),
    ],
    ids=lambda each: getattr(each, "name", None) or str(each),
)
def test_a_search_refuses_a_game_that_does_not_suit_it(game, config, message):
    with pytest.raises(InvalidSetting) as error:
        Search(game, config, 2)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
    if isinstance(config, Uct):
        with pytest.raises(InvalidSetting, match=f"^{message}"):
            PositionSearch(game, config, Effort(), ShardSearch(game, config))


def test_reuse_is_kept_where_it_means_something():
    for game, config in (
        (C4, Puct(simulations=8, reuse=True)),
        (C4, Uct(simulations=8, tree="per_world", reuse=True)),
        (SCOUNDREL, Puct(simulations=8, reuse=True)),
        (SCOUNDREL, Uct(simulations=8, reuse=True, cheating=True)),
    ):
        Search(game, config, 1)


@dataclasses.dataclass(frozen=True)
class Halving(Gumbel):
    """A search of a user's own that would reuse what sequential halving visited."""

    @property
    def reuse(self):
        return True


def test_sequential_halving_reuses_nothing():
    with pytest.raises(InvalidSetting, match=r"^reuse: got true, wanted false: kept visits would break"):
        Search(C4, Halving(), 1)
    with pytest.raises(TypeError, match="reuse"):
        Gumbel(reuse=True)  # pyright: ignore[reportCallIssue]


def test_a_cheating_search_has_no_worlds():
    with pytest.raises(InvalidSetting, match=r"^worlds: got 2 with cheating true, wanted 1: nothing is redealt"):
        Uct(tree="per_world", worlds=2, cheating=True)


def test_shards_reuse_no_tree():
    with pytest.raises(InvalidSetting, match=r"^reuse: got true, wanted false: every position is searched"):
        PositionSearch(C4, Uct(reuse=True), Effort(), ShardSearch(C4, Uct(reuse=True)))


def test_a_player_has_an_evaluator_if_and_only_if_its_search_asks_one():
    constant = Constant(TTT.actions, TTT.seats)
    with pytest.raises(InvalidConfig, match="evaluates its leaves by playouts"):
        SearchPlayer(TTT, Uct(), constant, 1)
    for config in (Puct(), Gumbel()):
        with pytest.raises(InvalidConfig, match="asks an evaluator and has none"):
            SearchPlayer(TTT, config, None, 1)
        SearchPlayer(TTT, config, constant, 1)
    SearchPlayer(TTT, Uct(), None, 1)


@pytest.mark.parametrize(("scale", "share"), [(0.0, None), (1.0, None), (None, 0.0), (None, 0.25)])
def test_noise_is_by_each_searchs_own_setting(scale, share):
    """Gumbel's scale and PUCT's share: 0 draws none, anything else another decision for another stream."""
    config = Gumbel(simulations=4, noise_scale=scale) if share is None else Puct(simulations=4, noise_share=share)
    parameters = config.parameters(C4)
    assert (parameters.noise_scale, parameters.noise_share) == (scale or 0.0, share or 0.0)
    constant, state = Constant(C4.actions, C4.seats), C4.deal(np.array([1, 2, 3, 4], dtype=np.uint64))
    rows = [
        search_one(
            Search(C4, config, 1),
            state,
            rng.stream(n),
            lambda o: constant.collect(constant.submit(o)).outputs,
        )
        for n in range(12)
    ]
    assert (len({row.visits.tobytes() for row in rows}) > 1) == bool(scale or share)


def test_an_agents_search_is_the_runs_own_but_for_what_is_asked():
    of_run = {"_target_": "x", "simulations": 8, "tree": "per_world", "worlds": 8}
    assert agent_search(of_run) == of_run
    assert agent_search(of_run, 9) == {**of_run, "simulations": 9}
    assert agent_search(of_run, worlds=3) == {**of_run, "worlds": 3}
    assert agent_search(of_run, tree="shared") == {**of_run, "tree": "shared", "worlds": 1}
    assert agent_search(of_run, tree="per_world") == of_run
    for wrong, message in (
        ({"tree": "shared", "worlds": 3}, "worlds: got 3 with tree shared"),
        ({"tree": "x"}, "tree: got 'x', wanted one of"),
        ({"worlds": 0}, "worlds: got 0, wanted an integer >= 1"),
        ({"simulations": -1}, "simulations: got -1"),
    ):
        with pytest.raises(InvalidSetting, match=f"^{message}"):
            agent_search(of_run, **wrong)
    shared = {**of_run, "tree": "shared", "worlds": 1}
    assert agent_search(shared, tree="per_world", worlds=4)["worlds"] == 4
    with pytest.raises(InvalidSetting, match=r"^worlds: got 4 with tree shared"):
        agent_search(shared, worlds=4)
