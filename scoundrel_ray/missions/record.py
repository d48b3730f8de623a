"""Records of episodes, a line of JSON each, and the directory in which they gather until an evaluation is complete.

The directory is the unit of resume. Records are appended as episodes end, in whatever order; once all are there, one
file holds them in the order of missions and episodes, so that it is the same byte for byte however they were played.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scoundrel_ray.missions.episode import Outcome
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.storage.durable import append, flush, sweep, write_file, written_beside

SCHEMA = 1  # of records and of the identity; raised whenever either changes
IDENTITY, EPISODES, UNSORTED = "evaluation.json", "episodes.jsonl", "episodes.unsorted.jsonl"
CSV, SUMMARY, PLOT, TIMING = "episodes.csv", "summary.json", "summary.png", "timing.json"
FILES = (IDENTITY, EPISODES, UNSORTED, CSV, SUMMARY, PLOT, TIMING)
_LOCK = ".lock"

Record = dict[str, Any]


class Key(NamedTuple):
    """Which episode a record is of.

    Attributes:
        mission: its name.
        member: of a group of policies, "" without a group.
        episode: its number.
    """

    mission: str
    member: str
    episode: int


def record_of(
    mission: str, member: str, seed: int, agents: Sequence[str], policies: Sequence[str], outcome: Outcome
) -> Record:
    """The record of an episode: plain data, which depends on nothing but what was played.

    Args:
        mission, member: names.
        seed: of the evaluation.
        agents: names of the mission's agents, by number.
        policies: names, by number.
        outcome: of the episode.
    """
    failed = outcome.failure is not None
    return {
        "mission": mission,
        "member": member,
        "episode": outcome.episode,
        "seed": seed + outcome.episode,
        "steps": outcome.steps,
        "hash": outcome.hash,
        "failure": outcome.failure._asdict() if outcome.failure is not None else None,
        "agents": {
            name: {
                "policy": policies[policy],
                "return": None if failed else own,
                "length": length,
                "end": None if failed else end,
            }
            for name, policy, own, length, end in zip(
                agents, outcome.policies.tolist(), outcome.returns.tolist(), outcome.lengths.tolist(), outcome.ends,
                strict=True,
            )
            if policy >= 0
        },
    }  # fmt: skip


def key_of(record: Record) -> Key:
    """Which episode a record is of."""
    return Key(record["mission"], record["member"], record["episode"])


def line_of(record: Record) -> bytes:
    """The record's line."""
    return (json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n").encode()


def read_results(path: Path) -> tuple[dict[str, Any], list[Record]]:
    """Identity and records of an evaluation that is over, or as far as it came.

    Raises:
        InvalidConfig: if the directory holds none that this version reads.
    """
    try:
        identity = json.loads((path / IDENTITY).read_bytes())
        if identity["schema"] != SCHEMA:
            raise InvalidConfig(f"{path / IDENTITY}: schema is {identity['schema']!r}, wanted {SCHEMA}")
        lines = [line for name in (EPISODES, UNSORTED) if (path / name).exists() for line in (path / name).open("rb")]
        whole = {key_of(record): record for record in map(json.loads, (each for each in lines if each.endswith(b"\n")))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidConfig(f"{path}: cannot be read as results of missions: {error}") from error
    return identity, [*whole.values()]


class Results:
    """A directory of records; one process at a time.

    Args:
        path: of the directory, which is made if need be.
        identity: of the evaluation: plain data that decides what its episodes are.
        noted: what is noted beside it, and may differ when the evaluation goes on.

    Raises:
        InvalidConfig: if it holds another evaluation or anything foreign, or is in use.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], noted: Mapping[str, Any]) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        foreign = sorted(each.name for each in path.iterdir() if each.name not in (*FILES, _LOCK) and not _ours(each))
        if foreign:
            raise InvalidConfig(f"results: got {path}, which holds {foreign[0]}, wanted an evaluation's own directory")
        self._lock = (path / _LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise InvalidConfig(f"results: {path} is in use by another evaluation") from error
        try:
            sweep(path)
            self._check({"schema": SCHEMA, **identity}, noted)
            self._places = dict(self._read())
        except BaseException:
            self.close()
            raise

    def _check(self, identity: Mapping[str, Any], noted: Mapping[str, Any]) -> None:
        """Refuse a directory of another evaluation; note what this one is."""
        file, wanted = self.path / IDENTITY, json.loads(json.dumps(identity))
        if not file.exists():
            if (self.path / EPISODES).exists() or (self.path / UNSORTED).exists():
                raise InvalidConfig(f"results: got {self.path}, which holds episodes but no {IDENTITY}")
            write_file(file, (json.dumps({**wanted, "noted": noted}, indent=2) + "\n").encode())
            return
        try:
            there = json.loads(file.read_bytes())
            there.pop("noted", None)
        except (ValueError, AttributeError) as error:
            raise InvalidConfig(f"results: cannot read {file}: {error}") from error
        different = _difference(there, wanted)
        if different:
            raise InvalidConfig(f"results: {self.path} holds another evaluation: {different}")

    def _read(self) -> Iterator[tuple[Key, tuple[str, int]]]:
        """Which episodes have records, each with its file and where its line begins. Half a line is cut off."""
        for name in (EPISODES, UNSORTED):
            file = self.path / name
            if not file.exists():
                continue
            whole = 0
            with file.open("rb") as lines:
                for line in lines:
                    if not line.endswith(b"\n"):
                        break  # its writer was killed
                    try:
                        record = json.loads(line)
                        key, failed = key_of(record), record["failure"] is not None
                    except (ValueError, KeyError, TypeError) as error:
                        raise InvalidConfig(f"results: {file} holds what is no record: {line[:60]!r}") from error
                    if not failed:  # what failed is played again
                        yield key, (name, whole)
                    whole += len(line)
            if name == UNSORTED and whole < file.stat().st_size:
                with file.open("r+b") as cut:
                    cut.truncate(whole)
                    flush(cut)

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    def add(self, record: Record) -> None:
        """Append a record.

        Raises:
            OSError: if it cannot be written; nothing of it is there then.
        """
        file = self.path / UNSORTED
        start = file.stat().st_size if file.exists() else 0
        append(file, line_of(record))
        self._places[key_of(record)] = (UNSORTED, start)

    def records(self, keys: Iterable[Key]) -> Iterator[Record]:
        """The records of these episodes that are there, one after another."""
        for line in self._lines(keys):
            yield json.loads(line)

    def _lines(self, keys: Iterable[Key]) -> Iterator[bytes]:
        files = {name: (self.path / name).open("rb") for name in {place[0] for place in self._places.values()}}
        try:
            for key in keys:
                if key in self._places:
                    name, start = self._places[key]
                    files[name].seek(start)
                    yield files[name].readline()
        finally:
            for file in files.values():
                file.close()

    def sort(self, keys: Sequence[Key]) -> None:
        """Put all records in one file: those of `keys` first, in their order, and what is there besides after them.

        Raises:
            StorageError: if it cannot be written; all records stay where they are.
        """
        wanted = set(keys)
        ordered = [*keys, *sorted(key for key in self._places if key not in wanted)]
        places: dict[Key, tuple[str, int]] = {}
        with written_beside(self.path / EPISODES) as temporary, temporary.open("wb") as file:
            present = [key for key in ordered if key in self._places]
            for key, line in zip(present, self._lines(present), strict=True):
                places[key] = (EPISODES, file.tell())
                file.write(line)
            flush(file)
        self._places = places
        (self.path / UNSORTED).unlink(missing_ok=True)

    def write(self, name: str, data: bytes) -> Path:
        """Write another file, whole or not at all; its path."""
        write_file(self.path / name, data)
        return self.path / name

    def close(self) -> None:
        """Let others use the directory."""
        self._lock.close()
        (self.path / _LOCK).unlink(missing_ok=True)

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ours(file: Path) -> bool:
    """Whether it is a half-written file of ours, or a picture of an episode."""
    return file.name.startswith(".tmp-") or file.suffix == ".gif"


def _difference(there: Any, wanted: Any, key: str = "") -> str:
    """The first difference of two pieces of plain data, in words; "" if there is none."""
    if isinstance(there, dict) and isinstance(wanted, dict):
        for name in [*wanted, *(name for name in there if name not in wanted)]:
            found = _difference(there.get(name), wanted.get(name), f"{key}.{name}".lstrip("."))
            if found:
                return found
        return ""
    if isinstance(there, list) and isinstance(wanted, list) and len(there) == len(wanted):
        return next(
            filter(
                None, (_difference(*each, f"{key}[{at}]") for at, each in enumerate(zip(there, wanted, strict=True)))
            ),
            "",
        )
    return "" if there == wanted else f"{key} is {there!r:.80} there and {wanted!r:.80} now"
