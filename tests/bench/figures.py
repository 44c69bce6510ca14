"""What a benchmark says: rounds of two sides taken in turn, their ratio with its spread, and what was to be reached."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Bound:
    """One thing to reach: a number, and on which side of it."""

    what: str
    value: float
    bound: float
    at_least: bool = True

    @property
    def reached(self) -> bool:
        """Whether it is."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{self.what} {self.value:,.2f} (to reach {sign} {self.bound:,.2f})"


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, with the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        digits = 2 if self.most < 100 else 0
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f} to {self.most:,.{digits}f})"


@dataclass(frozen=True)
class Figure:
    """What one benchmark found.

    Attributes:
        name: `P1` and so on, as in the table of docs/performance.md.
        work: What was done.
        unit: What `ours` and `yardstick` count, a second.
        ours: Of Stopline, one value a round.
        yardstick: Of what it is compared with, one value a round, taken in turn with ours.
        bounds: What was to be reached.
        notes: What else was seen.
    """

    name: str
    work: str
    unit: str
    ours: list[float]
    yardstick: list[float]
    bounds: list[Bound] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> Spread:
        """Ours by the yardstick, round by round: what slows the machine slows both."""
        return ratios(self.ours, self.yardstick)


def ratios(ours: Sequence[float], yardstick: Sequence[float]) -> Spread:
    """The spread of the ratios of rounds that were taken in turn."""
    return Spread.of([mine / other for mine, other in zip(ours, yardstick, strict=True)])


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the table."""
    table = Table(title="median (least to most) over the rounds")
    for heading in ("", "unit", "ours", "yardstick", "ratio"):
        table.add_column(heading, overflow="fold")
    for figure in figures:
        cells = [str(Spread.of(values)) for values in (figure.ours, figure.yardstick)]
        table.add_row(figure.name, figure.unit, *cells, str(figure.ratio))
    console.print(table)
    for figure in figures:
        told = [f"{'reached' if bound.reached else 'MISSED'}: {bound}" for bound in figure.bounds]
        for line in (f"{figure.name}: {figure.work}", *(f"    {line}" for line in (*told, *figure.notes))):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def write(figures: Sequence[Figure], machine: dict[str, Any], path: Path) -> None:
    """Write all of it as JSON."""
    content = {
        "machine": machine,
        "figures": [
            {
                **asdict(figure),
                "ratio": asdict(figure.ratio),
                "bounds": [{**asdict(bound), "reached": bound.reached} for bound in figure.bounds],
            }
            for figure in figures
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
