"""`stopline filter`."""

import csv
import json
import os
from pathlib import Path

import grpc
import pytest
from typer.testing import Result

from stopline_server.cli.failure import Exit

from .conftest import OUT, Run, Service
from .test_commands import one_line

FREE, OTHER = "+14155550101", "+14155550102"
ACCOUNT = ("--account", "acme")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.csv"


def outputs(path: Path) -> tuple[bytes, bytes]:
    """What was written; nothing else is left."""
    sendable, skipped = path.with_name("list.sendable.csv"), path.with_name("list.skipped.csv")
    assert sorted(path.parent.iterdir()) == sorted([path, sendable, skipped])
    return sendable.read_bytes(), skipped.read_bytes()


def nothing_left(path: Path) -> None:
    assert list(path.parent.iterdir()) == [path]


def split(service: Service, run: Run, path: Path, content: str | bytes, *more: str) -> tuple[bytes, bytes]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run("filter", path, *ACCOUNT, *more)
    assert result.exit_code == Exit.OK, result.output
    return outputs(path)


def test_rows_as_they_were(service: Service, run: Run, path: Path) -> None:
    sendable, skipped = split(service, run, path, f'name,phone\n"B, ob", {FREE}\nAnn,{OUT}\nEve,12\n\nZoë,{OTHER}\n')
    assert sendable.decode() == f'name,phone\n"B, ob", {FREE}\nZoë,{OTHER}\n'
    assert skipped.decode() == (
        f"name,phone,verdict,reason\nAnn,{OUT},OPTED_OUT,Unsubscribed from Text\nEve,12,INVALID_NUMBER,\n"
    )


def test_bom_crlf_semicolons_and_quoted_newlines(service: Service, run: Run, path: Path) -> None:
    rows = ["name;mobile", f'"two\r\nlines";{FREE}', f'"x;y\r\n";{OUT}', f"z;{OTHER}"]
    sendable, skipped = split(service, run, path, "\ufeff" + "\r\n".join(rows) + "\r\n")
    assert sendable.decode() == "\ufeff" + "\r\n".join([rows[0], rows[1], rows[3]]) + "\r\n"
    assert skipped.decode() == (
        f'\ufeff{rows[0]};verdict;reason\r\n"x;y\r\n";{OUT};OPTED_OUT;Unsubscribed from Text\r\n'
    )


def test_without_header(service: Service, run: Run, path: Path) -> None:
    sendable, skipped = split(service, run, path, f"{FREE}\n{OUT}")
    assert sendable.decode() == f"{FREE}\n"
    # The list's last line has no end; that of the skipped rows has.
    assert skipped.decode() == f"{OUT},OPTED_OUT,Unsubscribed from Text\n"


def test_column_by_name_and_number(service: Service, run: Run, path: Path) -> None:
    content = f"phone,fax\n{FREE},{OUT}\n"
    assert split(service, run, path, content)[0].decode() == content
    for column in ("fax", "2"):
        assert split(service, run, path, content, "--force", "--phone-column", column)[0] == b"phone,fax\n"


def test_short_and_long_rows(service: Service, run: Run, path: Path) -> None:
    _, skipped = split(service, run, path, f"phone,a,b\n12\n{OUT},1,2\n{OUT},1,2,3\n")
    rows = list(csv.reader(skipped.decode().splitlines()))
    assert rows[1] == ["12", "", "", "INVALID_NUMBER", ""]
    assert rows[2] == [OUT, "1", "2", "OPTED_OUT", "Unsubscribed from Text"]
    assert rows[3] == [OUT, "1", "2", "3", "OPTED_OUT", "Unsubscribed from Text"]


def test_a_label_with_a_separator(service: Service, run: Run, path: Path) -> None:
    service.label = 'Gone, "for\ngood"'
    _, skipped = split(service, run, path, f"phone,a\n{OUT},1\n")
    assert list(csv.reader(skipped.decode().splitlines(keepends=True)))[1] == [OUT, "1", "OPTED_OUT", service.label]


def test_every_row_is_in_one_of_the_files(service: Service, run: Run, path: Path) -> None:
    service.chunk_phones = 7
    rows = [f"{n},{OUT if n % 3 == 0 else f'+1415666{n:04d}'}\n" for n in range(1_000)]
    sendable, skipped = split(service, run, path, "id,phone\n" + "".join(rows))
    assert sendable.decode() == "id,phone\n" + "".join(row for n, row in enumerate(rows) if n % 3)
    assert [line.split(",")[0] for line in skipped.decode().splitlines()[1:]] == [str(n) for n in range(0, 1_000, 3)]
    assert max(len(chunk.batch.phones) for chunk in service.asked) == 7


def test_what_is_asked(service: Service, run: Run, path: Path) -> None:
    split(service, run, path, f"phone\n{FREE}\n", "--context", "sequence", "--region", "us", "--program", "p")
    batch = service.asked[0].batch
    assert (batch.account_id, batch.context, batch.default_region, batch.program_id) == ("acme", 3, "us", "p")
    assert not batch.skip_duplicates


def test_duplicates(service: Service, run: Run, path: Path) -> None:
    content = f"phone\n{FREE}\n{FREE}\n"
    assert split(service, run, path, content, "--keep-duplicates")[0].decode() == content
    sendable, skipped = split(service, run, path, content, "--force", "--skip-duplicates")
    assert sendable.decode() == f"phone\n{FREE}\n"
    assert skipped.decode() == f"phone,verdict,reason\n{FREE},DUPLICATE,\n"


