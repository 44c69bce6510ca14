"""What a list looks like, found from its first rows."""

import pytest

from stopline_server.cli.layout import ColumnError, PhoneColumn, find_phone_column, find_separator, is_phone_like

NUMBER = "+14155550100"


@pytest.mark.parametrize(
    ("sample", "separator"),
    [
        ("phone\n+14155550100\n", ","),
        ("name,phone\nBob,+14155550100\n", ","),
        ("name;phone\nBob;+14155550100\n", ";"),
        ("name\tphone\nBob\t+14155550100\n", "\t"),
        ("name|phone\nBob|+14155550100\n", "|"),
        # More commas than semicolons, and as regular: only one of them leaves a phone.
        ("Last, First, Jr;phone\nSmith, Bob, Jr;+14155550100\n", ";"),
        ('name,phone\n"a;b;c",+14155550100\n"d;e;f",+14155550101\n', ","),
        ('"na;me",phone\n"a;b",+14155550100\n', ","),
        ("+14155550100;Bob, Jr\n+14155550101;Ann, Sr\n", ";"),
        ("name;amount;phone\nBob;3,50;+14155550100\nAnn;4,50;+14155550101\n", ";"),
        ("(415) 555-0100\n(415) 555-0101\n", ","),
        ("", ","),
        ('"open', ","),
        ('a;"' + "x" * 200_000, ","),
    ],
)
def test_separator(sample: str, separator: str) -> None:
    assert find_separator(sample, cut=False) == separator


def test_a_record_behind_the_end_of_the_sample_is_not_judged() -> None:
    assert find_separator('a;b\n1;2\n3;"4\n', cut=True) == ";"


@pytest.mark.parametrize("cell", [NUMBER, " 415-555-0100", "(415) 555.0100", "tel:+44 20 7946 0958", "٤١٥٥٥٥٠١٠٠"])
def test_phone_like(cell: str) -> None:
    assert is_phone_like(cell)


@pytest.mark.parametrize("cell", ["", "phone", "12345", "+1", "order 4155550100", "1" * 16])
def test_not_phone_like(cell: str) -> None:
    assert not is_phone_like(cell)


@pytest.mark.parametrize(
    ("first", "wanted", "found"),
    [
        (["phone"], None, (0, True)),
        (["anything"], None, (0, True)),
        ([NUMBER], None, (0, False)),
        (["call 415 55 now"], None, (0, False)),
        (["name", "Phone"], None, (1, True)),
        (["name", " MOBILE "], None, (1, True)),
        (["name", "Cell Phone"], None, (1, True)),
        (["name", "phone_number"], None, (1, True)),
        (["name", "MSISDN"], None, (1, True)),
        (["name", "Tel."], None, (1, True)),
        (["name", "Téléphone"], None, (1, True)),
        (["number", "phone"], None, (1, True)),
        (["name", "number"], None, (1, True)),
        (["name", "whatsit"], "whatsit", (1, True)),
        (["name", "What's it"], "whats IT", (1, True)),
        (["name", "phone"], "1", (0, True)),
        (["2", "1"], "1", (1, True)),
        (["Bob", NUMBER], "2", (1, False)),
        # What a number is called is no header where a number stands beside it.
        (["mobile", NUMBER], "2", (1, False)),
        (["name", "12 345"], "2", (1, False)),
    ],
)
def test_phone_column(first: list[str], wanted: str | None, found: tuple[int, bool]) -> None:
    assert find_phone_column(first, wanted) == PhoneColumn(*found)


@pytest.mark.parametrize(
    ("first", "wanted", "says"),
    [
        (["name", "email"], None, "no column reads like a phone's"),
        (["phone", "mobile"], None, "'phone' and 'mobile' all read like"),
        (["name", "phone"], "fax", "no column 'fax': the columns are 'name', 'phone'"),
        (["name", "phone"], "3", "no column 3: the first row has 2"),
        (["name", "phone"], "0", "no column 0"),
        (["phone", "phone"], "phone", "2 columns have this name"),
        (["mobile", NUMBER], None, "no header, and there are 2 columns"),
        (["Bob", NUMBER], "phone", "give the column's number"),
        ([f"c{n}" for n in range(30)], None, "and 10 more"),
    ],
)
def test_no_phone_column(first: list[str], wanted: str | None, says: str) -> None:
    with pytest.raises(ColumnError) as caught:
        find_phone_column(first, wanted)
    assert says in str(caught.value)


def test_an_error_shows_no_number() -> None:
    with pytest.raises(ColumnError) as caught:
        find_phone_column(["name", "x 4155550100"], "phone")
    assert "4155550100" not in str(caught.value)
