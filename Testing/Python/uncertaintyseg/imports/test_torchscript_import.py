"""The import of TorchScript files: a compiled network of which the user says how it is used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from safetensors.torch import load_file
from torch import nn

from Testing.Python.uncertaintyseg.imports.scans import Grid, write_case
from uncertaintyseg.data.channels import read_channels
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports import import_model
from uncertaintyseg.inference.bundle import METADATA, Bundle
from uncertaintyseg.inference.predictor import Predictor

GRID = Grid(shape=(20, 24, 18))
OPTIONS = {"labels": "1=left,2=right", "spacing": "1", "patch": "16", "normalization": "zscore", "activation": "none"}


class Ending(nn.Module):
    """A small U-Net and what is done to its logits."""

    def __init__(self, classes: int = 3, channels: int = 1, ending: str = "none") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = UNet(3, channels, classes, (4, 8, 8), (2, 2), norm="BATCH")
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter.mul_(2)
        self.ending = ending

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = self.net(image)
        if self.ending == "softmax":
            return torch.softmax(logits, 1)
        return torch.sigmoid(logits) if self.ending == "sigmoid" else logits


@pytest.fixture
def script(tmp_path):
    """Writes a network as TorchScript; returns the file and the network."""

    def write(**options) -> tuple[Path, nn.Module]:
        network = Ending(**options).eval()
        path = tmp_path / "small net.ts"
        torch.jit.script(network).save(path)
        return path, network

    return write


def normalised(files: list[Path]) -> torch.Tensor:
    """The scan `[1, channels, *S]` in RAS (its grid is in LPS at the model's spacing), mean 0 and variance 1."""
    image = read_channels(files[0], len(files)).as_tensor().flip((1, 2))
    return torch.stack([(channel - channel.mean()) / channel.std(unbiased=False) for channel in image])[None]


def logits_of(network: nn.Module, image: torch.Tensor) -> np.ndarray:
    """Logits `[C, *S]` on the LPS grid, from MONAI's own windows."""
    inferer = SlidingWindowInferer(16, overlap=0.5, mode="gaussian")
    with torch.inference_mode():
        return inferer(image, network)[0].flip((1, 2)).numpy()


def probability(prediction, labels: list[str]) -> np.ndarray:
    return np.stack([np.asarray(prediction.maps[f"probability_{label}"]) for label in labels])


@pytest.mark.parametrize("channels", [1, 2])
def test_its_probabilities_are_those_of_the_network(script, models, tmp_path, channels):
    path, network = script(channels=channels)
    files, _ = write_case(tmp_path, GRID, channels)
    names = {"channels": "T1,T2"} if channels == 2 else {}
    prediction = Predictor(import_model(path, output=models, **OPTIONS, **names)).predict(files[0])
    logits = logits_of(network, normalised(files))
    wanted = torch.from_numpy(logits).softmax(0).numpy()
    assert np.abs(probability(prediction, ["left", "right"]) - wanted[1:]).max() < 1e-5
    assert np.array_equal(prediction.label, logits.argmax(0))
    assert len(np.unique(prediction.label)) == 3


def test_a_softmax_is_read_back(script, models, tmp_path):
    files, _ = write_case(tmp_path, GRID)
    path, _ = script()
    plain = Predictor(import_model(path, output=models, name="plain", **OPTIONS)).predict(files[0])
    path, _ = script(ending="softmax")
    options = OPTIONS | {"activation": "softmax"}
    read = Predictor(import_model(path, output=models, name="read", **options)).predict(files[0])
    # the softmax of logits is known up to a constant of each voxel, which averaged logits keep
    assert np.abs(probability(plain, ["left", "right"]) - probability(read, ["left", "right"])).max() < 1e-5


@pytest.mark.parametrize(("ending", "tolerance"), [("none", 1e-5), ("sigmoid", 1e-4)])
def test_one_channel_is_one_structure(script, models, tmp_path, ending, tolerance):
    # the logit of a sigmoid near 1 is only known to what float32 leaves of 1 - p
    files, _ = write_case(tmp_path, GRID)
    path, network = script(classes=1, ending=ending)
    options = OPTIONS | {"labels": "brain", "activation": ending}
    prediction = Predictor(import_model(path, output=models, **options)).predict(files[0])
    network.ending = "none"
    wanted = torch.from_numpy(logits_of(network, normalised(files))).sigmoid()[0].numpy()
    assert np.abs(np.asarray(prediction.maps["probability_brain"]) - wanted).max() < tolerance
    assert np.array_equal(prediction.label, wanted > 0.5)


def test_the_file_is_copied_whole_and_named_in_the_checksum(script, models):
    path, _ = script()
    bundle = import_model(path, output=models, **OPTIONS)
    assert bundle.name == "small_net"
    copied = bundle.folder / "models" / "model.ts"
    assert copied.read_bytes() == path.read_bytes()
    assert sorted(load_file(bundle.weights)) == ["backbone.sha256", "head.mean.bias", "head.mean.weight"]
    origin = json.loads((bundle.folder / METADATA).read_text(encoding="utf-8"))["uncertainty"]["origin"]
    assert (origin["source"], origin["folder"]) == ("torchscript", "small net.ts")
    torch.jit.script(Ending(ending="softmax").eval()).save(copied)
    with pytest.raises(BundleError, match=r"model\.ts is another file than the one that was imported"):
        Bundle.load(bundle.folder).network()


def test_a_model_folder_can_be_moved(script, models, tmp_path):
    path, _ = script()
    bundle = import_model(path, output=models, **OPTIONS)
    shutil.move(bundle.folder, tmp_path / "elsewhere")
    path.unlink()
    Bundle.load(tmp_path / "elsewhere").network()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("none", lambda x: x),
        ("zscore", lambda x: (x - x.mean()) / x.std()),
        ("unit", lambda x: (x - x.min()) / (x.max() - x.min())),
        ("ct:-100,300", lambda x: np.clip((x + 100) / 400, 0, 1)),
        (
            "percentile:5,95",
            lambda x: np.clip((x - np.percentile(x, 5)) / (np.percentile(x, 95) - np.percentile(x, 5)), 0, 1),
        ),
    ],
)
def test_intensities_are_normalised_as_asked(script, models, tmp_path, text, wanted):
    files, _ = write_case(tmp_path, GRID)
    path, _ = script()
    bundle = import_model(path, output=models, **OPTIONS | {"normalization": text})
    scan = read_channels(files[0], 1).numpy().astype(np.float64)
    found = bundle.preprocessing()({"image": files[0]})["image"].numpy()
    assert np.allclose(found[:, ::-1, ::-1], wanted(scan), atol=1e-4)


