"""Rows are learned from in guises that are drawn by the learner's actor, apart from the replay's samples."""

import numpy as np
import pytest
import ray

from actors.learner import LearnerActor, LearnerForm
from scoundrel_ray.experience.rows import decision_dtype
from scoundrel_ray.experience.source import Role
from scoundrel_ray.games import blob
from scoundrel_ray.runs.plan import AgentPlan
from scoundrel_ray.spec import random_observations, search_heads

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

GAME = blob.make(cards=2)
NETWORK = {"_target_": "scoundrel_ray.networks.residual_mlp.ResidualMLP", "width": 4, "blocks": 1}


@ray.remote
class SameRows:
    """A replay that gives the same row again and again, and no more than `batches` of it."""

    def __init__(self, batches, row):
        self._batches, self._row = batches, row

    def sample(self, _agent, count, _version, _seconds):
        self._batches -= 1
        return None if self._batches < 0 else self._row.repeat(count)


def a_row():
    row = np.zeros(1, decision_dtype(GAME.spec))
    row["observation"] = random_observations(GAME.spec, 1, seed=3)
    row["actions"] = -1
    row["actions"][:, :2], row["policy"][:, :2] = (0, 1), 0.5
    return row


def guises(symmetries, seed=0):
    """Number of each guise among the rows that the learner read, by what it noted."""
    noting = {"_target_": "tests.actors.own_members.Noting"}
    role = Role(decision_dtype(GAME.spec), {})
    plan = AgentPlan(GAME.spec, search_heads(GAME.spec), NETWORK, noting, {}, role, 1, True, False)
    replay = SameRows.remote(4, a_row())
    learner = LearnerActor.remote({"agent": LearnerForm(plan, symmetries)}, seed, 1, "off", {}, replay)
    ray.get(learner.train.remote("agent", 4, 60.0, False))
    noted = ray.get(learner.state.remote("agent"))["learner"]["seen"]
    ray.kill(learner)
    return noted


def test_every_guise_of_a_row_is_learned_from_equally_often_and_by_seed():
    seen = guises(GAME.symmetries)
    assert guises(GAME.symmetries) == seen and guises(GAME.symmetries, seed=1) != seen
    count = len(GAME.symmetries)
    wanted = GAME.symmetries.see(a_row().repeat(count), np.arange(count))["observation"]
    kinds = {each.tobytes().hex() for each in wanted}
    assert set(seen) == kinds
    total = sum(seen.values())
    share = total / len(kinds)
    assert total == 4 * 500 and all(abs(number - share) < 0.5 * share for number in seen.values())


def test_without_symmetries_rows_are_learned_from_as_they_are():
    (observation,) = guises(None)
    assert observation == random_observations(GAME.spec, 1, seed=3)[0].tobytes().hex()
