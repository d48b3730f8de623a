"""Steps of worlds: rows and reports against a slow replay, who is asked for whom, and whose draws are whose."""

import re
import types

import numpy as np
import pytest

from scoundrel_ray.experience import world_steps
from scoundrel_ray.experience.behaviours import Behaviour, EpsilonGreedy, NoAction, Sampled
from scoundrel_ray.experience.source import Progress, Report, Role
from scoundrel_ray.experience.world_steps import StepsConfig, WorldSteps
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidSetting
from scoundrel_ray.spec import Field, Spec
from scoundrel_ray.world import HERE, LOST, TRUNCATED, AnyWorld
from scoundrel_ray.worlds import treasure_hunt
from scoundrel_ray.worlds.adapted import UnderWay
from tests.experience.slow_rows import assert_same_rows, fragment_rows, transition_rows
from tests.experience.slow_world_steps import Hashed, SlowSteps
from tests.worlds import stairs

EPSILON = {"_target_": f"{EpsilonGreedy.__module__}.EpsilonGreedy", "n_steps": 3, "discount": 0.9, "steps": 150}
SAMPLED = {"_target_": f"{Sampled.__module__}.Sampled", "length": 4}


def adapted(name, **options):
    section = {"_target_": "scoundrel_ray.worlds.from_pettingzoo.make", "failure": "renew"}
    return build("world", {**section, "env": {"_target_": f"tests.worlds.{name}", **options}}, AnyWorld)


WORLDS = {
    "in order": lambda: treasure_hunt.make(agents=3, size=7, turns=5, spawn=0.2),
    "at once": stairs.make,
    "out of phase": lambda: adapted("tiny_environments.Passing"),
    "failing": lambda: adapted("broken_environments.Broken", how="raises", at=3, odd=True),
}
TEAMS = {  # owners of three agents; of each of the run's agents how it acts, and whether it learns
    "own": ((0, 1, 2), {"a": (EPSILON, True), "b": (SAMPLED, True), "c": (EPSILON, False)}),
    "shared": ((0, 0, 0), {"a": (SAMPLED | {"cut": True}, True)}),
    "mixed": ((1, 0, 1), {"a": (SAMPLED, True), "b": (EPSILON, True)}),
}


def role(world, section, learns=True):
    rows = build("behaviour", section, Behaviour).rows(world.specs[0])
    return Role(rows if learns else None, section)


def steps_of(world, owners, agents, evaluators, copies=6, steps=100, seed=4, path=(1, 2), seconds=60.0):
    settings = StepsConfig(copies=copies, steps=steps, seconds=seconds)
    return WorldSteps(world, settings, owners, agents, evaluators, seed, path)


def evaluators_of(world, agents):
    return {name: Hashed(name, world.specs[0].actions) for name in agents}


def complete(slow, name, dtype):
    """All rows of an agent that are complete, by the slow replay."""
    behaviour = slow.behaviours[name]
    if isinstance(behaviour, Sampled):
        return fragment_rows(slow.histories(name), behaviour.length, dtype)
    return transition_rows(slow.histories(name), behaviour.n_steps, behaviour.discount, dtype)


def without_copies(lines):
    return sorted(re.sub(r"copy \d+", "copy", line) for line in lines)


@pytest.mark.parametrize("team", [*TEAMS])
@pytest.mark.parametrize("kind", [*WORLDS])
def test_rows_and_reports_equal_those_of_a_slow_replay(kind, team):
    """Three stretches; each acts by other versions, the last as if other workers had taken steps, too."""
    world, (owners, acts) = WORLDS[kind](), TEAMS[team]
    agents = {name: role(world, section, learns) for name, (section, learns) in acts.items()}
    evaluators = evaluators_of(world, agents)
    fast = steps_of(world, owners, agents, evaluators, steps=110)
    behaviours = {name: build("behaviour", section, Behaviour) for name, (section, _) in acts.items()}
    frozen = [name for name, (_, learns) in acts.items() if not learns]
    slow = SlowSteps(world, 6, owners, behaviours, evaluators, 4, (1, 2), frozen)
    taken = {name: [] for name in agents}
    lost = 0
    for stretch in range(3):
        for number, name in enumerate(agents):
            evaluators[name].version = 10 * number + stretch
        if stretch == 2:
            fast.prepare(Progress(0, {name: 400 for name in agents}))
            slow.own_steps = dict.fromkeys(agents, 400)
        rows, report = fast.collect(timed=False)
        own = slow.collect(110)
        assert report["own_steps"] == own and report["decisions"] == sum(own.values())
        assert [*rows] == [name for name, (_, learns) in acts.items() if learns]
        for name in rows:
            taken[name].append(rows[name])
            got = np.concatenate(taken[name])
            assert_same_rows(got, complete(slow, name, agents[name].rows))
        assert_reported(report, slow)
        lost += sum(report["lost_steps"].values())
    assert all(len(np.concatenate(taken[name])) > 20 for name in rows)
    assert (lost > 0) == (kind == "failing")
    fast.close()


