"""The models that come with the project, on the data they are for."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.phantom import write_phantoms
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.data.ultrasound_phantom import write_ultrasound
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.inference.bundle import find_bundles
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.metrics.overlap import dice

TRAINED = {name: bundle for name, bundle in find_bundles().items() if bundle.checksum}


def check(name: str, cases, least: float) -> None:
    """Dice of the structures, an interval where the head has one, and maps that know where the errors are."""
    predictor = Predictor(TRAINED[name])
    for case in cases:
        prediction = predictor.predict(case.image, samples=39)
        ids = {label.name: label.id for label in TRAINED[name].labels}
        reference = read_case_label(case, ids, like=read_scan(case.image))[0].numpy()
        biggest = max(ids.values(), key=lambda i: (reference == i).sum())
        assert dice(prediction.label == biggest, reference == biggest) > least
        wrong = prediction.label != reference
        risk = prediction.maps["error_probability"]
        assert risk[wrong].mean() > 5 * risk[~wrong].mean()
        size = "area" if TRAINED[name].flat else "volume"
        assert prediction.guarantee is None or f"% of the true {size}, " in prediction.guarantee.text
        for row in prediction.structures:
            assert (row.volume_ml_95 is None) == (not predictor.network.head.coherent)


@pytest.mark.parametrize("name", [name for name in TRAINED if name.startswith("hippocampus")])
def test_hippocampus_models_segment_real_scans(shared_data, name):
    wanted = read_split("msd_hippocampus")["validation"][:2]
    cases = [case for case in read_cases(shared_data / "msd_hippocampus") if case.id in wanted]
    assert len(cases) == 2
    check(name, cases, 0.75)


@pytest.mark.parametrize("name", [name for name in TRAINED if name.startswith("phantom")])
def test_phantom_models_segment_phantoms(tmp_path, name):
    write_phantoms(tmp_path, 1, seed=77)
    check(name, read_cases(tmp_path), 0.7)


@pytest.mark.parametrize("name", [name for name in TRAINED if name.startswith("ultrasound")])
def test_ultrasound_models_segment_heads(tmp_path, name):
    write_ultrasound(tmp_path, 1, seed=77)
    check(name, read_cases(tmp_path), 0.8)


@pytest.mark.parametrize("name", [name for name in TRAINED if TRAINED[name].flat])
def test_models_of_images_see_no_frame_by_the_light_of_another(tmp_path, name):
    write_ultrasound(tmp_path, 1, seed=77)
    scan = read_scan(read_cases(tmp_path)[0].image)
    values, affine = scan[0].numpy(), scan.affine.numpy()
    clip = np.concatenate([values, 0.25 * values], axis=2)
    write_volume(tmp_path / "clip.nii.gz", clip, affine, about={"axis": "time"})
    write_volume(tmp_path / "dark.nii.gz", clip[..., 1:], affine)
    predictor = Predictor(TRAINED[name])
    both, dark = (predictor.predict(tmp_path / f"{part}.nii.gz", samples=2) for part in ("clip", "dark"))
    assert (both.label[..., 1:] != dark.label).mean() < 1e-3  # the grid of two frames rounds otherwise
    for measure, found in dark.maps.items():
        np.testing.assert_allclose(both.maps[measure][:, :, 1:], found[:, :, :], rtol=1e-4, atol=1e-6, err_msg=measure)
