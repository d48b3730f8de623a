"""One agent of a run: what it inserts and learns, its newest weights, its metrics, and its part of a checkpoint.

A replay or learner that dies is made again from the agent's part of the last checkpoint; all others go on. Counts stay
exact: rows inserted since are gone, but counted; samples that a dead learner had taken count as lost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import ray

from actors.calls import Calls, Failure, RunFailed
from actors.host import LEARNER, REPLAY, Host, Kinds, Part
from actors.inserts import Inserts
from actors.ledger import Ledger
from actors.servers import Servers
from scoundrel_ray.runs.plan import AgentPlan
from scoundrel_ray.runs.settings import TrainConfig

TRAIN_S, MOST_DEATHS_IN_A_ROW = 5.0, 3


class Agent:
    """A learning identity; its replay and learner live in the processes of its group. A frozen one has weights alone.

    Args:
        name, plan: of the agent.
        config: of the run.
        host: the processes of its group; None for a frozen agent.
        calls, servers: of the run.
        last_part: gives the agent's part of the last checkpoint; None while there is none.
        weights: float32 by name, that it starts from in place of fresh ones.
        part: of the checkpoint that the run goes on from.

    Attributes:
        steps: learner steps done.
        newest: version of the newest weights that the learner gave, and a reference to their arrays.
        stepping: how its steps are made, and what was measured to choose that; "" where nothing was.
        gated: whether somebody else decides which version is published.
    """

    def __init__(
        self,
        name: str,
        plan: AgentPlan,
        config: TrainConfig,
        host: Host | None,
        calls: Calls,
        servers: Servers,
        last_part: Callable[[str], Part | None],
        weights: Mapping[str, np.ndarray] | None = None,
        part: Part | None = None,
    ) -> None:
        counters = part["counters"] if part else {}
        self.name, self.plan = name, plan
        self._replay_name, self._learner_name = f"replay of {name}", f"learner of {name}"
        self.steps = int(counters.get("steps", 0))
        self.newest: tuple[int, Any] = (0, None)
        self.stepping = ""
        self.gated = config.arena.gate
        self._ledger = Ledger(name, counters)
        self._host, self._calls, self._servers = host, calls, servers
        self._last_part, self._weights, self._part = last_part, weights, part
        self._status: dict[str, Any] = {"rows": 0, "inserted": 0, "sampled": 0, "ratio": 0.0, "may_insert": True}
        self._inserts = Inserts(name, self._replay_name, calls, counters, self._on_status)
        self._deaths_in_a_row = 0
        self._restoring: set[str] = set()
        self._filling = object()  # the last time that a new replay was to be filled
        self._rests, self._held = True, False  # no stretch of the learner is under way; none is to be begun

    # Its processes

    def start(self, get: Callable[[str, Any], Any]) -> None:
        """Take up work with its processes; returns when the first weights are published. `get` is `Supervisor.get`."""
        if self.plan.frozen:
            self.newest = (0, ray.put(dict(self._weights or {})))
            self._servers.publish(self.name, *self.newest)
            return
        part, self._part = self._part, None
        learner, replay = self._learner, self._replay
        status = (
            replay.restore_replay.remote(self.name, part["replay"]) if part else replay.replay_status.remote(self.name)
        )
        self._status = get(self._replay_name, status)
        self._inserts.attach(replay)
        self._lose(get(self._learner_name, learner.samples.remote(self.name)))  # the batch under way at a checkpoint
        self.stepping = get(self._learner_name, learner.stepping.remote(self.name))
        version = get(self._learner_name, learner.version.remote(self.name))
        self._take_weights(version, learner.weights.remote(self.name), published=True)

    @property
    def _learner(self) -> Any:
        assert self._host is not None
        return self._host.learner()

    @property
    def _replay(self) -> Any:
        assert self._host is not None
        return self._host.replay(self.name)

    def _take_weights(self, version: int, arrays: Any, published: bool) -> None:
        """Take the learner's weights, by reference, and publish them unless somebody else decides."""
        self.steps = version
        self.newest = (version, arrays)
        if published:
            self._servers.publish(self.name, *self.newest)

    # Rows and steps

    @property
    def may_insert(self) -> bool:
        """Whether workers may go on; False while the replay is made again, so that rows do not pile up."""
        return REPLAY not in self._restoring and bool(self._status["may_insert"])

    def holds(self, expected: int) -> bool:
        """Whether workers are to wait for this agent, of which so many rows are to come from those that are at work.

        Where the replay drops what is old, they also wait until servers have the newest weights: a stretch that began
        with others would not make up a batch, and another one would be gathered for what is missing.
        """
        if self.plan.drops:
            return False
        room = self._status.get("room")
        if room is not None and (expected + self._inserts.rows >= room or self._servers.arriving(self.name)):
            return True
        return not self.may_insert

    def pass_time(self, seconds: float) -> None:
        """Count time, in which the replay wanted rows or not."""
        self._ledger.pass_time(seconds, blocked=not self.may_insert)

    def insert(self, rows: Any, count: int) -> None:
        """Store rows, by reference; those that the replay does not want are dropped, if the agent is such."""
        if self.plan.drops and not self.may_insert:
            self._ledger.dropped += count
        else:
            self._inserts.add(rows, count)

    def hold_rows(self, held: bool) -> None:
        """Whether rows that come are kept here for now; those that were sent are confirmed meanwhile."""
        self._inserts.hold(held)

    @property
    def settled(self) -> bool:
        """Whether the learner rests, and the replay has confirmed all that it was sent."""
        return self.rests and not self._inserts.sent

    def _on_status(self, status: dict[str, Any]) -> None:
        """Take what the replay says, unless it said something newer before: its threads answer in any order."""
        if all(status[name] >= self._status[name] for name in ("inserted", "sampled")):
            self._status = status

    def poll(self) -> None:
        """Ask the replay for its status."""
        if not self.plan.frozen and not self._restoring and f"status of {self.name}" not in self._calls.names:
            asked = self._replay.replay_status.remote(self.name)
            self._calls.ask(f"status of {self.name}", asked, self._on_status)

    def train(self) -> None:
        """Ask the learner for a stretch, unless one is under way, or it is being made again or is to rest."""
        if self._rests and not self._held and not self._restoring and not self.plan.frozen:
            self._rests, learner = False, self._learner
            train = learner.train.options(num_returns=2)
            report, arrays = train.remote(self.name, self.plan.publish_steps, TRAIN_S)
            done = functools.partial(self._on_trained, learner, arrays)
            self._calls.ask(self._learner_name, report, done, functools.partial(self._on_untrained, learner))

    def hold(self, held: bool) -> None:
        """Whether the learner is to rest once its stretch is over; the next one is begun by whoever calls `train`."""
        self._held = held

    @property
    def rests(self) -> bool:
        """Whether no stretch is under way, and nothing is being made again."""
        return self.plan.frozen or (self._rests and not self._restoring)

    def _on_trained(self, learner: Any, arrays: Any, report: Mapping[str, Any]) -> None:
        if learner is not self._learner:  # the last word of one that died with others, who told of it before
            return
        self._rests = True
        self._note(report, arrays)
        self.train()
        self.poll()  # workers may have waited for these steps

    def _note(self, report: Mapping[str, Any], arrays: Any) -> None:
        self._ledger.note(report)
        if report["steps"]:
            self._deaths_in_a_row = 0
            self._take_weights(report["version"], arrays, published=not self.gated)

    def _on_untrained(self, learner: Any, _failure: Failure) -> None:
        self._rests |= learner is self._learner

    def turn(self, rows: Any, count: int, get: Callable[[str, Any], Any]) -> None:
        """Store rows, then learn for as long as the replay gives batches; waits for both."""
        self._status = get(self._replay_name, self._replay.insert.remote(self.name, rows))
        self._inserts.given += count
        while True:
            train = self._learner.train.options(num_returns=2)
            asked, arrays = train.remote(self.name, self.plan.publish_steps, float("inf"), False)
            report = get(self._learner_name, asked)
            self._note(report, arrays)
            if report["steps"] < self.plan.publish_steps:
                break
        self._status = get(self._replay_name, self._replay.replay_status.remote(self.name))

    # Deaths

    def on_death(self, lost: Kinds, failure: Failure) -> None:
        """Note that a process died with its learner, its replay or both; another takes its place (see `on_renewed`).

        Raises:
            RunFailed: if they died again and again without a step between.
        """
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row >= MOST_DEATHS_IN_A_ROW:
            raise RunFailed(f"{failure.dead} died {self._deaths_in_a_row} times in a row: {failure.cause}")
        for kind in lost:
            self._ledger.restarts[kind] += 1
        self._restoring |= lost
        if REPLAY in lost:
            self._inserts.attach(None)

    def on_renewed(self, lost: Kinds) -> None:
        """Bring what was lost to where the last checkpoint says, now that its process was made again."""
        if LEARNER in lost:
            learner = self._learner
            asked = learner.version.remote(self.name)
            self._calls.ask(self._learner_name, asked, functools.partial(self._on_learner_back, learner))
        if REPLAY in self._restoring:
            self._attach()

    def _attach(self) -> None:
        """Give the learner the new replay, then fill the replay from the last checkpoint."""
        self._filling = filling = object()
        asked = self._learner.attach.remote(self.name, self._replay)
        self._calls.ask(self._learner_name, asked, functools.partial(self._restore_replay, filling))

    def _restore_replay(self, filling: object, samples: int) -> None:
        """Fill a new replay; `samples` are those that the learner has taken by now."""
        if filling is not self._filling:  # it or the learner died meanwhile, and it is filled anew
            return
        replay = self._replay
        if LEARNER in self._restoring:  # what the dead one had taken is not counted yet
            self._lose(samples)
        part = self._last_part(self.name)
        state = part["replay"] if part else replay.replay_state.remote(self.name)  # empty
        sampled = samples + self._ledger.lost_samples
        asked = replay.restore_replay.remote(self.name, state, inserted=self._inserts.given, sampled=sampled)
        self._calls.ask(self._replay_name, asked, functools.partial(self._on_replay_back, filling))

    def _on_replay_back(self, filling: object, status: dict[str, Any]) -> None:
        if filling is not self._filling:
            return
        self._restoring.discard(REPLAY)
        self._status = status
        self._inserts.attach(self._replay)
        self.train()

    def _on_learner_back(self, learner: Any, version: int) -> None:
        if learner is not self._learner:
            return
        self._take_weights(version, learner.weights.remote(self.name), published=not self.gated)
        self._calls.ask(self._learner_name, self._learner.samples.remote(self.name), self._count_lost_samples)

    def _count_lost_samples(self, samples: int) -> None:
        """Count what the dead learner had taken beyond the checkpoint: what the replay gave, less `samples`.

        The replay knows the exact number; if it died, too, its last status is used.
        """
        learner = self._learner

        def count(status: dict[str, Any]) -> None:
            self._status = status
            self._lose(samples)
            go_on()

        def go_on(_failure: Failure | None = None) -> None:
            if learner is self._learner:
                self._restoring.discard(LEARNER)
                self._rests = True
                self.train()

        self._lose(samples)
        if REPLAY in self._restoring:
            go_on()
        else:
            asked = self._replay.replay_status.remote(self.name)
            self._calls.ask(f"status of {self.name}", asked, count, go_on)

    def _lose(self, samples: int) -> None:
        """Count as lost what the replay gave beyond the `samples` that a new learner knows of."""
        self._ledger.lost_samples = max(self._status["sampled"] - samples, 0)

    # Telling

    @property
    def restarts(self) -> Mapping[str, int]:
        """How often its replay or its learner was made again."""
        return self._ledger.restarts

    def status(self) -> dict[str, Any]:
        """Counts and state of the agent, as plain data."""
        return {
            "steps": self.steps,
            "version": self.newest[0],
            "frozen": self.plan.frozen,
            **self._status,
            "rows_given": self._inserts.given,
            "inserts_under_way": len(self._inserts),
            "lost_rows": self._inserts.lost,
            **self._ledger.counts(),
            "restoring": sorted(self._restoring),
            "rests": self._rests,
        }

    def report(self, per_s: float | None) -> dict[str, Any]:
        """Metrics of the agent since the last report, whichever its learner gives; rates only where `per_s`."""
        if self.plan.frozen:
            return {}
        return self._ledger.report(per_s, self.steps, self._status, self._inserts.lost)

    def asked_for_content(self) -> dict[str, Any]:
        """References to what a checkpoint holds of the agent, by name; the learner must rest."""
        if self.plan.frozen:
            return {}
        learner = self._learner
        return {
            "learner": learner.state.remote(self.name),
            "weights": learner.weights.remote(self.name),
            "steps": learner.version.remote(self.name),
            "replay": self._replay.replay_state.remote(self.name),
        }

    def content(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The agent's part of a checkpoint, of what `asked_for_content` gave."""
        if self.plan.frozen:
            return {"counters": {"steps": 0}}
        self.steps = max(self.steps, given["steps"])  # further than its last report said
        counters = {
            "steps": given["steps"],
            "rows_given": given["replay"]["inserted"] + given["replay"].get("lost", {}).get("inserted", 0),
            "lost_rows": self._inserts.lost,
            **self._ledger.counts(),
        }
        return {"learner": given["learner"], "replay": given["replay"], "counters": counters}