def assert_reported(report, slow):
    """What a stretch's report says beside what the slow replay met in it."""
    assert set(Report._fields) <= set(report)
    assert report["episodes"] == sum(copy.episodes for copy in slow.copies) > 0
    assert [*report["agents"]] == [name for name in slow.names if slow.returns(name)]
    for name, metrics in report["agents"].items():
        returns, lengths = zip(*slow.returns(name), strict=True)
        assert metrics["return"] == (pytest.approx(np.mean(returns), rel=1e-6, abs=1e-6), len(returns))
        assert metrics["length"] == (pytest.approx(np.mean(lengths)), len(lengths))
    assert report["lost_steps"] == {name: slow.lost_steps(name) for name in slow.names}
    failures = [line for copy in slow.copies for line in copy.failures]
    assert without_copies(report["failures"]) == without_copies(failures)


@pytest.mark.parametrize("kind", ["in order", "at once"])
def test_each_agent_asks_one_network_once_for_all_its_copies(kind):
    world = WORLDS[kind]()
    for owners in [(0, 1, 2), (0, 0, 0), (1, 0, 1)]:
        agents = {name: role(world, SAMPLED) for name in ["a", "b", "c"][: max(owners) + 1]}
        evaluators = evaluators_of(world, agents)
        fast = steps_of(world, owners, agents, evaluators, copies=8)
        for _ in range(3):
            before = sum(len(each.asked) for each in evaluators.values())
            rows = sum(sum(each.asked) for each in evaluators.values())
            report = fast.collect(timed=False)[1]
            assert report["messages"] == sum(len(each.asked) for each in evaluators.values()) - before
            assert report["leaves"] == sum(sum(each.asked) for each in evaluators.values()) - rows
        if kind == "in order":  # one acts at a time
            assert {count for each in evaluators.values() for count in each.asked} == {4}
        else:
            assert max(max(each.asked) for each in evaluators.values()) == 4 * max(map(owners.count, owners))


@pytest.mark.parametrize("kind", ["in order", "at once"])
def test_stretches_that_no_clock_ends_are_the_same_in_every_run(kind, monkeypatch):
    world = WORLDS[kind]()
    owners, acts = TEAMS["own"]
    agents = {name: role(world, section, learns) for name, (section, learns) in acts.items()}

    def run():
        fast = steps_of(world, owners, agents, evaluators_of(world, agents), seconds=0.01)
        return [fast.collect(timed=False) for _ in range(3)]

    first = run()
    ticks = iter(range(10**6))  # a clock by which every look takes a second
    monkeypatch.setattr(world_steps, "time", types.SimpleNamespace(perf_counter=lambda: next(ticks), time=lambda: 1.0))
    for (rows, report), (other, told) in zip(first, run(), strict=True):
        for name in rows:
            assert len(rows[name])
            np.testing.assert_array_equal(rows[name], other[name])
        for key in ("episodes", "agents", "own_steps", "leaves", "messages"):
            assert report[key] == told[key]


def test_a_clock_ends_a_stretch_after_one_answer_at_the_earliest(monkeypatch):
    world = stairs.make()
    agents = {"a": role(world, SAMPLED)}
    fast = steps_of(world, (0, 0, 0), agents, evaluators_of(world, agents), steps=10**6, seconds=20.0)
    ticks = iter(range(10**6))
    monkeypatch.setattr(world_steps, "time", types.SimpleNamespace(perf_counter=lambda: next(ticks), time=lambda: 1.0))
    first, second = (fast.collect()[1] for _ in range(2))
    assert 9 < first["decisions"] < 100 and 0 < second["decisions"] < 100
    fast = steps_of(world, (0, 0, 0), agents, evaluators_of(world, agents), steps=10**6, seconds=0.01)
    assert fast.collect()[1]["decisions"] == 9  # half of six copies


def test_other_evaluators_are_asked_from_where_they_are_given():
    world = stairs.make()
    agents = {"a": role(world, SAMPLED)}
    old, new = evaluators_of(world, agents), evaluators_of(world, agents)
    fast = steps_of(world, (0, 0, 0), agents, old)
    fast.ask_through(new)
    fast.collect(timed=False)
    assert not old["a"].asked and new["a"].asked


