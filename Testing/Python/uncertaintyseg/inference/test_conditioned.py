"""Clicks on a predicted case: what moves, what stays, and taking them back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg.tiny import (
    give_random_weights,
    write_blob,
    write_bundle,
    write_phantoms,
    write_threshold_bundle,
)
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.conditioned import SITES, Click, ConditionedCase, spread
from uncertaintyseg.inference.corrected import NO_PROMISE, drawn_labels, without
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.logits import GaussianLogits, LowRank
from uncertaintyseg.review.calibration import Calibration
from uncertaintyseg.review.conditioning import condition
from uncertaintyseg.review.enclosing import Box, Lasso, lasso_voxels, outside


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    write_phantoms(folder, 1)
    return folder / "images" / "case_0.nii.gz"


def predicted(folder, scan, head: str, classes: int, **options) -> ConditionedCase:
    predictor = Predictor(give_random_weights(write_bundle(folder, head, classes, **options)))
    base = predictor.predict(scan, samples=8)
    return ConditionedCase(predictor.network.head, base, predictor.bundle.labels)


@pytest.fixture(scope="module", params=[(2, (3.0, 3.0, 6.0)), (3, (3.0, 3.0, 6.0)), (3, (4.0, 3.5, 5.0))], ids=str)
def case(request, scan, tmp_path_factory) -> ConditionedCase:
    """A model of SSN with two and three classes, on the scan's grid and on another."""
    classes, spacing = request.param
    return predicted(tmp_path_factory.mktemp("models"), scan, "low_rank", classes, spacing=spacing)


def doubtful(case: ConditionedCase, count: int = 1) -> list[Click]:
    """Clicks that turn the most doubtful voxels into what they are not."""
    order = np.argsort(case.base.maps["error_probability"].ravel())[::-1][: 7 * count : 7]
    voxels = [tuple(int(i) for i in np.unravel_index(n, case.base.label.shape)) for n in order]
    return [Click(voxel, int(case.base.label[voxel] == 0)) for voxel in voxels]


@pytest.mark.parametrize("by", ["error_probability", "predictive_entropy", "ranking"])
def test_after_clicks_the_map_that_drives_still_does_where_clicks_leave_it(case, by):
    """The calibration of a head's own map, which no click can move, stands for all that clicks cannot remake."""
    points = {"said": [0.0, 0.1, 8.0], "found": [0.0, 0.4, 1.0], "ece_before": 0.1, "ece_after": 0.01}
    curve = {"id": "a", "reference_ml": 1, "loss": [0, 1], "reviewed": [1, 0]}
    calibration = Calibration(
        weights_checksum="ab", window=(8, 8, 8), overlap=0.5, measure=by, data="", created="", code_version="",
        recalibration=points, thresholds=[0, 1], cases=[curve],
    )  # fmt: skip
    driving = case.base.maps.get(by, case.base.maps["variance"])
    base = replace(
        case.base,
        maps=case.base.maps | {"error_probability": calibration.recalibrated(driving)},
        provenance=case.base.provenance.model_copy(update={"calibration": calibration.checksum}),
        driven_by=by,
    )
    (click,) = doubtful(case)
    after = ConditionedCase(case.head, base, case.labels, calibration).given([click]).prediction(samples=8)
    others = np.ones(after.label.shape, bool)
    others[click.voxel] = False
    error, plain = after.maps["error_probability"], case.given([click]).prediction(samples=8).maps
    if by == "ranking":
        assert after.driven_by == "error_probability"
        assert np.abs(error - plain["error_probability"])[others].max() < 1e-5
    else:
        assert after.driven_by == by
        inside = np.zeros(others.shape, bool)
        inside[case.box] = True
        assert np.abs(error - calibration.recalibrated(plain[by]))[others & inside].max() < 1e-6
    assert ConditionedCase(case.head, base, case.labels).given([click]).prediction().driven_by == "error_probability"


def test_a_click_moves_more_than_its_voxel_and_its_maps_are_whole(case):
    (click,) = doubtful(case)
    corrected = case.given([click])
    after = corrected.prediction(samples=40)
    assert (corrected.moved, corrected.alone) == ("shape", 0)
    assert after.label[click.voxel] == click.label
    moved = np.abs(after.maps["predictive_entropy"] - case.base.maps["predictive_entropy"]) > 1e-3
    assert moved.sum() > 10
    assert after.maps["error_probability"][click.voxel] == pytest.approx(0.01)
    for name, values in after.maps.items():
        low, high = after.map_info[name].range
        assert values.dtype == np.float32
        assert values.shape == after.label.shape
        assert low <= values.min() <= values.max() <= high + 1e-6
    likeliest = sum(after.maps[f"probability_{name}"] for name in case.names)
    assert likeliest.max() <= 1 + 1e-5
    assert after.guarantee is None
    assert after.guarantee_reason == NO_PROMISE
    assert all(row.volume_ml_95[0] <= row.volume_ml_95[1] for row in after.structures)
    assert {row.dice_method for row in after.structures} == {"mean over 40 drawn shapes"}


