"""Compiled code on disk is made anew when a file that went into it has changed, and only then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HELPER = """
from scoundrel_ray.compiled import inner


@inner
def changed(number):
    return number + 1
"""
KERNEL = """
from numba import types

from scoundrel_ray import compiled
from scoundrel_ray.compiled import kernel, rule
{imports}


@kernel(types.int64(types.int64))
def twice(number):
    return 2 * {call}(number)


@rule(compiled.SEAT)
def seat(state):
    return {call}(state[0])
"""
ASK = """
import importlib
import sys

import numpy as np

for name in sys.argv[1:]:
    asked = importlib.import_module(name)
    hits = [sum(each.stats.cache_hits.values()) for each in (asked.twice, asked.seat._dispatcher)]
    print(asked.twice(20), asked.seat(np.array([20], np.int32)), *hits)
"""
MIDDLE = """
from scoundrel_ray.compiled import inner
from toy import helper


@inner
def passed_on(number):
    return helper.changed(number)
"""
WAYS = {  # how the kernel's file comes by the helper: (its import, the call, other files)
    "from the file": ("from toy.helper import changed", "changed", {}),
    "the module": ("from toy import helper as h", "h.changed", {}),
    "dotted": ("import toy.helper", "toy.helper.changed", {}),
    "relative": ("from .helper import changed", "changed", {}),
    "everything": ("from .helper import *", "changed", {}),
    "by the package": ("from toy import changed", "changed", {"__init__.py": "from toy.helper import changed\n"}),
    "by a third file": ("from toy.middle import passed_on", "passed_on", {"middle.py": MIDDLE}),
    "from above": ("from ..helper import changed", "changed", {"below/__init__.py": ""}),
}


def write(package, files):
    """Files of a package; where they name `toy`, they mean it."""
    for name, text in {"__init__.py": "", **files}.items() if not package.exists() else files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("toy", package.name), encoding="utf-8")


def ask(directory, modules=("toy.rules",), cache=None):
    """((kernel's and rule's result), [cache hits of each]) of each module, in a fresh process."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    settings |= {"PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
    settings |= {"NUMBA_CACHE_DIR": str(cache)} if cache else {}
    command = [sys.executable, "-c", ASK, *modules]
    done = subprocess.run(command, env=settings, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [[*map(int, line.split())] for line in done.stdout.splitlines()]
    return [((twice, seat), hits) for twice, seat, *hits in lines]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each way gives at first, again, and after its helper was edited: {way: three of `ask`}."""
    directory, packages, modules = tmp_path_factory.mktemp("ways"), [], []
    for at, (way, (imports, call, files)) in enumerate(WAYS.items()):
        packages.append(directory / f"toy{at}")
        inside = "below/rules.py" if way == "from above" else "rules.py"
        modules.append(f"toy{at}." + inside.removesuffix(".py").replace("/", "."))
        write(packages[-1], {"helper.py": HELPER, **files, inside: KERNEL.format(imports=imports, call=call)})
    found = [ask(directory, modules), ask(directory, modules)]
    for package in packages:
        write(package, {"helper.py": HELPER.replace("+ 1", "+ 2")})
    return dict(zip(WAYS, zip(*found, ask(directory, modules), strict=True), strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_an_edit_of_the_helper_alone_is_seen(answers, way):
    assert answers[way] == (((42, 21), [0, 0]), ((42, 21), [1, 1]), ((44, 22), [0, 0]))


@pytest.fixture
def toy(tmp_path):
    return tmp_path / "toy"


@pytest.mark.parametrize("place", ["beside the source", "a directory of its own"])
def test_what_does_not_go_in_is_no_reason_to_compile(toy, tmp_path, place):
    cache = None if place == "beside the source" else tmp_path / "cache"
    write(toy, {"helper.py": HELPER, "rules.py": KERNEL.format(imports=WAYS["relative"][0], call="changed")})
    write(toy, {"other.py": "UNRELATED = 1\n"})
    assert ask(tmp_path, cache=cache) == [((42, 21), [0, 0])]
    assert bool([*toy.rglob("*.nbi")]) == (cache is None)
    write(toy, {"other.py": "UNRELATED = 2\n", "user.py": "from toy.rules import twice\n"})
    os.utime(toy / "rules.py", (1, 1))  # contents count, not when they were written
    assert ask(tmp_path, cache=cache) == [((42, 21), [1, 1])]
    write(toy, {"helper.py": HELPER.replace("+ 1", "+ 3")})
    assert ask(tmp_path, cache=cache) == [((46, 23), [0, 0])]


def test_an_edit_of_the_same_size_and_date_is_seen(tmp_path, toy):
    rules = KERNEL.format(imports=WAYS["dotted"][0], call=WAYS["dotted"][1])
    write(toy, {"helper.py": HELPER, "rules.py": rules})
    for name in ("helper.py", "rules.py"):
        os.utime(toy / name, (1, 1))
    assert ask(tmp_path) == [((42, 21), [0, 0])]
    write(toy, {"helper.py": HELPER.replace("+ 1", "+ 4")})
    os.utime(toy / "helper.py", (1, 1))
    assert ask(tmp_path) == [((48, 24), [0, 0])]
    write(toy, {"rules.py": rules.replace("2 *", "3 *")})
    os.utime(toy / "rules.py", (1, 1))
    assert ask(tmp_path) == [((72, 24), [0, 0])]


def test_files_may_import_each_other(tmp_path, toy):
    write(toy, {"helper.py": HELPER + "\n\nfrom toy import rules\n"})
    write(toy, {"rules.py": KERNEL.format(imports="from toy.helper import changed", call="changed")})
    for hits in ([0, 0], [1, 1]):
        assert ask(tmp_path) == [((42, 21), hits)]


def test_helpers_of_this_package_count(tmp_path):
    """A game elsewhere inlines a helper of scoundrel_ray: that file is in its stamp, as are those that it imports."""
    (tmp_path / "elsewhere.py").write_text("from scoundrel_ray.games import blob_state\n", encoding="utf-8")
    code = (
        "import elsewhere\nfrom scoundrel_ray import compiled_cache as c\n"
        "print(*sorted(path.name for path in c._sources('elsewhere')))"
    )
    settings = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=settings, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    names = done.stdout.split()
    assert {"elsewhere.py", "blob_state.py", "compiled.py", "rng.py"} <= {*names}
    assert "blob.py" not in names and "scoundrel.py" not in names
