"""One case: repeatable, true masks within the skull, raters about as asked, shifts that change what they name."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, label

from uncertaintyseg.data.ellipse import circumference
from uncertaintyseg.data.ultrasound_phantom import make_ultrasound
from uncertaintyseg.errors import InputError

BRAIN, CAVUM, VENTRICLES = 1, 2, 3


@pytest.fixture(scope="module")
def cases():
    return [make_ultrasound((0, i)) for i in range(6)]


@pytest.fixture(scope="module")
def ill():
    return [make_ultrasound((0, i), pathology=1.0) for i in range(12)]


@pytest.fixture(scope="module")
def clip():
    return make_ultrasound((0, 1), clip=True)


def fitted(mask, spacing):
    """Circumference of the ellipse that has a mask's second moments, mm."""
    pixels = np.cov(np.nonzero(mask)) + np.eye(2) / 12  # a pixel is a square
    short, long = 2 * np.sqrt(np.linalg.eigvalsh(pixels))
    return circumference(long, short) * spacing


def inside_of(ellipse, shape, spacing, grow=0.0):
    x, y = np.meshgrid(*(np.arange(n) * spacing for n in shape), indexing="ij")
    c, s = np.cos(ellipse.angle), np.sin(ellipse.angle)
    dx, dy = x - ellipse.x, y - ellipse.y
    along, across = c * dx + s * dy, c * dy - s * dx
    return (along / (ellipse.long + grow)) ** 2 + (across / (ellipse.short + grow)) ** 2 < 1