def test_rows_are_of_the_fields_that_are_wanted():
    world = treasure_hunt.make(agents=1, size=6, turns=5)
    whole = role(world, EPSILON)
    part = np.dtype([(name, whole.rows[name]) for name in ("reward", "action")])
    all_rows, _ = steps_of(world, (0,), {"a": whole}, evaluators_of(world, "a")).collect(timed=False)
    rows, _ = steps_of(world, (0,), {"a": Role(part, EPSILON)}, evaluators_of(world, "a")).collect(timed=False)
    assert rows["a"].dtype == part
    for name in ("reward", "action"):
        np.testing.assert_array_equal(rows["a"][name], all_rows["a"][name])


# Drills: agents that all act at all times, in episodes of four turns, by what is drawn for them alone


class Drill:
    """A world of any agents; its copies keep what was done. Every step brings 1, what came before the first one 10.

    Args:
        agents: names.
        absent: agents that are in no episode.
        forbidden: (agent, copy), which may do nothing.
        fails: (copy, turn), in which the environment of every half fails, in each of its episodes.
    """

    name = "drill"

    def __init__(self, *agents, absent=(), forbidden=None, fails=None):
        self.agents, self.absent, self.forbidden, self.fails, self.made = agents, absent, forbidden, fails, []
        self.specs = (Spec("drill", (Field("turn", 1, 0, 9),), 4, 1, 4),) * len(agents)

    def copies(self, streams):
        self.made.append(Drills(self, len(streams)))
        return self.made[-1]


class Drills:
    """Copies of a drill."""

    def __init__(self, world, count):
        self.world, self.turns, self.done, self.failures, self.closed = world, np.zeros(count, int), [], [], False
        agents = len(world.agents)
        self.observations = np.zeros((agents, count, 1), np.int8)
        self.masks = np.ones((agents, count, 4), np.int8)
        if world.forbidden:
            self.masks[world.forbidden] = 0
        self.rewards, self.ended = np.zeros((agents, count), np.float32), np.zeros((agents, count), np.int8)
        self.acting = np.zeros((agents, count), np.bool_)
        self._begin(np.ones(count, np.bool_))

    def _begin(self, which):
        here = np.isin(self.world.agents, self.world.absent, invert=True)[:, None]
        self.turns[which], self.observations[:, which] = 0, 0
        self.ended[:, which], self.acting[:, which] = np.where(here, HERE, TRUNCATED), here
        self.rewards[:, which] = np.where(here, 10, 0)

    @property
    def over(self):
        return (self.ended != HERE).all(axis=0)

    def step(self, actions):
        self.done.append(actions.copy())
        self.turns += 1
        self.rewards[self.acting] = 1
        self.observations[:] = self.turns[:, None]
        if self.world.fails and self.turns[self.world.fails[0]] == self.world.fails[1]:
            copy = self.world.fails[0]
            self.ended[self.acting[:, copy], copy], self.acting[:, copy] = LOST, False
            self.failures.append("it failed")
        over = self.turns == 4
        self.ended[:, over] = np.where(self.acting[:, over], TRUNCATED, self.ended[:, over])
        self.acting[:, over] = False

    def renew(self):
        over = self.over
        self._begin(over)
        return over.sum()

    def close(self):
        self.closed = True


class Alike(Hashed):
    """Answers everybody alike."""

    def __init__(self):
        super().__init__("anybody", 4)


DRAWN = [SAMPLED, {**EPSILON, "start": 0.7, "end": 0.7}]


def done(world, *, owners=None, section=SAMPLED, others=None, seed=4, path=(1, 2)):
    """What each agent of a drill did: {name: [halves, turns, copies]}."""
    owners = owners or tuple(range(len(world.agents)))
    agents = {f"run_{number}": role(world, others or section) for number in range(max(owners) + 1)}
    agents[f"run_{owners[world.agents.index('ann')]}"] = role(world, section)
    fast = steps_of(world, owners, agents, {name: Alike() for name in agents}, copies=20, seed=seed, path=path,
                    steps=60 * 20 * len(world.agents))  # fmt: skip
    fast.collect(timed=False)
    made = world.made[-2:]
    return {name: np.array([[turn[n] for turn in half.done[:50]] for half in made]) for n, name in
            enumerate(world.agents)}  # fmt: skip


@pytest.mark.parametrize("section", DRAWN, ids=["sampled", "values"])
def test_nobody_else_changes_what_an_agent_draws(section):
    alone = done(Drill("ann"), section=section)["ann"]
    np.testing.assert_array_equal(done(Drill("bob", "ann"), section=section)["ann"], alone)
    np.testing.assert_array_equal(done(Drill("cy", "ann", "bob"), section=section)["ann"], alone)
    np.testing.assert_array_equal(done(Drill("bob", "ann"), owners=(0, 0), section=section)["ann"], alone)
    np.testing.assert_array_equal(done(Drill("bob", "ann", "cy"), owners=(1, 0, 1), section=section)["ann"], alone)
    other = DRAWN[0] if section is DRAWN[1] else DRAWN[1]
    np.testing.assert_array_equal(done(Drill("bob", "ann"), section=section, others=other)["ann"], alone)


