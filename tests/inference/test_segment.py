"""The layout of shared memory, and the directory that it lies in: round trips, refusals, what is swept."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from inference import segment as segment_module
from inference import shm_directory
from inference.batcher import QueueFull
from inference.errors import NonFiniteOutput, raised, told
from inference.segment import DOORBELL_BYTES, Segment, Shape, doorbell, doorbells
from inference.shm_directory import ROOT_VARIABLE, Refused, ShmDirectory, files, shared_root, sweep
from scoundrel_ray.evaluator import Evaluation, EvaluatorGone

SHAPE = Shape(slots=3, leaves=7, observation_size=5, heads=((3,), (2,)))


@pytest.fixture
def segment(tmp_path):
    return Segment.create(tmp_path / "a", SHAPE, "token")


def observations(count, seed=0, size=SHAPE.observation_size):
    return np.random.default_rng(seed).integers(-128, 128, (count, size), dtype=np.int8)


def evaluation(count, seed=0, version=4):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, 3)).astype(np.float32)
    return Evaluation((logits, generator.normal(size=(count, 2)).astype(np.float32)), version)


def assert_equal(got, wanted):
    for name in ("logits", "values"):
        assert getattr(got, name).dtype == np.float32
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))
    assert got.version == wanted.version


def test_what_one_side_writes_the_other_reads(segment, tmp_path):
    client = Segment.attach(tmp_path / "a", SHAPE, "token")
    for slot, count in enumerate((1, 7, 0)):
        client.write_request(slot, 2**40 + slot, [(0, observations(count, slot))])
    for slot, count in enumerate((1, 7, 0)):  # none has overwritten another
        assert segment.sequence(slot) == 2**40 + slot
        ((agent, asked),) = segment.request(slot)
        assert agent == 0
        np.testing.assert_array_equal(asked, observations(count, slot))
        segment.write_answers(slot, 2**40 + slot, [evaluation(count, slot, version=2**33)])
    for slot, count in enumerate((1, 7, 0)):
        assert client.reply(slot) == (2**40 + slot, 0, "")
        (answer,) = client.answers(slot)
        assert_equal(answer, evaluation(count, slot, version=2**33))
        ((_, asked),) = client.request(slot)
        np.testing.assert_array_equal(asked, observations(count, slot))


def test_parts_lie_one_behind_the_other_each_with_a_version_of_its_own(tmp_path):
    shape = SHAPE._replace(agents=4)
    server = Segment.create(tmp_path / "a", shape, "token")
    client = Segment.attach(tmp_path / "a", shape, "token")
    asked = {slot: [(3, 2), (0, 0), (2, 4), (1, 1)][slot:] for slot in range(3)}
    for slot, parts in asked.items():
        client.write_request(slot, slot + 1, [(agent, observations(count, agent)) for agent, count in parts])
    for slot, parts in asked.items():
        got = server.request(slot)
        assert [(agent, len(rows)) for agent, rows in got] == parts
        for agent, rows in got:
            np.testing.assert_array_equal(rows, observations(len(rows), agent))
        server.write_answers(slot, slot + 1, [evaluation(n, agent, version=2**40 + agent) for agent, n in parts])
    for slot, parts in asked.items():
        answers = client.answers(slot)
        for answer, (agent, count) in zip(answers, parts, strict=True):
            assert_equal(answer, evaluation(count, agent, version=2**40 + agent))
    client.renumber(1, 9)
    assert server.sequence(1) == 9 and len(server.request(1)) == 3


@pytest.mark.parametrize(
    ("count", "table", "told"),
    [
        (0, [], "0 parts of 0 leaves"),
        (5, [(0, 1)] * 4, "5 parts of 4 leaves"),
        (2**32 - 1, [(0, 1)] * 4, "4294967295 parts"),
        (2, [(0, 4), (1, 4)], "2 parts of 8 leaves, in a slot of 4 agents and 7 leaves"),
        (2, [(0, 2**32 - 1), (1, 2**32 - 1)], "2 parts of 8589934590 leaves"),
        (2, [(0, 3), (4, 4)], "agent number 4, of 4 agents"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_whatever_the_memory_holds(tmp_path, count, table, told):
    segment = Segment.create(tmp_path / "a", SHAPE._replace(agents=4), "token")
    segment.write_request(1, 1, [(agent, observations(1)) for agent in range(4)])
    segment._arrays[1][0][: len(table)] = np.array(table, np.uint32).reshape(-1, 2)
    segment_module._REQUEST.pack_into(segment._memory, segment._starts[1], 1, count)
    for use in (lambda: segment.request(1), lambda: segment.write_answers(1, 1, [evaluation(1)] * 4)):
        with pytest.raises(ValueError, match=told):
            use()


def test_an_answer_is_a_copy(segment):
    segment.write_request(0, 1, [(0, observations(7))])
    segment.write_answers(0, 1, [evaluation(7, 1)])
    (kept,) = segment.answers(0)
    segment.write_answers(0, 2, [evaluation(7, 2)])
    assert_equal(kept, evaluation(7, 1))


def test_an_error_is_told_with_its_text(segment):
    segment.write_error(1, 9, 2, "weights were \N{SNOWMAN}")
    assert segment.reply(1) == (9, 2, "weights were \N{SNOWMAN}")
    segment.write_error(1, 10, 1, "long " * 1000)
    assert segment.reply(1).text.startswith("long long") and len(segment.reply(1).text) < 1000
    segment.write_request(1, 11, [(0, observations(7))])
    segment.write_answers(1, 11, [evaluation(7)])
    assert segment.reply(1) == (11, 0, "")


@pytest.mark.parametrize(
    "error",
    [EvaluatorGone("gone"), NonFiniteOutput("agent a, weights version 3"), QueueFull("full"), ValueError("bad")],
)
def test_errors_that_matter_stay_what_they_are(error):
    again = raised(*told(error))
    assert type(again) is type(error) and str(again) == str(error)


def test_other_errors_name_their_type():
    assert str(raised(*told(KeyError("x")))) == "KeyError: 'x'"
    assert type(raised(*told(KeyError("x")))) is RuntimeError
    assert type(raised(*told(UnicodeError("x")))) is ValueError
    assert type(raised(77, "from a later version")) is RuntimeError


@pytest.mark.parametrize(
    "asked",
    [
        [observations(8)],
        [observations(2, size=4)],
        [observations(2).astype(np.int16)],
        [observations(2)[0]],
        [observations(4), observations(4)],
        [observations(2), observations(2), observations(2)],
        [],
    ],
    ids=["too many", "too narrow", "wrong type", "one row", "too many together", "too many agents", "nothing"],
)
def test_what_a_slot_cannot_hold_is_refused(tmp_path, asked):
    segment = Segment.create(tmp_path / "a", SHAPE._replace(agents=2), "token")
    parts = list(enumerate(asked))
    assert not segment.fits(parts)
    with pytest.raises(ValueError, match=r"wanted int8 \[at most 7, 5\] in all, of at most 2 agents"):
        segment.write_request(0, 1, parts)


def test_an_answer_of_another_size_is_refused(segment):
    segment.write_request(0, 1, [(0, observations(3))])
    wrong = Evaluation((evaluation(3).logits, np.zeros((3, 1), np.float32)), 0)
    for answers in ([evaluation(4)], [wrong], [], [evaluation(3), evaluation(3)]):
        with pytest.raises(ValueError, match="wanted"):
            segment.write_answers(0, 1, answers)


def test_a_foreign_file_is_refused(segment, tmp_path):
    with pytest.raises(ValueError, match="other"):
        Segment.attach(tmp_path / "a", SHAPE, "other")
    with pytest.raises(ValueError, match="wanted"):
        Segment.attach(tmp_path / "a", SHAPE._replace(leaves=8), "token")
    (tmp_path / "short").write_bytes(b"x" * 10)
    with pytest.raises(ValueError, match="no segment"):
        Segment.attach(tmp_path / "short", SHAPE, "token")
    (tmp_path / "noise").write_bytes(b"x" * SHAPE.size)
    with pytest.raises(ValueError, match="wanted"):
        Segment.attach(tmp_path / "noise", SHAPE, "token")
    with pytest.raises(FileNotFoundError):
        Segment.attach(tmp_path / "none", SHAPE, "token")
    with pytest.raises(ValueError, match="at least 1"):
        Segment.create(tmp_path / "empty", SHAPE._replace(leaves=0), "token")
    with pytest.raises(ValueError, match="at least 1"):
        Segment.create(tmp_path / "nobody", SHAPE._replace(agents=0), "token")


def test_records_come_out_as_they_went_in():
    data = doorbell(1, 0) + doorbell(2**63, 2)
    assert len(data) == 2 * DOORBELL_BYTES
    assert doorbells(data) == [(1, 0), (2**63, 2)]


def test_a_directory_is_private_and_gone_when_closed(tmp_path):
    directory = ShmDirectory(tmp_path)
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    first, segment = directory.make(SHAPE)
    second, _ = directory.make(SHAPE)
    assert all(file.exists() for base in (first, second) for file in files(base))
    assert files(first)[0].stat().st_blocks * 512 >= SHAPE.size  # reserved, not only promised
    directory.remove(first)
    assert sorted(directory.path.iterdir()) == sorted(files(second))
    segment.write_request(0, 1, [(0, observations(2))])  # whoever has it open keeps it
    directory.close()
    assert not list(tmp_path.iterdir())


def test_dead_owners_are_swept_and_live_ones_never(tmp_path):
    mine = ShmDirectory(tmp_path)
    mine.make(SHAPE)
    script = "import sys; from pathlib import Path; from inference.shm_directory import *; "
    script += f"d = ShmDirectory(Path({str(tmp_path)!r})); d.make(Shape(1, 1, 1, ((1,),))); "
    script += "print(d.path, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin and other.stdout
        theirs = tmp_path / os.path.basename(other.stdout.readline().decode().strip())
        assert theirs.is_dir() and theirs != mine.path
        sweep(tmp_path)
        assert theirs.is_dir() and mine.path.is_dir()
        other.kill()
        other.wait()
    prefix, user, namespace, pid, started, token = mine.path.name.split("-")
    # Same number, another process: it started at another time.
    (tmp_path / "-".join((prefix, user, namespace, pid, "1", token))).mkdir()
    foreign = tmp_path / "-".join((prefix, user, "1", pid, started, token))
    foreign.mkdir()
    (tmp_path / "scoundrel_ray-else").mkdir()
    fresh = ShmDirectory(tmp_path)
    left = {mine.path, fresh.path, foreign, tmp_path / "scoundrel_ray-else"}
    assert set(tmp_path.iterdir()) == left


def test_shared_memory_lies_where_the_environment_says_else_where_the_system_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    directory = ShmDirectory()
    assert directory.path.parent == shared_root() == tmp_path
    directory.close()
    for unset in (lambda: monkeypatch.setenv(ROOT_VARIABLE, ""), lambda: monkeypatch.delenv(ROOT_VARIABLE)):
        unset()
        assert str(shared_root()) == "/dev/shm"


def test_a_server_sweeps_its_own_root_alone(tmp_path, monkeypatch):
    """Runs that name roots of their own leave one another alone, whatever has died there."""
    roots = [tmp_path / "one", tmp_path / "other"]
    for root in roots:
        root.mkdir()
    name = ShmDirectory(roots[0]).path.name.split("-")
    dead = "-".join([*name[:4], "1", name[5]])  # of a process with this number that started at another time
    for root in roots:
        (root / dead).mkdir()
    monkeypatch.setenv(ROOT_VARIABLE, str(roots[1]))
    fresh = ShmDirectory()
    assert {path.name for path in roots[1].iterdir()} == {fresh.path.name}
    assert {path.name for path in roots[0].iterdir()} == {dead, "-".join(name)}


def test_too_small_a_file_system_is_told_before_anything_is_made(tmp_path, monkeypatch):
    directory = ShmDirectory(tmp_path)
    shape = SHAPE._replace(leaves=100_000)
    there = os.statvfs(tmp_path)
    scarce = os.statvfs_result((there.f_bsize, 4096, 1000, 500, 500, *tuple(there)[5:]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda path: scarce)
        with pytest.raises(Refused, match=r"is too small: a segment takes 7\.\d+ MiB, 1\.95 MiB are free"):
            directory.make(shape)
    assert not list(directory.path.iterdir())


def test_pages_that_cannot_be_reserved_are_told_and_nothing_is_left(tmp_path, monkeypatch):
    directory = ShmDirectory(tmp_path)

    def full(file, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(Refused, match="too small"):
        directory.make(SHAPE)
    assert not list(directory.path.iterdir())


def test_a_machine_without_shared_memory_is_told(tmp_path, monkeypatch):
    with pytest.raises(Refused, match=r"has no .*nowhere"):
        ShmDirectory(tmp_path / "nowhere")
    monkeypatch.setattr(shm_directory.sys, "platform", "darwin")
    with pytest.raises(Refused, match="darwin"):
        ShmDirectory(tmp_path)
