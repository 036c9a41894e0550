"""Prompts on scans: where they fall on slices, how a box is carried on, and what runs of every method say."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from Testing.Python.uncertaintyseg import flat, sam_folders, tiny
from uncertaintyseg.backbones import PromptedBackbone, UniverSeg
from uncertaintyseg.backbones.prompted import BOX, prompt_of
from uncertaintyseg.data.prompts import PromptBox, PromptPoint, Prompts
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError, TooLargeError
from uncertaintyseg.imports import import_model
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.methods import fits_as_prompter
from uncertaintyseg.inference.offered import offered_methods
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.prompting import LONG, Asking, check_room, prompted_volume
from uncertaintyseg.inference.prompts_from import prompts_of_label, prompts_of_model
from uncertaintyseg.inference.stream import Need

pytest.importorskip("transformers")
SHAPE = (27, 21, 10)
KEY = PromptBox(1, (8, 8, 6), (20, 20, 6))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sams")
    import_model(
        sam_folders.write_folder(folder / "sam-tiny", "sam"),
        output=folder / "models",
        labels="organ,lesion",
        name="sam",
    )
    return folder / "models"


@pytest.fixture
def bundle(models) -> Bundle:
    return Bundle.load(models / "sam")


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    tiny.write_phantoms(folder, 1, shape=(24, 20, 10), spacing=(4.0, 4.0, 8.0))
    return folder / "images" / "case_0.nii.gz"


class Bright(PromptedBackbone):
    """Finds what is bright in its box, so that it is known what must be carried on."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.structures, self.features, self.in_channels = 1, 1, 2
        self.seen: list[int] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        box = (image[:, 1:].round().to(torch.int64) & BOX) > 0
        return torch.where(box & (image[:, :1] > 0.5), 5.0, -5.0)


