"""What both clients keep of a StreamFilter: what was asked, what was answered, and how much may wait."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator

from stopline._convert import batch_result
from stopline.errors import ProtocolError
from stopline.v1 import consent_service_pb2 as pb
from stopline.values import Filtered


class FilterStream:
    """The bookkeeping of one stream.

    Answers come in the order of the requests, one for each; anything else raises `ProtocolError`, so that no number is
    ever given the verdict of another.
    """

    def __init__(self, question: pb.BatchFilterRequest) -> None:
        """Begin one.

        Args:
            question: What is asked of each number; its phones are not used.
        """
        self._question = question
        self._asked = 0
        self._waiting: deque[tuple[int, tuple[str, ...]]] = deque()

    @property
    def waiting(self) -> int:
        """How many chunks wait for their answer."""
        return len(self._waiting)

    def ask(self, phones: tuple[str, ...]) -> pb.StreamFilterRequest:
        """The request for the next chunk."""
        request = pb.StreamFilterRequest(chunk_id=self._asked)
        if self._asked == 0:
            request.batch.CopyFrom(self._question)
            request.batch.ClearField("phones")
        request.batch.phones.extend(phones)
        self._waiting.append((self._asked, phones))
        self._asked += 1
        return request

    def answer(self, response: pb.StreamFilterResponse) -> Iterator[Filtered]:
        """The numbers of the oldest chunk that waits, with their verdicts.

        Raises:
            ProtocolError: It is not the answer to that chunk, or not one for each number. Raised here, before the first
                number is given.
        """
        if not self._waiting:
            raise ProtocolError(f"an answer to chunk {response.chunk_id}, which nobody asked; do not send")
        chunk_id, phones = self._waiting.popleft()
        if response.chunk_id != chunk_id:
            raise ProtocolError(f"an answer to chunk {response.chunk_id} in the place of {chunk_id}; do not send")
        batch = batch_result(phones, response.batch)
        label_of = {
            verdict: (verdict, label.label, label.outcome, batch.as_of) for verdict, label in batch.labels.items()
        }
        return (
            Filtered(phone, *label_of[verdict]) for phone, verdict in zip(batch.phones, batch.verdicts, strict=True)
        )

    def cut(self) -> ProtocolError:
        """What to raise where the stream ended, without an error, and chunks still wait."""
        numbers = sum(len(phones) for _, phones in self._waiting)
        return ProtocolError(f"the stream ended with {numbers} numbers unanswered; do not send to them")


def chunks(phones: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """The numbers in chunks, none of them empty, read as they are taken."""
    source = iter(phones)
    while chunk := tuple(itertools.islice(source, size)):
        yield chunk
