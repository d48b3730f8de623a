"""What benchmarks and tuning measure with, in miniature: self-play of a setting, networks, transports, quality."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from scoundrel_ray.evaluator import AgentEvaluator, Alone, Constant
from scoundrel_ray.search import SearchConfig
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.tuning.prediction import InferenceCosts
from scoundrel_ray.tuning.setting import Setting
from scripts.entry import section
from scripts.measuring import clients, network_costs, quality, transports
from scripts.measuring import self_play as sides
from scripts.measuring.self_play import Measured, alone, in_turns, leaves_per_game, self_play
from scripts.measuring.transports import transport_costs
from tests.conftest import small_settings
from tests.scripts.test_arena_command import fake_run

SECONDS = 0.3


@pytest.fixture
def setting():
    """Tic-tac-toe with a small network."""
    return Setting.of(small_settings())


@pytest.mark.ray
@pytest.mark.parametrize("transport", ["ray", "shm", "local"])
def test_workers_around_a_server_are_measured(setting, local_ray, transport):
    measured = self_play(replace(setting, inference=replace(setting.inference, transport=transport)), SECONDS)
    assert measured.leaves_per_s > 0
    assert 1 < measured.mean_batch <= setting.rollout.workers * setting.rollout.games
    for share in (measured.padding_share, measured.busy_share, measured.wait_share):
        assert 0 <= share < 1
    assert measured.busy_share > 0 and measured.games_per_min(5.0) == pytest.approx(12 * measured.leaves_per_s)


@pytest.mark.ray
@pytest.mark.parametrize("leaf_by_leaf", [False, True])
def test_workers_that_share_nothing_are_measured(setting, local_ray, leaf_by_leaf):
    measured = alone(setting.with_rollout(workers=1), SECONDS, leaf_by_leaf)
    assert measured.leaves_per_s > 0
    if leaf_by_leaf:
        assert measured.mean_batch == 1
    else:
        assert 1 < measured.mean_batch <= setting.rollout.games


def test_leaves_of_a_game_are_those_of_its_decisions(setting):
    """Every decision takes the simulations of the config, less those that end the game; a game has 5 to 8 decisions."""
    search = build("search", setting.search, SearchConfig)
    assert 3 * search.simulations < leaves_per_game(setting) < 8 * search.simulations


def test_quality_says_what_many_leaves_and_another_precision_cost(tmp_path, monkeypatch):
    for name, value in (("_POSITIONS", 16), ("_DEALS", 4), ("_CACHED_ROWS", 400), ("_VARIANTS", [(4, 0.0), (4, 1.0)])):
        monkeypatch.setattr(quality, name, value)
    search = {**section("search", "puct"), "simulations": 16}
    figures = quality.quality_figures(str(fake_run(tmp_path / "run")), search)
    policies = [f for f in figures if f.case.endswith("policy")]
    points = [f for f in figures if f.unit == "points"]
    within, earlier = figures[-2:]
    assert len(figures) == len(policies) + len(points) + 2
    assert len(policies) == 3 and "bfloat16" in policies[-1].case and policies[-1].value > 0.5
    for f in policies:
        assert 0 <= f.value <= 1 and 0 <= f.baseline_value <= 1 and f.reached is not None
    for f in points:
        assert f"4 deals, mean and 95 % interval {f.details['mean']:+.2f}  [{f.details['lower end']:+.2f}" in f.case
        assert f.details["lower end"] <= f.details["mean"] <= f.value and f.reached is (f.value >= 0)
    assert len(points) == 2
    assert 0 < within.value < 1 and 0 < earlier.value < 1  # few positions: many are met again


def test_repeated_leaves_are_told_from_those_of_earlier_messages():
    remembering = quality.Remembering(Constant(2, 1))
    for message in ([1, 1, 2], [2, 2, 3], [1, 2, 3]):
        leaves = np.array(message, dtype=np.int8)[:, None]
        assert len(remembering.collect(remembering.submit(leaves)).values) == 3
    assert (remembering.asked, remembering.within, remembering.earlier) == (9, 2, 4)


def test_the_best_of_each_sides_turns_counts():
    ours, theirs = (iter([Measured(rate, 1.0) for rate in rates]) for rates in ((3, 9, 5), (7, 2, 1)))
    best = in_turns(3, lambda: next(ours), lambda: next(theirs))
    assert [each.leaves_per_s for each in best] == [9, 7]


@pytest.mark.ray
def test_what_goes_another_way_than_it_should_is_no_figure(setting, local_ray, monkeypatch):
    def served(setting, number, actor):
        joint = Alone(Constant(9, 2))
        joint.warning = "it is too small"
        return sides._Asked({"agent": AgentEvaluator(joint, "agent")})

    monkeypatch.setattr(sides, "_served", served)
    with pytest.raises(InvalidConfig, match=r"inference\.transport: got shm, but it is too small"):
        self_play(setting.with_rollout(workers=1), SECONDS)


class SteppedModel:
    """A batch takes as long as it is told, by a clock that it moves."""

    def __init__(self, seconds, clock):
        self.seconds, self.clock, self.asked = seconds, clock, []

    def evaluate(self, observations):
        self.asked.append(len(observations))
        self.clock[0] += self.seconds(len(observations))


def test_batches_are_timed_by_size():
    clock = [0.0]
    model = SteppedModel(lambda size: 1e-3 * (size if size <= 96 else 1.3 * size), clock)
    found = network_costs.batch_seconds(model, np.zeros((512, 1), np.int8), [64, 96, 97], lambda: clock[0])
    assert found == pytest.approx({64: 0.064, 96: 0.096, 97: 0.1261})


def test_larger_batches_are_left_out_once_they_bring_nothing():
    clock = [0.0]
    sizes = [1 << n for n in range(12)]
    observations = np.zeros((2048, 1), np.int8)

    def timed(seconds):
        return network_costs.batch_seconds(SteppedModel(seconds, clock), observations, sizes, lambda: clock[0])

    slow = timed(lambda size: 0.002 * size)
    assert max(slow) == 256  # 0.512 s
    flat = timed(lambda size: 1e-4 * size)
    assert max(flat) == 512  # twice no cheaper than 128
    falling = timed(lambda size: 1e-3 + 1e-7 * size)
    assert max(falling) == 2048


def test_bfloat16_must_gain_a_tenth():
    def costs(gain):
        return {"float32": InferenceCosts({64: 1.0}), "bfloat16": InferenceCosts({64: 1.0 / gain})}

    assert network_costs.faster(costs(1.05)) == "float32" and network_costs.faster(costs(1.2)) == "bfloat16"
    assert network_costs.faster({"bfloat16": InferenceCosts({64: 1.0})}) == "bfloat16"


def test_a_server_in_the_same_process_is_measured(setting):
    found, refused = transport_costs(setting.built_game(), ("local",), 0.05)
    assert not refused
    assert found["local"].round_trip.at(64) > 0 and found["local"].server.at(64) == 0.0


@pytest.mark.ray
def test_transports_between_actors_are_measured(setting, local_ray):
    found, refused = transport_costs(setting.built_game(), ("ray", "shm"), 0.2)
    assert "ray" in found and {*found, *refused} == {"ray", "shm"}
    assert all(costs.round_trip.at(64) > 0 for costs in found.values())


@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="shared memory as files is Linux's")
def test_transports_are_set_beside_each_other(local_ray, monkeypatch):
    monkeypatch.setattr(transports, "_ROUND_S", 0.1)
    whole, client, server = transports.transport_figures()
    assert whole.unit == "leaves/s" and {client.unit, server.unit} == {"messages/CPU s"}
    for figure in (whole, client, server):
        assert figure.value > 0 and figure.baseline_value > 0


class Queue:
    """Answers messages in their order, and knows how many were under way."""

    def __init__(self):
        self.sent, self.answered, self.most = 0, 0, 0

    def submit(self, observations):
        self.sent += 1
        self.most = max(self.most, self.sent - self.answered)
        return self.sent

    def collect(self, ticket):
        self.answered += 1
        assert ticket == self.answered


def test_two_messages_are_under_way_and_every_one_is_collected():
    queue = Queue()
    answered, used = clients.messages_answered(queue, np.zeros((4, 1), np.int8), 0.01)
    assert queue.most == 2 and queue.sent == queue.answered == answered + 2
    assert used >= 0
