"""What a list looks like, found from its first rows: its separator, its header, and its column of phones.

Where the column is not sure, it is asked for: another column's digits would be checked in its place.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

SEPARATORS = ",;\t|"

# fmt: off
_STRONG = frozenset((
    "phone", "phones", "phonenumber", "phoneno", "phonenr", "phonee164", "e164", "msisdn", "mobile", "mobilephone",
    "mobilenumber", "mobileno", "cell", "cellphone", "cellnumber", "cellular", "tel", "telephone", "telephonenumber",
    "telno", "smsnumber", "smsphone", "contactnumber", "handy", "telefon", "telefonnummer", "mobilnummer", "rufnummer",
    "téléphone", "numérodetéléphone", "portable", "teléfono", "telefono", "móvil", "movil", "celular", "telefone",
    "telemóvel", "cellulare",
))
"""What a header of phones is called, without spaces and punctuation."""
_WEAK = frozenset(("number", "numbers", "no", "nr", "nummer", "numéro", "numero", "número"))
# fmt: on
"""What it may be called where nothing else is: a number is often that of an order."""

_PHONE_LIKE = re.compile(r"\s*(?:tel:)?\+?[\d\s()./\-\u2010-\u2015\u00a0]+", re.IGNORECASE)
_PHONE_DIGITS = range(7, 16)
_DATA_DIGITS = 5
"""A cell of the phone column with this many digits is no header, whatever else is in it."""
_NAMES_SHOWN, _NAME_CHARS = 20, 30


class ColumnError(Exception):
    """It is not sure which column holds the phone; the message says what to do, and shows no number."""


class PhoneColumn(NamedTuple):
    """Where the phone is."""

    column: int
    """Which, from 0."""
    header: bool
    """Whether the first row is a header."""


def find_separator(sample: str, *, cut: bool) -> str:
    """The separator of a list, "," for a list of one column.

    Args:
        sample: Whole lines from its beginning.
        cut: Whether more lines follow.
    """
    best, best_score = ",", (0.0, 0.0, 0)
    for separator in SEPARATORS:
        rows = _sample_rows(sample, separator)
        if cut and len(rows) > 1:
            rows.pop()  # its quoted newline may be behind the sample's end
        if not rows or len(rows[0]) < 2:
            continue
        columns = len(rows[0])
        even = sum(len(row) == columns for row in rows) / len(rows)
        # "+14155550100;Smith, Bob" has two columns either way: the right way makes a phone visible.
        phones = sum(any(map(is_phone_like, row)) for row in rows) / len(rows)
        best, best_score = max((best, best_score), (separator, (phones, even, columns)), key=lambda pair: pair[1])
    return best


def _sample_rows(sample: str, separator: str) -> list[list[str]]:
    rows: list[list[str]] = []
    # What is wrong is told where the list is read.
    with contextlib.suppress(csv.Error):
        rows.extend(row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=separator) if row)
    return rows


def is_phone_like(cell: str) -> bool:
    """Whether a cell is written as a phone number is."""
    return _PHONE_LIKE.fullmatch(cell) is not None and _digits(cell) in _PHONE_DIGITS


def find_phone_column(first: Sequence[str], wanted: str | None) -> PhoneColumn:
    """Find the column of phones.

    Args:
        first: The cells of the first row.
        wanted: The name or the number, from 1, that the caller gave.

    Raises:
        ColumnError: There is no such column, or which one it is is not sure.
    """
    # A cell that is a number outweighs one that reads "mobile": that may be what kind of number it is.
    header = not any(map(is_phone_like, first))
    if wanted is not None:
        index = _wanted_column(first, wanted.strip(), header=header)
    elif len(first) == 1:
        index = 0
    elif header:
        index = _column_by_name(first)
    else:
        raise ColumnError(
            f"the first row is no header, and there are {len(first)} columns: "
            f"say which holds the phone with --phone-column 1 to {len(first)}"
        )
    return PhoneColumn(index, header and _digits(first[index]) < _DATA_DIGITS)


def _wanted_column(first: Sequence[str], wanted: str, *, header: bool) -> int:
    named = [index for index, name in enumerate(first) if header and name.strip() == wanted]
    named = named or [index for index, name in enumerate(first) if header and _plain(name) == _plain(wanted) != ""]
    if len(named) > 1:
        raise ColumnError(f"{len(named)} columns have this name: give the number of one with --phone-column")
    if named:
        return named[0]
    if wanted.isascii() and wanted.isdigit():
        if 1 <= int(wanted) <= len(first):
            return int(wanted) - 1
        raise ColumnError(f"there is no column {wanted}: the first row has {len(first)}")
    if not header:
        raise ColumnError("the first row is no header: give the column's number with --phone-column, from 1")
    raise ColumnError(f"there is no column {wanted!r}: {_names(first)}")


def _column_by_name(first: Sequence[str]) -> int:
    for known in (_STRONG, _WEAK):
        named = [index for index, name in enumerate(first) if _plain(name) in known]
        if len(named) == 1:
            return named[0]
        if named:
            several = " and ".join(repr(first[index].strip()) for index in named)
            raise ColumnError(f"{several} all read like the phone's column: say which with --phone-column")
    raise ColumnError(f"no column reads like a phone's: say which holds it with --phone-column; {_names(first)}")


def _names(first: Sequence[str]) -> str:
    shown = [
        name.strip()[:_NAME_CHARS] if _digits(name) < _DATA_DIGITS else "(a number)" for name in first[:_NAMES_SHOWN]
    ]
    more = [f"and {len(first) - len(shown)} more"] if len(first) > len(shown) else []
    return f"the columns are {', '.join([*map(repr, shown), *more])}"


def _plain(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def _digits(text: str) -> int:
    return sum(char.isdigit() for char in text)
