"""Records and their directory: in whatever order they come, however often a writer is killed, the same bytes."""

import json
import random

import numpy as np
import pytest

from scoundrel_ray.missions.episode import Failure, Outcome
from scoundrel_ray.missions.record import EPISODES, IDENTITY, UNSORTED, Key, Results, key_of, line_of, record_of
from scoundrel_ray.settings.checks import InvalidConfig

IDENTITY_OF = {"seed": 5, "missions": {"m": {"steps": 0}, "n": {"steps": 3}}, "policies": ["a", "b"]}
KEYS = [Key(mission, "", episode) for mission in ("n", "m") for episode in range(8)]


def record(key, failure=None):
    dice = np.random.default_rng([ord(key.mission), key.episode])
    outcome = Outcome(
        key.episode, np.array([0, -1, 1]), dice.random(3), np.array([3, 0, 4]), ["terminated", "cut", "truncated"],
        7, "00ff", failure,
    )  # fmt: skip
    return record_of(key.mission, key.member, 5, ["x", "y", "z"], ["a", "b"], outcome)


def results(path, identity=IDENTITY_OF, noted="1"):
    return Results(path, identity, {"version": noted})


def test_a_record_tells_who_got_what():
    found = record(KEYS[3])
    assert key_of(found) == KEYS[3] and found["seed"] == 8 and found["failure"] is None
    assert set(found["agents"]) == {"x", "z"}, "who was not there is not told of"
    assert found["agents"]["z"]["policy"] == "b" and found["agents"]["z"]["end"] == "truncated"
    assert json.loads(line_of(found)) == found
    failed = record(KEYS[3], Failure("policy", "no", "x", 2))
    assert failed["agents"]["x"]["return"] is None and failed["failure"]["step"] == 2, "what failed is not scored"


def test_the_file_is_the_same_in_whatever_order_records_came(tmp_path):
    whole = b"".join(line_of(record(key)) for key in KEYS)
    for seed in range(3):
        order = KEYS.copy()
        random.Random(seed).shuffle(order)
        with results(tmp_path / str(seed)) as found:
            for key in order:
                assert key not in found
                found.add(record(key))
                assert key in found
            found.sort(KEYS)
            assert [key_of(each) for each in found.records(KEYS)] == KEYS
        assert (tmp_path / str(seed) / EPISODES).read_bytes() == whole
        assert not (tmp_path / str(seed) / UNSORTED).exists()


def test_it_goes_on_after_a_kill_in_the_middle_of_a_line(tmp_path):
    with results(tmp_path / "r") as found:
        for key in KEYS[:5]:
            found.add(record(key))
    with (tmp_path / "r" / UNSORTED).open("ab") as file:
        file.write(line_of(record(KEYS[5]))[:-9])
    with results(tmp_path / "r", noted="2") as found:  # other versions of packages are no other evaluation
        assert [key in found for key in KEYS] == [True] * 5 + [False] * 11
        for key in KEYS[5:]:
            found.add(record(key))
        found.sort(KEYS)
    assert (tmp_path / "r" / EPISODES).read_bytes() == b"".join(line_of(record(key)) for key in KEYS)
    with results(tmp_path / "r") as found:  # more episodes later
        more = Key("m", "", 8)
        assert all(key in found for key in KEYS) and more not in found
        found.add(record(more))
        found.sort([*KEYS, more])
    assert (tmp_path / "r" / EPISODES).read_bytes() == b"".join(line_of(record(key)) for key in [*KEYS, more])


def test_what_failed_is_played_again_and_counts_once(tmp_path):
    with results(tmp_path / "r") as found:
        found.add(record(KEYS[0], Failure("worker", "it died", "", 0)))
        found.add(record(KEYS[1]))
        found.sort(KEYS)
        assert len((tmp_path / "r" / EPISODES).read_bytes().splitlines()) == 2
    with results(tmp_path / "r") as found:
        assert KEYS[0] not in found and KEYS[1] in found
        found.add(record(KEYS[0]))
        found.sort(KEYS)
    assert (tmp_path / "r" / EPISODES).read_bytes() == b"".join(line_of(record(key)) for key in KEYS[:2])


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ({**IDENTITY_OF, "seed": 6}, "seed is 5 there and 6 now"),
        ({**IDENTITY_OF, "missions": {"m": {"steps": 0}}}, "missions.n is {'steps': 3} there and None now"),
        ({**IDENTITY_OF, "policies": ["a", "c"]}, r"policies\[1\] is 'b' there and 'c' now"),
        ({**IDENTITY_OF, "policies": ["a"]}, "policies is "),
    ],
)
def test_another_evaluation_is_refused(tmp_path, identity, message):
    results(tmp_path / "r").close()
    with pytest.raises(InvalidConfig, match=message):
        results(tmp_path / "r", identity)


def test_a_directory_that_is_in_use_or_foreign_is_refused(tmp_path):
    with results(tmp_path / "r"), pytest.raises(InvalidConfig, match="is in use by another evaluation"):
        results(tmp_path / "r")
    (tmp_path / "r" / "notes.txt").write_text("mine")
    with pytest.raises(InvalidConfig, match=r"which holds notes\.txt, wanted an evaluation's own directory"):
        results(tmp_path / "r")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / EPISODES).write_bytes(line_of(record(KEYS[0])))
    with pytest.raises(InvalidConfig, match=f"holds episodes but no {IDENTITY}"):
        results(tmp_path / "s")
    results(tmp_path / "t").close()
    (tmp_path / "t" / UNSORTED).write_bytes(b'{"mission": 3}\n')
    with pytest.raises(InvalidConfig, match="holds what is no record"):
        results(tmp_path / "t")


def test_another_schema_is_refused(tmp_path):
    results(tmp_path / "r").close()
    file = tmp_path / "r" / IDENTITY
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "schema": 0}))
    with pytest.raises(InvalidConfig, match="schema is 0 there and 1 now"):
        results(tmp_path / "r")
