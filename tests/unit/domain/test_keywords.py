"""What counts as a keyword, in whatever way it is typed, and that reading it costs no more than the text is long."""

import dataclasses
import itertools
import json
import re
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stopline_server.domain.keywords import (
    DEFAULT_KEYWORDS,
    DEFAULT_LEXICON,
    Action,
    Keyword,
    Lexicon,
    MatchKind,
    Reading,
    normalise,
    read_body,
)
from stopline_server.domain.text import cut_signature, fold

NOTHING = Reading(Action.NONE, None, "", "", whole_account=False)
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "keywords.json").read_text(encoding="utf-8"))
ANY_CHARACTER = st.characters(exclude_categories=())
ANY_TEXT = st.text(ANY_CHARACTER)


def read(body: str) -> Reading:
    return read_body(body, DEFAULT_LEXICON)


def squeezed(text: str) -> str:
    return normalise(text).replace(" ", "")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: ascii(vector["body"])[1:40])
def test_vector(vector: dict[str, str]) -> None:
    reading = read(vector["body"])
    assert (reading.action.name, reading.keyword) == (vector["action"], vector["keyword"])
    matched = reading.action is not Action.NONE
    assert reading.kind is (MatchKind.KEYWORD if matched else None)
    assert reading.language == ("en" if matched else "")


def test_vectors_are_many_and_each_is_there_once() -> None:
    assert len(VECTORS) >= 120
    assert len({vector["body"] for vector in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize("keyword", DEFAULT_KEYWORDS, ids=lambda keyword: keyword.spelling)
def test_every_keyword_is_read_as_itself(keyword: Keyword) -> None:
    expected = Reading(keyword.action, MatchKind.KEYWORD, keyword.spelling, "en", keyword.whole_account)
    for body in (keyword.spelling, keyword.spelling.lower(), keyword.spelling.title(), f" “{keyword.spelling}”!\n"):
        assert read(body) == expected


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        ("STOP ALL", True), ("stopall", True), ("STOP STOP ALL", True), ("STOP ALL STOP", True), ("stop allll", True),
        ("end stop-all quit", True), ("STOP", False), ("stop stop", False), ("START", False), ("ALL", False),
    ],
)  # fmt: skip
def test_stop_all_means_the_whole_account_wherever_it_stands(body: str, whole: bool) -> None:
    assert read(body).whole_account is whole


@pytest.mark.parametrize(
    "body", ["un subscribe", "UN-SUBSCRIBE", "un subscribe unsubscribe", "unsubscribe un subscribe"]
)
def test_un_subscribe_is_never_an_opt_in(body: str) -> None:
    assert read(body).keyword == "UNSUBSCRIBE"


