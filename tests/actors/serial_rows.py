"""Members that number every row, so that a test can tell a row that is stored twice or missing.

A collector's rows have serial numbers: its own 36 bits, and behind them 0, 1, 2, ... for each agent. The replay holds
of each collector which numbers it was given, also over a checkpoint, and refuses a number that it has had.
"""

from dataclasses import dataclass

import numpy as np

from learners.alphazero import AlphaZeroConfig
from learners.iqn import IQNConfig
from scoundrel_ray.experience.replay import RingReplay, UniformReplay
from scoundrel_ray.experience.rows import transition_dtype
from scoundrel_ray.experience.selfplay import SelfPlaySource
from scoundrel_ray.experience.world_source import WorldSource
from scoundrel_ray.spec import Spec

MODULE = "tests.actors.serial_rows"
_NUMBERS = np.uint64(1 << 28)


def with_serial(dtype: np.dtype) -> np.dtype:
    return np.dtype([*((name, dtype[name]) for name in dtype.names), ("serial", np.uint64)])


@dataclass(frozen=True)
class SerialSource(SelfPlaySource):
    """Self-play whose rows are numbered."""

    def rows(self, spec, behaviour):
        return with_serial(super().rows(spec, behaviour))

    def collector(self, agents, evaluators, seed, path):
        inner = super().collector(dict.fromkeys(agents, self.role), evaluators, seed, path)
        return _Numbered(inner, {name: role.rows for name, role in agents.items()}, path)


@dataclass(frozen=True)
class SerialWorldSource(WorldSource):
    """Steps of a world whose rows are numbered."""

    def rows(self, spec, behaviour):
        return with_serial(super().rows(spec, behaviour))

    def collector(self, agents, evaluators, seed, path):
        specs = self.specs([*agents])
        plain = {name: role._replace(rows=transition_dtype(specs[name])) for name, role in agents.items()}
        inner = super().collector(plain, evaluators, seed, path)
        return _Numbered(inner, {name: role.rows for name, role in agents.items()}, path)


class _Numbered:
    def __init__(self, inner, agents, path):
        worker, incarnation = path
        self._inner, self._agents = inner, agents
        self._next = dict.fromkeys(agents, np.uint64((worker << 26 | incarnation) << 28))
        self.prepare, self.ask_through, self.close = inner.prepare, inner.ask_through, inner.close
        self.stuck = getattr(inner, "stuck", None)

    def collect(self, timed=True):
        rows, report = self._inner.collect(timed)
        return {agent: self._numbered(agent, own) for agent, own in rows.items()}, report

    def _numbered(self, agent, rows):
        out = np.empty(len(rows), self._agents[agent])
        for name in rows.dtype.names:
            out[name] = rows[name]
        out["serial"] = self._next[agent] + np.arange(len(rows), dtype=np.uint64)
        self._next[agent] += np.uint64(len(rows))
        return out


@dataclass(frozen=True)
class SerialAlphaZero(AlphaZeroConfig):
    """AlphaZero's learner, which wants numbered rows."""

    def row_dtype(self, spec: Spec) -> np.dtype:
        return with_serial(super().row_dtype(spec))


@dataclass(frozen=True)
class SerialIQN(IQNConfig):
    """IQN's learner, which wants numbered rows."""

    def row_dtype(self, spec: Spec) -> np.dtype:
        return with_serial(super().row_dtype(spec))


@dataclass(frozen=True)
class SerialReplay(UniformReplay):
    """A ring that knows the number of every row that it was ever given."""

    def make(self, dtype, stream):
        made = super().make(dtype, stream)
        made.__class__ = _SerialRing
        made.given = {}
        return made


class _SerialRing(RingReplay):
    given: dict[str, list[list[int]]]  # of each collector: first number and the one after the last, block by block

    def insert(self, rows):
        if len(rows):
            first, last = rows["serial"][0], rows["serial"][-1]
            collector, start, stop = str(first // _NUMBERS), int(first % _NUMBERS), int(last % _NUMBERS) + 1
            assert stop - start == len(rows) and collector == str(last // _NUMBERS)
            blocks = self.given.setdefault(collector, [])
            twice = [block for block in blocks if block[0] < stop and start < block[1]]
            if twice:
                raise ValueError(f"rows {start} to {stop} of collector {collector} come again: {twice}")
            blocks.append([start, stop])
        super().insert(rows)

    def state(self):
        return {**super().state(), "given": self.given}

    def restore(self, state, inserted=None, sampled=None):
        super().restore(state, inserted, sampled)
        self.given = {collector: [list(map(int, each)) for each in own] for collector, own in state["given"].items()}


def count(given) -> int:
    """How many rows a replay was given, of what it noted."""
    return sum(stop - start for own in given.values() for start, stop in own)


def gaps(given) -> int:
    """How many rows are missing between the first and the last that came of each collector."""
    return sum(max(stop for _, stop in own) for own in given.values()) - count(given)
