"""Frames as files: one as a PNG, many as an animated GIF. Small ones are enlarged so that they can be seen.

A frame is [height, width, 3] uint8, red, green and blue, such as `World.picture` gives.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from scoundrel_ray.storage.durable import write_file

SIDE = 400  # pixels, which the longer side of a picture has at least


def enlarged(frame: np.ndarray, side: int = SIDE) -> np.ndarray:
    """A frame whose every pixel became a square, of the smallest size by which the longer side has `side` pixels."""
    factor = _factor(frame.shape, side)
    return frame.repeat(factor, axis=0).repeat(factor, axis=1)


def save_frame(frame: np.ndarray, path: Path, side: int = SIDE) -> None:
    """Write a frame as a PNG, enlarged, whole or not at all.

    Raises:
        ValueError: for an array that is no frame.
        StorageError: if the file cannot be written; an older one stays as it was.
    """
    _check([frame])
    data = io.BytesIO()
    Image.fromarray(enlarged(frame, side)).save(data, format="PNG")
    write_file(path, data.getvalue())


def save_animation(frames: Sequence[np.ndarray], path: Path, milliseconds: int = 100, side: int = SIDE) -> None:
    """Write frames as a GIF that begins again after its end, enlarged, whole or not at all.

    Up to 256 colours, all frames together, are kept as they are; of more, each frame has its own 256, by pillow. Equal
    frames that follow each other become one that is shown as long.

    Args:
        frames: one or more, of one shape.
        path: of the file.
        milliseconds: that each frame is shown, in steps of 10; 20 or more, as viewers slow down what is faster.
        side: pixels, which the longer side of the picture has at least.

    Raises:
        ValueError: for arrays that are no frames, none, or those of several shapes, and for a time that is too short.
        StorageError: if the file cannot be written; an older one stays as it was.
    """
    _check(frames)
    if milliseconds < 20:
        raise ValueError(f"milliseconds is {milliseconds}, wanted >= 20")
    images = _images(frames, side)
    data = io.BytesIO()
    next(images).save(
        data, format="GIF", save_all=True, append_images=images, duration=milliseconds, loop=0, disposal=1
    )  # fmt: skip
    write_file(path, data.getvalue())


def _factor(shape: Sequence[int], side: int) -> int:
    return max(1, -(-side // max(shape[:2])))


def _check(frames: Sequence[np.ndarray]) -> None:
    if not len(frames):
        raise ValueError("no frames, wanted one or more")
    for number, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise ValueError(f"frame {number} is {frame.dtype} {list(frame.shape)}, wanted uint8 [height, width, 3]")
        if frame.shape != frames[0].shape:
            raise ValueError(f"frame {number} is {list(frame.shape)}, wanted {list(frames[0].shape)} as the first")


def _codes(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Each frame with a pixel's colour as one number: [height, width] uint32."""
    for frame in frames:
        red, green, blue = np.moveaxis(frame.astype(np.uint32), 2, 0)
        yield red << 16 | green << 8 | blue


def _images(frames: Sequence[np.ndarray], side: int) -> Iterator[Image.Image]:
    """Each frame as an image with a palette, enlarged."""
    there = np.zeros(1 << 24, dtype=np.bool_)
    for codes in _codes(frames):
        there[codes] = True
    colours = np.flatnonzero(there)
    if len(colours) > 256:
        for frame in frames:
            yield Image.fromarray(enlarged(frame, side)).quantize(256)
        return
    numbers = np.zeros(1 << 24, dtype=np.uint8)
    numbers[colours] = np.arange(len(colours))
    palette = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8).tobytes()
    for codes in _codes(frames):
        image = Image.fromarray(enlarged(numbers[codes], side))
        image.putpalette(palette)
        yield image
