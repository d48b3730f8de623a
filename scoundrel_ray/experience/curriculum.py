"""A curriculum: the search's settings by learner step, so that early, weak games cost little.

    curriculum:
      - {steps: 0, worlds: 2, simulations: 8}
      - {steps: 2000, worlds: 3, simulations: 30}

Before the first stage, and for whatever a stage leaves out, the search's own section holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scoundrel_ray.settings.checks import InvalidConfig, at_least

STEPS = "steps"


def check(curriculum: Sequence[Any], search: Mapping[str, Any]) -> None:
    """Refuse stages that are out of order or set what the search does not have.

    Raises:
        InvalidConfig: naming the stage and the key.
    """
    least = 0
    for place, stage in enumerate(curriculum):
        key = f"curriculum[{place}]"
        if not isinstance(stage, Mapping) or STEPS not in stage:
            raise InvalidConfig(f"{key}: got {stage!r}, wanted the learner's steps from which it holds, and settings")
        at_least(f"{key}.{STEPS}", stage[STEPS], least)
        least = stage[STEPS] + 1
        for name in stage:
            if name != STEPS and (name not in search or name == "_target_"):
                known = ", ".join(key for key in search if key != "_target_")
                raise InvalidConfig(f"{key}.{name}: unknown; the search has {known}")


def sections(search: Mapping[str, Any], curriculum: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The search's section at every stage, and before the first one."""
    return [section_at(search, curriculum, steps) for steps in sorted({0, *(stage[STEPS] for stage in curriculum)})]


def section_at(search: Mapping[str, Any], curriculum: Sequence[Mapping[str, Any]], steps: int) -> dict[str, Any]:
    """The search's section after `steps` learner steps."""
    section = dict(search)
    for stage in curriculum:
        if stage[STEPS] <= steps:
            section = {**search, **{name: value for name, value in stage.items() if name != STEPS}}
    return section
