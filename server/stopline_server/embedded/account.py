"""The system user that the servers run as when the supervisor is root, which PostgreSQL refuses to be."""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stopline_server.embedded.errors import EmbeddedError

# An account whose files others may write too, as nobody's are, is no owner for data.
EXISTING_NAMES = ("stopline", "postgres")
CREATED_NAME = "stopline"
_CREATE_TIMEOUT_S = 30


@dataclass(frozen=True)
class Account:
    """A system user.

    Attributes:
        uid: Its number.
        gid: The number of its own group, the only group that the servers are in.
    """

    uid: int
    gid: int


def service_account(home: Path) -> Account | None:
    """Choose the system user for the server whose files are in ``home``.

    Args:
        home: The server's own directory, which need not exist. If it does, its owner is the user.

    Returns:
        The user, or None if we are not root: then the servers run as ourselves.

    Raises:
        EmbeddedError: There is no fit user, and none could be created.
    """
    if os.geteuid() != 0:
        return None
    if home.exists() and (owner := home.stat().st_uid) != 0:
        return _numbered(owner)
    for name in EXISTING_NAMES:
        if (account := _named(name)) is not None:
            return account
    return _created()


def _named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(uid=entry.pw_uid, gid=entry.pw_gid) if entry.pw_uid != 0 else None


def _numbered(uid: int) -> Account:
    try:
        return Account(uid=uid, gid=pwd.getpwuid(uid).pw_gid)
    except KeyError:
        # Data of a user that this image does not know. Not the directory's group, which may well be root's.
        return Account(uid=uid, gid=uid)


def _created() -> Account:
    # initdb looks its user up by name, so a bare free number would not do.
    no_login = shutil.which("nologin") or "/sbin/nologin"
    if shutil.which("useradd"):
        commands = [["useradd", "--system", "--user-group", "--no-create-home", "--shell", no_login, CREATED_NAME]]
    elif shutil.which("adduser"):  # BusyBox
        commands = [
            ["addgroup", "-S", CREATED_NAME],
            ["adduser", "-S", "-D", "-H", "-s", no_login, "-G", CREATED_NAME, CREATED_NAME],
        ]
    else:
        commands = []
    for command in commands:
        subprocess.run(command, check=False, capture_output=True, timeout=_CREATE_TIMEOUT_S)  # noqa: S603 - fixed words
    account = _named(CREATED_NAME)
    if account is None:
        raise EmbeddedError(
            "PostgreSQL does not run as root, and a system user could not be created: "
            f"create one named {CREATED_NAME}, or run as another user than root"
        )
    return account


def may_pass(path: Path, account: Account) -> bool:
    """Tell whether the account can enter (a directory) or execute (a file) this path, from the root down.

    Modes only: an access list that grants more is not seen, and then the answer errs towards no.

    Args:
        path: An absolute path.
        account: Who wants to.

    Returns:
        True if each step on the way, and the path itself, can be read as far as needed and executed.
    """
    try:
        resolved = path.resolve(strict=True)
        return all(_executable(step.stat(), account) for step in (resolved, *resolved.parents))
    except OSError:
        return False


def _executable(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
