"""Lists in CSV files, row by row with each row's text as it was."""

import os
import threading
from pathlib import Path

import pytest

from stopline_server.cli.failure import Exit, Failure
from stopline_server.cli.lists import ListFile, Row
from stopline_server.cli.outputs import Outputs, check_targets

A, B, C = "+14155550100", "+14155550101", "+14155550102"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.csv"


def failure(path: Path, column: str | None = None) -> str:
    with pytest.raises(Failure) as caught:
        with ListFile(path, column) as source:
            list(source.rows())
    assert caught.value.exit_code == Exit.USAGE
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_rows_as_they_were(path: Path, bom: bytes, end: str, separator: str) -> None:
    lines = [f"näme{separator}phone", f'"B{separator}ob"{separator}{A}', f'"two{end}lines"{separator} {B}']
    content = end.join(lines) + end
    path.write_bytes(bom + content.encode())
    with ListFile(path, None) as source:
        rows = list(source.rows())
        assert source.bom == bool(bom)
        assert source.line_end == end
        assert source.separator == separator
        assert source.columns == 2
        assert source.position == source.size == path.stat().st_size
    assert rows == [Row(lines[1] + end, A, 2), Row(lines[2] + end, f" {B}", 2)]
    assert source.header + "".join(row.text for row in rows) == content


@pytest.mark.parametrize("count", [1, 49, 50, 51, 52, 1_000])
def test_no_row_is_lost_behind_the_sample(path: Path, count: int) -> None:
    lines = [f"{n},{A}\n" for n in range(count)]
    path.write_text("id,phone\n" + "".join(lines))
    with ListFile(path, None) as source:
        assert [row.text for row in source.rows()] == lines


def test_without_header(path: Path) -> None:
    path.write_text(f"{A}\n{B}")
    with ListFile(path, None) as source:
        assert source.header == ""
        assert list(source.rows()) == [Row(f"{A}\n", A, 1), Row(B, B, 1)]


def test_blank_lines_are_left_out(path: Path) -> None:
    path.write_text(f"\n\nphone\n\n{A}\n  \n{B}\n\n")
    with ListFile(path, None) as source:
        assert [row.phone for row in source.rows()] == [A, B]
        assert source.header == "phone\n"
        assert source.blank == 5


def test_a_row_that_is_too_short_has_no_phone(path: Path) -> None:
    path.write_text(f"name,phone\nBob\nAnn,{A},more\n,\n")
    with ListFile(path, None) as source:
        assert [(row.phone, row.columns) for row in source.rows()] == [("", 1), (A, 3), ("", 2)]


def test_a_cell_too_long_for_a_phone_is_asked_about_as_empty(path: Path) -> None:
    path.write_text("phone\n" + "1" * 251 + "\n" + "1" * 250 + "\n")
    with ListFile(path, None) as source:
        assert [len(row.phone) for row in source.rows()] == [0, 250]


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", "  \n"])
def test_no_rows(path: Path, content: str) -> None:
    path.write_text(content)
    assert "has no rows" in failure(path)


def test_header_only(path: Path) -> None:
    path.write_text("name,phone\n\n")
    assert "a header and no rows" in failure(path)


def test_missing_file(path: Path) -> None:
    assert "No such file" in failure(path)


def test_a_folder(path: Path) -> None:
    path.mkdir()
    assert "Is a directory" in failure(path)


