"""State as a tree, taken apart into plain data and arrays, and put together again.

A tree is made of dicts with text keys, lists, numbers, texts, None and arrays at any depth: what learners,
replay and counters give as their state. Plain data goes into JSON, arrays into files of their own; neither
needs pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_ARRAY = "$array"


def take_apart(tree: Any, where: str, arrays: dict[str, np.ndarray]) -> Any:
    """The tree as plain data; its arrays are put into `arrays` under the path at which they stood.

    Tuples become lists, numpy's scalars plain numbers.

    Args:
        tree: to take apart.
        where: path of its root.
        arrays: filled with what is found.

    Raises:
        ValueError: naming the path of what no file could hold.
    """
    if isinstance(tree, np.ndarray):
        if tree.dtype.hasobject:
            raise ValueError(f"cannot store {where}: an array of {tree.dtype} would need pickle")
        arrays[where] = tree
        return {_ARRAY: where}
    if isinstance(tree, np.generic):
        tree = tree.item()
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    if isinstance(tree, list | tuple):
        return [take_apart(value, f"{where}/{i}", arrays) for i, value in enumerate(tree)]
    if isinstance(tree, Mapping):
        for key in tree:
            if not isinstance(key, str) or "/" in key or key == _ARRAY:
                raise ValueError(f"cannot store {where}: key {key!r}, wanted a text without '/'")
        return {key: take_apart(value, f"{where}/{key}", arrays) for key, value in tree.items()}
    raise ValueError(f"cannot store {where}: a {type(tree).__name__}")


def put_together(plain: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The tree of which `take_apart` made plain data and arrays."""
    if isinstance(plain, list):
        return [put_together(value, arrays) for value in plain]
    if not isinstance(plain, dict):
        return plain
    if _ARRAY in plain:
        return arrays[plain[_ARRAY]]
    return {key: put_together(value, arrays) for key, value in plain.items()}


def copied(tree: Any) -> Any:
    """The tree with copies of its arrays."""
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if isinstance(tree, list | tuple):
        return [copied(value) for value in tree]
    return {key: copied(value) for key, value in tree.items()} if isinstance(tree, Mapping) else tree