def test_a_corrected_prediction_can_be_saved(case, tmp_path):
    report = case.given(doubtful(case, 2)).prediction(samples=8).save(tmp_path)
    assert report["provenance"]["params"]["clicks"] == 2


def test_taking_a_click_back_gives_the_result_before_it_bit_for_bit(case):
    first, second = doubtful(case, 2)
    before = case.given([first]).prediction(samples=8)
    case.given([first, second]).prediction(samples=8)
    again = ConditionedCase(case.head, case.base, case.labels).given([first]).prediction(samples=8)
    assert np.array_equal(before.label, again.label)
    assert all(np.array_equal(values, again.maps[name]) for name, values in before.maps.items())
    assert before.structures == again.structures
    assert case.given([]).prediction() is case.base


def test_the_order_of_clicks_changes_nothing(case):
    clicks = doubtful(case, 3)
    one, two = case.given(clicks), case.given(clicks[::-1])
    assert np.array_equal(one.label, two.label)
    assert all(np.array_equal(values, two.maps()[name]) for name, values in one.maps().items())


def test_far_from_a_click_nothing_moves(case):
    (click,) = doubtful(case)
    after = case.given([click], reach_mm=3.0).maps()
    index = np.stack(np.meshgrid(*map(np.arange, case.base.label.shape), indexing="ij"), -1)
    far = np.linalg.norm((index - click.voxel) * (3.0, 3.0, 6.0), axis=-1) > 30
    for name, values in after.items():
        assert np.abs(values - case.base.maps[name])[far].max() < 1e-5, name


@pytest.mark.parametrize("strokes", [(False, False), (False, True), (True, True)])
def test_a_voxel_said_to_be_two_things_is_refused_with_its_place_and_both(case, strokes):
    (click,) = doubtful(case)
    said = [click._replace(label=label, stroke=stroke) for label, stroke in zip((0, 1), strokes, strict=True)]
    with pytest.raises(InputError, match=rf"voxel \[{', '.join(map(str, click.voxel))}\] is clicked as class 0 and 1"):
        case.given(said)
    assert case.given([click, click]).label[click.voxel] == click.label  # said twice is no contradiction


def test_where_two_voxels_of_a_scan_share_one_of_the_model_the_nearer_is_heard_and_both_are_painted(tmp_path):
    affine, shape = np.diag([1.5, 3.0, 6.0, 1.0]), (48, 24, 12)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    write_blob(tmp_path / "blob.nii.gz", affine, shape)
    predictor = Predictor(write_threshold_bundle(tmp_path / "models", "low_rank", rank=1))
    base = predictor.predict(tmp_path / "blob.nii.gz", samples=2)
    case = ConditionedCase(predictor.network.head, base, predictor.bundle.labels)
    clicks = [Click((i, 12, 6), i % 2) for i in range(20, 28)]
    at, heard = case._on_model(clicks)
    assert len(set(at)) < len(clicks)
    assert len(set(at[heard])) == heard.sum() == len(set(at))
    corrected = case.given(clicks)
    assert [corrected.label[click.voxel] for click in clicks] == [click.label for click in clicks]
    assert corrected.alone == (~heard).sum()
    assert np.array_equal(case.given(clicks[::-1]).label, corrected.label)


def test_a_click_outside_the_region_moves_its_voxel_only(tmp_path, scan):
    case = predicted(tmp_path, scan, "low_rank", 3)
    far = case.base.state
    case.base.__dict__["state"] = type(far)(
        far.features[:, :6, :6, :6], tuple(slice(20, 26) for _ in range(3)), far.affine
    )
    corrected = case.given([Click((0, 0, 0), 2)])
    assert (corrected.moved, corrected.alone) == ("voxel", 1)
    assert {tuple(v) for v in np.argwhere(corrected.label != case.base.label)} <= {(0, 0, 0)}
    assert corrected.label[0, 0, 0] == 2


@pytest.mark.parametrize("head", ["single_basis", "deterministic", "diagonal"])
def test_without_shared_noise_a_click_moves_its_voxel_only(head, tmp_path, scan):
    case = predicted(tmp_path, scan, head, 3)
    (click,) = doubtful(case)
    corrected = case.given([click])
    after = corrected.prediction()
    assert (corrected.moved, corrected.alone) == ("voxel", 1)
    assert [tuple(v) for v in np.argwhere(after.label != case.base.label)] == [click.voxel]
    assert after.maps["error_probability"][click.voxel] == pytest.approx(0.01)
    changed = after.maps["predictive_entropy"] != case.base.maps["predictive_entropy"]
    assert changed.sum() == 1
    assert after.structures[0].interval_method == "none: the clicks moved single voxels, no shapes"


