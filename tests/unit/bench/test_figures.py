"""The arithmetic of benchmarks, and what is told of it."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from tests.bench.figures import Bound, Figure, Spread, ratios, show, write

FIGURE = Figure(
    name="P0",
    work="something",
    unit="calls/s",
    ours=[80.0, 90.0, 70.0],
    yardstick=[100.0, 300.0, 70.0],
    bounds=[Bound("of it", 0.8, 0.8), Bound("of time", 3.1, 3.0, at_least=False)],
    notes=["a note with [brackets]"],
)


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratios(FIGURE.ours, FIGURE.yardstick) == Spread(0.8, 0.3, 1.0)
    with pytest.raises(ValueError, match="longer"):
        ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("bound", "reached"),
    [
        (Bound("", 1.0, 1.0), True),
        (Bound("", 0.99, 1.0), False),
        (Bound("", 1.0, 1.0, at_least=False), True),
        (Bound("", 1.01, 1.0, at_least=False), False),
    ],
)
def test_bounds(bound: Bound, reached: bool) -> None:
    assert bound.reached is reached


def test_what_is_shown() -> None:
    said = io.StringIO()
    show([FIGURE], Console(file=said, width=100))
    lines = said.getvalue()
    assert "0.80 (0.30 to 1.00)" in lines
    assert "reached: of it 0.80 (to reach ≥ 0.80)" in lines
    assert "MISSED: of time 3.10 (to reach ≤ 3.00)" in lines
    assert "a note with [brackets]" in lines


def test_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "results" / "a.json"
    write([FIGURE], {"cores": 2}, path)
    content = json.loads(path.read_text())
    assert content["machine"] == {"cores": 2}
    (figure,) = content["figures"]
    assert figure["ratio"] == {"median": 0.8, "least": 0.3, "most": 1.0}
    assert [bound["reached"] for bound in figure["bounds"]] == [True, False]
