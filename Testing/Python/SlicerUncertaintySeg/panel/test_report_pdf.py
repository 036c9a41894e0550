"""The PDF of a report says what panel and page say: sentence, table, places, whatever the names are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.panel import pdf
from UncertaintySegLib.server.results import Region, Structure

LONG = "left_superior_pulmonary_vein_with_a_name_that_does_not_end_soon"
ONE_WORD = "Segmentum_apicoposterius" * 4
STRUCTURES = (
    Structure("Milz ß Größe", 1, 1.6123, (1.2, 1.9), "", 0.042, 0.853, "", 0.3126, flag="expected Dice below 0.8"),
    Structure(LONG, 2, 141.49, (120.0, 160.4), "", 0.213, None, expected_error_ml=10.46),
    Structure("<fornix> & co", 3, 12.0, (0.5, 30.0), "", 0.5, 0.1, "", None, flag="affected, official, fluffy"),
    Structure("žlučník Ω печень", 4, 0.52, (0.5, 0.6), "", 0.011, 0.97, "", 0.0123),
    Structure(ONE_WORD.replace("_", ""), 5, 33.3, (30.0, 36.6), "", 0.099, 0.9, "", 5.5),
)
REGIONS = (
    Region(1, LONG, (0.0, 0.0, 0.0), (20, 20, 11), ((20, 15, 9), (30, 25, 13)), 12.85, 1.2345, "border"),
    Region(2, "žlučník Ω печень", (0.0, 0.0, 0.0), (22, 20, 11), ((20, 15, 9), (30, 25, 13)), 0.4, 0.0119, "missed"),
)


def written(panel, tmp_path) -> Path:
    """Write the report and return its PDF."""
    panel.sections["Report"].on_report()
    (path,) = (tmp_path / "reports").glob("*.pdf")
    return path


def printed(panel) -> list[str]:
    """The rows of the panel's table as a report has them: without brackets, and a dash where nothing is known."""
    table = panel.sections["Risk"].ui.structuresTable
    flags = {structure.name: structure.flag or "" for structure in panel.session.state.result.structures}
    rows = []
    for row in range(table.rowCount):
        name, *numbers = (table.item(row, column).text() for column in range(table.columnCount))
        name = name.removeprefix("⚠ ")
        cells = ("–" if number == "-" else re.sub(r"[\[\],]", " ", number) for number in numbers)
        rows.append(pdf.squeezed(" ".join((name.replace("_", " "), *cells, flags[name]))))
    return rows


def test_the_pdf_says_the_sentence_the_table_and_the_places_of_the_panel(reporting_panel, show_result, tmp_path):
    show_result(structures=STRUCTURES, regions=REGIONS, remaining_error_ml=16.3)
    text = pdf.squeezed(" ".join(pdf.pages(written(reporting_panel, tmp_path).read_bytes())))
    sentence = reporting_panel.ui.summaryLabel.text
    assert sentence.startswith(f"Look at {LONG.replace('_', ' ')} first: 10.5 mL are expected to be wrong")
    assert pdf.squeezed(sentence) in text
    rows = printed(reporting_panel)
    assert rows[0].endswith("10.5141120160" + "0.213–")
    assert "".join(rows) in text
    table = reporting_panel.sections["Regions"].ui.regionsTable
    places = [[table.item(row, column).text() for column in (0, 1, 4, 3)] for row in range(table.rowCount)]
    kinds = ("along its border", "where too little is labelled")
    for (rank, name, error, volume), kind in zip(places, kinds, strict=True):
        said = f"{rank}. {name.replace('_', ' ')}, {kind}: {error} mL expected to be wrong of {volume} mL"
        assert pdf.squeezed(said) in text


def test_no_row_is_torn_and_every_page_has_the_headings(reporting_panel, show_result, tmp_path):
    """Rows of one, two and three lines: wherever a page ends, it ends between two of them."""
    names = [("lobe " * (3 + 5 * (n % 3)) + f"number {n}").strip() for n in range(70)]
    rows = tuple(
        Structure(name, n + 1, 12.0 + n, (11.0, 13.5), "", 0.5, 0.9, expected_error_ml=1 + n / 10, flag="small")
        for n, name in enumerate(names)
    )
    show_result(structures=rows, regions=REGIONS)
    text = [pdf.squeezed(page) for page in pdf.pages(written(reporting_panel, tmp_path).read_bytes())]
    on_page = [[page for page, said in enumerate(text) if row in said] for row in printed(reporting_panel)]
    assert all(len(pages) == 1 for pages in on_page), on_page
    assert [pages[0] for pages in on_page] == sorted(pages[0] for pages in on_page)
    assert on_page[-1][0] - on_page[0][0] >= 2
    for page in range(on_page[0][0], on_page[-1][0] + 1):
        assert "StructureError,mLVolume,mL95%from,mL95%to,mLMeanriskDiceLookbecause" in text[page]
    assert text[-1].endswith("resultk3y")
    assert sum(page.count("Wherethiscomesfrom") for page in text) == 1
