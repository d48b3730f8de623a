"""Measure the parts, each beside its baseline in the same run: a table, a JSON file and a plot.

    python -m scripts.benchmark suite=search
    python -m scripts.benchmark suite=inference
    python -m scripts.benchmark suite=selfplay
    python -m scripts.benchmark suite=parallel
    python -m scripts.benchmark suite=blob checkpoint=runs/...
    python -m scripts.benchmark suite=quality checkpoint=runs/... search=puct search.tree=per_world search.worlds=3
    python -m scripts.benchmark suite=tuning game=blob search=puct search.tree=per_world search.worlds=3
    python -m scripts.benchmark suite=signature      hashes of fixed searches, games, a training
    python -m scripts.benchmark -m suite=selfplay game=blob rollout.workers=1,2,4 inference.max_batch=128,512,2048

The last is a sweep: every combination in turn, then one table, CSV and plot. The baselines OpenSpiel, mctx and pgx come
with `pip install -e '.[peers]'`; without them those columns stay empty.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from scoundrel_ray.settings.build import composed
from scoundrel_ray.settings.checks import at_least, one_of, switch, within
from scoundrel_ray.storage.durable import write_file
from scripts.benchmarks.figures import Figure, Signature, machine
from scripts.benchmarks.sweep import overrides_of_this_point, point_directory
from scripts.entry import run, wide_console

_SUITES = ("search", "inference", "selfplay", "parallel", "blob", "quality", "tuning", "signature")


def measure(config: DictConfig) -> int:
    """Run a suite and print it; exit code."""
    settings = composed(config)
    one_of("suite", settings["suite"], _SUITES)
    for name, least in (("repeats", 1), ("threads", 0), ("python_simulations", 1)):
        at_least(name, settings[name], least)
    within("seconds", settings["seconds"], 0.1, 3600.0)
    for name in ("json", "baseline"):
        switch(name, settings[name])
    console = wide_console(stderr=bool(settings["json"]))
    about, out, overrides = machine(), point_directory() or Path(settings["out"]), overrides_of_this_point()
    console.print(f"suite {settings['suite']} on {about['processor']}, {about['cores']} cores")
    with console.status("measuring"):
        figures = importlib.import_module(f"scripts.benchmarks.{settings['suite']}").run(settings)
    signatures = [each for each in figures if isinstance(each, Signature)]
    if signatures:
        return _tell_signatures(console, signatures, about, settings["json"])
    show(console, figures)
    result = {
        "suite": settings["suite"],
        "command": f"python -m scripts.benchmark suite={settings['suite']}",
        "machine": about,
        "config": settings,
        "overrides": overrides,
        "figures": [{**asdict(f), "ratio": f.ratio, "reached": f.reached} for f in figures],
    }
    write_file(out / f"{settings['suite']}.json", (json.dumps(result, indent=2) + "\n").encode())
    draw(figures, out / f"{settings['suite']}.png", f"{settings['suite']}: {about['processor']}")
    console.print(f"written to {out}: {settings['suite']}.json, {settings['suite']}.png")
    if settings["json"]:
        print(json.dumps(result))
    return 0


def _tell_signatures(console: Console, signatures: list[Signature], about: Mapping[str, Any], as_json: bool) -> int:
    """Print hashes, which are compared by eye or by diff, and kept nowhere; exit code."""
    table = Table("case", "hash")
    for each in signatures:
        table.add_row(*each)
    console.print(table)
    if as_json:
        print(json.dumps({"suite": "signature", "machine": about, "signatures": dict(signatures)}))
    return 0


def number(value: float) -> str:
    """Three figures, or all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(console: Console, figures: list[Figure]) -> None:
    """Print figures as a table."""
    table = Table("case", "ours", "baseline", "its figure", "ratio", "wanted")
    for f in figures:
        wanted = [
            "" if f.wanted is None else number(f.wanted),
            "" if f.wanted_ratio is None else f"{f.wanted_ratio:g} x",
        ]
        mark = {True: " reached", False: " MISSED", None: ""}[f.reached]
        table.add_row(
            f.case + "".join(f"\n  {name} {number(value)}" for name, value in f.details.items()),
            f"{number(f.value)} {f.unit}",
            f.baseline or "",
            "" if f.baseline_value is None else number(f.baseline_value),
            "" if f.ratio is None else f"{number(f.ratio)} x",
            ", ".join(filter(None, wanted)) + mark,
        )
    console.print(table)


def draw(figures: list[Figure], path: Path, title: str) -> None:
    """Save figures and baselines as bars on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(12, 1.2 + 0.7 * len(figures)), layout="constrained")
    for row, f in enumerate(figures):
        axis.barh(row - 0.2, f.value, 0.38, color="tab:blue", label="ours" if row == 0 else None)
        if f.baseline_value:
            axis.barh(row + 0.2, f.baseline_value, 0.38, color="tab:gray", label="baseline" if row == 0 else None)
    labels: list[Any] = [f"{f.case}\n{f.baseline or ''}" for f in figures]
    axis.set_yticks(range(len(figures)), labels, fontsize=8)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlabel(", ".join(sorted({f.unit for f in figures})))
    axis.legend()
    axis.set_title(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    run("benchmark", measure)