def test_the_same_seed_gives_the_same_case_and_another_another():
    one, two, other = make_ultrasound(3), make_ultrasound(3), make_ultrasound(4)
    for name in ("image", "label", "raters", "affine"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert one.ellipses == two.ellipses
    assert not np.array_equal(one.image, other.image)


def test_a_case_is_the_same_on_another_processor_but_for_last_digits(cases):
    """Numbers written down once: generator and geometry, not the last bits of a sine."""
    case = cases[0]
    assert case.sizes.age == pytest.approx(31.2011, abs=1e-3)
    assert case.sizes.circumference == pytest.approx(279.7665, abs=1e-2)
    assert case.spacing == pytest.approx(0.502124, abs=1e-5)
    assert case.image.mean() == pytest.approx(61.816, abs=0.1)


def test_shapes_and_types(cases):
    for case in cases:
        assert case.image.shape == case.label.shape == (256, 256, 1)
        assert case.raters.shape == (3, 256, 256, 1)
        assert case.image.dtype == case.label.dtype == case.raters.dtype == np.uint8
        np.testing.assert_allclose(np.diag(case.affine), (-case.spacing, -case.spacing, 1, 1))
    assert make_ultrasound(0, size=128, raters=5).raters.shape == (5, 128, 128, 1)


def test_structures_lie_inside_the_ellipse_of_the_skull(cases, ill):
    for case in [*cases, *ill]:
        drawn = case.label[..., 0] > 0
        assert np.array_equal(drawn, inside_of(case.ellipses[0], drawn.shape, case.spacing))
        within = inside_of(case.ellipses[0], drawn.shape, case.spacing, grow=-case.sizes.skull)
        assert within[case.label[..., 0] > 1].all()


def test_the_ellipse_of_the_mask_has_the_circumference_told(cases, ill):
    for case in [*cases, *ill]:
        assert fitted(case.label[..., 0] > 0, case.spacing) == pytest.approx(case.ellipses[0].circumference, rel=0.005)
        assert case.ellipses[0].circumference == pytest.approx(case.sizes.circumference)


def test_a_bent_skull_is_told_by_the_ellipse_that_fits_it_best():
    for i in range(4):
        case, plain = make_ultrasound((0, i), shift="elastic"), make_ultrasound((0, i))
        mask = case.label[..., 0] > 0
        assert fitted(mask, case.spacing) == pytest.approx(case.ellipses[0].circumference, rel=0.01)
        ellipse = inside_of(case.ellipses[0], mask.shape, case.spacing)
        assert (mask ^ ellipse).sum() > 0.015 * mask.sum()  # no ellipse any more
        assert (case.label != plain.label).mean() > 0.01
        assert (case.spacing, case.probe, case.sizes) == (plain.spacing, plain.probe, plain.sizes)


def test_the_head_lies_in_the_fan(cases):
    for case in cases:
        eroded = binary_erosion(case.label[..., 0] > 0, iterations=6)
        assert (case.image[..., 0][eroded] > 0).mean() > 0.6


def test_bone_is_bright_water_dark_and_brain_between(cases):
    for case in cases:
        grey, labels = case.image[..., 0].astype(float), case.label[..., 0]
        head = labels > 0
        brain = grey[binary_erosion(labels == BRAIN, iterations=8)]
        ellipse = case.ellipses[0]
        rim = head & ~inside_of(ellipse, head.shape, case.spacing, grow=-case.sizes.skull)
        assert np.percentile(grey[rim], 90) > 200
        assert 40 < brain.mean() < 120
        cavum = grey[binary_erosion(labels == CAVUM)]
        assert cavum.mean() < 0.75 * brain.mean()


def test_bone_fades_where_the_beam_grazes_it(cases):
    """At the ends of a head that lies across the beam."""
    for case in cases:
        grey, spacing, ellipse = case.image[..., 0].astype(float), case.spacing, case.ellipses[0]
        x, y = np.meshgrid(*(np.arange(n) * spacing for n in grey.shape), indexing="ij")
        rim = inside_of(ellipse, grey.shape, spacing) & ~inside_of(ellipse, grey.shape, spacing, grow=-case.sizes.skull)
        near, ends = rim & (np.abs(x - ellipse.x) < 8), rim & (np.abs(y - ellipse.y) < 5)
        assert grey[ends].mean() < 0.7 * grey[near].mean()


def test_pathologies_change_areas_as_they_should(ill):
    for i, case in enumerate(ill):
        healthy, pathology = make_ultrasound((0, i)), case.sizes.pathology
        cavum, ventricles = (case.areas(0)[name] for name in ("cavum septi pellucidi", "lateral ventricles"))
        was_cavum, was = (healthy.areas(0)[name] for name in ("cavum septi pellucidi", "lateral ventricles"))
        if pathology == "absent_cavum":
            assert cavum < 0.5 * was_cavum
            assert (cavum == 0) == (case.sizes.grade == 3)
        elif pathology == "ventriculomegaly":
            assert ventricles > 1.15 * was
        else:
            parts, count = label(case.label[..., 0] == VENTRICLES)
            sizes = sorted(np.bincount(parts.ravel())[1:])
            assert count == 2
            assert sizes[1] > 1.2 * sizes[0]
        assert np.array_equal(case.label > 0, healthy.label > 0)


def test_areas_are_those_of_the_mask(cases):
    for case in cases:
        for value, area in enumerate(case.areas(0).values(), start=1):
            assert area == pytest.approx((case.label == value).sum() * case.spacing**2)


def test_raters_differ_by_their_bias_and_about_as_much_as_asked(cases):
    """Borders of the second rater lie about 0.5 mm outside the truth, of the third inside: area over circumference."""
    moved = np.array(
        [
            [((drawn > 0).sum() - (case.label > 0).sum()) * case.spacing**2 for drawn in case.raters]
            / np.float64(case.ellipses[0].circumference)
            for case in cases
        ]
    )
    np.testing.assert_allclose(moved.mean(0), (0.0, 0.5, -0.5), atol=0.3)
    assert (moved.std(0) > 0.1).all()
    for case in cases:
        for drawn in case.raters:
            both = ((drawn > 0) & (case.label > 0)).sum() * 2 / ((drawn > 0).sum() + (case.label > 0).sum())
            assert 0.9 < both < 1


def test_raters_disagree_more_over_the_ventricle_under_the_haze():
    near, far = [], []
    for i in range(16):
        case = make_ultrasound((3, i))
        parts, count = label(case.label[..., 0] == VENTRICLES)
        assert count == 2
        rows = [np.nonzero(parts == n)[1].mean() for n in (1, 2)]
        for n, found in zip(np.argsort(rows) + 1, (near, far), strict=True):
            reach = np.zeros(parts.shape, bool)
            where = np.argwhere(parts == n)
            low, high = where.min(0) - 4, where.max(0) + 5
            reach[low[0] : high[0], low[1] : high[1]] = True
            drawn = (case.raters[..., 0] == VENTRICLES) & reach
            found.append((drawn.any(0) & ~drawn.all(0)).sum() / (parts == n).sum())
    assert np.mean(near) > 1.1 * np.mean(far)


def test_disagreement_is_one_shape_not_speckle(cases):
    for case in cases:
        disputed = ((case.raters > 0).any(0) & ~(case.raters > 0).all(0))[..., 0]
        neighbours = sum(np.roll(disputed, step, axis) for axis in range(2) for step in (-1, 1))
        assert neighbours[disputed].mean() > 1.3  # of 4; speckle of this density would have 0.2


def test_another_machine_shows_the_same_head_otherwise(cases):
    for i, case in enumerate(cases[:4]):
        other = make_ultrasound((0, i), shift="acquisition")
        assert other.sizes == case.sizes
        assert other.probe.megahertz < case.probe.megahertz - 0.5
        assert other.probe.range_db < case.probe.range_db
        assert abs(other.probe.gain_db) > 6 > abs(case.probe.gain_db)
        assert other.spacing > 1.2 * case.spacing
        assert other.areas(0)["parenchyma"] == pytest.approx(case.areas(0)["parenchyma"], rel=0.03)


def test_a_sweep_crosses_the_plane_and_speckle_moves_with_the_head(clip):
    assert clip.image.shape == clip.label.shape == (256, 256, 16)
    assert clip.raters.shape == (3, 256, 256, 16)
    assert min(clip.planes) < -3
    assert max(clip.planes) > 3
    assert clip.middle in {7, 8}
    around = [ellipse.circumference for ellipse in clip.ellipses]
    assert max(around) == pytest.approx(around[clip.middle], rel=0.002)
    cavum = (clip.label == CAVUM).sum((0, 1))
    assert cavum[clip.middle] > 1.3 * max(cavum[0], cavum[-1])
    assert len({round(ellipse.angle, 4) for ellipse in clip.ellipses}) == 16
    for frame in (0, 7, 15):
        mask = clip.label[..., frame] > 0
        assert fitted(mask, clip.spacing) == pytest.approx(around[frame], rel=0.005)
    grey, inside = clip.image.astype(float), binary_erosion((clip.label == BRAIN).all(-1), iterations=8)

    def alike(one, other):
        return np.corrcoef(grey[..., one][inside], grey[..., other][inside])[0, 1]

    assert alike(7, 8) > alike(7, 15) + 0.1


@pytest.mark.parametrize("wrong", [{"size": 32}, {"pathology": 1.5}, {"shift": "sideways"}, {"raters": 0}])
def test_senseless_arguments_are_told(wrong):
    with pytest.raises(InputError, match="size must be at least 64"):
        make_ultrasound(0, **wrong)
