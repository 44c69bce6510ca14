"""What an inbound text asks for: opt out, opt in, help, or nothing of the kind.

The rules come from two sources. 47 CFR 64.1200(a)(10): "stop", "quit", "end", "revoke", "opt out", "cancel" and
"unsubscribe" in reply to a text always revoke consent. CTIA Messaging Principles and Best Practices, 5.1.3:
capitalisation, punctuation and the like never make a difference to an opt-out.

A text is a keyword if nothing else is in it, read generously:

* Spaces, punctuation, emoji and accents do not count: "S.T.O.P", "un subscribe", "OPT-OUT", "stôp 🙏".
* A letter may be held down, so each run of a letter may be longer than the keyword's, and never shorter: "stoppp" is
  STOP, "stopal" is not STOP ALL.
* Keywords of one action may follow each other: "STOP STOP", "stop end". Those of two actions may not: "stop start".
* A signature that the phone puts under a text is no part of it.

An opt-in lifts a block, so it is read strictly: its words stand as words or spelled out ("s t a r t"), and there is
nothing below the signature. "un stop", "St. Art" and "START" above a signature above "please stop" opt nobody in.

Where a text could be read as two actions, the opt-out wins.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from stopline_server.domain.text import cut_signature, fold, normalise

__all__ = [
    "DEFAULT_KEYWORDS",
    "DEFAULT_LEXICON",
    "Action",
    "Keyword",
    "Lexicon",
    "MatchKind",
    "Reading",
    "normalise",
    "read_body",
]


class Action(enum.Enum):
    """What a text asks for, with the API's numbers (`InboundAction`)."""

    NONE = 1
    OPT_OUT = 2
    OPT_IN = 3
    HELP = 4
    REVIEW = 5


class MatchKind(enum.Enum):
    """The rung that a text was matched on, strictest first, with the API's numbers."""

    KEYWORD = 1
    PHRASE = 2
    REVIEW = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in a text."""

    action: Action
    kind: MatchKind | None
    """None where nothing was matched; then `keyword` and `language` are ""."""
    keyword: str
    """The keyword as it stands in the lexicon: the spelling nearest to the text, the first of several keywords."""
    language: str
    """The language of the keyword, as a BCP 47 tag."""
    whole_account: bool = False
    """Whether it means the whole account whatever program it came with: STOP ALL anywhere in it."""


class Keyword(NamedTuple):
    """An entry of a lexicon."""

    action: Action
    """OPT_OUT, OPT_IN or HELP."""
    spelling: str
    language: str
    """A BCP 47 tag."""
    whole_account: bool = False


_PRECEDENCE = (Action.OPT_OUT, Action.OPT_IN, Action.HELP)
_NOTHING = Reading(Action.NONE, None, "", "")
_RUN = re.compile(r"(.)\1*", re.DOTALL)
_LEADING = re.compile(r"[\W_]*")
# A letter that stands alone, before another one that does.
_SPELLED_OUT = re.compile(r"(?<!\S)(\S) (?=\S(?!\S))")


class _Form(NamedTuple):
    """What a matching text looks like, spaces apart: the same for OPT OUT, OPT-OUT and OPTOUT."""

    runs: tuple[tuple[str, int], ...]
    """Each letter, and the least count of it. In `Lexicon._plain` a space is a letter too, and ends the form."""
    keywords: tuple[Keyword, ...]
    """The spellings, in the lexicon's order."""
    whole_account: bool


class _Path(NamedTuple):
    """What was matched on the way to a place in a text."""

    first: _Form | None
    whole_account: bool

    def then(self, form: _Form) -> _Path:
        return _Path(self.first or form, self.whole_account or form.whole_account)


