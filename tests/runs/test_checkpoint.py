"""What is written is read back the same or refused; killed and failed writers leave the previous checkpoint whole."""

import dataclasses
import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from scoundrel_ray.runs import checkpoint
from scoundrel_ray.runs.directory import RunDirectory, fresh_path, newest_checkpoint, saved_config
from scoundrel_ray.settings.checks import InvalidConfig
from scoundrel_ray.storage import directory as storage
from scoundrel_ray.storage import durable
from scoundrel_ray.storage.directory import read_directory, write_directory
from scoundrel_ray.storage.durable import Damaged, StorageError
from scoundrel_ray.storage.weights import load_weights, save_weights
from tests.test_network import game_of

CONTENT = {
    "counters": {"steps": 7, "seconds": 1.5, "name": "ä", "none": None, "list": [1, [True, "x"], {}]},
    "learner": {
        "weights": {"a": np.arange(6, dtype=np.float32).reshape(2, 3)},
        "moments": {"0": {"step": np.float32(3)}},
    },
    "rows": np.array([(1, [2, 3])], dtype=[("x", np.int8), ("y", np.float32, (2,))]),
    "replay": {"rows": np.array([(1, 2.0)], dtype=[("x", np.int8), ("y", np.float32)]), "at": np.int64(4)},
    "notes.txt": "two\nlines",
    "raw.bin": b"\x00\xff",
}  # fmt: skip


def assert_same(got, wanted):
    if isinstance(wanted, np.ndarray):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
    elif isinstance(wanted, dict):
        assert got.keys() == wanted.keys()
        for key in wanted:
            assert_same(got[key], wanted[key])
    elif isinstance(wanted, list):
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted, strict=True):
            assert_same(a, b)
    else:
        assert got == wanted


def test_every_kind_of_content_comes_back(tmp_path):
    path = checkpoint.save(tmp_path, CONTENT)
    assert_same(checkpoint.load(path), CONTENT)
    assert_same(checkpoint.load(path, ["notes.txt"]), {"notes.txt": CONTENT["notes.txt"]})
    with pytest.raises(StorageError, match="it holds no 'weights', only counters, learner"):
        checkpoint.load(path, ["weights"])


