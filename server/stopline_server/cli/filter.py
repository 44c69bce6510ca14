"""`stopline filter`: a list in a file, of any length, to the rows that may be texted and those that may not."""

from __future__ import annotations

import csv
import io
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from stopline import Client, PermissionDeniedError, ProtocolError, UnauthenticatedError, UnimplementedError, Verdict
from stopline_server.cli.failure import Exit, Failure
from stopline_server.cli.lists import ListFile, Row
from stopline_server.cli.outputs import Outputs, check_targets
from stopline_server.cli.service import Question, connected, require_text
from stopline_server.cli.summary import Progress, Tally, tell

_CHUNK_PHONES = 10_000
"""Small enough that a few of them, with their rows, are a few megabytes, and that any server takes the message."""
_PROGRESS_EVERY_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Job:
    """What to split, and where to."""

    source: Path
    phone_column: str | None
    sendable: Path | None
    skipped: Path | None
    skip_duplicates: bool = field(kw_only=True)
    force: bool = field(kw_only=True)

    @property
    def targets(self) -> tuple[Path, Path]:
        """The two files to write: sendable rows, skipped rows."""
        return self.sendable or self._beside("sendable"), self.skipped or self._beside("skipped")

    def _beside(self, kind: str) -> Path:
        return self.source.with_name(f"{self.source.stem}.{kind}{self.source.suffix or '.csv'}")


def filter_list(target: str, asked: Question, job: Job, *, as_json: bool) -> None:
    """Split the list. Both files appear whole, or neither does.

    Args:
        target: `HOST:PORT` of the service.
        asked: What is asked of each number.
        job: What to split, and where to.
        as_json: Print the summary as JSON on standard output, rather than for people on standard error.

    Raises:
        Failure: A file cannot be used, or the service gave no answer for each row.
    """
    require_text(asked, [])
    tally, started = Tally(), time.monotonic()

    def so_far() -> str:
        return f"(after {tally.rows:,} rows; nothing was written)"

    with _terminable(), ListFile(job.source, job.phone_column) as source:
        check_targets(job.source, list(job.targets), force=job.force)
        try:
            with connected(target, so_far) as client:
                chunk = _chunk_phones(client)
                with Outputs(*job.targets, _starts(source)) as outputs:
                    _split(client, asked, job, source, outputs, tally, chunk)
                    outputs.publish()
        except KeyboardInterrupt:
            raise Failure(f"stopped {so_far()}", Exit.STOPPED) from None
        tally.blank = source.blank
    tell(tally, job.targets, time.monotonic() - started, as_json=as_json)


def _split(
    client: Client, asked: Question, job: Job, source: ListFile, outputs: Outputs, tally: Tally, chunk: int
) -> None:
    # The rows whose verdict is not known yet: the client holds as many numbers, a few chunks.
    waiting: deque[Row] = deque()

    def phones() -> Iterator[str]:
        for row in source.rows():
            waiting.append(row)
            yield row.phone

    answers = client.filter(
        asked.account,
        phones(),
        context=asked.send_context,
        default_region=asked.region,
        program_id=asked.program,
        skip_duplicates=job.skip_duplicates,
        chunk_size=chunk,
    )
    tails: dict[tuple[Verdict, str], str] = {}
    with Progress(source.size) as progress:
        for answer in answers:
            row = waiting.popleft()
            if answer.phone != row.phone:
                raise ProtocolError("a verdict of another row")
            kind = (answer.verdict, answer.label)
            if answer.verdict is Verdict.SENDABLE:
                outputs.sendable.write(row.text)
            else:
                tail = tails.get(kind) or tails.setdefault(kind, _cells(source, answer.verdict.name, answer.label))
                outputs.skipped.write(_with_cells(row, tail, source))
            tally.add(kind, answer.as_of)
            if tally.rows % _PROGRESS_EVERY_ROWS == 0:
                progress.show(source.position, tally.rows)
    if waiting:
        raise ProtocolError("rows without a verdict")


def _starts(source: ListFile) -> tuple[str, str]:
    """What the two files begin with: the mark that the list has, and its header."""
    mark = "\ufeff" if source.bom else ""
    if not source.header:
        return mark, mark
    header = Row(source.header, "", source.columns)
    return mark + source.header, mark + _with_cells(header, _cells(source, "verdict", "reason"), source)


def _cells(source: ListFile, verdict: str, reason: str) -> str:
    # A label is the account's to choose, and may hold a separator.
    written = io.StringIO()
    csv.writer(written, delimiter=source.separator, lineterminator="").writerow([verdict, reason])
    return source.separator + written.getvalue()


def _with_cells(row: Row, cells: str, source: ListFile) -> str:
    text = row.text.rstrip("\r\n")
    # A row that is too short is filled up, so that the verdict is in its own column.
    return f"{text}{source.separator * (source.columns - row.columns)}{cells}{row.text[len(text) :] or source.line_end}"


def _chunk_phones(client: Client) -> int:
    """How many numbers to ask about at once; fewer than usual where the server takes no more."""
    try:
        limit = client.server_info().limits.chunk_phones
    except (UnimplementedError, PermissionDeniedError, ProtocolError, UnauthenticatedError):
        # Whoever may filter need not be let into the rest.
        limit = 0
    return min(limit or _CHUNK_PHONES, _CHUNK_PHONES)


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP clean up as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
