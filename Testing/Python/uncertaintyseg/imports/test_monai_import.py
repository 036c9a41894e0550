"""The import of MONAI bundles: what MONAI says of a scan is what we say, and nothing runs before it is trusted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from Testing.Python.uncertaintyseg.imports.scans import Grid, write_case
from Testing.Python.uncertaintyseg.imports.zoo import CONFIG, METADATA, monai_answer, write_zoo_bundle
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports import import_model
from uncertaintyseg.inference.bundle import METADATA as OUR_METADATA
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.training.variant import with_head

SAME = Grid(shape=(20, 24, 18), spacing=(1.5, 1.5, 2.0))
INFERER = CONFIG["inferer"]


@pytest.fixture
def spleen(tmp_path) -> Path:
    return tmp_path / "spleen_ct_segmentation"


def change(spleen: Path, **sections) -> None:
    path = spleen / "configs" / "inference.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | sections))


def answers(spleen, models, tmp_path, grid, changes=None):
    """MONAI's probabilities and label of a scan, and our prediction."""
    network = write_zoo_bundle(spleen, changes)
    (scan,), _ = write_case(tmp_path, grid)
    bundle = import_model(spleen, output=models, trust=True)
    return *monai_answer(spleen, scan, network), Predictor(bundle).predict(scan)


@pytest.mark.parametrize(
    "grid",
    [
        SAME,
        Grid(shape=(18, 20, 24), spacing=(1.5, 2.0, 1.5), codes="IRA"),
        Grid(shape=(10, 24, 9), spacing=(1.5, 1.5, 2.0)),
    ],
    ids=["flipped", "turned", "smaller than a window"],
)
@pytest.mark.parametrize("mode", ["constant", "gaussian"])
def test_on_the_bundles_grid_the_answer_is_monais(spleen, models, tmp_path, grid, mode):
    wanted, label, prediction = answers(spleen, models, tmp_path, grid, {"inferer": INFERER | {"mode": mode}})
    assert np.abs(np.asarray(prediction.maps["probability_spleen"]) - wanted[1]).max() < 1e-5
    assert np.array_equal(prediction.label, label)
    assert 0.05 < label.mean() < 0.95


def test_on_another_grid_logits_are_brought_back_and_then_become_probabilities(spleen, models, tmp_path):
    """The spleen bundle interpolates probabilities, we interpolate logits (docs/adr/0011): here MONAI does as well."""
    softmax, invert, discrete = CONFIG["postprocessing"]["transforms"]
    after = {"_target_": "Compose", "transforms": [invert, softmax, discrete]}
    grid = Grid(shape=(30, 34, 32), spacing=(1.0, 1.0, 1.2))
    wanted, label, prediction = answers(spleen, models, tmp_path, grid, {"postprocessing": after})
    inner = (slice(3, -3),) * 3  # at the border MONAI mixes in zeros
    assert np.abs(np.asarray(prediction.maps["probability_spleen"]) - wanted[1])[inner].max() < 1e-3
    assert (prediction.label != label)[inner].mean() < 1e-3


def test_it_tells_where_it_came_from_and_what_it_runs(spleen, models):
    write_zoo_bundle(spleen)
    bundle = import_model(spleen, output=models, trust=True)
    assert bundle.name == "spleen_ct_segmentation"
    assert [label.name for label in bundle.labels] == ["spleen"]
    assert bundle.setting("spacing") == [1.5, 1.5, 2.0]
    assert (bundle.setting("window"), bundle.setting("overlap")) == ([16, 16, 16], 0.5)
    assert bundle.network().divisor == [4, 4, 4]
    origin = bundle.uncertainty.origin
    assert (origin["source"], origin["trusted"]) == ("monai_bundle", True)
    assert {"UNet", "Spacingd", "$import glob", "$@network_def.to(@device)"} <= set(origin["runs"])
    kept = bundle.folder / "foreign" / "configs" / "inference.json"
    assert kept.read_bytes() == (spleen / "configs" / "inference.json").read_bytes()