ARRAYS = st.builds(
    lambda kind, shape: np.random.default_rng(len(shape)).integers(0, 2, shape).astype(kind),
    st.sampled_from(["int8", "uint64", "float32", "float64", "bool"]),
    st.lists(st.integers(0, 3), max_size=3),
)
PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=5)
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="/"), max_size=4).filter(lambda key: key != "$array")
TREES = st.recursive(
    PLAIN | ARRAYS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


@settings(max_examples=60, deadline=None)
@given(tree=st.dictionaries(KEYS, TREES, max_size=3))
def test_any_tree_comes_back(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("trees") / "one"
    write_directory(path, {"tree": tree})
    assert_same(read_directory(path)["tree"], tree)


def test_large_arrays_are_streamed_and_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_LARGE_BYTES", 64)
    array = np.arange(100, dtype=np.int32)
    path = checkpoint.save(tmp_path, {"tree": {"large": array, "small": array[:3]}})
    assert (path / "tree.0.npy").exists()
    got = checkpoint.load(path)["tree"]
    assert isinstance(got["large"], np.memmap) and not got["large"].flags.writeable
    assert_same(got, {"large": array, "small": array[:3]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"tree": {"a": object()}}, "cannot store tree/a: a object"),
        ({"tree": {"a": [0, {1: 2}]}}, "cannot store tree/a/1: key 1, wanted a text"),
        ({"tree": {"a/b": 1}}, "cannot store tree: key 'a/b', wanted a text without '/'"),
        ({"tree": {"a": np.array([object()])}}, "cannot store tree/a: an array of object would need pickle"),
        ({"x": np.array(["a", None])}, "cannot store x: an array of object would need pickle"),
        ({"../x": 1}, "cannot store '../x': wanted a plain file name"),
        ({"manifest.json": "mine"}, "cannot store 'manifest.json' twice"),
    ],
)
def test_what_no_file_could_hold_is_named_and_leaves_nothing(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        checkpoint.save(tmp_path, content)
    assert not any((tmp_path / "checkpoints").iterdir())


def test_the_newest_are_kept(tmp_path):
    paths = [checkpoint.save(tmp_path, {"counters": {"steps": step}}, keep=2) for step in range(5)]
    assert checkpoint.checkpoints(tmp_path) == paths[-2:]
    assert checkpoint.latest(tmp_path) == paths[-1]
    assert [path.name for path in paths] == [f"{n:06d}" for n in range(1, 6)]
    assert checkpoint.latest(tmp_path / "none") is None
    with pytest.raises(ValueError, match="keep is 0, wanted at least 1"):
        checkpoint.save(tmp_path, {}, keep=0)


def test_the_manifest_tells_the_libraries(tmp_path):
    path = checkpoint.save(tmp_path, CONTENT)
    about = json.loads((path / storage.MANIFEST).read_text())["about"]
    assert {"python", "torch", "ray", "numpy"} <= about["libraries"].keys()


# Damage


def damage(path, how):
    data = path.read_bytes()
    if how == "flipped":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif how == "cut":
        path.write_bytes(data[:-1])
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["flipped", "cut", "removed"])
def test_every_damaged_file_is_noticed(tmp_path, how):
    names = sorted(file.name for file in checkpoint.save(tmp_path / "names", CONTENT).iterdir())
    assert len(names) == 9
    for name in names:
        path = checkpoint.save(tmp_path / name, CONTENT)
        damage(path / name, how)
        if name == storage.MANIFEST and how == "flipped":
            (path / name).write_bytes((path / name).read_bytes()[:-1] + b"\x00")
        with pytest.raises(StorageError, match="cannot read") as caught:
            checkpoint.load(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_every_flipped_bit_of_a_checkpoint_is_noticed(tmp_path):
    path, generator = checkpoint.save(tmp_path, CONTENT), np.random.default_rng(0)
    files = sorted(path.iterdir())
    for number in range(300):
        file = files[number % len(files)]
        data = file.read_bytes()
        bit = int(generator.integers(8 * len(data)))
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        with pytest.raises(StorageError, match="cannot read") as caught:
            checkpoint.load(path)
        assert "\n" not in str(caught.value)
        file.write_bytes(data)
    assert_same(checkpoint.load(path), CONTENT)


def test_a_checkpoint_of_a_newer_version_is_refused_and_one_of_an_older_read(tmp_path):
    path = checkpoint.save(tmp_path, {"x": "text"})
    manifest = json.loads((path / storage.MANIFEST).read_text())
    (path / storage.MANIFEST).write_text(json.dumps({**manifest, "format": 7}))
    with pytest.raises(StorageError, match="its format is 7, wanted at most 2"):
        checkpoint.load(path)
    older = {name: value for name, value in manifest.items() if name != "crc32"}
    (path / storage.MANIFEST).write_text(json.dumps({**older, "format": 1}))
    assert checkpoint.load(path) == {"x": "text"}


def test_the_checkpoint_before_a_damaged_one_is_used_and_named(tmp_path, caplog):
    for steps in range(3):
        checkpoint.save(tmp_path, {"counters": {"steps": steps}})
    newest = checkpoint.latest(tmp_path)
    damage(newest / "counters.json", "flipped")
    with caplog.at_level("WARNING"):
        assert checkpoint.newest_whole(tmp_path, checkpoint.load) == {"counters": {"steps": 1}}
    (told,) = caplog.messages
    assert str(newest) in told and told.endswith("the checkpoint before, 000002, is used in its place")
    for path in checkpoint.checkpoints(tmp_path)[:-1]:
        damage(path / "counters.json", "removed")
    with pytest.raises(Damaged, match=rf"cannot read {newest}/counters.json: its bytes are not those"):
        checkpoint.newest_whole(tmp_path, checkpoint.load)


def test_a_checkpoint_of_a_newer_version_is_not_passed_over(tmp_path):
    checkpoint.save(tmp_path, {"x": "text"})
    path = checkpoint.save(tmp_path, {"x": "text"})
    manifest = json.loads((path / storage.MANIFEST).read_text())
    (path / storage.MANIFEST).write_text(json.dumps({**manifest, "format": 7}))
    with pytest.raises(StorageError, match="its format is 7"):
        checkpoint.newest_whole(tmp_path, checkpoint.load)


def test_a_manifest_that_points_elsewhere_is_refused(tmp_path):
    """A checkpoint from a stranger must not read files outside of it."""
    path = checkpoint.save(tmp_path, {"raw.bin": b"x"})
    manifest = json.loads((path / storage.MANIFEST).read_text())
    (tmp_path / "secret").write_bytes(b"x")
    manifest["content"] = {"../../secret": "bytes"}
    manifest["files"] = {"../../secret": manifest["files"]["raw.bin"]}
    manifest["crc32"] = storage._checksum(manifest)
    (path / storage.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match="the manifest names no such file"):
        checkpoint.load(path)


def test_nothing_is_unpickled(tmp_path):
    path = checkpoint.save(tmp_path, {"rows": np.arange(3)})

    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harmed"),)

    with (path / "rows.npy").open("wb") as file:
        np.lib.format.write_array(file, np.array([Harm()], dtype=object), allow_pickle=True)
    data = (path / "rows.npy").read_bytes()
    manifest = json.loads((path / storage.MANIFEST).read_text())
    manifest["files"]["rows.npy"] = {"bytes": len(data), "crc32": storage.zlib.crc32(data)}
    manifest["crc32"] = storage._checksum(manifest)
    (path / storage.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match="cannot read rows"):
        checkpoint.load(path)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(pickle.dumps(Harm()))
    with pytest.raises(StorageError, match="damaged, or no weights file"):
        load_weights(weights)
    assert not (tmp_path / "harmed").exists()


# Writers that fail


def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path, monkeypatch):
    first = checkpoint.save(tmp_path, CONTENT, keep=1)
    real, written = os.fsync, []

    def full(handle):
        written.append(handle)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot write .*000002: No space left on device"):
        checkpoint.save(tmp_path, CONTENT, keep=1)
    monkeypatch.undo()
    assert list((tmp_path / "checkpoints").iterdir()) == [first]
    assert_same(checkpoint.load(first), CONTENT)
    assert checkpoint.save(tmp_path, CONTENT, keep=1).name == "000002"


