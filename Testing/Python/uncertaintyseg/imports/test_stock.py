"""Networks of other people: passes run on them, and they stay as they were."""

from __future__ import annotations

import json

import pytest
import torch
from monai.networks.nets import DynUNet, UNet
from safetensors.torch import save_model
from torch import nn

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports.monai import from_monai_bundle
from uncertaintyseg.imports.stock import StockNetwork
from uncertaintyseg.imports.torchscript import from_torchscript
from uncertaintyseg.inference.passes import PASSES
from uncertaintyseg.inference.passes.checkpoints import Checkpoints
from uncertaintyseg.inference.window import MomentsInferer

IMAGE = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(3))
UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8, 8], "strides": [2, 2]}
ON_ANY = ("mc_dropout", "dropout_injection", "noise", "tta", "fused")


def unet(**options) -> UNet:
    torch.manual_seed(0)
    net = UNet(**UNET, **{"norm": "BATCH", "dropout": 0.2, **options})
    for part in net.modules():  # statistics that say whether they are used
        if isinstance(part, nn.BatchNorm3d):
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.5, 2)
    return net


class Constant(nn.Module):
    """Answers every image with the same values."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, image):
        return self.answer


def logits_of(answer, **options) -> torch.Tensor:
    return StockNetwork(Constant(answer), **options)(torch.zeros(1, 1, 2, 2, 2)).distribution.mean


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("method", [*ON_ANY, "ensemble"])
def test_a_stock_network_stays_as_it_was(method, training):
    net = unet().train(training)
    net.model[0].eval()
    flags = [part.training for part in net.modules()]
    state = {key: value.clone() for key, value in net.state_dict().items()}
    network = StockNetwork(net, divisor=4)
    options = {} if method in {"ensemble", "tta", "fused"} else {"passes": 2}
    found = PASSES[method]([network, network] if method == "ensemble" else network, **options)
    moments = MomentsInferer((8, 8, 8))(IMAGE, found).moments
    assert torch.isfinite(moments.stacked()).all()
    assert [part.training for part in net.modules()] == flags
    assert list(state) == list(net.state_dict())
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_it_is_run_as_in_evaluation_also_when_its_owner_is_training_it():
    net = unet()
    wanted = net.eval()(IMAGE)
    network = StockNetwork(net.train())
    assert torch.equal(network(IMAGE).distribution.mean, wanted)
    assert net.training


def test_the_owner_s_modes_are_not_set_from_outside():
    net = unet().train()
    StockNetwork(net).eval().train().eval()
    assert all(part.training for part in net.modules())


def test_an_error_in_the_network_leaves_its_modes_too():
    net = unet().train()
    with pytest.raises(RuntimeError):
        StockNetwork(net)(torch.zeros(1, 5, 8, 8, 8))
    assert all(part.training for part in net.modules())


def test_a_network_that_works_on_its_input_in_place_leaves_the_image_alone():
    image = IMAGE.clone()
    StockNetwork(nn.ReLU(inplace=True))(image)
    assert torch.equal(image, IMAGE)


def test_of_deep_supervision_the_first_output_counts_unless_another_is_asked_for():
    one, two = torch.rand(1, 2, 2, 2, 2), torch.rand(1, 2, 2, 2, 2)
    for kind in (list, tuple):
        assert torch.equal(logits_of(kind([one, two])), one)
        assert torch.equal(logits_of(kind([one, two]), output=-1), two)
    net = DynUNet(3, 1, 2, [3] * 3, [1, 2, 2], [2, 2], filters=(4, 8, 8), deep_supervision=True).train()
    assert StockNetwork(net)(IMAGE).distribution.mean.shape == (1, 2, 8, 8, 8)


@pytest.mark.parametrize("classes", [2, 4])
def test_logits_are_read_off_a_softmax(classes):
    logits = 20 * torch.randn(1, classes, 2, 2, 2)
    found = logits_of(logits.softmax(1), activation="softmax")
    assert torch.allclose(found.softmax(1), logits.softmax(1), atol=1e-6)
    sure = torch.zeros(1, classes, 2, 2, 2)
    sure[:, 1] = 1
    assert torch.allclose(logits_of(sure, activation="softmax").softmax(1), sure, atol=1e-30)


def test_logits_are_read_off_a_sigmoid():
    logit = torch.linspace(-80, 14, 8).reshape(1, 1, 2, 2, 2)
    assert torch.allclose(logits_of(logit.sigmoid(), activation="sigmoid"), logit, rtol=1e-2)
    assert torch.isfinite(logits_of(torch.tensor([0.0, 1.0] * 4).reshape(1, 1, 2, 2, 2), activation="sigmoid")).all()


def test_one_channel_is_the_logit_of_one_structure():
    logit = torch.randn(1, 1, 2, 2, 2)
    network = StockNetwork(Constant(logit))
    moments = network(torch.zeros(1, 1, 2, 2, 2)).distribution.moments()
    assert torch.allclose(moments.probability[:, 1:], logit.sigmoid())


def test_half_precision_becomes_float32():
    assert logits_of(torch.rand(1, 2, 2, 2, 2).half()).dtype == torch.float32


@pytest.mark.parametrize(
    ("answer", "options", "message"),
    [
        (torch.rand(1, 2, 2, 2), {}, r"answers an image of shape .* with \(1, 2, 2, 2\)"),
        (torch.rand(1, 2, 1, 2, 2), {}, r"with \(1, 2, 1, 2, 2\)"),
        ({"out": torch.rand(1, 2, 2, 2, 2)}, {}, r"with dict"),
        ([torch.rand(1, 2, 2, 2, 2)], {"output": 1}, r"'output' is 1, and this network gives a list of 1"),
        (3 * torch.ones(1, 2, 2, 2, 2), {"activation": "softmax"}, r"no probability; .* not 'softmax'"),
        (torch.full((1, 2, 2, 2, 2), float("nan")), {"activation": "softmax"}, r"no probability"),
        (-torch.ones(1, 1, 2, 2, 2), {"activation": "sigmoid"}, r"no probability; .* not 'sigmoid'"),
        (torch.rand(1, 3, 2, 2, 2), {"activation": "sigmoid"}, r"3 sigmoid channels, structures that may overlap"),
        (torch.rand(1, 3, 2, 2, 2), {"activation": "relu"}, r"'activation' is 'relu'; choose none, softmax, sigmoid"),
    ],
)
def test_an_output_that_cannot_be_read_is_named(answer, options, message):
    with pytest.raises(InputError, match=message):
        logits_of(answer, **options)


def test_stock_networks_of_different_classes_are_no_ensemble():
    two = UNet(**{**UNET, "out_channels": 2})
    with pytest.raises(InputError, match=r"model 2 of the ensemble tells 2 classes apart, the first 3"):
        Checkpoints([StockNetwork(unet()), StockNetwork(two)])(IMAGE).distribution.moments()


@pytest.fixture
def bundle(tmp_path):
    """Writes somebody else's MONAI bundle around a UNet; returns its folder and the network."""

    def write(*, weights: str = "model.pt", wrapped: str | None = None, config: str = "json", shape=("4*n",) * 3):
        net = unet()
        (tmp_path / "configs").mkdir()
        (tmp_path / "models").mkdir()
        options = {**UNET, "norm": "BATCH", "dropout": 0.2}
        inference = {"network_def": {"_target_": "UNet", **options}, "network": "$@network_def.to('cpu')"}
        (tmp_path / "configs" / f"inference.{config}").write_text(json.dumps(inference))  # JSON is YAML
        metadata = {"network_data_format": {"inputs": {"image": {"spatial_shape": list(shape)}}}}
        (tmp_path / "configs" / "metadata.json").write_text(json.dumps(metadata))
        if weights.endswith("safetensors"):
            save_model(net, tmp_path / "models" / weights)
        else:
            torch.save({wrapped: net.state_dict()} if wrapped else net.state_dict(), tmp_path / "models" / weights)
        return tmp_path, net

    return write


