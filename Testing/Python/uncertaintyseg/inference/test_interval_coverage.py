"""Volume intervals of a model that is exactly right: truths are drawn from the model itself; 95 % must lie within."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import nibabel as nib
import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.geometry import voxel_volume_ml
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.heads.low_rank import LowRankHead
from uncertaintyseg.inference.conditioned import Click, ConditionedCase
from uncertaintyseg.inference.corrected import Corrected
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.shapes import FEWEST, SAMPLES
from uncertaintyseg.inference.spread import ShapeKeeper
from uncertaintyseg.inference.stream.scratch import Scratch
from uncertaintyseg.inference.stream.windows import Slab
from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.review.structures import Drawn
from uncertaintyseg.wire import Label

SHAPE, AFFINE = (14, 13, 9), np.diag([10.0, 10.0, 10.0, 1.0])
LABELS = [Label(id=i, name=name, rgb=(0, 0, 0)) for i, name in enumerate(("organ", "lesion"), start=1)]
TRUTHS, REPEATS, TOLERANCE = 3000, 80, 0.014
"""Standard errors of a coverage by so many truths and intervals: 0.004 and 0.003. Percentiles would be off by 0.03."""


def model() -> tuple[LowRankHead, torch.Tensor]:
    """A head whose noise moves smooth shapes, and the features it reads, float16 as they are kept."""
    torch.manual_seed(0)
    head = LowRankHead(features=6, classes=3, rank=4).eval()
    index = torch.stack(torch.meshgrid(*(torch.linspace(-2, 2, n) for n in SHAPE), indexing="ij"))
    waves = [torch.cos((k + 1) * index[k % 3] + k) for k in range(4)]
    features = torch.stack([*waves, 1.6 - index.square().sum(0), 0.9 - (index - 0.6).square().sum(0)])[None]
    with torch.no_grad():
        head.mean.weight.zero_()
        head.mean.weight[1, 4], head.mean.weight[2, 5] = 2.0, 2.0
        head.mean.bias.zero_()
        head.factor.weight.mul_(8)
    return head, features.half().float()


def volumes(logits: GaussianLogits, count: int, seed: int) -> np.ndarray:
    """Of each class in `count` truths."""
    draws = logits.sample(count, torch.Generator().manual_seed(seed))
    few = logits.mean.shape[1] == 1
    classes = [(draw[0, 0] > 0).long() if few else draw[0].argmax(0) for draw in draws]
    return np.stack([np.bincount(one.flatten().numpy(), minlength=3)[:3] for one in classes])


def coverage(intervals: Iterator[Drawn], truths: np.ndarray) -> float:
    """Share of truths in an interval, a mean over intervals and structures."""
    found = []
    for drawn in intervals:
        for class_id, (low, high) in drawn.limits.items():
            within = (truths[:, class_id] >= low - 1e-9) & (truths[:, class_id] <= high + 1e-9)
            found.append(within.mean())
    return float(np.mean(found))


@pytest.fixture(scope="module")
def draw() -> tuple[Callable[[int, int], Drawn], np.ndarray]:
    """Draws with a count and a seed, as a prediction does, and the volumes of truths."""
    head, features = model()
    with torch.inference_mode():
        logits = head(features).distribution
        p = logits.moments().probability[0]
        truths = volumes(logits, TRUTHS, 10**6) * voxel_volume_ml(AFFINE)
    keeper = ShapeKeeper(6, SHAPE, Scratch(None, on_disk=False), [slice(0, size) for size in SHAPE])
    list(keeper.watching([Slab(0, (0, 0, 0), {"probability": p, "features": features[0]})]))
    label = p.argmax(0).to(torch.uint8).numpy()

    def drawn(count: int, seed: int) -> Drawn:
        generator = torch.Generator().manual_seed(seed)
        return keeper.spread(head, LABELS, AFFINE, label, AFFINE, count, generator).drawn

    return drawn, truths


@pytest.mark.parametrize("count", [39, 64, SAMPLES])
def test_an_interval_holds_the_truth_as_often_as_it_says(draw, count):
    drawn, truths = draw
    said = drawn(count, 0).coverage
    assert said >= 0.95
    assert coverage((drawn(count, seed) for seed in range(REPEATS)), truths) == pytest.approx(said, abs=TOLERANCE)


def test_of_a_large_region_as_many_are_drawn_as_it_takes(draw, monkeypatch):
    monkeypatch.setattr("uncertaintyseg.inference.spread._DRAWN", 1)
    drawn, _ = draw
    for seed in range(3):
        assert drawn(SAMPLES, seed) == drawn(FEWEST, seed)  # which hold what they say
    assert (drawn(SAMPLES, 0).count, drawn(SAMPLES, 0).coverage) == (FEWEST, 0.95)


@pytest.mark.parametrize("count", [2, 16, FEWEST - 1])
def test_with_too_few_there_is_no_interval_and_what_they_reach_is_said(draw, count):
    found = draw[0](count, 0)
    assert found.limits is None
    assert found.coverage == pytest.approx((count - 1) / (count + 1))
    assert found.method.startswith(f"none: {count} whole segmentations")
    assert f"{found.coverage:.0%} at most; 95% takes 39" in found.method
    assert found.dice[1] > 0.5  # the Dice is a mean, and does not need as many


@pytest.fixture(scope="module", params=[2, 3])
def corrected(request, tmp_path_factory) -> Corrected:
    """A case after clicks, and so many structures."""
    folder = tmp_path_factory.mktemp("clicked")
    tiny.write_phantoms(folder, 1)
    predictor = Predictor(tiny.give_random_weights(tiny.write_bundle(folder / "models", "low_rank", request.param)))
    image = nib.load(folder / "images" / "case_0.nii.gz")
    few = np.asarray(image.dataobj)[8:20, 8:20, 3:11]
    write_volume(folder / "few.nii.gz", few, np.diag([*tiny.SPACING, 1.0]))
    base = predictor.predict(folder / "few.nii.gz", samples=2)
    case = ConditionedCase(predictor.network.head, base, predictor.bundle.labels)
    voxel = tuple(int(i) for i in np.unravel_index(base.maps["error_probability"].argmax(), base.label.shape))
    return case.given([Click(voxel, int(base.label[voxel] == 0))])


@pytest.fixture(scope="module")
def its_truths(corrected) -> np.ndarray:
    """Volumes of truths after those clicks."""
    return volumes(corrected.clicked.logits, 1500, 10**6) * voxel_volume_ml(corrected.case.base.state.affine)


@pytest.mark.parametrize("most", [None, 39, 50])
def test_after_clicks_it_does_too_also_where_much_is_undecided(corrected, its_truths, monkeypatch, most):
    if most:
        undecided = int((corrected._moments.probability.amax(1) < 1 - 1e-3).sum())
        monkeypatch.setattr("uncertaintyseg.inference.corrected.DRAWN", most * undecided)
    found = [corrected._drawn(SAMPLES, seed) for seed in range(REPEATS // 2)]
    assert {one.count for one in found} == {most or SAMPLES}
    assert found[0].coverage >= 0.95
    assert coverage(iter(found), its_truths) == pytest.approx(found[0].coverage, abs=1.5 * TOLERANCE)


def test_after_clicks_there_is_none_where_too_much_is_undecided(corrected, monkeypatch):
    undecided = int((corrected._moments.probability.amax(1) < 1 - 1e-3).sum())
    monkeypatch.setattr("uncertaintyseg.inference.corrected.DRAWN", 39 * undecided - 1)
    found = corrected._drawn(SAMPLES, 0)
    assert (found.limits, found.dice, found.count) == (None, None, 0)
    assert "too much is undecided" in found.method
