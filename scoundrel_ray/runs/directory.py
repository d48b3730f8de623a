"""A run's directory: what lies where in it, one writer at a time, and how a run is found again.

config.yaml         resolved settings
start.safetensors   weights before training
metrics.jsonl       a line per report
tensorboard/        the same as events
checkpoints/        numbered, newest last
pause               if such a file is made, the run rests until it is removed
agents/             weights kept for good, by learner steps
summary.json, evaluation.png, curves.png    once it ends
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from scoundrel_ray.game import Game
from scoundrel_ray.runs import checkpoint
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.settings.earlier import current_run
from scoundrel_ray.storage.durable import write_file
from scoundrel_ray.storage.weights import SavedWeights, load_weights, save_weights

CONFIG, START, METRICS, SUMMARY = "config.yaml", "start.safetensors", "metrics.jsonl", "summary.json"
CURVES, EVALUATION = "curves.png", "evaluation.png"
WEIGHTS = "weights.safetensors"  # in a checkpoint
AGENTS = "agents"
PAUSE = "pause"  # a file: the run rests while it is there


class RunDirectory:
    """A run's directory, held by this process until `close`.

    Args:
        path: of the directory; made if need be.

    Raises:
        InvalidConfig: if it cannot be made or written to, or another process is writing to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / ".lock").open("w")
        except OSError as error:
            raise InvalidConfig(f"run directory {path}: cannot write to it: {error.strerror or error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise InvalidConfig(f"run directory {path}: another process is writing to it") from error

    @classmethod
    def new(cls, path: Path, config: Mapping[str, Any]) -> RunDirectory:
        """A fresh run's, with its settings written down.

        Raises:
            InvalidConfig: if a run is there already.
        """
        if (path / CONFIG).exists():
            raise InvalidConfig(f"run_dir: {path} holds a run already; go on with it by resume={path}, or name another")
        run = cls(path)
        run.write(CONFIG, OmegaConf.to_yaml(OmegaConf.create(dict(config))))
        return run

    def write(self, name: str, text: str) -> Path:
        """Path of a text file, written whole or not at all."""
        write_file(self.path / name, text.encode())
        return self.path / name

    def write_json(self, name: str, content: Any) -> Path:
        """Path of a JSON file, written whole or not at all."""
        return self.write(name, json.dumps(content, indent=2) + "\n")

    def save_start(self, arrays: Mapping[str, Any], game: Game, network: Mapping[str, Any]) -> None:
        """Keep the weights that a run starts from, to measure against at its end."""
        save_weights(self.path / START, arrays, game.specification(), network)

    def save_agent(self, weights: bytes, steps: int) -> Path:
        """Path of weights (see `storage.weights.pack_weights`) that are kept for good."""
        path = self.path / AGENTS / f"{steps:08d}.safetensors"
        write_file(path, weights)
        return path

    def close(self) -> None:
        """Let others write."""
        self._lock.close()


def fresh_path(runs: Path, game: str) -> Path:
    """runs/<time>-<game>, numbered if that is taken."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{game}"
    path, number = runs / stem, 2
    while path.exists():
        path, number = runs / f"{stem}-{number}", number + 1
    return path


def saved_config(path: Path) -> dict[str, Any]:
    """Settings of a run, as they were resolved; those of an earlier version as this one reads them.

    Raises:
        InvalidConfig: if there is no run at `path`.
    """
    file = path / CONFIG
    try:
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except Exception as error:  # yaml, OmegaConf and the file system each have their own
        raise InvalidConfig(f"run {path}: cannot read {file}: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or "game" not in content:
        raise InvalidConfig(f"run {path}: {file} holds no settings of a run")
    return current_run({str(key): value for key, value in content.items()})


def newest_checkpoint(path: Path) -> Path:
    """Path of the newest checkpoint of a run.

    Raises:
        InvalidConfig: if it has none.
    """
    found = checkpoint.latest(path)
    if found is None:
        raise InvalidConfig(f"run {path}: it has no checkpoint yet")
    return found


def trained_weights(path: Path, game: Game) -> SavedWeights:
    """The newest weights of a run, checked to be of this game."""
    return load_weights(newest_checkpoint(path) / WEIGHTS, game.specification())


def agents(path: Path) -> list[Path]:
    """Weights of a run that were kept for good, oldest first."""
    return sorted((path / AGENTS).glob("[0-9]*.safetensors"))


def start_weights(path: Path, game: Game) -> SavedWeights:
    """Weights that a run started from."""
    return load_weights(path / START, game.specification())