class TestVariants:
    """However a keyword is typed, it is the same keyword."""

    WIDTHS = (str, str.upper, lambda letter: chr(ord(letter) + 0xFEE0), lambda letter: chr(0x1D5EE - 97 + ord(letter)))
    MARKS = ("", "", "\u0301", "\u0327", "\u0336", "\u20dd", "\ufe0f")
    NOISE = (
        "", "", "", " ", ".", "-", "_", "*", "…", "”", "\t", "\u00a0", "\u200b", "\u200d", "\u00ad", "\ufeff",
        "\u200f", "\u202e", "\u0000", "\ud83d", "🙏", "👍🏽", "👩\u200d👩\u200d👧", "🇨🇦", "❤\ufe0f", "#\ufe0f\u20e3",
        "™", "\u3164", "\u0640", "€", "\U000e0067",
    )  # fmt: skip

    @given(data=st.data(), keyword=st.sampled_from(DEFAULT_KEYWORDS))
    @settings(max_examples=500, deadline=None)
    def test_case_width_accents_spacing_punctuation_and_length(self, data: st.DataObject, keyword: Keyword) -> None:
        noise = st.sampled_from(self.NOISE)
        parts = [data.draw(noise)]
        for letter in squeezed(keyword.spelling):
            written = data.draw(st.sampled_from(self.WIDTHS))(letter) + data.draw(st.sampled_from(self.MARKS))
            parts += [written] * data.draw(st.integers(1, 3)) + [data.draw(noise)]
        reading = read("".join(parts))
        assert (reading.action, reading.whole_account) == (keyword.action, keyword.whole_account)
        assert squeezed(reading.keyword) == squeezed(keyword.spelling)

    @given(
        keyword=st.sampled_from(DEFAULT_KEYWORDS),
        count=st.integers(1, 5),
        glue=st.sampled_from(["", " ", "! ", "\n", "🙏"]),
    )
    @settings(deadline=None)
    def test_said_several_times(self, keyword: Keyword, count: int, glue: str) -> None:
        reading = read(glue.join([keyword.spelling] * count))
        assert (reading.action, reading.whole_account) == (keyword.action, keyword.whole_account)
        assert squeezed(reading.keyword) == squeezed(keyword.spelling)

    @given(
        keywords=st.lists(st.sampled_from(DEFAULT_KEYWORDS), min_size=2, max_size=5),
        glue=st.sampled_from([" ", "", "\n", ", "]),
    )
    @settings(max_examples=300, deadline=None)
    def test_several_keywords_are_one_only_if_they_mean_the_same(self, keywords: list[Keyword], glue: str) -> None:
        reading = read(glue.join(keyword.spelling for keyword in keywords))
        if len({keyword.action for keyword in keywords}) == 1:
            assert reading.action is keywords[0].action
            assert squeezed(reading.keyword) == squeezed(keywords[0].spelling)
            assert reading.whole_account == any(keyword.whole_account for keyword in keywords)
        else:
            assert reading == NOTHING

    @given(
        keyword=st.sampled_from(DEFAULT_KEYWORDS), extra=st.text("abcdefghijklmnopqrstuvwxyz0123456789é停", min_size=1)
    )
    @settings(max_examples=300, deadline=None)
    def test_a_letter_too_many_or_too_few_is_no_keyword(self, keyword: Keyword, extra: str) -> None:
        # Judged by a pattern that says the rule in another way, and may take its time on short texts.
        letters = squeezed(keyword.spelling)
        for body in (letters + extra, extra + letters, letters[:-1], letters[1:], letters[:2] + extra + letters[2:]):
            assert (read(body).action is not Action.NONE) == any(
                oracle(action).fullmatch(squeezed(body)) for action in (Action.OPT_OUT, Action.OPT_IN, Action.HELP)
            )


def oracle(action: Action, keywords: tuple[Keyword, ...] = DEFAULT_KEYWORDS) -> re.Pattern[str]:
    """The rule of matching as a pattern with backtracking: right, and exponential at worst."""
    forms = {squeezed(keyword.spelling) for keyword in keywords if keyword.action is action}
    runs = [[(letter, len(list(run))) for letter, run in itertools.groupby(form)] for form in forms]
    return re.compile("(?:" + "|".join("".join(f"{letter}{{{n},}}" for letter, n in form) for form in runs) + ")+")


@pytest.mark.parametrize(
    "words",
    [("ab",), ("aab",), ("aba",), ("aa",), ("a", "bb"), ("ab", "ba"), ("aba", "bb"), ("abba", "bab"),
     ("aab", "baa", "b"), ("aabb", "bba"), ("aa", "ab", "bbb"), ("abab", "ba"), ("abb", "ab", "ba"),
     ("aabaa", "abbb", "bb")],
)  # fmt: skip
def test_matching_is_right_for_every_short_text(words: tuple[str, ...]) -> None:
    # Two letters make every kind of doubt there is: keywords that end with the letter that others begin with, and runs
    # to be shared out between them.
    keywords = tuple(Keyword(Action.OPT_OUT, word, "en") for word in words)
    lexicon, pattern = Lexicon.of(keywords), oracle(Action.OPT_OUT, keywords)
    for length in range(1, 13):
        for letters in itertools.product("ab", repeat=length):
            text = "".join(letters)
            assert (read_body(text, lexicon).action is Action.OPT_OUT) == bool(pattern.fullmatch(text)), text


