"""Searches and self-play at a table of many: Blob, with hidden hands, forced moves and empty seats."""

import dataclasses
import functools
import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from scoundrel_ray import rng
from scoundrel_ray.evaluator import Evaluation
from scoundrel_ray.experience.lockstep import HALVES
from scoundrel_ray.games import blob
from scoundrel_ray.games import blob_state as s
from scoundrel_ray.search import Search, search_one
from scoundrel_ray.searches import kernels
from scoundrel_ray.searches.forest import Decisions
from scoundrel_ray.searches.gumbel import Gumbel
from scoundrel_ray.searches.puct import Puct
from scoundrel_ray.searches.uct import Uct
from scoundrel_ray.streams import Purpose
from tests.searches.test_search import hashed, positions
from tests.self_play import rows_of, self_play

GAMES = {"four": blob.make(4, 3), "three_or_five": blob.make([3, 5], 3), "whole_game": blob.make([3, 5], 2, "game")}
COUNTS = {"four": {4}, "three_or_five": {3, 5}, "whole_game": {3, 5}}
PLIES = {"four": 14, "three_or_five": 14, "whole_game": 60}  # random moves before a position is taken, at most


def seats_from(seat, players, seats):
    """All seats in the order in which a mover is told of them: on from its own, then the empty ones."""
    return [*range(seat, players), *range(seat), *range(players, seats)]


def by_seat(game, state, said):
    """What was said of the mover, the seat after it and so on, by seat."""
    out = [0.0] * game.seats
    for seat, value in zip(seats_from(game.seat(state), game.players(state), game.seats), said, strict=True):
        out[seat] = float(value)
    return np.array(out)


def outcome(game, scores):
    """Values of scores: no point is -1, all that could be won 1."""
    return 2 * np.asarray(scores, dtype=np.float64) / game.score_range[1] - 1


def settled(game, state):
    """The state after its forced moves."""
    while len(legal := game.legal(state)) == 1:
        state = game.step(state, int(legal[0]))
    return state


def several(name, count, seed):
    """Positions with a choice, of all numbers of players that the game knows."""
    states = positions(GAMES[name], count, seed, PLIES[name])
    assert {GAMES[name].players(state) for state in states} == COUNTS[name]
    return states


@functools.cache
def last_choices(name):
    """Positions at the end of the second-last trick of a game, whose mover scores by one of its two cards alone."""
    game, generator, found = GAMES[name], np.random.default_rng(7), []
    while len(found) < 40:
        state = game.deal(rng.stream(int(generator.integers(1 << 30))))
        while (seat := game.seat(state)) >= 0:
            last_round = state[s.DONE] + 1 == state[s.ROUNDS]
            last_of_trick = state[s.TRICKS_LEFT] == 2 and state[s.IN_TRICK] == state[s.PLAYERS] - 1
            legal = game.legal(state).tolist()
            if last_round and last_of_trick and len(legal) == 2:
                scores = [game.scores(settled(game, game.step(state, action)))[seat] for action in legal]
                if scores[0] != scores[1]:
                    found.append(state)
                break
            bold = generator.random() < 0.5  # so that bids can be made
            state = game.step(state, game.rules.heuristic(state, rng.stream(0)) if bold else generator.choice(legal))
    assert {game.players(state) for state in found} == COUNTS[name]
    return found


def worlds_of(game, state, stream, count):
    """The worlds that a search without noise draws from a stream: each by a stream forked from it."""
    for _ in range(count):
        own = np.empty(4, dtype=np.uint64)
        kernels.fork(stream, own)
        yield game.redeal(state, game.seat(state), own)


class Recorder:
    """`hashed` for a search and for self-play; keeps all that it was asked."""

    def __init__(self, game):
        self.say = hashed(game)
        self.asked = []

    def __call__(self, observations):
        self.asked.extend(observations.copy())
        return self.say(observations)

    def submit(self, observations):
        return self(observations)

    def collect(self, ticket):
        return Evaluation(ticket, 0)


# Each seat's own value.


@dataclass
class Node:
    """A decision in the slow search."""

    state: np.ndarray
    seat: int
    actions: list
    priors: np.ndarray
    value: np.ndarray  # [P], by seat
    visits: list = field(default_factory=list)
    totals: list = field(default_factory=list)  # of an action: [P], by seat
    children: list = field(default_factory=list)

    def __post_init__(self):
        self.visits = [0] * len(self.actions)
        self.totals = [np.zeros_like(self.value) for _ in self.actions]
        self.children = [None] * len(self.actions)


