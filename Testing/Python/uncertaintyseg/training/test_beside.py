"""A fitted head costs no more than one and a half passes over the cases, and says how far it moves the label."""

from __future__ import annotations

import pytest
import torch

from Testing.Python.uncertaintyseg.training.test_derived import write_imported
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.stream import WindowLayout
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.beside import keep_shift
from uncertaintyseg.training.fit import fit
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.variant import with_head
from uncertaintyseg.wire import LabelShift


@pytest.fixture
def forwards(monkeypatch) -> list[int]:
    """Windows that any network has run, one entry each."""
    done: list[int] = []
    extract = Segmenter.extract

    def counted(self, image):
        done.append(len(image))
        return extract(self, image)

    monkeypatch.setattr(Segmenter, "extract", counted)
    return done


@pytest.mark.parametrize("head", ["temperature", "laplace"])
def test_a_fitted_head_costs_at_most_one_and_a_half_passes(head, windows, tmp_path, forwards):
    models, cases = tmp_path / "models", read_cases(windows)
    imported = write_imported(models, window=(16, 16, 8), overlap=0.5)
    report = fit(with_head(imported, head, models), cases[:5], cases[5:], models)
    layout, read = WindowLayout.of(imported, imported.network().divisor), imported.preprocessing()
    shapes = [read({"image": case.image})["image"].shape[1:] for case in cases]
    one_pass = sum(len(layout.over(shape, imported.network().divisor)) for shape in shapes)
    validated = sum(len(layout.over(shape, imported.network().divisor)) for shape in shapes[5:])
    mirrored = validated * len(imported.config.get("mirrors"))  # the base as `predict` runs it, to compare labels
    assert 0 < sum(forwards) - mirrored <= 1.5 * one_pass
    assert report.validation["validation_nll"] <= report.validation["plain_validation_nll"] + 1e-6


@pytest.mark.parametrize(("head", "options"), [("temperature", {}), ("low_rank", {"rank": 2})])
def test_the_shift_of_the_label_is_against_the_base_as_predict_runs_it_mirrored(head, options, windows, tmp_path):
    models, cases = tmp_path / "models", read_cases(windows)
    imported = write_imported(models, window=(16, 16, 8), overlap=0.5)
    made = with_head(imported, head, models, **options)
    report = fit(made, cases[:1], cases[4:5], models, recipe=Recipe.load(made, epochs=1, validate_every=1))
    network, start = report.bundle.network(), imported.network()
    plan = WindowLayout.of(imported, start.divisor)
    voxels = foreground = 0
    for case in cases[4:5]:
        volume = imported.preprocessing()({"image": case.image})["image"].as_tensor()
        windows = plan.over(volume.shape[1:], start.divisor)
        shape = [starts[-1] - starts[0] + side for starts, side in zip(windows.starts, windows.window, strict=True)]
        logits, p = torch.zeros(2, 3, *shape, dtype=torch.float64)
        for x in windows.starts[0]:
            for y in windows.starts[1]:
                for z in windows.starts[2]:
                    box = tuple(slice(c, c + w) for c, w in zip((x, y, z), windows.window, strict=True))
                    patch = windows.patch(volume, (x, y, z))
                    with torch.no_grad():
                        members = [start(patch).distribution.mean, start(patch.flip(2)).distribution.mean.flip(2)]
                        logits[(slice(None), *box)] += windows.weights * torch.cat(members).mean(0)
                        p[(slice(None), *box)] += windows.weights * network(patch).distribution.moments().probability[0]
        inner = (slice(None), *(slice(b, b + n) for b, n in zip(windows.before, volume.shape[1:], strict=True)))
        before, after = logits[inner].argmax(0), p[inner].argmax(0)
        voxels += int((before != after).sum())
        foreground += int((before > 0).sum())
    assert report.shift.base == imported.name
    assert report.shift.foreground == pytest.approx(foreground, abs=2)
    assert report.shift.voxels == pytest.approx(voxels, abs=2)
    assert report.shift.percent == pytest.approx(100 * report.shift.voxels / report.shift.foreground)
    assert report.bundle.label_shift == report.shift
    assert imported.label_shift is None


def test_a_shift_is_told_of_the_weights_it_was_counted_with_alone(tmp_path):
    bundle = write_imported(tmp_path)
    shift = LabelShift(base="other", voxels=1, foreground=2)
    keep_shift(bundle, shift)
    assert Bundle.load(bundle.folder).label_shift == shift
    write_imported(tmp_path, seed=1)
    assert Bundle.load(bundle.folder).label_shift is None
    (bundle.folder / "label_shift.json").write_text("{")
    assert Bundle.load(bundle.folder).label_shift is None
