"""The key of a result: another one for everything that the result depends on, the same for copies."""

from __future__ import annotations

import json
import shutil

import pytest
import SimpleITK as sitk

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import INFERENCE
from uncertaintyseg.inference.result_key import result_key


def test_the_key_of_a_result_changes_with_everything_it_depends_on(tiny_bundle, scan, phantoms, tmp_path):
    bundle = tiny_bundle("low_rank", 3)
    same = {"seed": 0, "samples": 64, "device": "cpu"}
    keys = [
        result_key(scan, bundle, **same),
        result_key(scan, bundle, **same | {"seed": 1}),
        result_key(scan, bundle, **same | {"samples": 32}),
        result_key(scan, bundle, **same | {"device": "cuda"}),
        result_key(phantoms / "images" / "case_1.nii.gz", bundle, **same),
        result_key(scan, tiny_bundle("low_rank", 3, seed=1), **same),
        result_key(scan, tiny_bundle("low_rank", 3, overlap=0.5), **same),
        result_key(scan, tiny_bundle("deterministic", 3), **same),
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 64 for key in keys)
    shutil.copy(scan, tmp_path / "copy.nii.gz")
    assert result_key(tmp_path / "copy.nii.gz", tiny_bundle("low_rank", 3), **same) == keys[0]
    with pytest.raises(InputError, match=r"absent\.nii\.gz: no such file"):
        result_key(tmp_path / "absent.nii.gz", bundle, **same)


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_the_key_of_a_result_is_of_all_files_of_the_scan(tiny_bundle, scan, tmp_path, suffix):
    bundle, image = tiny_bundle("low_rank", 3), sitk.GetArrayFromImage(sitk.ReadImage(str(scan)))
    for folder, array in (("a", image), ("b", image[:, :, ::-1]), ("c", image)):
        one = sitk.GetImageFromArray(array)
        (tmp_path / folder).mkdir()
        sitk.WriteImage(one, str(tmp_path / folder / f"scan{suffix}"))
    a, b, c = (tmp_path / folder / f"scan{suffix}" for folder in "abc")
    assert a.read_bytes() == b.read_bytes()
    keys = [result_key(path, bundle, seed=0, samples=2, device="cpu") for path in (a, b, c)]
    assert keys[0] == keys[2] != keys[1]


def test_the_key_of_a_result_is_of_all_channels(tiny_bundle, scan, phantoms, tmp_path):
    bundle, keys = tiny_bundle("low_rank", 3), []
    config = bundle.folder / INFERENCE
    config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | {"channels": ["t1", "t2"]}))
    shutil.copy(scan, tmp_path / "case_0000.nii.gz")
    for second in (scan, phantoms / "images" / "case_1.nii.gz"):
        shutil.copy(second, tmp_path / "case_0001.nii.gz")
        keys.append(result_key(tmp_path / "case_0000.nii.gz", bundle, seed=0, samples=2, device="cpu"))
    assert keys[0] != keys[1]
