"""A predictor for which memory runs out: smaller windows for that scan alone, and the result says so."""

from __future__ import annotations

import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.inference.case_loop import PredictorSpec
from uncertaintyseg.inference.model_hash import model_hash
from uncertaintyseg.inference.predictor import Predictor


@pytest.fixture
def predictor(tiny_bundle):
    bundle = tiny_bundle()
    return PredictorSpec(bundle.folder, model_hash(bundle)).load()


@pytest.fixture
def scan(tmp_path):
    tiny.write_phantoms(tmp_path, 1)
    return read_cases(tmp_path)[0].image


def fails_for(monkeypatch, too_large, error):
    """Raise the error for windows for which `too_large(window)`."""
    predict = Predictor.predict

    def limited(self, *given, **named):
        if too_large(self.layout.window):
            raise error
        return predict(self, *given, **named)

    monkeypatch.setattr(Predictor, "predict", limited)


def test_a_scan_that_needs_too_much_is_done_in_smaller_windows_and_the_next_as_ever(predictor, scan, monkeypatch):
    whole = predictor.predict(scan)
    assert whole.provenance.fallback is None
    with monkeypatch.context() as patch:
        fails_for(patch, lambda window: tuple(window) == whole.provenance.window, MemoryError())
        smaller = predictor.predict(scan)
    assert smaller.provenance.window == (12, 12, 4)  # of 24, 24 and 12, in multiples of what the network divides by
    text = smaller.provenance.fallback
    assert text.startswith("out of memory on cpu with the model's own windows: done on cpu with windows of ")
    again = predictor.predict(scan)
    assert again.provenance.fallback is None
    assert (again.label == whole.label).all()


def test_what_fits_in_no_windows_is_told_and_other_errors_come_through(predictor, scan, monkeypatch):
    with monkeypatch.context() as patch:
        fails_for(patch, lambda window: True, RuntimeError("CUDA out of memory"))
        with pytest.raises(MemoryError, match="out of memory on cpu"):
            predictor.predict(scan)
    fails_for(monkeypatch, lambda window: True, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        predictor.predict(scan)
