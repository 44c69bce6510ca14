"""One number, one answer: whoever spells it, however, and through whichever way it is read."""

import random
import time
import unicodedata
from collections.abc import Iterator

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat
from tests.unit.domain.phone_oracle import CODES, REGIONS, library, library_settled, trunk_prefixes

from stopline_server.domain import phone
from stopline_server.domain.phone import format_phone, is_region, mask_phone, read_phone, read_phones

ANY_REGION = st.sampled_from(["", *REGIONS, "us", "XX", "001", "ZZ", "\ud800", "USA"])
PHONE_LIKE = st.text(
    "0123456789" * 4 + "+-() ./x#;,~*\t\n" + "abcZext=tel:" + "０٣+＋\u200e\u202f\u00a0\u2013é²", max_size=30
)


def sweep(rng: random.Random, each: int) -> Iterator[str]:
    """E.164-like texts of 4 to 16 digits for every calling code, half of them with something like a trunk prefix."""
    for code in CODES:
        prefixes = trunk_prefixes(code)
        for length in range(4, 17):
            for i in range(each):
                prefix = "".join(rng.choices(prefixes, k=rng.choice((1, 1, 2)))) if i % 2 else ""
                digits = f"{code}{prefix}" + "".join(rng.choices("0123456789", k=16))
                yield "+" + digits[:length]


@pytest.fixture(scope="module")
def swept() -> list[str]:
    return list(sweep(random.Random("phones"), each=6))


