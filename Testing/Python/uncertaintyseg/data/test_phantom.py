"""The phantom: repeatable, plausible in HU and space, and ambiguous where it means to be."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from uncertaintyseg.data.geometry import spacing_mm, voxel_volume_ml
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.phantom import make_phantom, write_phantoms
from uncertaintyseg.data.scan import read_label, read_scan
from uncertaintyseg.errors import InputError


@pytest.fixture(scope="module")
def cases():
    return [make_phantom((0, i)) for i in range(12)]


def test_the_same_seed_gives_the_same_case():
    one, two, other = make_phantom(3), make_phantom(3), make_phantom(4)
    for name in ("image", "label", "raters", "affine"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)


def test_the_label_is_one_rater_and_which_one_varies(cases):
    for case in cases:
        assert case.raters.shape == (3, *case.image.shape)
        assert np.array_equal(case.label, case.raters[case.reference])
        assert set(np.unique(case.label)) <= {0, 1, 2}
    assert {case.reference for case in cases} == {0, 1, 2}


def test_tissues_have_the_density_of_a_portal_venous_ct(cases):
    for case in cases:
        agreed = (case.raters == 1).all(0)
        inside = binary_erosion(agreed, iterations=2)
        assert 100 < np.median(case.image[inside]) < 130
        assert 10 < case.image[inside].std() < 25
        assert case.image.min() >= -1024
        assert case.image[:3, :3].mean() < -970
        assert np.percentile(case.image, 99.9) > 250
        assert np.array_equal(case.image, np.rint(case.image))


def test_lesions_are_darker_than_the_organ_and_some_cases_have_none(cases):
    marked = [case for case in cases if (case.raters == 2).all(0).any()]
    assert 0 < len(marked) < len(cases)
    for case in marked:
        lesion, organ = (case.raters == 2).all(0), (case.raters == 1).all(0)
        assert case.image[lesion].mean() < case.image[organ].mean() - 5


def test_volumes_are_those_of_a_small_organ(cases):
    for case in cases:
        assert 20 < (case.label > 0).sum() * voxel_volume_ml(case.affine) < 100


def test_voxels_are_thick_and_vary_from_case_to_case(cases):
    spacings = np.array([spacing_mm(case.affine) for case in cases])
    np.testing.assert_allclose(spacings.mean(0), (1.5, 1.5, 3), rtol=0.05)
    assert np.all(np.ptp(spacings, axis=0) > 0)
    assert len({case.image.shape for case in cases}) > 1


def test_raters_differ_where_the_border_is_hidden_and_agree_where_it_shows(cases):
    """Around the border, disagreement falls where the organ meets fat (dark) and rises where it meets its likeness."""
    shown, hidden = [], []
    for case in cases:
        organ = case.raters > 0
        common, union = organ.all(0), organ.any(0)
        ring = binary_dilation(union, iterations=2) & ~union  # what lies beyond every rater's border
        for voxels, rates in ((case.image < 0, shown), (abs(case.image - 104) < 25, hidden)):
            near = binary_dilation(ring & voxels, iterations=3) & binary_dilation(common, iterations=2)
            rates.append((union & ~common & near).sum() / near.sum())
    assert np.mean(hidden) > 1.3 * np.mean(shown)


def test_disagreement_is_one_shape_not_speckle(cases):
    for case in cases:
        disputed = (case.raters > 0).any(0) & ~(case.raters > 0).all(0)
        neighbours = sum(np.roll(disputed, step, axis) for axis in range(3) for step in (-1, 1))
        assert neighbours[disputed].mean() > 2  # of 6; speckle of this density would have less than one


def test_noise_is_correlated_between_neighbours(cases):
    case = cases[0]
    inside = binary_erosion((case.raters == 1).all(0), iterations=2)
    pair = inside & np.roll(inside, -1, 0)
    correlation = np.corrcoef(case.image[pair], np.roll(case.image, -1, 0)[pair])[0, 1]
    assert 0.3 < correlation < 0.9


def test_turning_and_flipping_change_the_grid_not_the_anatomy():
    plain, flipped, oblique = make_phantom(5), make_phantom(5, flip=True), make_phantom(5, oblique_degrees=20)
    assert np.array_equal(flipped.image[::-1], plain.image)
    assert np.array_equal(flipped.raters[:, ::-1], plain.raters)
    last = plain.image.shape[0] - 1
    np.testing.assert_allclose(flipped.affine @ [0, 3, 2, 1], plain.affine @ [last, 3, 2, 1])
    assert nib.aff2axcodes(flipped.affine) == ("L", "A", "S")
    assert np.array_equal(oblique.image, plain.image)
    turn = oblique.affine[:3, :3] @ np.linalg.inv(plain.affine[:3, :3])
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) == pytest.approx(20)


def test_more_raters_can_be_asked():
    assert make_phantom(1, raters=5).raters.shape[0] == 5


def test_written_phantoms_are_read_as_cases_and_a_longer_run_begins_alike(tmp_path):
    told = []
    ids = write_phantoms(tmp_path / "two", 2, progress=lambda case, fraction: told.append((case, fraction)))
    write_phantoms(tmp_path / "one", 1)
    assert ids == ["phantom_000", "phantom_001"]
    assert told == [("phantom_000", 0.5), ("phantom_001", 1.0)]
    cases = read_cases(tmp_path / "two")
    assert [case.id for case in cases] == ids
    expected = make_phantom((0, 1))
    scan = read_scan(cases[1].image)
    assert np.array_equal(scan[0], expected.image)
    assert np.array_equal(read_label(cases[1].label, {1, 2}, like=scan)[0], expected.label)
    raters = [read_label(tmp_path / "two" / "raters" / f"phantom_001_{n}.nii.gz", {1, 2}, like=scan) for n in (1, 2, 3)]
    assert np.array_equal(np.concatenate(raters), expected.raters)
    for part in ("images", "labels"):
        name = f"{part}/phantom_000.nii.gz"
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_phantoms(tmp_path / "file", 1)
