"""Policies of a user's own, good and bad."""

import os
import random
import sys
import time
from pathlib import Path

import numpy as np

from scoundrel_ray import rng


class Remembers:
    """Counts its own steps; what it does depends on them, on what it sees, and on its own draws."""

    def __init__(self, body, offset=0):
        self.dice, self.steps, self.offset = body.rng, 0, offset

    def act(self, observation, mask):
        self.steps += 1
        allowed = np.flatnonzero(mask)
        seen = int(np.abs(observation.astype(np.int64)).sum())
        return int(allowed[(self.steps + seen + self.offset + int(self.dice.integers(3))) % len(allowed)])


class Rows:
    """Asked for many rows; a row's action depends on that row and its stream."""

    def __init__(self, spec, times=1):
        self.times = times

    def act_batch(self, observations, masks, streams):
        actions = np.empty(len(masks), np.int64)
        for row, (observation, mask, stream) in enumerate(zip(observations, masks, streams, strict=True)):
            allowed, own = np.flatnonzero(mask), stream.copy()
            drawn = rng.below(own, len(allowed))
            streams[row] = own
            seen = int(np.abs(observation.astype(np.int64)).sum())
            actions[row] = allowed[(seen * self.times + drawn) % len(allowed)]
        return actions


class Bad:
    """The first allowed action, but something else in one episode, at one own step of agent number 0."""

    def __init__(self, body, what, episode=2, step=3):
        self.bad = bool(what) and body.episode == episode and body.number == 0
        self.what, self.step, self.steps = what, step, 0
        if self.bad and what == "build":
            raise ValueError("not today")

    def act(self, observation, mask):
        self.steps += 1
        first = int(np.flatnonzero(mask)[0])
        if not self.bad or self.steps != self.step:
            return first
        if self.what == "raises":
            raise RuntimeError("no\nidea")
        if self.what == "exits":
            sys.exit(0)
        if self.what == "writes":
            observation[0] = 1
        if self.what == "dies":
            os._exit(0)
        if self.what == "hangs":
            time.sleep(600)
        return {
            "true": True, "one": 1.0, "low": -1, "high": len(mask), "none": None, "text": "1", "numpy": np.int8(first)
        }[self.what]  # fmt: skip


class DiesOnce(Bad):
    """Kills its process at the same place, unless a file says that it did."""

    def __init__(self, body, file):
        super().__init__(body, "" if Path(file).exists() else "dies")
        self.file = Path(file)

    def act(self, observation, mask):
        if self.bad and self.what == "dies" and self.steps == self.step - 1:
            self.file.touch()
        return super().act(observation, mask)


class ShortRows:
    """Gives a row too few, or the wrong kind."""

    def __init__(self, spec, what):
        self.what = what

    def act_batch(self, observations, masks, streams):
        first = masks.argmax(axis=1)
        return {"short": first[:-1], "list": first.tolist(), "real": first + 0.0, "bool": first > 9}[self.what]


class Neither:
    """Acts in no way."""


class OfHashes:
    """Acts by the hash of a text, and wants the process to have the hash seed 0."""

    def __init__(self, body):
        if os.environ.get("PYTHONHASHSEED") != "0" or sys.flags.hash_randomization:
            raise RuntimeError("another hash seed")
        self.text = f"{body.episode}"

    def act(self, observation, mask):
        self.text += "."
        return hash(self.text) % 2


class Loud:
    """Random, and prints."""

    def __init__(self, body):
        self.dice = body.rng
        print("here I am", flush=True)

    def act(self, observation, mask):
        print("{", flush=True)
        return int(self.dice.choice(np.flatnonzero(mask)))


class Slow(Remembers):
    """Takes its time."""

    def act(self, observation, mask):
        time.sleep(0.005)
        return super().act(observation, mask)


class Global:
    """Draws from generators of the whole process."""

    def __init__(self, body):
        self.offset = int(np.random.randint(7))

    def act(self, observation, mask):
        allowed = np.flatnonzero(mask)
        return int(allowed[(random.randrange(100) + self.offset) % len(allowed)])


class Unseeded(Remembers):
    """Draws from the operating system, too: nobody can play that again."""

    def act(self, observation, mask):
        self.offset = int.from_bytes(os.urandom(2))
        return super().act(observation, mask)
