"""TotalSegmentator's weights are found, checked and become models; what is missing or not supported is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from Testing.Python.uncertaintyseg.imports.totalsegmentator_weights import FOLDERS, lay_out, write_ct
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports import import_model
from uncertaintyseg.imports.totalsegmentator.tasks import names, refused, task
from uncertaintyseg.inference.bundle import METADATA, Bundle, find_bundles

GIVEN = Path("totalsegmentator")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "nnunet" / "results"
    lay_out(folder, "total")
    return lay_out(folder, "total_fast")


@pytest.fixture(autouse=True)
def found(weights, monkeypatch) -> None:
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(weights))


def test_one_network_becomes_a_usual_model_with_codes(tmp_path):
    bundle = import_model(GIVEN, output=tmp_path, task="total_fast")
    assert bundle.name == "totalsegmentator_total_fast"
    assert [label.name for label in bundle.labels][:3] == ["spleen", "kidney_right", "kidney_left"]
    assert len(bundle.labels) == 117
    kidney = bundle.labels[2]
    assert (kidney.snomed, kidney.modifier, kidney.rgb) == ("64033007", "7771000", (46, 138, 184))
    assert all(label.snomed for label in bundle.labels)
    assert bundle.modality == "CT"
    assert bundle.uncertainty.origin["source"] == "totalsegmentator"
    assert bundle.uncertainty.origin["folder"].startswith(
        "Dataset297_TotalSegmentator_total_3mm_1559subj/nnUNetTrainer_"
    )
    assert bundle.setting("overlap") == 0.2
    assert bundle.setting("mirrors") == []
    assert bundle.network().head.classes == 118


def test_five_networks_become_one_model_that_knows_what_is_whose(tmp_path):
    lines = []
    bundle = import_model(GIVEN, output=tmp_path, progress=lambda text, fraction: lines.append((text, fraction)))
    assert list(find_bundles(tmp_path)).count(bundle.name) == 1
    assert [part.name for part in bundle.parts] == [FOLDERS[number] for number in range(291, 296)]
    ids = [part.labels for part in bundle.uncertainty.parts]
    assert sorted(i for own in ids for i in own) == list(range(1, 118))
    for part, own in zip(bundle.parts, ids, strict=True):
        assert [label.name for label in part.labels] == [bundle.labels[i - 1].name for i in own]
    assert any(text.startswith("part 2 of 5") for text, _ in lines)
    assert [fraction for _, fraction in lines] == sorted(fraction for _, fraction in lines)
    with pytest.raises(BundleError, match="put together from 5 networks"):
        bundle.network()


def test_the_checksum_covers_every_part_and_what_is_whose(tmp_path):
    bundle = import_model(GIVEN, output=tmp_path)
    before, path = bundle.checksum, bundle.parts[3].weights
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    changed = Bundle.load(bundle.folder)
    assert changed.checksum not in ("", before)
    content[-1] ^= 1
    path.write_bytes(content)
    metadata = json.loads((bundle.folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    metadata["uncertainty"]["parts"][0]["labels"].reverse()
    (bundle.folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    assert Bundle.load(bundle.folder).checksum not in ("", before)
    path.unlink()
    assert Bundle.load(bundle.folder).checksum == ""


def test_weights_are_found_in_the_home_of_totalsegmentator(weights, tmp_path, monkeypatch):
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH")
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(weights.parents[1]))
    assert import_model(GIVEN, output=tmp_path, task="total_fast").checksum


def test_what_is_missing_is_named_with_the_command_that_downloads_it(tmp_path, monkeypatch):
    lay_out(tmp_path / "half", parts=[291, 293])
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "half"))
    with pytest.raises(BundleError, match=r"3 of 5 .*Dataset292, Dataset294, Dataset295.*download_weights -t total`"):
        import_model(GIVEN, output=tmp_path / "models")
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(BundleError, match=r"Dataset297.*pip install TotalSegmentator.* -t total_fast`"):
        import_model(GIVEN, output=tmp_path / "models", task="total_fast")
    assert not (tmp_path / "models").exists()


def test_a_damaged_part_leaves_nothing_behind(tmp_path, monkeypatch):
    folder = lay_out(tmp_path / "weights")
    (path,) = folder.glob("Dataset293*/*/fold_0/checkpoint_final.pth")
    path.write_bytes(path.read_bytes()[:1000])
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(folder))
    with pytest.raises(BundleError, match=r"checkpoint_final\.pth"):
        import_model(GIVEN, output=tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plans, data: data["labels"].popitem(), "118 output channels|116 structures"),
        (
            lambda plans, data: plans["configurations"]["3d_fullres"].update(spacing=[2, 3, 3]),
            "2 x 3 x 3 mm.*3 x 3 x 3",
        ),
    ],
)
def test_weights_of_something_else_are_refused(tmp_path, monkeypatch, change, message):
    folder = lay_out(tmp_path / "weights", "total_fast")
    (trained,) = folder.glob("*/*")
    plans, data = (json.loads((trained / name).read_text(encoding="utf-8")) for name in ("plans.json", "dataset.json"))
    change(plans, data)
    (trained / "plans.json").write_text(json.dumps(plans))
    (trained / "dataset.json").write_text(json.dumps(data))
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(folder))
    with pytest.raises(BundleError, match=message):
        import_model(GIVEN, output=tmp_path / "models", task="total_fast")


def test_tasks_that_do_more_than_segment_are_refused_by_name(tmp_path):
    assert {"lung_vessels", "body", "heartchambers_highres", "vertebrae_pp"} <= refused().keys()
    for name in refused():
        with pytest.raises(InputError, match=f"'{name}' cannot be imported yet: it "):
            import_model(GIVEN, output=tmp_path, task=name)
    with pytest.raises(InputError, match=r"no task 'everything'.* total, total_fast"):
        import_model(GIVEN, output=tmp_path, task="everything")
    assert names()[0] == "total"
    assert {name: len(task(name).datasets) for name in names()}["total_mr"] == 2


def test_the_scan_is_resampled_as_totalsegmentator_does_and_the_affine_is_where_voxels_lie(tmp_path):
    bundle = import_model(GIVEN, output=tmp_path, task="total_fast")
    path = write_ct(tmp_path / "ct.nii.gz")
    scan = read_scan(path)
    volume = bundle.preprocessing()({"image": path})["image"]
    zoom = np.float32([2.1, 2.25, 3.3]) / 3.0
    canonical = scan[0].numpy().astype(np.float64)[::-1, ::-1].transpose(1, 0, 2)  # stored to the back and left
    zoomed = ndimage.zoom(canonical, zoom[[1, 0, 2]], order=1, mode="nearest").astype(np.int32)
    expected = (np.clip(zoomed, -900, 900) - 60) / 250
    np.testing.assert_allclose(volume[0].numpy().transpose(2, 1, 0), expected, atol=1e-6)
    first, last = np.array([0, 0, 0, 1]), np.array([*(np.array(volume.shape[1:]) - 1), 1])
    ours = volume.affine.numpy()
    theirs, size = scan.affine.numpy(), np.array(scan.shape[1:]) - 1
    np.testing.assert_allclose(ours @ first, theirs @ [size[0], size[1], 0, 1], atol=1e-4)
    np.testing.assert_allclose(ours @ last, theirs @ [0, 0, size[2], 1], atol=1e-4)
    assert volume.meta["nearest_axes"] == (0, 1, 2)


def test_a_label_for_training_goes_the_way_of_the_scan(tmp_path):
    bundle = import_model(GIVEN, output=tmp_path, task="total_fast")
    path = write_ct(tmp_path / "ct.nii.gz")
    scan = read_scan(path)
    write_volume(tmp_path / "label.nii.gz", (scan[0] > 100).to(torch.uint8) * 5, scan.affine)
    both = bundle.preprocessing()({"image": path, "label": tmp_path / "label.nii.gz"})
    assert both["label"].shape == both["image"].shape
    assert torch.equal(both["label"].affine, both["image"].affine)
    agree = (both["image"] > (100 - 60) / 250) == (both["label"] == 5)
    assert agree.float().mean() > 0.9
    said = bundle.folder / METADATA
    metadata = json.loads(said.read_text(encoding="utf-8"))
    metadata["uncertainty"] |= {"values": {"1": 5, "5": 1}, "ignore": 200}
    said.write_text(json.dumps(metadata))
    theirs = (scan[0] > 100).to(torch.uint8)
    theirs[0] = 200  # no verdict
    write_volume(tmp_path / "theirs.nii.gz", theirs, scan.affine)
    found = Bundle.load(bundle.folder).preprocessing()({"image": path, "label": tmp_path / "theirs.nii.gz"})["label"]
    judged = found != -1
    assert 0 < (~judged).sum() < found.numel() / 4
    assert torch.equal(found[judged], both["label"][judged])