@pytest.mark.parametrize("options", [{"noise": "volume"}, {"noise": "cube"}])
def test_basis_noise_that_voxels_share_moves_shapes(options, tmp_path, scan):
    case = predicted(tmp_path, scan, "mixture_of_bases", 2, parts=2, **options)
    (click,) = doubtful(case)
    corrected = case.given([click])
    assert corrected.moved == "shape"
    assert corrected.prediction(samples=4).label[click.voxel] == click.label


def test_a_laplace_posterior_moves_shapes(tmp_path, scan):
    bundle = write_threshold_bundle(tmp_path, "laplace")
    predictor = Predictor(bundle)
    predictor.network.head.posterior.factor.mul_(2000)  # as wide as a tempered one
    base = predictor.predict(scan, samples=4)
    case = ConditionedCase(predictor.network.head, base, predictor.bundle.labels)
    (click,) = doubtful(case)
    corrected = case.given([click])
    assert corrected.moved == "shape"
    assert (corrected.label != base.label).sum() > 1
    assert corrected.prediction(samples=40).structures[0].volume_ml_95 is not None


@pytest.mark.parametrize(("click", "message"), [
    (Click((900, 0, 0), 1), r"\[900, 0, 0\].*outside the scan of"),
    (Click((0, -1, 0), 1), "outside"),
    (Click((0, 0, 0), 9), "no class 9"),
])  # fmt: skip
def test_clicks_that_mean_nothing_are_refused(case, click, message):
    with pytest.raises(InputError, match=message):
        case.given([click])


def test_a_long_scribble_is_painted_whole_and_thinned_to_what_conditions():
    strokes = [Click((i, 0, 0), 1, stroke=True) for i in range(1000)]
    points = [Click((5, 5, 5), 0), Click((6, 5, 5), 0)]
    sites = spread([*strokes, *points], np.arange(1002))
    assert len(sites) == SITES
    assert sites[:2] == [(1000, 0), (1001, 0)]
    assert sites[2][0] == 0
    assert sites[-1][0] == 999
    assert np.ptp(np.diff([voxel for voxel, _ in sites[2:]])) <= 1


def test_every_voxel_of_a_scribble_takes_its_class(case):
    (click,) = doubtful(case)
    i, j, k = click.voxel
    stroke = [Click((x, j, k), 1, stroke=True) for x in range(max(i - 4, 0), i + 1)]
    label = case.given(stroke).label
    assert all(label[s.voxel] == 1 for s in stroke)


