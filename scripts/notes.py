"""What a run is at, in a line behind its progress bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TOLD_ALONE = 3  # agents that a line tells of one by one


def state_note(report: Mapping[str, Any], agents: Sequence[str]) -> str:
    """A run's state in a line: of each agent its steps, its results and what its learner tells."""
    parts = [_note_of_all(report, agents)] if len(agents) > TOLD_ALONE else []
    for name in agents if not parts else ():
        own = [f"step {report[f'learner/{name}/steps']}"]
        if report.get(f"rollout/{name}/score") is not None:
            own.append(f"score {report[f'rollout/{name}/score']:.2f}")
        if report.get(f"rollout/{name}/return") is not None:
            own.append(f"return {report[f'rollout/{name}/return']:.1f}")
        if report.get(f"rollout/{name}/win_rate") is not None:
            own.append(f"wins {report[f'rollout/{name}/win_rate']:.1%}")
        own += [f"{key.replace('_', ' ')} {value:.3g}" for key, value in _losses(report, name).items()]
        parts.append(f"{name}: {', '.join(own)}" if len(agents) > 1 else ", ".join(own))
    if report["rollout/games_per_min"] is not None:
        parts.append(f"{report['rollout/games_per_min']:.0f} {'episodes' if _of_a_world(report) else 'games'}/min")
    if report["inference/leaves_per_s"]:
        parts.append(f"{report['inference/leaves_per_s']:,.0f} leaves/s")
    return "; ".join(parts)


def _of_a_world(report: Mapping[str, Any]) -> bool:
    return any(name.startswith("rollout/") and name.endswith("/return") for name in report)


def _note_of_all(report: Mapping[str, Any], agents: Sequence[str]) -> str:
    """The state of many agents: least and most steps, and the mean of what each has, with the least and the most."""
    steps = [report[f"learner/{name}/steps"] for name in agents]
    own = [f"{len(agents)} agents: step {min(steps)}" + (f" to {max(steps)}" if min(steps) < max(steps) else "")]
    for shown, key in (("return", "rollout/{}/return"), ("score", "rollout/{}/score"), ("loss", "learner/{}/loss")):
        values = [value for name in agents if (value := report.get(key.format(name))) is not None]
        if values:
            own.append(f"{shown} {sum(values) / len(values):.3g} ({min(values):.3g} to {max(values):.3g})")
    return ", ".join(own)


def _losses(report: Mapping[str, Any], agent: str) -> dict[str, float]:
    """What an agent's learner calls losses; their parts where it tells several."""
    prefix = f"learner/{agent}/"
    found = {
        name.removeprefix(prefix): value
        for name, value in report.items()
        if name.startswith(prefix) and name.endswith("loss") and value is not None
    }
    return {name: value for name, value in found.items() if name != "loss" or len(found) == 1}


def elo_note(report: Mapping[str, Any]) -> str:
    """The Elo of each agent whose match has ended."""
    notes = []
    for name, value in report.items():
        if name.startswith("arena/") and name.endswith("/elo"):
            best = " (best so far)" if report[name.removesuffix("elo") + "promoted"] else ""
            notes.append(f", Elo {value:+.0f}{best}")
    return "".join(notes)
