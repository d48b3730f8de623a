"""The units of values: statistics against averages written out, and units that can always be used."""

import numpy as np
import pytest

from scoundrel_ray.experience.scale import MEMORY, Scale


def test_the_first_batch_gives_its_own_mean_and_deviation():
    scale, targets = Scale(), np.array([1.0, 5.0, 9.0, 9.0])
    assert not scale.real(targets).any(), "nothing is known yet"
    scale.update(targets)
    assert scale.mean == pytest.approx(targets.mean()) and scale.deviation == pytest.approx(targets.std())


def test_later_batches_count_by_their_age():
    dice, scale = np.random.default_rng(0), Scale()
    blocks = [dice.normal(10 * i, 1 + i, 50) for i in range(6)]
    for block in blocks:
        scale.update(block)
    ages = [MEMORY**age for age in range(5, -1, -1)]
    mean = sum(a * b.mean() for a, b in zip(ages, blocks, strict=True)) / sum(ages)
    square = sum(a * (b**2).mean() for a, b in zip(ages, blocks, strict=True)) / sum(ages)
    assert scale.mean == pytest.approx(mean)
    assert scale.deviation == pytest.approx((square - mean**2) ** 0.5)


def test_units_lead_there_and_back():
    scale, targets = Scale(), np.random.default_rng(1).normal(70, 20, 1000)
    scale.update(targets)
    normal = scale.normal(targets)
    assert normal.mean() == pytest.approx(0, abs=1e-9) and normal.std() == pytest.approx(1)
    np.testing.assert_allclose(scale.real(normal), targets)


@pytest.mark.parametrize("target", [0.0, 3.0, -1e6])
def test_targets_that_are_all_the_same_give_units_that_can_be_used(target):
    scale = Scale()
    scale.update(np.full(10, target))
    assert scale.deviation > 0 and np.isfinite(scale.normal(np.array([target + 1.0]))).all()
    assert scale.normal(np.array([target])) == pytest.approx(0, abs=1e-6)


def test_goes_on_from_a_state():
    scale, other = Scale(), Scale()
    scale.update(np.arange(5.0))
    other.restore(scale.state())
    for each in (scale, other):
        each.update(np.arange(9.0))
    assert scale.state() == other.state()
