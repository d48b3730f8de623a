"""Stacks of IQN learners: stepping together equals stepping apart, and nobody moves by another's step."""

import copy

import numpy as np
import pytest
import torch

from learners import stacking
from learners.learner import NonFiniteLoss
from scoundrel_ray.network import Network
from scoundrel_ray.networks.quantile import QuantileNetwork
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.spec import Head
from tests.learners.quantile_rows import SPEC, assert_same, config_of, learner_of, network_of, random_rows

NETWORK = {"_target_": "scoundrel_ray.networks.quantile.QuantileNetwork", "width": 8, "cosines": 4}


class PlainQuantiles(Network):
    """A user's own network, of other operations than the framework's, with a buffer and a scalar parameter."""

    def __init__(self, spec, *, seed=0, blocked=False):
        super().__init__(spec, (Head("values", (spec.actions,)),))
        generator = torch.Generator().manual_seed(seed)
        self.mixing = torch.nn.Parameter(torch.randn(spec.observation_size + 1, spec.actions, generator=generator))
        self.gain = torch.nn.Parameter(torch.tensor(0.5))
        self.register_buffer("scale", torch.tensor(0.1), persistent=False)
        self._blocked = blocked

    def forward(self, observations):
        return (self.quantiles(observations, torch.full((len(observations), 1), 0.5))[:, 0],)

    def quantiles(self, observations, taus):
        if self._blocked and float(self.gain.detach()) > 1e9:  # asks for a number, which no vectorised call can give
            raise AssertionError
        x = observations.to(self.mixing.dtype) * self.scale
        x = torch.cat([x[:, None].expand(-1, taus.shape[1], -1), taus[..., None].to(x.dtype)], dim=-1)
        return (self.gain * torch.tanh(x @ self.mixing)).float()


def assert_close(member, alone):
    """Both networks of two learners within 1e-6, all counters equal."""
    assert member.version == alone.version
    got, wanted = member.state(), alone.state()
    for part in ("weights", "target"):
        for name, array in wanted[part].items():
            np.testing.assert_allclose(got[part][name], array, rtol=0, atol=1e-6, err_msg=f"{part} {name}")
    assert got["taus"] == wanted["taus"]
    assert got["moments"].keys() == wanted["moments"].keys()
    assert (got["moments"].get("step"), got["steps"]) == (wanted["moments"].get("step"), wanted["steps"])


def rows_of(turn, member, scale=1.0, weighted=False):
    rows = random_rows(16, seed=100 * turn + member, weighted=weighted)
    rows["reward"] *= scale
    return rows


@pytest.mark.parametrize(
    "settings", [{"target_every": 3}, {"target_every": 0, "target_rate": 0.1}, {"max_gradient_norm": 0.5}]
)
@pytest.mark.parametrize("own", [False, True])
def test_together_equals_apart(settings, own):
    """Ten turns of four: one is frozen from turn 4 on, one comes late, with steps of its own behind it, one has badly
    scaled rewards, and one is fed at odd turns alone.
    """
    settings = {"learning_rate": 3e-3, "adam_epsilon": 1e-3, **settings}

    def made():
        networks = [PlainQuantiles(SPEC, seed=seed) if own else network_of(seed) for seed in range(4)]
        learners = [config_of(**settings).make(network, seed) for seed, network in enumerate(networks)]
        for turn in range(2):
            learners[1].step(rows_of(50 + turn, 1))
        return learners

    members, alone = made(), made()
    stack = config_of(**settings).stack(members)
    for member, other in zip(members, alone, strict=True):
        assert_same(member.state(), other.state())  # stacking itself changes nothing
    for turn in range(10):
        rows = [
            rows_of(turn, 0) if turn < 4 else None,
            rows_of(turn, 1, weighted=True) if turn >= 3 else None,
            rows_of(turn, 2, scale=1e4),
            rows_of(turn, 3) if turn % 2 else None,
        ]
        before = [copy.deepcopy(member.state()) for member in members]
        together = stack.step(rows)
        for member, other, own_rows, told, kept in zip(members, alone, rows, together, before, strict=True):
            if own_rows is None:
                assert told is None
                assert_same(member.state(), kept)
                continue
            wanted = other.step(own_rows)
            assert told == pytest.approx(wanted, rel=1e-4)
            assert (member.priorities is None) == (other.priorities is None)
            if other.priorities is not None:
                np.testing.assert_allclose(member.priorities, other.priorities, rtol=1e-4)
    for member, other in zip(members, alone, strict=True):
        assert_close(member, other)
    assert [member.version for member in members] == [4, 9, 10, 5]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_member_whose_loss_is_not_finite_stays_as_it_is_and_so_do_the_others_without_it(precision):
    members, alone = ([learner_of(seed, precision=precision) for seed in range(3)] for _ in range(2))
    stack = members[0].config.stack(members)
    stack.step([rows_of(0, member) for member in range(3)])
    for at, other in enumerate(alone):
        other.step(rows_of(0, at))
    before = members[1].state()
    bad = rows_of(1, 1)
    bad["reward"][5] = np.nan
    told = stack.step([rows_of(1, 0), bad, rows_of(1, 2)])
    assert isinstance(told[1], NonFiniteLoss) and "loss is nan at step 1; the weights are untouched" in str(told[1])
    after = members[1].state()
    for name in ("steps", "weights", "target", "moments"):
        assert_same(after[name], before[name])
    for at in (0, 2):
        wanted = alone[at].step(rows_of(1, at))
        assert told[at] == pytest.approx(wanted, rel=1e-4 if precision == "float32" else 0.1)
        if precision == "float32":
            assert_close(members[at], alone[at])
    assert all(isinstance(each, dict) for each in stack.step([rows_of(2, member) for member in range(3)]))