@pytest.mark.parametrize(
    "options",
    [{}, {"weights": "model.safetensors"}, {"wrapped": "model"}, {"wrapped": "state_dict"}, {"config": "yaml"}],
)
def test_somebody_elses_bundle_is_its_network(bundle, options):
    folder, net = bundle(**options)
    network = from_monai_bundle(folder)
    assert torch.equal(network(IMAGE).distribution.mean, net.eval()(IMAGE))
    assert network.divisor == (4, 4, 4)


@pytest.mark.parametrize(
    ("shape", "divisor"), [(("16*n", "*", 8), (16, 1, 8)), ((96, 96, 96), (96,) * 3), (("*",) * 3, (1, 1, 1))]
)
def test_the_divisor_comes_from_the_metadata(bundle, shape, divisor):
    assert from_monai_bundle(bundle(shape=shape)[0]).divisor == divisor


@pytest.mark.parametrize("shape", [("2**p*n",) * 3, (None,) * 3])
def test_a_divisor_that_the_metadata_do_not_tell_is_asked_for(bundle, shape):
    folder, _ = bundle(shape=shape)
    with pytest.raises(BundleError, match=r"metadata\.json does not tell which sizes .* give 'divisor'"):
        from_monai_bundle(folder)
    assert from_monai_bundle(folder, divisor=4).divisor == 4


