"""Steps of a world: many copies side by side, every agent acting by its own network.

A worker has two halves of copies: one is stepped while the networks answer for the other. Plain objects without Ray;
actors/rollout.py puts them on a cluster.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from scoundrel_ray.evaluator import Evaluation, Evaluator, JointEvaluator, Line, lines
from scoundrel_ray.experience.behaviours import Behaviour, NoAction
from scoundrel_ray.experience.recorders import Recorder
from scoundrel_ray.experience.rows import chosen
from scoundrel_ray.experience.source import Progress, Role
from scoundrel_ray.settings.build import build
from scoundrel_ray.settings.checks import InvalidSetting, at_least, within
from scoundrel_ray.streams import Purpose, agent_stream, streams
from scoundrel_ray.world import HERE, LOST, AnyWorld

HALVES = 2
_AT_THE_END = 1 << 62  # own steps of an agent that does not learn: it explores as one that has learned


@dataclass(frozen=True)
class StepsConfig:
    """Settings of a worker's steps.

    Attributes:
        workers: rollout actors.
        copies: of the world in each worker, both halves together.
        steps: least steps of agents, all together, that a worker takes before it returns what came of them.
        seconds: longest time that it takes for them, so that slow worlds still report.
    """

    workers: int = 2
    copies: int = 256
    steps: int = 8192
    seconds: float = 5.0

    def __post_init__(self) -> None:
        at_least("workers", self.workers, 1)
        at_least("copies", self.copies, HALVES)
        at_least("steps", self.steps, 1)
        within("seconds", self.seconds, 0.01, 3600.0)
        if self.copies % HALVES:
            raise InvalidSetting("copies", f"got {self.copies}, wanted an even number (two halves)")


class _Asked(NamedTuple):
    """What is asked for one of the run's agents: for which agents of the world, in which copies of each."""

    places: list[tuple[int, np.ndarray]]
    rows: np.ndarray


class _Request(NamedTuple):
    """A request under way, and the run's agents that it has rows of."""

    evaluator: JointEvaluator
    agents: list[int]
    ticket: Any


