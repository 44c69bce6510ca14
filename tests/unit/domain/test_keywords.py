"""What counts as a keyword, in whatever way it is typed, and that reading it costs no more than the text is long."""

import dataclasses
import itertools
import re
import time
import unicodedata

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
ANY_CHARACTER = st.characters(exclude_categories=())
ANY_TEXT = st.text(ANY_CHARACTER)


def read(body: str) -> Reading:
    return read_body(body, DEFAULT_LEXICON)


def squeezed(text: str) -> str:
    return normalise(text).replace(" ", "")


# The product's phrases and texts for review, and others with an opt-out word. Whatever a later rung makes of them, they
# are no keywords.
NO_KEYWORDS = (
    "stop it", "Stop it!", "the end", "please stop", "stop please", "Stop. Thank you", "stop 12345", "STOP 2", "2 stop",
    "stop by", "bus stop", "don't stop", "stop start", "START STOP", "stop help", "help stop", "stop info stop",
    "unsubscribe subscribe", "We have got to STOP this terrible bill", "please cancel my order", "stop by at 5?",
    "can you stop by at 5?", "at the end of the day", "Sent from my iPhone\nstop", "stop\nand then call me", "Re: STOP",
    "STOP=yes", "STOP ALL of this", "please stop texting me", "unsubscribe me", "opt me out please", "leave me alone",
    "remove me from your list", "do not text this number again", "no more messages", "ok\n> Reply STOP to opt out",
)  # fmt: skip


@pytest.mark.parametrize("body", NO_KEYWORDS)
def test_words_around_a_keyword(body: str) -> None:
    assert read(body).kind is not MatchKind.KEYWORD


@pytest.mark.parametrize("ours", ["STOP", "Reply STOP to opt out", "START", "Text HELP for help, STOP to end"])
@pytest.mark.parametrize(
    "quoted",
    ["Liked “{}”", "Emphasized “{}”", "Laughed at “{}”", "Loved “{}”", "Disliked “{}”", "Questioned “{}”",
     "Reacted 👍 to “{}”", "👍 to “{}”", "\u200a👍\u200a to “{}”", "Removed a heart from “{}”", "A aimé « {} »",
     "Le gustó “{}”", "Hat „{}“ mit einem Herz markiert", "已赞“{}”", "ok\n\n> {}", "On Tue, Acme wrote:\n> {}"],
)  # fmt: skip
def test_a_reaction_or_a_quote_is_no_keyword(quoted: str, ours: str) -> None:
    assert read(quoted.format(ours)).kind is not MatchKind.KEYWORD


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


class TestOptInIsPlain:
    """An opt-in lifts a block, so nothing may be read into a text: its words as they are, or spelled out."""

    @pytest.mark.parametrize(
        "body",
        ["un stop", "un. STOP", "UN-STOP", "Un\nstop", "St. Art", "star t", "s tart", "sub scribe", "sub-scribe",
         "startstart", "startunstop", "start s t o p", "s t a r t s t o p", "start t"],
    )  # fmt: skip
    def test_what_falls_apart_is_none(self, body: str) -> None:
        assert read(body) == NOTHING

    @pytest.mark.parametrize(
        "body",
        ["Start\nSent from my iPhone\nstop", "START\n-- \nplease stop texting me", "Start\r\nSent with love\r\nend",
         "START\n________\nFrom: Acme\n> Reply STOP to opt out"],
    )  # fmt: skip
    def test_nothing_stands_below_the_signature(self, body: str) -> None:
        assert read(body) == NOTHING
        assert read(body.casefold().replace("start", "stop")).action is Action.OPT_OUT
        assert read(body.casefold().replace("start", "help")).action is Action.HELP

    @pytest.mark.parametrize(
        ("body", "keyword"),
        [("S T A R T", "START"), ("s.t.a.r.t!", "START"), ("ＳＴＡＲＴ", "START"), ("st\u00adart", "START"),
         ("“Start”, start… STARTTT", "START"), ("start\nunstop", "START"), ("u n s t o p start", "UNSTOP"),
         ("Start\n\nSent from my iPhone\n", "START"), ("subscribe\r\n--\r\n", "SUBSCRIBE")],
    )  # fmt: skip
    def test_a_plain_one_is_read(self, body: str, keyword: str) -> None:
        assert read(body) == Reading(Action.OPT_IN, MatchKind.KEYWORD, keyword, "en")

    @pytest.mark.parametrize(
        ("body", "action"),
        [("opt in", Action.OPT_IN), ("OPT-IN!", Action.OPT_IN), ("optin", Action.OPT_IN), ("o p t i n", Action.OPT_IN),
         ("opt in opt in", Action.OPT_IN), ("op tin", Action.NONE), ("opt i n", Action.OPT_IN), ("j a", Action.OPT_IN),
         ("ja ja", Action.OPT_IN), ("jaja", Action.NONE)],
    )  # fmt: skip
    def test_keywords_of_several_words(self, body: str, action: Action) -> None:
        lexicon = Lexicon.of([Keyword(Action.OPT_IN, "OPT IN", "en"), Keyword(Action.OPT_IN, "J.A.", "de")])
        assert read_body(body, lexicon).action is action