@pytest.mark.parametrize("weights", ["model.pt", "model.safetensors"])
def test_weights_of_another_network_are_refused(bundle, weights):
    folder, _ = bundle(weights=weights)
    other = UNet(**{**UNET, "out_channels": 2}, norm="BATCH", dropout=0.2)
    if weights.endswith("pt"):
        torch.save(other.state_dict(), folder / "models" / weights)
    else:
        save_model(other, folder / "models" / weights)
    with pytest.raises(
        BundleError, match=r"weights of another network than .*inference\.json describes: size mismatch"
    ):
        from_monai_bundle(folder)


def test_a_checkpoint_that_would_run_code_is_refused(bundle):
    folder, net = bundle()
    torch.save(net, folder / "models" / "model.pt")
    with pytest.raises(BundleError, match=r"model\.pt .* holds more than tensors"):
        from_monai_bundle(folder)


@pytest.mark.parametrize("weights", ["model.pt", "model.safetensors"])
def test_damaged_weights_are_refused(bundle, weights):
    folder, _ = bundle(weights=weights)
    (folder / "models" / weights).write_bytes(b"no weights")
    with pytest.raises(BundleError, match=rf"{weights}.* is"):
        from_monai_bundle(folder)


def test_what_is_missing_is_named(bundle, tmp_path):
    with pytest.raises(BundleError, match=r"is no MONAI bundle: its configs folder has no inference\.json"):
        from_monai_bundle(tmp_path)
    folder, _ = bundle()
    (folder / "models" / "model.pt").rename(folder / "models" / "model.ts")
    with pytest.raises(BundleError, match=r"neither model\.safetensors nor model\.pt.*from_torchscript"):
        from_monai_bundle(folder)
    for config, message in (
        ("{}", "has no 'network_def'"),
        ('{"network_def": {"_target_": "NoSuchNet"}}', "'network_def' cannot be built"),
        ('{"network_def": 3}', "'network_def' makes a int and no torch module"),
        ("{", "cannot be read"),
    ):
        (folder / "configs" / "inference.json").write_text(config)
        with pytest.raises(BundleError, match=message):
            from_monai_bundle(folder)


@pytest.fixture
def script(tmp_path):
    """A UNet saved as TorchScript while it was being trained."""
    net = unet().train()
    path = tmp_path / "model.ts"
    torch.jit.script(net).save(path)
    return path, net


@pytest.mark.parametrize("method", ["noise", "tta"])
def test_passes_of_the_image_run_on_torchscript(script, method):
    path, net = script
    network = from_torchscript(path, divisor=4)
    assert torch.allclose(network(IMAGE).distribution.mean, net.eval()(IMAGE), atol=1e-5)
    moments = PASSES[method](network)(IMAGE).distribution.moments()
    assert moments.variance.max() > 0
    assert network.module.training


def test_a_frozen_script_has_no_modes_to_keep(tmp_path):
    net = unet().eval()
    torch.jit.freeze(torch.jit.script(net)).save(tmp_path / "frozen.ts")
    found = from_torchscript(tmp_path / "frozen.ts")(IMAGE).distribution.mean
    assert torch.allclose(found, net(IMAGE), atol=1e-5)


@pytest.mark.parametrize("method", ["mc_dropout", "dropout_injection"])
def test_dropout_cannot_reach_into_torchscript(script, method):
    with pytest.raises(InputError, match=r"cannot reach into the layers of a TorchScript file; use 'tta' or 'noise'"):
        PASSES[method](from_torchscript(script[0]))


def test_what_is_no_torchscript_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"there is no file .*model\.ts"):
        from_torchscript(tmp_path / "model.ts")
    (tmp_path / "model.ts").write_bytes(b"no script")
    with pytest.raises(BundleError, match=r"is not a TorchScript file"):
        from_torchscript(tmp_path / "model.ts")
