"""SIGTERM as Python alone sees it, from a command's first line to its last.

Ray's core sets what SIGTERM does to the process, past Python's handlers: from its start on a trace and an end by the
signal, while it shuts down an end without a word. So SIGTERM is blocked before any thread begins, a thread waits for
it, and the handler that Python knows is called in the main thread, as for any signal.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import signal
import sys
import threading
from typing import NoReturn


def guard() -> None:
    """Keep SIGTERM from everything but Python's handlers; to be called once, by the main thread, before all else."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.platform == "win32":  # it has no masks of signals
        return
    signal.signal(signal.SIGURG, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    # Ray's processes are to be ended by it.
    os.register_at_fork(after_in_child=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM}))
    threading.Thread(target=_pass_on, name="SIGTERM", daemon=True).start()


def _pass_on() -> None:
    main = threading.main_thread().ident
    assert main is not None
    while True:
        signal.sigwait({signal.SIGTERM})
        _thread.interrupt_main(signal.SIGTERM)
        signal.pthread_kill(main, signal.SIGURG)  # ends a blocking call; ignored by all who do not know it


def ignore() -> None:
    """What is left of the process is not to be interrupted: its own end, which puts Python's handlers away."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def end(code: int, told: str = "") -> NoReturn:
    """End an interrupted process with an exit code and a last line, if there is one.

    Whatever is registered for the end is done, but Python does not take its modules apart: the libraries' threads that
    were interrupted may still be at work, and crashed one end of seventy.
    """
    ignore()
    if told:
        print(told, file=sys.stderr)
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):  # of a reader that is gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