@pytest.mark.parametrize("bad_row", [2, 3, 1_000, 100_000])
def test_broken_encoding_names_the_line(path: Path, bad_row: int) -> None:
    lines = [b"name,phone"] + [b"\xc3\xa9,+14155550100"] * 100_100
    lines[bad_row - 1] = b"caf\xe9,+14155550100"
    path.write_bytes(b"\r\n".join(lines))
    assert f"line {bad_row} is not UTF-8" in failure(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16(path: Path, encoding: str) -> None:
    path.write_text(f"phone\n{A}\n", encoding=encoding)
    assert "UTF-16" in failure(path)


def test_a_quote_that_stays_open(path: Path) -> None:
    path.write_text(f'name,phone\nBob,{A}\n"Ann,{B}\nEve,{C}\n')
    assert "line 3: unexpected end of data" in failure(path)


def test_a_quote_that_stays_open_in_a_long_file(path: Path) -> None:
    path.write_text(f'name,phone\nBob,{A}\n"Ann,{B}\n' + f"Eve,{C}\n" * 100_000)
    assert "line 3: field larger than" in failure(path)


def test_a_file_without_line_ends(path: Path) -> None:
    path.write_text("phone\n" + "1" * 3_000_000)
    assert "line 2 has more than" in failure(path)


def test_column_errors_name_the_file(path: Path) -> None:
    path.write_text(f"name,mail\nBob,{A}\n")
    assert "'name', 'mail'" in failure(path)
    assert "no column 'x'" in failure(path, "x")


def test_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(f"phone\n{A}\n{B}\n",))
    writer.start()
    with ListFile(pipe, None) as source:
        assert [row.phone for row in source.rows()] == [A, B]
        assert source.position == source.size == 0
    writer.join()


def test_outputs_appear_whole(tmp_path: Path) -> None:
    sendable, skipped = tmp_path / "a.csv", tmp_path / "b.csv"
    with Outputs(sendable, skipped, ("s\r\n", "k\n")) as outputs:
        outputs.sendable.write("1\r\n")
        outputs.skipped.write("2\n")
        assert not sendable.exists()
        assert not skipped.exists()
        outputs.publish()
    assert sendable.read_bytes() == b"s\r\n1\r\n"
    assert skipped.read_bytes() == b"k\n2\n"
    assert sorted(tmp_path.iterdir()) == [sendable, skipped]


def test_outputs_leave_nothing_behind(tmp_path: Path) -> None:
    with Outputs(tmp_path / "a.csv", tmp_path / "b.csv", ("", "")) as outputs:
        outputs.sendable.write("1\n")
        assert len(list(tmp_path.iterdir())) == 2
    assert not list(tmp_path.iterdir())


def test_the_second_output_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="cannot be written"):
        Outputs(tmp_path / "a.csv", tmp_path / "no" / "b.csv", ("", ""))
    assert not list(tmp_path.iterdir())


def test_half_a_publication_is_taken_back(tmp_path: Path) -> None:
    sendable, skipped = tmp_path / "a.csv", tmp_path / "b.csv"
    with Outputs(sendable, skipped, ("s", "k")) as outputs:
        (sendable / "in the way").mkdir(parents=True)
        with pytest.raises(Failure, match="cannot be written"):
            outputs.publish()
    assert sorted(tmp_path.iterdir()) == [sendable]


def test_a_full_disk(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with Outputs(tmp_path / "a.csv", tmp_path / "b.csv", ("", "")) as outputs:
        with Path("/dev/full").open("w") as full:
            outputs.sendable._file.close()
            outputs.sendable._file = full
            full.write("x")
            with pytest.raises(Failure, match="No space left"):
                outputs.publish()
            # Closing writes once more.
            with pytest.raises(OSError):
                full.close()
    assert not list(tmp_path.iterdir())


def test_targets(tmp_path: Path) -> None:
    source, one, two = tmp_path / "list.csv", tmp_path / "one", tmp_path / "two"
    source.touch()
    check_targets(source, [one, two], force=False)
    one.touch()
    check_targets(source, [one, two], force=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(source)
    for targets, force, says in [
        ([one, two], False, "exists; replace it with --force"),
        ([two, two], True, "the other output"),
        ([source, two], True, "the list itself"),
        ([tmp_path / "link", two], True, "the list itself"),
        ([tmp_path / "folder", two], True, "is no file"),
        ([Path("/dev/null"), two], True, "is no file"),
        ([tmp_path / "no" / "one", two], True, "there is no folder"),
    ]:
        with pytest.raises(Failure, match=says):
            check_targets(source, targets, force=force)
