"""Suite "quality": whether many leaves of a tree at a time search as well as one by one, with a run's trained network.

    python -m scripts.benchmark suite=quality checkpoint=runs/... search=puct search.tree=per_world search.worlds=3

See `scripts.measuring.quality`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scoundrel_ray.settings.checks import InvalidConfig
from scripts.measuring.figures import Figures
from scripts.measuring.quality import quality_figures


def run(settings: Mapping[str, Any], checkpoint: str | None) -> Figures:
    """Figures of the settings' search with the network of a run."""
    if checkpoint is None:
        raise InvalidConfig("suite.checkpoint: got null, wanted a run directory, whose network is searched with")
    return Figures(quality_figures(checkpoint, settings["search"]))
