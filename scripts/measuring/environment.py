"""Where a measurement was made."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

from scoundrel_ray.machine import cores, library_versions


def environment() -> dict[str, Any]:
    """Processor, cores, libraries and commit."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    root = Path(__file__).resolve().parent
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return {
        "processor": model,
        "cores": cores(),
        "commit": git.stdout.strip() or None,
        "libraries": library_versions(),
    }
