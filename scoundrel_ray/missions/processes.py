"""Policies in child processes: each has the agents that it acts for until their episodes end, so that what policies
remember stays where it is. What they see and do goes through shared memory; a byte in a pipe says that it is there.

A child that dies takes this process with it: whoever gave it work then has it done again.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from scoundrel_ray.missions import global_draws
from scoundrel_ray.missions.mission import Mission, MissionConfig
from scoundrel_ray.missions.policy import Asked, Body, Driver, PolicyFailed
from scoundrel_ray.missions.shared import Shared, memory, size_of
from scoundrel_ray.missions.wrappers import answered, joined
from scoundrel_ray.settings.build import build

_LOOK_S = 1.0
_STEP, _DONE, _FAILED, _BEGIN, _DRAWS = b"s", b"d", b"f", b"b", b"g"
_CHILD = "from scoundrel_ray.missions.processes import serve; serve({}, {}, {})"


class Recipe(NamedTuple):
    """What a child builds a driver from.

    Attributes:
        mission, config: its name and settings.
        title, section: of the policy.
        seed: of the evaluation.
    """

    mission: str
    config: MissionConfig
    title: str
    section: Mapping[str, Any]
    seed: int

    def build(self, mission: Mission) -> Driver:
        """The driver."""
        global_draws.seed(self.seed)
        return build(f"policies.{self.title}", self.section, Driver, mission)


class _Child:
    """A child process, and what is shared with it."""

    def __init__(self, recipe: Recipe, mission: Mission, copies: int) -> None:
        specs = mission.world.specs
        file = memory(size_of(specs, copies))
        theirs, self._out = os.pipe()
        self._in, their_out = os.pipe()
        code = _CHILD.format(file, theirs, their_out)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=(file, theirs, their_out), env=environment,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
            self.shared = Shared(file, specs, copies)
        finally:
            for descriptor in (file, theirs, their_out):
                os.close(descriptor)
        self.send((recipe, copies))

    def send(self, message: Any) -> None:
        """Send plain data of this process's own making."""
        data = pickle.dumps(message)
        self.tell(len(data).to_bytes(8, "little") + data)

    def tell(self, data: bytes) -> None:
        """Write bytes, all of them."""
        while data:
            data = data[os.write(self._out, data) :]

    def receive(self) -> Any:
        """What the child sends; it is of this process's own making."""
        return pickle.loads(_read(self._in, int.from_bytes(_read(self._in, 8), "little")))

    def heard(self) -> bytes:
        """The next byte."""
        return _read(self._in, 1)

    def close(self) -> None:
        """End the process."""
        os.close(self._out)
        os.close(self._in)
        self._process.kill()
        self._process.wait()


