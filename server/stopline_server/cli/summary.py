"""What `filter` shows: a bar while it works, and at the end what became of the rows."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rich import progress
from rich.console import Console

from stopline import Verdict


@dataclass(slots=True)
class Tally:
    """What became of the rows.

    Attributes:
        rows: Rows with a verdict.
        blank: Blank lines, which are in neither file.
        kinds: Rows by verdict and label.
        as_of: The state of the first answer: who follows the changes after it misses none.
    """

    rows: int = 0
    blank: int = 0
    kinds: Counter[tuple[Verdict, str]] = field(default_factory=Counter)
    as_of: str = ""

    def add(self, kind: tuple[Verdict, str], as_of: str) -> None:
        """Count a row."""
        self.rows += 1
        self.kinds[kind] += 1
        self.as_of = self.as_of or as_of

    @property
    def sendable(self) -> int:
        """Rows that may be texted."""
        return sum(count for (verdict, _), count in self.kinds.items() if verdict is Verdict.SENDABLE)


class Progress:
    """A bar on standard error; nothing where that is no terminal. A context manager."""

    def __init__(self, size: int) -> None:
        """Make it.

        Args:
            size: Bytes of the list; 0 where that is not known.
        """
        self._bar = progress.Progress(
            progress.BarColumn(),
            progress.TaskProgressColumn(show_speed=False),
            progress.TextColumn("{task.fields[rows]:,} rows"),
            progress.TextColumn("{task.fields[speed]:,.0f} rows/s"),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("", total=size or None, rows=0, speed=0.0)

    def show(self, position: int, rows: int) -> None:
        """Show how far it got, in bytes and in rows."""
        elapsed = self._bar.tasks[self._task].elapsed
        self._bar.update(self._task, completed=position, rows=rows, speed=rows / elapsed if elapsed else 0.0)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it away."""
        self._bar.stop()


def tell(tally: Tally, files: tuple[Path, Path], seconds: float, *, as_json: bool) -> None:
    """Print what became of the rows.

    Args:
        tally: The numbers.
        files: Where the sendable and the skipped rows are.
        seconds: How long it took.
        as_json: As JSON on standard output, rather than for people on standard error.
    """
    skipped = sorted(
        (
            (verdict.name, label, count)
            for (verdict, label), count in tally.kinds.items()
            if verdict != Verdict.SENDABLE
        ),
        key=lambda kind: (-kind[2], kind),
    )
    if as_json:
        content = {
            "rows": tally.rows,
            "sendable": tally.sendable,
            "skipped": tally.rows - tally.sendable,
            "reasons": [{"verdict": verdict, "label": label, "rows": count} for verdict, label, count in skipped],
            "blank_lines": tally.blank,
            "files": {"sendable": str(files[0]), "skipped": str(files[1])},
            "as_of": tally.as_of,
            "seconds": round(seconds, 3),
        }
        sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
        return
    blank = f"; {tally.blank:,} blank lines left out" if tally.blank else ""
    lines = [
        f"{tally.rows:,} rows in {seconds:.1f} s{blank}",
        f"{tally.sendable:>12,}  sendable, in {files[0]}",
        f"{tally.rows - tally.sendable:>12,}  skipped, in {files[1]}",
        *(f"{count:>14,}  {verdict}  {' '.join(label.split())}".rstrip() for verdict, label, count in skipped),
    ]
    sys.stderr.write("".join(f"{line}\n" for line in lines))