class TestVariants:
    """However a keyword is typed, it is the same keyword."""

    WIDTHS = (str, str.upper, lambda letter: chr(ord(letter) + 0xFEE0), lambda letter: chr(0x1D5EE - 97 + ord(letter)))
    MARKS = ("", "", "\u0301", "\u0327", "\u0336", "\u20dd", "\ufe0f")
    NOTHING = (
        "",
        "",
        "\u200b",
        "\u200d",
        "\u00ad",
        "\ufeff",
        "\u200f",
        "\u202e",
        "\u0000",
        "\u0640",
        "\u3164",
        "\U000e0067",
    )
    NOISE = (
        "", "", "", " ", ".", "-", "_", "*", "…", "”", "\t", "\u00a0", "\u200b", "\u200d", "\u00ad", "\ufeff",
        "\u200f", "\u202e", "\u0000", "\ud83d", "🙏", "👍🏽", "👩\u200d👩\u200d👧", "🇨🇦", "❤\ufe0f", "#\ufe0f\u20e3",
        "™", "\u3164", "\u0640", "€", "\U000e0067",
    )  # fmt: skip

    @given(data=st.data(), keyword=st.sampled_from(DEFAULT_KEYWORDS))
    @settings(max_examples=200, deadline=None)
    def test_case_width_accents_spacing_punctuation_and_length(self, data: st.DataObject, keyword: Keyword) -> None:
        noise = st.sampled_from(self.NOISE)
        # An opt-in does not fall apart: what is within its words leaves no space.
        within = st.sampled_from(self.NOTHING) if keyword.action is Action.OPT_IN else noise
        parts = []
        for letter in squeezed(keyword.spelling):
            written = data.draw(st.sampled_from(self.WIDTHS))(letter) + data.draw(st.sampled_from(self.MARKS))
            parts += [written] * data.draw(st.integers(1, 3)) + [data.draw(within)]
        reading = read("".join([data.draw(noise), *parts, data.draw(noise)]))
        assert (reading.action, reading.whole_account) == (keyword.action, keyword.whole_account)
        assert squeezed(reading.keyword) == squeezed(keyword.spelling)

    @given(
        keyword=st.sampled_from(DEFAULT_KEYWORDS),
        count=st.integers(1, 5),
        glue=st.sampled_from(["", " ", "! ", "\n", "🙏"]),
    )
    @settings(deadline=None)
    def test_said_several_times(self, keyword: Keyword, count: int, glue: str) -> None:
        glue = glue or " " * (keyword.action is Action.OPT_IN)
        reading = read(glue.join([keyword.spelling] * count))
        assert (reading.action, reading.whole_account) == (keyword.action, keyword.whole_account)
        assert squeezed(reading.keyword) == squeezed(keyword.spelling)

    @given(
        keywords=st.lists(st.sampled_from(DEFAULT_KEYWORDS), min_size=2, max_size=5),
        glue=st.sampled_from([" ", "", "\n", ", "]),
    )
    @settings(max_examples=300, deadline=None)
    def test_several_keywords_are_one_only_if_they_mean_the_same(self, keywords: list[Keyword], glue: str) -> None:
        glue = glue or " " * (keywords[0].action is Action.OPT_IN)
        reading = read(glue.join(keyword.spelling for keyword in keywords))
        if len({keyword.action for keyword in keywords}) == 1:
            assert reading.action is keywords[0].action
            assert squeezed(reading.keyword) == squeezed(keywords[0].spelling)
            assert reading.whole_account == any(keyword.whole_account for keyword in keywords)
        else:
            assert reading == NOTHING

    @given(st.lists(st.sampled_from(["s", "t", "a", "r", "start", "un", "stop", "unstop", "START"]), max_size=8))
    @settings(max_examples=200, deadline=None)
    def test_an_opt_in_is_whole_words(self, words: list[str]) -> None:
        body = " ".join(words)
        assert (read(body).action is Action.OPT_IN) == plain_opt_in(body)

    @given(
        keyword=st.sampled_from(DEFAULT_KEYWORDS), extra=st.text("abcdefghijklmnopqrstuvwxyz0123456789é停", min_size=1)
    )
    @settings(max_examples=300, deadline=None)
    def test_a_letter_too_many_or_too_few_is_no_keyword(self, keyword: Keyword, extra: str) -> None:
        # Judged by a pattern that says the rule in another way, and may take its time on short texts.
        letters = squeezed(keyword.spelling)
        opt_ins = [f"start {extra}", f"{extra} start", f"{extra} start {extra}", f"s t{extra} art"]
        for body in (
            *opt_ins,
            letters + extra,
            extra + letters,
            letters[:-1],
            letters[1:],
            letters[:2] + extra + letters[2:],
        ):
            assert (read(body).action is not Action.NONE) == any(
                oracle(action).fullmatch(squeezed(body)) for action in (Action.OPT_OUT, Action.HELP)
            ) or plain_opt_in(body)


