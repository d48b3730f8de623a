"""Held episodes in which agents with a policy draw their actions, and those with values do not."""

import dataclasses

import numpy as np
import pytest
import ray

from actors.episodes import measure
from actors.rollout import RolloutActor
from scoundrel_ray.evaluation.episodes import NetworkEpisodes, players_for
from scoundrel_ray.evaluator import Evaluation
from scoundrel_ray.network import make_network, weights
from scoundrel_ray.runs.plan import plan_of, source_of, with_policy
from scoundrel_ray.streams import stream
from scoundrel_ray.worlds import treasure_hunt
from tests.conftest import small_world_config


class Fixed:
    """Answers every row with the same logits."""

    def __init__(self, logits):
        self.logits = np.asarray(logits, np.float32)

    def submit(self, observations):
        return len(observations)

    def collect(self, ticket):
        return Evaluation((np.tile(self.logits, (ticket, 1)), np.zeros((ticket, 1), np.float32)), 0)


def test_actions_are_drawn_by_the_policy_of_those_who_draw_and_of_nobody_else():
    world, count = treasure_hunt.make(agents=2, size=7), 4000
    copies = world.copies(np.stack([stream(0, copy) for copy in range(count)]))
    evaluators = {name: Fixed([0.0, np.log(2.0), np.log(5.0), 0.0]) for name in ("a", "b")}
    made = players_for(world, ["a", "b"], evaluators, 4, 9, ["a"])
    assert [type(each) for each in made] == [NetworkEpisodes, NetworkEpisodes]
    everywhere = np.arange(count)
    assert (made[1].act(copies, 1, everywhere) == 2).all()
    drawn = made[0].act(copies, 0, everywhere)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / count, np.array([1, 2, 5, 1]) / 9, atol=0.03)
    again = players_for(world, ["a", "b"], evaluators, 4, 9, ["a"])[0]
    assert again.act(copies, 0, everywhere).tolist() == drawn.tolist()
    other = players_for(world, ["a", "b"], evaluators, 4, 10, ["a"])[0]
    assert other.act(copies, 0, everywhere).tolist() != drawn.tolist()


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("learner", "draws"), [("ppo", True), ("iqn", False)])
def test_at_the_end_and_during_a_run_policies_are_drawn_from_where_the_run_says_so(learner, draws):
    config = small_world_config("treasure_hunt", learner)
    plans = plan_of(config, source_of(config)).agents
    assert with_policy(plans) == ([*plans] if draws else [])
    arrays = {name: weights(make_network(plan.network, plan.spec, 1)) for name, plan in plans.items()}
    episodes = dataclasses.replace(config.episodes, count=6, shard=3, workers=2)

    def at_the_end(draw):
        own = dataclasses.replace(episodes, draw=draw)
        return measure(config.source, plans, arrays, {"trained": [*plans]}, own, lambda *_: None)["trained"].returns

    worker = RolloutActor.remote(config.source, plans, True, config.inference, {}, (1, 0, 0), [0], True)
    ray.get([worker.set_weights.remote(name, 1, own) for name, own in arrays.items()])

    def during(draw):
        return ray.get(worker.play_episodes.remote(["trained"], 5, 6, False, draw))[0]["trained"].returns

    for returns in (at_the_end, during):
        assert (returns(True).tolist() != returns(False).tolist()) == draws
        assert returns(True).tolist() == returns(True).tolist()
    ray.kill(worker)