@pytest.fixture(scope="module")
def settled(swept: list[str]) -> list[int]:
    return [library_settled(text, None) for text in swept]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the calling codes that earlier tests met."""
    monkeypatch.setattr(phone, "_CANONICAL", phone._CanonicalSpellings())


class TestSpellings:
    @pytest.mark.parametrize(
        ("digits", "region", "texts"),
        [
            (
                14155550100, "US",
                ["+14155550100", "+1 415 555 0100", "(415) 555-0100", "415.555.0100", "1 (415) 555-0100", "4155550100",
                 "+1 1 415 555 0100", "011 1 415 555 0100", "tel:+1-415-555-0100", "415-555-0100 ext. 7",
                 "+14155550100x123", "+1 (415) 555-0100;ext=9", "tel:415-555-0100;phone-context=+1", "Tel: 4155550100",
                 "  +14155550100\n", "++14155550100", "＋１４１５５５５０１００", "+1 ٤١٥ ٥٥٥ ٠١٠٠", "﹢14155550100",
                 "\u202a+1 (415) 555-0100\u202c", "\u2066+1\u200e415\u200e5550100\u2069",
                 "+1\u2009415\u202f555\u00a00100",
                 "+1–415–555–0100", "\ufeff+14155550100"],
            ),
            (18003569377, "US", ["1-800-FLOWERS", "+1 800 flowers", "(800) FLOWERS", "１-８00-FLOWERS"]),
            (
                442083661177, "GB",
                ["+442083661177", "020 8366 1177", "+44 (0)20 8366 1177", "00 44 20 8366 1177", "0044 (0) 20 83661177",
                 "+44 020 8366 1177", "44 20 8366 1177", "tel:+44-20-8366-1177"],
            ),
            (442083661177, "US", ["011 44 20 8366 1177", "011 44 (0)20 8366 1177", "+011 44 20 8366 1177"]),
            (33612345678, "FR", ["06 12 34 56 78", "+33 6 12 34 56 78", "+33 (0)6 12 34 56 78"]),
            (33612345678, "FR", ["06\u202f12\u202f34\u202f56\u202f78"]),
            (390612345678, "IT", ["06 1234 5678", "+39 06 1234 5678", "+390612345678", "0039 06 1234 5678"]),
            (393471234567, "IT", ["347 123 4567", "+39 347 123 4567"]),
            (525512345678, "MX", ["55 1234 5678", "+52 55 1234 5678", "00 52 55 1234 5678"]),
            (
                5491123456789, "AR",
                ["+54 9 11 2345 6789", "011 15-2345-6789", "+54 11 15 2345 6789", "+54 0 11 15 2345 6789",
                 "11 15 2345 6789", "9 11 2345 6789", "00 54 9 11 2345 6789"],
            ),
            (541123456789, "AR", ["+54 11 2345 6789", "011 2345-6789"]),
            (
                5511987654321, "BR",
                ["(11) 98765-4321", "0 11 98765-4321", "0 15 11 98765-4321", "+55 11 98765-4321",
                 "+55 0 15 11 98765 4321", "+55 0 11 98765 4321", "90 15 11 98765-4321"],
            ),
            (78005553535, "RU", ["8 800 555-35-35", "+7 800 555 35 35", "+7 8 800 555 35 35", "8~10 7 800 555 35 35"]),
            (919876543210, "IN", ["98765 43210", "098765 43210", "+91 98765 43210", "+91 098765 43210"]),
            (919876543210, "IN", ["00919876543210", "+91-98765-43210"]),
            (20985354779, "EG", ["+20 985354779", "+20 0985354779", "+20 00 985354779", "00 20 00 985354779"]),
            (2250712345678, "CI", ["07 12 34 56 78", "+225 07 12 34 56 78"]),
            (80012345678, "", ["+800 1234 5678", "+80012345678"]),
            # 03 was a trunk prefix with a carrier's code: the library takes all of it or nothing.
            (573001728588, "CO", ["+57 (0) 300 1728588", "0 300 1728588", "03 300 1728588", "300 172 8588"]),
        ],
    )  # fmt: skip
    def test_all_spellings_of_a_number_are_one(self, digits: int, region: str, texts: list[str]) -> None:
        assert {text: read_phone(text, region) for text in texts} == dict.fromkeys(texts, digits)
        assert read_phones(texts, region) == [digits] * len(texts)

    @pytest.mark.parametrize(
        ("text", "region"),
        [
            ("", ""), ("", "US"), (" ", "US"), ("+", "US"), ("++", "US"), ("abc", "US"), ("STOP", "US"), ("0", "US"),
            ("00", "GB"), ("32665", "US"), ("911", "US"), ("4155550100", ""), ("001 415 555 0100", ""),
            ("(415) 555-0100", "XX"), ("(415) 555-0100", "us"), ("+011 44 20 8366 1177", "us"),
            ("+999 415 555 0100", "US"), ("+0 415 555 0100", "US"),
            # Possible on the spot only, without the area code.
            ("555-0100", "US"), ("+1 555 0100", "US"), ("+1 310 1234", "CA"), ("8366 1177", "GB"), ("2345 6789", "AR"),
            ("+1415555010", "US"), ("+141555501000", "US"), ("+1 415 555 0100 415 555 0101", "US"),
            # Under 7 and over 15 digits: possible to the library, but no E.164.
            ("+49 1234", "DE"), ("+43 1111", "AT"), ("+98 9601", "IR"), ("+49 1234567890123456", "DE"),
            ("+44 0 0 20 8366 1177", "GB"), ("+54 9 11 15 2345 6789", "AR"),
            ("+52 1 55 1234 5678", "MX"), ("+39", "IT"),
            ("+1415555O100", "US"), ("+1\x00415 555 0100", "US"), ("415 555\n0100", "US"), ("+1415555010²", "US"),
            ("\ud800", "US"), ("+1415555\udfff0100", "US"), ("📞", "US"),
            ("+1\ufe0f\u20e3", "US"), ("1_415_555_0100", "US"),
            ("1" * 250, "US"), ("1" * 10_000, "US"), ("+14155550100" + " " * 300, "US"), ("+" * 100_000, "US"),
        ],
    )  # fmt: skip
    def test_no_possible_number(self, text: str, region: str) -> None:
        assert read_phone(text, region) == 0
        assert read_phones([text], region) == [0]

    def test_every_example_number_of_the_library_in_every_format(self) -> None:
        seen: dict[int, str] = {}
        for region in REGIONS:
            for kind in range(11):
                number = phonenumbers.example_number_for_type(region, kind)
                digits = number and phonenumbers.format_number(number, PhoneNumberFormat.E164)
                # Some service numbers are too short for E.164, and some Canadian ones not possible in the US.
                if not number or not digits or not library(digits, None):
                    continue
                assert seen.setdefault(int(digits), digits) == digits
                texts = [
                    (digits, ""),
                    (phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL), ""),
                    (phonenumbers.format_number(number, PhoneNumberFormat.RFC3966) + ";ext=12", ""),
                    (phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL), region),
                    (phonenumbers.format_out_of_country_calling_number(number, "US"), "US"),
                    (phonenumbers.format_out_of_country_calling_number(number, "JP"), "JP"),
                ]
                for text, dialled_from in texts:
                    assert read_phone(text, dialled_from) == int(digits), (text, dialled_from)

    @pytest.mark.parametrize(
        "char", [chr(c) for c in range(0x3000) if unicodedata.category(chr(c)) in ("Zs", "Cf", "Pd")]
    )
    def test_spaces_dashes_and_marks_between_digits_do_not_count(self, char: str) -> None:
        assert read_phone(f"{char}+1{char}415{char}555{char}0100{char}", "") == 14155550100


class TestSettling:
    """The library strips one trunk prefix a reading. These are what a search over all calling codes found."""

    @pytest.mark.parametrize(
        ("text", "readings", "end"),
        [
            ("+2000985354779", [200985354779, 20985354779], 20985354779),
            ("+54008824551355", [5408824551355, 548824551355], 548824551355),
            ("+3100132326", [310132326, 31132326], 31132326),
            ("+97100000062023", [9710000062023, 971000062023, 97100062023, 9710062023, 971062023, 97162023], 97162023),
            ("+2340009046620525", [234009046620525, 23409046620525, 2349046620525], 2349046620525),
            # One more zero off, and it is too short to be any number.
            ("+43001435", [4301435], 0),
            ("+980008003", [98008003, 9808003], 0),
            ("+35215114 2729", [3522729], 3522729),
            # Valid with its zeros, and without the first one: two numbers.
            ("+8100665053222", [8100665053222], 8100665053222),
            # The one range found where the library reads a valid number as another. Pinned: should it end, all is well.
            ("+3758103205101", [375103205101], 375103205101),
        ],
    )
    def test_the_end_of_the_chain_is_the_answer(self, text: str, readings: list[int], end: int) -> None:
        for digits in readings:
            assert library(text, None) == digits
            assert read_phone(text, "") == read_phone(f"+{digits}", "US") == end
            text = f"+{digits}"
        assert library(text, None) == end

    def test_what_goes_round_in_circles_is_no_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # No such number was found; this is what would happen if metadata brought one.
        monkeypatch.setattr(phone, "_parse", lambda text, region: 2000 if text == "+2001" else 2001)
        assert read_phone("anything", "US") == 0


class TestSweep:
    def test_the_answer_is_the_settled_one_of_the_library(self, swept: list[str], settled: list[int]) -> None:
        assert [read_phone(text, "") for text in swept] == settled
        assert sum(map(bool, settled)) > len(swept) / 10, "a sweep that finds no numbers proves nothing"

    @pytest.mark.usefixtures("fresh")
    def test_a_list_answers_the_same(self, swept: list[str], settled: list[int]) -> None:
        assert read_phones(swept, "") == settled
        # Again, now that all calling codes are known.
        assert read_phones(swept, "GB") == settled
        possible = [text for text, digits in zip(swept, settled, strict=True) if digits]
        assert read_phones(possible, "BR") == list(filter(None, settled))

    def test_canonical_is_what_the_library_leaves_alone_whatever_the_region(self, swept: list[str]) -> None:
        rng = random.Random("regions")
        canonical = [text for text in swept if phone._CANONICAL.read(text)]
        assert len(canonical) > len(swept) / 10
        for text in canonical:
            assert library(text, None) == library(text, rng.choice(REGIONS)) == int(text)

    def test_every_answer_is_read_as_itself_from_everywhere(self, settled: list[int]) -> None:
        rng = random.Random("regions")
        for digits in filter(None, settled):
            assert read_phone(format_phone(digits), rng.choice(REGIONS)) == digits
            assert 7 <= len(str(digits)) <= 15

    def test_national_spellings(self) -> None:
        rng = random.Random("national")
        for region in REGIONS:
            code = phonenumbers.country_code_for_region(region)
            for _ in range(40):
                text = "".join(rng.choices([*trunk_prefixes(code), "", "", str(code)], k=2))
                text += "".join(rng.choices("0123456789", k=rng.randint(4, 11)))
                digits = read_phone(text, region)
                assert digits == library_settled(text, region), (text, region)
                assert digits == 0 or read_phone(f"+{digits}", rng.choice(REGIONS)) == digits

    def test_a_number_as_the_library_would_print_it_needs_no_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        mobiles = [
            phonenumbers.format_number(number, PhoneNumberFormat.E164)
            for region in REGIONS
            if (number := phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE))
        ]

        def fail(text: str, region: str | None) -> int:
            raise AssertionError(text, region)

        monkeypatch.setattr(phone, "_parse", fail)
        for text in mobiles:
            assert read_phones([text], "") == [read_phone(text, "")] == [int(text)]


class TestLists:
    @pytest.mark.usefixtures("fresh")
    @pytest.mark.parametrize(
        "texts",
        [
            [], [""], ["", ""], ["+14155550100"], ["+14155550100", ""], ["", "+14155550100"], ["\n"], ["\n", "\n"],
            ["+14155550100\n+14155550101"], ["+14155550100\n", "+14155550101"], ["+14155550100", "\n+14155550101"],
            ["+14155550100\n+14155550101", "+14155550102"], ["+1", "4155550100"], ["+1\n4155550100", "+14155550101"],
            ["+14155550100\r", "+14155550101\x85", "+14155550102\u2028", "\x0b+14155550103", "+14155550104\x00"],
            ["+１4155550100", "+1415555010０", "+٤٤2083661177", "+1_4155550100", "+14155550100 ", " +14155550100"],
            ["+999123456789", "+0123456789", "+012345678", "-14155550100", "14155550100", "+", "+-1"],
            ["+²²123456", "+4", "+44", "+441"],
            ["\ud800", "+1415555\ud8000", "+14155550100"], ["+14155550100"] * 3 + ["(415) 555-0100"] * 3,
            ["+442083661177", "+4402083661177", "+441800202083", "+5491123456789", "+541115234567", "+8100372345678"],
        ],
        ids=ascii,
    )  # fmt: skip
    def test_a_list_is_read_one_by_one(self, texts: list[str]) -> None:
        expected = [read_phone(text, "US") for text in texts]
        assert read_phones(texts, "US") == expected
        for count in (40, 41):
            assert read_phones(texts * count, "US") == expected * count

    @given(st.lists(st.one_of(st.sampled_from(list(sweep(random.Random(7), 1))), PHONE_LIKE)), ANY_REGION)
    @settings(max_examples=80, deadline=None)
    def test_whatever_is_in_it(self, texts: list[str], region: str) -> None:
        expected = [read_phone(text, region) for text in texts]
        assert read_phones(texts, region) == expected
        assert read_phones(texts * 32, region) == expected * 32

    @pytest.mark.usefixtures("fresh")
    def test_codes_learned_one_by_one_or_at_once(self) -> None:
        texts = [f"+{code}2345678"[:14] for code in CODES]
        expected = [library_settled(text, None) for text in texts]
        assert [read_phones([text], "")[0] for text in texts] == expected
        for known in (1, 50, 100):
            assert read_phones(texts[:known] * 32, "") == expected[:known] * 32
        assert read_phones(texts, "") == expected

    def test_a_long_list_is_read_at_one_go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        heads = ("+1415555", "+4478366", "+3361234", "+5511987", "+9198765")
        texts = [f"{heads[i % 5]}{i:05}" if heads[i % 5] != "+1415555" else f"+141555{i:05}" for i in range(20_000)]
        texts = [text for text in texts if library(text, None)]
        assert read_phones(texts, "") == [int(text) for text in texts]
        monkeypatch.setattr(phone._CANONICAL, "find", None)
        assert read_phones(texts, "") == [int(text) for text in texts]


class TestAnything:
    @given(st.one_of(st.text(st.characters(exclude_categories=()), max_size=300), PHONE_LIKE), ANY_REGION)
    @settings(max_examples=1000, deadline=None)
    @example("tel:123;phone-context=+", "US")
    @example(";phone-context=+1;isub=3", "US")
    @example(";ext=1", "")
    @example("x" * 250, "US")
    def test_never_raises_and_is_idempotent(self, text: str, region: str) -> None:
        digits = read_phone(text, region)
        assert digits == 0 or 7 <= len(str(digits)) <= 15
        assert read_phone(format_phone(digits), "FR") == digits

    @given(st.text("0123456789+-() ./x#;,~*\t\nabcZext=", max_size=40), ANY_REGION)
    @settings(max_examples=500, deadline=None)
    def test_an_ascii_text_is_what_the_library_says(self, text: str, region: str) -> None:
        assert read_phone(text, region) == library_settled(text, region if is_region(region) else None)

    @pytest.mark.parametrize(
        "unit", ["+", "1", "(", " ", "1 ", "1x", "1,", "a", "1a", "é", "\u200b", "+1;", "\n", "~1", "tel:1;"]
    )
    def test_a_long_text_costs_no_more(self, unit: str) -> None:
        def best(text: str) -> float:
            times = []
            for _ in range(3):
                started = time.perf_counter()
                read_phone(text, "US")
                mask_phone(text)
                times.append(time.perf_counter() - started)
            return min(times)

        # Beyond 250 characters nothing is read.
        assert best(unit * 1_000_000) < best((unit * 250)[:250]) + 0.05


def test_regions() -> None:
    assert all(map(is_region, ("US", "GB", "CA", "XK", "TA", "AC")))
    assert not any(map(is_region, ("", "us", "UK", "XX", "001", "ZZ", "USA", "EU", "\ud800")))
    assert all(map(is_region, REGIONS))


def test_format() -> None:
    assert format_phone(14155550100) == "+14155550100"
    assert format_phone(390612345678) == "+390612345678"
    assert format_phone(0) == ""


class TestMask:
    @pytest.mark.parametrize(
        ("number", "masked"),
        [
            (14155550100, "+1•••00"), (442083661177, "+44•••77"), (35226123456, "+352•••56"),
            ("+14155550199", "+1•••99"), ("+1 (415) 555-0199", "+1•••99"),
            ("(415) 555-0199", "•••99"), ("0044 20 8366 1177", "•••77"), (0, "•••"),
            ("", "•••"), ("+", "•••"), ("911", "•••"), ("+123456", "•••"),
            (99912345678, "•••78"), ("+01234567", "•••67"),
            ("+٤٤٢٠٨٣٦٦١١٧٧", "•••77"), ("STOP", "•••"), ("\ud800", "•••"), ("1" * 100_000 + "23", "•••23"),
        ],
        ids=lambda value: ascii(value)[:30],
    )  # fmt: skip
    def test_table(self, number: int | str, masked: str) -> None:
        assert mask_phone(number) == masked

    @given(st.one_of(st.integers(1, 10**15), PHONE_LIKE))
    @settings(max_examples=300, deadline=None)
    def test_at_most_the_calling_code_and_two_digits_are_left(self, number: int | str) -> None:
        left = mask_phone(number)
        shown = [char for char in left if char.isdigit()]
        assert len(shown) <= 5
        assert len(left.split("•••")[1]) in (0, 2)
        assert set(left) <= set("+•0123456789")
