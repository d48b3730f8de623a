"""Ways to run several agents, and how fast each should be by what its parts cost alone.

Legend: N agents, S samples an insert, B samples of a learner's step. An agent-step is a step of any of the agents and
makes one row, so training has S / B learner steps for it.
"""

from __future__ import annotations

from typing import NamedTuple

from scripts.measuring.agent_runs import BLOCKING, TICK, TURN

SEQUENTIAL = "sequential"
THREADS = 2  # of learners, in the way that has several
_ONE_THREAD = "cluster.learner_threads=1"


class Costs(NamedTuple):
    """What the parts of a run take alone, in seconds.

    Attributes:
        in_turn_s: of an agent-step where one worker collects with a network of its own, on one core.
        step_s: of an agent-step where workers and inference collect on all cores; on the wall.
        step_cpu_s: of the same, of all processes' processor time.
        apart_s: of a learner step where one learner is stepped after another, on one core.
        stacked_s: of a learner step where all learners are stepped together, on one core.
        shared_s: of a learner step where those of one of `THREADS` threads are stepped together, on one core.
    """

    in_turn_s: float
    step_s: float
    step_cpu_s: float
    apart_s: float
    stacked_s: float
    shared_s: float

    def samples_per_insert(self, share: float, batch: int) -> float:
        """S with which training takes this share of the time where all is done in turn."""
        return batch * self.in_turn_s * share / ((1.0 - share) * self.apart_s)


class Way(NamedTuple):
    """A way to run agents.

    Attributes:
        title: of the way.
        overrides: settings of `python -m scripts.train` that make it. All say how many threads step a process's
            learners, whatever the experiment says.
        body: see `scripts.measuring.agent_runs.measured`.
        waits: whether collecting and training wait for each other; else they go on side by side.
    """

    title: str
    overrides: tuple[str, ...]
    body: str
    waits: bool


WAYS = {
    SEQUENTIAL: Way(
        "in turn: one worker, then one learner after another",
        (
            "turns=true", "turn_shards=1", "inference.transport=local", "rollout.workers=1",
            "cluster.learner_groups=one", _ONE_THREAD,
        ),
        TURN,
        True,
    ),
    "blocking": Way(
        "all workers, then all learners, a process each",
        ("cluster.learner_groups=each", _ONE_THREAD),
        BLOCKING,
        True,
    ),
    "one_process": Way(
        "asynchronous, learners one after another in one process",
        ("cluster.learner_groups=one", "cluster.stacking=off", _ONE_THREAD),
        TICK,
        False,
    ),
    "spread": Way(
        "asynchronous, a process for each learner",
        ("cluster.learner_groups=each", _ONE_THREAD),
        TICK,
        False,
    ),
    "stacked": Way(
        "asynchronous, learners stacked in one process",
        ("cluster.learner_groups=one", "cluster.stacking=on", _ONE_THREAD),
        TICK,
        False,
    ),
    "threads": Way(
        "asynchronous, learners stacked on two threads of one process",
        ("cluster.learner_groups=one", "cluster.stacking=on", f"cluster.learner_threads={THREADS}"),
        TICK,
        False,
    ),
}  # fmt: skip


def predicted(way: str, costs: Costs, samples_per_insert: float, batch: int, agents: int, cores: int) -> float:
    """Agent-steps a second that a way should do, made of costs alone: 1 / its seconds an agent-step.

    With c = step_s, c' = step_cpu_s, t = S / B * apart_s, t' = S / B * stacked_s and t" = S / B * shared_s:

    - sequential: in_turn_s + t, one thing after another on one core;
    - blocking: c + t / min(N, cores), both phases with all cores, one after another;
    - one_process: max(c, t, (c' + t) / cores), by whichever is busiest: collection as fast as it is alone, the one
      learner process on its core, or all cores together;
    - spread: max(c, t / min(N, cores), (c' + t) / cores);
    - stacked: max(c, t', (c' + t') / cores);
    - threads: max(c, t" / min(N, THREADS, cores), (c' + t") / cores).

    A way whose prediction is reached loses nothing to messages, to waiting and to publishing weights.
    """
    steps, spread = samples_per_insert / batch, min(agents, cores)
    apart, stacked, shared = steps * costs.apart_s, steps * costs.stacked_s, steps * costs.shared_s
    seconds = {
        SEQUENTIAL: costs.in_turn_s + apart,
        "blocking": costs.step_s + apart / spread,
        "one_process": max(costs.step_s, apart, (costs.step_cpu_s + apart) / cores),
        "spread": max(costs.step_s, apart / spread, (costs.step_cpu_s + apart) / cores),
        "stacked": max(costs.step_s, stacked, (costs.step_cpu_s + stacked) / cores),
        "threads": max(costs.step_s, shared / min(spread, THREADS), (costs.step_cpu_s + shared) / cores),
    }
    return 1.0 / seconds[way]
