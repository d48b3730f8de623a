"""Frames are read back from their files as they were, enlarged; a file is there whole or as it was."""

import os

import numpy as np
import pytest
from PIL import Image

from scoundrel_ray import rng
from scoundrel_ray.frames import enlarged, save_animation, save_frame
from scoundrel_ray.storage.durable import StorageError
from scoundrel_ray.worlds import tag


def frames_of(count, shape=(6, 10), colours=40, seed=0):
    dice = np.random.default_rng(seed)
    palette = dice.integers(0, 256, (colours, 3), dtype=np.uint8)
    return [palette[dice.integers(0, colours, shape)] for _ in range(count)]


def read(path):
    """Frames of a file, and for how many milliseconds each is shown."""
    with Image.open(path) as image:
        found = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append((np.asarray(image.convert("RGB")), image.info.get("duration")))
        return found, image.format, image.info.get("loop")


def test_a_small_frame_is_enlarged_by_the_least_whole_factor_that_suffices():
    (frame,) = frames_of(1, (6, 10))
    large = enlarged(frame, 25)
    assert large.shape == (18, 30, 3)
    for y, x in np.ndindex(18, 30):
        assert (large[y, x] == frame[y // 3, x // 3]).all()
    assert enlarged(frame, 30).shape == (18, 30, 3) and enlarged(frame, 31).shape == (24, 40, 3)
    assert enlarged(frame, 10) is not None and enlarged(frame, 3).shape == frame.shape


def test_a_frame_is_read_back_as_it_was(tmp_path):
    (frame,) = frames_of(1, colours=5000)
    save_frame(frame, tmp_path / "made" / "one.png", side=50)
    ((found, _),), kind, _ = read(tmp_path / "made" / "one.png")
    assert kind == "PNG" and (found == enlarged(frame, 50)).all()


@pytest.mark.parametrize("colours", [2, 256])
def test_an_animation_of_few_colours_is_read_back_as_it_was(tmp_path, colours):
    frames = frames_of(7, (16, 20), colours)
    save_animation(frames, tmp_path / "many.gif", milliseconds=70, side=40)
    found, kind, loop = read(tmp_path / "many.gif")
    assert kind == "GIF" and loop == 0 and len(found) == 7
    for (seen, duration), frame in zip(found, frames, strict=True):
        assert duration == 70 and (seen == enlarged(frame, 40)).all()


def test_frames_that_stay_the_same_are_shown_as_long(tmp_path):
    first, second = frames_of(2)
    save_animation([first, first, first, second], tmp_path / "still.gif", milliseconds=50)
    found, _, _ = read(tmp_path / "still.gif")
    assert [duration for _, duration in found] == [150, 50] and (found[1][0] == enlarged(second)).all()


def test_a_frame_alone_makes_an_animation(tmp_path):
    frames = frames_of(1)
    save_animation(frames, tmp_path / "one.gif")
    assert (read(tmp_path / "one.gif")[0][0][0] == enlarged(frames[0])).all()


def test_of_more_colours_the_nearest_are_kept(tmp_path):
    ramp = np.linspace(0, 255, 40).astype(np.uint8)
    frame = np.stack([*np.broadcast_arrays(ramp[:, None], ramp[None, :]), np.zeros((40, 40), np.uint8)], axis=2)
    save_animation([frame, frame[::-1]], tmp_path / "ramp.gif", side=40)
    found, _, _ = read(tmp_path / "ramp.gif")
    for (seen, _), wanted in zip(found, (frame, frame[::-1]), strict=True):
        assert abs(seen.astype(int) - wanted).mean() < 8


def test_an_episode_of_a_world_becomes_a_file(tmp_path):
    world = tag.make(turns=5)
    copies, frames = world.copies(rng.stream(0, 0)[None]), []
    while not copies.over[0]:
        frames.append(world.picture(copies.states[0]))
        copies.step(np.full((5, 1), 4, np.int16))
    save_animation(frames, tmp_path / "tag.gif")
    assert read(tmp_path / "tag.gif")[0][0][0].shape == (480, 480, 3)


def test_a_file_that_cannot_be_written_is_named_and_the_older_stays(tmp_path, monkeypatch):
    frames = frames_of(2)
    for save, what, name in ((save_frame, frames[0], "a.png"), (save_animation, frames, "a.gif")):
        save(what, tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(StorageError, match=f"cannot write {tmp_path / name}: No space left on device"):
                save(what, tmp_path / name)
        assert (tmp_path / name).read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.png"]


@pytest.mark.parametrize(
    ("frames", "told"),
    [([], "no frames"), ([np.zeros((4, 4, 3))], r"frame 0 is float64 \[4, 4, 3\]"),
     ([np.zeros((4, 4), np.uint8)], r"frame 0 is uint8 \[4, 4\], wanted uint8 \[height, width, 3\]"),
     ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)], r"frame 1 is \[4, 5, 3\], wanted \[4, 4, 3\]")],
)  # fmt: skip
def test_arrays_that_are_no_frames_are_named(tmp_path, frames, told):
    with pytest.raises(ValueError, match=told):
        save_animation(frames, tmp_path / "none.gif")
    with pytest.raises(ValueError, match="milliseconds is 10, wanted >= 20"):
        save_animation(frames_of(1), tmp_path / "none.gif", milliseconds=10)
    assert not list(tmp_path.iterdir())
