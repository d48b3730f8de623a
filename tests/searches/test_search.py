"""Searches as a whole: perfect play, forced wins, independence of rows, threads and lockstep, honest hidden worlds."""

import dataclasses

import numpy as np
import pytest

from scoundrel_ray import compiled, rng
from scoundrel_ray.compiled import rule
from scoundrel_ray.evaluator import Constant
from scoundrel_ray.game import InvalidGame
from scoundrel_ray.games import connect_four, scoundrel, tic_tac_toe
from scoundrel_ray.games.scoundrel_state import CARDS, DUNGEON, HEAD
from scoundrel_ray.search import Search, first_row, search_one
from scoundrel_ray.searches.forest import Decisions
from scoundrel_ray.searches.gumbel import Gumbel
from scoundrel_ray.searches.puct import Puct
from scoundrel_ray.searches.uct import Uct
from tests.self_play import rows_of, self_play

GAMES = {"tic_tac_toe": tic_tac_toe.make(), "connect_four": connect_four.make(), "scoundrel": scoundrel.make()}
TTT, C4, SCOUNDREL = GAMES.values()


def hashed(game, scale=1.0):
    """An evaluator that is a fixed function of each observation alone, so that rows cannot help one another."""

    def evaluate(observations):
        generator = np.random.default_rng(5)
        weights = generator.normal(size=(game.observation_size, game.actions + game.seats))
        out = np.sin((observations.astype(np.float64)[:, :, None] * weights).sum(axis=1))
        logits, values = out[:, : game.actions], out[:, game.actions :]
        return (scale * logits).astype(np.float32), (0.5 * values).astype(np.float32)

    return evaluate


def minimax(game, state):
    """Value of a finished-information game for every seat, by full search."""
    seat = game.seat(state)
    if seat < 0:
        return game.scores(state)
    return max((minimax(game, game.step(state, int(a))) for a in game.legal(state)), key=lambda v: v[seat])


def after(game, actions, seed=0):
    state = game.deal(rng.stream(seed))
    for action in actions:
        state = game.step(state, action)
    return state


def positions(game, count, seed, plies):
    """States met in random play with at least two legal actions."""
    generator = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        state = game.deal(rng.stream(int(generator.integers(1 << 30))))
        for _ in range(generator.integers(plies)):
            if game.seat(state) < 0:
                break
            state = game.step(state, int(generator.choice(game.legal(state))))
        if game.seat(state) >= 0 and len(game.legal(state)) > 1:
            found.append(state)
    return np.stack(found)


@pytest.mark.parametrize(
    "config",
    [
        Uct(simulations=4000),
        Puct(simulations=1500, tree="per_world", noise_share=0.0),
        Gumbel(simulations=1500, tree="per_world", noise_scale=0.0),
    ],
)
def test_perfect_play_in_tic_tac_toe(config):
    """A search against every reply of a perfect opponent and against random ones never loses."""
    search = Search(TTT, config, 1)
    constant = Constant(TTT.actions, TTT.seats)
    generator = np.random.default_rng(0)

    def evaluate(observations):
        return constant.collect(constant.submit(observations)).outputs

    for game_number in range(12):
        mine = game_number % 2
        state = TTT.deal(rng.stream(game_number))
        while (seat := TTT.seat(state)) >= 0:
            if seat == mine:
                action = int(search_one(search, state, rng.stream(9, game_number), evaluate).chosen[0])
            elif game_number % 4 < 2:
                action = int(generator.choice(TTT.legal(state)))
            else:
                replies = [int(a) for a in TTT.legal(state)]
                action = max(replies, key=lambda a: minimax(TTT, TTT.step(state, a))[seat])
            state = TTT.step(state, action)
        assert TTT.scores(state)[mine] >= 0


