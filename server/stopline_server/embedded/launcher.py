"""Becomes an embedded server: run as a script of its own, drops to the right user and replaces itself.

The same steps as a ``preexec_fn`` would run Python between fork and exec, which can deadlock as soon as the calling
program has a second thread, and warns in newer Pythons. A process of its own costs 20 ms and has no such rule.

Arguments: parent pid, signal at the parent's death, uid and gid (-1 to keep), then the command.
"""

# All imports come before the change of user, who need not be able to read the standard library.
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Do all that must happen inside the child, in the one order that works."""
    parent, death_signal, uid, gid = map(int, sys.argv[1:5])
    command = sys.argv[5:]
    libc = ctypes.CDLL(None, use_errno=True)
    # A blocked signal stays blocked over exec, and a server that cannot hear SIGTERM cannot be stopped.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o077)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After setuid, because a change of user clears it; it survives exec.
    if sys.platform == "linux" and libc.prctl(_PR_SET_PDEATHSIG, death_signal) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # The parent may have died before we asked to be told.
    if os.getppid() != parent:
        sys.exit("the supervisor is gone")
    try:
        os.execv(command[0], command)  # noqa: S606 - the point: no shell, no further process
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
