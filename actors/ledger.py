"""What an agent of a run counts: losses, drops, deaths, time; and its metrics between two reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.servers import share
from scoundrel_ray.runs.metrics import Window


class Ledger:
    """An agent's counts.

    Args:
        name: of the agent.
        counters: of a checkpoint to go on from; empty for a fresh run.

    Attributes:
        lost_samples: taken by learners that died, beyond their last checkpoint.
        dropped: rows that its replay did not want.
        blocked_s: seconds in which its replay wanted none.
        restarts: how often its replay or its learner was made again.
    """

    def __init__(self, name: str, counters: Mapping[str, Any]) -> None:
        self._name = name
        self.lost_samples = int(counters.get("lost_samples", 0))
        self.dropped = int(counters.get("dropped_rows", 0))
        self.blocked_s = float(counters.get("blocked_s", 0.0))
        self.restarts: dict[str, int] = {"learner": 0, "replay": 0, **counters.get("restarts", {})}
        self._window = Window()

    def counts(self) -> dict[str, Any]:
        """All counts, as a checkpoint keeps them."""
        return {
            "lost_samples": self.lost_samples,
            "dropped_rows": self.dropped,
            "blocked_s": self.blocked_s,
            "restarts": dict(self.restarts),
        }

    def pass_time(self, seconds: float, blocked: bool) -> None:
        """Count time in which the replay wanted rows or not."""
        self.blocked_s += seconds * blocked
        self._window.add("blocked_s", seconds * blocked)
        self._window.add("passed_s", seconds)

    def note(self, stretch: Mapping[str, Any]) -> None:
        """Count a stretch of the learner (see `learners.group.LearnerGroup.train`)."""
        for name, value in stretch["metrics"].items():
            self._window.add(f"metric/{name}", value, stretch["steps"])
        for name in ("steps", "wait_s", "total_s"):
            self._window.add(name, stretch[name])

    def report(self, per_s: float | None, steps: int, replay: Mapping[str, Any], lost_rows: int) -> dict[str, Any]:
        """Metrics since the last report, whichever the learner gives, flat, by name.

        Args:
            per_s: of a rate, 1 / seconds; None if the time is too short for rates.
            steps: done by the learner.
            replay: its newest status.
            lost_rows: that died with a node.
        """
        window, self._window = self._window, self._window.emptied()
        learner, rows = f"learner/{self._name}", f"replay/{self._name}"
        metrics = [name for name in window.names if name.startswith("metric/")]
        return {
            f"{learner}/steps": steps,
            **{f"{learner}/{name.removeprefix('metric/')}": window.mean(name) for name in metrics},
            f"{learner}/steps_per_s": per_s and window.total("steps") * per_s,
            f"{learner}/wait_share": share(window.total("wait_s"), window.total("total_s")),
            f"{learner}/restarts": sum(self.restarts.values()),
            f"{rows}/rows": replay["rows"],
            f"{rows}/inserted": replay["inserted"],
            f"{rows}/ratio": replay["ratio"],
            f"{rows}/lost_rows": lost_rows,
            f"{rows}/dropped_rows": self.dropped + int(replay.get("dropped_steps", 0)),
            f"{rows}/age": replay.get("age"),
            f"{rows}/blocked_share": share(window.total("blocked_s"), window.total("passed_s")),
        }
