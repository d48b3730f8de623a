"""Measure the parts, each beside its baseline in the same run: a table, a JSON file and a plot.

    python -m scripts.benchmark suite=search                   # or any other file of conf/suite
    python -m scripts.benchmark suite=blob checkpoint=runs/...
    python -m scripts.benchmark suite=tuning game=blob search=puct search.tree=per_world search.worlds=3
    python -m scripts.benchmark suite=signature                # hashes of results, before and after a change
    python -m scripts.benchmark -m suite=selfplay game=blob rollout.workers=1,2,4 inference.max_batch=128,512,2048

The last is a sweep: every combination in turn, then one table, CSV and plot. A suite of your own is a function that a
YAML names, see `scripts.benchmarks`. The baselines OpenSpiel, mctx and pgx come with `pip install -e '.[peers]'`;
without them those columns stay empty.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from scoundrel_ray.settings.build import build, composed
from scoundrel_ray.settings.checks import switch
from scripts.benchmarks.sweep import overrides_of_this_point, point_directory
from scripts.entry import run, wide_console
from scripts.measuring.environment import environment
from scripts.measuring.figures import Report


def measure(config: DictConfig) -> int:
    """Run a suite, print and save what it found; exit code."""
    settings = composed(config)
    switch("json", settings["json"])
    console = wide_console(stderr=settings["json"])
    hydra, where, out = HydraConfig.get(), environment(), point_directory() or Path(settings["out"])
    suite = hydra.runtime.choices["suite"]
    console.print(f"suite {suite} on {where['processor']}, {where['cores']} cores")
    with console.status("measuring"):
        report = build("suite", settings["suite"], Report, settings)
    console.print(report.table())
    document = {
        "suite": suite,
        "command": shlex.join(["python", "-m", "scripts.benchmark", *hydra.overrides.task]),
        "environment": where,
        "config": settings,
        "overrides": overrides_of_this_point(),
        **report.as_dict(),
    }
    saved = report.save(out, suite, document)
    if saved:
        console.print(f"written to {out}: {', '.join(path.name for path in saved)}")
    if settings["json"]:
        print(json.dumps(document))
    return 0


if __name__ == "__main__":
    run("benchmark", measure)