class _Half:
    """Half of a worker's copies: what is asked for them, and what comes of it.

    Args:
        world: the rules.
        count: of copies.
        owners: number of the run's agent that each agent of the world acts as.
        behaviours: of each of the run's agents.
        learning: whether each of the run's agents learns.
        seed, path: of the run; worker, incarnation and half.
    """

    def __init__(
        self,
        world: AnyWorld,
        count: int,
        owners: Sequence[int],
        behaviours: Sequence[Behaviour],
        learning: Sequence[bool],
        seed: int,
        path: Sequence[int],
    ) -> None:
        self.copies = world.copies(streams(count, seed, Purpose.WORLDS, *path))
        self.recorders: list[Recorder | None] = [
            behaviours[owner].recorder(spec, count) if learning[owner] else None
            for owner, spec in zip(owners, world.specs, strict=True)
        ]
        self._world, self._owners, self._behaviours, self._learning = world, owners, behaviours, learning
        self._streams = [agent_stream(seed, Purpose.ACTIONS, name, *path) for name in world.agents]
        self._bodies = [[body for body, owner in enumerate(owners) if owner == own] for own in range(len(behaviours))]
        agents = len(world.agents)
        self._actions = np.zeros((agents, count), np.int16)
        self._was_ended = self.copies.ended.copy()  # whoever is not there as an episode begins has ended before it
        self._returns = np.zeros((agents, count), np.float64)
        self._lengths = np.zeros((agents, count), np.int64)
        self._asked: dict[int, _Asked] = {}
        self._requests: list[_Request] = []

    def ask(self, asking: Sequence[Line]) -> tuple[int, int]:
        """Ask for all that act next; returns how many rows that are, and in how many requests."""
        copies = self.copies
        acting = np.flatnonzero(copies.acting.any(axis=1)).tolist()
        for agent, bodies in enumerate(self._bodies):
            places = [(body, np.flatnonzero(copies.acting[body])) for body in bodies if body in acting]
            if not places:
                continue
            observations = [copies.observations[body][chosen] for body, chosen in places]
            rows = observations[0] if len(places) == 1 else np.concatenate(observations)
            self._asked[agent] = _Asked(places, rows)
        for evaluator, names in asking:
            agents = [agent for agent in names if agent in self._asked]
            if agents:
                ticket = evaluator.submit([(names[agent], self._asked[agent].rows) for agent in agents])
                self._requests.append(_Request(evaluator, agents, ticket))
        return sum(len(asked.rows) for asked in self._asked.values()), len(self._requests)

    def answer(self, own_steps: list[int], told: _Told) -> None:
        """Wait for the answers, act by them, and note what came of it.

        Args:
            own_steps: of each of the run's agents until now; brought up to date.
            told: of the stretch.

        Raises:
            EvaluatorGone: if an answer does not come.
            NoAction: naming the agent and the copy in which nothing is allowed.
        """
        copies = self.copies
        waited = time.perf_counter()
        answers: dict[int, Evaluation] = {}
        for evaluator, agents, ticket in self._requests:
            answers |= zip(agents, evaluator.collect(ticket), strict=True)
        told.wait_s += time.perf_counter() - waited
        for agent, asked in self._asked.items():
            at, evaluation = 0, answers[agent]
            for body, places in asked.places:
                part = slice(at, at + len(places))
                at += len(places)
                of_body = evaluation._replace(outputs=tuple(output[part] for output in evaluation.outputs))
                self._act(body, places, of_body, own_steps[agent] if self._learning[agent] else _AT_THE_END)
            own_steps[agent] += len(asked.rows)
        self._asked, self._requests = {}, []
        copies.step(self._actions)
        self._note_ends(told)
        over = copies.over
        if over.any():
            told.episodes += int(over.sum())
            copies.renew()
            self._was_ended[:, over] = copies.ended[:, over]

    def _act(self, body: int, places: np.ndarray, evaluation: Evaluation, own_steps: int) -> None:
        """Choose what one agent of the world does in some copies, and note it."""
        copies = self.copies
        masks = copies.masks[body][places]
        try:
            behaviour = self._behaviours[self._owners[body]]
            actions, logs = behaviour.choose(evaluation, masks, self._streams[body], own_steps)
        except NoAction as error:
            empty = int(places[np.flatnonzero(~masks.any(axis=1))[0]])
            raise NoAction(
                f"world {self._world.name}: {self._world.agents[body]} is to act in copy {empty} and its mask allows "
                "no action"
            ) from error
        self._actions[body, places] = actions
        self._returns[body, places] += copies.rewards[body, places]
        self._lengths[body, places] += 1
        recorder = self.recorders[body]
        if recorder is not None:
            recorder.act(
                places, copies.rewards[body], copies.observations[body], copies.masks[body], actions, logs,
                evaluation.version,
            )  # fmt: skip

    def _note_ends(self, told: _Told) -> None:
        """Give those whose episodes ended their last rows and their returns."""
        copies = self.copies
        ended = copies.ended
        fresh = (ended != HERE) & (self._was_ended == HERE)
        if not fresh.any():
            return
        for body in np.flatnonzero(fresh.any(axis=1)).tolist():
            places, recorder = np.flatnonzero(fresh[body]), self.recorders[body]
            lost = ended[body, places] == LOST
            if lost.any():
                if recorder is not None:
                    told.lost_steps[self._owners[body]] += recorder.forget(places[lost])
                self._returns[body, places[lost]] = self._lengths[body, places[lost]] = 0
                places = places[~lost]
            self._returns[body, places] += copies.rewards[body, places]
            told.returns[self._owners[body]].append(self._returns[body, places].copy())
            told.lengths[self._owners[body]].append(self._lengths[body, places].copy())
            self._returns[body, places] = self._lengths[body, places] = 0
            if recorder is not None:
                recorder.end(places, copies.rewards[body], copies.observations[body], ended[body])
        self._was_ended[:] = ended


class _Told:
    """What a stretch tells; lists are by the run's agents."""

    def __init__(self, agents: int) -> None:
        self.wait_s, self.episodes = 0.0, 0
        self.returns: list[list[np.ndarray]] = [[] for _ in range(agents)]
        self.lengths: list[list[np.ndarray]] = [[] for _ in range(agents)]
        self.lost_steps = [0] * agents