def opened(game, state, evaluate):
    """A new node."""
    seat, actions = game.seat(state), game.legal(state).tolist()
    logits, said = evaluate(game.observe(state, seat)[None])
    weights = np.exp(logits[0, actions].astype(np.float64))
    return Node(state, seat, actions, weights / weights.sum(), by_seat(game, state, said[0]))


def best_edge(node, config):
    """PUCT's choice, for the seat that decides here."""
    total = sum(node.visits)
    scale = config.exploration + math.log((1 + total + config.exploration_base) / config.exploration_base)
    mean = (node.value + sum(node.totals))[node.seat] / (1 + total)
    scores = []
    for prior, visits, won in zip(node.priors, node.visits, node.totals, strict=True):
        value = won[node.seat] / visits if visits else mean - config.first_play_reduction
        scores.append(value + scale * prior * math.sqrt(max(total, 1)) / (1 + visits))
    return scores.index(max(scores))


def slow_puct(game, world, config, evaluate):
    """PUCT over one world, as plainly as it reads: (root, seats that decide somewhere in the tree)."""
    root = opened(game, world, evaluate)
    seats = {root.seat}
    for _ in range(config.simulations):
        node, path = root, []
        while True:
            edge = best_edge(node, config)
            path.append((node, edge))
            if node.children[edge] is not None:
                node = node.children[edge]
                continue
            state = settled(game, game.step(node.state, node.actions[edge]))
            if game.seat(state) < 0:
                values = outcome(game, game.scores(state))
            else:
                node.children[edge] = opened(game, state, evaluate)
                seats.add(node.children[edge].seat)
                values = node.children[edge].value
            break
        for node, edge in path:
            node.visits[edge] += 1
            node.totals[edge] = node.totals[edge] + values
    return root, seats


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("worlds", [1, 3])
def test_puct_equals_its_slow_transcription(name, worlds):
    """Visits, and values of every seat: games of three and of five in one forest; worlds are summed."""
    game, count = GAMES[name], 10
    config = Puct(simulations=40, tree="per_world", worlds=worlds, noise_share=0.0, first_play_reduction=0.1)
    states, evaluate = several(name, count, seed=worlds), hashed(game)
    search, streams = Search(game, config, count), rng.streams(count, 6)
    search.begin(np.arange(count), states, streams.copy())
    search.run(evaluate)
    decisions = search.decide(search.finished(), np.zeros(count, np.float32), rng.streams(count, 7))
    most_seats = 0
    for row, state in enumerate(states):
        slow = [slow_puct(game, world, config, evaluate) for world in worlds_of(game, state, streams[row], worlds)]
        for tree, (root, seats) in enumerate(slow):
            np.testing.assert_array_equal(search.forest.root_state[worlds * row + tree], root.state)
            most_seats = max(most_seats, len(seats))
        roots, actions = [root for root, _ in slow], len(slow[0][0].actions)
        assert decisions.actions[row, :actions].tolist() == roots[0].actions
        assert decisions.visits[row, :actions].tolist() == np.sum([root.visits for root in roots], axis=0).tolist()
        totals = np.sum([root.totals for root in roots], axis=0)
        np.testing.assert_allclose(decisions.totals[row, :actions], totals, rtol=1e-4, atol=1e-4)
        values = (totals.sum(axis=0) + sum(root.value for root in roots)) / (worlds * (1 + config.simulations))
        np.testing.assert_allclose(decisions.values[row], values, rtol=1e-4, atol=1e-4)
    assert most_seats == max(COUNTS[name])  # some tree reaches decisions of everyone at the table


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "config",
    [
        Puct(simulations=1, tree="per_world", noise_share=0.0),
        Gumbel(simulations=1, tree="per_world", noise_scale=0.0),
    ],
    ids=["puct", "gumbel"],
)
def test_one_simulation_is_worked_out(name, config):
    """The likeliest action is tried and has the value said after it; the position has the mean of that and its own."""
    game, evaluate = GAMES[name], hashed(GAMES[name])
    search = Search(game, config, 1)
    for number, state in enumerate([*several(name, 20, seed=3), *last_choices(name)[:6]]):
        (world,) = worlds_of(game, state, rng.stream(8, number), 1)
        decisions = search_one(search, state, rng.stream(8, number), evaluate)
        legal = game.legal(state).tolist()
        logits, said = evaluate(game.observe(state, game.seat(state))[None])
        likeliest = int(np.argmax(logits[0, legal]))
        then = settled(game, game.step(world, legal[likeliest]))
        if game.seat(then) < 0:
            tried = outcome(game, game.scores(then))
        else:
            tried = by_seat(game, then, evaluate(game.observe(then, game.seat(then))[None])[1][0])
        assert decisions.visits[0].nonzero()[0].tolist() == [likeliest] and decisions.visits.sum() == 1
        np.testing.assert_allclose(decisions.totals[0, likeliest], tried, atol=1e-6)
        np.testing.assert_allclose(decisions.values[0], (by_seat(game, state, said[0]) + tried) / 2, atol=1e-6)


