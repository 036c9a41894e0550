"""What the documentation says exists: commands, options, methods, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from uncertaintyseg.inference.methods import methods

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/adr/*.md")])


def test_every_method_has_its_row_with_a_file_that_is_there():
    rows = re.findall(
        r"^\| `(\w+)` \|.*`([\w/.]+)` \|$", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {name for name, _ in rows} == set(methods())
    for _, file in rows:
        assert (ROOT / "uncertaintyseg" / file).exists(), file


def test_the_numbers_of_passes_are_those_of_the_program():
    for name, passes in re.findall(
        r"^\| `(\w+)` \| \w+[\w, ]* \| (\d+) \|",
        (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    ):
        assert methods()[name].passes == int(passes), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\w\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target
