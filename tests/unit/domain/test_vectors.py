"""The language-neutral vectors, which clients of every language may run against a server: here they run without one."""

import json
from pathlib import Path

import pytest

from stopline_server.domain.keywords import DEFAULT_KEYWORDS, DEFAULT_LEXICON, Action, MatchKind, read_body
from stopline_server.domain.phone import format_phone, is_region, read_phone, read_phones

FOLDER = Path(__file__).parents[2] / "vectors"
PHONE_CHARS = 64  # api.md: the limit of a phone


def load(name: str) -> list[dict[str, str]]:
    vectors = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    assert set(vectors) == {"description", "cases"}, "a vector file says what it is, then lists its cases"
    assert vectors["description"]
    cases: list[dict[str, str]] = vectors["cases"]
    return cases


KEYWORDS = load("keywords.json")
PHONES = load("phones.json")


@pytest.mark.parametrize("case", KEYWORDS, ids=lambda case: ascii(case["body"])[1:40])
def test_keyword(case: dict[str, str]) -> None:
    reading = read_body(case["body"], DEFAULT_LEXICON)
    assert (reading.action.name, reading.keyword) == (case["action"], case["keyword"])
    matched = reading.action is not Action.NONE
    assert reading.kind is (MatchKind.KEYWORD if matched else None)
    assert reading.language == ("en" if matched else "")


@pytest.mark.parametrize("case", PHONES, ids=lambda case: f"{ascii(case['input'])[1:40]}-{case['default_region']}")
def test_phone(case: dict[str, str]) -> None:
    digits = read_phone(case["input"], case["default_region"])
    assert (format_phone(digits) or None) == case["e164"]
    assert read_phones([case["input"]], case["default_region"]) == [digits]


def test_keywords_are_many_of_each_keyword_and_each_text_is_there_once() -> None:
    assert len(KEYWORDS) >= 120
    assert len({case["body"] for case in KEYWORDS}) == len(KEYWORDS)
    assert {case["keyword"] for case in KEYWORDS} == {keyword.spelling for keyword in DEFAULT_KEYWORDS} | {""}


def test_phones_are_many_and_each_spelling_is_there_once() -> None:
    assert len(PHONES) >= 120
    assert len({(case["input"], case["default_region"]) for case in PHONES}) == len(PHONES)
    assert {"", "US"} < {case["default_region"] for case in PHONES}
    assert all(is_region(case["default_region"]) for case in PHONES if case["default_region"])


def test_vectors_can_be_sent() -> None:
    # Strings of protobuf are UTF-8: an unpaired surrogate could not be sent, nor read by every language's JSON.
    for text in (*(case["body"] for case in KEYWORDS), *(case["input"] for case in PHONES)):
        text.encode()
    assert max(len(case["input"]) for case in PHONES) <= PHONE_CHARS
