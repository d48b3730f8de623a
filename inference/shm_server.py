"""The server's side of the transport through shared memory: who is attached, and a thread that hears their doorbells.

The listener sleeps until a client rings, and hands the parts of the request to the server's batcher. The device thread
that answers the last part writes all answers and rings back. The listener alone closes the descriptors of a client, so
that no thread reads from a descriptor that another has closed.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Sequence
from pathlib import Path

from inference.errors import told
from inference.joint import JointRequest
from inference.segment import DOORBELL_BYTES, Segment, Shape, doorbell, doorbells
from inference.server import InferenceServer
from inference.shm_directory import Attachment, Refused, ShmDirectory, alive, files
from scoundrel_ray.evaluator import Evaluation

_READ_BYTES = 256 * DOORBELL_BYTES


class ServerEnd:
    """One client's segment and FIFOs, as the server holds them.

    Args:
        client: who asks.
        agents: whose networks are asked, by their numbers in the segment.
        pid: of the client's process.
        base: see `inference.shm_directory.files`.
        segment: to read requests from and write answers to.
    """

    def __init__(self, client: str, agents: Sequence[str], pid: int, base: Path, segment: Segment) -> None:
        self.client = client
        self.agents = tuple(agents)
        self.pid = pid
        self.base = base
        self.segment = segment
        self.asked: list[tuple[int, JointRequest] | None] = [None] * segment.shape.slots
        self._lock = threading.Lock()
        self._open = True
        _, requests, replies = files(base)
        self.doorbell = os.open(requests, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        # For reading, too: it can then be opened before the client's end is. A write never fills it: it holds more
        # records than there are slots.
        self._replies = os.open(replies, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def reply(self, slot: int, sequence: int, answer: list[Evaluation] | Exception) -> None:
        """Write the answers and ring, unless the client is gone or has asked something else meanwhile; any thread."""
        with self._lock:
            if not self._open or self.segment.sequence(slot) != sequence:
                return
            try:
                if isinstance(answer, Exception):
                    self.segment.write_error(slot, sequence, *told(answer))
                else:
                    self.segment.write_answers(slot, sequence, answer)
            except ValueError as error:
                self.segment.write_error(slot, sequence, *told(error))
            os.write(self._replies, doorbell(sequence, slot))

    def unanswered(self, slot: int) -> JointRequest | None:
        """The newest request of a slot, if any of it may still wait in the server's queue."""
        asked = self.asked[slot]
        return asked[1] if asked and self.segment.reply(slot).sequence != asked[0] else None

    def close(self) -> None:
        """Close the FIFOs: a client that still listens notices."""
        with self._lock:
            self._open = False
            os.close(self.doorbell)
            os.close(self._replies)


class ShmServer:
    """Answers clients on this node through shared memory. Nothing is made before the first client attaches.

    Args:
        server: the server that answers.
    """

    def __init__(self, server: InferenceServer) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._links: dict[int, ServerEnd] = {}
        self._leaving: list[ServerEnd] = []
        self._directory: ShmDirectory | None = None
        self._listener: threading.Thread | None = None
        self._closed = False

    @property
    def attached(self) -> int:
        """Clients that have a segment now."""
        return len(self._links)

    def attach(self, client: str, agents: Sequence[str], pid: int, shape: Shape) -> Attachment:
        """A fresh segment for a client, in place of an earlier one of the same agents.

        The client detaches by closing its FIFOs.

        Returns a refusal, and makes nothing, if shared memory cannot be used here.
        """
        with self._lock:
            if self._closed:
                return Attachment(refusal="the inference server's listener has ended")
            if len(agents) != shape.agents:
                return Attachment(refusal=f"{len(agents)} agents were named for a segment of {shape.agents}")
            try:
                directory = self._started()
                base, segment = directory.make(shape)
            except (Refused, ValueError, OSError) as error:
                return Attachment(refusal=str(error))
            try:
                link = ServerEnd(client, agents, pid, base, segment)
            except OSError as error:
                directory.remove(base)
                return Attachment(refusal=str(error))
            # A client that ended before it opened its files never closed anything.
            self._leaving += [
                link
                for link in self._links.values()
                if (link.client, link.agents) == (client, tuple(agents)) or not alive(link.pid)
            ]
            self._links[link.doorbell] = link
            self._epoll.register(link.doorbell, select.EPOLLIN)
            self._wake()
        return Attachment(str(base), directory.token)

    def close(self) -> None:
        """Detach all and remove the directory; a client that attaches later is refused."""
        with self._lock:
            self._closed = True
            listener = self._listener
            if listener is not None:
                self._wake()
        if listener is not None:
            listener.join()

    def _started(self) -> ShmDirectory:
        """The directory, with the listener running; the caller holds the lock."""
        if self._directory is None:
            directory = ShmDirectory()
            self._epoll = select.epoll()
            self._wake_out, self._wake_in = os.pipe()
            self._epoll.register(self._wake_out, select.EPOLLIN)
            self._directory = directory
            self._listener = threading.Thread(target=self._listen, name="inference-listener", daemon=True)
            self._listener.start()
        return self._directory

    def _wake(self) -> None:
        os.write(self._wake_in, b"\0")

    # -- the listener's thread ------------------------------------------------------------------------------------

    def _listen(self) -> None:
        try:
            while not self._closed:
                for descriptor, event in self._epoll.poll():
                    if descriptor == self._wake_out:
                        os.read(self._wake_out, _READ_BYTES)
                    elif (link := self._links.get(descriptor)) is not None:
                        self._hear(link, event)
                self._let_go()
        finally:
            with self._lock:
                self._closed, self._listener = True, None  # nobody wakes it any more
                self._leaving = list(self._links.values())
            self._let_go()
            for descriptor in (self._wake_out, self._wake_in):
                os.close(descriptor)
            self._epoll.close()
            if self._directory is not None:
                self._directory.close()

    def _hear(self, link: ServerEnd, event: int) -> None:
        """Take a client's requests; drop it if it closed its end or cannot be understood."""
        try:
            data = os.read(link.doorbell, _READ_BYTES) if event & select.EPOLLIN else b""
            for sequence, slot in doorbells(data):
                self._ask(link, sequence, slot)
            gone = not data
        except Exception:  # one client must not end the thread that hears all
            logging.getLogger(__name__).exception("%s is detached", link.client)
            gone = True
        if gone:
            with self._lock:
                self._leaving.append(link)

    def _ask(self, link: ServerEnd, sequence: int, slot: int) -> None:
        """Hand one request to the server; an older one in the same slot was given up by its client."""
        if (older := link.unanswered(slot)) is not None:
            older.withdraw()
        if link.segment.sequence(slot) != sequence:
            return  # given up, too: another record follows
        try:
            parts = [(link.agents[number], rows) for number, rows in link.segment.request(slot)]
            request = JointRequest(self._server, link.client, parts, lambda answer: link.reply(slot, sequence, answer))
            link.asked[slot] = sequence, request
        except (ValueError, RuntimeError) as error:
            link.reply(slot, sequence, error)

    def _let_go(self) -> None:
        """Close what clients that leave had, and forget their requests."""
        with self._lock:
            leaving, self._leaving = self._leaving, []
        for link in leaving:
            if self._links.get(link.doorbell) is not link:
                continue  # named twice
            with self._lock:
                del self._links[link.doorbell]
            self._epoll.unregister(link.doorbell)
            link.close()
            for slot in range(link.segment.shape.slots):
                if (request := link.unanswered(slot)) is not None:
                    request.withdraw()
            if self._directory is not None:
                self._directory.remove(link.base)