def test_zeros_can_be_left_out_of_the_statistics(script, models, tmp_path):
    files, _ = write_case(tmp_path, Grid(shape=(20, 24, 18), border=3))
    path, _ = script()
    bundle = import_model(path, output=models, **OPTIONS | {"normalization": "nonzero"})
    found = bundle.preprocessing()({"image": files[0]})["image"].numpy()
    inside = found[:, 3:-3, 3:-3, 3:-3]
    assert inside.mean() == pytest.approx(0, abs=1e-5)
    assert inside.std() == pytest.approx(1, abs=1e-4)
    assert not found[:, :3].any()


def test_all_that_is_missing_is_named_at_once(script, models):
    path, _ = script()
    with pytest.raises(InputError) as error:
        import_model(path, output=models, labels="brain", patch="16")
    assert "--spacing 1.5,1.5,2 --normalization zscore --activation none" in str(error.value)
    assert "--labels" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "a"}, r"has 3 output channels; --labels names 1 structures, so it should have 2 or 1"),
        ({"labels": "2=a,3=b"}, r"numbered 1, 2, \.\.\. without gaps"),
        ({"labels": ","}, r"--labels is empty"),
        ({"spacing": "1,1"}, r"--spacing '1,1': give three numbers above 0"),
        ({"spacing": "1,0,1"}, r"--spacing"),
        ({"patch": "16.5"}, r"--patch '16.5': give three whole numbers"),
        ({"patch": "18,16,16"}, r"does not answer 1 channel\(s\) of 18 x 16 x 16 voxels .* mend --patch"),
        ({"channels": "a,b"}, r"does not answer 2 channel"),
        ({"normalization": "ct"}, r"--normalization 'ct': choose none, zscore"),
        ({"normalization": "ct:5,1"}, r"--normalization"),
        ({"normalization": "percentile:5,101"}, r"--normalization"),
        ({"activation": "relu"}, r"--activation is 'relu'; choose none, softmax, sigmoid"),
        ({"activation": "softmax"}, r"output is no probability"),
        ({"fold": "0"}, r"a TorchScript file \(\.ts, \.pt\) has no option --fold; it has --labels"),
    ],
)
def test_an_option_that_does_not_fit_is_named(script, models, options, message):
    path, _ = script()
    with pytest.raises((BundleError, InputError), match=message):
        import_model(path, output=models, **OPTIONS | options)
    assert not models.exists() or not list(models.iterdir())


def test_texts_of_the_user_never_become_expressions(script, models, tmp_path):
    path, _ = script()
    marker = tmp_path / "marker"
    labels = f"$open('{marker}' 'w'),@bundle_root"
    bundle = import_model(path, output=models, **OPTIONS | {"labels": labels})
    bundle.network()
    bundle.preprocessing()
    assert not marker.exists()
    assert not any(label.name.startswith(("$", "@", "%")) for label in bundle.labels)


class Writing(nn.Module):
    """Computes, and writes a file."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        torch.save(image, "written")
        return image


class Mapping(nn.Module):
    """Computes, and makes a file by mapping it."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image + torch.from_file("written", True, 4).sum()


@pytest.mark.parametrize("module", [Writing, Mapping])
def test_a_file_that_reaches_for_files_is_not_loaded(models, tmp_path, monkeypatch, module):
    monkeypatch.chdir(tmp_path)
    torch.jit.script(module()).save(tmp_path / "hostile.ts")
    with pytest.raises(BundleError, match=r"does more than compute"):
        import_model(tmp_path / "hostile.ts", output=models, **OPTIONS)
    assert not (tmp_path / "written").exists()


def test_what_is_no_torchscript_is_refused(models, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(Ending().state_dict(), path)
    with pytest.raises(BundleError, match=r"holds no compiled network\. Save one with torch\.jit\.script"):
        import_model(path, output=models, **OPTIONS)
    path.write_bytes(b"no script")
    with pytest.raises(BundleError, match=r"is not a TorchScript file"):
        import_model(path, output=models, **OPTIONS)
    assert not models.exists()
