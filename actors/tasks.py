"""Independent tasks dealt to free actors, and done again by another where an actor dies or gives no sign.

    pool = TaskPool(lambda: Worker.remote(), workers=4)
    with contextlib.closing(pool):
        for name, answer in pool.run({"game 3": lambda actor: actor.play.remote(3)}):
            ...

A task's answer must depend on the task alone: whichever actor does it, and however often, changes nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from actors.calls import Calls
from actors.pulse import Pulse
from scoundrel_ray.notices import warn

MOST_DEATHS = 3  # of actors at one task: the task is tried again twice
SILENT_S = 30.0  # an actor that gives no sign for so long is killed
_LOOK_S = 1.0

Ask = Callable[[Any], Any]  # given an actor's handle, calls its method and returns the reference to the answer


@dataclass
class _Task:
    name: str
    ask: Ask
    most_deaths: int
    deaths: int = 0


@dataclass(frozen=True)
class Lost:
    """In an answer's place: why a task was given up.

    Attributes:
        cause: in a line.
    """

    cause: str


class TaskPool:
    """Actors that are made as tasks need them and kept until `close`.

    Ray itself must neither restart these actors nor retry their tasks (max_restarts=0, max_task_retries=0): a player
    that always kills its process would be replayed for ever.

    Args:
        make: returns the handle of a fresh actor. It has a method `pid` that is answered whatever else it is at (a
            concurrency group of its own).
        workers: most actors at once.
        silent_s: seconds after which one at a task that gives no sign is killed, and its task done again.
        gives_up: whether a task at which too many actors died is answered by `Lost`; if not, that is an error.

    Attributes:
        actors: handles of those that are there.
    """

    def __init__(
        self, make: Callable[[], Any], workers: int, silent_s: float = SILENT_S, gives_up: bool = False
    ) -> None:
        self.actors: list[Any] = []
        self._calls = Calls()
        self._pulse = Pulse(self._calls, silent_s, lambda _name: False)
        self._silent: set[str] = set()  # ids of the actors that were killed for it
        self._next_look = 0.0
        self._causes: dict[str, str] = {}  # by task, why it is given up
        self._make = make
        self._gives_up = gives_up
        self._workers = workers
        self._free: list[Any] = []
        self._waiting: deque[_Task] = deque()
        self._under_way: dict[Any, tuple[Any, _Task]] = {}  # by the reference to the answer

    def run(self, tasks: Mapping[str, Ask]) -> Iterator[tuple[str, Any]]:
        """Names and answers of the tasks, each as soon as it is there.

        Args:
            tasks: what to do, by the name that an error gives.

        Raises:
            RuntimeError: naming the task at which three actors died.
            Exception: what a task raised, as it was raised in the actor.
        """
        try:
            self.add(tasks)
            while self.pending:
                yield from self.finished()
        finally:
            self.drop()

    def add(self, tasks: Mapping[str, Ask], most_deaths: int = MOST_DEATHS) -> None:
        """Begin with more tasks; `finished` brings their answers.

        Args:
            tasks: see `run`.
            most_deaths: of actors at one of them, at which it is given up.
        """
        if not self.pending:  # the same tasks go to the same actors, which keep what they have made for them
            self._free.sort(key=self.actors.index, reverse=True)
        self._waiting.extend(_Task(name, ask, most_deaths) for name, ask in tasks.items())
        self._deal()

    @property
    def pending(self) -> bool:
        """Whether any task is waiting or under way."""
        return bool(self._waiting or self._under_way)

    @property
    def under_way(self) -> list[tuple[str, Any]]:
        """Names of the tasks that actors are at, each with the actor's handle."""
        return [(task.name, actor) for actor, task in self._under_way.values()]

    def finished(self, timeout_s: float | None = None) -> list[tuple[str, Any]]:
        """Names and answers of tasks that have ended since the last call, at least one.

        Args:
            timeout_s: longest wait, after which there may be none; None for no limit.

        Raises:
            RuntimeError, Exception: see `run`. Answers that came with it are lost.
        """
        answers: list[tuple[str, Any]] = []
        while self._under_way and not answers:
            seconds = _LOOK_S if timeout_s is None else timeout_s
            ready, _ = ray.wait(list(self._under_way), num_returns=1, timeout=seconds)
            self._look()
            for reference in ready:
                answers += self._answered(reference)
            self._deal()
            if timeout_s is not None:
                break
        return answers

    def give_up(self, name: str, cause: str) -> None:
        """Kill the actor that is at a task, which is answered by `Lost`."""
        for actor, task in self._under_way.values():
            if task.name == name:
                task.deaths, task.most_deaths = 0, 1
                self._causes[name] = cause
                ray.kill(actor)

    def _look(self) -> None:
        """Kill actors at a task that give no sign."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_S
        at = {_id_of(actor): (actor, task) for actor, task in self._under_way.values()}
        for killed in self._pulse.look({key: actor for key, (actor, _) in at.items()}):
            self._silent.add(killed)
            warn(__name__, f"{at[killed][1].name}: its actor gave no sign and was killed; another does it again")
        self._calls.wait(0.0)

    def _answered(self, reference: Any) -> list[tuple[str, Any]]:
        """Name and answer of a task that has ended; none if it is to be done again."""
        actor, task = self._under_way[reference]
        try:
            answer = ray.get(reference)
        except RayTaskError as error:
            del self._under_way[reference]  # not before, so that after an interrupt `drop` still knows the actor
            self._free.append(actor)
            raise _as_raised(task.name, error) from error
        except RayError as error:  # the actor died, or its node with the answer
            del self._under_way[reference]
            return self._do_again(actor, task, error)
        del self._under_way[reference]
        self._free.append(actor)
        return [(task.name, answer)]

    def drop(self) -> None:
        """Give up all tasks that have not ended, and end the actors that are at them."""
        self._waiting.clear()
        for actor, _ in self._under_way.values():
            self._end(actor)
        self._under_way.clear()

    def close(self) -> None:
        """End all actors."""
        self.drop()
        for actor in list(self.actors):
            self._end(actor)
        self._free.clear()

    def _deal(self) -> None:
        """Give waiting tasks to free actors, to those first that have answered last, and to fresh ones."""
        while self._waiting and (self._free or len(self.actors) < self._workers):
            self._ask(self._free.pop() if self._free else self._fresh(), self._waiting.popleft())

    def _ask(self, actor: Any, task: _Task) -> None:
        self._under_way[task.ask(actor)] = actor, task

    def _fresh(self) -> Any:
        actor = self._make()
        self.actors.append(actor)
        return actor

    def _end(self, actor: Any) -> None:
        self.actors.remove(actor)
        ray.kill(actor)

    def _do_again(self, actor: Any, task: _Task, error: RayError) -> list[tuple[str, Any]]:
        """Give up an actor that died, and have its task done again; fresh actors are made as tasks need them.

        Returns the task's name with `Lost` if it is given up.
        """
        self._end(actor)
        if isinstance(error, RayActorError) and error.actor_init_failed:
            raise RuntimeError(f"{task.name}: no actor can be made for it: {_last_line(error)}") from error
        task.deaths += 1
        if task.deaths >= task.most_deaths:
            silent = _id_of(actor) in self._silent
            cause = "it gave no sign and was killed" if silent else str(error).strip().partition("\n")[0]
            if self._gives_up:
                return [(task.name, Lost(self._causes.pop(task.name, cause)))]
            raise RuntimeError(f"{task.name}: its actor died {task.deaths} times: {cause}") from error
        if task.deaths == task.most_deaths - 1:
            # Idle actors may have died unnoticed, several at once with their node: the last try is not lost to them.
            self._ask(self._fresh(), task)
        else:
            self._waiting.appendleft(task)  # first, so that a task that always fails is found soon
        return []


def _id_of(actor: Any) -> str:
    return actor._actor_id.hex()


def _as_raised(name: str, error: RayTaskError) -> Exception:
    """The exception that a task raised in its actor."""
    cause: Any = error
    while isinstance(cause, RayTaskError):  # through as many actors as it came
        if isinstance(cause, RayActorError):
            # An actor that the task itself had called: the pool's own is alive.
            return RuntimeError(f"{name}: actor {cause.actor_id} died, which it needs")
        cause = cause.cause
    return cause if isinstance(cause, Exception) else error


def _last_line(error: RayError) -> str:
    """The line of a trace that says what was raised."""
    return str(error).strip().rpartition("\n")[2].strip()
