"""Panel, report and CSV say the same numbers, in the same order."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser

import pytest

pytest.importorskip("PySide6")

from UncertaintySegLib.server.results import Region, Structure

STRUCTURES = (
    Structure(
        "anterior", 1, 1.6123, (1.2, 1.9), "draws", 0.042, 0.853, "draws", 0.3126, flag="expected Dice below 0.8"
    ),
    Structure("posterior_part", 2, 141.49, None, "none", 0.213, None, expected_error_ml=10.46),
    Structure("<fornix>", 3, 12.0, (0.5, 30.0), "draws", 0.5, 0.1, "draws", None),
)
REVIEWED = (
    Structure("anterior", 1, 1.6123, None, "", 0.042, 0.853, "", 0.3126, 0.1251, 0.04, flag="reviewed"),
    Structure("posterior_part", 2, 141.49, None, "", 0.213, None, None, 10.46, 0.0, None),
)
REGIONS = tuple(
    Region(rank, structure, (0.0, 0.0, 0.0), (20, 20, 11), ((20, 15, 9), (30, 25, 13)), 12.85, error, "border")
    for rank, (structure, error) in enumerate((("anterior", 0.2), ("posterior_part", 1.2345)), start=1)
)


class Tables(HTMLParser):
    """The texts of a page: the rows of the table of structures, and its paragraphs."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self._inside = "structures" in dict(attrs).get("class", "")
        elif self._inside and tag == "tr":
            self.rows.append([])
        elif self._inside and tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "table"

    def handle_data(self, data):
        if self._inside and self.rows:
            self.rows[-1][-1] += data


def shown(table) -> list[list[str]]:
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def headings(table) -> list[str]:
    texts = (table.horizontalHeaderItem(column).text() for column in range(table.columnCount))
    return [text.replace("-\n", "").replace("\n", " ") for text in texts]


def as_shown(rows: list[list[str]], wanted: list[str]) -> list[list[str]]:
    """The columns of a file that the panel has too; volume and interval in one cell where the panel has them so."""
    together = "Volume, mL [95 %]"
    found = []
    for row in rows[1:]:
        cells = {heading: "-" if text in ("", "–") else text for heading, text in zip(rows[0], row, strict=True)}
        low, high = (cells.get(end, "-") for end in ("95 % from, mL", "95 % to, mL"))
        cells[together] = cells["Volume, mL"] if low == "-" else f"{cells['Volume, mL']} [{low}, {high}]"
        cells["Structure"] = f"⚠ {cells['Structure']}" if row[-1] else cells["Structure"]
        found.append([cells[heading] for heading in wanted])
    return found


@pytest.mark.parametrize("structures", [STRUCTURES, REVIEWED], ids=["result", "review"])
def test_report_and_csv_have_the_numbers_of_the_panel_in_its_order(reporting_panel, show_result, tmp_path, structures):
    from PySide6 import QtCore, QtTest

    show_result(structures=structures, regions=REGIONS, remaining_error_ml=10.7)
    QtTest.QTest.mouseClick(reporting_panel.ui.quickReportButton, QtCore.Qt.LeftButton)
    (page,) = (path.read_text(encoding="utf-8") for path in (tmp_path / "reports").glob("*.html"))
    (file,) = (tmp_path / "reports").glob("*.csv")
    with file.open(encoding="utf-8-sig", newline="") as text:
        in_csv = list(csv.reader(text))
    table = reporting_panel.sections["Risk"].ui.structuresTable
    assert as_shown(in_csv, headings(table)) == shown(table)
    spaced = [[row[0].replace("_", " "), *row[1:]] for row in shown(table)]
    assert as_shown(Tables(page).rows, headings(table)) == spaced
    assert in_csv[0][1] == headings(table)[1] == "Error, mL"
    assert in_csv[0][-1] == "Look because"
    assert [row[0].lstrip("⚠ ") for row in shown(table)][:2] == ["posterior_part", "anterior"]


def test_sentence_table_regions_and_report_begin_with_the_same_structure(reporting_panel, show_result, tmp_path):
    show_result(structures=STRUCTURES, regions=REGIONS, remaining_error_ml=10.7)
    reporting_panel.sections["Report"].on_report()
    (page,) = (path.read_text(encoding="utf-8") for path in (tmp_path / "reports").glob("*.html"))
    sentence = reporting_panel.ui.summaryLabel.text
    assert sentence.startswith("Look at posterior part first: 10.5 mL are expected to be wrong")
    assert sentence in page
    listed = shown(reporting_panel.sections["Regions"].ui.regionsTable)
    assert [row[:2] for row in listed] == [["1", "posterior_part"], ["2", "anterior"]]
    places = re.findall(r"(\d)\. ([\w ]+), along its border: ([\d.]+) mL expected to be wrong of ([\d.]+) mL", page)
    assert places == [(row[0], row[1].replace("_", " "), row[4], row[3]) for row in listed]


def test_what_was_drawn_since_is_told_apart_until_the_server_has_answered(reporting_panel, session, show_result):
    result = show_result(structures=STRUCTURES, remaining_error_ml=10.7)
    session.review_wanted.emit()
    session.changed.emit()
    assert reporting_panel.ui.summaryLabel.text.startswith("Before your last change: Look at posterior part first")
    session.show_result(result, None, {}, base=result)
    assert reporting_panel.ui.summaryLabel.text.startswith("Look at posterior part first")
    session.close_case()
    assert not reporting_panel.ui.summaryLabel.isVisible()
    assert not reporting_panel.ui.quickReportButton.isVisible()
