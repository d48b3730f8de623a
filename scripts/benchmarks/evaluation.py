"""Suite "evaluation": episodes of missions on several processes, on threads, in batches, and in vector environments.

Every figure stands beside the slower way of the same run, and what comes out is asserted to be the same: records byte
for byte. Wall seconds where cores share the work, CPU seconds of this thread where one does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scoundrel_ray.missions.drivers import Networks, Stateless
from scoundrel_ray.missions.episode import Outcome, play
from scoundrel_ray.missions.mission import Mission, MissionConfig, seating
from scoundrel_ray.missions.policy import OwnPolicies
from scoundrel_ray.missions.record import line_of
from scoundrel_ray.missions.wrappers import BATCH, Faster, InBatch, InSequence, OnThreads, Wrapper
from scoundrel_ray.players import Participant
from scoundrel_ray.settings.checks import at_least
from scripts.entry import section
from scripts.measuring.figures import Figure, Figures
from scripts.measuring.own_policies import Cheap, Heavy, Numeric

_SEED = 42
_OWN = "scripts.measuring.own_policies"
_MATRIX, _TIMES = 512, 8  # smaller arrays are not worth the hand-over of the interpreter's lock


def run(settings: Mapping[str, Any], missions: int, episodes: int, rounds: int, copies: int, repeats: int) -> Figures:
    """Figures of each level at which cores or calls are saved."""
    for name, value in (("missions", missions), ("episodes", episodes), ("rounds", rounds), ("copies", copies)):
        at_least(f"suite.{name}", value, 1)
    at_least("suite.repeats", repeats, 1)
    return Figures(
        [
            _processes(missions, episodes, rounds),
            _threads(repeats),
            _auto(repeats),
            _batches(repeats),
            _vector(copies, repeats),
            *_mettagrid(repeats),
        ]
    )


def _hunt(agents: int, turns: int) -> MissionConfig:
    world = {"_target_": "scoundrel_ray.worlds.treasure_hunt.make", "agents": agents, "turns": turns}
    return MissionConfig(world)


def _pole(vector: bool) -> MissionConfig:
    world: dict[str, Any] = {"_target_": "scoundrel_ray.worlds.from_gymnasium.make", "id": "CartPole-v1"}
    if vector:
        world |= {"id": None, "env": {"_target_": "scoundrel_ray.worlds.cartpole.SeededCartPole"}, "vector": True}
    return MissionConfig(world)


def _processes(missions: int, episodes: int, rounds: int) -> Figure:
    """Two worker processes beside one."""
    from actors.cluster import connected
    from actors.missions import RunnerConfig
    from actors.missions import run as play_missions

    configs = {f"mission_{number}": _hunt(2, 20 + number) for number in range(missions)}
    policy = {
        "_target_": "scoundrel_ray.missions.drivers.own", "policy": f"{_OWN}.Heavy", "data": {"rounds": rounds}
    }  # fmt: skip
    lineups = {(name, ""): [("heavy", 1.0, Participant(policy, {}, policy))] for name in configs}
    agents = {name: Mission(name, config).world.agents for name, config in configs.items()}
    seconds, lines = {}, {}
    with connected():
        for workers in (1, 2):
            found: list[Any] = []
            begun = time.perf_counter()
            todo = {played: range(episodes) for played in lineups}
            play_missions(configs, lineups, agents, todo, _SEED, workers, RunnerConfig(), found.extend)
            seconds[workers] = time.perf_counter() - begun
            lines[workers] = sorted(map(line_of, found))
    assert lines[1] == lines[2], "records depend on the number of workers"
    count = missions * episodes
    return Figure(
        f"{missions} missions of {episodes} episodes, a policy in plain Python: two processes", count / seconds[2],
        "episodes/s", "one process", count / seconds[1], wanted_ratio=1.85,
    )  # fmt: skip


def _threads(repeats: int) -> Figure:
    """Two threads beside one, of policies that release Python's lock."""
    mission = Mission("hunt", _hunt(2, 50))  # whose episodes are of one length: eight rows in every step
    ways = {
        "batch": lambda: InBatch(OwnPolicies(lambda body: Numeric(body, _MATRIX, _TIMES))),
        "threads": lambda: OnThreads(OwnPolicies(lambda body: Numeric(body, _MATRIX, _TIMES)), 2),
    }
    seconds, steps = _measured(mission, ways, range(8), repeats, time.perf_counter)
    return Figure(
        "eight episodes side by side, policies that reckon with arrays: two threads", steps / seconds["threads"],
        "agent-steps/s", "one thread", steps / seconds["batch"], wanted_ratio=1.6,
    )  # fmt: skip


def _auto(repeats: int) -> Figure:
    """What it costs to find out that a cheap policy wants no threads."""
    mission, chosen = Mission("hunt", _hunt(4, 100)), set()

    def auto() -> Wrapper:
        way = Faster(OwnPolicies(Cheap), 2)
        ways.append(way)
        return way

    ways: list[Faster] = []
    seconds, steps = _measured(
        mission, {"auto": auto, "bare": lambda: InBatch(OwnPolicies(Cheap))}, range(64), repeats, time.process_time
    )
    chosen = {way.chosen for way in ways}
    heavy = Faster(OwnPolicies(lambda body: Heavy(body, 2000)), 2)
    _outcomes(mission, heavy, range(4))
    assert chosen | {heavy.chosen} == {BATCH}, f"threads were chosen for plain Python: {chosen}, {heavy.chosen}"
    return Figure(
        "a cheap policy, threads tried and left", seconds["auto"] / seconds["bare"], "x the CPU time of none tried",
        most=1.03, details={"agent-steps/CPU s": steps / seconds["auto"]},
    )  # fmt: skip