@pytest.mark.parametrize("section", DRAWN, ids=["sampled", "values"])
def test_agents_workers_incarnations_halves_and_seeds_draw_apart(section):
    both = done(Drill("ann", "bob"), section=section)
    others = [
        both["bob"], both["ann"][::-1], done(Drill("ann"), section=section, path=(2, 2))["ann"],
        done(Drill("ann"), section=section, path=(1, 3))["ann"], done(Drill("ann"), section=section, seed=5)["ann"],
    ]  # fmt: skip
    for other in others:
        assert 0.1 < (other != both["ann"]).mean() < 0.9


def test_returns_and_lengths_are_sums_over_whole_episodes():
    world = Drill("ann", "bob")
    agents = {"a": role(world, SAMPLED), "b": role(world, SAMPLED, learns=False)}
    fast = steps_of(world, (0, 1), agents, {name: Alike() for name in agents}, copies=4, steps=4 * 2 * 7)
    rows, report = fast.collect(timed=False)  # seven turns of each copy
    assert report["agents"] == {name: {"return": (14.0, 4), "length": (4.0, 4)} for name in "ab"}
    assert report["episodes"] == 4 and report["own_steps"] == {"a": 28, "b": 28} and report["first_at"] > 1e9
    assert [*rows] == ["a"] and rows["a"]["steps"].tolist() == [4] * 4 and (rows["a"]["rewards"] == 1).all()
    report = fast.collect(timed=False)[1]
    assert report["agents"] == {name: {"return": (14.0, 8), "length": (4.0, 8)} for name in "ab"}
    fast.close()
    assert all(half.closed for half in world.made)


def test_an_agent_that_is_not_there_as_an_episode_begins_has_no_episode():
    world = Drill("ann", "bob", absent=("bob",))
    agents = {"a": role(world, SAMPLED), "b": role(world, SAMPLED)}
    fast = steps_of(world, (0, 1), agents, {name: Alike() for name in agents}, copies=4, steps=4 * 12)
    for _ in range(2):
        rows, report = fast.collect(timed=False)
        assert report["agents"] == {"a": {"return": (14.0, 12), "length": (4.0, 12)}}
        assert (len(rows["a"]), len(rows["b"])) == (12, 0) and report["own_steps"]["b"] == 0


def test_an_agent_that_may_do_nothing_is_named_with_its_copy():
    world = Drill("ann", "bob", forbidden=(1, 2))
    agents = {"a": role(world, SAMPLED)}
    fast = steps_of(world, (0, 0), agents, {"a": Alike()})
    with pytest.raises(NoAction, match=r"^world drill: bob is to act in copy 2 and its mask allows no action$"):
        fast.collect()


def test_lost_copies_are_forgotten_and_counted():
    """In twelve turns, copy 0 of each half has three episodes, and copy 1 four that are lost in their third turn."""
    world = Drill("ann", "bob", fails=(1, 3))
    agents = {"a": role(world, {**EPSILON, "n_steps": 2, "discount": 1.0}), "b": role(world, SAMPLED)}
    fast = steps_of(world, (0, 1), agents, {name: Alike() for name in agents}, copies=4, steps=4 * 2 * 12)
    for _ in range(2):
        rows, report = fast.collect(timed=False)
        assert report["agents"] == {name: {"return": (14.0, 6), "length": (4.0, 6)} for name in "ab"}
        assert report["episodes"] == 14 and report["failures"] == ["it failed"] * 8
        # Of three steps the first has a transition; the other two wait for what comes of them, as does the fragment.
        assert report["lost_steps"] == {"a": 2 * 4 * 2, "b": 2 * 4 * 3}
        assert len(rows["a"]) == 2 * (3 * 4 + 4) and rows["b"]["steps"].tolist() == [4] * 6
        assert sorted(rows["a"]["reward"]) == [1] * 6 + [2] * 26


def test_an_environment_that_does_not_come_back_is_told():
    world = Drill("ann")
    fast = steps_of(world, (0,), {"a": role(world, SAMPLED)}, {"a": Alike()})
    assert fast.stuck(0.0) == ""
    world.made[1].under_way = lambda: UnderWay(2, 77, 5, 9.0)
    assert fast.stuck(9.5) == ""
    assert fast.stuck(8.5) == "an environment has not come back for 9 s: copy 2, seed 77, step 5"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, r"^workers: got 0, wanted"),
        ({"copies": 1}, r"^copies: got 1, wanted"),
        ({"copies": 7}, r"^copies: got 7, wanted an even number"),
        ({"steps": 0}, r"^steps: got 0, wanted"),
        ({"seconds": 0.0}, r"^seconds: got 0.0, wanted"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InvalidSetting, match=message):
        StepsConfig(**settings)
