"""Commands: `python -m scripts.NAME`. They parse, call and print."""

import os
import sys
from types import TracebackType


def _leave(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """One line for an interrupt while a command is still loading its modules; else as ever."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    print("interrupted", file=sys.stderr, flush=True)
    os._exit(130)  # Python itself would end by the signal; there is nothing yet to clean up


if sys.argv[:1] == ["-m"]:  # a command is being started; `scripts.entry.run` takes over
    from scripts import interrupts

    sys.excepthook = _leave
    interrupts.guard()
