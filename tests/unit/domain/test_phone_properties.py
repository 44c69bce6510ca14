"""What the short cuts of `domain.phone` rest on, and the promises of a key: one number one key, one key one number.

`test_phone.py` looks at spellings one by one and at random digits; here the numbers are those that exist.
"""

import itertools
import random
import re

# Private, and its trees have been the same since Python 3.6: nothing else tells what a group can match.
import re._parser as regex_parser  # type: ignore[import-not-found]
from collections.abc import Iterator

import phonenumbers
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata, PhoneNumberDesc, PhoneNumberFormat
from tests.unit.domain.phone_oracle import CODES, REGIONS, library, library_settled, metadata_of, trunk_prefixes

from stopline_server.domain import phone
from stopline_server.domain.phone import read_phone, read_phones

KINDS = ("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan")


def numbering_plans() -> Iterator[tuple[str, PhoneMetadata]]:
    """All regions, and the codes of no region."""
    for region in REGIONS:
        plan = PhoneMetadata.metadata_for_region(region, None)
        assert plan
        yield region, plan
    for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS:
        plan = PhoneMetadata.metadata_for_nongeo_region(code, None)
        assert plan
        yield "", plan


def described() -> Iterator[tuple[str, int, PhoneNumberDesc]]:
    """Region, calling code and description of each kind of number that exists somewhere."""
    for region, plan in numbering_plans():
        for kind in KINDS:
            desc: PhoneNumberDesc | None = getattr(plan, kind)
            if desc is not None and desc.national_number_pattern and desc.example_number:
                yield region, plan.country_code or 0, desc


DESCRIBED = list(described())


class TestProof:
    """The assumptions of the proof in `_CanonicalSpellings`, held against all metadata that the library has."""

    def test_calling_codes_are_prefix_free(self) -> None:
        codes = sorted(map(str, CODES))
        assert not [pair for pair in itertools.pairwise(codes) if pair[1].startswith(pair[0])]
        assert {len(code) for code in codes} == {1, 2, 3}
        assert not any(code.startswith("0") for code in codes)

    def test_metadata_is_of_the_form_that_the_proof_reads(self) -> None:
        for code in CODES:
            plan = metadata_of(code)
            assert plan.general_desc
            assert not set(plan.general_desc.possible_length) & set(plan.general_desc.possible_length_local_only)
            prefix = plan.national_prefix_for_parsing or ""
            # Digits, classes, groups, repeats and "$": no look-around, no anchor at the start, no reference.
            assert re.fullmatch(r"(?:[0-9()|?,$\[\]{}-]|\(\?:|\\d)*", prefix)
            # So an empty match has no group that takes part: no transformation.
            assert all(width > 0 for width in group_widths(regex_parser.parse(prefix)))
            # Where the national prefix stands, the pattern takes a digit, whatever follows.
            taken = plan.national_prefix and re.match(prefix, f"{plan.national_prefix}x")
            assert not plan.national_prefix or (taken and taken.end() > 0)

    def test_the_widths_are_those_of_groups(self) -> None:
        assert list(group_widths(regex_parser.parse("0?(?:(1|22)(?:x(3*))?)?"))) == [1, 0]


def group_widths(tree: object) -> Iterator[int]:
    """The least number of characters that each capturing group of a parsed pattern takes."""
    for operation, argument in getattr(tree, "data", ()):
        name = str(operation)
        if name == "SUBPATTERN":
            if argument[0] is not None:
                yield argument[3].getwidth()[0]
            yield from group_widths(argument[3])
        elif name == "BRANCH":
            for branch in argument[1]:
                yield from group_widths(branch)
        elif name in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            yield from group_widths(argument[2])
        elif name not in {"LITERAL", "IN", "AT"}:
            raise AssertionError(name)


def near_examples() -> Iterator[str]:
    """Each example number of the library, at every length, with every digit at its start, after trunk prefixes."""
    for _, code, desc in DESCRIBED:
        national = desc.example_number or ""
        yield from (f"+{code}{(national + '0123456789')[:length]}" for length in range(1, 18 - len(str(code))))
        yield from (f"+{code}{digit}{national[1:]}" for digit in "0123456789")
        yield from (f"+{code}{national[0]}{digit}{national[2:]}" for digit in "0123456789")
        yield from (f"+{code}{prefix}{national}" for prefix in sorted(set(trunk_prefixes(code))))


