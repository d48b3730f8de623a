"""Several agents at a table: each decides with its own network and learns from its own decisions alone."""

import numpy as np
import pytest

from scoundrel_ray.evaluator import Constant, Evaluation
from scoundrel_ray.experience.lockstep import HALVES
from scoundrel_ray.experience.seating import Seating
from scoundrel_ray.games import blob, tic_tac_toe
from scoundrel_ray.searches.gumbel import Gumbel
from scoundrel_ray.searches.puct import Puct
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.streams import Purpose, stream
from tests.self_play import rows_of, self_play, source_of

TABLE = blob.make([3, 4], 2)  # of four seats, one of which may stay empty
BOARD = tic_tac_toe.make()


class Answers:
    """An evaluator of its own taste: always the same logits, drawn from its seed, and values of what it sees.

    Notes what it was asked.
    """

    def __init__(self, game, seed, version):
        self.logits = np.random.default_rng(seed).normal(0, 1.0, game.actions).astype(np.float32)
        self.seats, self.version = game.seats, version
        self.asked, self.requests = [], 0

    def submit(self, observations):
        self.requests += 1
        self.asked.extend(observation.tobytes() for observation in observations)
        return observations.copy()

    def collect(self, ticket):
        logits = np.repeat(self.logits[None], len(ticket), axis=0)
        return Evaluation((logits, seen_values(ticket, self.seats)), self.version)


def seen_values(observations, seats):
    """Values [n, P] that tell observations apart, whoever sees them."""
    weights = np.random.default_rng(0).normal(0, 0.3, (observations.shape[1], seats))
    return np.tanh(observations @ weights).astype(np.float32)


def two(game, search, seed=3, seats=None, frozen=(), versions=(17, 23), **rollout):
    """Self-play of wide and narrow, and their evaluators."""
    source = source_of(game, search, seats, **{"games": 8, "rows": 150, **rollout})
    evaluators = {
        name: Answers(game, number, version)
        for number, (name, version) in enumerate(zip(("wide", "narrow"), versions, strict=True))
    }
    types = {name: source.role._replace(rows=None) if name in frozen else source.role for name in evaluators}
    return source.collector(types, evaluators, seed, (0, 0)), evaluators


def noted(player):
    """Every decision that the games of a self-play make from now on: owner of its seat and observation, in order."""
    found, games = [], player._lockstep

    def play(chosen, actions, play=games._play):
        if actions.max(initial=-1) >= 0:
            for g in chosen:
                seat = games.game.seat(games._states[g])
                found.append((int(games.owners[g, seat]), games.game.observe(games._states[g], seat).tobytes()))
        return play(chosen, actions)

    games._play = play
    return found


@pytest.mark.parametrize(
    ("game", "search"),
    [
        (TABLE, Puct(simulations=6, tree="per_world", worlds=2)),
        (TABLE, Gumbel(simulations=6, tree="shared", leaves=2)),
        (BOARD, Gumbel(simulations=6, considered=4)),
    ],
    ids=lambda made: getattr(made, "name", type(made).__name__.lower()),
)
def test_every_row_goes_to_the_agent_that_decided_it(game, search):
    player, evaluators = two(game, search)
    decided = noted(player)
    rows, report = player.collect(timed=False)
    assert list(rows) == ["wide", "narrow"]
    for number, name in enumerate(rows):
        own = {observation for owner, observation in decided if owner == number}
        others = {observation for owner, observation in decided if owner != number}
        got = [row.tobytes() for row in rows[name]["observation"]]
        assert got and set(got) <= own and not set(got) <= others
        assert (rows[name]["version"] == evaluators[name].version).all()
    # Whole games of every seat that played, and nothing twice.
    total = sum(map(len, rows.values()))
    assert total >= 150 and report["owners"].shape == report["scores"].shape
    under_way = int(player._lockstep._lengths.sum())
    assert len(decided) == total + under_way == report["decisions"]
    player.close()


@pytest.mark.parametrize("search", [Puct(simulations=6, tree="per_world", worlds=2), Gumbel(simulations=6)], ids=str)
def test_every_leaf_is_asked_from_the_one_that_decides(search):
    """A request holds leaves of one agent's decisions, in half of the games at most; its answers come back to them."""
    player, evaluators = two(TABLE, search)
    wanted = {name: [] for name in evaluators}
    games, right = player._lockstep, {}  # logits and values that the leaves under way are to get, by their games

    def select(chosen, select=games.search.select):
        observations = select(chosen)
        (number,) = set(games.deciders(chosen).tolist())
        assert 0 < len(chosen) <= games.games // 2 and not {game for group in right for game in group} & {*chosen}
        if observations is not None:
            wanted[[*wanted][number]].extend(observation.tobytes() for observation in observations)
            right[tuple(chosen)] = number, seen_values(observations, TABLE.seats)
        return observations

    def backup(logits, values, chosen, backup=games.search.backup):
        number, seen = right.pop(tuple(chosen))
        assert (logits == [*evaluators.values()][number].logits).all()
        np.testing.assert_array_equal(values, seen)
        backup(logits, values, chosen)

    games.search.select, games.search.backup = select, backup
    _, report = player.collect(timed=False)
    for name, evaluator in evaluators.items():
        assert len(evaluator.asked) > 200 and evaluator.asked == wanted[name]
    assert report["messages"] == sum(evaluator.requests for evaluator in evaluators.values())
    assert report["leaves"] == sum(len(evaluator.asked) for evaluator in evaluators.values())
    player.close()


