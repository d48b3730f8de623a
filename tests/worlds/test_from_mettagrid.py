"""Worlds of mettagrid's: beside stepping its simulations by hand, and its own policies beside its own observations."""

import sys

import numpy as np
import pytest

from scoundrel_ray.missions import drivers
from scoundrel_ray.missions.lineup import PolicyConfig
from scoundrel_ray.missions.mettagrid_policies import driver
from scoundrel_ray.missions.mission import Mission, MissionConfig
from scoundrel_ray.missions.prepare import prepared
from scoundrel_ray.settings.build import build, check_members
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.spec import LOST
from scoundrel_ray.streams import stream, streams
from scoundrel_ray.world import HERE, AnyCopies, AnyWorld, IllegalActions
from scoundrel_ray.worlds import from_mettagrid
from scoundrel_ray.worlds.adapted import WorldFailed, episode_seed
from tests.missions.test_episode import mission_of, outcomes, plain

TARGET = "scoundrel_ray.worlds.from_mettagrid.make"
SMALL = {"_target_": TARGET, "turns": 30}


@pytest.fixture(autouse=True)
def there(request):
    if "without" not in request.node.name:
        pytest.importorskip("mettagrid")


def world_of(**section):
    return build("world", {**SMALL, **section}, AnyWorld)


def by_hand(seed, builder="arena", agents=4, turns=30):
    """A simulation of mettagrid's own, whose map is of the seed."""
    from mettagrid.builder import envs
    from mettagrid.simulator.simulator import Simulation

    config = getattr(envs, f"make_{builder}")(num_agents=agents)
    config.game.max_steps = turns
    config.game.map_builder.seed = seed
    return Simulation(config, seed=seed)


@pytest.mark.parametrize("builder", ["arena", "navigation"])
def test_copies_are_simulations_stepped_by_hand(builder):
    world = world_of(builder=builder)
    copies, dice = world.copies(streams(3, 1)), np.random.default_rng(5)
    check_members("copies", copies, AnyCopies)
    own = [by_hand(episode_seed(stream(1, copy), 0), builder) for copy in range(3)]
    names = [name for name in own[0].action_names if name not in own[0].vibe_action_names]
    spec = world.specs[0]
    assert (spec.actions, spec.dtype, spec.observation_size) == (len(names), "uint8", 1500)
    for turn in range(30):
        assert copies.acting.all() and not copies.over.any()
        for copy, each in enumerate(own):
            np.testing.assert_array_equal(
                copies.observations[:, copy], np.array(each._c_sim.observations()).reshape(4, -1)
            )
        actions = dice.integers(0, spec.actions, (4, 3)).astype(np.int16)
        copies.step(actions)
        for copy, each in enumerate(own):
            for agent in range(4):
                each.agent(agent).set_action(names[int(actions[agent, copy])])
            each.step()
            np.testing.assert_array_equal(copies.rewards[:, copy], each._c_sim.rewards())
            assert each.is_done() == copies.over[copy] == (turn == 29)
    assert (copies.ended != HERE).all() and copies.renew() == 3 and copies.acting.all()
    second = by_hand(episode_seed(stream(1, 2), 1), builder)
    np.testing.assert_array_equal(copies.observations[:, 2].reshape(4, 500, 3), second._c_sim.observations())
    copies.close()


def test_an_episode_is_the_same_alone_and_beside_others():
    mission = Mission("arena", MissionConfig(SMALL))
    together = outcomes(mission, [drivers.random(mission)], range(4))
    assert len({each.hash for each in together}) == 4
    for each in together:
        assert [plain(each)] == [plain(own) for own in outcomes(mission, [drivers.random(mission)], [each.episode])]


def test_a_simulation_that_fails_loses_its_own_episode(monkeypatch):
    whole = from_mettagrid._step_of

    def step_of(simulation):
        def step():
            whole(simulation)()
            if simulation.seed == 9 and simulation.current_step == 3:
                raise RuntimeError("no more")

        return step

    monkeypatch.setattr(from_mettagrid, "_step_of", step_of)
    mission = Mission("arena", MissionConfig(SMALL))
    found = outcomes(mission, [drivers.random(mission)], range(4), seed=7)
    assert [each.failure is None for each in found] == [True, True, False, True]
    assert found[2].failure.message == "mettagrid_arena: copy 2, seed 9, step 3: RuntimeError: no more"
    copies = world_of(failure="stop").copies(streams(2, 1), [9, 8])
    with pytest.raises(WorldFailed, match="seed 9, step 3"):
        for _ in range(5):
            copies.step(np.zeros((4, 2), np.int16))
    assert (copies.ended[:, 0] == LOST).all()


