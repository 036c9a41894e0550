"""Validation scores against their definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import InputError
from uncertaintyseg.training.loading import read_labelled
from uncertaintyseg.training.validation import Scores, make_evaluator, validate


def test_scores_are_means_over_structures_voxels_and_cases():
    rng = np.random.default_rng(0)
    scores = Scores(classes=3)
    dice, nll = [], []
    for shape in ((6, 5, 4), (3, 4, 5)):
        p = rng.dirichlet([1, 1, 1], shape).transpose(3, 0, 1, 2)
        t = rng.integers(0, 3, shape)
        scores.update(torch.from_numpy(p)[None].float(), torch.from_numpy(t)[None, None])
        label = p.argmax(0)
        dice.append([2 * ((label == c) & (t == c)).sum() / ((label == c).sum() + (t == c).sum()) for c in (1, 2)])
        nll.append(-np.log(np.take_along_axis(p, t[None], 0)).mean())
    found = scores.compute()
    assert found["dice"] == pytest.approx(np.mean(dice), abs=1e-6)
    assert found["nll"] == pytest.approx(np.mean(nll), abs=1e-6)


def test_scores_start_anew_after_they_were_read():
    scores, p = Scores(classes=2), torch.full((1, 2, 2, 2, 2), 0.5)
    scores.update(torch.tensor([0.9, 0.1])[None, :, None, None, None].expand_as(p), torch.zeros(1, 1, 2, 2, 2).long())
    scores.compute()
    scores.update(p, torch.ones(1, 1, 2, 2, 2).long())
    assert scores.compute()["nll"] == pytest.approx(np.log(2))


def test_a_case_is_read_when_its_turn_comes(windows, tmp_path):
    bundle = tiny.give_random_weights(tiny.write_bundle(tmp_path))
    cases, told = read_cases(windows)[:3], []
    found = validate(bundle, cases, progress=lambda text, fraction: told.append((text, fraction)))
    held = read_labelled(bundle, cases, "validation", lambda text, fraction: None)
    evaluator = make_evaluator(bundle, bundle.network(), "cpu", held)
    evaluator.run()
    assert found == evaluator.scores.compute()
    assert told == [(f"validated {n} of 3 cases", n / 3) for n in (1, 2, 3)]
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"none")
    with pytest.raises(InputError, match=r"broken\.nii\.gz"):
        validate(bundle, [*cases, replace(cases[0], image=broken)])
