"""The data directory: who may use it, and where a socket of it may lie."""

import fcntl
import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from stopline_server.embedded.account import Account, may_pass
from stopline_server.embedded.errors import EmbeddedError

# sun_path holds 108 bytes on Linux and 104 on macOS, with the closing zero.
SOCKET_PATH_MAX_BYTES = 103
# A socket's path travels inside URLs and in comma-separated settings; anything else would need three kinds of quoting.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/-]+", re.ASCII)
# In no group and owner of nothing: what this one may enter, everybody may.
_EVERYBODY = Account(uid=65534, gid=65534)


class DirectoryLock:
    """The right to run servers in a data directory, held by one process at a time.

    It is counted, so that the two servers of one directory can share it. The kernel drops it when its holder dies,
    however that happens; the file itself stays, because a lock file that is removed can be held by two.

    Attributes:
        data_dir: The absolute, resolved data directory.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self._holders = 0
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock, making the directory where there is none.

        Raises:
            EmbeddedError: Another process holds it, or the directory cannot be used.
        """
        if self._holders == 0:
            try:
                self._prepare_directory()
                self._descriptor = self._open_locked()
            except OSError as error:
                raise EmbeddedError(f"data directory {self.data_dir} cannot be used: {error.strerror}") from error
        self._holders += 1

    def release(self) -> None:
        """Give back one acquire; the last one lets the next process in."""
        self._holders -= 1
        if self._holders == 0:
            os.close(self._descriptor)

    def _prepare_directory(self) -> None:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.data_dir.stat()
        # An empty directory of our own was made for us, a mounted volume for example. One with something in it may be
        # anybody's, /tmp even: its mode is left alone, and what we put inside is closed by modes of its own.
        if status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX and not any(self.data_dir.iterdir()):
            self.data_dir.chmod(0o700)

    def _open_locked(self) -> int:
        descriptor = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise EmbeddedError(
                f"data directory {self.data_dir} is in use by {f'process {holder}' if holder else 'another process'}; "
                "stop it or choose another with --data-dir"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def socket_directory(home: Path, file_name: str) -> Path:
    """Say where the socket of the server that lives in ``home`` goes, without touching the disk.

    The answer is the same each time for one ``home``, so the address is known before the start and survives a crash.

    Args:
        home: The server's own directory.
        file_name: The name of the socket's file.

    Returns:
        ``home`` itself, or, where that is too long or too odd for an address, a short directory for it alone.
    """
    if _fits(home / file_name):
        return home
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    candidates = [Path(base) / f"stopline-{digest}" for base in (tempfile.gettempdir(), "/tmp", "/var/tmp")]  # noqa: S108 - made private below
    return next((path for path in candidates if _usable(path / file_name)), candidates[-1])


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_MAX_BYTES and _PLAIN_PATH.fullmatch(str(path)) is not None


def _usable(path: Path) -> bool:
    # Root's own temporary directory can be closed to the account that the servers run as.
    return _fits(path) and (os.geteuid() != 0 or may_pass(path.parent.parent, _EVERYBODY))


def make_private(directory: Path, account: Account | None) -> None:
    """Make a directory with mode 0700 that belongs to the account, or see that it is one.

    Args:
        directory: What to make; its parent exists.
        account: Its owner, or None for ourselves.

    Raises:
        EmbeddedError: Somebody else made it first, which in a shared directory may be an attack.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    owner = os.geteuid() if account is None else account.uid
    # Our own uid too: a root that was killed between making the directory and giving it away.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (os.geteuid(), owner):
        raise EmbeddedError(f"{directory} belongs to somebody else; remove it or choose another --data-dir")
    if account is not None:
        os.chown(directory, account.uid, account.gid, follow_symlinks=False)
    if stat.S_IMODE(status.st_mode) != 0o700:
        directory.chmod(0o700)