def _batches(repeats: int) -> Figure:
    """A network asked for all rows at once beside row by row, both in padded batches."""
    from inference.local import LocalEvaluator
    from inference.policies import alike_at_any_size
    from scoundrel_ray.network import make_network, parameter_count

    mission = Mission("hunt", _hunt(8, 25))
    network = make_network({**section("network", "quantile"), "width": 240}, mission.world.specs[0])
    evaluator = LocalEvaluator(alike_at_any_size(network, "agent"))
    driver: Stateless = Networks([evaluator] * 8, [False] * 8)
    seconds, steps = _measured(
        mission,
        {"batch": lambda: InBatch(driver), "one": lambda: InSequence(driver)},
        range(16),
        repeats,
        time.process_time,
    )
    return Figure(
        f"a network of {parameter_count(network):,} parameters, 8 agents x 16 episodes: in batches",
        steps / seconds["batch"], "agent-steps/CPU s", "one by one", steps / seconds["one"], wanted_ratio=5.0,
    )  # fmt: skip


def _vector(copies: int, repeats: int) -> Figure:
    """CartPole's own vector environment beside one environment after another."""
    from scoundrel_ray.missions.drivers import random

    vector, one = Mission("pole", _pole(True)), Mission("pole", _pole(False))
    seconds, outcomes = {"vector": float("inf"), "one": float("inf")}, {}
    for _ in range(repeats + 1):
        begun = time.process_time()
        outcomes["vector"] = _outcomes(vector, InBatch(random(vector)), range(copies))
        seconds["vector"] = min(seconds["vector"], time.process_time() - begun)
        begun = time.process_time()
        outcomes["one"] = [
            each for episode in range(copies) for each in _outcomes(one, InBatch(random(one)), [episode])
        ]
        seconds["one"] = min(seconds["one"], time.process_time() - begun)
    scores = {way: [each.returns.tolist() for each in own] for way, own in outcomes.items()}
    assert scores["vector"] == scores["one"], "scores depend on the copies"
    steps = sum(each.steps for each in outcomes["one"])
    return Figure(
        f"CartPole, random, {copies} episodes in one vector environment", steps / seconds["vector"],
        "steps/CPU s", "one by one", steps / seconds["one"], wanted_ratio=10.0,
    )  # fmt: skip


def _mettagrid(repeats: int) -> list[Figure]:
    """Mettagrid's arena with random policies beside its own runner; none where it is not installed."""
    try:
        from mettagrid.policy.policy_env_interface import PolicyEnvInterface  # pyright: ignore[reportMissingImports]
        from mettagrid.policy.random_agent import RandomMultiAgentPolicy  # pyright: ignore[reportMissingImports]
        from mettagrid.simulator.rollout import Rollout  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        return []
    from scoundrel_ray.missions.drivers import random
    from scoundrel_ray.worlds.from_mettagrid import config_of

    agents, turns, episodes = 4, 500, 16
    world = {"_target_": "scoundrel_ray.worlds.from_mettagrid.make", "agents": agents, "turns": turns}
    mission, config = Mission("arena", MissionConfig(world)), config_of("arena", agents, turns)
    own = RandomMultiAgentPolicy(PolicyEnvInterface.from_mg_cfg(config))
    ours = theirs = float("inf")
    for _ in range(repeats + 1):
        begun = time.process_time()
        _outcomes(mission, InBatch(random(mission)), range(episodes))
        ours = min(ours, (time.process_time() - begun) / episodes)
        rollout = Rollout(config, [own.agent_policy(agent) for agent in range(agents)], seed=_SEED)
        begun = time.process_time()
        rollout.run_until_done()
        theirs = min(theirs, time.process_time() - begun)
    steps = agents * turns
    return [
        Figure(
            f"mettagrid arena, {agents} agents, random, everything hashed, {episodes} episodes side by side",
            steps / ours, "agent-steps/CPU s", "its own runner", steps / theirs, wanted_ratio=4.0,
        )
    ]  # fmt: skip


def _outcomes(mission: Mission, wrapper: Wrapper, episodes: Sequence[int]) -> list[Outcome]:
    agents = len(mission.world.agents)
    seats = {episode: seating([1.0], agents, _SEED, mission.name, episode) for episode in episodes}
    try:
        return play(mission, [wrapper], seats, _SEED)
    finally:
        wrapper.close()


def _measured(
    mission: Mission, ways: Mapping[str, Callable[[], Wrapper]], episodes: Sequence[int], repeats: int,
    clock: Callable[[], float],
) -> tuple[dict[str, float], int]:  # fmt: skip
    """Least seconds of each way, in turns, after one turn to warm up; and agent-steps of each."""
    least, hashes, steps = dict.fromkeys(ways, float("inf")), set(), 0
    for turn in range(repeats + 1):
        for name, make in ways.items():
            wrapper = make()
            begun = clock()
            found = _outcomes(mission, wrapper, episodes)
            if turn:
                least[name] = min(least[name], clock() - begun)
            hashes.add(tuple(each.hash for each in found))
            steps = sum(int(each.lengths.sum()) for each in found)
    assert len(hashes) == 1, "what comes out depends on the way"
    return least, steps