class TestLexicon:
    def test_in_doubt_it_is_an_opt_out(self) -> None:
        opt_in, opt_out = (
            Keyword(Action.OPT_IN, "on off", "en"),
            (Keyword(Action.OPT_OUT, w, "en") for w in ("on", "off")),
        )
        lexicon = Lexicon.of([opt_in, *opt_out, Keyword(Action.HELP, "off", "en")])
        assert read_body("on off", lexicon).action is Action.OPT_OUT
        assert read_body("off", lexicon).action is Action.OPT_OUT

    def test_the_longer_of_two_ways_to_read_a_text_tells(self) -> None:
        lexicon = Lexicon.of([Keyword(Action.OPT_OUT, word, "pt") for word in ("para", "paratodos", "todos")])
        assert read_body("para todos", lexicon).keyword == "paratodos"
        assert read_body("para para", lexicon).keyword == "para"

    @pytest.mark.parametrize(
        ("spelling", "language", "bodies"),
        [
            ("ARRÊT", "fr", ["arret", "Arrêt!", "ARRE\u0302T", "a r r e t", "arrrêêttt"]),
            ("停止", "zh", ["停止", "停 止。", "停止🙏", "停止停止"]),
            ("توقف", "ar", ["توقف", "تــوقــف", "تَوَقَّف", "\u200fتوقف\u200f"]),
            ("रोकें", "hi", ["रोकें", "रोकें।", "\u200bरोकें", "रो\u200dकें"]),
            ("ストップ", "ja", ["ストップ", "ｽﾄｯﾌﾟ", "ストッフ\u309a", "ストップ。"]),
            ("구독취소", "ko", ["구독 취소", unicodedata.normalize("NFD", "구독취소")]),
            ("СТОП", "ru", ["стоп", "Стоп!", "с т о п"]),
            ("DURDUR", "tr", ["durdur", "DURDUR"]),
            ("İPTAL", "tr", ["iptal", "İPTAL", "ıptal", "IPTAL"]),
            ("STRAßE", "de", ["strasse", "STRASSE", "Straße"]),
        ],
    )
    def test_keywords_of_every_script(self, spelling: str, language: str, bodies: list[str]) -> None:
        lexicon = Lexicon.of([*DEFAULT_KEYWORDS, Keyword(Action.OPT_OUT, spelling, language)])
        for body in bodies:
            expected = Reading(Action.OPT_OUT, MatchKind.KEYWORD, spelling, language)
            assert read_body(body, lexicon) == expected, body

    @pytest.mark.parametrize(
        ("one", "other"), [("हिन्द", "हन्द"), ("か", "が"), ("ハ", "パ"), ("क", "क़"), ("रोकें", "रुको")]
    )
    def test_marks_that_make_another_letter_are_no_accents(self, one: str, other: str) -> None:
        assert read_body(other, Lexicon.of([Keyword(Action.OPT_OUT, one, "und")])) == NOTHING

    def test_a_run_shorter_than_the_keyword_is_none(self) -> None:
        lexicon = Lexicon.of([Keyword(Action.OPT_OUT, "PARA AABB", "en")])
        assert read_body("paraaabb", lexicon).action is Action.OPT_OUT
        assert read_body("paraabb", lexicon) == NOTHING

    @pytest.mark.parametrize("spelling", ["", " ", "!", "🙏", "\u200b"])
    def test_a_keyword_needs_letters(self, spelling: str) -> None:
        with pytest.raises(ValueError, match="needs a letter"):
            Lexicon.of([Keyword(Action.OPT_OUT, spelling, "en")])

    @pytest.mark.parametrize("action", [Action.NONE, Action.REVIEW])
    def test_a_keyword_has_a_meaning(self, action: Action) -> None:
        with pytest.raises(ValueError, match="cannot mean"):
            Lexicon.of([Keyword(action, "STOP", "en")])

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            DEFAULT_LEXICON.keywords = ()  # type: ignore[misc]
        assert Lexicon.of(DEFAULT_LEXICON.keywords) == DEFAULT_LEXICON
        assert len({DEFAULT_LEXICON, Lexicon.of(DEFAULT_KEYWORDS), Lexicon.of([])}) == 2

    def test_an_empty_one_matches_nothing(self) -> None:
        assert read_body("STOP", Lexicon.of([])) == read_body("", Lexicon.of([])) == NOTHING


class TestSignature:
    @pytest.mark.parametrize(
        ("body", "left"),
        [
            ("Stop\n\nSent from my iPhone", "Stop\n"),
            ("Stop\r\nSENT FROM MY GALAXY\r\nmore", "Stop\r"),
            ("Stop\n-- \nJane", "Stop"),
            ("Stop\n--", "Stop"),
            ("Stop\n  --\t\nJane", "Stop"),
            ("Stop\n---- \nJane", "Stop\n---- \nJane"),
            ("Stop\n--flags", "Stop\n--flags"),
            ("Hi Jane\nI sent from my desk", "Hi Jane\nI sent from my desk"),
            ("Sent from my iPhone", "Sent from my iPhone"),
            ("\n \nSent from my iPhone\nstop", "\n \nSent from my iPhone\nstop"),
            ("\n\n-- \nstop\n-- \nJane", "\n\n-- \nstop"),
            ("Stop\n\u200eGet Outlook for Android", "Stop"),
            ("Stop\nVon meinem Samsung Galaxy gesendet", "Stop"),
            ("Stop\nInviato dal mio iPhone", "Stop"),
            ("Stop\nVerstuurd vanaf mijn iPhone", "Stop"),
        ],
    )
    def test_cut(self, body: str, left: str) -> None:
        assert cut_signature(body) == left

    @given(st.text(st.sampled_from("-_ \n\rsSent from my\u200b"), max_size=40))
    def test_the_first_line_with_anything_on_it_stays(self, body: str) -> None:
        kept = cut_signature(body)
        assert body.startswith(kept)
        lines = [line for line in re.split("[\n\r]", body) if line.strip()]
        assert not lines or lines[0] in kept