def test_actions_beyond_the_last_are_refused():
    copies = world_of().copies(streams(2, 1))
    actions = np.zeros((4, 2), np.int16)
    actions[1, 1] = 99
    with pytest.raises(IllegalActions, match="not allowed in copy 1: agent_1 99"):
        copies.step(actions)


class Tokens:
    """What a policy of mettagrid's kind saw."""

    seen: list = []  # noqa: RUF012


def token_policy():
    from mettagrid.policy.policy import AgentPolicy, MultiAgentPolicy
    from mettagrid.simulator import Action

    class Own(AgentPolicy):
        def step(self, obs):
            Tokens.seen.append([obs.agent_id, [(each.feature.name, each.value, each.location) for each in obs.tokens]])
            names = self.policy_env_info.action_names
            return Action(name=names[sum(each.value for each in obs.tokens) % len(names)])

    class Policy(MultiAgentPolicy):
        def agent_policy(self, agent_id):
            return Own(self.policy_env_info)

    return Policy


def test_policies_of_mettagrids_kind_see_and_do_what_they_would_there(monkeypatch):
    policy = token_policy()
    monkeypatch.setattr(sys.modules[__name__], "TheirPolicy", policy, raising=False)
    mission = Mission("arena", MissionConfig(SMALL))
    Tokens.seen = []
    (found,) = outcomes(mission, [driver(mission, f"{__name__}.TheirPolicy")], [2], seed=40)
    assert found.failure is None
    seen, Tokens.seen = Tokens.seen, []
    simulation = by_hand(42)
    from mettagrid.policy.policy_env_interface import PolicyEnvInterface

    own = policy(PolicyEnvInterface.from_mg_cfg(simulation.config))
    agents = [own.agent_policy(agent) for agent in range(4)]
    while not simulation.is_done():
        for agent, each in enumerate(agents):
            simulation.agent(agent).set_action(each.step(simulation.agent(agent).observation))
        simulation.step()
    assert len(seen) == 30 * 4 and seen == Tokens.seen
    np.testing.assert_allclose(found.returns, simulation.episode_rewards)


def test_its_random_policy_plays_and_others_are_refused():
    mission = Mission("arena", MissionConfig(SMALL))
    (found,) = outcomes(mission, [driver(mission, "random")], [0])
    assert found.failure is None and found.steps == 30
    for policy, message in (("no.such.Policy", "cannot be imported"), ("builtins.int", "wanted a class that derives")):
        with pytest.raises(InvalidConfig, match=message):
            driver(mission, policy)
    hunt = mission_of("hunt")
    with pytest.raises(InvalidConfig, match="plays mettagrid's worlds, and mission hunt is none"):
        driver(hunt, "random")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"builder": "castle"}, "builder: got 'castle'"),
        ({"agents": 0}, "agents: got 0"),
        ({"turns": 0}, "turns: got 0"),
        ({"options": {"fog": 1}}, "options.fog: unknown; known are combat"),
        ({"failure": "never"}, "failure: got 'never'"),
    ],
)
def test_bad_settings_are_one_line(section, message):
    with pytest.raises(InvalidConfig, match=message):
        world_of(**section)


def test_without_mettagrid_it_is_one_line(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "mettagrid"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mettagrid", None)
    with pytest.raises(InvalidConfig, match=r"needs mettagrid.*pip install 'scoundrel_ray\[mettagrid\]'"):
        world_of()


def test_results_tell_weights_of_its_policies_apart(tmp_path):
    mission, file = Mission("arena", MissionConfig(SMALL)), tmp_path / "weights"
    section = {"_target_": f"{driver.__module__}.driver", "policy": "random", "data": {"weights": str(file)}}
    with pytest.raises(InvalidConfig, match=r"policies\.p\.data\.weights: cannot read"):
        prepared(PolicyConfig("p"), section, mission)
    digests = []
    for content in (b"1", b"2", b"1"):
        file.write_bytes(content)
        digests.append(prepared(PolicyConfig("p"), section, mission).recorded["digest"])
    assert digests[0] == digests[2] != digests[1]
