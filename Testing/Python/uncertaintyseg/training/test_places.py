"""Where a fit reads its model and writes what it learns."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import InputError, StorageError
from uncertaintyseg.inference.bundle import TRAINING, WEIGHTS, Bundle
from uncertaintyseg.training.epochs import save_checkpoint
from uncertaintyseg.training.fit import fit
from uncertaintyseg.training.recipe import Recipe


@pytest.fixture
def model(tmp_path):
    return Bundle.load(tiny.write_bundle(tmp_path / "models"))


def fitted(bundle, cases, output):
    return fit(bundle, cases[:2], cases[2:3], output, recipe=Recipe.load(bundle, epochs=1), device="cpu")


def test_a_model_from_a_place_where_nobody_may_write_is_trained_in_another(model, windows, tmp_path):
    places = [model.folder, *model.folder.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        trained = fitted(model, read_cases(windows), tmp_path / "out").bundle
    finally:
        for place in places:
            place.chmod(0o755 if place.is_dir() else 0o644)
    assert trained.weights.is_file()
    for place in (trained.folder, (trained.folder / TRAINING).parent, trained.folder / TRAINING):
        assert place.stat().st_mode & stat.S_IWUSR, place


def test_a_place_where_nobody_may_write_is_refused_before_the_first_epoch(model, windows):
    model.folder.chmod(0o555)
    try:
        if os.access(model.folder, os.W_OK):
            pytest.skip("root may write everywhere")
        with pytest.raises(InputError, match=r"cannot write to .*no permission.*choose another output folder"):
            fitted(model, read_cases(windows), model.folder.parent)
    finally:
        model.folder.chmod(0o755)


def test_what_ends_a_fit_is_told_once(model, windows, caplog):
    (model.folder / WEIGHTS.parent).write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        fitted(model, read_cases(windows), model.folder.parent)
    assert "terminating" not in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_is_full_costs_the_epoch_and_not_what_was_kept_before(tmp_path):
    save_checkpoint(tmp_path / "fit.pt", {"epoch": torch.tensor(1)})
    (tmp_path / "fit.partial").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"fit\.pt: .*cannot be written.*Make room: the same command then goes on"):
        save_checkpoint(tmp_path / "fit.pt", {"epoch": torch.zeros(100_000)})
    assert torch.load(tmp_path / "fit.pt", weights_only=True) == {"epoch": torch.tensor(1)}
    assert [path.name for path in tmp_path.iterdir()] == ["fit.pt"]
