"""Measure this machine for a game and a network: what limits self-play, and the settings that make it fastest.

    python -m scripts.tune game=blob network=residual_mlp_large search=puct search.tree=per_world search.worlds=3
    python -m scripts.tune game=connect_four out=conf/experiment/tuned.yaml
    python -m scripts.tune quality=false                      speed alone: search.leaves may be raised

It takes a minute or two and ends with a file of settings and the command that trains with them. Worlds and simulations
stay as given: they are strength. Only self-play is measured; the learner wants some of the same cores.
"""

from __future__ import annotations

import json
import os
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from scoundrel_ray.runs.progress import ProgressBar
from scoundrel_ray.settings.build import composed
from scoundrel_ray.settings.checks import InvalidConfig, switch, within
from scoundrel_ray.storage.durable import write_file
from scoundrel_ray.tuning.setting import Setting
from scripts.entry import run, wide_console
from scripts.measuring.environment import environment
from scripts.measuring.tuner import Options, Tuned, check_search, expected_seconds, tune
from scripts.tuning.overlay import checked_out, overlay_text, train_command
from scripts.tuning.report import as_dict, described, show


def main(config: DictConfig) -> int:
    """Tune, print and write; exit code."""
    settings = composed(config)
    out, setting, options = checked(settings)
    console = wide_console(stderr=bool(settings["json"]))
    where = environment()
    console.print(f"tuning on {where['processor']}, {where['cores']} cores, inference on {options.device}")
    tuned = _tuned(setting, options, console)
    command = train_command(out, HydraConfig.get().overrides.task)
    comments = described(tuned, f"{where['processor']}, {where['cores']} cores, {options.device}")
    write_file(out, overlay_text(tuned, comments).encode())
    show(console, tuned, setting)
    console.print(f"written to {out}; train with it:", markup=False, soft_wrap=True)
    console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
    if settings["json"]:
        print(json.dumps(as_dict(tuned, where) | {"config": settings, "out": str(out), "command": command}))
    return 0


def checked(settings: dict[str, Any]) -> tuple[Any, Setting, Options]:
    """Where to write, what to tune and how; everything wrong with the config is told here, before anything starts."""
    from scoundrel_ray.network import check_device, make_network

    if os.environ.get("RAY_ADDRESS"):
        raise InvalidConfig("RAY_ADDRESS: got one, wanted none: tune measures this machine, not a cluster")
    out = checked_out(settings["out"])
    within("seconds", settings["seconds"], 0.2, 600.0)
    for name in ("confirm", "quality", "json"):
        switch(name, settings[name])
    setting = Setting.of(settings)
    device = check_device("inference.device", setting.inference.device).type
    make_network(setting.network, check_search(setting)[0].spec)
    return out, setting, Options(device, settings["seconds"], settings["confirm"], settings["quality"])


def _tuned(setting: Setting, options: Options, console: Console) -> Tuned:
    from actors.cluster import connected

    expected_s, done_s = expected_seconds(options), 0.0
    with ProgressBar("measuring", console) as bar:

        def tick(what: str, seconds: float) -> None:
            nonlocal done_s
            bar.show(min(done_s / expected_s, 0.99), what)
            done_s += seconds

        with connected():
            return tune(setting, options, tick)


if __name__ == "__main__":
    run("tune", main)
