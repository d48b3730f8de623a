"""Searches grow the trees that are kept for them, node by node; tests/searches/golden_trees.py writes them anew."""

import functools
import json
import math

import pytest

from tests.searches.golden_trees import CASES, DIRECTORY, GAMES, KEPT, PLIES, path_of, positions, searched


@functools.cache
def together(name):
    """What is kept of every row of a forest whose rows all differ."""
    return searched(CASES[name], list(range(len(PLIES[CASES[name].game]))))


def differences(got, wanted, place=""):
    """Places where two pieces of plain data differ: floats by more than 1e-6, all else at all."""
    if type(got) is not type(wanted):
        yield f"{place}: {got}, wanted {wanted}"
    elif isinstance(wanted, dict):
        if list(got) != list(wanted):
            yield f"{place}: {list(got)}, wanted {list(wanted)}"
        else:
            for key in wanted:
                yield from differences(got[key], wanted[key], f"{place}.{key}")
    elif isinstance(wanted, list):
        if len(got) != len(wanted):
            yield f"{place}: {len(got)} entries, wanted {len(wanted)}"
        for at, (one, other) in enumerate(zip(got, wanted, strict=False)):
            yield from differences(one, other, f"{place}[{at}]")
    elif not (math.isclose(got, wanted, rel_tol=1e-6, abs_tol=1e-6) if isinstance(wanted, float) else got == wanted):
        yield f"{place}: {got}, wanted {wanted}"


@pytest.mark.parametrize("name", CASES)
def test_a_search_grows_the_tree_that_is_kept(name):
    wanted = json.loads(path_of(name).read_text(encoding="utf-8"))
    assert list(differences(together(name)[KEPT], wanted)) == []


@pytest.mark.parametrize("name", CASES)
def test_a_search_alone_in_a_forest_grows_the_same_tree(name):
    """To the last bit; the rows beside it had other positions and streams, and grew other trees."""
    rows = together(name)
    for row in (KEPT, 3):
        assert searched(CASES[name], [row]) == [rows[row]]
    assert all(rows[row]["worlds"] != rows[KEPT]["worlds"] for row in range(len(rows)) if row != KEPT)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.settings.get("worlds", 1) > 1])
def test_the_worlds_of_a_search_grow_trees_of_their_own(name):
    worlds = together(name)[KEPT]["worlds"]
    assert len(worlds) == CASES[name].settings["worlds"] and len({json.dumps(each) for each in worlds}) == len(worlds)


def test_every_kept_tree_is_compared_and_all_kinds_of_edges_are_met():
    assert {path.stem for path in DIRECTORY.iterdir()} == set(CASES)
    edges = [
        edge
        for name in CASES
        for world in together(name)[KEPT]["worlds"]
        for node in world
        for edge in node["edges"].values()
    ]
    assert any(edge["visits"] == 0 for edge in edges)
    assert any(edge.get("ended") and not edge["nodes"] for edge in edges)  # the game is over behind it
    assert any(len(edge.get("nodes", [])) > 1 for edge in edges)  # what a seat sees there depends on the world
    assert all(edge.get("ended", 0) >= 0 for edge in edges)


def test_tables_of_blob_of_three_and_of_four_stand_side_by_side():
    """So that a tree that took the number of players from another row would be found out."""
    counts = [GAMES["blob"].players(state) for state in positions("blob")]
    assert counts[KEPT] == 3 and counts[0] == 4


def test_differences_are_found():
    kept = {"a": [1, 0.5], "b": {"c": "x"}}
    assert list(differences({"a": [1, 0.5 + 5e-7], "b": {"c": "x"}}, kept)) == []
    for other in (
        {"a": [1, 0.50001], "b": {"c": "x"}},
        {"a": [2, 0.5], "b": {"c": "x"}},
        {"a": [1.0, 0.5], "b": {"c": "x"}},
        {"a": [1], "b": {"c": "x"}},
        {"a": [1, 0.5], "b": {"c": "y"}},
        {"a": [1, 0.5], "b": {}},
        {"b": {"c": "x"}, "a": [1, 0.5]},
    ):
        assert len(list(differences(other, kept))) == 1
