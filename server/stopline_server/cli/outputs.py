"""The two files that `filter` writes: they appear whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import IO, NoReturn, Self

from stopline_server.cli.failure import Exit, Failure

_BUFFER_BYTES = 1 << 20


class Output:
    """A file that is written under a name of its own beside its target."""

    def __init__(self, target: Path, start: str) -> None:
        """Open it.

        Args:
            target: Where it will be in the end.
            start: What it begins with.

        Raises:
            Failure: It cannot be written there.
        """
        self.target = target
        self.published = False
        self._part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            # "x": never into a file that somebody else put there.
            self._file: IO[str] = self._part.open("x", _BUFFER_BYTES, encoding="utf-8", newline="")
        except OSError as error:
            self.fail(error)
        self.write = self._file.write
        self.write(start)

    def finish(self) -> None:
        """Write all of it to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def publish(self) -> None:
        """Give it its name."""
        self._part.replace(self.target)
        self.published = True

    def discard(self) -> None:
        """Leave nothing behind that was not published."""
        # A full disk fails the last write of the buffer once more.
        with contextlib.suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)

    def fail(self, error: OSError) -> NoReturn:
        """End the command with what the system says of this file."""
        raise Failure(f"{self.target}: cannot be written: {error.strerror}", Exit.USAGE) from None


class Outputs:
    """Both files. A context manager: what was not published is gone at its end."""

    def __init__(self, sendable: Path, skipped: Path, starts: tuple[str, str]) -> None:
        """Open both.

        Args:
            sendable: Where the rows go that may be texted.
            skipped: Where the others go.
            starts: What each begins with.

        Raises:
            Failure: One cannot be written.
        """
        self.sendable = Output(sendable, starts[0])
        try:
            self.skipped = Output(skipped, starts[1])
        except BaseException:
            self.sendable.discard()
            raise

    def __enter__(self) -> Self:
        """Give the open files."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Discard what was not published."""
        self.skipped.discard()
        self.sendable.discard()
        if isinstance(error, OSError):
            # A write inside. It fails when a buffer is full, and which of the two that was is not told.
            names = f"{self.sendable.target} or {self.skipped.target}"
            raise Failure(f"{names}: cannot be written: {error.strerror}", Exit.USAGE) from None

    def publish(self) -> None:
        """Let both files appear, the one that is sent to last: where it is, all is done.

        Raises:
            Failure: They cannot be written to the end.
        """
        output = self.skipped
        try:
            for output in (self.skipped, self.sendable):
                output.finish()
            for output in (self.skipped, self.sendable):
                output.publish()
        except OSError as error:
            output.fail(error)
        finally:
            if self.skipped.published and not self.sendable.published:
                self.skipped.target.unlink(missing_ok=True)


def check_targets(source: Path, targets: list[Path], *, force: bool) -> None:
    """Return if these files may be written.

    Args:
        source: The list that is read.
        targets: What will be written.
        force: Whether a file that exists may be replaced.

    Raises:
        Failure: One may not.
    """
    seen = {source.resolve(): "the list itself"}
    for target in targets:
        if (taken := seen.get(target.resolve())) is not None:
            raise Failure(f"{target}: is {taken}; choose another name", Exit.USAGE)
        seen[target.resolve()] = "the other output"
        if target.exists() and not target.is_file():
            raise Failure(f"{target}: is no file", Exit.USAGE)
        if target.exists() and not force:
            raise Failure(f"{target}: exists; replace it with --force, or choose another name", Exit.USAGE)
        if not target.parent.is_dir():
            raise Failure(f"{target}: there is no folder {target.parent}", Exit.USAGE)
