"""What tests of learners share: one thread for steps, which are small here, and groups that are closed in the end."""

import pytest
import torch

from learners.group import LearnerGroup
from tests.learners.group_stand_ins import Asked


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def groups():
    made = []

    def make(members, stacks=()):
        made.append(LearnerGroup(members, stacks))
        return made[-1]

    yield make
    for each in made:
        Asked(each.close).result()