def test_the_root_of_a_decision_is_asked_from_the_owner_of_its_seat():
    """Fixed seats: the first leaf of every search is its root, which only the mover's own agent sees."""
    player, evaluators = two(BOARD, Gumbel(simulations=4, considered=4), seats=["wide", "narrow"])
    rows, report = player.collect(timed=False)
    moves = {name: (rows[name]["observation"] > 0).sum(axis=1) % 2 for name in rows}
    assert (moves["wide"] == 0).all() and (moves["narrow"] == 1).all()
    assert (report["owners"] == [0, 1]).all()
    for name, evaluator in evaluators.items():
        assert {row.tobytes() for row in rows[name]["observation"]} <= set(evaluator.asked)
    empty = np.zeros(9, np.int8).tobytes()
    assert empty in evaluators["wide"].asked and empty not in evaluators["narrow"].asked
    player.close()


def test_answers_come_back_to_the_leaves_that_they_were_asked_for():
    """Evaluators that like one cell each: every agent's first policy is its own taste, whoever else was asked."""
    player, evaluators = two(BOARD, Puct(simulations=24, noise_share=0.0), games=16, rows=200, temperature=0.0)
    for liked, evaluator in zip((2, 6), evaluators.values(), strict=True):
        evaluator.logits[:] = 0
        evaluator.logits[liked] = 8.0
    rows, _ = player.collect(timed=False)
    for liked, name in zip((2, 6), rows, strict=True):
        free = rows[name]["observation"][:, liked] == 0
        place = (rows[name]["actions"] == liked).argmax(axis=1)
        shares = rows[name]["policy"][np.arange(len(place)), place][free]
        early = (rows[name]["observation"][free] > 0).sum(axis=1) <= 2
        assert early.sum() > 10 and (shares[early] > 0.5).all()
    player.close()


def test_a_frozen_agent_plays_and_gets_no_rows():
    search = Puct(simulations=4)
    player, evaluators = two(TABLE, search, frozen=["narrow"])
    rows, report = player.collect(timed=False)
    both, _ = two(TABLE, search)
    of_both, _ = both.collect(timed=False)
    assert list(rows) == ["wide"] and evaluators["narrow"].asked
    np.testing.assert_array_equal(rows["wide"], of_both["wide"])
    assert set(report["agents"]) == {"wide", "narrow"}


def test_agents_learn_from_rows_of_their_own_type():
    source = source_of(BOARD, Puct(simulations=4), games=8, rows=60)
    small = np.dtype([(name, source.role.rows[name]) for name in ("value", "observation")])
    evaluators = {name: Answers(BOARD, 0, 1) for name in ("wide", "narrow")}
    whole = source.collector(dict.fromkeys(evaluators, source.role), evaluators, 3, (0, 0)).collect(timed=False)[0]
    rows = source.collector(
        {"wide": source.role, "narrow": source.role._replace(rows=small)}, evaluators, 3, (0, 0)
    ).collect(timed=False)[0]
    np.testing.assert_array_equal(rows["wide"], whole["wide"])
    assert rows["narrow"].dtype == small
    for name in small.names:
        np.testing.assert_array_equal(rows["narrow"][name], whole["narrow"][name])