def test_members_remain_learners(tmp_path):
    """Between steps together they hand out weights, step alone, and go on from states."""
    members, alone = ([learner_of(seed, learning_rate=3e-3) for seed in range(3)] for _ in range(2))
    stack = members[0].config.stack(members)
    for turn in range(3):
        stack.step([rows_of(turn, at) for at in range(3)])
        for at, other in enumerate(alone):
            other.step(rows_of(turn, at))
    members[0].step(rows_of(3, 0))
    alone[0].step(rows_of(3, 0))
    kept = checkpoint.load(checkpoint.save(tmp_path, {"learner": members[1].state()}))["learner"]
    members[2].restore(kept)
    alone[2].restore(kept)
    for name, array in members[1].weights().items():
        np.testing.assert_array_equal(members[2].weights()[name], array)
    for turn in range(4, 7):
        stack.step([rows_of(turn, at) for at in range(3)])
        for at, other in enumerate(alone):
            other.step(rows_of(turn, at))
    for member, other in zip(members, alone, strict=True):
        assert_close(member, other)


def test_a_stack_made_anew_from_states_goes_on_bit_for_bit():
    members, others = ([learner_of(seed, precision="bfloat16") for seed in range(3)] for _ in range(2))
    stack, other = (each[0].config.stack(each) for each in (members, others))
    for turn in range(3):
        stack.step([rows_of(turn, at) if (turn + at) % 3 else None for at in range(3)])
    for old, new in zip(members, others, strict=True):
        new.restore(old.state())
    for turn in range(3, 6):
        rows = [rows_of(turn, at) if (turn + at) % 3 else None for at in range(3)]
        assert stack.step(rows) == other.step(rows)
    for old, new in zip(members, others, strict=True):
        assert_same(new.state(), old.state())


def test_in_bfloat16_together_learns_as_apart():
    """Not bit for bit, as sums are rounded in another order; but what is learned is the same."""
    settings = {"precision": "bfloat16", "learning_rate": 1e-2, "adam_epsilon": 1e-5}
    members = [learner_of(seed, **settings) for seed in range(3)]
    rows = [rows_of(0, at) for at in range(3)]
    for own in rows:
        own["discount"] = 0.0
    stack = members[0].config.stack(members)
    first = stack.step(rows)
    for _ in range(120):
        last = stack.step(rows)
    assert all(now["td_error"] < 0.3 * then["td_error"] for now, then in zip(last, first, strict=True))


def test_a_step_without_any_rows_is_none():
    members = [learner_of(seed) for seed in range(2)]
    assert members[0].config.stack(members).step([None, None]) == [None, None]
    assert [member.version for member in members] == [0, 0]


