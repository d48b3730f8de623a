"""Metrics as TensorBoard reads them, written at once: TensorBoard's own writer has a thread that a full disk ends."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue] (made at import)
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer.record_writer import RecordWriter

from scoundrel_ray.storage.durable import append


class EventLog:
    """A file of events of a run.

    Args:
        directory: for event files, one for each process of the run.
        first_step: of a run that goes on: what earlier files say of this step and later ones is void.

    Raises:
        OSError: if it cannot be written.
    """

    def __init__(self, directory: Path, first_step: int | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        now_ns = time.time_ns()
        name = f"{now_ns // 10**9:010d}.{socket.gethostname()}.{os.getpid()}.{now_ns % 10**9:09d}"
        self._path = directory / f"events.out.tfevents.{name}"
        step = first_step or 0
        self._write(Event(step=step, file_version="brain.Event:2"))
        if first_step is not None:
            self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, Mapping[str, int]]) -> None:
        """Append the values of a step.

        Args:
            step: of all learners.
            scalars: by name.
            histograms: by name, counts by the upper limit of each bin.

        Raises:
            OSError: if they cannot be written; no half of them is left.
        """
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        values += [Summary.Value(tag=name, histo=_histogram(each)) for name, each in histograms.items()]
        self._write(Event(step=step, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        append(self._path, record.getvalue())


def _histogram(counts: Mapping[str, int]) -> HistogramProto:
    limits = sorted(map(float, counts))
    values = [counts[str(int(limit))] for limit in limits]
    return HistogramProto(
        min=0.0,
        max=limits[-1],
        num=sum(values),
        sum=float(np.dot(limits, values)),
        sum_squares=float(np.dot(np.square(limits), values)),
        bucket_limit=limits,
        bucket=values,
    )
