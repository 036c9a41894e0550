"""What is made of the cells: curves, areas and paired differences, against arithmetic by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from uncertaintyseg.cli.simulation_picture import simulation_picture
from uncertaintyseg.simulation.cell import START, Cell, Outcome
from uncertaintyseg.simulation.report import markdown, over_seeds, report
from uncertaintyseg.simulation.settings import Settings

SETTINGS = Settings(
    model="tiny", configs=[], data="phantoms", pool=[f"c{i}" for i in range(9)], test=["t"], start=2, step=2,
    iterations=1, device="cpu",
)  # fmt: skip
CURVES = {
    "foreground_random": [[0.5, 0.6, 0.7], [0.4, 0.5, 0.6], [0.6, 0.6, 0.6]],
    "predictive_entropy": [[0.5, 0.7, 0.7], [0.4, 0.6, 0.7], [0.6, 0.7, 0.6]],
}


@pytest.fixture
def written(tmp_path):
    def write(seeds: int) -> dict:
        for name, rows in CURVES.items():
            for seed, curve in enumerate(rows[:seeds]):
                for number, height in enumerate(curve):
                    cell = Cell(tmp_path, name if number else START, seed, number)
                    cell.folder.mkdir(parents=True, exist_ok=True)
                    dice = {"organ": [height + 0.1, None], "lesion": [height - 0.1]}
                    outcome = Outcome(labelled=[], reasons=[], dice=dice, seconds={"learn": 1.0})
                    (cell.folder / "cell.json").write_text(outcome.model_dump_json())
        return report(SETTINGS, tmp_path, list(CURVES), range(seeds), 2)

    return write


def test_areas_and_differences_are_those_of_the_curves(written):
    result = written(3)
    assert result["labels"] == [2, 4, 6]
    assert result["seconds"] == 3 + 2 * 3 * 2
    found = result["strategies"]["predictive_entropy"]
    assert [point["mean"] for point in found["dice"]] == pytest.approx([0.5, 2 / 3, 2 / 3])
    areas = {name: np.array(rows) @ [0.25, 0.5, 0.25] for name, rows in CURVES.items()}
    assert found["area"]["mean"] == pytest.approx(areas["predictive_entropy"].mean())
    paired = areas["predictive_entropy"] - areas["foreground_random"]
    expected = ttest_1samp(paired, 0).confidence_interval()
    assert tuple(found["difference"].values()) == pytest.approx((paired.mean(), expected.low, expected.high))
    assert result["strategies"]["foreground_random"]["difference"] is None


def test_one_seed_has_no_interval(written):
    assert over_seeds([0.5]).mean == 0.5
    assert all(math.isnan(limit) for limit in over_seeds([0.5])[1:])
    assert "nan" not in markdown(written(1))


def test_the_table_begins_with_the_best(written):
    lines = markdown(written(3)).splitlines()
    assert lines[0].startswith("| strategy | Dice with 6 labels | area, 2 to 6 labels |")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| predictive_entropy", "| foreground_random"]
    assert lines[3].endswith("| - |")
    assert "+0.0" in lines[2]


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_curves_are_drawn(written, tmp_path, seeds):
    path = Path(tmp_path) / "curves.png"
    simulation_picture(written(seeds), path)
    assert path.read_bytes().startswith(b"\x89PNG")
