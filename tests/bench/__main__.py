"""`make bench`: measure, print a table, write JSON. `make bench ONLY=P3` measures one."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from tests.bench import figures, p1, p3, p6
from tests.bench.stage import BenchError, machine, opened

BENCHES = {"P1": p1.measure, "P3": p3.measure, "P6": p6.measure}
RESULTS = Path("bench-results")


def main() -> int:
    """Run what is asked for; the exit status tells whether it ran rightly, not whether it was fast."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Stopline against a yardstick, in turn.")
    parser.add_argument("only", nargs="*", metavar="P3", help=f"which of {', '.join(BENCHES)}; all if none is named")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each, the two sides in turn (default: 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of each side in a round (default: 3)")
    arguments = parser.parse_args()
    unknown = sorted({name.upper() for name in arguments.only} - set(BENCHES))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    wanted = [name for name in BENCHES if not arguments.only or name in map(str.upper, arguments.only)]
    console = Console()
    found = []
    try:
        with tempfile.TemporaryDirectory(prefix="stopline-bench-") as folder, opened(Path(folder)) as stage:
            for name in wanted:
                console.print(f"{name} …")
                found.append(BENCHES[name](stage, arguments.rounds, arguments.seconds))
    except (BenchError, subprocess.CalledProcessError) as error:
        said = f"; it said: {error.stderr}" if isinstance(error, subprocess.CalledProcessError) else ""
        sys.stderr.write(f"bench: {error}{said}\n")
        return 1
    figures.show(found, console)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    figures.write(found, machine(), path)
    console.print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