@pytest.mark.parametrize("at", [1, 3, 6, 9])
def test_a_killed_writer_leaves_the_previous_checkpoint_whole(tmp_path, at):
    """The process dies at its `at`th flush; the next writer sweeps up what it left."""
    first = checkpoint.save(tmp_path, CONTENT)
    script = (
        "import os, signal, sys\n"
        "import numpy as np\n"
        "from scoundrel_ray.runs import checkpoint\nfrom scoundrel_ray.storage import durable\n"
        "count, real = [0], os.fsync\n"
        "def fsync(handle):\n"
        "    count[0] += 1\n"
        f"    os.kill(os.getpid(), signal.SIGKILL) if count[0] == {at} else real(handle)\n"
        "durable.os.fsync = fsync\n"
        "content = {f'rows{i}': np.arange(1000) for i in range(12)}\n"
        "checkpoint.save(sys.argv[1], content, keep=1)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=300, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert checkpoint.checkpoints(tmp_path) == [first]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2, "the dead writer left something half-written"
    second = checkpoint.save(tmp_path, CONTENT)
    assert sorted((tmp_path / "checkpoints").iterdir()) == [first, second]
    assert_same(checkpoint.load(second), CONTENT)


def test_an_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file/checkpoints/000001: Not a directory"):
        checkpoint.save(tmp_path / "file", CONTENT)


# Weights files


def weights_file(path, game="scoundrel", **options):
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(1, np.float32)}
    spec = game_of(game).spec
    spec = dataclasses.replace(spec, identity={**spec.identity, "options": {**spec.identity["options"], **options}})
    save_weights(path, arrays, spec, {"_target_": "x.Y", "width": 3}, version=12)
    return arrays, spec


def test_weights_come_back(tmp_path):
    arrays, spec = weights_file(tmp_path / "w")
    saved = load_weights(tmp_path / "w", spec)
    assert_same(saved.arrays, arrays)
    assert (saved.version, saved.network) == (12, {"_target_": "x.Y", "width": 3})
    assert load_weights(tmp_path / "w").specification == saved.specification


def test_weights_of_another_game_are_refused(tmp_path):
    weights_file(tmp_path / "w")
    with pytest.raises(StorageError, match=r"made for another game: game is 'scoundrel', wanted 'connect_four'"):
        load_weights(tmp_path / "w", game_of("connect_four").spec)


def test_weights_of_other_rules_are_refused(tmp_path):
    option = next(iter(game_of("scoundrel").options))
    weights_file(tmp_path / "w", **{option: "another"})
    with pytest.raises(StorageError, match=rf"options\.{option} is 'another', wanted "):
        load_weights(tmp_path / "w", game_of("scoundrel").spec)


