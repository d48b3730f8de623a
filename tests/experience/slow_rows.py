"""A slow transcription of transitions and of fragments: lists, one history for each copy and episode, no state between.

A history is all that one agent did in one episode of one copy. Which rows are complete follows from it alone.
"""

from dataclasses import dataclass, field

import numpy as np

from scoundrel_ray.world import HERE, TERMINATED


@dataclass
class Step:
    """What an agent did, and what that brought until it acted again or ended (None while nobody knows)."""

    observation: np.ndarray
    mask: np.ndarray
    action: int
    log_probability: float
    version: int
    reward: float | None = None


@dataclass
class History:
    """Steps of one episode, and its end: None while it goes on and where it was lost, else how and what was seen.

    `cuts` are numbers of steps with which fragments begin because rows were taken.
    """

    steps: list[Step] = field(default_factory=list)
    end: tuple[int, np.ndarray] | None = None
    cuts: set[int] = field(default_factory=set)


def transitions(history, n, discount):
    """Complete transitions: (observation, action, reward, discount, next observation, next mask, version)."""
    rows = []
    for first, step in enumerate(history.steps):
        behind = history.steps[first + n :]
        if behind:
            brought, weight = history.steps[first : first + n], discount**n
            after, mask = behind[0].observation, behind[0].mask
        elif history.end is not None:
            brought = history.steps[first:]
            weight = 0.0 if history.end[0] == TERMINATED else discount ** len(brought)
            after, mask = history.end[1], np.ones_like(step.mask)
        else:
            continue
        reward = sum(discount**k * float(each.reward) for k, each in enumerate(brought))
        rows.append((step.observation, step.action, reward, weight, after, mask, step.version))
    return rows


def parts_of(history, length):
    """A history's steps, by the fragment that each is in."""
    parts = []
    for number, step in enumerate(history.steps):
        if not parts or len(parts[-1]) == length or parts[-1][-1].version != step.version or number in history.cuts:
            parts.append([])
        parts[-1].append(step)
    return parts


def cut(history, length):
    """Rows are taken of a history that goes on: its last step, of which nothing is known yet, begins a fragment."""
    if history.steps and history.end is None and len(parts_of(history, length)[-1]) > 1:
        history.cuts.add(len(history.steps) - 1)


def fragments(history, length):
    """Complete fragments, as dicts of lists without padding."""
    parts, rows = parts_of(history, length), []
    for number, part in enumerate(parts):
        if number + 1 < len(parts):
            end, after = HERE, parts[number + 1][0].observation
        elif history.end is not None:
            end, after = history.end
        else:
            continue
        rows.append(
            {
                "observations": [*(step.observation for step in part), after],
                "masks": [step.mask for step in part],
                "actions": [step.action for step in part],
                "log_probabilities": [step.log_probability for step in part],
                "rewards": [step.reward for step in part],
                "versions": [step.version for step in part],
                "steps": len(part),
                "end": end,
            }
        )
    return rows


def fragment_rows(histories, length, dtype):
    """All complete fragments of histories, padded with zeros: [k] of the type of fragments."""
    found = [row for history in histories for row in fragments(history, length)]
    rows = np.zeros(len(found), dtype)
    for row, wanted in zip(rows, found, strict=True):
        for name, value in wanted.items():
            if isinstance(value, list):
                row[name][: len(value)] = value
            else:
                row[name] = value
    return rows


def transition_rows(histories, n, discount, dtype):
    """All complete transitions of histories: [k] of the type of transitions."""
    return np.array([row for history in histories for row in transitions(history, n, discount)], dtype)


def assert_same_rows(got, wanted):
    """The same rows in any order; what was summed up may differ by a rounding."""
    assert got.dtype == wanted.dtype and len(got) == len(wanted)
    summed = [name for name in ("reward", "discount") if name in got.dtype.names]
    exact = [name for name in got.dtype.names if name not in summed]

    def ordered(rows):
        sums = [np.round(rows[name].astype(float), 3).tolist() for name in summed]
        keys = [b"".join(row[name].tobytes() for name in exact) for row in rows]
        return rows[sorted(range(len(rows)), key=lambda i: (keys[i], *(values[i] for values in sums)))]

    got, wanted = ordered(got), ordered(wanted)
    for name in exact:
        np.testing.assert_array_equal(got[name], wanted[name], err_msg=name)
    for name in summed:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5, atol=1e-5, err_msg=name)
