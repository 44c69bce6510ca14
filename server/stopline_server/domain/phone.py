"""Reading phone numbers: every spelling of a number becomes one `int`.

A phone is the `int` of its E.164 digits (+14155550100 is 14155550100); 0 means "no possible number". It is the key of
a person's consent, so two spellings of a number must never give two ints: the STOP of one would not block the other.

The truth is libphonenumber, as the `phonenumbers` library. On top of it stand three things:

* `_settle`. The library's reading is not idempotent: it strips one trunk prefix and lets the rest be. It reads
  +20 00 985354779 as +20 0985354779, and that as +20 985354779. A search over all calling codes with random digits
  after none, one or several trunk prefixes (1.3 million strings, `phonenumbers` 9.0.43) found such chains for 72 of
  the 215 codes, of up to six readings (+971 00000 062023), some ending in no number at all (+43 00 1435), and no cycle.
  What is returned is the end of the chain: a spelling that the library leaves as it is.
* `_without_trunk`. Colombia once dialled a carrier's code after the 0, so the library takes "03" off, or nothing: it
  leaves +57 (0) 300 1728588, a common way to write +57 300 1728588, as a number of its own.
* `_CanonicalSpellings`. Bulk lists are mostly canonical E.164, and the library takes 10 to 18 µs a number. For those
  the metadata alone proves that the library would answer the same digits.

What the library does not know stays unknown: +52 1 55 1234 5678, as Mexico wrote mobiles until 2019, is no possible
number. And one range was found where it reads a valid number as another one: +375 810 320 5101 (Belarus, premium
rate) becomes +375 10 320 5101. That is in no area that exists, so nobody's consent is mixed with anybody's.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    SUPPORTED_REGIONS,
    NumberParseException,
    PhoneMetadata,
    ValidationResult,
    is_possible_number_with_reason,
    is_valid_number,
    national_significant_number,
    parse,
    region_code_for_country_code,
)
from phonenumbers.re_util import enable_pattern_cache

# The library compiles its patterns through `re`, whose cache holds 512. A list with numbers from all over the world
# needs more, and would compile anew for every number. The patterns are those of fixed metadata: the cache is bounded.
enable_pattern_cache()

_MIN_DIGITS = 7
_MAX_DIGITS = 15  # ITU-T E.164, 6.1. The library accepts 17 in Germany and Japan.
_MAX_TEXT = 250  # characters; the library's own limit. Callers have a lower one.
_MAX_STEPS = 16  # more than there are digits to strip
_LIST = 32  # texts; fewer are not worth a pattern of their own
_NEVER = re.compile(r"(?!)")


def read_phone(text: str, region: str) -> int:
    """Read one phone number.

    Canonical: two spellings of one number give the same answer. Idempotent: `read_phone(format_phone(p), r) == p` for
    each p that it returns and any region r. Extensions are dropped. A number that can only be dialled locally, without
    its area code, is not possible.

    Args:
        text: The number as somebody wrote it. Any `str`; over 250 characters it is no number.
        region: The ISO 3166-1 alpha-2 code, upper case, of the country that a national spelling is from. With "", or
            a code that `is_region` does not know, only international spellings count.

    Returns:
        The E.164 digits, 7 to 15 of them, or 0 if this is no possible phone number. Never raises.
    """
    return _CANONICAL.read(text) or _read_with_library(text, region)


def read_phones(texts: Sequence[str], region: str) -> list[int]:
    """Read many phone numbers: the same answers as `read_phone` for each, in order, and far quicker on canonical E.164.

    Args:
        texts: The numbers as somebody wrote them.
        region: As for `read_phone`.

    Returns:
        As many answers as there are texts, in their order; 0 for each that is no possible number.
    """
    if _CANONICAL.all_of(texts):
        return list(map(int, texts))
    found = _CANONICAL.find(texts)
    return [int(spelling or _read_with_library(text, region)) for text, spelling in zip(texts, found, strict=True)]


def is_region(region: str) -> bool:
    """Whether this is the ISO 3166-1 alpha-2 code, upper case, of a region with a numbering plan. "" is none."""
    return region in SUPPORTED_REGIONS


def format_phone(digits: int) -> str:
    """Spell a phone in E.164: 14155550100 becomes "+14155550100". 0, no number, becomes ""."""
    return f"+{digits}" if digits else ""


def mask_phone(digits_or_text: int | str) -> str:
    """Spell a phone for logs and errors, so that it tells the country and no person: "+1•••00".

    What is left is the calling code, where one is known, and the last two digits: one number in a hundred, enough to
    tell two log lines apart. The number of digits does not show. A text that is not E.164 keeps its last two digits
    only, and one with fewer than seven digits nothing.

    Args:
        digits_or_text: A phone as `read_phone` returns it, or any text that a caller sent as one.
    """
    text = format_phone(digits_or_text) if isinstance(digits_or_text, int) else digits_or_text
    # The head is enough to tell the code, the tail to tell the last digits, however long the text is.
    digits = [d for d in (unicodedata.digit(c, -1) for c in text[:_MAX_TEXT] + text[_MAX_TEXT:][-_MAX_TEXT:]) if d >= 0]
    if len(digits) < _MIN_DIGITS:
        return "•••"
    code = _calling_code(text)
    return f"{'+' if code else ''}{code}•••{digits[-2]}{digits[-1]}"


def _calling_code(text: str) -> str:
    """The calling code that an international spelling without punctuation begins with, else "".

    Calling codes are prefix-free: at most one fits.
    """
    if text[:1] == "+":
        for code in (text[1:2], text[1:3], text[1:4]):
            if code.isascii() and code.isdecimal() and int(code) in COUNTRY_CODE_TO_REGION_CODE:
                # int() would take "01" as well, but no calling code begins with a zero.
                return code if code[0] != "0" else ""
    return ""


def _read_with_library(text: str, region: str) -> int:
    if len(text) > _MAX_TEXT:
        return 0
    if not text.isascii():
        text = "".join(map(_plain, text))
    return _settle(_parse(text, region if region in SUPPORTED_REGIONS else None))


def _plain(char: str) -> str:
    """The character as the library knows it, which has only some of the world's spaces, dashes and digits.

    Numbers copied from address books come wrapped in direction marks; French ones have narrow no-break spaces.
    """
    category = unicodedata.category(char)
    if category == "Nd":
        # The library reads them, except in numbers with letters, where it drops them.
        return str(unicodedata.digit(char))
    return {"Cf": "", "Zs": " ", "Pd": "-"}.get(category, "+" if char in "＋﹢⁺" else char)


def _parse(text: str, region: str | None) -> int:
    """The library's own reading of a text: E.164 digits, or 0."""
    try:
        number = parse(text, region)
    except NumberParseException:
        return 0
    # `is_possible_number` would also accept IS_POSSIBLE_LOCAL_ONLY: +1 555 0100 cannot be texted.
    if is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return 0
    digits = f"{number.country_code}{national_significant_number(number)}"
    return int(digits) if _MIN_DIGITS <= len(digits) <= _MAX_DIGITS else 0


