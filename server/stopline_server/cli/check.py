"""`stopline check`: the verdict of a few numbers, for people and scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stopline import Check
from stopline_server.cli.failure import Exit
from stopline_server.cli.service import Question, connected, require_text


def check(target: str, asked: Question, phones: list[str], *, as_json: bool) -> Exit:
    """Ask about numbers, and print the answers once all are there.

    Args:
        target: `HOST:PORT` of the service.
        asked: What is asked of each number.
        phones: The numbers as given.
        as_json: Print an object a line, rather than a table or, where standard output is no terminal, lines of cells
            with tabs between them.

    Returns:
        Whether all are sendable, as the exit status.

    Raises:
        Failure: There is no answer for each of them.
    """
    require_text(asked, phones)
    with connected(target) as client:
        checks = [
            client.is_sendable(
                asked.account,
                phone,
                context=asked.send_context,
                default_region=asked.region,
                program_id=asked.program,
            )
            for phone in phones
        ]
    answers = list(zip(phones, checks, strict=True))
    if as_json:
        _print_json(answers)
    elif sys.stdout.isatty():
        _print_table(answers)
    else:
        for phone, answer in answers:
            sys.stdout.write("\t".join(_plain(cell) for cell in _cells(phone, answer)) + "\n")
    return Exit.OK if all(checks) else Exit.NOT_SENDABLE


def _cells(phone: str, answer: Check) -> list[str]:
    since = f"{answer.opted_out_at:%Y-%m-%dT%H:%M:%SZ}" if answer.opted_out_at else ""
    return [phone, answer.verdict.name, answer.outcome.name, answer.label, since]


def _plain(cell: str) -> str:
    # A cell is a cell and a line a line, whatever somebody put into a label.
    return " ".join(cell.split())


def _print_json(answers: Sequence[tuple[str, Check]]) -> None:
    for phone, answer in answers:
        content = {
            "phone": phone,
            "e164": answer.phone,
            "sendable": answer.sendable,
            "verdict": answer.verdict.name,
            "outcome": answer.outcome.name,
            "label": answer.label,
            "opted_out_at": answer.opted_out_at.isoformat() if answer.opted_out_at else None,
            "as_of": answer.as_of,
        }
        sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")


def _print_table(answers: Sequence[tuple[str, Check]]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("phone", "verdict", "outcome", "label", "opted out at"):
        table.add_column(heading, overflow="fold")
    for phone, answer in answers:
        # Text, not str: a label with brackets is no markup.
        cells = [Text(_plain(cell)) for cell in _cells(phone, answer)]
        cells[1].stylize("green" if answer else "bold red")
        table.add_row(*cells)
    Console().print(table)
