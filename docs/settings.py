"""Write the settings table of README.md from `stopline_server.settings`, or prove that it is fresh (`--check`)."""

from __future__ import annotations

import argparse
import enum
import sys
from pathlib import Path

from stopline_server.settings import ENV_PREFIX, Settings

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- settings:begin -->\n", "<!-- settings:end -->\n"


def table() -> str:
    """The table, one row a setting, in the order of the module."""
    lines = ["| setting | environment | default | what it is |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default.value if isinstance(field.default, enum.Enum) else field.default
        shown = f"`{default}`" if str(default) else "empty"
        description = str(field.description).replace("|", "\\|")
        lines.append(f"| `{name}` | `{ENV_PREFIX}{name.upper()}` | {shown} | {description}{_bounds(field.metadata)} |")
    return "".join(f"{line}\n" for line in lines)


def _bounds(metadata: list[object]) -> str:
    low = next((f"{m.ge}" for m in metadata if hasattr(m, "ge")), "")
    low = next((f"over {m.gt}" for m in metadata if hasattr(m, "gt")), low)
    high = next((f"{m.le}" for m in metadata if hasattr(m, "le")), "")
    return f" ({low} to {high})" if high else ""


def main() -> int:
    """Write or check; the exit status."""
    parser = argparse.ArgumentParser(description="Write the settings table of README.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the table is stale")
    check = parser.parse_args().check
    before = README.read_text(encoding="utf-8")
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    if not rest or not tail:
        raise SystemExit(f"{README.name} has lost its settings markers")
    after = f"{head}{BEGIN}{table()}{END}{tail}"
    if check and after != before:
        sys.stderr.write("the settings table of README.md is stale; run `make gen` and commit what it writes\n")
        return 1
    if not check:
        README.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