class Network(torch.nn.Module):
    """What `prompted_volume` needs of one."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Bright()


def cylinder(shape=(24, 20, 12), first=3, last=8) -> MetaTensor:
    """A bright rectangle of 5 x 4 pixels in slices `first` to `last`, one pixel further to the right in each."""
    values = torch.zeros(1, *shape)
    for place in range(first, last + 1):
        values[0, place : place + 5, 8:12, place] = 1.0
    return MetaTensor(values, affine=torch.diag(torch.tensor([-1.0, -1.0, 3.0, 1.0], dtype=torch.float64)))


def marks(prompts: Prompts, scan: MetaTensor | None = None) -> dict[int, tuple | None]:
    """Boxes of each slice that is asked about."""
    scan = cylinder() if scan is None else scan
    network, asking = Network(), Asking(lambda _: prompts)
    labels = [type("L", (), {"id": 1, "name": "organ"})()]
    volume, said = prompted_volume(scan, lambda data: data, network, network, labels, asking)
    assert said is prompts
    assert torch.equal(volume[:1].as_tensor(), scan.as_tensor())
    found = {place: prompt_of(volume[1, ..., place].as_tensor()) for place in range(volume.shape[-1])}
    return {place: prompt for place, prompt in found.items() if prompt.box or prompt.inside}


def test_a_box_in_one_slice_is_carried_on_both_ways_until_nothing_is_found():
    found = marks(Prompts([PromptBox(1, (4, 7, 5), (11, 13, 5))], margin=0.2))
    assert sorted(found) == [2, 3, 4, 5, 6, 7, 8, 9]  # in 2 and 9 nothing is found, and so it ends
    assert found[5].box == (4, 7, 11, 13)
    # In slice 5 columns 5 to 9 and rows 8 to 11 are bright; a fifth of 5 and of 4 pixels is one more at each end.
    assert found[6].box == found[4].box == (4, 7, 10, 12)
    assert found[7].box == (5, 7, 11, 12)


def test_a_box_over_several_slices_ends_where_it_says():
    assert sorted(marks(Prompts([PromptBox(1, (3, 7, 4), (13, 13, 7))], margin=0.2))) == [4, 5, 6, 7]


def test_of_two_boxes_over_several_slices_each_ends_where_it_says():
    boxes = [PromptBox(1, (3, 7, 3), (13, 13, 4)), PromptBox(1, (3, 7, 7), (15, 13, 8))]
    assert sorted(marks(Prompts(boxes, margin=0.2))) == [3, 4, 7, 8]


def test_two_keys_share_what_lies_between_them():
    boxes = [PromptBox(1, (3, 7, 4), (11, 13, 4)), PromptBox(1, (5, 7, 8), (15, 13, 8))]
    found = marks(Prompts(boxes, margin=0.2))
    assert sorted(found) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert (found[4].box, found[8].box) == ((3, 7, 11, 13), (5, 7, 15, 13))


def test_points_of_the_background_count_in_their_slice():
    prompts = Prompts([PromptBox(1, (4, 7, 5), (11, 13, 5))], [PromptPoint(0, (9, 9, 6))], margin=0.2)
    network = Network()
    labels = [type("L", (), {"id": 1, "name": "organ"})()]
    volume, _ = prompted_volume(cylinder(), lambda data: data, network, network, labels, Asking(lambda _: prompts))
    assert prompt_of(volume[1, ..., 6].as_tensor()).outside == [[9, 9]]
    assert prompt_of(volume[1, ..., 7].as_tensor()).outside == []


def test_a_label_asks_for_the_box_around_it_in_each_slice():
    label = np.zeros((24, 20, 12), np.uint8)
    label[5:10, 8:12, 5:7] = 1
    found = marks(Prompts(label=label, source="other", margin=0.0))
    assert {place: prompt.box for place, prompt in found.items()} == {5: (5, 8, 9, 11), 6: (5, 8, 9, 11)}


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        (Prompts([PromptBox(1, (4, 7, 12), (6, 9, 12))]), r"4,7,12 lies outside of the image, .* 0,0,0 to 23,19,11"),
        (Prompts(points=[PromptPoint(1, (-1, 7, 1))]), r"-1,7,1 lies outside of the image"),
        (Prompts(points=[PromptPoint(7, (1, 7, 1))]), r"asks for class 7; there are 1 \(organ\)"),
        (Prompts([PromptBox(1, (4, 7, 2), (3, 9, 2))]), r"the box 4,7,2; 3,9,2 ends before it begins"),
        (Prompts(points=[PromptPoint(0, (1, 7, 1))]), r"points of the background alone ask for no structure"),
        (Prompts(), r"segments what it is asked for: give a box"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(prompts, said):
    with pytest.raises(InputError, match=said):
        marks(prompts)


def test_a_margin_or_a_plane_that_is_none_is_refused():
    with pytest.raises(InputError, match="the margin 2 is no share"):
        Prompts(margin=2)
    with pytest.raises(InputError, match="the plane 'oblique' is unknown"):
        Prompts(plane="oblique")


def test_a_run_that_may_take_long_is_asked_about():
    ticks, asked = iter([0.0, 100.0, 101.0]), []  # the first look takes 100 s, the second, of a slice that is known, 1
    asking = Asking(lambda _: Prompts([KEY], margin=0.2), asked.append, lambda: next(ticks, 101.0))
    network, labels = Network(), [type("L", (), {"id": 1, "name": "organ"})()]
    prompts_in = cylinder((24, 24, 12))
    prompted_volume(prompts_in, lambda data: data, network, network, labels, asking)
    assert asked == [12 * (99 + 2 * 1)]
    assert asked[0] > LONG


def ask(predictor: Predictor, *boxes: PromptBox, **how) -> Predictor:
    predictor.asking = Asking(lambda _: Prompts(boxes or (KEY,), **how))
    return predictor


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (None, {}),
        ("dropout_injection", {"passes": 3, "p": 0.2}),
        ("prompt_jitter", {"passes": 3}),
        ("tta", {}),
        ("noise", {"passes": 2}),
        ("fused", {"options": {"dropout_injection": {"passes": 2, "p": 0.2}, "noise": {"passes": 2}}}),
    ],
)
def test_every_method_maps_the_doubt_and_encodes_a_slice_as_often_as_it_changes(method, options, bundle, scan):
    predictor = ask(Predictor(bundle, method=method, options=options), KEY, PromptBox(2, (3, 3, 3), (9, 12, 9)))
    prediction = predictor.predict(scan)
    assert prediction.label.shape == SHAPE
    assert (prediction.maps["variance"].max() > 0) == (method is not None)
    assert {"probability_organ", "probability_lesion", "predictive_entropy", "margin_risk"} <= set(prediction.maps)
    assert ("fused_uncertainty" in prediction.maps) == (method == "fused")
    assert prediction.provenance.params["prompts"]["boxes"][0] == {"label": 1, "first": [8, 8, 6], "last": [20, 20, 6]}
    slices = 10  # all of a box that is carried on without end; of random numbers it may be fewer
    looks = {"tta": 3, "noise": 2, "fused": 5}.get(method, 0)
    assert predictor.network.backbone.encoded <= slices * (1 + looks)
    again = ask(Predictor(bundle, method=method, options=options), KEY, PromptBox(2, (3, 3, 3), (9, 12, 9)))
    np.testing.assert_array_equal(again.predict(scan).maps["variance"], prediction.maps["variance"])


def test_the_plane_is_the_users_and_the_answer_lies_on_the_scans_grid(bundle, scan):
    found = {}
    for plane in ("axial", "coronal", "sagittal"):
        prediction = ask(Predictor(bundle), PromptBox(1, (8, 9, 5), (8, 9, 5)), plane=plane).predict(scan)
        asked = prediction.maps["probability_organ"] > 1e-6
        found[plane] = prediction.label
        assert prediction.label.shape == SHAPE
        assert asked[8, 9, 5]
        assert prediction.provenance.params["prompts"]["plane"] == plane
    assert not np.array_equal(found["axial"], found["coronal"])


def test_the_plane_of_one_run_is_not_that_of_the_next(bundle, scan):
    box, predictor = PromptBox(1, (8, 9, 5), (8, 9, 5)), Predictor(bundle)
    before = ask(predictor, box).predict(scan).maps["probability_organ"]
    ask(predictor, box, plane="coronal").predict(scan)
    np.testing.assert_array_equal(ask(predictor, box).predict(scan).maps["probability_organ"], before)


def test_the_prompt_is_turned_with_the_image(bundle, scan):
    predictor = ask(Predictor(bundle, method="tta", options={"symmetries": [0]}))
    found = predictor.predict(scan).maps["probability_organ"]
    plain = ask(Predictor(bundle)).predict(scan).maps["probability_organ"]
    assert found[..., 6].max() > 1e-3  # the mirrored pass asked for the mirrored box, and was turned back
    assert not np.allclose(found, plain)
    with pytest.raises(InputError, match="name symmetries of axes 0 and 1 alone, no scales"):
        Predictor(bundle, method="tta", options={"scales": [0.5, 1]})
    with pytest.raises(InputError, match="name symmetries of axes 0 and 1 alone"):
        Predictor(bundle, method="tta", options={"symmetries": [0], "faithful": False, "scales": [2]})


def test_a_slice_that_is_not_square_is_made_so_and_turned_back(bundle, tmp_path):
    values = np.random.default_rng(0).random((12, 20, 6), np.float32)
    write_volume(tmp_path / "flat.nii.gz", values, np.array([[0, 0, 2, 0], [3.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]))
    predictor = ask(Predictor(bundle), PromptBox(1, (2, 3, 2), (9, 16, 2)), plane="sagittal")
    assert predictor.predict(tmp_path / "flat.nii.gz").label.shape == (12, 20, 6)


def test_square_pixels_that_take_more_memory_than_there_is_are_refused(bundle, tmp_path):
    values = np.random.default_rng(0).random((12, 20, 6), np.float32)
    write_volume(tmp_path / "long.nii.gz", values, np.diag([1e5, 1e-3, 1.0, 1.0]))
    with pytest.raises(TooLargeError, match="are the voxel sizes in its header in mm"):
        ask(Predictor(bundle), PromptBox(1, (2, 3, 2), (9, 16, 2)), plane="axial").predict(tmp_path / "long.nii.gz")


def test_images_and_clips_have_their_slices(models, tmp_path):
    bundle = import_model(
        sam_folders.write_folder(tmp_path / "published", "sam2"), output=tmp_path / "flat", plane="images", name="sam2"
    )
    flat.write_clip(tmp_path / "clip", "film", range(5, 8))
    found = ask(Predictor(bundle), PromptBox(1, (4, 4, 1), (20, 20, 1))).predict(tmp_path / "clip" / "images" / "film")
    assert found.label.shape[2] == 3
    assert found.measure.clip


def test_prompts_come_from_another_model_and_never_from_themselves(bundle, scan, tiny_bundle, tmp_path):
    other = tiny_bundle()
    predictor = Predictor(bundle)
    predictor.asking = Asking(prompts_of_model(other, bundle, Prompts()))
    prediction = predictor.predict(scan)
    label = Predictor(other).predict(scan).label
    assert prediction.provenance.params["prompts"]["from"] == other.name
    asked = (prediction.maps["probability_organ"] > 1e-6).any((0, 1))
    np.testing.assert_array_equal(asked, (label == 1).any((0, 1)))
    with pytest.raises(InputError, match="sam has to be prompted itself"):
        prompts_of_model(bundle, bundle, Prompts())
    write_volume(tmp_path / "mine.nii.gz", label.astype(np.uint8), prediction.affine)
    predictor.asking = Asking(prompts_of_label(tmp_path / "mine.nii.gz", bundle, Prompts()))
    np.testing.assert_array_equal(predictor.predict(scan).label, prediction.label)


def test_a_model_that_was_shown_nothing_prompts_no_other(bundle, tiny_bundle, tmp_path):
    torch.save(UniverSeg((4, 5)).state_dict(), tmp_path / "us.pt")
    cold = import_model(tmp_path / "us.pt", output=tmp_path, name="cold", patch="16", labels="organ,lesion")
    assert not fits_as_prompter(cold, bundle)
    assert fits_as_prompter(tiny_bundle(), bundle)


def test_models_that_have_learnt_take_no_prompts(tiny_bundle, scan):
    with pytest.raises(InputError, match="has learnt what it segments and takes no prompts"):
        ask(Predictor(tiny_bundle())).predict(scan)
    assert "prompt_jitter" not in [method.name for method in offered_methods(tiny_bundle(seed=1))]


def test_encoded_slices_that_are_kept_make_room_for_a_scan_and_take_no_more_than_it_leaves(bundle, scan, monkeypatch):
    others = ask(Predictor(bundle))
    others.predict(scan)
    backbone = others.network.backbone
    assert backbone.kept_bytes > 0
    slice_bytes = backbone.kept_bytes // len(backbone._kept)
    predictor = ask(Predictor(bundle, method="prompt_jitter", options={"passes": 2}))
    predictor.predict(scan)
    encoded, kept = predictor.network.backbone.encoded, predictor.network.backbone.kept_bytes
    assert kept == encoded * slice_bytes

    def left_beside(found: Need, least: int) -> None:
        monkeypatch.setattr(import_module(Need.__module__), "free_memory", lambda: found.host + found.device + least)

    tight = Need(device=10**6, host=10**6, disk=0)
    left_beside(tight, slice_bytes)
    check_room(tight, predictor.network, "scan", "cpu", Path())
    assert backbone.kept_bytes > 0  # it fits beside them
    assert predictor.network.backbone.most_kept == kept + slice_bytes
    left_beside(tight, -1)
    with pytest.raises(TooLargeError):
        check_room(tight, predictor.network, "scan", "cpu", Path())
    assert backbone.kept_bytes == predictor.network.backbone.kept_bytes == 0


def test_what_a_model_of_sam_offers(bundle):
    assert {"prompt_jitter", "dropout_injection", "tta", "noise", "fused"} <= {m.name for m in offered_methods(bundle)}
