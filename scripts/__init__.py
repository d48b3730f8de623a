"""Commands: `python -m scripts.NAME`. They parse, call and print."""

import signal
import sys
from types import TracebackType


def _leave(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """One line for an interrupt while a command is still loading its modules; else as ever."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    import os

    print("interrupted", file=sys.stderr, flush=True)
    os._exit(130)  # Python itself would end by the signal; there is nothing yet to clean up


if sys.argv[:1] == ["-m"]:  # a command is being started; `scripts.entry.run` takes over
    sys.excepthook = _leave
    signal.signal(signal.SIGTERM, signal.default_int_handler)