class WorldSteps:
    """A worker's steps.

    Args:
        world: the rules.
        settings: how much of it.
        owners: for each agent of the world, the number of the run's agent that it acts as.
        agents: by name.
        evaluators: by name, who answers for each agent's network; those of one joint evaluator are asked together.
        seed: of the run.
        path: of the random streams: worker and incarnation. A restarted worker must be given another.
    """

    def __init__(
        self,
        world: AnyWorld,
        settings: StepsConfig,
        owners: Sequence[int],
        agents: Mapping[str, Role],
        evaluators: Mapping[str, Evaluator],
        seed: int,
        path: Sequence[int],
    ) -> None:
        self._settings, self._owners, self._agents = settings, owners, dict(agents)
        self._lines = lines(evaluators[name] for name in agents)
        behaviours = [build(f"behaviour of {name}", role.behaviour, Behaviour) for name, role in agents.items()]
        learning = [role.rows is not None for role in agents.values()]
        self._halves = [
            _Half(world, self._settings.copies // HALVES, self._owners, behaviours, learning, seed, (*path, half))
            for half in range(HALVES)
        ]
        self._own_steps = [0] * len(agents)
        self._under_way: deque[_Half] = deque()

    def prepare(self, progress: Progress) -> None:
        """Explore from now on as becomes each agent's steps over all workers (see `Collector.prepare`)."""
        self._own_steps = [progress.own_steps.get(name, 0) for name in self._agents]

    def ask_through(self, evaluators: Mapping[str, Evaluator]) -> None:
        """Ask other evaluators from now on; nothing may be under way."""
        self._lines = lines(evaluators[name] for name in self._agents)

    def collect(self, timed: bool = True) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Rows and report of one stretch (see `Collector.collect`).

        The report has two more keys: lost_steps (by agent, steps whose outcome was lost with an environment) and
        failures (a line for each environment that failed).
        """
        start, before = time.perf_counter(), sum(self._own_steps)
        at_first, told = [*self._own_steps], _Told(len(self._agents))
        asked = [] if self._under_way else [self._ask(half) for half in self._halves]
        first_at = 0.0
        while (taken := sum(self._own_steps) - before) < self._settings.steps:
            if timed and taken and time.perf_counter() - start > self._settings.seconds:
                break
            half = self._under_way.popleft()
            half.answer(self._own_steps, told)
            asked.append(self._ask(half))
            if told.episodes and not first_at:
                first_at = time.time()
        report = {
            "episodes": told.episodes,
            "first_at": first_at,
            "agents": self._agent_metrics(told),
            "decisions": sum(self._own_steps) - before,
            "own_steps": self._by_agent(np.subtract(self._own_steps, at_first).tolist()),
            "leaves": sum(rows for rows, _ in asked),
            "messages": sum(requests for _, requests in asked),
            "wait_s": told.wait_s,
            "lost_steps": self._by_agent(told.lost_steps),
            "failures": [text for half in self._halves for text in _failures(half.copies)],
            "total_s": time.perf_counter() - start,
        }
        return self._rows(), report

    def _ask(self, half: _Half) -> tuple[int, int]:
        self._under_way.append(half)
        return half.ask(self._lines)

    def _by_agent(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self._agents, values, strict=True))

    def _rows(self) -> dict[str, np.ndarray]:
        """All rows that are complete, by agent, of the types that were asked for."""
        found: dict[str, list[np.ndarray]] = {name: [] for name, role in self._agents.items() if role.rows is not None}
        names = [*self._agents]
        for half in self._halves:
            for recorder, owner in zip(half.recorders, self._owners, strict=True):
                if recorder is not None:
                    found[names[owner]].append(recorder.take())
        return {name: chosen(np.concatenate(parts), self._agents[name].rows) for name, parts in found.items()}  # pyright: ignore[reportArgumentType]

    def _agent_metrics(self, told: _Told) -> dict[str, dict[str, tuple[float, float]]]:
        """Mean return and length of each agent's episodes that ended, with how many they are."""
        metrics = {}
        for name, returns, lengths in zip(self._agents, told.returns, told.lengths, strict=True):
            if returns:
                own, steps = np.concatenate(returns), np.concatenate(lengths)
                metrics[name] = {"return": (float(own.mean()), len(own)), "length": (float(steps.mean()), len(own))}
        return metrics

    def stuck(self, seconds: float) -> str:
        """Which adapted environment has not come back for so many seconds; "" if none has. For another thread."""
        for half in self._halves:
            under_way = getattr(half.copies, "under_way", lambda: None)()
            if under_way is not None and under_way.seconds > seconds:
                return (
                    f"an environment has not come back for {under_way.seconds:.0f} s: copy {under_way.copy}, "
                    f"seed {under_way.seed}, step {under_way.step}"
                )
        return ""

    def close(self) -> None:
        """Free what the copies hold."""
        for half in self._halves:
            half.copies.close()


def _failures(copies: Any) -> list[str]:
    """What an adapted environment's copies tell of failures since they were last asked."""
    failures = getattr(copies, "failures", None)
    if not failures:
        return []
    told = list(failures)
    failures.clear()
    return told
