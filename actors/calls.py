"""Answers that a run waits for: who was asked, what to do with the answer, and what Ray's errors mean."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import ray
from ray.exceptions import GetTimeoutError, ObjectLostError, RayActorError, RayError, RayTaskError


class RunFailed(RuntimeError):
    """The run cannot go on; the message names the actor that failed first and why."""


class Failure(NamedTuple):
    """A question that was not answered.

    Attributes:
        asked: name of the actor that was asked.
        cause: one line.
        dead: name of the actor that died, which need not be the one that was asked; "" if none did.
        first: whether this is the first question that this death left without an answer.
        lost: whether an object that the question needs was lost with its node.
    """

    asked: str
    cause: str
    dead: str = ""
    first: bool = False
    lost: bool = False


class _Asked(NamedTuple):
    name: str
    handle: Callable[[Any], None]
    failed: Callable[[Failure], None] | None


class Calls:
    """Questions under way. Only `get` blocks, and it has a deadline."""

    def __init__(self) -> None:
        self._asked: dict[Any, _Asked] = {}
        self._names: dict[str, str] = {}  # of actors, by their ids
        self._dead: set[str] = set()
        self._blamed: dict[str, str] = {}  # why an actor was killed, by its id

    def __len__(self) -> int:
        return len(self._asked)

    @property
    def names(self) -> set[str]:
        """Names of those whose answers are waited for."""
        return {asked.name for asked in self._asked.values()}

    def register(self, name: str, actor: Any) -> Any:
        """Know an actor by `name` from now on, in place of one that had that name; returns the actor."""
        self._names[actor._actor_id.hex()] = name
        return actor

    def blame(self, actor: Any, cause: str) -> None:
        """Give this cause for the next death of an actor, in place of what Ray says of it."""
        self._blamed[actor._actor_id.hex()] = cause

    def ask(
        self,
        name: str,
        reference: Any,
        handle: Callable[[Any], None],
        failed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Wait for an answer.

        Args:
            name: of the actor that was asked.
            reference: of the answer.
            handle: called with it, from `wait`.
            failed: called in its place if none comes, before `wait` returns the failure.
        """
        self._asked[reference] = _Asked(name, handle, failed)

    def wait(self, seconds: float) -> list[Failure]:
        """Handle the answers that come, waiting for the first; returns what failed instead."""
        if not self._asked:  # ray.wait would not wait for nothing
            time.sleep(max(seconds, 0.0))
            return []
        ready, _ = ray.wait(list(self._asked), num_returns=1, timeout=max(seconds, 0.0))
        if ready:
            ready, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)
        failures = []
        for reference in ready:
            asked = self._asked.pop(reference)
            try:
                answer = ray.get(reference)
            except RayError as error:
                failure = self._translated(asked.name, error)
                if asked.failed is not None:
                    asked.failed(failure)
                failures.append(failure)
                continue
            asked.handle(answer)
        return failures

    def get(self, name: str, reference: Any, seconds: float, hint: str = "") -> Any:
        """An answer that nothing can go on without.

        Raises:
            RunFailed: naming the actor, if it died, failed or did not answer within `seconds`.
        """
        try:
            return ray.get(reference, timeout=seconds)
        except GetTimeoutError as error:
            raise RunFailed(f"{name} did not answer within {seconds:.0f} s{hint}") from error
        except RayError as error:
            failure = self._translated(name, error, noted=False)
            raise RunFailed(
                f"{failure.dead or name} {'died' if failure.dead else 'failed'}: {failure.cause}"
            ) from error

    def _translated(self, asked: str, error: RayError, noted: bool = True) -> Failure:
        """What an error of Ray's means: the one place where this is decided.

        Args:
            asked: name of the actor that was asked.
            error: what came in place of the answer.
            noted: whether a death counts as known from now on; `wait` alone has it mended.
        """
        cause = getattr(error, "cause", None)
        death = next((each for each in (cause, error) if isinstance(each, RayActorError)), None)
        if death is not None and not death.actor_init_failed:  # else another would fail as it did
            actor_id = str(getattr(death, "actor_id", None) or "")
            first = actor_id not in self._dead
            if noted:
                self._dead.add(actor_id)
            cause = self._blamed.get(actor_id) or last_line(death)
            return Failure(asked, cause, self._names.get(actor_id, asked), first)
        return Failure(asked, last_line(error), lost=isinstance(cause or error, ObjectLostError))


def last_line(error: BaseException) -> str:
    """The line of a Ray error that says what happened; the actor's traceback is above it."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception) and not isinstance(error, RayActorError):
        return f"{type(error.cause).__name__}: {error.cause}"
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].partition(" Some common causes")[0] if lines else type(error).__name__