def _settle(digits: int) -> int:
    """Read again what was read until it stays the same. 0 if it ends in no number, or nowhere."""
    for _ in range(_MAX_STEPS):
        if not digits:
            return 0
        spelling = f"+{digits}"
        if _CANONICAL.read(spelling):
            return digits
        again = _parse(spelling, None)
        if again == digits:
            again = _without_trunk(digits)
            if again == digits:
                return digits
        digits = again
    return 0


def _without_trunk(digits: int) -> int:
    """What is left without the national prefix, if that is a valid number and the whole is none; else the whole."""
    code = _calling_code(f"+{digits}")
    metadata = _metadata(code)
    head = code + ((metadata and metadata.national_prefix) or "")
    if len(head) > len(code) and str(digits).startswith(head):
        bare = _parse(f"+{code}{str(digits)[len(head) :]}", None)
        if bare and _is_valid(bare) and not _is_valid(digits):
            return bare
    return digits


def _is_valid(digits: int) -> bool:
    return is_valid_number(parse(f"+{digits}", None))


def _metadata(code: str) -> PhoneMetadata | None:
    """What the library goes by for a calling code: the metadata of its main region."""
    region = region_code_for_country_code(int(code))
    return PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)


class _CanonicalSpellings:
    r"""Tells texts that the library is proven to read as the very digits that they spell.

    The proof, for a text "+", a calling code and n digits, all ASCII. With nothing but digits after the "+" the
    library finds no extension and no parameter. After "+" it takes the calling code off, whatever the default region
    is (calling codes are prefix-free). It then looks for the national prefix of the code's main region at the start of
    the rest, and changes nothing if the pattern does not match there, or matches nothing at all (Argentina's always
    matches) with no group taking part. The number is possible if n is among the possible lengths of that region. So a
    text is canonical if n is such a length and no match of the prefix pattern takes a digit. Where one does, the
    library decides. The national prefix that `_without_trunk` looks at is always such a match.

    The rules are made from the library's metadata, for each calling code when it is first met: loading all metadata
    takes 30 to 100 ms. Not locked: two threads may make a rule twice, the same one.
    """

    def __init__(self) -> None:
        self._patterns: dict[str, re.Pattern[str]] = {}
        self._listed: frozenset[str] = frozenset()
        self._list(self._listed)

    def read(self, text: str) -> int:
        """The digits of a canonical spelling, else 0: ask the library."""
        patterns = self._patterns
        pattern = patterns.get(text[1:2]) or patterns.get(text[1:3]) or patterns.get(text[1:4])
        if pattern is None:
            code = _calling_code(text)
            if not code:
                return 0
            pattern = self._pattern_of(code)
        return int(text) if pattern.fullmatch(text) else 0

    def all_of(self, texts: Sequence[str]) -> bool:
        """Whether every text is a canonical spelling, as far as the codes met so far tell: no is not final."""
        joined = _lines(texts)
        # A text with a newline of its own would make two lines.
        return self._other_line.search(joined) is None and joined.count("\n") == len(texts)

    def find(self, texts: Sequence[str]) -> list[str]:
        """For each text the text itself where it is a canonical spelling, else ""."""
        if len(texts) >= _LIST:
            codes = {_calling_code(head) for head in {text[:4] for text in texts}} - {""}
            if not codes <= self._listed:
                self._list(self._listed | codes)
            # Each line is one match, so the answers are in the order of the texts.
            found: list[str] = self._each_line.findall(_lines(texts))
            if len(found) == len(texts):
                return found
        return [text if self.read(text) else "" for text in texts]

    def _pattern_of(self, code: str) -> re.Pattern[str]:
        if code not in self._patterns:
            self._patterns[code] = _spelling_pattern(code)
        return self._patterns[code]

    def _list(self, codes: frozenset[str]) -> None:
        """Compile the patterns for lists: a millisecond for five codes, 30 for all that there are."""
        spelling = self._any_of(sorted(codes), 1)
        self._other_line = re.compile(rf"\n(?!(?:{spelling})(?:\n|\Z))", re.ASCII)
        self._each_line = re.compile(rf"\n(?:({spelling})(?=\n|\Z)|[^\n]*)", re.ASCII)
        self._listed = codes

    def _any_of(self, codes: Sequence[str], depth: int) -> str:
        """The patterns of sorted codes as one. It branches digit by digit: `re` tries alternatives in turn."""
        if len(codes) < 2:
            return self._pattern_of(codes[0]).pattern if codes else _NEVER.pattern
        branches = (list(group) for _, group in itertools.groupby(codes, lambda code: code[:depth]))
        return "(?:" + "|".join(self._any_of(branch, depth + 1) for branch in branches) + ")"