@pytest.mark.parametrize("how", ["flipped", "cut", "removed"])
def test_damaged_weights_are_refused(tmp_path, how):
    weights_file(tmp_path / "w")
    damage(tmp_path / "w", how)
    with pytest.raises(StorageError, match="cannot read"):
        load_weights(tmp_path / "w")


def test_every_flipped_bit_of_a_weights_file_is_noticed(tmp_path):
    arrays, spec = weights_file(tmp_path / "w")
    data, generator = (tmp_path / "w").read_bytes(), np.random.default_rng(0)
    for bit in generator.choice(8 * len(data), size=120, replace=False):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        (tmp_path / "w").write_bytes(changed)
        with pytest.raises(StorageError, match=r"cannot read .*w: ") as caught:
            load_weights(tmp_path / "w")
        assert "\n" not in str(caught.value)
    (tmp_path / "w").write_bytes(data)
    assert_same(load_weights(tmp_path / "w", spec).arrays, arrays)


def test_weights_of_before_the_checksum_covered_their_metadata_are_read(tmp_path):
    arrays, spec = weights_file(tmp_path / "w")
    crc32 = 0
    for name in sorted(arrays):
        crc32 = zlib.crc32(f"{name}{arrays[name].shape}".encode(), crc32)
        crc32 = zlib.crc32(arrays[name].tobytes(), crc32)
    metadata = {"specification": json.dumps(spec.as_dict()), "network": "{}", "version": "7", "crc32": str(crc32)}
    safetensors.numpy.save_file(arrays, tmp_path / "old", {"format": "scoundrel_ray weights 1", **metadata})
    assert load_weights(tmp_path / "old", spec).version == 7
    safetensors.numpy.save_file(arrays, tmp_path / "new", {"format": "scoundrel_ray weights 2", **metadata})
    with pytest.raises(StorageError, match="not those that were written"):
        load_weights(tmp_path / "new")


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    safetensors.numpy.save_file({"a": np.ones(1)}, tmp_path / "w")
    with pytest.raises(StorageError, match=r"its format is None, wanted 'scoundrel_ray weights 2'"):
        load_weights(tmp_path / "w")


def test_weights_are_float32(tmp_path):
    with pytest.raises(ValueError, match="weights a are float64, wanted float32"):
        save_weights(tmp_path / "w", {"a": np.ones(1)}, {}, {})


# A run's directory


def test_one_writer_to_a_run_at_a_time(tmp_path):
    first = RunDirectory.new(tmp_path / "run", {"game": {"_target_": "x"}, "seed": 3})
    with pytest.raises(InvalidConfig, match="another process is writing to it"):
        RunDirectory(tmp_path / "run")
    first.close()
    RunDirectory(tmp_path / "run").close()
    assert saved_config(tmp_path / "run") == {"game": {"_target_": "x"}, "seed": 3}
    with pytest.raises(InvalidConfig, match=r"holds a run already; go on with it by resume="):
        RunDirectory.new(tmp_path / "run", {})


def test_a_run_directory_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidConfig, match=rf"^run directory {path}: cannot write to it: "):
            RunDirectory(path)


@pytest.mark.parametrize("text", ["- a list\n", "seed: 3\n", "a: [\n"])
def test_a_directory_that_holds_no_run_is_one_line(tmp_path, text):
    for path in (tmp_path / "none", tmp_path):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(InvalidConfig, match=rf"^run {path}: ") as caught:
            saved_config(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InvalidConfig, match="it has no checkpoint yet"):
        newest_checkpoint(tmp_path)


def test_fresh_paths_do_not_collide(tmp_path):
    seen = set()
    for _ in range(3):
        path = fresh_path(tmp_path, "scoundrel")
        assert path not in seen and path.name.partition("-scoundrel")[0]
        path.mkdir()
        seen.add(path)


@pytest.mark.parametrize("there_before", [False, True])
def test_a_run_that_never_began_takes_away_its_own_directory_and_nothing_of_the_users(tmp_path, there_before):
    path = tmp_path / "run"
    if there_before:
        (path / "start").mkdir(parents=True)
        (path / "start" / "mine").write_text("mine")
    directory = RunDirectory.new(path, {"game": {}})
    directory.abandon()
    directory.close()
    assert path.exists() == there_before
    assert not there_before or (path / "start" / "mine").read_text() == "mine"
    RunDirectory.new(path, {"game": {}}).close()  # the name can be used again
