"""Members as a user would write them: learners with rows and metrics of their own, and a replay."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch

from scoundrel_ray.experience.rows import decision_dtype
from scoundrel_ray.network import load, weights


class NotingLearner:
    """Learns nothing and notes what it read."""

    def __init__(self):
        self.version = 0
        self._seen = Counter()

    def step(self, rows):
        self._seen.update(row.tobytes().hex() for row in rows["observation"])
        self.version += 1
        return {"loss": 1.0 / self.version, "td_error": 0.5}

    def weights(self):
        return {}

    def state(self):
        return {"seen": dict(self._seen), "version": self.version}

    def restore(self, state):
        self._seen, self.version = Counter(state["seen"]), state["version"]


@dataclass(frozen=True)
class Noting:
    """Settings of the learner."""

    batch_size: int = 500

    def row_dtype(self, spec):
        return decision_dtype(spec)

    def make(self, network, seed) -> NotingLearner:
        return NotingLearner()


class ValueLearner:
    """Learns values alone, from rows that hold nothing else, and tells its own metrics."""

    def __init__(self, network):
        self.version = 0
        self._network = network
        self._optimiser = torch.optim.SGD(network.parameters(), lr=0.01)

    def step(self, rows):
        assert rows.dtype.names == ("observation", "value")
        _, values = self._network(torch.from_numpy(rows["observation"].copy()))
        error = values - torch.from_numpy(rows["value"].copy())
        loss = error.square().mean()
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        self.version += 1
        return {"loss": loss.item(), "td_error": error.abs().mean().item()}

    def weights(self):
        return weights(self._network)

    def state(self):
        return {"weights": weights(self._network), "version": self.version}

    def restore(self, state):
        load(self._network, state["weights"])
        self.version = state["version"]


@dataclass(frozen=True)
class Value:
    """Settings of the learner of values."""

    batch_size: int = 32

    def row_dtype(self, spec):
        whole = decision_dtype(spec)
        return np.dtype([(name, whole[name]) for name in ("observation", "value")])

    def make(self, network, seed) -> ValueLearner:
        return ValueLearner(network)


class NewestReplay:
    """Gives the newest rows, once there are enough, and never holds anybody back."""

    def __init__(self, dtype):
        self._rows = np.zeros(0, dtype)
        self._inserted = self._sampled = 0

    def insert(self, rows):
        self._rows = np.concatenate([self._rows, rows])[-1000:]
        self._inserted += len(rows)

    def sample(self, count):
        if len(self._rows) < count:
            return None
        self._sampled += count
        return self._rows[-count:].copy()

    def status(self):
        return {
            "rows": len(self._rows),
            "inserted": self._inserted,
            "sampled": self._sampled,
            "ratio": self._sampled / max(self._inserted, 1),
            "may_insert": True,
        }

    def state(self):
        return {"rows": self._rows, "inserted": self._inserted, "sampled": self._sampled}

    def restore(self, state, inserted=None, sampled=None):
        self._rows = np.array(state["rows"])
        self._inserted = state["inserted"] if inserted is None else inserted
        self._sampled = state["sampled"] if sampled is None else sampled


@dataclass(frozen=True)
class Newest:
    """Settings of the replay of the newest rows."""

    most_batch: int = 1000

    def make(self, dtype, stream) -> NewestReplay:
        return NewestReplay(dtype)