def plain_opt_in(body: str) -> bool:
    """The rule of opt-ins in another way: word by word, where letters that stand alone make one."""
    words: list[str] = []
    for alone, group in itertools.groupby(normalise(body).split(), lambda word: len(word) == 1):
        found = list(group)
        words += ["".join(found)] if alone else found
    patterns = ("s+t+a+r+t+", "u+n+s+t+o+p+", "s+u+b+s+c+r+i+b+e+")
    return bool(words) and all(any(re.fullmatch(pattern, word) for pattern in patterns) for word in words)


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
    for length in range(1, 12):
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
        "s ", "s t ", "START ", "start", "s t a r t ",
        "STOP ", "stop", "stopal", "s", "st", "unsubscribe", "END", "s" * 50 + "t" * 50 + "o" * 50 + "p" * 50,
        "👩\u200d👩\u200d👧\u200d👦", "🇫🇷", "e\u0316\u0301", "क\u094d\u093c", "\u094d\u093c", "\u0301", "1\ufe0f\u20e3",
        "\u200b", "\x00", " ", "\n", "\n--x", "\n ", "\r\n", "\nvon mein x", "\nsent ", "\ud83d", "한", "ﷺ",
    ],
    ids=ascii,
)  # fmt: skip
def test_time_is_linear(unit: str) -> None:
    assert_linear(unit, DEFAULT_LEXICON, 4_096)  # and four times that is the longest body that the API takes


@pytest.mark.parametrize("action", [Action.OPT_OUT, Action.OPT_IN])
@pytest.mark.parametrize("unit", ["a", "a ", "ab", "a b ", "aab ", "abab aba"])
def test_time_is_linear_whatever_an_account_adds(unit: str, action: Action) -> None:
    words = ("a", "aa", "a a", "a a a", "ab", "a b", "aba", "abab", "b a", "aab", "ba ab")
    assert_linear(unit, Lexicon.of([Keyword(action, word, "und") for word in words]), 1_024)


def assert_linear(unit: str, lexicon: Lexicon, length: int) -> None:
    def best(text: str) -> float:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            read_body(text, lexicon)
            times.append(time.perf_counter() - started)
        return min(times)

    count = length // len(unit)
    # Four times the text takes four times as long; in quadratic time it would take sixteen times. The millisecond
    # covers what is too quick to compare.
    assert best(unit * 4 * count) < 10 * best(unit * count) + 0.001