@pytest.mark.parametrize("name", ["four", "three_or_five"])
@pytest.mark.parametrize(
    "config",
    [
        Puct(simulations=300, tree="per_world"),
        Puct(simulations=300, tree="per_world", leaves=4, virtual_loss=1.0),
        Gumbel(simulations=300, tree="per_world"),
        Uct(simulations=300, tree="per_world"),
    ],
    ids=str,
)
def test_every_seat_plays_for_itself(name, config):
    """Deep in a tree, where a choice ends the game, the others' seats too visit most what is best for themselves."""
    game, search, others = GAMES[name], Search(GAMES[name], config, 1), 0
    late = [state for state in positions(game, 500, seed=8, plies=16) if state[s.TRICKS_LEFT] == 2]
    for number, state in enumerate(late):
        search_one(search, state, rng.stream(10, number), hashed(game))
        f = search.forest
        for node in range(1, f.nodes[0]):
            first, seat = f.node["first"][0, node], f.node["seat"][0, node]
            edges = slice(first, first + f.node["count"][0, node])
            visits = f.edge["visits"][0, edges]
            if visits.min() == 0 or visits.sum() < 20 or (f.edge["child"][0, edges] >= 0).any():
                continue
            own = f.edge_total[0, edges, seat] / visits
            if np.ptp(own) > 0.5:
                assert own[visits.argmax()] > own.max() - 1e-4
                others += seat != game.seat(state)
    assert others > 10


# Worlds.


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "config",
    [
        Puct(simulations=30, tree="per_world", worlds=3, noise_share=0.0),
        Puct(simulations=30, tree="per_world", worlds=3, noise_share=0.0, leaves=4, virtual_loss=1.0),
        Gumbel(simulations=30, tree="per_world", worlds=3, noise_scale=0.0),
        Uct(simulations=30, tree="per_world", worlds=3),
    ],
    ids=str,
)
def test_worlds_are_summed(name, config):
    """Three worlds are three searches of a world each, drawn from the same stream one after another."""
    game, evaluate = GAMES[name], hashed(GAMES[name])
    together, alone = Search(game, config, 1), Search(game, dataclasses.replace(config, worlds=1), 1)
    for number, state in enumerate(several(name, 12, seed=4)):
        stream = rng.stream(9, number)
        parts = [search_one(alone, state, stream, evaluate) for _ in range(3)]
        whole = search_one(together, state, rng.stream(9, number), evaluate)
        assert whole.visits.sum() == 3 * config.simulations
        np.testing.assert_array_equal(whole.visits, sum(part.visits for part in parts))
        np.testing.assert_array_equal(whole.totals, parts[0].totals + parts[1].totals + parts[2].totals)
        np.testing.assert_allclose(whole.values, sum(part.values for part in parts) / 3, atol=1e-5)
        np.testing.assert_allclose(whole.priors, sum(part.priors for part in parts) / 3, atol=1e-6)


# What the mover cannot know.


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "config",
    [
        Puct(simulations=40, tree="shared"),
        Puct(simulations=40, tree="per_world", worlds=3),
        Gumbel(simulations=40, tree="shared"),
        Gumbel(simulations=40, tree="per_world", worlds=3),
        Uct(simulations=100, tree="shared"),
        Uct(simulations=100, tree="per_world", worlds=3),
    ],
    ids=str,
)
def test_a_search_never_sees_a_hidden_card(name, config):
    """Two states that differ only in what the mover cannot know are searched alike, to the last bit.

    Blob's redeal sorts what is unseen, so that no trace of the true cards is left in what it gives.
    """
    game, evaluate = GAMES[name], hashed(GAMES[name])
    for number, state in enumerate(several(name, 8, seed=5)):
        other = game.redeal(state, game.seat(state), rng.stream(11, number))
        assert (other != state).any()
        streams = rng.stream(12, number), rng.stream(12, number)
        rows = [
            search_one(Search(game, config, 1), each, stream, evaluate, temperature=1.0)
            for each, stream in zip((state, other), streams, strict=True)
        ]
        for name_of_field, one, two in zip(Decisions._fields, *rows, strict=True):
            assert one.tobytes() == two.tobytes(), name_of_field
        np.testing.assert_array_equal(*streams)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "config",
    [Puct(simulations=40, tree="per_world"), Gumbel(simulations=40, tree="per_world"), Uct(simulations=100)],
    ids=str,
)
def test_a_search_that_redeals_nothing_would_be_found_out(name, config):
    """The test above can fail: told that nothing is hidden, a search tells the same pairs apart."""
    game, evaluate = dataclasses.replace(GAMES[name], hidden=False), hashed(GAMES[name])
    apart = 0
    for number, state in enumerate(several(name, 8, seed=5)):
        other = game.redeal(state, game.seat(state), rng.stream(11, number))
        rows = [search_one(Search(game, config, 1), each, rng.stream(12), evaluate) for each in (state, other)]
        apart += (rows[0].totals != rows[1].totals).any()
    assert apart > 4


