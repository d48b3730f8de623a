"""The recommended settings as a file that `train` takes, and the command that takes it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from scoundrel_ray.settings.checks import InvalidConfig
from scripts.entry import CONF
from scripts.measuring.tuner import Tuned

_GROUP = "experiment"
_KEPT = ("game", "search", "network")  # what was tuned for goes into the command, as the user gave it


def overlay(tuned: Tuned) -> dict[str, Any]:
    """The recommended settings as sections of a training run's config."""
    rollout, inference = tuned.setting.rollout, tuned.setting.inference
    sections: dict[str, Any] = {
        "rollout": {"workers": rollout.workers, "threads": rollout.threads, "games": rollout.games},
        "inference": {
            "transport": inference.transport,
            "device": inference.device,
            "precision": inference.precision,
            "threads": inference.threads,
            "max_batch": inference.max_batch,
            "batch_sizes": list(inference.batch_sizes),
        },
    }
    if "leaves" in tuned.setting.search:
        sections["search"] = {"leaves": tuned.setting.search["leaves"]}
    if tuned.gpus:
        sections["cluster"] = {"inference_gpus": tuned.gpus, "learner_gpus": tuned.gpus}
    return sections


def overlay_text(tuned: Tuned, comments: Sequence[str]) -> str:
    """The file: package line, comments, settings."""
    lines = ["# @package _global_", *(f"# {line}" for comment in comments for line in comment.splitlines())]
    settings = OmegaConf.create(overlay(tuned))
    sizes = ", ".join(map(str, settings.inference.pop("batch_sizes")))
    settings.inference.batch_sizes = f"[{sizes}]"  # on one line
    text = OmegaConf.to_yaml(settings).replace(f"'[{sizes}]'", f"[{sizes}]")
    return "\n".join([*lines, "", text])


def checked_out(out: Any) -> Path:
    """Where the file goes: in conf/experiment, or in a directory `experiment` anywhere, as Hydra's --config-dir wants.

    Raises:
        InvalidConfig: for any other path, and one that cannot be written.
    """
    if not isinstance(out, str) or not out.endswith(".yaml") or Path(out).resolve().parent.name != _GROUP:
        raise InvalidConfig(f"out: got {out!r}, wanted a .yaml file in a directory named {_GROUP!r}")
    there = next(path for path in Path(out).resolve().parents if path.exists())
    if Path(out).is_dir() or not there.is_dir() or not os.access(there, os.W_OK):
        raise InvalidConfig(f"out: got {out!r}, which cannot be written")
    return Path(out)


def train_command(out: Path, overrides: Sequence[str]) -> str:
    """The command that trains with the file.

    Args:
        out: the file.
        overrides: of this command line; game, search and network are taken along.
    """
    directory = out.parent.parent
    place = [] if directory.resolve() == CONF else ["--config-dir", str(directory)]
    kept = [text for text in overrides if text.lstrip("+~").partition("=")[0].partition(".")[0] in _KEPT]
    return shlex.join(["python", "-m", "scripts.train", *place, f"{_GROUP}={out.stem}", *kept])