def test_the_quick_way_answers_as_the_library_near_every_example() -> None:
    texts = sorted(set(near_examples()))
    assert {code for text in texts if (code := phone._calling_code(text))} == set(map(str, CODES))
    quick = {text: digits for text in texts if (digits := phone._CANONICAL.read(text))}
    assert len(quick) > len(texts) / 4, "a way that is never gone proves nothing"
    assert all(library(text, None) == digits == int(text) for text, digits in quick.items())
    # What it leaves alone is the library's: a tenth of it, evenly, is enough to see that nothing else happens.
    rest = [text for text in texts if text not in quick][::10]
    assert [read_phone(text, "") for text in rest] == [library_settled(text, None) for text in rest]
    assert read_phones(texts, "") == [read_phone(text, "") for text in texts]


# Numbers are made from the library's patterns, some of which take long to draw from; what is too slow shows elsewhere.
PATIENT = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@st.composite
def existing(draw: st.DrawFn) -> tuple[str, str]:
    """A region, or "", and the digits of a number that could be somebody's there: valid, with its calling code."""
    region, code, desc = draw(st.sampled_from(DESCRIBED))
    national = draw(st.from_regex(re.compile(desc.national_number_pattern or "", re.ASCII), fullmatch=True))
    digits = f"{code}{national}"
    assume(len(national) in desc.possible_length and 7 <= len(digits) <= 15)
    # Possible to the region that dials them, and to the others of the code not: +1 310 1234.
    assume(not (code == 1 and len(national) == 7))
    # The one range that the library reads as another, pinned in test_phone.py.
    assume(not digits.startswith("375810"))
    return region, digits


SEPARATORS = st.sampled_from(
    [""] * 6 + [*" -./()", " (", ") ", " - ", "\u00a0", "\u202f", "\u2011", "\u2013", "\u200b"]
)
SCRIPTS = [
    str.maketrans("0123456789", digits) for digits in ("０１２３４５６７８９", "٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", "०१२३४५६७८९")
]


class TestKeys:
    @given(existing())
    @PATIENT
    def test_a_number_is_its_own_key_so_two_never_share_one(self, number: tuple[str, str]) -> None:
        _, digits = number
        assert read_phone(f"+{digits}", "") == int(digits)

    @given(number=existing(), data=st.data())
    @PATIENT
    def test_every_international_spelling_is_one(self, number: tuple[str, str], data: st.DataObject) -> None:
        _, digits = number
        spaced = digits[0] + "".join(data.draw(SEPARATORS) + digit for digit in digits[1:])
        parsed = phonenumbers.parse(f"+{digits}", None)
        anywhere = data.draw(st.sampled_from(["", *REGIONS]))
        code = str(parsed.country_code)
        trunk = metadata_of(int(code)).national_prefix or ""
        spellings = [
            (f"+{digits}", anywhere),
            (f" +{spaced} ", anywhere),
            (f"＋{spaced.translate(data.draw(st.sampled_from(SCRIPTS)))}", anywhere),
            (phonenumbers.format_number(parsed, PhoneNumberFormat.INTERNATIONAL), anywhere),
            (phonenumbers.format_number(parsed, PhoneNumberFormat.RFC3966) + ";ext=0123", anywhere),
            (f"tel:+{digits};isub=12", anywhere),
            (f"+{digits} x99", anywhere),
            (f"00{spaced}", "GB"),
            (f"011{spaced}", "US"),
            (f"0011 {spaced}", "AU"),
            (f"+{code} ({trunk}) {digits[len(code) :]}", anywhere),
        ]
        assert {spelling: read_phone(*spelling) for spelling in spellings} == dict.fromkeys(spellings, int(digits))
        assert read_phones([text for text, _ in spellings[:7]] * 5, anywhere) == [int(digits)] * 35

    # Toll-free numbers that begin with 00 are dialled as they are, and read as calls abroad; and in Gabon
    # the old plan's 0 and 7 digits are the new plan's 8.
    AMBIGUOUS = frozenset({"BG", "GA", "PA", "QA", "TH"})

    @given(existing())
    @PATIENT
    def test_the_national_spelling_is_the_same(self, number: tuple[str, str]) -> None:
        region, digits = number
        assume(region and region not in self.AMBIGUOUS)
        parsed = phonenumbers.parse(f"+{digits}", None)
        text = phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL)
        assert read_phone(text, region) == int(digits)

    def test_a_trunk_prefix_makes_no_second_number_of_one_that_exists(self) -> None:
        rng = random.Random("trunk")
        for _, code, desc in DESCRIBED:
            national = desc.example_number or ""
            trunk = metadata_of(code).national_prefix
            for _ in range(8 if trunk else 0):
                digits = f"{code}{national}"
                if read_phone(f"+{digits}", "") == int(digits):
                    assert read_phone(f"+{code} ({trunk}) {national}", "") == int(digits)
                    assert read_phone(f"+{code}{trunk}{national}", "US") == int(digits)
                national = national[:-4] + f"{rng.randrange(10_000):04}"