# Forced moves.


def seen_by(game, observation):
    """An observation by field."""
    entries, fields = observation.tolist(), {}
    for part in game.observation:
        fields[part.name], entries = entries[: part.size], entries[part.size :]
    return fields


def choices(game, observation):
    """How many actions are legal, counted from what the mover is told."""
    seen = seen_by(game, observation)
    if seen["bidding"] == [1]:
        said = sum(bid for bid in seen["bid"] if bid >= 0)
        forbidden = seen["dealer"] == [0] and said <= seen["dealt"][0]
        return seen["dealt"][0] + 1 - forbidden
    own = [card for card, what in enumerate(seen["card"]) if 2 <= what < 12]
    following = [card for card in own if card // s.RANKS == seen["led"][0]]
    return len(following or own)


def leads_to_forced_moves(game, state):
    """Whether some action leaves the next to move without a choice."""
    return any(len(game.legal(game.step(state, int(action)))) == 1 for action in game.legal(state))


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "config",
    [
        Puct(simulations=60, tree="per_world"),
        Puct(simulations=60, tree="shared"),
        Gumbel(simulations=60, tree="per_world", worlds=2),
    ],
    ids=str,
)
def test_a_tree_holds_no_forced_moves(name, config):
    """Forced moves are no nodes and no leaves: as many leaves are asked about as there are nodes with a choice."""
    game, chains = GAMES[name], 0
    for number, state in enumerate(several(name, 12, seed=6)):
        chains += leads_to_forced_moves(game, state)
        search, recorder = Search(game, config, 1), Recorder(game)
        decisions = search_one(search, state, rng.stream(13, number), recorder)
        assert decisions.visits.sum() == config.simulations * search.trees_per_game
        forest = search.forest
        for tree, nodes in enumerate(forest.nodes):
            assert (forest.node["count"][tree, :nodes] > 1).all()
        assert len(recorder.asked) == forest.nodes.sum()
        assert min(choices(game, observation) for observation in recorder.asked) > 1
    assert chains > 2


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "config",
    [
        Puct(simulations=50, tree="per_world", noise_share=0.0),
        Puct(simulations=50, tree="per_world", noise_share=0.0, leaves=8, virtual_loss=1.0),
        Gumbel(simulations=50, tree="per_world", noise_scale=0.0),
        Uct(simulations=50, tree="per_world"),
    ],
    ids=str,
)
def test_the_last_choice_is_worked_out(name, config):
    """The last card of every hand is forced: nothing but the root is asked about, and its actions' values are final.

    What is chosen is best for the mover itself, whatever it means for the others.
    """
    game, search, split = GAMES[name], Search(GAMES[name], config, 1), 0
    for number, state in enumerate(last_choices(name)):
        (world,) = worlds_of(game, state, rng.stream(14, number), 1)
        legal = game.legal(state).tolist()
        ends = [settled(game, game.step(world, action)) for action in legal]
        assert all(game.seat(end) < 0 for end in ends)
        values = np.stack([outcome(game, game.scores(end)) for end in ends])
        recorder = Recorder(game)
        decisions = search_one(search, state, rng.stream(14, number), recorder)
        assert len(recorder.asked) == (not isinstance(config, Uct)) and search.forest.nodes[0] == 1
        assert decisions.visits[0, :2].sum() == config.simulations
        np.testing.assert_allclose(decisions.totals[0, :2], decisions.visits[0, :2, None] * values, rtol=1e-5)
        assert (decisions.totals[0, :2, game.players(state) :] == -decisions.visits[0, :2, None]).all()
        own = values[:, game.seat(state)]
        assert own[legal.index(decisions.chosen[0])] == own.max()
        split += own[0] != own[1]
    assert split > 4


