"""A list of numbers in a CSV file, read row by row with each row's text as it was."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from stopline_server.cli.failure import Exit, Failure
from stopline_server.cli.layout import ColumnError, find_phone_column, find_separator

_LONGEST_LINE = 1 << 20
"""Characters: a file without line ends must not be read into memory as its first line."""
_LONGEST_PHONE = 250
"""Characters: more than any server takes as a phone (see settings); longer cells are asked about as empty ones."""
_SAMPLE_LINES = 50
_NOT_UTF8 = "save the list as CSV in UTF-8"


class Row(NamedTuple):
    """A row of the list."""

    text: str
    """As it is in the file, with its line end."""
    phone: str
    """The phone's cell, or "" where the row is too short or the cell can be no phone."""
    columns: int
    """How many cells it has."""


class ListFile:
    """An open list. A context manager; its rows can be read once.

    Attributes:
        header: The header as it is in the file, or "" where there is none.
        columns: How many columns the first row has.
        separator: What is between cells.
        line_end: What ends the first line.
        bom: Whether the file begins with a byte order mark.
        size: Bytes of the file; 0 where that is not known.
        blank: Blank lines met so far, which are left out.
    """

    def __init__(self, path: Path, phone_column: str | None) -> None:
        """Open it and find out what it looks like.

        Args:
            path: The file.
            phone_column: The name or the number, from 1, of the column of phones; None to find it.

        Raises:
            Failure: It cannot be read, or is no list with a column of phones.
        """
        self._path = path
        self._pulled: list[str] = []
        self._read = 0  # lines taken from the file
        self._line = 0  # lines given to the parser: the first ones are looked at before
        self.blank = 0
        self.size = 0
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise self._failure(f"cannot be read: {error.strerror}") from None
        try:
            self._open_text()
            self._find_layout(phone_column)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        """Give the open list."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    @property
    def position(self) -> int:
        """Bytes read so far; 0 where that is not known."""
        return self._file.tell() if self.size else 0

    @property
    def line(self) -> int:
        """Lines read so far."""
        return self._line

    def rows(self) -> Iterator[Row]:
        """The rows after the header.

        Raises:
            Failure: A part of the file cannot be read as CSV in UTF-8.
        """
        yield self._first
        for text, cells in self._records:
            yield self._row(text, cells)

    def _row(self, text: str, cells: list[str]) -> Row:
        cell = cells[self._phone] if len(cells) > self._phone else ""
        return Row(text, cell if len(cell) <= _LONGEST_PHONE else "", len(cells))

    def _open_text(self) -> None:
        if self._file.seekable():
            self.size = self._file.seek(0, io.SEEK_END)
            self._file.seek(0)
        start = self._file.peek(4)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start[:4]:
            raise self._failure(f"is not in UTF-8 but, it seems, in UTF-16: {_NOT_UTF8}")
        self.bom = start.startswith(codecs.BOM_UTF8)
        if self.bom:
            self._file.read(len(codecs.BOM_UTF8))
        # Line ends stay as they are: rows are written as they were.
        self._text = io.TextIOWrapper(self._file, encoding="utf-8", newline="")

    def _find_layout(self, phone_column: str | None) -> None:
        lines = self._lines()
        sample = list(itertools.islice(lines, _SAMPLE_LINES))
        self.separator = find_separator("".join(sample), cut=len(sample) == _SAMPLE_LINES)
        self._records = self._parsed(self._counted(sample, lines))
        text, cells = next(self._records, ("", []))
        if not cells:
            raise self._failure("has no rows")
        try:
            self._phone, header = find_phone_column(cells, phone_column)
        except ColumnError as error:
            raise self._failure(str(error)) from None
        self.columns = len(cells)
        self.line_end = text[len(text.rstrip("\r\n")) :] or "\n"
        self.header = text if header else ""
        if header:
            text, cells = next(self._records, ("", []))
            if not cells:
                raise self._failure("has a header and no rows")
        self._first = self._row(text, cells)

    def _parsed(self, lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
        """Each record with its text. Blank lines are left out."""
        # Strict: a quote that never closes would swallow the rows behind it.
        reader = csv.reader(lines, delimiter=self.separator, strict=True)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                first = self._line - len(self._pulled) + 1
                raise self._failure(f"line {first}: {error}; is a quote missing or left open?") from None
            text = "".join(self._pulled)
            self._pulled.clear()
            if cells and (len(cells) > 1 or cells[0].strip()):
                yield text, cells
            else:
                self.blank += 1

    def _counted(self, sample: list[str], lines: Iterator[str]) -> Iterator[str]:
        # The reader takes as many lines as a record has: these are its text.
        for source in (sample, lines):
            for line in source:
                self._line += 1
                self._pulled.append(line)
                yield line

    def _lines(self) -> Iterator[str]:
        """The lines, no longer than may be."""
        readline = self._text.readline
        while True:
            try:
                line = readline(_LONGEST_LINE)
            except UnicodeDecodeError as error:
                before = error.object[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n")
                raise self._failure(f"line {self._read + before + 1} is not UTF-8: {_NOT_UTF8}") from None
            except OSError as error:
                raise self._failure(f"cannot be read: {error.strerror}") from None
            if not line:
                return
            if len(line) == _LONGEST_LINE and line[-1] not in "\r\n":
                raise self._failure(f"line {self._read + 1} has more than {_LONGEST_LINE} characters: it is no list")
            self._read += 1
            yield line

    def _failure(self, message: str) -> Failure:
        return Failure(f"{self._path}: {message}", Exit.USAGE)
