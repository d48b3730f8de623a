"""What tuning found, as tables, as the comments of a file and as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from scoundrel_ray.tuning.prediction import InferenceCosts
from scoundrel_ray.tuning.setting import Setting
from scripts.measuring.clients import LARGE, SMALL
from scripts.measuring.formatting import format_number
from scripts.measuring.tuner import Tried, Tuned, check_search
from scripts.tuning.overlay import overlay

_STEP = 1.05  # from here on a leaf's cost over that in the size before is a step worth showing


def described(tuned: Tuned, where: str) -> list[str]:
    """Comments of the settings' file: machine, what was tuned for, measured figures, the limiting side."""
    game, search = check_search(tuned.setting)
    point, predicted, measured = tuned.best.point, tuned.best.predicted, tuned.best.measured
    precision, inference = next(iter(tuned.precisions.items()))
    found = f"{predicted.leaves_per_s:,.0f} leaves/s predicted"
    if measured:
        found += f", {measured.leaves_per_s:,.0f} measured, mean batch {measured.mean_batch:,.0f}"
    return [
        f"Settings of `python -m scripts.tune` on {where}.",
        f"For {game.name}, {search.trees_per_game} trees of {search.simulations} simulations a decision, "
        f"{tuned.setting.network['_target_'].rpartition('.')[2]}: {found}.",
        f"One search thread: {1 / tuned.costs.search.seconds(point.games, point.leaves):,.0f} leaves/s; inference in "
        f"{precision}, one thread, batch {inference.max_batch}: {1 / inference.leaf_s:,.0f} leaves/s.",
        tuned.verdict,
        *tuned.notes,
    ]


def show(console: Console, tuned: Tuned, given: Setting) -> None:
    """Print what was measured, what was tried, the limiting side and the recommendation."""
    search, parts = tuned.costs.search, Table("part", "measured", title="costs")
    for games, seconds in search.leaf_s.items():
        parts.add_row(f"search, one thread, {games} games in lockstep", f"{format_number(1 / seconds)} leaves/s")
    for threads, gain in list(search.speedup.items())[1:]:
        parts.add_row(f"search, {threads} threads", f"{gain:.2f} x one thread")
    for threads, gain in list(tuned.costs.inference.speedup.items())[1:]:
        parts.add_row(f"inference, {threads} threads with a batch each", f"{gain:.2f} x one thread")
    for name, costs in tuned.costs.transports.items():
        trips = " / ".join(f"{1e3 * costs.round_trip.at(n):.2g}" for n in (SMALL, LARGE))
        used = " / ".join(f"{1e3 * (costs.client.at(n) + costs.server.at(n)):.2g}" for n in (SMALL, LARGE))
        parts.add_row(
            f"transport {name}, {SMALL} / {LARGE} leaves a message", f"round trip {trips} ms, processor {used} ms"
        )
    for name, why in tuned.refused.items():
        parts.add_row(f"transport {name}", f"cannot be used: {why}")
    console.print(parts)
    console.print(_inference_table(tuned.precisions))
    console.print(_tried_table(tuned.tried, tuned.best))
    for line in (tuned.verdict, *tuned.notes):
        console.print(line, markup=False, soft_wrap=True)
    console.print(_recommendation(tuned, given))


def _inference_table(precisions: dict[str, InferenceCosts]) -> Table:
    best, costs = next(iter(precisions.items()))
    table = Table("batch", *precisions, f"cost a leaf, {best}", "padded to", title="inference, leaves/s")
    before = math.inf
    for size, seconds in costs.batch_s.items():
        rates = [format_number(size / c.batch_s[size]) if size in c.batch_s else "" for c in precisions.values()]
        cost = seconds / size
        mark = "max_batch" if size == costs.max_batch else "yes" if size in costs.batch_sizes else ""
        step = f" (a step: +{cost / before - 1:.0%})" if cost >= _STEP * before else ""
        table.add_row(str(size), *rates, f"{cost / costs.leaf_s:.2f} x{step}", mark)
        before = cost
    return table


def _tried_table(tried: Sequence[Tried], best: Tried) -> Table:
    columns = ("predicted leaves/s", "measured", "predicted batch", "measured", "device busy", "workers wait", "")
    table = Table("self-play", *columns, title="settings")
    for each in tried:
        m = each.measured
        found = (
            [format_number(m.leaves_per_s), format_number(m.mean_batch), f"{m.busy_share:.0%}", f"{m.wait_share:.0%}"]
            if m
            else [""] * 4
        )
        table.add_row(
            str(each.point),
            format_number(each.predicted.leaves_per_s),
            found[0],
            format_number(each.predicted.batch),
            *found[1:],
            "best" if each.point == best.point else "",
        )
    return table


def _recommendation(tuned: Tuned, given: Setting) -> Table:
    table = Table("setting", "given", "recommended", title="recommendation")
    before = {"rollout": asdict(given.rollout), "inference": asdict(given.inference), "search": given.search}
    for section, values in overlay(tuned).items():
        for key, value in values.items():
            old = before.get(section, {}).get(key, "")
            table.add_row(f"{section}.{key}", str(list(old) if isinstance(old, tuple) else old), str(value))
    for key in ("tree", "worlds", "simulations"):
        if key in given.search:
            table.add_row(f"search.{key}", str(given.search[key]), "as given: it is strength")
    return table


def as_dict(tuned: Tuned, environment: dict[str, Any]) -> dict[str, Any]:
    """Everything that was found, as plain data."""
    return {
        "environment": environment,
        "limit": tuned.best.predicted.limit,
        "verdict": tuned.verdict,
        "notes": tuned.notes,
        "recommended": overlay(tuned),
        "best": _tried_dict(tuned.best),
        "tried": [_tried_dict(each) for each in tuned.tried],
        "costs": {
            "search": asdict(tuned.costs.search),
            "inference": {
                name: asdict(c) | {"max_batch": c.max_batch, "batch_sizes": list(c.batch_sizes)}
                for name, c in tuned.precisions.items()
            },
            "transports": {name: asdict(c) for name, c in tuned.costs.transports.items()},
            "refused": tuned.refused,
        },
    }


def _tried_dict(tried: Tried) -> dict[str, Any]:
    return {
        "point": asdict(tried.point),
        "predicted": asdict(tried.predicted),
        "measured": asdict(tried.measured) if tried.measured else None,
    }
