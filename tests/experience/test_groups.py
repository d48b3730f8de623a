"""Which games make a group, and what is under way, whoever comes to decide where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoundrel_ray.evaluator import Evaluation
from scoundrel_ray.experience.groups import Groups

GAMES = 8


class Table:
    """Games of which only the deciders are known; a search with a leaf in every game, which notes its answers."""

    def __init__(self, deciders, agents):
        self.games, self.search, self.versions = GAMES, self, np.zeros(agents, np.int32)
        self.agents = np.array(deciders, np.int8)
        self.told = []

    def deciders(self, games):
        return self.agents[games]

    def select(self, games):
        assert len(games) and (np.diff(games) > 0).all()
        return games[:, None].astype(np.int8)

    def backup(self, logits, values, games):
        self.told.append((games.tolist(), logits[:, 0].tolist(), int(values[0, 0])))


class Answers:
    """Says of every leaf what it is, and by whom it was answered."""

    def __init__(self, number):
        self.number, self.under_way = number, 0

    def submit(self, observations):
        self.under_way += 1
        return observations

    def collect(self, ticket):
        self.under_way -= 1
        return Evaluation(
            (ticket.astype(np.float32), np.full((len(ticket), 1), self.number, np.float32)), 10 + self.number
        )


def made(deciders, agents):
    table, answers = Table(deciders, agents), [Answers(number) for number in range(agents)]
    return table, answers, Groups(table, answers, agents)


def test_one_agents_groups_are_always_the_same_two_halves():
    table, _, groups = made([0] * GAMES, 1)
    assert [groups.ask(), groups.ask(), groups.ask()] == [4, 4, None]
    for turn in range(6):
        half = list(range(4)) if turn % 2 == 0 else list(range(4, 8))
        assert groups.answer().tolist() == half and table.told[-1] == (half, half, 0)
        assert groups.ask() == 4 and groups.ask() is None


def test_the_agent_that_most_games_wait_for_comes_first_and_gets_all_of_them():
    table, answers, groups = made([0, 1, 1, 0, 1, 0, 1, 1], 2)
    assert [groups.ask(), groups.ask(), groups.ask()] == [4, 3, None]  # of the five of agent 1, half of all games
    assert [each.under_way for each in answers] == [1, 1]
    assert groups.answer().tolist() == [1, 2, 4, 6] and table.versions.tolist() == [0, 11]
    table.agents[[1, 2]] = 0
    assert groups.ask() == 3 and groups.answer().tolist() == [0, 3, 5]
    assert groups.answer().tolist() == [4, 6, 7]


def test_no_more_than_two_groups_of_an_agent_are_under_way():
    table, answers, groups = made([2] * GAMES, 3)
    assert [groups.ask(), groups.ask(), groups.ask()] == [4, 4, None]
    assert answers[2].under_way == 2
    groups.answer()
    table.agents[:2] = 0
    # Two games come to agent 0; the two others of agent 2 make its second group again.
    assert [groups.ask(), groups.ask(), groups.ask()] == [2, 2, None]
    assert [each.under_way for each in answers] == [1, 0, 2]
    groups.answer()
    groups.answer()
    groups.answer()
    with pytest.raises(IndexError):
        groups.answer()


def test_what_is_dropped_is_collected_and_forgotten():
    table, answers, groups = made([0, 1] * 4, 2)
    groups.ask()
    groups.ask()
    groups.drop()
    assert not table.told and [each.under_way for each in answers] == [0, 0]
    assert [groups.ask(), groups.ask()] == [4, 4]


@given(
    st.integers(1, 4), st.lists(st.lists(st.integers(0, 3), min_size=GAMES, max_size=GAMES), min_size=1, max_size=12)
)
def test_every_game_is_in_one_group_at_most_and_every_group_is_of_one_agent(agents, moves):
    table, answers, groups = made([0] * GAMES, agents)
    in_groups = []  # of deciders and games, oldest first
    for deciders in moves:
        free = sorted(set(range(GAMES)) - {game for _, games in in_groups for game in games})
        for game in free:
            table.agents[game] = deciders[game] % agents
        while True:
            before = [each.under_way for each in answers]
            if not groups.ask():
                break
            (agent,) = np.flatnonzero([each.under_way for each in answers] != np.array(before))
            chosen = groups._under_way[-1].games.tolist()
            assert (table.agents[chosen] == agent).all() and len(chosen) <= GAMES // 2
            assert set(chosen) <= set(free)
            free = sorted(set(free) - set(chosen))
            in_groups.append((agent, chosen))
        assert in_groups and max(each.under_way for each in answers) <= 2
        # Games wait only for agents that have their groups under way, or where no other group may be.
        assert len(in_groups) >= max(2, agents) or all(answers[table.agents[game]].under_way == 2 for game in free)
        agent, chosen = in_groups.pop(0)
        assert groups.answer().tolist() == chosen
        assert table.told[-1] == (chosen, chosen, agent)
