"""Plans of images and clips: a 2D network, sizes in what is known, and frames that are seen alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from Testing.Python.uncertaintyseg import flat
from Testing.Python.uncertaintyseg.planning.found import fingerprint as found_elsewhere
from uncertaintyseg.data.dataset import read_dataset
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import METADATA, TRAINING, Bundle, read_config
from uncertaintyseg.planning.bundle import write_plan
from uncertaintyseg.planning.facts import CaseFacts
from uncertaintyseg.planning.fingerprint import Fingerprint, merge, take_fingerprint
from uncertaintyseg.planning.overrides import Overrides
from uncertaintyseg.planning.page import write_page
from uncertaintyseg.planning.plan import Trial, make_plan

NAMES = {1: "organ", 2: "core"}
SMALL = Overrides(features=4, steps=4)


def fingerprint(folder) -> Fingerprint:
    return take_fingerprint(read_dataset(folder, labels=NAMES), cache=None, workers=0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Fingerprint:
    """Four pictures, and a clip of three."""
    folder = tmp_path_factory.mktemp("pictures")
    flat.write_pictures(folder, range(4))
    flat.write_clip(folder, "clip", (4, 5, 6))
    return fingerprint(folder)


def write_nifti(folder, count: int, frames: int, spacing: float) -> None:
    for number in range(count):
        for part, where in enumerate(("images", "labels")):
            slices = [flat.frame(10 * number + at)[part].T for at in range(frames)]
            affine = np.diag([-spacing, -spacing, 2.0, 1.0])
            write_volume(folder / where / f"n_{number}.nii.gz", np.stack(slices, -1), affine)


def by_id(found: Fingerprint) -> dict[str, CaseFacts]:
    return {case.id: case for case in found.cases}


def test_pictures_and_clips_are_measured_in_pixels(pictures):
    found, clip = by_id(pictures)["case_1"], by_id(pictures)["clip"]
    assert (pictures.errors, pictures.flat, pictures.unit, pictures.size_unit) == ([], True, "px", "px")
    assert (found.shape, found.spacing, found.axes, clip.axes) == ((*flat.SIZE, 1), (1, 1, 1), "image", "clip")
    assert clip.shape == (*flat.SIZE, 3)
    labels = [flat.frame(seed)[1] for seed in (4, 5, 6)]
    assert found.volumes == {number: (flat.frame(1)[1] == number).sum() for number in (1, 2)}
    assert clip.volumes == {
        number: pytest.approx(np.mean([(one == number).sum() for one in labels])) for number in (1, 2)
    }
    assert found.channels[0].image_mean == pytest.approx(flat.frame(1)[0].mean())


def test_volumes_of_one_slice_are_images_in_mm_and_of_several_clips_where_the_data_set_says_so(tmp_path):
    write_nifti(tmp_path / "one", 3, 1, 0.5)
    found = fingerprint(tmp_path / "one")
    assert (found.flat, found.unit, found.size_unit) == (True, "mm", "mm2")
    first = by_id(found)["n_0"]
    assert first.spacing == (0.5, 0.5, 1.0)
    assert first.volumes[1] == pytest.approx((flat.frame(0)[1] == 1).sum() * 0.25)
    write_nifti(tmp_path / "several", 2, 4, 0.5)
    assert not fingerprint(tmp_path / "several").flat
    (tmp_path / "several" / "dataset.json").write_text(json.dumps({"axis": "time"}), encoding="utf-8")
    assert {case.axes for case in fingerprint(tmp_path / "several").cases} == {"clip"}


def test_volumes_among_images_and_pictures_among_those_with_a_spacing_are_errors(pictures):
    cases = pictures.cases
    odd = replace(cases[0], axes="volume", spacing_known=False, image_hash="x")
    mixed = take_apart(pictures, [odd, *cases[1:]])
    assert [problem.case_id for problem in mixed.errors if problem.kind == "axes"] == [odd.id]
    known = replace(cases[0], spacing_known=True)
    told = take_apart(pictures, [known, *cases[1:]]).errors
    assert [(problem.case_id, problem.kind) for problem in told] == [(known.id, "spacing")]


def take_apart(found: Fingerprint, cases: list[CaseFacts]) -> Fingerprint:
    return merge(found.dataset, cases, [], 0.0)


def test_the_network_is_flat_and_so_is_all_that_is_written(pictures, tmp_path):
    plan = make_plan(pictures, "heads", overrides=SMALL)
    assert plan.spacing == (1, 1, 1)
    assert plan.patch == plan.shape == (*flat.SIZE, 1)
    assert {kernel[2] for kernel in plan.kernels} == {1}
    assert {kernel[:2] for kernel in plan.kernels} == {(3, 3)}
    assert [stride[:2] for stride in plan.strides] == [(1, 1), (2, 2), (2, 2)] + [(2, 2)] * (len(plan.strides) - 3)
    assert {stride[2] for stride in plan.strides} == {1}
    bundle = write_plan(plan, pictures, tmp_path)
    assert bundle.flat
    assert json.loads((bundle.folder / METADATA).read_text(encoding="utf-8"))["uncertainty"]["dimensions"] == 2
    kinds = [type(transform).__name__ for transform in bundle.preprocessing().transforms]
    assert kinds == ["ReadCased", "Spacingd", "NormaliseChannelsd"]
    write_page(tmp_path / "plan.html", pictures, plan)
    page = re.sub(r"base64,[^\"]*", "", (tmp_path / "plan.html").read_text(encoding="utf-8"))
    assert "mL" not in page
    assert re.findall(r"\bmm\b", page) == re.findall(r"\bmm\b", "pictures say nothing of mm")
    assert "40 × 32 pixels, 3 frames; nobody says how large a pixel is" in page


def test_where_time_is_short_there_are_fewer_images_in_a_step_before_they_are_cut():
    found = big(256)
    roomy, tight, tighter = (
        make_plan(found, "heads", hours=1, try_step=lambda plan, s=s: Trial(s * pixels(plan) / 8e4, 0.1, 1))
        for s in (0.1, 3.0, 60.0)
    )
    assert (roomy.patch, roomy.batch_size) == ((256, 256, 1), 8)
    assert tight.patch == (256, 256, 1)
    assert 2 <= tight.batch_size < 8
    assert (tighter.batch_size, tighter.patch[0] < 256) == (2, True)


def pixels(plan) -> int:
    return plan.batch_size * int(np.prod(plan.patch))


def big(side: int) -> Fingerprint:
    """Of 400 images that need not be there."""
    made = found_elsewhere((side, side, 1), (1, 1, 1), count=400)
    return merge(made.dataset, [replace(case, axes="image", spacing_known=False) for case in made.cases], [], 0.1)


def test_with_a_spacing_sizes_are_in_mm_and_the_grid_is_its_median(tmp_path):
    write_nifti(tmp_path / "data", 4, 1, 0.5)
    found = fingerprint(tmp_path / "data")
    plan = make_plan(found, "heads", overrides=SMALL)
    assert plan.spacing == (0.5, 0.5, 1.0)
    assert {kernel[2] for kernel in plan.kernels} == {1}
    write_page(tmp_path / "plan.html", found, plan)
    page = (tmp_path / "plan.html").read_text(encoding="utf-8")
    assert "40 × 32 pixels, of 0.5 × 0.5 mm." in page
    assert "median mm2" in page


@pytest.mark.parametrize("clahe", [False, True])
def test_a_frame_of_a_clip_is_prepared_as_it_is_alone(pictures, tmp_path, clahe):
    bundle = write_plan(make_plan(pictures, "heads", overrides=replace(SMALL, clahe=clahe)), pictures, tmp_path)
    folder, prepared = pictures.dataset.folder, bundle.preprocessing()
    clip = prepared({"image": str(folder / "images" / "clip")})["image"]
    for number in range(3):
        frame = folder / "images" / "clip" / f"{number}.png"
        np.testing.assert_array_equal(clip[..., number], prepared({"image": str(frame)})["image"][..., 0])
    assert ("EqualiseLocallyd" in str(bundle.config["preprocessing"])) == clahe


def test_a_clip_with_another_step_from_frame_to_frame_keeps_its_frames(pictures, tmp_path):
    write_nifti(tmp_path / "data", 1, 4, 1.0)  # 2 mm from frame to frame, says the header
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({"axis": "time"}), encoding="utf-8")
    bundle = write_plan(make_plan(pictures, "heads", overrides=SMALL), pictures, tmp_path)
    image = bundle.preprocessing()({"image": str(tmp_path / "data" / "images" / "n_0.nii.gz")})["image"]
    assert image.shape == (1, *flat.SIZE, 4)


def test_augmentation_stays_in_the_frame(pictures, tmp_path):
    bundle = write_plan(make_plan(pictures, "heads", overrides=SMALL), pictures, tmp_path)
    transforms = read_config(Bundle.load(bundle.folder).folder / TRAINING).get_parsed_content("augmentation")
    shape = (1, *flat.SIZE, 1)
    image, label = np.full(shape, 7.0, np.float32), np.ones(shape, np.float32)
    for seed in range(5):
        transforms.set_random_state(seed)
        moved = transforms({"image": image, "label": label})
        assert moved["image"].shape == shape
        assert (moved["label"] == 1).all()  # nothing came in from beside the slice


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Overrides(patch=(32, 32, 4)), "--patch 32,32,4: of images the third is 1"),
        (Overrides(spacing=(1, 1, 2)), "--spacing 1,1,2: of images the third is 1"),
        (Overrides(symmetries=[0, 2]), "images have axes 0 .columns. and 1 .rows."),
        (Overrides(patch=(31, 32, 1)), "with voxels of 1 x 1 px the network"),
    ],
)
def test_what_has_no_third_axis_is_refused_with_what_may_be(pictures, given, message):
    with pytest.raises(InputError, match=message):
        make_plan(pictures, "heads", overrides=given)
