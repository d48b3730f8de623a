"""A benchmark's figure beside its baseline, measured in the same run, and the machine that gave both."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from scoundrel_ray.machine import cores, library_versions


@dataclass(frozen=True)
class Figure:
    """One case.

    Attributes:
        case: what was run.
        value: ours, in `unit`.
        unit: of value and baseline; more is better.
        baseline: what stands beside it, measured in the same run; None where there is nothing to compare with.
        baseline_value: its figure.
        wanted: least value, or None.
        wanted_ratio: least value / baseline, or None.
        details: what else was measured of ours, by name.
    """

    case: str
    value: float
    unit: str
    baseline: str | None = None
    baseline_value: float | None = None
    wanted: float | None = None
    wanted_ratio: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours over the baseline."""
        return self.value / self.baseline_value if self.baseline_value else None

    @property
    def reached(self) -> bool | None:
        """Whether what is wanted was measured; None where nothing is wanted, or there was no baseline to compare."""
        checks = []
        if self.wanted is not None:
            checks.append(self.value >= self.wanted)
        if self.wanted_ratio is not None and self.ratio is not None:
            checks.append(self.ratio >= self.wanted_ratio)
        return all(checks) if checks else None


class Signature(NamedTuple):
    """What a case came to: equal before and after a change that alters no result.

    Attributes:
        case: what was run.
        value: hash of all that came of it.
    """

    case: str
    value: str


def least_seconds(work: Callable[[], Any], repeats: int) -> float:
    """Least time of `repeats` calls, after one to warm up: the machine's noise only ever adds."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def machine() -> dict[str, Any]:
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
