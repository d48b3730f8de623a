"""Suite "worlds": agent-steps a second of compiled worlds on one core, treasure hunt beside itself in numpy.

All is in CPU seconds of this thread, so that other work on the machine counts little. A measurement plays random
actions that were played once before, untimed: so it chooses nothing, and who acts is known. Both sides are measured in
turns; the figure is the best of them, and the median stands beside it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from scoundrel_ray.copies import Copies
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import at_least, one_of
from scoundrel_ray.streams import streams
from scoundrel_ray.world import World
from scripts.entry import CONF, section
from scripts.measuring.figures import Figure, Figures
from scripts.measuring.numpy_treasure_hunt import NumpyTreasureHunt, TunedNumpyTreasureHunt

_SEED = 7
_WANTED = {("treasure_hunt", 1024): 20e6, ("cleanup", 1024): 5e6, ("tag", 1024): 5e6}


class Baseline(NamedTuple):
    """What a world is measured against.

    Attributes:
        title: of the baseline.
        make: called with the world's options.
        wanted_ratio: how much faster the world is to be, or None.
    """

    title: str
    make: type[NumpyTreasureHunt]
    wanted_ratio: float | None


_BASELINES = {
    "treasure_hunt": (
        Baseline("one environment in numpy", NumpyTreasureHunt, 100.0),
        Baseline("one environment in numpy, tuned by hand", TunedNumpyTreasureHunt, None),
    )
}
_BASELINES_SHARE = 50  # of the agent-steps: they are about a hundred times slower


def run(
    settings: Mapping[str, Any], worlds: Sequence[str], copies: Sequence[int], agent_steps: int, repeats: int
) -> Figures:
    """A figure for every world and number of copies, and for every baseline of the world."""
    at_least("suite.agent_steps", agent_steps, 1)
    at_least("suite.repeats", repeats, 1)
    for count in copies:
        at_least("suite.copies", count, 1)
    for name in worlds:
        one_of("suite.worlds", name, sorted(path.stem for path in (CONF / "world").glob("*.yaml")))
    made = [build(f"conf/world/{name}", section("world", name), World) for name in worlds]
    figures = [of_world(world, count, agent_steps, repeats) for world in made for count in copies]
    return Figures([figure for some in figures for figure in some])


def of_world(world: World, count: int, agent_steps: int, repeats: int) -> list[Figure]:
    """So many copies of a world, in turns with the baselines of the world."""
    game, baselines = rehearsed(world, count, agent_steps), _BASELINES.get(world.name, ())
    ours: list[float] = []
    theirs: list[list[float]] = [[] for _ in baselines]
    for _ in range(repeats):
        ours.append(game.agent_steps / replay(world, game))
        for rates, baseline in zip(theirs, baselines, strict=True):
            rates.append(rate_in_numpy(baseline.make(**world.options), -(-agent_steps // _BASELINES_SHARE)))
    case = f"{world.name}, {len(world.agents)} agents, {count:,} copies, one core"
    unit, details = "agent-steps/CPU s", {"median": median(ours), "CPU ns an agent-step": 1e9 / max(ours)}
    if not baselines:
        return [Figure(case, max(ours), unit, wanted=_WANTED.get((world.name, count)), details=details)]
    return [
        Figure(
            case, max(ours), unit, baseline.title, max(rates), _WANTED.get((world.name, count)), baseline.wanted_ratio,
            {**details, "median of the baseline": median(rates)},
        )
        for rates, baseline in zip(theirs, baselines, strict=True)
    ]  # fmt: skip


class Game(NamedTuple):
    """What was played.

    Attributes:
        streams: of the copies, at the start.
        actions: of every step, [N, C] int16.
        renewed: whether an episode was over after it.
        agent_steps: by those that acted, in all steps and copies.
    """

    streams: np.ndarray
    actions: list[np.ndarray]
    renewed: list[bool]
    agent_steps: int


def rehearsed(world: World, count: int, agent_steps: int) -> Game:
    """Play random allowed actions from the start until so many agent-steps are done."""
    game = Game(streams(count, _SEED), [], [], 0)
    copies, dice = Copies(world, game.streams), np.random.default_rng(_SEED)
    done = 0
    while done < agent_steps:
        done += int(copies.acting.sum())
        drawn = (copies.masks * (1.0 - dice.random(copies.masks.shape, dtype=np.float32))).argmax(axis=2)
        game.actions.append(drawn.astype(np.int16))
        copies.step(game.actions[-1])
        game.renewed.append(copies.renew() > 0)
    return game._replace(agent_steps=done)


def replay(world: World, game: Game) -> float:
    """CPU seconds of the same steps and renewals again."""
    copies = Copies(world, game.streams)
    start = time.thread_time()
    for actions, over in zip(game.actions, game.renewed, strict=True):
        copies.step(actions)
        if over:
            copies.renew()
    return time.thread_time() - start


def rate_in_numpy(environment: NumpyTreasureHunt, agent_steps: int) -> float:
    """Agent-steps a CPU second with random actions, drawn beforehand."""
    names = environment.possible_agents
    drawn = np.random.default_rng(_SEED).integers(0, 4, (-(-agent_steps // len(names)), len(names))).tolist()
    actions = [dict(zip(names, row, strict=True)) for row in drawn]
    environment.reset(_SEED)
    start = time.thread_time()
    for each in actions:
        environment.step(each)
        if not environment.agents:
            environment.reset()
    return len(actions) * len(names) / (time.thread_time() - start)
