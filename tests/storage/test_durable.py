"""What is written is on the disk, in an order in which a crash at any moment leaves the old or the new whole."""

import os

import pytest

from scoundrel_ray.storage.durable import (
    StorageError,
    flush,
    remove_directory,
    save_picture,
    sweep,
    write_file,
    written_beside,
)


def test_a_picture_is_there_whole_or_as_it_was(tmp_path, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    path = tmp_path / "p.png"
    for _ in range(2):
        save_picture(plt.figure(), path)
        assert path.read_bytes().startswith(b"\x89PNG") and path.read_bytes().endswith(b"IEND\xaeB\x60\x82")
    whole = path.read_bytes()
    figure = plt.figure()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_picture(figure, path)
    assert path.read_bytes() == whole and list(tmp_path.iterdir()) == [path]
    assert not plt.fignum_exists(figure.number)


@pytest.fixture
def events(monkeypatch):
    """A list that grows by what reaches the disk: ("flush", inode), ("rename", inode, new path)."""
    told, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(handle):
        told.append(("flush", os.fstat(handle).st_ino))
        fsync(handle)

    def noted_replace(source, target, **kwargs):
        told.append(("rename", os.stat(source).st_ino, os.fspath(target)))
        replace(source, target, **kwargs)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    return told


def inode(path):
    return path.stat().st_ino


def test_a_file_is_flushed_renamed_and_then_its_directory_is_flushed(tmp_path, events):
    """Without the last flush the rename itself could be lost, and with it a file that was said to be written."""
    path = tmp_path / "made" / "file"
    for data in (b"first", b"second"):
        events.clear()
        write_file(path, data)
        assert path.read_bytes() == data
        assert events == [
            ("flush", inode(path)),
            ("rename", inode(path), str(path)),
            ("flush", inode(path.parent)),
        ]


def test_a_directory_is_flushed_behind_its_files_renamed_and_then_its_parent_is_flushed(tmp_path, events):
    path = tmp_path / "directory"
    with written_beside(path) as temporary:
        temporary.mkdir()
        for name in ("one", "two"):
            with (temporary / name).open("wb") as file:
                file.write(name.encode())
                flush(file)
    assert events == [
        ("flush", inode(path / "one")),
        ("flush", inode(path / "two")),
        ("flush", inode(path)),
        ("rename", inode(path), str(path)),
        ("flush", inode(tmp_path)),
    ]


def test_a_file_is_not_renamed_before_it_could_be_flushed(tmp_path, events, monkeypatch):
    path = tmp_path / "file"
    write_file(path, b"old")
    events.clear()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=f"cannot write {path}: No space left on device"):
        write_file(path, b"new")
    assert events == [] and path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]  # nothing is left of the attempt


def test_what_a_killed_writer_left_is_swept_and_nothing_else(tmp_path):
    write_file(tmp_path / "file", b"whole")
    (tmp_path / ".tmp-file-123").write_bytes(b"half")
    (tmp_path / ".tmp-directory-123").mkdir()
    (tmp_path / ".tmp-directory-123" / "one").write_bytes(b"half")
    sweep(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_directory_loses_its_name_before_its_files(tmp_path, monkeypatch):
    """A crash while it is removed must not leave half of it under its name."""
    path = tmp_path / "directory"
    path.mkdir()
    (path / "one").write_bytes(b"1")
    unlink, named = os.unlink, []

    def noted_unlink(name, **kwargs):
        named.append(path.exists())
        unlink(name, **kwargs)

    monkeypatch.setattr(os, "unlink", noted_unlink)
    remove_directory(path)
    assert named == [False] and not list(tmp_path.iterdir())
