"""What this process may use of the machine that it runs on."""

from __future__ import annotations

import importlib.metadata
import os
import platform


def cores() -> int:
    """Cores that the system lets it run on, fewer than the machine's under taskset or a job's limits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_LIBRARIES = ("scoundrel_ray", "numpy", "numba", "torch", "ray", "safetensors", "hydra-core")


def library_versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that a checkpoint leans on."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