@pytest.mark.parametrize(
    "config",
    [
        Uct(simulations=3000),
        Puct(simulations=800, tree="per_world", noise_share=0.0),
        Gumbel(simulations=800, tree="per_world", noise_scale=0.0),
    ],
)
def test_forced_win_in_connect_four_is_found(config):
    # Seat 0 holds columns 3 and 4 of the empty bottom row (indices 2 and 3 of 0..6); 4 makes an open three, which wins.
    state = after(C4, [2, 2, 3, 3])
    constant = Constant(C4.actions, C4.seats)
    search = Search(C4, config, 1)
    row = first_row(search_one(search, state, rng.stream(1), lambda o: constant.collect(constant.submit(o)).outputs))
    assert row["chosen"] in (1, 4)
    best = list(row["actions"]).index(row["chosen"])
    assert row["totals"][best, 0] / row["visits"][best] > 0.5


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "config",
    [
        Puct(simulations=40, tree="per_world", leaves=3, virtual_loss=1.0),
        Puct(simulations=40, tree="per_world", worlds=2),
        Puct(simulations=40, tree="shared"),
        Gumbel(simulations=40, tree="per_world"),
        Gumbel(simulations=40, tree="per_world", worlds=3, leaves=2),
        Gumbel(simulations=40, tree="shared"),
        Uct(simulations=60, tree="shared"),
        Uct(simulations=60, tree="per_world", worlds=2),
    ],
    ids=str,
)
def test_rows_do_not_depend_on_other_rows_nor_on_threads(name, config):
    """Each of eight searches gives the same alone, among others, and on three threads."""
    game = GAMES[name]
    states = positions(game, 8, seed=3, plies=6)
    evaluate = hashed(game)

    def decide(rows, threads):
        search = Search(game, config, len(rows), threads)
        streams = np.stack([rng.stream(7, int(r)) for r in rows])
        places = np.arange(len(rows))
        search.begin(places, states[rows], streams)
        search.run(evaluate)
        assert list(search.finished()) == list(places)
        decisions = search.decide(places, np.ones(len(rows), np.float32), streams)
        search.close()
        return decisions

    together = decide(np.arange(8), 1)
    for other in (decide(np.arange(8), 3), *([decide(np.array([r]), 1)] for r in (0, 5))):
        rows = slice(None) if isinstance(other, Decisions) else None
        if rows is not None:
            for field in Decisions._fields:
                np.testing.assert_array_equal(getattr(together, field), getattr(other, field), err_msg=field)
    for row in (0, 5):
        alone = decide(np.array([row]), 1)
        for field in Decisions._fields:
            np.testing.assert_allclose(
                getattr(together, field)[row], getattr(alone, field)[0], rtol=1e-5, atol=1e-5, err_msg=field
            )


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "config",
    [
        Puct(simulations=20, tree="per_world", worlds=2, leaves=3),
        Gumbel(simulations=20, tree="shared"),
        Uct(simulations=20),
        Uct(simulations=20, leaves=4),
    ],
    ids=str,
)
def test_games_are_searched_in_any_groups_while_the_leaves_of_others_wait(config, threads):
    """Groups of changing members, whose answers come late and in another order, give what all give at once."""
    states, evaluate = np.stack(positions(SCOUNDREL, 8, seed=9, plies=20)), hashed(SCOUNDREL)
    everyone, generator = np.arange(8, dtype=np.int64), np.random.default_rng(4)
    found = []
    for grouped in (False, True):
        search, streams = Search(SCOUNDREL, config, 8, threads), rng.streams(8, 3)
        search.begin(everyone, states, streams)
        if grouped:
            finished, waiting = set(), []
            while len(finished) < 8:
                free = sorted(set(range(8)) - finished - {game for games, _ in waiting for game in games})
                games = np.array([game for game in free if generator.random() < 0.5], dtype=np.int64)
                if len(games):
                    observations = search.select(games)
                    waiting.append((games, None if observations is None else evaluate(observations)))
                if waiting and generator.random() < 0.5:
                    games, answers = waiting.pop(generator.integers(len(waiting)))
                    if answers is not None:
                        search.backup(*answers, games)
                    new = set(search.finished(games).tolist())
                    assert new <= set(games.tolist()) and not new & finished
                    finished |= new
        else:
            search.run(evaluate)
            assert list(search.finished()) == list(everyone)
        found.append(search.decide(everyone, np.zeros(8, np.float32), streams))
        search.close()
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "config",
    [
        Puct(simulations=50, tree="per_world"),
        Puct(simulations=50, tree="per_world", leaves=4, virtual_loss=1.0),
        Gumbel(simulations=50, tree="per_world"),
        Uct(simulations=50),
    ],
    ids=str,
)
def test_books_balance(name, config):
    """Visits at the root are the simulations asked for; recommended policies sum to one; values lie in [-1, 1]."""
    game = GAMES[name]
    states = positions(game, 16, seed=4, plies=8)
    search = Search(game, config, 16)
    streams = rng.streams(16, 3)
    search.begin(np.arange(16), states, streams)
    search.run(hashed(game))
    decisions = search.decide(search.finished(), np.zeros(16, np.float32), streams)
    assert (decisions.visits.sum(axis=1) == 50 * search.trees_per_game).all()
    np.testing.assert_allclose(decisions.policy.sum(axis=1), 1.0, rtol=1e-5)
    assert (np.abs(decisions.values) <= 1.0 + 1e-6).all()
    assert not search.forest.edge["flight"][:, : search.forest.edges.min()].any()
    for row in range(16):
        legal = list(game.legal(states[row]))
        assert list(decisions.actions[row, : len(legal)]) == legal
        assert decisions.chosen[row] in legal


