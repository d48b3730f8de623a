"""What this process may use of the machine that it runs on."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that the system lets it run on, fewer than the machine's under taskset or a job's limits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