def test_heads_take_the_place_of_its_output_layer(spleen, models):
    write_zoo_bundle(spleen)
    bundle = import_model(spleen, output=models, trust=True)
    layer = bundle.uncertainty.origin["layer"]
    assert layer is None  # num_res_units ends in a residual unit, which adds its input after the last convolution
    plain = {**CONFIG["network_def"], "_target_": "DynUNet", "kernel_size": [3, 3, 3], "strides": [1, 2, 2],
             "upsample_kernel_size": [2, 2], "filters": [4, 8, 8]}  # fmt: skip
    for option in ("channels", "num_res_units", "norm"):
        del plain[option]
    write_zoo_bundle(spleen, {"network_def": plain})
    bundle = import_model(spleen, output=models, name="cut", trust=True)
    assert bundle.uncertainty.origin["layer"] == "output_block.conv.conv"
    assert bundle.network().backbone.features == 4
    derived = with_head(bundle, "low_rank", models)
    network = derived.network(weights=False)
    derived.save(network)
    assert all(name.startswith("head.") for name in load_file(derived.weights))
    with torch.no_grad():
        moments = Bundle.load(derived.folder).network()(torch.rand(1, 1, 16, 16, 16)).distribution.moments()
    assert moments.variance.max() > 0


@pytest.mark.parametrize("options", [{}, {"labels": "liver"}])
def test_one_sigmoid_is_one_structure(spleen, models, tmp_path, options):
    changes = {
        "network_def": CONFIG["network_def"] | {"out_channels": 1},
        "postprocessing": {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
    }
    network = write_zoo_bundle(spleen, changes)
    if not options:
        outputs = {"outputs": {"pred": {"channel_def": {"0": "liver"}}}}
        content = METADATA | {"network_data_format": METADATA["network_data_format"] | outputs}
        (spleen / "configs" / "metadata.json").write_text(json.dumps(content))
    bundle = import_model(spleen, output=models, trust=True, **options)
    image = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        found = bundle.network()(image).distribution.moments().probability[:, 1:]
        assert torch.allclose(found, network(image).sigmoid(), atol=1e-6)


def test_a_label_follows_its_scan_to_the_grid(spleen, models, tmp_path):
    write_zoo_bundle(spleen)
    bundle = import_model(spleen, output=models, trust=True)
    (scan,), label = write_case(tmp_path, Grid(shape=(30, 36, 36), spacing=(0.75, 0.75, 1.0)), labels=1)
    found = bundle.preprocessing()({"image": scan, "label": label})
    assert found["label"].shape == found["image"].shape
    assert torch.equal(found["label"].affine, found["image"].affine)
    assert set(found["label"].unique().tolist()) == {0, 1}


def test_numbers_of_its_data_set_that_mean_other_classes_are_read_as_these(spleen, models, tmp_path):
    write_zoo_bundle(spleen)
    bundle = import_model(spleen, output=models, trust=True)
    (scan,), label = write_case(tmp_path, SAME, labels=1)
    volume = nib.load(label)
    drawn = np.asarray(volume.dataobj).copy()
    theirs = np.array([0, 14], np.uint8)[drawn]
    theirs[0], drawn[0] = 3, 0
    write_volume(label, drawn, volume.affine)
    write_volume(tmp_path / "theirs.nii.gz", theirs, volume.affine)
    expected = bundle.preprocessing()({"image": scan, "label": label})["label"]
    path = bundle.folder / OUR_METADATA
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["uncertainty"] |= {"values": {"14": 1, "3": 0}}
    path.write_text(json.dumps(metadata))
    found = Bundle.load(bundle.folder).preprocessing()({"image": scan, "label": tmp_path / "theirs.nii.gz"})["label"]
    assert torch.equal(found, expected)
    assert found.any()


HOSTILE = ["$open('{marker}', 'w')", "$__import__('os').system('touch {marker}')"]


@pytest.mark.parametrize("expression", HOSTILE)
@pytest.mark.parametrize("section", ["imports", "network_def", "preprocessing", "inferer", "device", "bundle_root"])
def test_nothing_of_it_runs_before_it_is_trusted(spleen, models, tmp_path, section, expression):
    marker = tmp_path / "marker"
    write_zoo_bundle(spleen)
    text = expression.format(marker=marker)
    change(spleen, **{section: [text] if section == "imports" else text})
    with pytest.raises(BundleError, match=r"a MONAI bundle is a program\. This one would run") as error:
        import_model(spleen, output=models)
    assert "--trust" in str(error.value)
    assert text in str(error.value) or section in {"device", "bundle_root"}
    assert not marker.exists()
    assert not models.exists()


def test_what_it_runs_is_shown_as_it_is(spleen, models):
    write_zoo_bundle(spleen)
    change(spleen, device="$print('\x1b[2J')  # \u202e")
    with pytest.raises(BundleError) as error:
        import_model(spleen, output=models)
    assert "\x1b" not in str(error.value)
    assert "\u202e" not in str(error.value)


def test_a_configuration_that_changed_since_is_refused(spleen, models, tmp_path):
    write_zoo_bundle(spleen)
    bundle = import_model(spleen, output=models, trust=True)
    marker = tmp_path / "marker"
    kept = bundle.folder / "foreign" / "configs" / "inference.json"
    kept.write_text(json.dumps(CONFIG | {"network_def": f"$open('{marker}', 'w')"}))
    for use in (Bundle.network, Bundle.preprocessing):
        with pytest.raises(BundleError, match=r"is not the program that was trusted"):
            use(Bundle.load(bundle.folder))
    assert not marker.exists()


def test_one_that_nobody_trusted_never_runs(spleen, models):
    write_zoo_bundle(spleen)
    bundle = import_model(spleen, output=models, trust=True)
    path = bundle.folder / OUR_METADATA
    content = json.loads(path.read_text(encoding="utf-8"))
    content["uncertainty"]["origin"]["trusted"] = False
    path.write_text(json.dumps(content))
    for use in (Bundle.network, Bundle.preprocessing, Predictor):
        with pytest.raises(BundleError, match=r"holds a program that nobody has trusted"):
            use(Bundle.load(bundle.folder))


def test_a_server_never_runs_one_that_nobody_trusted(tiny_server, spleen):
    write_zoo_bundle(spleen)
    bundle = import_model(spleen, output=tiny_server.folder / "models", trust=True)
    path = bundle.folder / OUR_METADATA
    trusted = path.read_text(encoding="utf-8")
    path.write_text(trusted.replace('"trusted": true', '"trusted": false'))
    image = tiny_server.images()[0]
    reply = tiny_server.http.post("/uncertainty/v1/jobs", json={"kind": "infer", "model": bundle.name, "image": image})
    refusal = reply.text if reply.status_code == 400 else json.dumps(tiny_server.ended(reply.json()["id"]))
    assert "holds a program that nobody has trusted" in refusal
    path.write_text(trusted)
    ended = tiny_server.infer(bundle.name, image)
    assert ended["state"] == "done", ended
    shutil.rmtree(bundle.folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: (b / "models" / "model.pt").unlink(), r"has neither model\.safetensors nor model\.pt"),
        (lambda b: (b / "models" / "model.pt").write_bytes(b"no"), r"model\.pt in models is cut short"),
        (lambda b: (b / "configs" / "metadata.json").unlink(), r"does not name the structures: add --labels"),
        (lambda b: (b / "configs" / "inference.json").write_text("[1]"), r"cannot be read"),
        (lambda b: (b / "configs" / "inference.json").write_text("{"), r"cannot be read"),
        (lambda b: (b / "own.py").touch(), r"brings Python files of its own \(own\.py\)"),
        (lambda b: change(b, inferer="%train.json#inferer"), r"takes pieces of other files"),
        (lambda b: change(b, inferer={"_target_": "SimpleInferer"}), r"no SlidingWindowInferer: add --patch"),
        (lambda b: change(b, inferer=INFERER | {"padding_mode": "reflect"}), r"--patch"),
        (lambda b: change(b, preprocessing=[]), r"makes a list, and a Compose is needed"),
        (
            lambda b: change(b, preprocessing={"_target_": "Compose", "transforms": []}),
            r"sets no voxel size: add --spacing",
        ),
        (
            lambda b: change(b, postprocessing={"_target_": "Activationsd", "keys": "pred", "sigmoid": True}),
            r"2 sigmoid channels are structures that may overlap",
        ),
        (
            lambda b: write_zoo_bundle(b, {"network_def": CONFIG["network_def"] | {"in_channels": 4}}),
            r"only networks of one image channel",
        ),
        (
            lambda b: write_zoo_bundle(b, {"network_def": CONFIG["network_def"] | {"out_channels": 4}}),
            r"tells 3 structures from the background, and 1 are named: mend --labels|does not name the structures",
        ),
    ],
)
def test_what_cannot_be_imported_is_one_message_and_leaves_nothing(spleen, models, damage, message):
    write_zoo_bundle(spleen)
    damage(spleen)
    with pytest.raises((BundleError, InputError), match=message):
        import_model(spleen, output=models, trust=True)
    assert not models.exists() or not list(models.iterdir())


def test_options_take_the_place_of_what_it_does_not_say(spleen, models):
    write_zoo_bundle(spleen, {"inferer": {"_target_": "SimpleInferer"}})
    (spleen / "configs" / "metadata.json").unlink()
    bundle = import_model(spleen, output=models, trust=True, patch="16", labels="1=organ", spacing="2")
    assert bundle.setting("window") == [16, 16, 16]
    assert bundle.setting("spacing") == [2.0, 2.0, 2.0]
    assert [label.name for label in bundle.labels] == ["organ"]
