"""Steps of a world, slowly: every copy by itself, every agent asked alone, histories kept whole.

Beside it, an evaluator whose answers are a hash of its name and of what it is asked: whoever asks another's network, or
gives an agent another's row, acts otherwise.
"""

import hashlib

import numpy as np

from scoundrel_ray.evaluator import Evaluation
from scoundrel_ray.streams import Purpose, agent_stream, streams
from scoundrel_ray.world import HERE, LOST
from tests.experience.slow_rows import History, Step, cut, fragments, transitions


class Hashed:
    """Answers each ticket once; `asked` counts rows of every request."""

    def __init__(self, name, actions, version=0):
        self.name, self.actions, self.version = name, actions, version
        self.asked, self._open = [], {}

    def preferences(self, row):
        digest = hashlib.blake2b(self.name.encode() + b"/" + row.tobytes(), digest_size=2 * self.actions).digest()
        return (np.frombuffer(digest, np.uint16) / 2**14 - 2).astype(np.float32)

    def submit(self, observations):
        self.asked.append(len(observations))
        self._open[len(self.asked)] = observations.copy()
        return len(self.asked)

    def collect(self, ticket):
        rows = self._open.pop(ticket)
        preferences = np.array([self.preferences(row) for row in rows], np.float32).reshape(-1, self.actions)
        return Evaluation((preferences, np.zeros((len(rows), 1), np.float32)), self.version)


class SlowCopy:
    """One copy of a world, with a history of each agent and episode."""

    def __init__(self, world, stream):
        self.copies = world.copies(stream)
        count = len(world.agents)
        self.histories = [[] for _ in range(count)]
        self._actions = np.zeros((count, 1), np.int16)
        self._begin()
        self.begin_stretch()

    def begin_stretch(self):
        """Forget what the last stretch is to be told of."""
        self.returns = [[] for _ in self.histories]  # (return, length) of episodes that ended
        self.lost, self.episodes = [[] for _ in self.histories], 0
        self.failures = getattr(self.copies, "failures", [])
        self.failures.clear()

    def _begin(self):
        self._total = [0.0] * len(self.histories)
        self._gone = [how != HERE for how in self.copies.ended[:, 0]]
        for own in self.histories:
            own.append(History())

    def act(self, body, action, log, version):
        """Note what an agent does; `step` does it."""
        self._bring(body)
        seen, mask = self.copies.observations[body][0].copy(), self.copies.masks[body][0].copy()
        self.histories[body][-1].steps.append(Step(seen, mask, action, log, version))
        self._actions[body, 0] = action

    def _bring(self, body):
        self._total[body] += float(self.copies.rewards[body, 0])
        if self.histories[body][-1].steps:
            self.histories[body][-1].steps[-1].reward = self.copies.rewards[body, 0]

    def step(self):
        self.copies.step(self._actions)
        for body, how in enumerate(self.copies.ended[:, 0].tolist()):
            if how == HERE or self._gone[body]:
                continue
            self._gone[body] = True
            history = self.histories[body][-1]
            if how == LOST:
                self.lost[body].append(history)
                continue
            self._bring(body)
            history.end = (how, self.copies.observations[body][0].copy())
            self.returns[body].append((self._total[body], len(history.steps)))
        if self.copies.over[0]:
            self.episodes += 1
            self.copies.renew()
            self._begin()


class SlowSteps:
    """What `WorldSteps` does, with the same arguments but behaviours in place of roles, and who does not learn."""

    def __init__(self, world, copies, owners, behaviours, evaluators, seed, path, frozen=()):
        self.world, self.owners, self.behaviours, self.evaluators = world, owners, behaviours, evaluators
        self.frozen = frozen
        self.names, self.own_steps = [*behaviours], dict.fromkeys(behaviours, 0)
        self._halves, self._streams, self._answers = [], [], 0
        for half in range(2):
            words = streams(copies // 2, seed, Purpose.WORLDS, *path, half)
            self._halves.append([SlowCopy(world, words[copy : copy + 1]) for copy in range(copies // 2)])
            self._streams.append([agent_stream(seed, Purpose.ACTIONS, name, *path, half) for name in world.agents])

    def collect(self, steps):
        """At least so many steps; returns how many each agent took."""
        before = dict(self.own_steps)
        for copy in self.copies:
            copy.begin_stretch()
        while sum(self.own_steps.values()) - sum(before.values()) < steps:
            self._answer(self._answers % 2)
            self._answers += 1
        for body, owner in enumerate(self.owners):
            behaviour = self.behaviours[self.names[owner]]
            for copy in self.copies if getattr(behaviour, "cut", False) else ():
                cut(copy.histories[body][-1], behaviour.length)
        return {name: self.own_steps[name] - before[name] for name in self.names}

    def _answer(self, half):
        for number, name in enumerate(self.names):
            taken = 0
            for body in [body for body, owner in enumerate(self.owners) if owner == number]:
                for copy in self._halves[half]:
                    if copy.copies.acting[body, 0]:
                        self._act(copy, name, body, self._streams[half][body])
                        taken += 1
            self.own_steps[name] += taken
        for copy in self._halves[half]:
            copy.step()

    def _act(self, copy, name, body, rng):
        evaluator = self.evaluators[name]
        preferences = evaluator.preferences(copy.copies.observations[body][0])[None]
        evaluation = Evaluation((preferences, np.zeros((1, 1), np.float32)), evaluator.version)
        mask = copy.copies.masks[body][0][None]
        steps = 10**12 if name in self.frozen else self.own_steps[name]
        actions, logs = self.behaviours[name].choose(evaluation, mask, rng, steps)
        copy.act(body, actions[0], logs[0], evaluator.version)

    @property
    def copies(self):
        return [copy for half in self._halves for copy in half]

    def _of(self, name, kept):
        number = self.names.index(name)
        bodies = [body for body, owner in enumerate(self.owners) if owner == number]
        return [each for copy in self.copies for body in bodies for each in getattr(copy, kept)[body]]

    def histories(self, name):
        """Of one of the run's agents, all."""
        return self._of(name, "histories")

    def returns(self, name):
        """[(return, length)] of its episodes that ended in the last stretch."""
        return self._of(name, "returns")

    def lost_steps(self, name):
        """Steps of the last stretch's lost episodes that came into no row."""
        behaviour, lost = self.behaviours[name], 0
        for history in self._of(name, "lost"):
            if hasattr(behaviour, "length"):
                given = sum(row["steps"] for row in fragments(history, behaviour.length))
            else:
                given = len(transitions(history, behaviour.n_steps, behaviour.discount))
            lost += len(history.steps) - given
        return lost
