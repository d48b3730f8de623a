"""What a user is to be told, wherever in the library it is noticed."""

from __future__ import annotations

import logging


def warn(name: str, text: str) -> None:
    """Tell the user one line, through the logger of this name; on stderr if nobody has set logging up.

    The commands quieten the logs of their libraries. What is warned of here concerns the user, so it is let through.
    """
    log = logging.getLogger(name)
    log.setLevel(logging.WARNING)
    log.warning("%s", text)
