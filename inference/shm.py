"""The transport through shared memory: a request lies in a slot, and a few bytes in a FIFO say that it is there.

A message costs a few microseconds; a call to an actor costs most of a millisecond. What shared memory cannot carry goes
by calls: all requests if the server is on another node or has no room, else single requests that fit no slot.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import named, raised
from inference.segment import DOORBELL_BYTES, Segment, Shape, doorbell, doorbells
from inference.shm_directory import Attachment, files
from scoundrel_ray.evaluator import Evaluation, EvaluatorGone, JointEvaluator, Part

_PAUSE_S = 0.1  # between asking a server that is gone and asking again
_READ_BYTES = 256 * DOORBELL_BYTES

Attach = Callable[[float], Attachment]
"""Asks the server for a segment and waits so many seconds; raises EvaluatorGone if it cannot answer now."""


@dataclass(eq=False)
class Ticket:
    """A request under way.

    Attributes:
        agents: that it has rows of.
        count: of leaves.
        slot: number of the slot that holds the request; -1 if none does.
        sequence: number of the request that an answer must bear.
        answer: the answers, once they came.
        call: ticket of the evaluator by calls, if the request went there.
    """

    agents: list[str]
    count: int
    slot: int = -1
    sequence: int = 0
    answer: list[Evaluation] | Exception | None = None
    call: Any = None


class ClientEnd:
    """A client's end of a segment and its FIFOs.

    Args:
        attachment: the server's answer to `attach`.
        shape: of the segment.

    Raises:
        EvaluatorGone: if the server has ended since that answer.
        OSError: if there are no such files here.
        ValueError: if they are not the files of this attachment.
    """

    def __init__(self, attachment: Attachment, shape: Shape) -> None:
        segment, requests, replies = files(Path(attachment.base))
        self.segment = Segment.attach(segment, shape, attachment.incarnation)
        self.lost = False
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._replies = os.open(replies, os.O_RDONLY | flags)
        try:
            self._requests = os.open(requests, os.O_WRONLY | flags)
        except OSError as error:
            os.close(self._replies)
            if error.errno == errno.ENXIO:  # nobody reads
                raise EvaluatorGone("ended while it was being attached to") from error
            raise
        self._poll = select.poll()
        self._poll.register(self._replies, select.POLLIN)

    def ring(self, sequence: int, slot: int) -> None:
        """Tell the server of a request; without a server this end is lost."""
        try:
            os.write(self._requests, doorbell(sequence, slot))
        except OSError:
            self.lost = True

    def hear(self, seconds: float) -> list[tuple[int, int]]:
        """Sequence number and slot of each answer that came; waits for the first. Else empty."""
        heard = self._poll.poll(1000 * seconds)
        if not heard:
            return []
        if heard[0][1] & select.POLLIN and (data := os.read(self._replies, _READ_BYTES)):
            return doorbells(data)
        self.lost = True  # the server closed its end, or the kernel did when it died
        return []

    def close(self) -> None:
        """Close the FIFOs; the server notices."""
        os.close(self._requests)
        os.close(self._replies)


class ShmEvaluator:
    """A joint evaluator that asks a server on the same node through shared memory; for one thread.

    When the server dies, its end of the FIFOs closes. The client that waits for an answer then attaches to the server
    that took its place, and asks again for all that is under way. It does so until the deadline, which counts from the
    moment an answer is waited for. A client that was refused stays with calls.

    Args:
        attach: see `Attach`.
        calls: joint evaluator for what shared memory cannot carry.
        client: who asks, for messages.
        agents: whose networks are asked, by their numbers in the segment.
        deadline_s: longest that an answer is waited for, restarts of the server included.
        shape: how much can be under way.

    Attributes:
        warning: why requests go by calls, for the user; "" if none do, or if nothing is wrong with that.

    Raises:
        EvaluatorGone: if the server did not answer within the deadline.
    """

    def __init__(
        self,
        attach: Attach,
        calls: JointEvaluator,
        client: str,
        agents: Sequence[str],
        deadline_s: float,
        shape: Shape,
    ) -> None:
        self._attach = attach
        self._calls = calls
        self._client = client
        self._agents = list(agents)
        self._numbers = {agent: number for number, agent in enumerate(agents)}
        self._deadline_s = deadline_s
        self._shape = shape
        self._line: ClientEnd | None = None
        self._under_way: list[Ticket | None] = [None] * shape.slots
        self._sequence = 0
        self.warning = ""
        end = time.monotonic() + deadline_s
        while why := self._connect(end):
            if not _pause(end):
                raise self._gone(why, self._agents, 0)

    @property
    def shared(self) -> bool:
        """Whether requests go through shared memory."""
        return self._line is not None

    def submit(self, parts: Sequence[Part]) -> Ticket:
        """See `JointEvaluator.submit`."""
        ticket = Ticket([agent for agent, _ in parts], sum(len(rows) for _, rows in parts))
        numbered = [(self._numbers[agent], rows) for agent, rows in parts]
        line = self._line
        if line is None or None not in self._under_way or not line.segment.fits(numbered):
            ticket.call = self._calls.submit(parts)
            if line is not None and ticket.count > self._shape.leaves and not self.warning:
                self._tell(Attachment(refusal=f"some have {ticket.count} leaves, a slot holds {self._shape.leaves}"))
            return ticket
        ticket.slot = self._under_way.index(None)
        self._under_way[ticket.slot] = ticket
        self._sequence += 1
        ticket.sequence = self._sequence
        # Without a server it lies there until `collect` finds another.
        line.segment.write_request(ticket.slot, ticket.sequence, numbered)
        line.ring(ticket.sequence, ticket.slot)
        return ticket

    def collect(self, ticket: Ticket) -> list[Evaluation]:
        """See `JointEvaluator.collect`; the arrays are the caller's.

        Raises:
            EvaluatorGone: if none came within the deadline, however often it was asked for.
            Exception: what the evaluation of any part raised.
        """
        end, why = time.monotonic() + self._deadline_s, "gave no answer"
        while ticket.call is None:
            if isinstance(ticket.answer, list):
                return ticket.answer
            if ticket.answer is not None and ticket.slot < 0:
                raise ticket.answer
            if ticket.answer is not None:  # the server is ending
                why = str(ticket.answer)
                again = _pause(end)
                if again:
                    self._ask_again(ticket)
            elif self._line is not None and not self._line.lost:
                again = self._hear(end)
            else:
                problem = self._connect(end)
                why = problem or why
                again = not problem or _pause(end)
            if not again:
                self._free(ticket, self._gone(why, ticket.agents, ticket.count))
        return self._calls.collect(ticket.call)

    def close(self) -> None:
        """Detach; what is under way is not answered any more."""
        if self._line is not None:
            self._line.close()
        self._line = None
        for ticket in filter(None, self._under_way):
            self._free(ticket, EvaluatorGone(f"{self._client}: the evaluator was closed"))

    def _hear(self, end: float) -> bool:
        """Take the answers that come next; False if none came before `end`."""
        line = self._line
        assert line is not None
        left = end - time.monotonic()
        if left <= 0:
            return False
        for sequence, slot in line.hear(left):
            ticket = self._under_way[slot]
            reply = line.segment.reply(slot)
            if ticket is None or not ticket.sequence == sequence == reply.sequence:
                continue  # the answer to a request that was given up
            if not reply.error:
                self._free(ticket, line.segment.answers(slot))
            elif isinstance(error := raised(reply.error, reply.text), EvaluatorGone):
                ticket.answer = error  # it keeps its slot, to ask again
            else:
                self._free(ticket, error)
        return True

    def _ask_again(self, ticket: Ticket) -> None:
        """Ask the same request under a new number."""
        assert self._line is not None
        self._sequence += 1
        ticket.answer, ticket.sequence = None, self._sequence
        self._line.segment.renumber(ticket.slot, ticket.sequence)
        self._line.ring(ticket.sequence, ticket.slot)

    def _connect(self, end: float) -> str:
        """Attach to the present server and ask it for all that is under way; returns why that failed, else ""."""
        try:
            try:
                attachment, line = self._attached(end)
            except FileNotFoundError:  # a server that died meanwhile, swept by the next one
                attachment, line = self._attached(end)
        except EvaluatorGone as error:
            return str(error)
        except (OSError, ValueError) as error:
            attachment, line = Attachment(refusal=f"cannot open what the server made: {error}"), None
        before, self._line = self._line, line
        for ticket in filter(None, self._under_way):
            assert before is not None
            numbered = before.segment.request(ticket.slot)
            if line is None:
                ticket.call = self._calls.submit([(self._agents[number], rows) for number, rows in numbered])
                self._free(ticket, None)
            else:
                ticket.answer = None
                line.segment.write_request(ticket.slot, ticket.sequence, numbered)
                line.ring(ticket.sequence, ticket.slot)
        if before is not None:
            before.close()
        if attachment.refusal:
            self._tell(attachment)
        return ""

    def _attached(self, end: float) -> tuple[Attachment, ClientEnd | None]:
        attachment = self._attach(max(end - time.monotonic(), 0.0))
        return attachment, None if attachment.refusal else ClientEnd(attachment, self._shape)

    def _tell(self, attachment: Attachment) -> None:
        text = f"requests go by Ray calls, not through shared memory: {attachment.refusal}"
        self.warning = "" if attachment.expected else text
        level = logging.INFO if attachment.expected else logging.WARNING
        logging.getLogger(__name__).log(level, "%s: %s", self._client, text)

    def _free(self, ticket: Ticket, answer: list[Evaluation] | Exception | None) -> None:
        self._under_way[ticket.slot] = None
        ticket.slot, ticket.answer = -1, answer

    def _gone(self, why: str, agents: Sequence[str], count: int) -> EvaluatorGone:
        return EvaluatorGone(
            f"{self._client}: the inference actor of {named(agents)} {why}; "
            f"waited {self._deadline_s:g} s for {count} leaves"
        )


def _pause(end: float) -> bool:
    """Wait a moment before asking again; False, at once, if there is no time left for that."""
    if end - time.monotonic() <= _PAUSE_S:
        return False
    time.sleep(_PAUSE_S)
    return True