def deals_of(player):
    """The states of all games as they are dealt, by half, in order."""
    games = player._lockstep
    found = [[*half.copy()] for half in np.split(games._states, HALVES)]

    def deal(chosen, deal=games._deal):
        deal(chosen)
        for g in chosen:
            found[g * HALVES // games.games].append(games._states[g].copy())

    games._deal = deal
    return found


def test_an_agent_at_the_table_changes_no_deals():
    """Those of each half are those of one agent alone; so are all games of agents that answer alike."""
    search, settings = Puct(simulations=4, tree="per_world"), {"games": 8, "rows": 300}
    alone = self_play(TABLE, search, Answers(TABLE, 0, 1), 3, **settings)
    player, evaluators = two(TABLE, search, **settings)
    evaluators["narrow"].logits = evaluators["wide"].logits
    first, second = deals_of(alone), deals_of(player)
    rows, _ = rows_of(alone.collect(timed=False))
    of_two, _ = player.collect(timed=False)
    for one, other in zip(first, second, strict=True):
        both = min(len(one), len(other))
        assert both > 8
        np.testing.assert_array_equal(one[:both], other[:both])
    fields = ["observation", "actions", "policy", "value"]
    one, other = ({repr(row[fields].item()) for row in each} for each in (rows, np.concatenate([*of_two.values()])))
    # Which games end first depends on who is asked when; those that ended for both are the same.
    assert len(one & other) > 0.8 * max(len(one), len(other))


def test_other_agents_change_no_deals_even_where_they_play_otherwise():
    search = Puct(simulations=4)
    players = [self_play(TABLE, search, Answers(TABLE, 0, 1), 3, games=8, rows=200), two(TABLE, search)[0]]
    first, second = map(deals_of, players)
    for player in players:
        player.collect(timed=False)
    for half in range(2):
        for number in range(4):  # those of the start; the streams of all later ones are by number, too
            np.testing.assert_array_equal(first[half][number], second[half][number])
        assert {state.tobytes() for state in second[half]} <= {dealt(half, number) for number in range(400)}


def dealt(half, number):
    """The first decision of a deal, as a run of seed 3 deals it for its first worker."""
    state = TABLE.deal(stream(3, Purpose.GAMES, 0, 0, half, number))
    while len(legal := TABLE.legal(state)) == 1:
        state = TABLE.step(state, int(legal[0]))
    return state.tobytes()


def test_who_sits_where_is_drawn_by_half_and_by_deal():
    player, _ = two(BOARD, Puct(simulations=4))
    games, seating = player._lockstep, Seating(["wide", "narrow"], 2)
    for g in range(games.games):
        half, number = divmod(g, games.games // HALVES)
        drawn = seating.draw(2, stream(3, Purpose.SEATING, 0, 0, half, number))
        np.testing.assert_array_equal(games.owners[g], drawn)
    assert len({row.tobytes() for row in games.owners}) == 2
    player.close()


def test_the_seats_of_a_finished_game_are_those_that_it_was_played_in():
    """The next game in its place has others."""
    player, _ = two(BOARD, Puct(simulations=4), rows=300)
    games, seats = player._lockstep, [[] for _ in range(HALVES)]

    def finish(g, finish=games._finish):
        seats[g * HALVES // games.games].append(games.owners[g].tolist())
        finish(g)

    games._finish = finish
    _, report = player.collect(timed=False)
    assert report["owners"].tolist() == seats[0] + seats[1]
    player.close()


def test_only_the_first_decisions_of_a_game_are_drawn_by_temperature():
    player, _ = two(BOARD, Puct(simulations=4), temperature=0.5, temperature_steps=2)
    games, seen = player._lockstep, set()

    def decide(chosen, temperatures, streams, decide=games.search.decide):
        seen.update(zip(games._lengths[chosen].tolist(), temperatures.tolist(), strict=True))
        return decide(chosen, temperatures, streams)

    games.search.decide = decide
    player.collect(timed=False)
    assert {(0, 0.5), (1, 0.5), (2, 0.0)} <= seen
    assert all(temperature == (0.5 if length < 2 else 0.0) for length, temperature in seen)
    player.close()


def test_metrics_are_of_the_first_seat_of_each_agent():
    player, _ = two(BOARD, Puct(simulations=4), seats=["narrow", "wide"])
    _, report = player.collect(timed=False)
    for name, seat in (("narrow", 0), ("wide", 1)):
        scores = report["scores"][:, seat]
        wanted = {"score": (scores.mean(), len(scores)), "win_rate": ((scores > 0).mean(), len(scores))}
        assert report["agents"][name] == {key: pytest.approx(value) for key, value in wanted.items()}


def test_a_search_without_an_evaluator_for_each_agent_is_refused():
    source = source_of(BOARD, Puct(simulations=4))
    types = dict.fromkeys(("wide", "narrow"), source.role)
    with pytest.raises(InvalidConfig, match="asks a network for each agent, and was given none"):
        source.collector(types, {"wide": Answers(BOARD, 0, 1)}, 3, (0, 0))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_as_many_requests_are_under_way_as_a_shared_segment_has_slots_for(count):
    names = [f"agent_{number}" for number in range(count)]
    source = source_of(blob.make(5, 2), Gumbel(simulations=4, considered=4), games=16, rows=60)
    under_way, most = [], []

    class Counting(Constant):
        def submit(self, observations):
            under_way.append(len(observations))
            most.append((len(under_way), len(observations)))
            return super().submit(observations)

        def collect(self, ticket):
            under_way.remove(ticket)
            return super().collect(ticket)

    evaluator = Counting(source.spec.actions, source.spec.values)
    source.collector(dict.fromkeys(names, source.role), dict.fromkeys(names, evaluator), 0, (0, 0)).collect(timed=False)
    requests = source.requests(0, names)
    assert max(at_once for at_once, _ in most) == requests.under_way == max(2, count)
    assert max(leaves for _, leaves in most) <= requests.leaves
