"""Stand-ins for the learners, batches and stacks of a group; calls that nobody waits for without an end."""

import threading

import numpy as np

from learners.group import Member
from learners.learner import NonFiniteLoss
from scoundrel_ray.streams import generator, stream

LONG_S = 10_000.0  # of stretches that no clock ends
PATIENCE_S = 60.0  # after which a test says that somebody hangs
ROW = np.dtype([("owner", np.int32), ("number", np.int32), ("version", np.int32)])


def rows_of(owner, number, version=0, count=3):
    rows = np.zeros(count, ROW)
    rows["owner"], rows["number"], rows["version"] = owner, number, version
    return rows


class Given:
    """Batches as they are scripted: rows, None for none yet, an exception; at the script's end, none.

    `before` is called before every look, in the learners' thread.
    """

    def __init__(self, *script, before=lambda: None):
        self.script, self.before = list(script), before
        self.ahead, self.told = [], []

    def take(self, ahead):
        self.ahead.append(ahead)
        self.before()
        answer = self.script.pop(0) if self.script else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stepped(self, rows, learner):
        self.told.append((rows, learner, learner.version))


class Endless(Given):
    """Always has a batch, numbered, of its owner."""

    def __init__(self, owner, before=lambda: None):
        super().__init__(before=before)
        self.owner, self.number = owner, 0

    def take(self, ahead):
        super().take(ahead)
        self.number += 1
        return rows_of(self.owner, self.number)


class Plain:
    """A learner whose weights are its version, many times over; a step writes one half after the other.

    Args:
        fails: version at which a step fails -> the error.
        within: called in the middle of every step.
    """

    def __init__(self, fails=None, within=lambda: None):
        self.fails, self.within = dict(fails or {}), within
        self.version, self.learned, self.threads = 0, [], set()
        self._weights = np.zeros(64)

    def step(self, rows):
        self.threads.add(threading.current_thread().name)
        if self.version in self.fails:
            raise self.fails.pop(self.version)
        self._weights[:32] += 1
        self.within()
        self._weights[32:] += 1
        self.version += 1
        self.learned.append(rows)
        return {"loss": float(len(self.learned)), "rows": len(rows)}

    def weights(self):
        return {"w": self._weights.copy()}

    def state(self):
        return {"version": self.version, "weights": self._weights.copy()}

    def restore(self, state):
        self.version, self._weights = int(state["version"]), np.array(state["weights"])


class Together:
    """A stack of plain learners; `met` are the members with rows of every step."""

    def __init__(self, learners):
        self.learners, self.met = learners, []

    def step(self, rows):
        self.met.append(tuple(number for number, own in enumerate(rows) if own is not None))
        results = []
        for learner, own in zip(self.learners, rows, strict=True):
            try:
                results.append(None if own is None else learner.step(own) | {"together": 1.0})
            except NonFiniteLoss as error:
                results.append(error)
        return results


class Meeting:
    """Batches of several agents that come only when all of them are asked for; then they come at the same looks."""

    def __init__(self, count):
        self.count, self.here, self.group = count, set(), None

    def batches(self, owner, *script):
        given = Given(*script)
        take = given.take

        def taken(ahead):
            self.here.add(owner)
            if len(self.here) < self.count:
                return None
            if self.group is not None:  # the last one has come: look again, for all of them
                group, self.group = self.group, None
                group.wake()
                return None
            return take(ahead)

        given.take = taken
        return given


def member(learner, batches, symmetries=None):
    return Member(learner, batches, symmetries, generator(stream(0)))


class Asked(threading.Thread):
    """A call in a thread of its own; nobody is waited for longer than patience."""

    def __init__(self, call, *arguments, **named):
        super().__init__(daemon=True)
        self._call, self._given, self._error = call, (arguments, named), None
        self.start()

    def run(self):
        arguments, named = self._given
        try:
            self._result = self._call(*arguments, **named)
        except Exception as error:
            self._error = error

    def result(self):
        self.join(PATIENCE_S)
        assert not self.is_alive(), "hangs"
        if self._error is not None:
            raise self._error
        return self._result


def train(group, agent, steps=3, seconds=LONG_S, **named):
    return Asked(group.train, agent, steps, seconds, **named).result()
