"""Reading a text message as plain words, whatever the phone did to it.

Every function here takes time linear in its input, whatever that is: bodies come from strangers.
"""

from __future__ import annotations

import re
import unicodedata

_SPACE = " "
_TABLE_LIMIT = 20_000  # characters remembered; more than any real traffic has, and about 2 MB

# Part of words, or invisible, by category, and yet neither: compatibility forms of emoji that would become letters
# ("STOP ™" is not "stoptm"), and the modifier letters that stand for apostrophes.
_ALSO_SPACE = frozenset("ʹʺʻʼʽˈ™ℹ㊗㊙") | {chr(c) for c in range(0x1F200, 0x1F266)}
# Letters and marks by category that nobody sees: fillers, joiners, variation selectors, and the tatweel, which only
# stretches an Arabic word.
_ALSO_OUT = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\u0640") | {
    chr(c) for c in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}
_BREAKS = frozenset("\t\n\v\f\r\x85")
_KEYCAP = re.compile("[0-9#*]\ufe0f?\u20e3")

# Nothing here can go back further than a line break, so that a search is linear.
_SIGNATURE = re.compile(
    r"[\n\r][ \t\xa0\u200b-\u200f\ufeff]*"
    r"(?:--[ \t\xa0]*(?=[\n\r]|\Z)|_{8}"
    r"|sent (?:from|via|with|using|wirelessly) |get outlook for "
    r"|envoy(?:é|e\u0301|e) (?:de|depuis|à partir de|avec) |enviado (?:desde|do|de|a partir do|con|com) |inviato da"
    r"|gesendet (?:von|mit) |von mein[a-z]{0,3} [^\n\r]{1,40} gesendet|verstuurd vana)",
    re.IGNORECASE,
)


def normalise(body: str) -> str:
    """Reduce a text to its letters and digits, in lower case, with one space between words.

    Two texts are the same to a reader of keywords if this is: Unicode NFKC and case folding; zero-width and control
    characters, accents and the Arabic tatweel out; punctuation, quotes, symbols, emoji and every white space as space.
    Marks that make another letter stay: vowel signs, nukta and virama of Indic scripts, voicing of kana.

    Args:
        body: Any `str`, unpaired surrogates and NUL included.

    Returns:
        The words, with single spaces between them and none around; "" if there are none.
    """
    return _SPACE.join(fold(body).split())


def fold(body: str) -> str:
    """`normalise`, but with spaces as they fall: several, and at the ends. The only white space is U+0020."""
    if body.isascii():
        return body.translate(_ASCII)
    if "\u20e3" in body:
        body = _KEYCAP.sub(_SPACE, body)
    folded = body.translate(_TABLE)
    if folded.isascii():
        return folded
    # The table gives NFKD; NFC composes it, so that a voiced kana or a Hangul syllable is one letter again. It sorts
    # marks by insertion, in quadratic time (16 KiB of two marks in turn: a tenth of a second), so they come sorted.
    return unicodedata.normalize("NFC", _TABLE.runs.sub(_in_canonical_order, folded))


def _in_canonical_order(run: re.Match[str]) -> str:
    return "".join(sorted(run[0], key=unicodedata.combining))


def cut_signature(body: str) -> str:
    """The text without the signature that a phone or mail program put under it, and without what follows that.

    Known are the mail convention (a line of two dashes, RFC 3676, 4.3), Outlook's line of underscores, and "Sent from
    my ..." in the commonest languages. The first line with anything on it is never a signature.
    """
    if "\n" not in body and "\r" not in body:
        return body
    first = len(body) - len(body.lstrip())
    signature = _SIGNATURE.search(body, first)
    return body[: signature.start()] if signature else body


def _folded(char: str) -> str:
    """What `fold` makes of one character, before composition."""
    if char in _ALSO_SPACE:
        return _SPACE
    decomposed = "".join(map(_kept, unicodedata.normalize("NFKD", char)))
    # Case folding may bring new compatibility forms and marks: "İ" becomes "i" and a dot.
    return "".join(map(_kept, unicodedata.normalize("NFKD", decomposed.casefold()))).replace("ı", "i")


def _kept(char: str) -> str:
    """A fully decomposed character, a space in its place, or nothing."""
    category = unicodedata.category(char)
    if char in _BREAKS or char in _ALSO_SPACE or category[0] in "ZPS" or category in {"Cs", "Co", "Cn"}:
        # Unassigned characters are the emoji of the years to come, unpaired surrogates halves of emoji.
        return _SPACE
    if char in _ALSO_OUT or category in {"Cc", "Cf", "Me"}:
        return ""
    # Class 0 is no accent, 6 to 9 are part of the letter (Han readings, nukta, kana voicing, virama). 1 strikes the
    # letter through, and the others stand above, below or beside it.
    return char if unicodedata.combining(char) in {0, 6, 7, 8, 9} else ""


class _Table(dict[int, str]):
    """The translation of every character that was met, made when it is met first."""

    def __init__(self) -> None:
        super().__init__()
        # The marks with a combining class that stay, among the characters met: at most the hundred that there are.
        self._marks = ""
        self.runs = re.compile("(?!)")
        """Matches several of those marks in a row."""

    def __missing__(self, codepoint: int) -> str:
        folded = _folded(chr(codepoint))
        new = "".join(mark for mark in folded if unicodedata.combining(mark) and mark not in self._marks)
        if new:
            self._marks += new
            self.runs = re.compile(f"[{re.escape(self._marks)}]{{2,}}")
        if len(self) < _TABLE_LIMIT:
            self[codepoint] = folded
        return folded


_TABLE = _Table()
# None, not "", deletes: `str.translate` has a quick way for tables of that form.
_ASCII = {codepoint: _folded(chr(codepoint)) or None for codepoint in range(128)}
