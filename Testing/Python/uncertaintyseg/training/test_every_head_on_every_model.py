"""`train --head` on every kind of model: what it accepts runs with its maps, what it refuses leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads import HEADS, make_head
from uncertaintyseg.inference.bundle import INFERENCE, METADATA, Bundle
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.training.fit import fit
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.variant import with_head

ATTENTION = {"_target_": "uncertaintyseg.backbones.AttentionUNetBackbone", "filters": [4, 8]}
WINDOW = (16, 16, 8)


def imported(folder: Path) -> Bundle:
    """As an importer writes it: logits are averaged, and what is added refers to it."""
    path = tiny.give_random_weights(tiny.write_bundle(folder, task="foreign", window=WINDOW)).folder
    for part, key, more in (
        (METADATA, "uncertainty", {"origin": {"source": "nnunet", "folder": "Dataset1"}}),
        (INFERENCE, None, {"average": "logits"}),
    ):
        config = json.loads((path / part).read_text(encoding="utf-8"))
        (config[key] if key else config).update(more)
        (path / part).write_text(json.dumps(config))
    return Bundle.load(path)


def ours(head: str, **options: object) -> Callable[[Path], Bundle]:
    return lambda folder: tiny.give_random_weights(tiny.write_bundle(folder, head, 3, window=WINDOW, **options))


MODELS: dict[str, Callable[[Path], Bundle]] = {
    **{head: ours(head) for head in ("deterministic", "low_rank", "laplace", "segwithu", "temperature")},
    "laplace on low_rank": ours("laplace", base="low_rank"),
    "dropout with blocks": ours("dropout", blocks=1, passes=2),
    "attention": ours("deterministic", backbone=ATTENTION),
    "imported": imported,
}
REFUSED = {
    **{("dropout with blocks", head): "take a model without such layers" for head in HEADS},
}


@pytest.fixture(scope="module")
def cases(phantoms, tmp_path_factory) -> list:
    """One case of one window."""
    folder = tmp_path_factory.mktemp("case")
    for part in ("images", "labels"):
        image = nib.load(phantoms / part / "case_0.nii.gz")
        few = np.asarray(image.dataobj)[8:24, 8:24, 4:12]
        write_volume(folder / part / "case.nii.gz", few, np.diag([*tiny.SPACING, 1.0]))
    return read_cases(folder)


@pytest.fixture(scope="module", params=sorted(MODELS))
def model(request, cases, tmp_path_factory) -> tuple[str, Bundle, np.ndarray]:
    """A kind of model, one of it, and its label."""
    base = MODELS[request.param](tmp_path_factory.mktemp("models"))
    return request.param, base, Predictor(base).predict(cases[0].image, samples=2).label


def trained(model: Bundle, head: str, cases: list, output: Path, **options: object) -> Bundle:
    made = with_head(model, head, output, name=f"new_{head}", **options)
    recipe = Recipe.load(made, epochs=1, validate_every=1)
    return fit(made, cases, cases, output, recipe=recipe, models=[model.folder.parent]).bundle


@pytest.mark.parametrize("head", sorted(HEADS))
def test_a_head_is_refused_with_the_way_out_or_gives_a_model_that_runs_with_all_its_maps(model, head, cases):
    kind, base, label = model
    output = base.folder.parent  # where an imported base is found
    if (kind, head) in REFUSED:
        before = sorted(output.iterdir())
        with pytest.raises(BundleError, match=REFUSED[kind, head]):
            trained(base, head, cases, output)
        assert sorted(output.iterdir()) == before
        return
    bundle = trained(base, head, cases, output)
    predictor = Predictor(bundle)
    found = predictor.predict(cases[0].image, samples=2)
    assert set(found.maps) == set(bundle.maps)
    assert set(predictor.network.head.extra_maps()) <= set(bundle.maps)
    assert bool(predictor.network.head.taps) == HEADS[head].fuses
    assert (found.label == label).mean() > 0.9, "its output layer is the base's"
    assert len(np.unique(label)) > 1


@pytest.mark.parametrize(
    ("head", "options", "why"),
    [
        ("laplace", {"base": "dropout", "base_options": {"blocks": 1}}, r"no Gaussian logits.*'blocks'"),
        ("laplace", {"base": "segwithu", "base_options": {"taps": {"up_0": 8}}}, "reads taps"),
        ("laplace", {"base": "laplace"}, "fitted itself"),
        ("laplace", {"base": "low_rank"}, "train --head low_rank first"),
        ("segwithu", {"taps": {"up_7": 8}}, "reads the tap 'up_7'"),
    ],
)
def test_options_that_cannot_run_are_refused_before_anything_is_written(head, options, why, cases, tmp_path):
    base = ours("deterministic")(tmp_path / "models")
    with pytest.raises(BundleError, match=why):
        trained(base, head, cases, tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_taps_may_be_left_out_on_purpose(cases, tmp_path):
    base = ours("deterministic", backbone=ATTENTION)(tmp_path / "models")
    bundle = trained(base, "segwithu", cases, tmp_path / "runs", taps={})
    assert not bundle.network().head.taps
    assert "ranking" in Predictor(bundle).predict(cases[0].image).maps


@pytest.mark.parametrize("head", sorted(HEADS))
@pytest.mark.parametrize("options", [{}, {"blocks": 1}, {"noise": "volume"}, {"base": "low_rank"}])
def test_a_head_says_rightly_whether_its_layer_reads_the_features_in_one_gaussian_pass(head, options):
    try:
        made = make_head(head, features=5, classes=3, **options).eval()
    except BundleError:
        pytest.skip("an option of other heads")
    features = torch.randn(1, 5, 4, 4, 4)
    output = made(features).distribution
    gaussian = isinstance(output, GaussianLogits)
    assert made.direct == gaussian
    if made.direct:
        label = made.mean(features).argmax(1)
        assert torch.equal(output.mean.argmax(1), label)
