"""Bundles: what a model folder must hold, and one clear message for each thing that may be wrong with it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import (
    INFERENCE,
    METADATA,
    WEIGHTS,
    Bundle,
    find_bundle,
    find_bundles,
    shipped_models,
)
from uncertaintyseg.inference.weights import load_weights, save_weights


@pytest.fixture
def folder(tmp_path) -> Path:
    return tiny.write_bundle(tmp_path, "low_rank", rank=2)


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values))


def metadata(folder: Path) -> dict:
    return json.loads((folder / METADATA).read_text(encoding="utf-8"))


def test_a_bundle_says_what_it_is(folder):
    bundle = Bundle.load(folder)
    assert (bundle.name, bundle.task, bundle.head) == ("tiny_low_rank", "tiny", "low_rank")
    assert [(label.id, label.name) for label in bundle.labels] == [(1, "organ"), (2, "lesion")]
    assert bundle.description == "A tiny model."
    assert bundle.checksum == ""
    assert bundle.setting("window") == [24, 24, 12]


def test_the_checksum_is_the_sha_256_of_the_weights(folder):
    bundle = tiny.give_random_weights(folder)
    assert bundle.checksum == hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def test_reading_the_metadata_needs_no_torch(folder):
    program = (
        "import sys; from uncertaintyseg.inference.bundle import Bundle, find_bundles; "
        f"Bundle.load({str(folder)!r}).checksum; find_bundles(); print('torch' in sys.modules, 'monai' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert result.stdout.split() == ["False", "False"]


def test_a_folder_without_metadata_is_no_model(tmp_path, folder):
    for wrong in (tmp_path, tmp_path / "absent", folder / METADATA):
        with pytest.raises(BundleError, match=r"is not a model folder: it has no configs/metadata\.json"):
            Bundle.load(wrong)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00"])
def test_metadata_that_is_not_json_is_named(folder, content):
    (folder / METADATA).write_bytes(content)
    with pytest.raises(BundleError, match=r"metadata\.json is not valid JSON"):
        Bundle.load(folder)


@pytest.mark.parametrize("content", ["{}", "[]", '"text"', "3"])
def test_a_bundle_of_others_is_told_from_ours(folder, content):
    (folder / METADATA).write_text(content)
    with pytest.raises(BundleError, match=r"metadata\.json has no 'uncertainty' section"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"head": None}, "head"),
        ({"labels": [{"id": 2, "name": "x", "rgb": [0, 0, 0]}]}, "labels"),
        ({"labels": [{"id": 0, "name": "x", "rgb": [0, 0, 0]}]}, r"labels\.0\.id"),
        ({"labels": [{"id": 1, "name": "x", "rgb": [0, 0]}]}, r"labels\.0\.rgb"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_field_is_named(folder, values, field):
    change(folder / METADATA, uncertainty=metadata(folder)["uncertainty"] | values)
    with pytest.raises(BundleError, match=rf"metadata\.json: field 'uncertainty\.{field}"):
        Bundle.load(folder)


def test_label_ids_must_be_the_class_indices(folder):
    labels = [{"id": i, "name": f"s{i}", "rgb": [0, 0, 0]} for i in (1, 3)]
    change(folder / METADATA, uncertainty=metadata(folder)["uncertainty"] | {"labels": labels})
    with pytest.raises(BundleError, match="class indices"):
        Bundle.load(folder)


def test_an_inference_configuration_that_is_missing_or_broken_is_named(folder):
    (folder / INFERENCE).write_text("{")
    with pytest.raises(BundleError, match=r"inference\.json cannot be read"):
        Bundle.load(folder).network()
    (folder / INFERENCE).unlink()
    with pytest.raises(BundleError, match=r"has no configs/inference\.json"):
        Bundle.load(folder).network()


def test_a_missing_setting_is_named(folder):
    change(folder / INFERENCE, window=None)
    with pytest.raises(BundleError, match=r"inference\.json has no 'window'"):
        Bundle.load(folder).setting("window")


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ({"head": "nonsense"}, "there is no head 'nonsense'"),
        ({"surprise": 1}, "surprise"),
        ({"_target_": "uncertaintyseg.nowhere.Nothing"}, "uncertaintyseg.nowhere.Nothing"),
    ],
)
def test_a_configuration_that_makes_no_network_says_why(folder, definition, reason):
    network = json.loads((folder / INFERENCE).read_text(encoding="utf-8"))["network_def"]
    change(folder / INFERENCE, network_def=network | definition)
    with pytest.raises(BundleError, match=rf"inference\.json: 'network_def' cannot be built: .*{reason}"):
        Bundle.load(folder).network(weights=False)


def test_missing_weights_say_how_to_get_them(folder):
    with pytest.raises(BundleError, match=r"model\.safetensors is missing: train the model first .*tiny_low_rank"):
        Bundle.load(folder).network()


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda _: b"", lambda _: b"PK\x03\x04 a pickle"])
def test_damaged_weights_are_named(folder, damage):
    tiny.give_random_weights(folder)
    path = folder / WEIGHTS
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BundleError, match=r"model\.safetensors is not a readable safetensors file"):
        Bundle.load(folder).network()


@pytest.mark.parametrize("options", [{"rank": 3}, {"rank": 2, "filters": (4, 8, 12)}, {"rank": 2, "classes": 4}])
def test_weights_of_another_architecture_are_refused(folder, tmp_path, options):
    other = tiny.write_bundle(tmp_path / "other", "low_rank", **options)
    tiny.give_random_weights(other)
    (folder / WEIGHTS).parent.mkdir()
    shutil.copy(other / WEIGHTS, folder / WEIGHTS)
    with pytest.raises(BundleError, match=r"weights of another architecture \(\d+ tensors differ, first '"):
        Bundle.load(folder).network()


def test_weights_of_another_head_are_refused(folder, tmp_path):
    other = tiny.write_bundle(tmp_path / "other", "deterministic")
    tiny.give_random_weights(other)
    (folder / WEIGHTS).parent.mkdir()
    shutil.copy(other / WEIGHTS, folder / WEIGHTS)
    with pytest.raises(BundleError, match="weights of another architecture"):
        Bundle.load(folder).network()


def test_weights_come_back_as_they_were_saved(folder):
    bundle = tiny.give_random_weights(folder)
    network, again = bundle.network(), bundle.network(weights=False)
    load_weights(again, folder / WEIGHTS)
    assert not network.training
    for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_part_of_the_weights_can_be_loaded_alone(folder):
    bundle = tiny.give_random_weights(folder)
    torch.manual_seed(9)
    network = bundle.network(weights=False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_weights(network, folder / WEIGHTS, part="backbone.")
    for name, value in network.state_dict().items():
        if name.startswith("head."):
            assert torch.equal(value, before[name])
    assert not torch.equal(next(network.backbone.parameters()), next(iter(before.values())))


def test_saving_leaves_no_partial_file(folder):
    network = Bundle.load(folder).network(weights=False)
    save_weights(network, folder / WEIGHTS)
    assert [path.name for path in (folder / WEIGHTS).parent.iterdir()] == [WEIGHTS.name]


def test_shipped_bundles_are_found_and_build_their_networks():
    bundles = find_bundles()
    assert {path.parents[1].name for path in shipped_models().glob(f"*/{METADATA}")} == set(bundles)
    for name, bundle in bundles.items():
        if bundle.examples is not None:  # segments what it is shown, and was shown nothing
            assert (name, bundle.examples, bundle.labels) == ("universeg_small", 0, [])
            continue
        assert name.startswith(f"{bundle.task}_")
        network = bundle.network(weights=bool(bundle.checksum))
        assert network.head.name == bundle.head
        assert network.head.classes == len(bundle.labels) + 1
        divisors = np.broadcast_to(network.divisor, 3)
        assert all(size % divisor == 0 for size, divisor in zip(bundle.setting("window"), divisors, strict=True))


def test_another_number_of_classes_than_labels_is_refused(tmp_path):
    path = tiny.write_bundle(tmp_path, classes=3)
    config = json.loads((path / INFERENCE).read_text(encoding="utf-8"))
    config["network_def"]["classes"] = 4
    (path / INFERENCE).write_text(json.dumps(config))
    with pytest.raises(BundleError, match=r"4 classes, background included; the metadata lists 2 labels"):
        Bundle.load(path).network(weights=False)


def test_a_later_folder_wins(folder, tmp_path):
    other = tiny.write_bundle(tmp_path / "other", "low_rank", rank=3)
    assert find_bundles(folder.parent)["tiny_low_rank"].folder == folder
    assert find_bundles(folder.parent, other.parent)["tiny_low_rank"].folder == other


def test_an_unknown_model_is_answered_with_the_known_ones(folder):
    with pytest.raises(BundleError, match=r"no model 'nonsense'; there are .*tiny_low_rank"):
        find_bundle("nonsense", folder.parent)


def test_a_models_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"no model folder .*absent"):
        find_bundles(tmp_path / "absent")


def test_every_network_it_builds_is_a_new_one(folder):
    tiny.give_random_weights(folder)
    bundle = Bundle.load(folder)
    trained, fresh = bundle.network(), bundle.network(weights=False)
    assert not torch.equal(trained.head.mean.weight, fresh.head.mean.weight)