def test_members_that_cannot_be_stacked_are_refused():
    with pytest.raises(ValueError, match="stack: got no members"):
        config_of().stack([])
    with pytest.raises(ValueError, match="settings differ"):
        config_of().stack([learner_of(), learner_of(learning_rate=0.01)])
    for other in ({"width": 11}, {"acting_quantiles": 5}, {"dueling": False}):
        with pytest.raises(ValueError, match="networks differ in form"):
            config_of().stack([learner_of(), learner_of(network=other)])


def test_all_members_take_the_first_ones_precision():
    members = [learner_of(seed, precision="auto") for seed in range(2)]
    members[1].precision = "float32"
    stack = members[0].config.stack(members)
    stack.step([rows_of(0, 0), rows_of(0, 1)])
    assert members[0].precision == members[1].precision != "auto"


# What is fastest.


def test_every_way_is_measured_and_the_fastest_is_taken(monkeypatch):
    """By a clock of ours: whoever steps, the time goes on by what such a step takes."""
    now, costs = [0.0], {}
    count_time(monkeypatch, now, costs)
    monkeypatch.setattr(stacking.time, "perf_counter", lambda: now[0])
    for cheapest, wanted in [
        ((True, "bfloat16"), (True, "bfloat16")),
        ((False, "bfloat16"), (False, "bfloat16")),
        ((True, "float32"), (True, "float32")),
    ]:
        costs.clear()
        costs.update({(s, p): 4.0 for s in (False, True) for p in ("float32", "bfloat16")})
        costs[cheapest] = 2.0
        choice = stacking.fastest(config_of(precision="auto"), SPEC, NETWORK, 3)
        assert (choice.stacked, choice.precision) == wanted
        assert choice.sentence.count("together in") + choice.sentence.count("one after another in") == 5
        assert f"{3 / 2:,.0f}" in choice.sentence
    costs.update({way: 4.0 for way in costs})
    costs[True, "bfloat16"] = 3.9  # too little a gain
    assert stacking.fastest(config_of(precision="auto"), SPEC, NETWORK, 3)[:2] == (False, "float32")


def count_time(monkeypatch, now, costs):
    from learners import iqn

    plain, together = iqn.IQN.step, stacking.Stack.step

    def alone(self, rows):
        now[0] += costs[False, self.precision] / 3
        return plain(self, rows)

    def all_at_once(self, rows):
        now[0] += costs[True, self._members[0].config.precision]
        return together(self, rows)

    monkeypatch.setattr(iqn.IQN, "step", alone)
    monkeypatch.setattr(stacking.Stack, "step", all_at_once)


def test_a_named_precision_is_kept_and_one_learner_is_not_stacked():
    choice = stacking.fastest(config_of(precision="bfloat16"), SPEC, NETWORK, 2)
    assert choice.precision == "bfloat16" and "float32" not in choice.sentence
    assert "together" not in stacking.fastest(config_of(), SPEC, NETWORK, 1).sentence


def test_a_network_that_cannot_be_vectorised_steps_one_after_another():
    network = {"_target_": "tests.learners.test_iqn_stack.PlainQuantiles", "blocked": True}
    choice = stacking.fastest(config_of(), SPEC, network, 2)
    assert not choice.stacked and "together they cannot step: " in choice.sentence and "\n" not in choice.sentence


def test_rows_to_be_timed_on_are_of_the_declared_type_and_allow_all_actions():
    rows = stacking.random_rows(config_of(), SPEC, 1)
    assert rows.dtype == config_of().row_dtype(SPEC) and len(rows) == 32
    assert rows["next_mask"].all() and rows["observation"].any()
    assert (rows["observation"] != rows["next_observation"]).any()


def test_the_networks_of_a_stack_are_the_members_own():
    """Rollouts' weights are read from the network that was handed in."""
    networks = [QuantileNetwork(SPEC, width=6, cosines=4, seed=seed) for seed in range(2)]
    members = [config_of().make(network, 0) for network in networks]
    config_of().stack(members).step([rows_of(0, 0), rows_of(0, 1)])
    for network, member in zip(networks, members, strict=True):
        for name, array in member.weights().items():
            np.testing.assert_array_equal(dict(network.named_parameters())[name].detach().numpy(), array)
