"""A run's directory: what lies where in it, one writer at a time, and how a run is found again.

config.yaml         resolved settings
start/              weights of each agent before training
metrics.jsonl       a line per report
tensorboard/        the same as events
checkpoints/        numbered, newest last
pause               if such a file is made, the run rests until it is removed
versions/           weights kept for good, by agent and learner steps
summary.json, evaluation.png, curves.png    once it ends
evaluations/        of `scripts.evaluate`, a directory each
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.checkpoint import weights_file
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.settings.earlier import current_run
from scoundrel_ray.settings.handed import check_targets
from scoundrel_ray.spec import Spec
from scoundrel_ray.storage.durable import write_file
from scoundrel_ray.storage.weights import SavedWeights, load_weights, save_weights

CONFIG, START, METRICS, SUMMARY = "config.yaml", "start", "metrics.jsonl", "summary.json"
CURVES, EVALUATION, EVALUATIONS = "curves.png", "evaluation.png", "evaluations"
VERSIONS, TENSORBOARD = "versions", "tensorboard"
_LOCK = ".lock"
_UNNAMED = "weights.safetensors", "start.safetensors", "agents"  # what a run of before agents had names calls its own
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
        self._made = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / _LOCK).open("w")
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
        try:
            run.write_config(config)
        except BaseException:
            run.abandon()
            run.close()
            raise
        return run

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write down the run's settings, in place of earlier ones."""
        self.write(CONFIG, OmegaConf.to_yaml(OmegaConf.create(dict(config))))

    def abandon(self) -> None:
        """Remove what is here of a run that ended before it had anything to report or to go on from.

        Of a directory that was there before only the settings go: what else lies in it may be the user's.
        """
        metrics = self.path / METRICS
        earned = checkpoint.latest(self.path) is not None or (metrics.exists() and metrics.stat().st_size)
        if earned:
            return
        if not self._made:
            (self.path / CONFIG).unlink(missing_ok=True)
            return
        for name in (START, TENSORBOARD, "checkpoints"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in (METRICS, CONFIG, _LOCK):
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something of the user's lies there
            self.path.rmdir()

    def write(self, name: str, text: str) -> Path:
        """Path of a text file, written whole or not at all."""
        write_file(self.path / name, text.encode())
        return self.path / name

    def write_json(self, name: str, content: Any) -> Path:
        """Path of a JSON file, written whole or not at all."""
        return self.write(name, json.dumps(content, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        """Content of a JSON file; {} if there is none that can be read."""
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError):
            return {}

    def save_start(self, agent: str, arrays: Mapping[str, Any], spec: Spec, network: Mapping[str, Any]) -> None:
        """Keep the weights that an agent starts from, to measure against at the run's end."""
        save_weights(self.path / START / weights_file(agent), arrays, spec, network)

    def save_version(self, agent: str, weights: bytes, steps: int) -> Path:
        """Path of an agent's weights (see `storage.weights.pack_weights`) that are kept for good."""
        path = self.path / VERSIONS / agent / f"{steps:08d}.safetensors"
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
        InvalidConfig: if there is no run at `path`, or its settings name foreign code (see `settings.handed`).
    """
    file = path / CONFIG
    try:
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except Exception as error:  # yaml, OmegaConf and the file system each have their own
        raise InvalidConfig(f"run {path}: cannot read {file}: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or not {"game", "source"} & {*content}:
        raise InvalidConfig(f"run {path}: {file} holds no settings of a run")
    check_targets(str(file), content)
    return current_run({str(key): value for key, value in content.items()})


def newest_checkpoint(path: Path) -> Path:
    """The newest checkpoint of a run.

    Raises:
        InvalidConfig: if it has none.
    """
    found = checkpoint.latest(path)
    if found is None:
        raise InvalidConfig(f"run {path}: it has no checkpoint yet")
    return found


def agents_of(path: Path) -> list[str | None]:
    """Names of a run's agents that learn; [None] of a run of before agents had names."""
    agents = saved_config(path).get("agents")
    if not isinstance(agents, dict):
        return [None]
    return [str(name) for name, own in agents.items() if not (isinstance(own, dict) and own.get("frozen"))]


def run_and_agent(named: str, several: bool = False) -> tuple[Path, str | None]:
    """The run's directory, and the agent, that a text such as runs/a or runs/a:wide names; the only one if it has one.

    Args:
        named: the text.
        several: whether a text may name no agent of several; then (directory, None) is given.

    Raises:
        InvalidConfig: if there is no such run or agent, or it has several and none is named.
    """
    path, agent = Path(named), ""
    if not path.exists() and ":" in named:
        text, _, agent = named.rpartition(":")
        path = Path(text)
    known = agents_of(path)
    if agent and agent not in known:
        raise InvalidConfig(f"run {path}: got agent {agent!r}, wanted one of {', '.join(map(str, known))}")
    if not agent and len(known) > 1 and several:
        return path, None
    if not agent and len(known) > 1:
        raise InvalidConfig(f"run {path}: it has agents {', '.join(map(str, known))}, wanted {path}:<agent>")
    return path, agent or known[0]


def trained_weights(path: Path, spec: Spec, agent: str | None) -> SavedWeights:
    """Newest weights of a run's agent that are not damaged, checked to be of this world."""
    newest_checkpoint(path)  # told if there is none
    name = _UNNAMED[0] if agent is None else weights_file(agent)
    return checkpoint.newest_whole(path, lambda each: load_weights(each / name, spec))


def start_weights(path: Path, spec: Spec, agent: str | None) -> SavedWeights:
    """Weights that a run's agent started from."""
    return load_weights(path / _UNNAMED[1] if agent is None else path / START / weights_file(agent), spec)


def versions(path: Path, agent: str | None) -> list[Path]:
    """Weights of a run's agent that were kept for good, oldest first."""
    directory = path / _UNNAMED[2] if agent is None else path / VERSIONS / agent
    return sorted(directory.glob("[0-9]*.safetensors"))


def checkpoint_weights(path: Path, agent: str | None) -> list[Path]:
    """Weights of a run's agent in its checkpoints, oldest first."""
    name = _UNNAMED[0] if agent is None else weights_file(agent)
    return [each / name for each in checkpoint.checkpoints(path)]


def named_weights(named: str, spec: Spec) -> SavedWeights:
    """Weights that a text names: a weights file, or a run's newest (see `run_and_agent`).

    Raises:
        InvalidConfig: if there is no such file or run.
        StorageError: for weights of another world.
    """
    if Path(named).is_file():
        return load_weights(named, spec)
    path, agent = run_and_agent(named)
    return trained_weights(path, spec, agent)