def _lines(texts: Sequence[str]) -> str:
    """The texts as one string, a newline before each."""
    return "\n".join(["", *texts])


def _spelling_pattern(code: str) -> re.Pattern[str]:
    """The pattern of the canonical spellings of a calling code. What it does not match may still be a number."""
    metadata = _metadata(code)
    if metadata is None or metadata.general_desc is None:
        return _NEVER
    desc = metadata.general_desc
    lengths = set(desc.possible_length) - set(desc.possible_length_local_only)
    lengths &= set(range(_MIN_DIGITS - len(code), _MAX_DIGITS - len(code) + 1))
    prefix = metadata.national_prefix_for_parsing or _NEVER.pattern
    nothing = re.match(prefix, "")
    if not lengths or (nothing and nothing.lastindex):
        return _NEVER
    # Groups would become answers of `findall`. "$" stands for the end of the number, which is not the end of a list.
    prefix = re.sub(r"\((?!\?)", "(?:", prefix).replace("$", "(?![0-9])")
    digits = "|".join(f"[0-9]{{{length}}}" for length in sorted(lengths))
    # The look-behind lets a match of nothing pass: it ends where it began, right after the calling code.
    return re.compile(rf"\+{code}(?!(?:{prefix})(?<!\+{code}))(?:{digits})", re.ASCII)


_CANONICAL = _CanonicalSpellings()
