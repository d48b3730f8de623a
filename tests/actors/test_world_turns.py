"""Runs of worlds in turn: the same rows, losses and weights every time, at any number of workers, wherever learners and
replays live.
"""

import pytest

from actors.supervisor import Supervisor
from tests.conftest import small_world_config
from tests.runs.test_checkpoint import assert_same

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

TURNS = 3
BESIDE = {"cluster": {"learner_groups": "one"}, "replay": {"place": "learner"}}
APART = {"cluster": {"learner_groups": [["agent_2", "agent_0"], ["agent_1"]]}, "replay": {"place": "actor"}}


def run_in_turn(monkeypatch, learner, workers, **changes):
    """Content of a checkpoint after some turns, and the metrics of every stretch of each agent."""
    # Left to be chosen: what depends on the machine's speed must not come into it.
    changes |= {"turns": True, "rollout": {"workers": workers, "steps": 400}, "inference": {"precision": "auto"}}
    if learner == "iqn":
        changes["learner"] = {"precision": "auto"}
        changes["cluster"] = {**changes["cluster"], "stacking": "auto"}
    supervisor = Supervisor(small_world_config("treasure_hunt", learner, **changes))
    told = {name: [] for name in supervisor.agents}
    with monkeypatch.context() as patch:
        for name, agent in supervisor.agents.items():

            def note(report, arrays, own=told[name], really=agent._note):
                own.append((report["steps"], report["metrics"]))
                really(report, arrays)

            patch.setattr(agent, "_note", note)
        try:
            supervisor.start()
            for _ in range(TURNS):
                supervisor.turn()
            return supervisor.content(), told
        finally:
            supervisor.stop()


def comparable(content):
    """Without what a clock counts."""
    agents = {
        name: {**own, "counters": {key: value for key, value in own["counters"].items() if not key.endswith("_s")}}
        for name, own in content["agents"].items()
    }
    counters = {key: value for key, value in content["counters"].items() if not key.endswith("_s")}
    return {**content, "agents": agents, "counters": counters}


@pytest.mark.parametrize(("workers", "second"), [(1, APART), (2, BESIDE)], ids=["elsewhere", "by others"])
@pytest.mark.parametrize("learner", ["iqn", "ppo"])
def test_two_runs_in_turn_are_equal_bit_for_bit(monkeypatch, learner, workers, second):
    first, told = run_in_turn(monkeypatch, learner, 1, **BESIDE)
    other, told_again = run_in_turn(monkeypatch, learner, workers, **second)
    assert told == told_again
    for own in told.values():
        losses = [metrics["loss"] for steps, metrics in own if steps]
        assert len(losses) >= TURNS and len(set(losses)) == len(losses)
    assert_same(comparable(first), comparable(other))
    steps = {name: own["counters"]["steps"] for name, own in first["agents"].items()}
    assert min(steps.values()) >= TURNS
    assert first["counters"]["rows"] == sum(own["counters"]["rows_given"] for own in first["agents"].values())
