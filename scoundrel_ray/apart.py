"""Work that is done in a child of this process, so that what it imports and builds takes no memory here."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_child(work: Callable[[], T]) -> T:
    """What `work` returns, or raises, in a fork of this process. It must be picklable.

    A fork knows one thread alone: do this before others hold locks, as those of numerical libraries do.

    Raises:
        RuntimeError: if the child ended without a word.
        Exception: what `work` raised; a RuntimeError that names it where it cannot be sent.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(here)
            with open(there, "wb") as out:
                out.write(_answer(work))
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # also when a signal raises: nothing of the parent's is to be ended twice
            os._exit(0)
    os.close(there)
    try:
        with open(here, "rb") as answers:
            told = answers.read()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    if not told:
        raise RuntimeError(f"a child that was to work apart ended without an answer, by {_ending(status)}")
    result, error = pickle.loads(told)  # what this process's own fork wrote
    if error is not None:
        raise error
    return result


def _answer(work: Callable[[], object]) -> bytes:
    try:
        return pickle.dumps((work(), None))
    except Exception as error:
        try:
            told = pickle.dumps((None, error))
            pickle.loads(told)  # some errors of others can be written, and not read
        except Exception:
            told = pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))
        return told


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