def test_one_card_each_is_bid_for_and_plays_itself():
    """A row for each bid, but for the dealer's where the rules leave it only one; none for the cards."""
    game, recorder = blob.make(4, 1), Recorder(blob.make(4, 1))
    player = self_play(game, Puct(simulations=4, tree="per_world"), recorder, 1, games=8, rows=100)
    rows, report = rows_of(player.play())
    assert (rows["actions"] == [s.BID, s.BID + 1]).all()
    lasts = [seen_by(game, row["observation"]) for row in rows if seen_by(game, row["observation"])["dealer"] == [0]]
    assert len(rows) == 3 * len(report["scores"]) + len(lasts)
    assert all(sum(bid for bid in seen["bid"] if bid >= 0) > 1 for seen in lasts)
    assert 0 < len(lasts) < len(report["scores"])
    assert all(seen_by(game, observation)["bidding"] == [1] for observation in recorder.asked)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "config",
    [
        Puct(simulations=8, tree="per_world"),
        Puct(simulations=8, tree="shared"),
        Gumbel(simulations=8, tree="per_world", worlds=2, leaves=2),
    ],
    ids=str,
)
def test_self_play_asks_only_where_there_is_a_choice(name, config):
    """Rows and leaves have at least two legal actions; a decision asks about its root and a leaf a simulation."""
    game, recorder = GAMES[name], Recorder(GAMES[name])
    rows, report = rows_of(self_play(game, config, recorder, 2, games=8, rows=150, seconds=60).play())
    legal = (rows["actions"] >= 0).sum(axis=1)
    assert legal.min() > 1 and legal.tolist() == [choices(game, row["observation"]) for row in rows]
    cards = [seen_by(game, row["observation"]) for row in rows]
    assert all(seen["bidding"] == [1] or seen["tricks_left"][0] > 1 for seen in cards)
    assert min(choices(game, observation) for observation in recorder.asked) > 1
    trees = config.trees_per_game
    most = trees * (1 + config.simulations)
    assert report["leaves"] == len(recorder.asked) <= (report["decisions"] + 8) * most  # 8 may be under way
    assert report["decisions"] >= len(rows)


# Targets.


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    ("config", "bootstrap"),
    [
        (Puct(simulations=6, tree="per_world"), 0.0),
        (Puct(simulations=12, tree="shared", reuse=True), 0.0),
        (Gumbel(simulations=6, tree="per_world", worlds=2), 0.25),
        (Uct(simulations=20), 0.5),
    ],
    ids=str,
)
def test_self_play_is_one_search_after_another(name, config, bootstrap):
    """Every finished game is played again from its deal, a search for each decision: the same rows, from each seat."""
    game, evaluate = GAMES[name], hashed(GAMES[name])
    player = self_play(game, config, Recorder(game), 3, games=8, rows=200, seconds=60, bootstrap=bootstrap)
    rows, report = rows_of(player.play())
    deals, dealt = {}, len(report["scores"]) + 8
    for half in range(HALVES):
        for number in range(dealt):
            stream = rng.stream(3, Purpose.GAMES, 0, 0, half, number)
            state = settled(game, game.deal(stream))
            deals[game.observe(state, game.seat(state)).tobytes()] = state, stream
    assert len(deals) == HALVES * dealt  # what the first to bid is told names the deal
    search, first, met = Search(game, config, 1), np.zeros(1, np.int64), set()
    at = 0
    for scores in report["scores"]:
        state, stream = deals.pop(rows["observation"][at].tobytes())
        players, decided = game.players(state), []
        search.forget(first)
        while (seat := game.seat(state)) >= 0:
            decisions = search_one(search, state, stream, evaluate, temperature=1.0)
            decided.append((seat, game.observe(state, seat), decisions))
            state = settled(game, game.step(state, int(decisions.chosen[0])))
            if game.seat(state) >= 0:
                search.advance(first, decisions.chosen, state[None])
        np.testing.assert_array_equal(game.scores(state), scores)
        values = outcome(game, scores)
        assert (values[players:] == -1).all()
        for seat, observation, decisions in decided:
            row = rows[at]
            np.testing.assert_array_equal(row["observation"], observation)
            np.testing.assert_array_equal(row["actions"], decisions.actions[0])
            np.testing.assert_allclose(row["policy"], decisions.policy[0], atol=1e-5)
            wanted = (1 - bootstrap) * values + bootstrap * decisions.values[0]
            np.testing.assert_allclose(row["value"], wanted[seats_from(seat, players, game.seats)], atol=1e-5)
            if bootstrap == 0.0:
                assert row["value"][0] == pytest.approx(values[seat])
                assert (row["value"][players:] == -1).all()
            at += 1
        met.add(players)
    assert at == len(rows) and met == COUNTS[name]
