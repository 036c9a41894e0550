"""Nothing of a clip goes on from frame to frame: whatever links voxels says of each frame what it says of it alone."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.active.acquisition import FOREGROUND, case_scores, entropy_near_foreground
from uncertaintyseg.active.near import means_near
from uncertaintyseg.data.cleanup import clean_up
from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.cases import largest_patch
from uncertaintyseg.metrics.overlap import overlap
from uncertaintyseg.metrics.scopes import error_scopes
from uncertaintyseg.review.coverage import review_curve
from uncertaintyseg.review.existing_label import review_label
from uncertaintyseg.review.pieces import pieces_above
from uncertaintyseg.review.readers import disagreement
from uncertaintyseg.review.regions import regions
from uncertaintyseg.review.shape_features import shape_features
from uncertaintyseg.review.structures import Drawn, structure_table
from uncertaintyseg.review.versions import difference
from uncertaintyseg.wire import Label

SHAPE = (24, 20, 5)
SPACING = (0.5, 0.8, 1.0)
AFFINE = np.diag([-0.5, -0.8, 1.0, 1.0])
AREA = 0.4
LABELS = [Label(id=1, name="organ", rgb=(255, 0, 0)), Label(id=2, name="lesion", rgb=(0, 255, 0))]
ORDER = [3, 0, 4, 2, 1]


class Clip:
    """Frames of blobs that overlap from frame to frame, in which any link along time would show."""

    def __init__(self, order=range(SHAPE[2])):
        rng = np.random.default_rng(0)
        x, y = np.meshgrid(np.arange(SHAPE[0]), np.arange(SHAPE[1]), indexing="ij")
        centres = rng.uniform(8, 13, (SHAPE[2], 2, 2))
        distance = [np.hypot(x - c[0], y - c[1]) for c in centres[:, 0]]
        other = [np.hypot(x - c[0], y - c[1]) for c in centres[:, 1]]
        order = list(order)
        soft = np.stack([1 / (1 + np.exp(d - 6)) for d in distance], -1)[..., order]
        lesion = np.stack([1 / (1 + np.exp(2 * (d - 2))) for d in other], -1)[..., order] * soft
        self.p = {"organ": (soft - lesion).astype(np.float32), "lesion": lesion.astype(np.float32)}
        every = np.stack([1 - soft, self.p["organ"], self.p["lesion"]])
        self.label = every.argmax(0).astype(np.uint8)
        self.error = (1 - every.max(0)).astype(np.float32)
        self.truth = np.stack([self.label[..., order.index(n)] for n in range(SHAPE[2])], -1)[..., order]
        self.truth = np.roll(self.truth, 2, axis=0)
        self.image = (100 * soft + 20 * rng.random(SHAPE)[..., order]).astype(np.float32)

    @property
    def maps(self):
        return dict.fromkeys(("predictive_entropy", "mutual_information", "variance"), self.error)


def frames_of(region):
    return region.bounding_box[0][2], region.bounding_box[1][2]


def without_time(region):
    return region.model_dump(exclude={"rank", "frame", "ijk", "ras_mm", "bounding_box"}) | {
        "at": region.ijk[:2],
        "box": tuple(end[:2] for end in region.bounding_box),
    }


def table(clip, **options):
    return structure_table(clip.label, clip.p, clip.error, LABELS, AREA / 5, Drawn("none"), clip=True, **options)


FUNCTIONS = {
    "regions": lambda c: sorted(
        map(str, map(without_time, regions(c.label, c.error, c.p, LABELS, AFFINE, clip=True, limit=99, voxel_ml=AREA)))
    ),
    "pieces": lambda c: pieces_above(c.error, (0.1, 0.3, 0.45), clip=True),
    "review curve": lambda c: review_curve(c.error, AREA / 5, None, clip=True),
    "structure table": table,
    "structure table, partly seen": lambda c: table(c, valid=np.ones(SHAPE, bool)),
    "entropy near the foreground": lambda c: means_near(
        c.maps, c.label, SPACING, 3.0, of_each="predictive_entropy", clip=True
    ),
    "case scores": lambda c: case_scores(c.maps, c.label, SPACING, table(c), clip=True, voxel_ml=AREA / 5),
    "overlap": lambda c: overlap(c.label == 1, c.truth == 1, SPACING, clip=True, voxel_ml=AREA / 5),
    "error scopes": lambda c: [
        None if mask is None else np.sort(mask.reshape(-1, SHAPE[2]).sum(0)).tolist()
        for mask in error_scopes(c.image, c.truth, SPACING, clip=True).values()
    ],
    "largest patch": lambda c: largest_patch(c.error, 6, clip=True),
    "label review": lambda c: sorted(
        str(without_time(region))
        for region in review_label(
            c.truth, c.p, LABELS, AFFINE, own=c.label, clip=True, voxel_ml=AREA / 5, place_ml=AREA, limit=99
        ).regions
    ),
    "disagreement": lambda c: sorted(
        region.volume_ml
        for region in disagreement([c.label, c.truth], LABELS, AFFINE, clip=True, voxel_ml=AREA).regions
    ),
    "difference": lambda c: sorted(
        region.volume_ml for region in difference(c.label, c.truth, LABELS, AFFINE, clip=True, voxel_ml=AREA).regions
    ),
}


def close(found, wanted):
    if isinstance(found, dict):
        assert found.keys() == wanted.keys()
        for key in found:
            close(found[key], wanted[key])
    elif isinstance(found, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            close(one, other)
    elif isinstance(found, float):
        assert found == pytest.approx(wanted, rel=1e-6, nan_ok=True)
    else:
        assert found == wanted


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_order_of_the_frames_changes_nothing(name):
    close(FUNCTIONS[name](Clip()), FUNCTIONS[name](Clip(ORDER)))


def test_regions_lie_in_one_frame_each_and_point_to_it():
    clip = Clip()
    found = regions(clip.label, clip.error, clip.p, LABELS, AFFINE, clip=True, limit=99, voxel_ml=AREA)
    assert found
    assert [region.rank for region in found] == list(range(1, len(found) + 1))
    assert {region.ijk[2] for region in found} == set(range(SHAPE[2]))
    for region in found:
        assert frames_of(region) == (region.ijk[2], region.ijk[2])
        assert region.frame == region.ijk[2]
        np.testing.assert_allclose(region.ras_mm, (AFFINE @ [*region.ijk, 1])[:3], atol=1e-3)


def test_a_frame_has_the_regions_that_it_has_as_an_image():
    clip = Clip()
    found = regions(clip.label, clip.error, clip.p, LABELS, AFFINE, clip=True, limit=99, voxel_ml=AREA)
    for number in range(SHAPE[2]):
        one = slice(number, number + 1)
        p = {name: values[..., one] for name, values in clip.p.items()}
        alone = regions(clip.label[..., one], clip.error[..., one], p, LABELS, AFFINE, limit=99, voxel_ml=AREA)
        here = [without_time(region) for region in found if region.ijk[2] == number]
        assert here == [without_time(region) for region in alone]


def test_areas_are_means_over_the_frames():
    clip = Clip()
    rows = {row.id: row for row in table(clip)}
    for number in (1, 2):
        mean = np.mean([AREA * (clip.label[..., frame] == number).sum() for frame in range(SHAPE[2])])
        assert rows[number].volume_ml == pytest.approx(mean, abs=1e-4)
    scores = case_scores(clip.maps, clip.label, SPACING, [], clip=True, voxel_ml=AREA / 5)
    assert scores[FOREGROUND] == pytest.approx(AREA * np.count_nonzero(clip.label) / 5)


def test_the_ends_of_a_clip_are_no_edge_of_the_scan():
    clip = Clip()
    inside = clip.label.copy()
    inside[[0, -1]] = inside[:, [0, -1]] = 0
    given = clip.p, clip.error, LABELS, AREA, Drawn("none")
    assert not any("edge" in (row.flag or "") for row in structure_table(inside, *given, clip=True))
    assert any("edge" in (row.flag or "") for row in structure_table(inside, *given))


def test_margins_stay_in_their_frame():
    label = np.zeros(SHAPE, np.uint8)
    label[12, 10, 2] = 1
    entropy = np.zeros(SHAPE, np.float32)
    entropy[..., [1, 3]] = 1
    assert entropy_near_foreground(entropy, label, SPACING) > 0
    assert means_near({"entropy": entropy}, label, SPACING, 3.0, clip=True)[0]["entropy"] == 0


def test_distances_are_means_over_frames():
    clip = Clip()
    found = overlap(clip.label == 1, clip.truth == 1, SPACING, clip=True)
    alone = [
        overlap(clip.label[..., n : n + 1] == 1, clip.truth[..., n : n + 1] == 1, SPACING) for n in range(SHAPE[2])
    ]
    assert found.hd95_mm == pytest.approx(np.mean([one.hd95_mm for one in alone]))
    assert found.surface_dice == pytest.approx(np.mean([one.surface_dice for one in alone]))


@pytest.mark.parametrize(
    "function",
    [
        lambda c: shape_features(c.label, AFFINE, LABELS, clip=True),
        lambda c: clean_up(c.label, SPACING, closing_mm=2.0, clip=True),
        lambda c: clean_up(c.label, SPACING, largest={1: 1}, clip=True),
    ],
)
def test_what_needs_three_dimensions_of_space_is_refused(function):
    with pytest.raises(InputError, match="third axis is time"):
        function(Clip())
