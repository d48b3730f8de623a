"""The checkpoints of a run: numbered directories with all that it needs to go on (see `storage.directory`).

Of each agent a checkpoint holds `<agent>.safetensors` (its weights), `<agent>.learner` and `<agent>.replay`; of the run
`counters` and `arena`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from scoundrel_ray.machine import library_versions
from scoundrel_ray.notices import warn
from scoundrel_ray.storage.directory import read_directory, write_directory
from scoundrel_ray.storage.durable import Damaged, StorageError, remove_directory, sweep

T = TypeVar("T")


def save(run_dir: Path | str, content: Mapping[str, Any], keep: int = 3) -> Path:
    """Path of a new checkpoint, the next in number; then all but the newest `keep` are removed.

    One process saves to a run at a time. What each type of content becomes: see `scoundrel_ray.storage.directory`.

    Raises:
        StorageError: if it cannot be written; the previous one stays and nothing is left of the attempt.
        ValueError: if keep is below 1, or for content that cannot be stored.
    """
    if keep < 1:
        raise ValueError(f"checkpoints to keep is {keep}, wanted at least 1")
    parent = Path(run_dir) / "checkpoints"
    sweep(parent)
    existing = checkpoints(run_dir)
    path = parent / f"{int(existing[-1].name) + 1 if existing else 1:06d}"
    write_directory(path, content, about={"libraries": library_versions()})
    for old in [*existing, path][:-keep]:
        remove_directory(old)
    return path


def load(path: Path | str, names: Collection[str] | None = None) -> dict[str, Any]:
    """Content of a checkpoint as it was given to `save`, or what is asked for by name.

    Arrays that were given as such, and structured or large ones in trees, are mapped from disk and read-only.

    Raises:
        StorageError: if it is missing, damaged, of another format, or lacks a name.
    """
    return read_directory(Path(path), names)


def checkpoints(run_dir: Path | str) -> list[Path]:
    """All whole checkpoints of a run, oldest first."""
    found = (Path(run_dir) / "checkpoints").glob("[0-9]*")
    return sorted((path for path in found if path.name.isdigit()), key=lambda path: int(path.name))


def latest(run_dir: Path | str) -> Path | None:
    """The newest whole checkpoint of a run, or None if it has none."""
    return next(reversed(checkpoints(run_dir)), None)


def newest_whole(run_dir: Path | str, read: Callable[[Path], T]) -> T:
    """What `read` finds in the newest checkpoint that is not damaged; a line of warning tells of each that is.

    Args:
        run_dir: of a run with at least one checkpoint.
        read: given a checkpoint's path; raises Damaged for one that cannot be used.

    Raises:
        Damaged: that of the newest, if all are.
    """
    found = checkpoints(run_dir)
    first: Damaged | None = None
    for path in reversed(found):
        try:
            content = read(path)
        except Damaged as error:
            first = first or error
            continue
        if first is not None:
            warn(__name__, f"{first}; the checkpoint before, {path.name}, is used in its place")
        return content
    raise first or Damaged(f"cannot read {run_dir}: it has no checkpoint")


def weights_file(agent: str) -> str:
    """Name of an agent's weights in a checkpoint."""
    return f"{agent}.safetensors"


def packed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A run's content as `save` takes it.

    Args:
        content: `agents`: by name, each with counters and, if it learns, learner and replay; `weights`: bytes of a
            weights file by agent; `counters`; whatever else, by name.
    """
    flat = {name: value for name, value in content.items() if name not in ("agents", "weights")}
    flat["counters"] = {
        **content["counters"],
        "agents": {name: part["counters"] for name, part in content["agents"].items()},
    }
    for name, part in content["agents"].items():
        flat |= {f"{name}.{key}": value for key, value in part.items() if key != "counters"}
    return {weights_file(name): data for name, data in content["weights"].items()} | flat


def load_run(path: Path | str) -> dict[str, Any]:
    """A run's content, as `packed` took it, less the weights.

    Raises:
        StorageError: as `load`, and for a checkpoint that was written before agents had names.
    """
    flat = load(path)
    _check_agents(path, flat)
    named = flat["counters"]["agents"]
    agents = {
        name: {
            "counters": counters,
            **{key: flat[f"{name}.{key}"] for key in ("learner", "replay") if f"{name}.{key}" in flat},
        }
        for name, counters in named.items()
    }
    others = {"arena": flat["arena"]} if "arena" in flat else {}
    return {"agents": agents, "counters": flat["counters"], **others}


def load_part(path: Path | str, agent: str) -> dict[str, Any]:
    """An agent's part of a checkpoint: counters, learner and replay.

    Raises:
        StorageError: as `load_run`.
    """
    counters = load(path, ["counters"])
    _check_agents(path, counters)
    flat = counters | load(path, [f"{agent}.learner", f"{agent}.replay"])
    return {
        "counters": flat["counters"]["agents"][agent],
        "learner": flat[f"{agent}.learner"],
        "replay": flat[f"{agent}.replay"],
    }


def _check_agents(path: Path | str, flat: Mapping[str, Any]) -> None:
    if "agents" not in flat.get("counters", {}):
        raise StorageError(
            f"cannot go on from {path}: it was written before agents had names; scoundrel_ray 0.1 goes on with it, "
            "and its weights can be evaluated and played"
        )