def test_where_no_voxel_shares_noise_with_the_clicked_one_shapes_are_drawn_from_the_prior():
    factor = torch.randn(1, 3, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    factor[..., 0] = 0  # as where all features of a voxel are 0
    prior = GaussianLogits(torch.zeros(1, 3, 4, 4, 4), LowRank(factor))
    clicked = condition(prior, torch.tensor([0]), torch.tensor([1]), (1, 1, 1))
    voxels = torch.arange(1, 64, 5)
    drawn = list(drawn_labels(clicked.logits, voxels, 3, torch.Generator().manual_seed(1)))
    wanted = [draw[0].argmax(0).flatten()[voxels] for draw in prior.sample(3, torch.Generator().manual_seed(1))]
    assert all(torch.equal(one, other) for one, other in zip(drawn, wanted, strict=True))


def half_box(case: ConditionedCase) -> Box:
    """A box around the half of structure 1 that has the lower first index."""
    voxels = np.argwhere(case.base.label == 1)
    last = voxels.max(0)
    last[0] = int(np.median(voxels[:, 0]))
    return Box(1, tuple(voxels.min(0).tolist()), tuple(last.tolist()))


def test_a_structure_ends_at_its_box_and_nothing_else_moves(case):
    box = half_box(case)
    out = outside(case.base.label, [box])[1]
    corrected = case.given([], [], [box])
    after = corrected.prediction(samples=40)
    assert corrected.moved == "voxel"
    assert np.array_equal(np.flatnonzero(after.label != case.base.label), out)
    names = [item.name for item in case.labels]
    probability = np.stack([after.maps[f"probability_{name}"].ravel() for name in names])
    likeliest = np.argmax(np.concatenate([1 - probability.sum(0, keepdims=True), probability])[:, out], axis=0)
    assert np.array_equal(likeliest, after.label.ravel()[out])
    assert probability[0, out].max() <= 0.01
    rest = np.setdiff1d(np.arange(after.label.size), out)
    for name in (*(f"probability_{name}" for name in names), "variance", "error_probability"):
        assert np.array_equal(after.maps[name].ravel()[rest], case.base.maps[name].ravel()[rest]), name
    assert {row.id: row.volume_ml for row in after.structures}[1] < {r.id: r.volume_ml for r in case.base.structures}[1]
    assert np.array_equal(case.given([]).prediction().label, case.base.label)


def test_what_a_click_moves_out_of_a_box_ends_there_too(case):
    box = half_box(case)
    last = np.argwhere((case.base.label == 1) & (np.arange(case.base.label.shape[0])[:, None, None] > box.last[0]))
    clicks = [Click(tuple(map(int, last[len(last) // 2])), 1)]
    moved, held = case.given(clicks), case.given(clicks, [], [box])
    assert moved.moved == held.moved == "shape"
    left = outside(held.label, [box]).get(1, np.empty(0, int))
    assert set(left) <= {np.ravel_multi_index(clicks[0].voxel, held.label.shape)}  # a click says more than a box
    out = np.union1d(outside(case.base.label, [box])[1], outside(moved.label, [box])[1])
    assert set(np.flatnonzero(held.label != moved.label)) <= set(out)


def test_without_shared_noise_a_lasso_only_paints(case):
    plain = ConditionedCase(case.head, replace(case.base, state=None), case.labels)
    (lasso,) = lassos(case)
    painted = plain.given([], [lasso]).label
    where = tuple(lasso_voxels(lasso.corners, painted.shape).T)
    assert (painted[where] == lasso.label).all()
    assert np.count_nonzero(painted != case.base.label) == np.count_nonzero(case.base.label[where] != lasso.label)


def lassos(case: ConditionedCase) -> list[Lasso]:
    """A lasso of nothing, around the doubtful place."""
    (click,) = doubtful(case)
    i, j, k = click.voxel
    corners = [(i + a, j + b, k) for a, b in ((-1.2, -1.2), (1.2, -1.2), (1.2, 1.2), (-1.2, 1.2))]
    shape = case.base.label.shape
    inside = tuple(tuple(float(np.clip(v, 0, size - 1)) for v, size in zip(c, shape, strict=True)) for c in corners)
    return [Lasso(click.label, inside)]


def test_a_lasso_is_painted_and_heard_as_one_click_in_its_middle(case):
    (lasso,) = lassos(case)
    (click,) = doubtful(case)
    corrected = case.given([], [lasso])
    where = tuple(lasso_voxels(lasso.corners, corrected.label.shape).T)
    assert (corrected.label[where] == lasso.label).all()
    others = np.ones(corrected.label.shape, bool)
    others[where] = False
    middles = [case.given([Click(tuple(v), lasso.label)]).label for v in np.transpose(where).tolist()]
    assert any(np.array_equal(corrected.label[others], one[others]) for one in middles)
    assert corrected.maps()["error_probability"][where] == pytest.approx(0.01)
    refused = case.given([Click(click.voxel, 1 - click.label)], [lasso]).label
    assert refused[click.voxel] == 1 - click.label  # a click says more than a lasso
    later = case.given([], [lasso, Lasso(1 - lasso.label, lasso.corners)]).label
    assert (later[where] == 1 - lasso.label).all()


@pytest.mark.parametrize(
    ("corrections", "words"),
    [
        (([], [Lasso(9, ((1, 1, 1), (4, 1, 1), (4, 4, 1)))]), "no class 9"),
        (([], [], [Box(0, (1, 1, 1), (2, 2, 2))]), "none of class 0"),
        (([], [], [Box(1, (1, 1, 1), (2, 2, 999))]), "no box in the scan"),
    ],
)
def test_lassos_and_boxes_that_mean_nothing_are_refused(case, corrections, words):
    with pytest.raises(InputError, match=words):
        case.given(*corrections)


def test_what_a_voxel_cannot_be_keeps_the_share_of_a_slip_and_the_rest_is_scaled():
    probability = torch.tensor([[0.1, 0.0, 0.3], [0.6, 1.0, 0.3], [0.3, 0.0, 0.4]])
    denied = torch.tensor([[False] * 3, [True] * 3, [False, False, True]])
    found = without(probability, denied, 0.02)
    torch.testing.assert_close(found.sum(0), torch.ones(3))
    torch.testing.assert_close(found[:, 0], torch.tensor([0.99 * 0.25, 0.01, 0.99 * 0.75]))
    torch.testing.assert_close(found[:, 1], torch.tensor([0.99, 0.01, 0.0]))
    torch.testing.assert_close(found[:, 2], torch.tensor([0.98, 0.01, 0.01]))