def test_summary(service: Service, run: Run, path: Path) -> None:
    path.write_text(f"phone\n{FREE}\n\n{OUT}\n{OUT}\n12\n")
    result = run("filter", path, *ACCOUNT)
    assert result.stdout == ""
    lines = [" ".join(line.split()) for line in result.stderr.splitlines()]
    assert lines[0].startswith("4 rows in ")
    assert "1 blank lines left out" in lines[0]
    assert lines[1:] == [
        f"1 sendable, in {path.with_name('list.sendable.csv')}",
        f"3 skipped, in {path.with_name('list.skipped.csv')}",
        "2 OPTED_OUT Unsubscribed from Text",
        "1 INVALID_NUMBER",
    ]


def test_summary_as_json(service: Service, run: Run, path: Path) -> None:
    path.write_text(f"phone\n{FREE}\n{OUT}\n")
    result = run("filter", path, *ACCOUNT, "--json")
    assert result.stderr == ""
    summary = json.loads(result.stdout)
    assert summary.pop("seconds") >= 0
    assert summary == {
        "rows": 2,
        "sendable": 1,
        "skipped": 1,
        "reasons": [{"verdict": "OPTED_OUT", "label": "Unsubscribed from Text", "rows": 1}],
        "blank_lines": 0,
        "files": {
            "sendable": str(path.with_name("list.sendable.csv")),
            "skipped": str(path.with_name("list.skipped.csv")),
        },
        "as_of": "v1.7",
    }


def test_names_of_the_outputs(service: Service, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_text(f"{FREE}\n")
    assert run("filter", path, *ACCOUNT, "--skipped", tmp_path / "no.txt").exit_code == Exit.OK
    assert sorted(each.name for each in tmp_path.iterdir()) == ["no.txt", "numbers", "numbers.sendable.csv"]


@pytest.mark.parametrize("which", ["sendable", "skipped"])
def test_an_output_exists(service: Service, run: Run, path: Path, which: str) -> None:
    path.write_text(f"phone\n{FREE}\n")
    there = path.with_name(f"list.{which}.csv")
    there.write_text("mine")
    line = one_line(run("filter", path, *ACCOUNT), Exit.USAGE)
    assert f"{there}: exists" in line
    assert there.read_text() == "mine"
    assert service.asked == []
    assert run("filter", path, *ACCOUNT, "--force").exit_code == Exit.OK
    assert there.read_text() != "mine"


@pytest.mark.parametrize(
    ("content", "more", "says"),
    [
        (b"", [], "has no rows"),
        (b"name,mail\nBob,x\n", [], "the columns are 'name', 'mail'"),
        (b"name,phone\nBob,x\n", ["--phone-column", "fax"], "no column 'fax'"),
        (b"phone\ncaf\xe9\n", [], "line 2 is not UTF-8"),
        (b'phone\n"+14155550101\n+14155550102\n', [], "line 2: unexpected end of data"),
    ],
)
def test_a_list_that_cannot_be_used(
    service: Service, run: Run, path: Path, content: bytes, more: list[str], says: str
) -> None:
    path.write_bytes(content)
    line = one_line(run("filter", path, *ACCOUNT, *more), Exit.USAGE)
    assert says in line
    assert "41555501" not in line
    nothing_left(path)


def test_a_bad_row_behind_good_ones_leaves_nothing(service: Service, run: Run, path: Path) -> None:
    service.chunk_phones = 10
    path.write_bytes(b"phone\n" + b"+14155550101\n" * 30_000 + b"caf\xe9\n")
    assert "line 30002 is not UTF-8" in one_line(run("filter", path, *ACCOUNT), Exit.USAGE)
    assert len(service.asked) > 100
    nothing_left(path)


def test_a_missing_list(run: Run, path: Path) -> None:
    assert "No such file" in one_line(run("filter", path, *ACCOUNT), Exit.USAGE)


def fail_midway(service: Service, run: Run, path: Path) -> Result:
    service.chunk_phones = 10
    path.write_text("phone\n" + f"{FREE}\n" * 1_000)
    result = run("filter", path, *ACCOUNT)
    nothing_left(path)
    return result


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
def test_the_service_fails_midway(service: Service, run: Run, path: Path, code: grpc.StatusCode) -> None:
    service.fail_after_chunks, service.code = 20, code
    line = one_line(fail_midway(service, run, path), Exit.UNANSWERED)
    assert f"could not answer, do not send: {code.name}" in line
    rows = int(line.partition("(after ")[2].partition(" rows")[0])
    assert 0 < rows <= 200


def test_the_stream_is_cut_midway(service: Service, run: Run, path: Path) -> None:
    service.cut_after_chunks = 20
    assert "stream ended" in one_line(fail_midway(service, run, path), Exit.UNANSWERED)


def test_nobody_there(run: Run, path: Path) -> None:
    path.write_text(f"phone\n{FREE}\n")
    line = one_line(run("filter", path, *ACCOUNT, "--target", "127.0.0.1:1"), Exit.UNANSWERED)
    assert "after 0 rows; nothing was written" in line
    nothing_left(path)


def test_who_may_not_ask_for_limits_may_filter(service: Service, run: Run, path: Path) -> None:
    service.chunk_phones = 0
    split(service, run, path, f"phone\n{FREE}\n")


def test_the_disk_is_full(service: Service, run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path.write_text(f"phone\n{FREE}\n")
    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in one_line(run("filter", path, *ACCOUNT), Exit.USAGE)
    nothing_left(path)