_Starts = Mapping[str, tuple[_Form, ...]]
"""The forms by their first letter."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """A set of keywords, compiled. Made by `Lexicon.of`, never changed: another set is another lexicon."""

    keywords: tuple[Keyword, ...]
    """The entries it was made of, in their order."""
    _starts: tuple[tuple[Action, _Starts], ...] = field(repr=False, compare=False)
    """For each action that has keywords, in the order of precedence."""
    _plain: _Starts = field(repr=False, compare=False)
    """The opt-ins once more, with their spaces."""

    @staticmethod
    def of(keywords: Iterable[Keyword]) -> Lexicon:
        """Compile keywords.

        Args:
            keywords: In any order. Of two with the same letters the earlier gives its name and language to a text that
                is spelled like neither.

        Raises:
            ValueError: A keyword without a letter or digit, or with an action that no keyword can have.
        """
        keywords = tuple(keywords)
        starts = []
        for keyword in keywords:
            if keyword.action not in _PRECEDENCE:
                raise ValueError(f"{keyword.spelling!r}: a keyword cannot mean {keyword.action.name}")
            if not normalise(keyword.spelling):
                raise ValueError(f"{keyword.spelling!r}: a keyword needs a letter or digit")
        for action in _PRECEDENCE:
            forms = _forms([keyword for keyword in keywords if keyword.action is action], _loose_spelling)
            if forms:
                starts.append((action, forms))
        opt_ins = [keyword for keyword in keywords if keyword.action is Action.OPT_IN]
        return Lexicon(keywords, tuple(starts), _forms(opt_ins, _plain_spellings))


def _forms(keywords: list[Keyword], spell: Callable[[str], set[str]]) -> _Starts:
    by_letters: dict[str, list[Keyword]] = {}
    for keyword in keywords:
        for letters in sorted(spell(keyword.spelling)):
            by_letters.setdefault(letters, []).append(keyword)
    starts: dict[str, tuple[_Form, ...]] = {}
    for letters, same in by_letters.items():
        form = _Form(tuple(_runs(letters)), tuple(same), any(keyword.whole_account for keyword in same))
        starts[letters[0]] = (*starts.get(letters[0], ()), form)
    return MappingProxyType(starts)


def _loose_spelling(spelling: str) -> set[str]:
    return {fold(spelling).replace(" ", "")}


def _plain_spellings(spelling: str) -> set[str]:
    # As one word too, because that is what a spelled-out text of several words becomes.
    return {_plain_words(spelling), fold(spelling).replace(" ", "") + " "}


def _plain_words(text: str) -> str:
    """The words of a text, a space after each. Letters that stand alone make one word."""
    return _SPELLED_OUT.sub(r"\1", normalise(text)) + " "


def _runs(letters: str) -> Iterator[tuple[str, int]]:
    for run in _RUN.finditer(letters):
        yield run[1], run.end() - run.start()


def read_body(body: str, lexicon: Lexicon) -> Reading:
    """Read a text against a lexicon.

    Takes time linear in the body, whatever it holds, and 5 to 12 µs for an ordinary text of 160 characters:
    the more, the longer it looks like a keyword. 16 KiB of nothing but STOP take 15 ms.

    Args:
        body: The text as it came. Any `str`, unpaired surrogates and NUL included.
        lexicon: The keywords that count.

    Returns:
        What it asks for. `Action.NONE` where it is no keyword.
    """
    text = cut_signature(body)
    letters = fold(text).replace(" ", "")
    for action, starts in lexicon._starts:
        # Most texts do not even begin with a letter that a keyword begins with, and this is all that they cost.
        path = _match(letters, starts) if letters[:1] in starts else None
        if path is not None and action is Action.OPT_IN:
            path = None if "\n" in _below(text, body) else _match(_plain_words(text), lexicon._plain)
        if path is not None and path.first is not None:
            keyword = _nearest(path.first.keywords, body)
            return Reading(action, MatchKind.KEYWORD, keyword.spelling, keyword.language, path.whole_account)
    return _NOTHING


def _below(text: str, body: str) -> str:
    """The signature that was cut from a body, and what stood below it."""
    return body[len(text) :].strip().replace("\r", "\n")


def _match(letters: str, starts: _Starts) -> _Path | None:
    """Match a text as one or more forms, one after the other, or return None.

    All ways to divide the text are followed at once, a run of one letter at a time. A form holds at most one place at a
    time for each run since it began, so a run costs no more than the lexicon is long, and the first run that leads
    nowhere ends it: most texts fail on their first word.
    """
    # A form that ended with the last run, so that another may begin with this one.
    ended: _Path | None = _Path(None, whole_account=False)
    # The forms that are under way, the next run of each, and what came before. Those that began earlier come first, so
    # that the longer of two ways to read a text is the one that tells.
    open_forms: list[tuple[_Form, int, _Path]] = []
    for letter, count in _runs(letters):
        began, used = ended, 0
        ended, still_open = None, []
        for form, place, path in open_forms:
            wanted, least = form.runs[place]
            if wanted != letter or least > count:
                continue
            if place + 1 < len(form.runs):
                still_open.append((form, place + 1, path))
                continue
            ended = ended or path
            # The next form may begin with the letter that this one ends with, and share the run: "unsubscribeend".
            if began is None or least < used:
                began, used = path, least
        if began is not None:
            for form in starts.get(letter, ()):
                if form.runs[0][1] <= count - used:
                    path = began.then(form)
                    if len(form.runs) > 1:
                        still_open.append((form, 1, path))
                    else:
                        ended = ended or path
        if ended is None and not still_open:
            return None
        open_forms = still_open
    return ended


def _nearest(keywords: tuple[Keyword, ...], body: str) -> Keyword:
    """The spelling that the body begins with: first as it is written, else word by word, else the lexicon's first."""
    if len(keywords) == 1:
        return keywords[0]
    written = _LEADING.sub("", body, count=1).casefold()
    words = normalise(body) + " "
    return max(
        keywords,
        key=lambda keyword: (
            written.startswith(keyword.spelling.casefold()),
            words.startswith(normalise(keyword.spelling) + " "),
        ),
    )


DEFAULT_KEYWORDS = (
    Keyword(Action.OPT_OUT, "STOP", "en"),
    Keyword(Action.OPT_OUT, "STOP ALL", "en", whole_account=True),
    Keyword(Action.OPT_OUT, "STOPALL", "en", whole_account=True),
    Keyword(Action.OPT_OUT, "UNSUBSCRIBE", "en"),
    Keyword(Action.OPT_OUT, "CANCEL", "en"),
    Keyword(Action.OPT_OUT, "END", "en"),
    Keyword(Action.OPT_OUT, "QUIT", "en"),
    Keyword(Action.OPT_OUT, "REVOKE", "en"),
    Keyword(Action.OPT_OUT, "OPT OUT", "en"),
    Keyword(Action.OPT_OUT, "OPT-OUT", "en"),
    Keyword(Action.OPT_OUT, "OPTOUT", "en"),
    # YES is none: it answers too many other questions.
    Keyword(Action.OPT_IN, "START", "en"),
    Keyword(Action.OPT_IN, "UNSTOP", "en"),
    Keyword(Action.OPT_IN, "SUBSCRIBE", "en"),
    Keyword(Action.HELP, "HELP", "en"),
    Keyword(Action.HELP, "INFO", "en"),
)
"""What counts for every account: the words of 47 CFR 64.1200(a)(10), and those that carriers and CTIA 5.1.3 expect."""

DEFAULT_LEXICON = Lexicon.of(DEFAULT_KEYWORDS)
