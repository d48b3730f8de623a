"""Tasks dealt to actors: done again where one dies, given up at the third death, raised as they were."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
import ray

from actors.tasks import Lost, TaskPool
from scoundrel_ray.settings.checks import InvalidConfig

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0, concurrency_groups={"control": 1})
class Worker:
    """Answers numbers with their squares, and dies as often as a file says."""

    def __init__(self, made=None):
        if made is not None:
            with Path(made).open("a") as file:
                file.write(f"{os.getpid()}\n")

    def square(self, number):
        return number * number

    @ray.method(concurrency_group="control")
    def pid(self):
        return os.getpid()

    def stop(self, file):
        """Stops the process once for all that use the file; then the number of the process."""
        time.sleep(3.0)  # it has given a sign by then
        if not Path(file).exists():
            Path(file).write_text(str(os.getpid()))
            # To this thread: sent to the process, another may take it, and this one answers before it is stopped.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        return os.getpid()

    def sleep(self, seconds):
        time.sleep(seconds)
        return os.getpid()

    def die(self, file, deaths):
        """Ends the process the first so many times; then the number of the process."""
        path = Path(file)
        done = len(path.read_text()) if path.exists() else 0
        if done < deaths:
            path.write_text("x" * (done + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    def fail(self, kind):
        raise kind("told as it was")

    def call(self, other):
        """What comes of a call of another actor, which dies of it."""
        return ray.get(other.die.remote("/dev/null", 1))


@ray.remote(num_cpus=0)
class Unmade:
    def __init__(self):
        raise ValueError("there is no such game")

    def pid(self):
        return os.getpid()

    def square(self, number):
        return number


def squares(count):
    return {f"square of {n}": lambda actor, n=n: actor.square.remote(n) for n in range(count)}


@contextlib.contextmanager
def pool_of(workers, *arguments, **options):
    with contextlib.closing(TaskPool(lambda: Worker.remote(*arguments), workers, **options)) as pool:
        yield pool
        known = list(pool.actors)
    assert not pool.actors and not pool.pending
    for actor in known:
        wait_for_end(actor)


def wait_for_end(actor):
    deadline = time.monotonic() + 60
    with contextlib.suppress(ray.exceptions.RayActorError):
        while time.monotonic() < deadline:
            ray.get(actor.pid.remote(), timeout=60)
            time.sleep(0.05)
        raise AssertionError("an actor outlived its pool")


@pytest.mark.parametrize("workers", [1, 3])
def test_every_task_is_answered_once_and_actors_are_kept(workers, tmp_path):
    with pool_of(workers, tmp_path / "made") as pool:
        assert sorted(pool.run(squares(7))) == sorted((f"square of {n}", n * n) for n in range(7))
        assert not pool.pending and len(pool.actors) == workers
        assert dict(pool.run(squares(2))) == {"square of 0": 0, "square of 1": 1}
        assert len((tmp_path / "made").read_text().splitlines()) == workers


def test_no_more_actors_are_made_than_there_are_tasks():
    with pool_of(5) as pool:
        assert len(dict(pool.run(squares(2)))) == 2 and len(pool.actors) == 2
        assert dict(pool.run({})) == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_at_which_two_actors_died_is_answered_by_the_third(workers, tmp_path):
    file = str(tmp_path / "deaths")
    with pool_of(workers, tmp_path / "made") as pool:
        tasks = {"deadly": lambda actor: actor.die.remote(file, 2), **squares(4)}
        answers = dict(pool.run(tasks))
        assert {name: answers[name] for name in squares(4)} == {f"square of {n}": n * n for n in range(4)}
        ray.get([actor.pid.remote() for actor in pool.actors])  # the last may only be on its way
        made = (tmp_path / "made").read_text().split()
        # With two, the second death may be that of the other, which was free; then one fresh actor is enough.
        assert str(answers["deadly"]) in made and workers + 2 - (workers > 1) <= len(made) <= workers + 2
        assert 1 <= len(pool.actors) <= workers
        assert dict(pool.run({"deadly": lambda actor: actor.die.remote(file, 4)}))  # deaths are counted anew


def test_the_third_death_at_a_task_is_one_line_that_names_it(tmp_path):
    file = str(tmp_path / "deaths")
    before = time.monotonic()
    with pool_of(1) as pool:
        answers = []
        with pytest.raises(RuntimeError) as raised:
            answers.extend(pool.run({"deadly": lambda actor: actor.die.remote(file, 99), **squares(6)}))
        assert "\n" not in str(raised.value) and str(raised.value).startswith("deadly: its actor died 3 times")
        assert "The actor died unexpectedly" in str(raised.value)
        assert len((tmp_path / "deaths").read_text()) == 3
        assert time.monotonic() - before < 60 and not answers  # the others wait: it is told at once
        assert dict(pool.run(squares(3)))["square of 2"] == 4  # the pool goes on


def test_a_pool_that_gives_up_answers_for_the_task_and_goes_on(tmp_path):
    file = str(tmp_path / "deaths")
    with pool_of(1, gives_up=True) as pool:
        answers = dict(pool.run({"deadly": lambda actor: actor.die.remote(file, 99), **squares(3)}))
        assert isinstance(answers["deadly"], Lost) and "The actor died unexpectedly" in answers["deadly"].cause
        assert [answers[name] for name in squares(3)] == [0, 1, 4]
        assert len((tmp_path / "deaths").read_text()) == 3
        pool.add({"deadly": lambda actor: actor.die.remote(file, 99)}, most_deaths=1)
        ((name, lost),) = pool.finished()
        assert name == "deadly" and isinstance(lost, Lost) and len((tmp_path / "deaths").read_text()) == 4


def test_a_task_that_is_given_up_is_not_tried_again():
    with pool_of(2, gives_up=True) as pool:
        pool.add({"long": lambda actor: actor.sleep.remote(600), **squares(1)})
        assert pool.finished() == [("square of 0", 0)]
        pool.give_up("long", "it took too long")
        assert pool.finished() == [("long", Lost("it took too long"))] and not pool.pending


def test_deaths_are_counted_for_the_task_at_which_they_happened(tmp_path):
    """Each of these dies twice; together they die six times, and none is given up."""
    files = [str(tmp_path / str(n)) for n in range(3)]
    tasks = {f"task {n}": lambda actor, file=file: actor.die.remote(file, 2) for n, file in enumerate(files)}
    with pool_of(2) as pool:
        assert len(dict(pool.run(tasks))) == 3
        assert [len(Path(file).read_text()) for file in files] == [2, 2, 2]


def test_an_actor_killed_from_outside_in_the_middle_of_a_task_is_replaced():
    with pool_of(2) as pool:
        pids = dict(pool.run({str(n): lambda actor: actor.sleep.remote(0.2) for n in range(2)}))
        victim = pids["0"]
        threading.Timer(0.5, os.kill, (victim, signal.SIGKILL)).start()
        again = dict(pool.run({str(n): lambda actor: actor.sleep.remote(1.5) for n in range(2)}))
        assert len(again) == 2 and victim not in again.values()


def test_an_actor_that_is_stopped_is_named_and_killed_and_its_task_done_by_another(tmp_path, caplog):
    file = tmp_path / "stopped"
    with contextlib.closing(TaskPool(Worker.remote, 2, silent_s=3.0)) as pool:
        tasks = {"first": lambda a: a.stop.remote(file), **{str(n): lambda a: a.sleep.remote(0.5) for n in range(8)}}
        answers = dict(pool.run(tasks))
    assert answers["first"] != int(file.read_text()) and len(answers) == 9
    assert caplog.messages == ["first: its actor gave no sign and was killed; another does it again"]
    with contextlib.suppress(psutil.NoSuchProcess):
        stopped, deadline = psutil.Process(int(file.read_text())), time.monotonic() + 60
        while stopped.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "it is still there"
            time.sleep(0.1)


def test_an_actor_that_is_busy_for_long_is_not_silent():
    with contextlib.closing(TaskPool(Worker.remote, 1, silent_s=1.5)) as pool:
        pids = dict(pool.run({str(n): lambda actor: actor.sleep.remote(4.0) for n in range(2)}))
    assert pids["0"] == pids["1"]


def test_actors_that_died_while_nothing_was_asked_do_not_use_up_a_tasks_tries():
    with pool_of(4) as pool:
        pids = dict(pool.run({str(n): lambda actor: actor.sleep.remote(0.3) for n in range(4)}))
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        assert dict(pool.run(squares(1))) == {"square of 0": 0}


@pytest.mark.parametrize("kind", [ValueError, InvalidConfig, RuntimeError, MemoryError, KeyError])
def test_what_a_task_raises_comes_out_as_it_was_raised(kind):
    with pool_of(1) as pool:
        with pytest.raises(kind, match="told as it was") as raised:
            dict(pool.run({"bad": lambda actor: actor.fail.remote(kind)}))
        assert type(raised.value) is kind and str(raised.value).strip("'") == "told as it was"
        assert len(pool.actors) == 1 and dict(pool.run(squares(1)))  # its actor is alive and is kept


def test_the_death_of_an_actor_that_a_task_calls_is_not_that_of_its_own():
    other = Worker.remote()
    with pool_of(1) as pool:
        (pid,) = dict(pool.run({"own": lambda actor: actor.pid.remote()})).values()
        with pytest.raises(RuntimeError, match=f"^caller: actor {other._actor_id.hex()} died"):
            dict(pool.run({"caller": lambda actor: actor.call.remote(other)}))
        assert dict(pool.run({"own": lambda actor: actor.pid.remote()})) == {"own": pid}


def test_an_actor_that_cannot_be_made_is_told_at_once():
    pool = TaskPool(Unmade.remote, 2)
    with contextlib.closing(pool), pytest.raises(RuntimeError, match=r"^square of 0: .*there is no such game$"):
        dict(pool.run(squares(1)))


def test_an_interrupt_leaves_what_was_finished_with_the_caller():
    def interrupt(actor):
        raise KeyboardInterrupt

    with pool_of(1) as pool:
        answers = []
        with pytest.raises(KeyboardInterrupt):
            for answer in pool.run({**squares(2), "never": interrupt}):
                answers.append(answer)
        assert answers == [("square of 0", 0)] or len(answers) == 2
        assert not pool.pending


def test_what_the_caller_leaves_does_not_hold_up_the_next_tasks():
    with pool_of(2) as pool:
        for _ in pool.run({"quick": lambda a: a.square.remote(1), "slow": lambda a: a.sleep.remote(300)}):
            break
        assert dict(pool.run(squares(4)))["square of 3"] == 9


def test_tasks_are_asked_after_without_waiting():
    with pool_of(1) as pool:
        pool.add({"slow": lambda actor: actor.sleep.remote(0.5)})
        assert pool.pending and pool.finished(0) == []
        while not (found := pool.finished(0)):
            time.sleep(0.01)
        assert found[0][0] == "slow" and not pool.pending and pool.finished(0) == []