@rule(compiled.REDEAL)
def sorted_redeal(state, _seat, stream):
    """Scoundrel's redeal after sorting what it redraws: no trace of the true order is left in what it gives."""
    first, stop = DUNGEON + state[HEAD], DUNGEON + CARDS
    for i in range(first + 1, stop):
        card, at = state[i], i
        while at > first and state[at - 1] > card:
            state[at] = state[at - 1]
            at -= 1
        state[at] = card
    rng.shuffle(stream, state, first, stop)
    return 0


@pytest.mark.parametrize(
    "config",
    [
        Uct(simulations=300),
        Uct(simulations=300, tree="per_world", worlds=4),
        Puct(simulations=100, tree="per_world", worlds=3, leaves=4),
        Puct(simulations=100, tree="shared", reuse=True),
        Gumbel(simulations=60, tree="shared"),
    ],
    ids=str,
)
def test_a_search_never_sees_a_hidden_card(config):
    """Two states that differ only in what the player cannot know are searched alike, to the last bit."""
    game = dataclasses.replace(SCOUNDREL, rules=SCOUNDREL.rules._replace(redeal=sorted_redeal))
    for number, state in enumerate(positions(game, 6, seed=5, plies=20)):
        other = SCOUNDREL.redeal(state, 0, rng.stream(11, number))
        rows = [search_one(Search(game, config, 1), s, rng.stream(12), hashed(game)) for s in (state, other)]
        for name, one, two in zip(Decisions._fields, *rows, strict=True):
            np.testing.assert_array_equal(one, two, err_msg=name)


def test_reuse_keeps_the_subtree_exactly():
    """The subtree of the move played: the same visits and values as before it was moved."""
    config = Puct(simulations=200, tree="per_world", noise_share=0.0, reuse=True)
    search = Search(C4, config, 1)
    state = after(C4, [3, 3])
    row = first_row(search_one(search, state, rng.stream(2), hashed(C4)))
    forest = search.forest
    best = list(row["actions"]).index(row["chosen"])
    child = forest.edge["child"][0, best]
    first, count = forest.node["first"][0, child], forest.node["count"][0, child]
    visits = forest.edge["visits"][0, first : first + count].copy()
    totals = forest.edge_total[0, first : first + count].copy()
    following = C4.step(state, int(row["chosen"]))
    search.advance(np.zeros(1, np.int64), np.array([row["chosen"]]), following[None])
    np.testing.assert_array_equal(forest.edge["visits"][0, :count], visits)
    np.testing.assert_array_equal(forest.edge_total[0, :count], totals)
    assert forest.node["visits"][0, 0] == visits.sum()
    # Every node left hangs on an older one, through an edge that leads to it.
    for node in range(1, forest.nodes[0]):
        assert forest.edge["child"][0, forest.node["parent"][0, node]] == node
    decisions = search_one(search, following, rng.stream(3), hashed(C4))
    assert decisions.visits.sum() == 200


