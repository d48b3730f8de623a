"""What is measured of learners: every way has a rate, and nothing is left changed."""

import torch

from scripts.measuring.learners import measure_learners


def test_every_way_has_a_rate():
    threads = torch.get_num_threads()
    told = measure_learners(2, 4, 3, 0.01)
    assert (told["learners"], told["batch"], told["quantiles"]) == (2, 4, 3) and told["parameters"] > 332_010
    assert told["steps_per_s"].keys() == {"separate", "stacked"}
    assert all(rate > 0 for rates in told["steps_per_s"].values() for rate in rates.values())
    assert torch.get_num_threads() == threads
