"""Rows of Postgres to values of the domain, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stopline_server.domain.consent import Consent, Entry, Status
from stopline_server.domain.keywords import Action, MatchKind, Reading

# The stored numbers are those of the API's enums; 0 is "no match".
ACTION_CODES = {Action.NONE: 1, Action.OPT_OUT: 2, Action.OPT_IN: 3, Action.HELP: 4, Action.REVIEW: 5}
KIND_CODES = {None: 0, MatchKind.KEYWORD: 1, MatchKind.PHRASE: 2, MatchKind.REVIEW: 3}
_ACTIONS = {code: action for action, code in ACTION_CODES.items()}
_KINDS = {code: kind for kind, code in KIND_CODES.items()}


def consent_of(row: Mapping[Any, Any]) -> Consent:
    """A row of `consent`."""
    return Consent(
        account=row["account_id"],
        phone=row["phone"],
        program=row["program_id"],
        status=Status(row["status"]),
        occurred_at=row["occurred_at"],
        version=row["version"],
        changed_at=row["changed_at"],
        effective_at=row["effective_at"],
        source=row["source"],
        keyword=row["keyword"],
        message_id=row["message_id"],
    )


def entry_of(row: Mapping[Any, Any]) -> Entry:
    """A row of `event`."""
    return Entry(
        account=row["account_id"],
        version=row["version"],
        phone=row["phone"],
        program=row["program_id"],
        reading=Reading(
            action=_ACTIONS[row["action"]],
            kind=_KINDS[row["match_kind"]],
            keyword=row["keyword"],
            language=row["language"],
        ),
        source=row["source"],
        actor=row["actor"],
        body=row["body"],
        message_id=row["message_id"],
        fingerprint=row["fingerprint"],
        status_before=Status(row["status_before"]),
        status_after=Status(row["status_after"]),
        superseded=row["superseded"],
        written_at=row["written_at"],
        recorded_at=row["recorded_at"],
    )


def consent_columns(row: Consent) -> tuple[object, ...]:
    """A consent as the columns of `UPSERT_CONSENT`, in their order."""
    return (
        row.account, row.phone, row.program, int(row.status), row.version,
        row.occurred_at, row.changed_at, row.effective_at, row.source, row.keyword, row.message_id,
    )  # fmt: skip


def entry_columns(entry: Entry) -> tuple[object, ...]:
    """An entry as the columns of `event`, in their order."""
    reading = entry.reading
    return (
        entry.account, entry.version, entry.phone, entry.program, ACTION_CODES[reading.action],
        KIND_CODES[reading.kind], reading.keyword, reading.language, entry.source, entry.actor,
        # Postgres's text holds every character but NUL, and a STOP must not be lost for one: keep its picture.
        entry.body.replace("\x00", "\N{SYMBOL FOR NULL}"), entry.message_id, entry.fingerprint,
        int(entry.status_before), int(entry.status_after), entry.superseded, entry.written_at, entry.recorded_at,
    )  # fmt: skip