@pytest.mark.parametrize("tree", ["per_world", "shared"])
def test_a_kept_root_gets_fresh_noise(tree):
    """Its priors, free of noise while it was an inner node, are mixed with a draw of the new decision's stream."""
    game = SCOUNDREL if tree == "shared" else C4
    config = Puct(simulations=300, tree=tree, noise_share=0.25, noise_alpha=0.5, reuse=True)
    search, games = Search(game, config, 1), np.zeros(1, np.int64)
    forest, evaluate = search.forest, hashed(game)
    state = after(game, [3, 3] if game is C4 else [], seed=4)
    decisions = search_one(search, state, rng.stream(2), evaluate)
    state = game.step(state, int(decisions.chosen[0]))
    search.advance(games, decisions.chosen, state[None])
    nodes, count = int(forest.nodes[0]), int(forest.node["count"][0, 0])
    assert nodes > 10 and count > 2, "nothing was kept that noise could be mixed into"
    edges = int(forest.edges[0])
    priors, visits = (forest.edge[name][0, :edges].copy() for name in ("prior", "visits"))
    logits = evaluate(game.observe(state, game.seat(state))[None])[0][0, game.legal(state)].astype(np.float64)
    np.testing.assert_allclose(priors[:count], np.exp(logits) / np.exp(logits).sum(), rtol=1e-4)
    mixed = []
    for seed in (3, 4):
        kept = forest.edge["prior"][0, :edges]
        kept[:] = priors
        search.begin(games, state[None], rng.stream(seed)[None].copy())
        assert forest.nodes[0] == nodes and forest.budget[0] == 300 - visits[:count].sum()
        noise = forest.root_noise[0, :count].copy()
        assert (noise >= 0).all() and noise.sum() == pytest.approx(1.0, rel=1e-5)
        np.testing.assert_allclose(kept[:count], 0.75 * priors[:count] + 0.25 * noise, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(kept[count:], priors[count:])  # of all other nodes
        np.testing.assert_array_equal(forest.edge["visits"][0, :edges], visits)
        mixed.append(kept[:count].copy())
    assert np.abs(mixed[0] - mixed[1]).max() > 0.01  # two streams, two draws


def test_reuse_over_many_worlds_finds_the_node_by_what_was_seen():
    """In Scoundrel a kept tree's root is the decision really met, among all that the redeals led to."""
    config = Puct(simulations=400, tree="shared", noise_share=0.0, reuse=True)
    search = Search(SCOUNDREL, config, 1)
    evaluate = hashed(SCOUNDREL)
    kept = 0
    for seed in range(12):
        search.forget(np.zeros(1, np.int64))
        state = SCOUNDREL.deal(rng.stream(seed))
        for move in range(6):
            decisions = search_one(search, state, rng.stream(4, seed, move), evaluate)
            assert decisions.visits.sum() == 400
            state = SCOUNDREL.step(state, int(decisions.chosen[0]))
            if SCOUNDREL.seat(state) < 0 or len(SCOUNDREL.legal(state)) < 2:
                break
            search.advance(np.zeros(1, np.int64), decisions.chosen, state[None])
            forest = search.forest
            if forest.nodes[0]:
                kept += 1
                legal = SCOUNDREL.legal(state)
                assert list(forest.edge["action"][0, : forest.node["count"][0, 0]]) == list(legal)
    assert kept > 10


@pytest.mark.parametrize("name", GAMES)
def test_self_play_rows_are_what_was_played(name):
    """Values of a game's rows agree with its outcome, policies with its legal actions."""
    game = GAMES[name]
    constant = Constant(game.actions, game.seats)
    player = self_play(game, Puct(simulations=8, tree="per_world"), constant, 1, games=8, rows=200)
    rows, report = rows_of(player.play())
    assert len(rows) >= 200
    np.testing.assert_allclose(rows["policy"].sum(axis=1), 1.0, rtol=1e-5)
    assert ((rows["actions"] >= 0) | (rows["policy"] == 0)).all()
    assert (np.abs(rows["value"]) <= 1).all()
    possible = np.unique(game.values(report["scores"]))
    assert np.isin(rows["value"], possible).all()
    if game.seats == 2:
        np.testing.assert_allclose(rows["value"].sum(axis=1), 0.0, atol=1e-6)


def test_self_play_is_the_same_for_any_number_of_threads():
    played = [
        self_play(
            SCOUNDREL,
            Gumbel(simulations=12, tree="per_world"),
            Constant(SCOUNDREL.actions, 1),
            2,
            games=8,
            rows=200,
            threads=threads,
        ).collect(timed=False)[0]["agent"]
        for threads in (1, 3)
    ]
    np.testing.assert_array_equal(played[0], played[1])


def test_a_forest_too_large_for_memory_is_refused():
    with pytest.raises(MemoryError, match=r"search: .* GiB .* lower search.simulations"):
        Search(SCOUNDREL, Uct(simulations=10**9), 4)


@pytest.mark.parametrize("name", GAMES)
def test_playouts_under_way_are_the_same_for_any_number_of_threads(name):
    game = GAMES[name]
    rows = []
    for threads in (1, 3):
        search = Search(game, Uct(simulations=500, leaves=24), 2, threads)
        states = np.stack(positions(game, 2, 3, 5))
        games = np.arange(2, dtype=np.int64)
        search.begin(games, states, rng.streams(2, 7))
        search.run()
        assert list(search.finished()) == [0, 1]
        decisions = search.decide(games, np.zeros(2, np.float32), rng.streams(2, 8))
        assert (decisions.visits.sum(axis=1) == 500).all()
        assert not search.forest.edge["flight"][:, :50].any()
        rows.append(decisions)
        search.close()
    for one, other in zip(*rows, strict=True):
        np.testing.assert_array_equal(one, other)


def test_playouts_under_way_find_a_win_and_stop_a_loss():
    for actions, wanted in (((0, 3, 1, 4), 2), ((0, 3, 8, 4), 5)):
        search = Search(TTT, Uct(simulations=2000, leaves=16), 1)
        assert search_one(search, after(TTT, actions), rng.stream(1)).chosen[0] == wanted


@pytest.mark.parametrize("leaves", [1, 8])
def test_a_rule_that_fails_during_playouts_is_told(leaves):
    @rule(compiled.STEP)
    def step(state, action):
        return 1

    broken = dataclasses.replace(TTT, rules=TTT.rules._replace(step=step))
    search = Search(broken, Uct(simulations=20, leaves=leaves), 1)
    with pytest.raises(InvalidGame, match="a rule failed during a search"):
        search_one(search, TTT.deal(rng.stream(0)), rng.stream(1))


def test_only_a_cheating_search_sees_the_deck():
    """Two deals that look alike: an honest search says the same of both, a cheating one plans for the cards to come."""
    game = dataclasses.replace(SCOUNDREL, rules=SCOUNDREL.rules._replace(redeal=sorted_redeal))
    state = game.deal(rng.stream(2))
    other = SCOUNDREL.redeal(state, 0, rng.stream(11))
    for cheating in (False, True):
        said = [
            search_one(Search(game, Uct(simulations=500, cheating=cheating), 1), each, rng.stream(1))
            for each in (state, other)
        ]
        assert (said[0].totals == said[1].totals).all() == (not cheating)
