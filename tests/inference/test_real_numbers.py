"""Observations that are real numbers: bfloat16 keeps three digits of them, so that nobody chooses it unasked."""

import numpy as np
import pytest

from inference.model import Model
from learners import stacking
from learners.gradients import Gradients
from scoundrel_ray.network import make_network
from scoundrel_ray.spec import Field, Spec
from tests.learners.quantile_rows import config_of, learner_of, random_rows

REAL = Spec("real", (Field("place", 3, -1, 1, "number"),), 3, 1, 3, dtype="float32")
CODES = Spec("codes", (Field("place", 3, 0, 4),), 3, 1, 3)
NETWORK = {"_target_": "scoundrel_ray.networks.quantile.QuantileNetwork", "width": 8, "cosines": 4}


@pytest.fixture(autouse=True)
def bfloat16_is_faster(monkeypatch):
    """By the word of whoever measures."""
    monkeypatch.setattr(Model, "_faster", lambda _model: ("bfloat16", "measured"))
    monkeypatch.setattr(Gradients, "faster", lambda *_: "bfloat16")


@pytest.mark.parametrize(("spec", "chosen"), [(REAL, "float32"), (CODES, "bfloat16")])
def test_inference_and_learner_take_the_faster_precision_only_where_it_holds_observations(spec, chosen):
    model = Model(make_network(NETWORK, spec, 1), precision="auto")
    assert model.precision == chosen and (model.choice == "measured") == (spec is CODES)
    learner = learner_of(spec=spec, precision="auto")
    learner.step(random_rows(spec=spec))
    assert learner.precision == chosen
    ways = stacking.fastest(config_of(precision="auto"), spec, NETWORK, 2).sentence
    assert ("bfloat16" in ways) == (spec is CODES)


def test_a_precision_that_is_named_is_used_for_real_numbers_too():
    model = Model(make_network(NETWORK, REAL, 1), precision="bfloat16")
    assert model.precision == "bfloat16" and model.choice.endswith("as configured")
    assert learner_of(spec=REAL, precision="bfloat16").precision == "bfloat16"


def test_what_bfloat16_holds_exactly():
    import torch

    codes = torch.arange(256, dtype=torch.float32)
    assert CODES.fits_bfloat16 and torch.equal(codes.to(torch.bfloat16).float(), codes)
    assert not REAL.fits_bfloat16 and np.float32(0.501) != float(torch.tensor(0.501).to(torch.bfloat16))