def _read(file: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(file, size - len(data))
        if not part:
            print("a child process of policies died", file=sys.stderr, flush=True)
            os._exit(1)
        data += part
    return data


class OnProcesses:
    """Agents shared out to child processes (see `scoundrel_ray.missions.wrappers.Wrapper`).

    Args:
        recipe: of the driver.
        mission: that is played.
        processes: how many.
    """

    elsewhere = True

    def __init__(self, recipe: Recipe, mission: Mission, processes: int) -> None:
        self._recipe, self._mission, self._count = recipe, mission, processes
        self._children: list[_Child] = []
        self._copies = 0
        self._child_of: dict[tuple[int, int], int] = {}
        self._asked: Asked | None = None
        self._rows: list[np.ndarray] = []

    def begin(self, bodies: Mapping[tuple[int, int], Body]) -> None:
        """See `Driver.begin`."""
        places = max((place for _, place in bodies), default=0) + 1
        if places > self._copies or not self._children:
            self.close()
            self._copies = places
            self._children = [_Child(self._recipe, self._mission, places) for _ in range(self._count)]
        self._child_of = {key: number % self._count for number, key in enumerate(bodies)}
        for number, child in enumerate(self._children):
            own = {key: body for key, body in bodies.items() if self._child_of[key] == number}
            child.tell(_BEGIN)
            child.send({key: body._replace(spec=None) for key, body in own.items()})
        failed: dict[int, str] = {}
        keys = [*bodies]
        for number, child in enumerate(self._children):
            rows = [row for row, key in enumerate(keys) if self._child_of[key] == number]
            if child.heard() == _FAILED:
                message, own = child.receive()
                if not own:
                    raise PolicyFailed(message)
                failed |= {rows[row]: text for row, text in own.items()}
        if failed:
            raise PolicyFailed("cannot be built", failed)

    def submit(self, asked: Asked) -> None:
        """See `Wrapper.submit`."""
        self._asked = asked
        owners = np.array(
            [self._child_of[key] for key in zip(asked.agents.tolist(), asked.places.tolist(), strict=True)], np.int64
        )
        self._rows = [np.flatnonzero(owners == number) for number in range(self._count)]
        for child, rows in zip(self._children, self._rows, strict=True):
            if not len(rows):
                continue
            shared, agents, places = child.shared, asked.agents[rows], asked.places[rows]
            for agent in np.unique(agents).tolist():
                own = places[agents == agent]
                shared.observations[agent][own] = asked.copies.observations[agent][own]
                shared.masks[agent][own] = asked.copies.masks[agent][own]
            shared.count[0] = len(rows)
            shared.agents[: len(rows)], shared.places[: len(rows)] = agents, places
            shared.streams[: len(rows)] = asked.streams[rows]
            child.tell(_STEP)

    def collect(self) -> np.ndarray:
        """See `Wrapper.collect`."""
        assert self._asked is not None
        parts = []
        for child, rows in zip(self._children, self._rows, strict=True):
            if not len(rows):
                continue
            error = PolicyFailed(*child.receive()) if child.heard() == _FAILED else None
            actions, streams = child.shared.actions[: len(rows)].copy(), child.shared.streams[: len(rows)].copy()
            parts.append((rows, (actions, streams, error)))
        return joined(self._asked, parts)

    def drew(self) -> bool:
        """Whether any policy has drawn from generators of its whole process since it began."""
        for child in self._children:
            child.tell(_DRAWS)
        return any([child.receive() for child in self._children])  # each is heard

    def close(self) -> None:
        """End the processes."""
        for child in self._children:
            child.close()
        self._children = []


def serve(file: int, requests: int, replies: int) -> None:
    """Answer the parent, until it closes its end. This is what a child runs."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    recipe, copies = pickle.loads(_received(requests))  # from the process that started this one
    mission = Mission(recipe.mission, recipe.config)
    shared, driver = Shared(file, mission.world.specs, copies), recipe.build(mission)
    before = global_draws.state()
    while kind := os.read(requests, 1):
        if kind == _STEP:
            os.write(replies, _stepped(shared, driver))
        elif kind == _BEGIN:
            bodies = pickle.loads(_received(requests))
            specs = mission.world.specs
            global_draws.seed(recipe.seed)
            before = global_draws.state()
            try:
                driver.begin({key: body._replace(spec=specs[key[0]]) for key, body in bodies.items()})
                os.write(replies, _DONE)
            except PolicyFailed as error:
                os.write(replies, _FAILED + _sized((str(error), error.rows)))
        else:
            os.write(replies, _sized(global_draws.touched(before)))


def _end_with(parent: int) -> None:
    """End this process once its parent has gone, whatever a policy is at."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def _stepped(shared: Shared, driver: Driver) -> bytes:
    count = int(shared.count[0])
    asked = Asked(shared, shared.agents[:count], shared.places[:count], shared.streams[:count])  # pyright: ignore[reportArgumentType]
    try:
        shared.actions[:count] = answered(driver, asked)
    except PolicyFailed as error:
        if error.actions is not None:
            shared.actions[:count] = error.actions
        return _FAILED + _sized((str(error), error.rows))
    return _DONE


def _sized(message: Any) -> bytes:
    data = pickle.dumps(message)
    return len(data).to_bytes(8, "little") + data


def _received(file: int) -> bytes:
    def read(size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = os.read(file, size - len(data))
            if not part:
                os._exit(0)  # the parent has gone
            data += part
        return data

    return read(int.from_bytes(read(8), "little"))
