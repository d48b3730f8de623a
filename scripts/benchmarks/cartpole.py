"""Suite "cartpole": IQN and PPO learn CartPole by the whole command, seed by seed, beside Stable-Baselines3.

A seed is solved if greedy play returns enough in the mean of held episodes. What a seed costs is the processor time of
all processes of its command: `python -m scripts.train` with its Ray, and a Python that runs Stable-Baselines3. Both
count the start, the learning and the held episodes. Ours and theirs run in turns.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scoundrel_ray.settings.checks import InvalidConfig, at_least, one_of
from scripts.measuring.figures import Figure, Figures
from scripts.measuring.processes import spent

_PEER = "stable_baselines3"


class _Learner(NamedTuple):
    experiment: str
    peer: str


_LEARNERS = {"iqn": _Learner("cartpole", "dqn"), "ppo": _Learner("cartpole_ppo", "ppo")}


class _Outcome(NamedTuple):
    returned: float
    cpu_s: float


def run(
    settings: Mapping[str, Any], run: Sequence[str], learners: Sequence[str], seeds: int, solved: float, episodes: int
) -> Figures:
    """For each learner how many seeds it solves, and the processor seconds of one, both beside Stable-Baselines3."""
    at_least("suite.seeds", seeds, 1)
    at_least("suite.episodes", episodes, 1)
    for name in learners:
        one_of("suite.learners", name, tuple(_LEARNERS))
    figures = []
    for name in learners:
        ours, theirs = [], []
        for seed in range(seeds):
            ours.append(_ours(_LEARNERS[name].experiment, run, seed, episodes))
            if importlib.util.find_spec(_PEER):
                theirs.append(_theirs(_LEARNERS[name].peer, seed, episodes))
        figures += _figures(name, ours, theirs, solved)
    return Figures(figures)


def _figures(name: str, ours: Sequence[_Outcome], theirs: Sequence[_Outcome], solved: float) -> list[Figure]:
    peer = f"{_LEARNERS[name].peer} of Stable-Baselines3" if theirs else "Stable-Baselines3"
    count = len(ours)
    solves, theirs_solve = (sum(each.returned >= solved for each in own) for own in (ours, theirs))
    least, middle = min(each.returned for each in ours), statistics.median(each.returned for each in ours)
    cpu_s, their_cpu_s = (statistics.mean(each.cpu_s for each in own) if own else None for own in (ours, theirs))
    assert cpu_s is not None
    return [
        Figure(
            f"{name}: seeds of {count} with a return of {solved:g}",
            solves,
            "seeds",
            peer,
            float(theirs_solve) if theirs else None,
            wanted=count - count // 10,
            details={"least return": least, "median return": middle},
        ),
        Figure(
            f"{name}: processor seconds of a seed, start and held episodes included",
            cpu_s,
            "s",
            peer,
            their_cpu_s,
            most=their_cpu_s,
            details={"most of a seed": max(each.cpu_s for each in ours)},
        ),
    ]


def _ours(experiment: str, run: Sequence[str], seed: int, episodes: int) -> _Outcome:
    with tempfile.TemporaryDirectory() as kept:
        directory = Path(kept) / "run"
        own = [f"experiment={experiment}", f"seed={seed}", f"episodes.count={episodes}", f"run_dir={directory}"]
        cpu_s = _spent([sys.executable, "-m", "scripts.train", *own, *run], Path(kept) / "log")
        returns = json.loads((directory / "summary.json").read_text())["evaluation"]["returns"]["trained"]
    (only,) = returns.values()
    return _Outcome(only["mean"], cpu_s)


def _theirs(algorithm: str, seed: int, episodes: int) -> _Outcome:
    with tempfile.TemporaryDirectory() as kept:
        log = Path(kept) / "log"
        command = [sys.executable, "-W", "ignore", "-m", "scripts.benchmarks.peer_sb3", algorithm, str(seed)]
        cpu_s = _spent([*command, str(episodes)], log)
        return _Outcome(json.loads(log.read_text().splitlines()[-1])["return"], cpu_s)


def _spent(command: Sequence[str], log: Path) -> float:
    code, cpu_s = spent(command, log)
    if code:
        said = [line for line in log.read_text().splitlines() if line.strip()]
        raise InvalidConfig(f"{' '.join(command[1:])} ended with {code}: {said[-1] if said else 'without a word'}")
    return cpu_s
