"""The workers of a run: who gathers experience, in which incarnation, and who may go on."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray

from actors.calls import Calls, Failure, RunFailed
from actors.rollout import RolloutActor
from actors.servers import Servers, share
from scoundrel_ray.experience.source import Progress
from scoundrel_ray.runs.metrics import Window
from scoundrel_ray.runs.plan import RunPlan
from scoundrel_ray.runs.settings import TrainConfig

MOST_DEATHS_IN_A_ROW = 5
_LOOK_S = 5.0
_STREAMS_PER_RESUMPTION = 1_000_000
_COUNTED = ("episodes", "rows", "leaves", "messages")
_SUMMED = ("decisions", "leaves", "messages", "wait_s", "total_s", "memory_bytes")


class Workers:
    """Keeps every worker busy, and replaces those that die by others with streams of their own.

    Args:
        config, plan: of the run.
        calls: of the run.
        servers: who evaluates.
        resumptions: how often the run was resumed: its workers draw from other streams each time.
        warn: called with the name of an actor, and what the user is to be warned of.

    Attributes:
        episodes, rows, own_steps: finished, returned, and taken by each agent, over all resumptions; set by whoever
            restores a run.
        restarts: workers replaced.
        first_at: when the first episode ended, seconds since the epoch.
    """

    def __init__(
        self,
        config: TrainConfig,
        plan: RunPlan,
        calls: Calls,
        servers: Servers,
        resumptions: int,
        warn: Callable[[str, str], None],
    ) -> None:
        self.episodes = self.rows = 0
        self.own_steps = dict.fromkeys(plan.agents, 0)
        self.restarts = 0
        self.first_at: float | None = None
        self.actors: dict[str, Any] = {}
        self._config, self._plan, self._calls = config, plan, calls
        self._servers, self._warn = servers, warn
        self._first_incarnation = resumptions * _STREAMS_PER_RESUMPTION
        self._incarnations: dict[str, int] = {}
        self._deaths_in_a_row: dict[str, int] = {}
        self._idle: set[str] = set()
        self._last_rows = dict.fromkeys(plan.agents, 0)
        self._counts: dict[str, dict[str, int]] = {}
        self._next_look = 0.0
        self._window = Window()
        self._agent_windows = {agent: Window() for agent in plan.agents}
        self._newest: dict[str, dict[str, float]] = {agent: {} for agent in plan.agents}

    def start(self) -> None:
        """Make all workers; they are asked for nothing yet."""
        for number in range(self._plan.workers):
            self._make(number)

    def _make(self, number: int) -> None:
        """A fresh worker in this place, with streams that no earlier one had."""
        name, own = f"rollout-{number}", not self._plan.serving
        incarnation = self._incarnations.get(name, self._first_incarnation - 1) + 1
        self._incarnations[name] = incarnation
        made = RolloutActor.options(num_cpus=self._config.cluster.rollout_cpus).remote(
            dict(self._plan.source), dict(self._plan.agents), own, self._config.inference, self._servers.by_agent,
            (self._config.seed, number, incarnation), self._plan.shards_of(number), self._plan.turns,
        )  # fmt: skip
        self.actors[name] = self._calls.register(name, made)
        self._counts[name] = dict.fromkeys(("stretches", *_COUNTED), 0)
        self._idle.add(name)
        if own:
            self._servers.join(name, made)

    def ask(self, progress: Progress, wanted: Callable[[], bool], insert: Callable[[str, Any, int], None]) -> None:
        """Ask workers that rest for the next stretch, one after another.

        Args:
            progress: of the run.
            wanted: whether another is to be asked.
            insert: called with an agent, a reference to its rows that came, and what they count as.
        """
        for name in sorted(self._idle):
            if not wanted():
                return
            self._idle.discard(name)
            report, *rows = self._stretch(_number(name), progress)
            self._calls.ask(name, report, functools.partial(self._on_report, name, rows, insert))

    def expected(self, agent: str) -> int:
        """Rows of an agent that are to come from workers at work, if each gives as many as the last one did."""
        return self._last_rows[agent] * (len(self.actors) - len(self._idle))

    def _stretch(self, shard: int, progress: Progress, timed: bool = True) -> list[Any]:
        """References to the report of a stretch of a shard and to each learning agent's rows."""
        collect = self.actors[self._at(shard)].collect
        answers = collect.options(num_returns=1 + len(self.learning)).remote(shard, progress, timed)
        return [answers] if not self.learning else list(answers)

    @property
    def learning(self) -> list[str]:
        """Agents whose rows workers return, in their order."""
        return [name for name, agent in self._plan.agents.items() if agent.role.rows is not None]

    def _on_report(
        self, name: str, rows: list[Any], insert: Callable[[str, Any, int], None], report: Mapping[str, Any]
    ) -> None:
        self._deaths_in_a_row.pop(name, None)
        self._idle.add(name)
        self._note(name, report)
        for agent, own in zip(self.learning, rows, strict=True):
            insert(agent, own, report["rows"][agent])

    def _note(self, name: str, report: Mapping[str, Any]) -> None:
        self._warn(name, report["warning"])
        counts = self._counts[name]
        counts["stretches"] += 1
        for key in _COUNTED:
            counts[key] += sum(report[key].values()) if key == "rows" else report[key]
        counts |= {key: report[key] for key in ("dealt", "finished", "under_way") if key in report}
        self.episodes += report["episodes"]
        self.rows += sum(report["rows"].values())
        self._last_rows |= report["rows"]
        for agent, steps in report["own_steps"].items():
            self.own_steps[agent] += steps
        if self.first_at is None and report["episodes"]:
            self.first_at = report["first_at"]
        self._window.add("episodes", report["episodes"])
        for key in _SUMMED:
            self._window.add(key, report[key])
        for agent, metrics in report["agents"].items():
            for metric, (value, weight) in metrics.items():
                self._agent_windows[agent].add(metric, value, weight)
                self._newest[agent][metric] = value
        for failure in report.get("failures", ()):
            self._warn(name, failure)

    def _at(self, shard: int) -> str:
        """The worker that gathers a shard."""
        return f"rollout-{shard % self._plan.workers}"

    def turn(self, shard: int, progress: Progress, seconds: float) -> tuple[dict[str, int], dict[str, Any]]:
        """What the rows of one whole stretch of a shard count as, by agent, and references to them; waits for them.

        No clock ends the stretch.
        """
        name = self._at(shard)
        answer, *rows = self._stretch(shard, progress, timed=False)
        report = self._calls.get(name, answer, seconds)
        self._note(name, report)
        return report["rows"], dict(zip(self.learning, rows, strict=True))

    def on_death(self, failure: Failure) -> None:
        """Replace a worker that died.

        Raises:
            RunFailed: if it died again and again.
        """
        name = failure.dead
        if not failure.first:
            return
        self._deaths_in_a_row[name] = self._deaths_in_a_row.get(name, 0) + 1
        if self._deaths_in_a_row[name] > MOST_DEATHS_IN_A_ROW:
            raise RunFailed(f"{name} died {MOST_DEATHS_IN_A_ROW + 1} times in a row: {failure.cause}")
        self.restarts += 1
        self._make(_number(name))

    def status(self) -> dict[str, dict[str, Any]]:
        """What each worker did, by name.

        Returns:
            incarnation: in this process of the run, from 0. rests: whether it is asked for nothing now.
            stretches, episodes, rows, leaves, messages: of this incarnation; and what else its collector counts.
        """
        return {
            name: {
                "incarnation": self._incarnations[name] - self._first_incarnation,
                "rests": name in self._idle,
                **self._counts[name],
            }
            for name in self.actors
        }

    def newest(self, agent: str) -> dict[str, float]:
        """Metrics of the newest stretch that had any of an agent, such as its return."""
        return dict(self._newest[agent])

    def look(self) -> None:
        """Ask workers whether they are stuck in an environment that does not come back; such a worker is replaced."""
        now, asked = time.monotonic(), self._calls.names
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        for name, actor in self.actors.items():
            question = f"{name}'s environment"
            if question not in asked:
                handle = functools.partial(self._on_stuck, name, actor)
                self._calls.ask(question, actor.stuck.remote(self._config.cluster.silent_s), handle)

    def _on_stuck(self, name: str, actor: Any, told: str) -> None:
        if told and self.actors.get(name) is actor:
            self._calls.blame(actor, told)
            ray.kill(actor)

    def report(self, per_s: float | None) -> dict[str, Any]:
        """What workers did since the last report; rates only where `per_s` is not None."""
        window, self._window = self._window, Window()
        total = window.total
        agents = {}
        for agent, own in self._agent_windows.items():
            agents |= {f"rollout/{agent}/{metric}": own.mean(metric) for metric in own.names}
            self._agent_windows[agent] = own.emptied()
        return {
            "rollout/games": self.episodes,
            **agents,
            "rollout/games_per_min": per_s and 60 * total("episodes") * per_s,
            "rollout/decisions_per_s": per_s and total("decisions") * per_s,
            "rollout/leaves_per_message": share(total("leaves"), total("messages")),
            "rollout/wait_share": share(total("wait_s"), total("total_s")),
            "rollout/memory_mb": share(total("memory_bytes"), 1e6 * window.weight("memory_bytes")),
            "rollout/restarts": self.restarts,
        }

    def stop(self) -> None:
        """End all workers."""
        for actor in self.actors.values():
            ray.kill(actor)


def _number(name: str) -> int:
    """Of a worker."""
    return int(name.removeprefix("rollout-"))
