"""A spec says what observations are, and is refused where nothing could be built by it."""

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest

from scoundrel_ray.experience.rows import UnknownRows, check_given, chosen, decision_dtype
from scoundrel_ray.games import blob
from scoundrel_ray.spec import Field, InvalidSpec, Spec, random_observations

CODES = Spec("codes", (Field("view", 3, 0, 200), Field("left", 1, 0, 9, "number")), 5, 2, 4, dtype="uint8")
NUMBERS = Spec("numbers", (Field("speed", 2, -np.inf, np.inf, "number"), Field("angle", 1, -2, 2, "number")), 2, 1, 2,
               dtype="float32")  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": 0}, "actions is 0, wanted an integer >= 1"),
        ({"values": True}, "values is True"),
        ({"most_legal": 1.5}, "most_legal is 1.5"),
        ({"dtype": "int64"}, "dtype is 'int64', wanted one of int8, uint8, float32"),
        ({"observation": ()}, "wanted at least one field"),
        ({"observation": (Field("a", 1, 0, 1), Field("a", 2, 0, 1))}, "each with its own name"),
        ({"value_range": (1.0, 1.0)}, "value_range"),
        ({"dtype": "int8"}, "field view: wanted whole numbers with -128 <= low < high <= 127"),
        ({"observation": (Field("a", 1, -1, 1),)}, "field a: wanted whole numbers with 0 <= low"),
        ({"observation": (Field("a", 1, 0, 0.5, "number"),)}, "field a: wanted whole numbers"),
        ({"dtype": "float32"}, "field view: a category in float32"),
    ],
    ids=str,
)
def test_what_nothing_can_be_built_by_is_refused(changes, message):
    with pytest.raises(InvalidSpec, match=message):
        dataclasses.replace(CODES, **changes)


@pytest.mark.parametrize(("size", "low", "kind"), [(0, 0, "category"), (1, 1, "category"), (1, 0, "colour")])
def test_a_field_without_entries_range_or_kind_is_refused(size, low, kind):
    with pytest.raises(InvalidSpec, match="field a: "):
        Field("a", size, low, 1, kind)


@pytest.mark.parametrize("spec", [CODES, NUMBERS, blob.make().spec], ids=lambda spec: spec.name)
def test_random_observations_fill_every_field_and_nothing_beyond(spec):
    drawn, at = random_observations(spec, 2000), 0
    assert drawn.dtype == spec.dtype and drawn.shape == (2000, spec.observation_size)
    for part in spec.observation:
        entries = drawn[:, at : at + part.size]
        assert entries.min() >= max(part.low, -np.inf) and entries.max() <= part.high
        if spec.dtype != "float32" and part.high - part.low < 100:
            assert set(np.unique(entries)) == set(range(int(part.low), int(part.high) + 1))
        at += part.size


def test_a_spec_is_plain_data_that_a_game_makes():
    game = blob.make()
    assert pickle.loads(pickle.dumps(game.spec)) == game.spec
    known = game.spec.as_dict()
    assert known["game"] == "blob" and known["options"] == dict(game.options) and known["seats"] == game.seats
    assert "dtype" not in known and CODES.as_dict()["dtype"] == "uint8"
    assert known["observation"][0] == [game.observation[0].name, *dataclasses.astuple(game.observation[0])[1:]]


LIGHT = [
    "spec", "streams", "settings.checks", "settings.build", "settings.earlier", "storage.durable", "storage.nested",
    "storage.directory", "storage.weights", "experience.rows", "experience.limiter", "experience.samplers",
    "experience.replay", "runs.settings", "runs.plan",
]  # fmt: skip


def test_who_needs_only_sizes_loads_no_compiler_no_torch_and_no_ray():
    lines = ["import sys, importlib"]
    for module in LIGHT:  # in one process, each in its turn
        lines.append(f"importlib.import_module('scoundrel_ray.{module}')")
        lines.append(f"print(*['{module}: ' + name for name in ('numba', 'torch', 'ray') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_learners_get_the_fields_that_they_declared_and_no_others():
    given = decision_dtype(CODES)
    rows = np.zeros(3, given)
    rows["value"], rows["version"] = np.arange(6).reshape(3, 2), [4, 5, 6]
    assert chosen(rows, given) is rows
    wanted = np.dtype([("version", np.int32), ("value", np.float32, (2,))])
    check_given(wanted, given)
    found = chosen(rows, wanted)
    assert found.dtype == wanted and found["version"].tolist() == [4, 5, 6]
    assert found["value"].tolist() == rows["value"].tolist()
    with pytest.raises(UnknownRows, match="wants rows with 'reward', the source gives observation, actions"):
        check_given(np.dtype([("reward", np.float32)]), given)
    with pytest.raises(UnknownRows, match=r"wants rows with 'value' of .*, the source gives "):
        check_given(np.dtype([("value", np.float32, (3,))]), given)