class TestNormalise:
    @pytest.mark.parametrize(
        ("body", "normal"),
        [
            ("  Hello,\tWORLD!\r\n", "hello world"),
            ("don't", "don t"),
            ("don’t", "don t"),
            ("Ångström", "angstrom"),
            ("ﬁn ℌ ½", "fin h 1 2"),
            ("a\u200b\u00ad\u2060b", "ab"),
            ("a\x00\x1c\x7fb", "ab"),
            ("a\u2028b\x85c\x0bd", "a b c d"),
            ("1\ufe0f\u20e3 2", "2"),
            ("1\u0301", "1"),
            ("👩🏽\u200d🚀\ufe0f", ""),
            ("\ud800x\udfff", "x"),
            ("\U0010fffd\U0001fb00\u0378x", "x"),
            ("हिन्दी", "हिन्दी"),
            ("ﷺ", unicodedata.normalize("NFKC", "ﷺ")),
            ("ΑΣ", "ας".replace("ς", "σ")),
        ],
    )
    def test_table(self, body: str, normal: str) -> None:
        assert normalise(body) == normal

    @given(ANY_TEXT)
    @settings(max_examples=500, deadline=None)
    def test_nothing_raises_and_words_are_parted_by_one_space(self, body: str) -> None:
        words = normalise(body).split(" ")
        assert words == [""] or all(words)
        assert normalise(body) == normalise(normalise(body))
        assert read(body) is not None

    @given(ANY_TEXT)
    @settings(max_examples=500, deadline=None)
    def test_every_unicode_form_of_a_text_is_the_same(self, body: str) -> None:
        for form in ("NFC", "NFD"):
            assert normalise(unicodedata.normalize(form, body)) == normalise(body)

    @given(ANY_TEXT, st.text(ANY_CHARACTER.filter(lambda c: not c.isascii()), min_size=1))
    @settings(deadline=None)
    def test_the_quick_way_for_ascii_answers_the_same(self, body: str, other: str) -> None:
        body = body.encode("ascii", "ignore").decode()
        assert normalise(f"{body} {other}") == f"{normalise(body)} {normalise(other)}".strip()

    def test_every_character_settles(self) -> None:
        for char in map(chr, range(0x20000)):
            folded = fold(char)
            assert fold(folded) == folded, hex(ord(char))

    def test_marks_in_any_order_are_the_same(self) -> None:
        marks = "\u093c\u094d\u0301\u0316"
        assert len({normalise("क" + "".join(order)) for order in itertools.permutations(marks)}) == 1


@pytest.mark.parametrize(
    "unit",
    [
        "STOP ", "stop", "stopal", "s", "st", "unsubscribe", "END", "s" * 50 + "t" * 50 + "o" * 50 + "p" * 50,
        "👩\u200d👩\u200d👧\u200d👦", "🇫🇷", "e\u0316\u0301", "क\u094d\u093c", "\u094d\u093c", "\u0301", "1\ufe0f\u20e3",
        "\u200b", "\x00", " ", "\n", "\n--x", "\n ", "\r\n", "\nvon mein x", "\nsent ", "\ud83d", "한", "ﷺ",
    ],
    ids=ascii,
)  # fmt: skip
def test_time_is_linear(unit: str) -> None:
    def best(text: str) -> float:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            read(text)
            times.append(time.perf_counter() - started)
        return min(times)

    count = 16_384 // len(unit)
    # Four times the text takes four times as long; in quadratic time it would take sixteen times. The millisecond
    # covers what is too quick to compare.
    assert best(unit * 4 * count) < 10 * best(unit * count) + 0.001
