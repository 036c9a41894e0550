"""The page of a plan: one file, with what was found, what was chosen and pictures that show what was drawn."""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from Testing.Python.uncertaintyseg.planning import small_cases
from uncertaintyseg.data.dataset import Structure
from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.choices import Choice
from uncertaintyseg.planning.examples import draw_examples
from uncertaintyseg.planning.fingerprint import take_fingerprint
from uncertaintyseg.planning.following import next_steps
from uncertaintyseg.planning.overrides import Overrides
from uncertaintyseg.planning.page import write_page
from uncertaintyseg.planning.plan import Trial, make_plan


def measured(draft):
    """A quarter of a second a step, in as much memory as was estimated."""
    return Trial(0.25, 0.01, draft.memory.total)


def plan(fingerprint, try_step=measured, **given):
    return make_plan(fingerprint, "organs", overrides=Overrides(features=4, **given), try_step=try_step)


class Reader(HTMLParser):
    """Text, pictures, and whether every tag is closed."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.sources, self.wrong = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def page(tmp_path, dataset, made=plan, **options):
    fingerprint = take_fingerprint(dataset, cache=None, workers=0)
    text = write_page(tmp_path / "plan.html", fingerprint, made(fingerprint), **options).read_text(encoding="utf-8")
    reader = Reader(text)
    assert (reader.open, reader.wrong) == ([], [])
    assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
    pictures = [Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) for source in reader.sources]
    return re.sub(r"\s+", " ", " ".join(reader.text)), pictures


def test_it_says_what_was_found_chosen_and_comes_next(tmp_path):
    dataset = small_cases.make(tmp_path / "my data", 4, channels=("T1", "T2"))
    made = []

    def keep(fingerprint):
        found = plan(fingerprint, steps=5000, epochs=10)
        made.append(replace(found, choices=[*found.choices, Choice("seed", "<1>", "fits <8 GB>", "--seed")]))
        return made[0]

    text, pictures = page(tmp_path, dataset, keep, models=tmp_path / "models")
    assert len(pictures) == 3 + 2 + 1 + 1  # cases, channels, grids, structures
    models = f"--models {tmp_path}/models --output {tmp_path}/models"
    for said in (
        "Plan for “organs”", "Nothing was found.", "The smallest", "The one in the middle", "The largest",
        "5000 steps of 2 patches", "250 ms", "fits <8 GB>",
        "21 minutes",  # 1250 s and ten validations
        f"{made[0].memory_bytes / 1e6:.0f} MB measured", f"{made[0].memory_bytes / 1e6:.0f} MB estimated",
        f"uncertaintyseg train organs_deterministic '{tmp_path}/my data' {models}",
    ):  # fmt: skip
        assert said in text, said
    for choice in made[0].choices:
        for said in (choice.name, choice.value, choice.why, choice.flag or ""):
            assert re.sub(r"\s+", " ", said) in text, choice


def test_problems_are_listed_by_kind_errors_first(tmp_path):
    def change(number, parts):
        if number == 2:
            parts[0][0][0, 0, 0] = np.nan
        if number in {3, 4}:
            parts[0][0] *= 30

    text, _ = page(tmp_path, small_cases.make(tmp_path / "data", 7, change=change))
    first, second = (
        text.index("Voxels that are no numbers (1 case)"),
        text.index("another unit than the rest (2 cases)"),
    )
    assert text.index("Error:") < first < text.index("case_2 :") < second
    assert text.count("Error:") == 1


def test_cases_that_are_left_out_are_on_the_page_with_their_errors_and_scans_are_all_counted(tmp_path):
    def change(number, parts):
        if number == 2:
            parts[0][0][0, 0, 0] = np.nan

    dataset = small_cases.make(tmp_path / "data", 7, change=change)
    cases = [replace(case, label=None) if case.id == "case_5" else case for case in dataset.cases]
    found = take_fingerprint(replace(dataset, cases=cases), cache=None, workers=0)
    rest = found.without(found.bad)
    page = write_page(tmp_path / "plan.html", rest, plan(rest)).read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", " ".join(Reader(page).text))
    assert "5 of 7 scans" in text
    assert "1 of 7 scans have no label" in text
    assert "1 of the 7 scans is left out" in text
    left_out = text[text.index("Left out, and why") : text.index("What it looks like")]
    assert "case_2 : " in left_out
    assert "NaN or infinite" in left_out


def test_terminal_and_page_name_the_same_commands(tmp_path):
    fingerprint = take_fingerprint(small_cases.make(tmp_path / "data", 4), cache=None, workers=0)
    made = plan(fingerprint)
    page = write_page(tmp_path / "plan.html", fingerprint, made, models=tmp_path / "my models")
    text = html.unescape(page.read_text(encoding="utf-8"))
    steps = next_steps(made, fingerprint, tmp_path / "my models")
    assert re.findall(r"<pre>(.*)</pre>", text) == [step.command for step in steps if step.command]
    assert "Not yet:</span> no cases will be left to calibrate on, 10 are needed" in text


@pytest.mark.parametrize("count", [1, 117])
def test_one_structure_and_many_have_a_page(tmp_path, count):
    def change(_, parts):
        parts[1][:] = 0
        parts[1].reshape(-1)[: 2 * count] = np.repeat(np.arange(1, count + 1), 2)

    labels = [Structure(n, f"structure_{n}", (n, 2 * n, 255 - n)) for n in range(1, count + 1)]
    dataset = replace(small_cases.make(tmp_path / "data", 3, change=change), labels=labels)
    text, pictures = page(tmp_path, dataset, lambda found: plan(found, lambda draft: None))
    assert f"structure_{count}" in text
    assert "by a guess, since no step was tried here" in text
    assert "MB measured" not in text
    assert (pictures[-1].height > 2000) == (count == 117)


def test_outlines_are_where_the_label_is_and_the_patient_s_right_is_on_the_left(tmp_path):
    """A block at the right, front and top of a scan that is dark on the patient's left."""

    def change(_, parts):
        parts[0][0][:] = 0.1 * small_cases.scan(1)
        parts[0][0][6:] += 100
        parts[1][:] = 0
        parts[1][7:11, 6:9, 5:7] = 1

    dataset = small_cases.make(tmp_path, 3, change=change)
    colour = (255, 0, 255)
    dataset = replace(dataset, labels=[Structure(1, "block", colour)])
    example, *_ = draw_examples(take_fingerprint(dataset, cache=None, workers=0))
    assert [label.name for label in example.shown] == ["block"]
    pixels = np.asarray(Image.open(io.BytesIO(example.picture)).convert("RGB")).astype(int)
    outline = np.argwhere(np.abs(pixels - colour).sum(-1) < 60)
    widths = np.array([20.0, 12.0, 12.0])  # mm that the three planes are wide
    ends = np.cumsum(widths) / widths.sum() * pixels.shape[1]
    for plane, (start, end) in enumerate(zip([0, *ends[:2]], ends, strict=True)):
        columns = outline[(outline[:, 1] >= start) & (outline[:, 1] < end), 1]
        share = (columns.mean() - start) / (end - start)
        assert (share > 0.6) if plane == 0 else (share < 0.4), (
            plane
        )  # front at the right; the patient's right at the left


def test_pictures_have_true_proportions(tmp_path):
    """12 x 10 x 8 voxels of 1 x 2 x 3 mm: a sagittal plane of 20 x 24 mm, a coronal one of 12 x 24, axial 12 x 20."""
    dataset = small_cases.make(tmp_path, 1)
    example, *_ = draw_examples(take_fingerprint(dataset, cache=None, workers=0))
    width, height = Image.open(io.BytesIO(example.picture)).size
    title = 0.3 * 110
    assert (height - title) / width == pytest.approx(24 / (20 + 12 + 12), rel=0.03)


def test_cases_that_cannot_be_read_any_more_are_left_out(tmp_path):
    fingerprint = take_fingerprint(small_cases.make(tmp_path, 3), cache=None, workers=0)
    fingerprint.dataset.cases[1].image.unlink()
    assert [example.case.id for example in draw_examples(fingerprint)] == ["case_0", "case_2"]


def test_a_page_that_cannot_be_written_says_so(tmp_path):
    fingerprint = take_fingerprint(small_cases.make(tmp_path, 2), cache=None, workers=0)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"plan\.html"):
        write_page(tmp_path / "file" / "plan.html", fingerprint, plan(fingerprint))
