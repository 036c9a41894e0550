"""Images and clips on a real server: its own studies are decoded, a client's pictures are not, 2D and 3D keep apart."""

from __future__ import annotations

import gzip
import json
import tempfile
import zipfile
from io import BytesIO

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from Testing.Python.servers import ROOT, Server
from Testing.Python.uncertaintyseg import flat, ultrasound_files
from uncertaintyseg.data.nifti_notes import notes_in
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume

MODEL, SOLID = "flat_low_rank", "tiny_low_rank"
AREA = 0.2 * 0.3
"""mm2 of a pixel of the cine."""
FRAMES = np.stack([flat.frame(seed)[0] for seed in (0, 1, 2)])


@pytest.fixture(scope="module")
def served(launch, tmp_path_factory) -> Server:
    """A 2D model and a 3D one over a picture, a folder of frames, a cine, a volume, and a picture that is none."""
    server = flat.serve(launch, tmp_path_factory.mktemp("flat"))
    studies = server.studies
    flat.write_png(studies / "again.png", FRAMES[0])
    for number, frame in enumerate(FRAMES):
        flat.write_png(studies / "uneven" / f"{number}.png", frame[: 30 + number])
    ultrasound_files.write(studies / "cine.dcm", FRAMES, regions=[ultrasound_files.region(0.02, 0.03)])
    (studies / "ward").mkdir()
    write_volume(studies / "ward" / "v.nii.gz", np.random.default_rng(0).normal(size=(24, 24, 24)), np.eye(4))
    server.wait_until(lambda: server.images() == ["again", "cine", "picture", "sweep", "uneven", "ward__v"])
    return server


@pytest.fixture(scope="module")
def sweep(served) -> dict:
    state = served.infer(MODEL, "sweep")
    assert state["state"] == "done", state
    return state["result"]["risk"]


def detail(answer, status=400) -> str:
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


def sent(values: np.ndarray, end: str, folder) -> tuple[str, bytes]:
    """Frames `[frame, row, column]` as ITK writes them."""
    path = folder / f"sent{end}"
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    return path.name, path.read_bytes()


def label_bytes(shape, affine=None) -> bytes:
    values = np.zeros(shape, np.uint8)
    values[4:12, 4:12] = 1
    image = nib.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0]) if affine is None else affine)
    return gzip.compress(image.to_bytes())


def test_a_clip_of_the_studies_is_told_frame_by_frame_in_pixels(served, sweep):
    assert (sweep["axis"], sweep["size_unit"], sweep["spacing_mm"]) == ("time", "px", None)
    label = served.volume(f"/uncertainty/v1/results/{sweep['result']}/label.nii.gz")
    values = np.asarray(label.dataobj)
    assert values.shape == (*flat.SIZE, 3)
    assert sweep["frames"]["area"]["organ"] == (values == 1).sum((0, 1)).tolist()
    assert notes_in(label.header) == {"axis": "time", "spacing_known": False}
    assert len(sweep["frames"]["expected_error"]) == 3
    assert all(region["frame"] == region["ijk"][2] for region in sweep["regions"])
    rows = {row["id"]: row for row in served.http.get("/uncertainty/v1/cases").json()["cases"]}
    assert rows["sweep"]["axis"] == "time"
    assert {name: rows[name]["axis"] for name in ("picture", "ward__v")} == {"picture": None, "ward__v": None}


def test_an_image_is_answered_as_the_frame_of_the_clip_and_a_cine_in_square_millimetres(served, sweep):
    image = served.infer(MODEL, "picture")["result"]["risk"]
    assert (image["axis"], image["size_unit"], image["spacing_mm"], image["frames"]) == (None, "px", None, None)
    for row, area in ((row["name"], row["volume_ml"]) for row in image["structures"]):
        assert sweep["frames"]["area"][row][0] == pytest.approx(area, abs=1e-3)
    cine = served.infer(MODEL, "cine")["result"]["risk"]
    assert (cine["axis"], cine["size_unit"]) == ("time", "mm2")
    assert cine["spacing_mm"] == pytest.approx([0.2, 0.3])
    label = np.asarray(served.volume(f"/uncertainty/v1/results/{cine['result']}/label.nii.gz").dataobj)
    assert cine["frames"]["area"]["organ"] == pytest.approx((label == 1).sum((0, 1)) * AREA, abs=1e-3)


def test_a_scan_of_the_studies_is_sent_as_nifti_that_says_what_it_is(served, tmp_path):
    for image, clip in (("sweep", True), ("picture", False)):
        (tmp_path / "got.nii.gz").write_bytes(served.http.get(f"/datastore/image?image={image}").content)
        found = read_scan(tmp_path / "got.nii.gz")
        assert found.meta.get("axis") == ("time" if clip else None)
        np.testing.assert_array_equal(found[0, ..., 0].numpy(), FRAMES[0].T)


def test_a_picture_that_cannot_be_decoded_is_refused_and_left_out_of_a_batch(served):
    message = detail(served.http.post(f"/infer/{MODEL}?image=uneven"))
    assert "1.png: 40 x 31 pixels, the first frame has 40 x 30: a clip has frames of one size" in message
    state = served.ended(served.job(kind="score", model=MODEL))
    assert state["state"] == "done", state
    assert {"picture", "sweep", "cine"} <= set(state["result"]["scores"])
    assert "uneven" not in state["result"]["scores"]
    assert state["result"]["failed"]["uneven"].startswith("uneven/1.png: 40 x 31 pixels")
    assert "is 2D" in state["result"]["failed"]["ward__v"]
    best = served.http.post("/activelearning/predictive_entropy", json={"model": MODEL, "peek": True}).json()
    scored = {"again": None, "picture": None, "sweep": "time", "cine": "time"}
    assert best["axis"] == scored[best["id"]]
    strategies = served.http.get("/info/").json()["strategies"]
    assert strategies
    for name in strategies:
        answer = served.http.post(f"/activelearning/{name}", json={"model": MODEL, "peek": True, "count": 2, "seed": 1})
        if "choose a model with" in answer.text:  # its scores are of other heads
            continue
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["samples"]) == 2


def test_no_answer_to_somebody_without_log_in_says_where_the_server_keeps_its_files(served):
    """What was decoded lies in the cache, the rest in the studies: errors name the case, now and in jobs read later."""
    http = served.http
    refused = [http.post(f"/infer/{SOLID}?image=sweep"), http.post(f"/infer/{MODEL}?image=ward__v")]
    assert [detail(answer).split(":")[0] for answer in refused] == ["sweep.nii.gz", "ward/v.nii.gz"]
    assert served.infer(SOLID, "cine")["error"].startswith("cine.nii.gz: ")
    for kind in ("score", "batch"):
        failed = served.ended(served.job(kind=kind, model=SOLID))["result"]["failed"]
        assert {image: failed[image].split(":")[0] for image in ("cine", "sweep")} == {
            "cine": "cine.nii.gz", "sweep": "sweep.nii.gz",
        }  # fmt: skip
    assert http.post("/train/", json={"model": MODEL}).json()[MODEL]["detail"]
    told = ["/scoring/?all=true", "/batch/infer?all=true", "/datastore/", "/datastore/?output=all", "/info/"]
    told += ["/uncertainty/v1/jobs", "/uncertainty/v1/cases", "/uncertainty/v1/models"]
    answers = [*refused, *map(http.get, told), http.post(f"/infer/{MODEL}?image=picture")]
    for answer in answers:
        assert tempfile.gettempdir().encode() not in answer.content, answer.url
        assert str(ROOT).encode() not in answer.content, answer.url
    log = served.log.read_text(encoding="utf-8")
    assert f"{served.studies.resolve() / 'ward' / 'v.nii.gz'}: a volume" in log


@pytest.mark.parametrize("road", ["image", "session", "infer"])
@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.tif", "a.dcm"])
def test_a_clients_picture_is_the_clients_to_decode(served, road, name, tmp_path):
    buffer = BytesIO()
    Image.fromarray(FRAMES[0]).save(buffer, "PNG")
    data = buffer.getvalue()
    if name == "a.dcm":
        data = ultrasound_files.write(tmp_path / name, FRAMES).read_bytes()
    before = served.images()
    if road == "session":
        answer = served.http.put("/session/", files={"files": (name, data)})
    elif road == "image":
        answer = served.http.put("/datastore/image", files={"file": (name, data)})
    else:
        answer = served.http.post(f"/infer/{MODEL}", files={"file": (name, data)})
    message = detail(answer)
    assert message.startswith(f"{name}: ")
    assert "which the client decodes" in message
    assert "uncertaintyseg convert" in message
    assert served.images() == before


@pytest.mark.parametrize("end", [".nii.gz", ".nii", ".mha", ".nrrd"])
def test_one_slice_of_a_client_is_an_image_by_every_road(served, end, tmp_path):
    name, data = sent(FRAMES[:1], end, tmp_path)
    said = "spacing=unknown"
    session = served.http.put(f"/session/?{said}", files={"files": (name, data)}).json()["session_id"]
    put = served.http.put(f"/datastore/image?image=mine&{said}", files={"file": (name, data)})
    assert put.status_code == 200, put.text
    roads = [
        served.http.post(f"/infer/{MODEL}?image=mine&output=json"),
        served.http.post(f"/infer/{MODEL}?session_id={session}&output=json"),
        served.http.post(f"/infer/{MODEL}?output=json&{said}", files={"file": (name, data)}),
    ]
    assert [answer.status_code for answer in roads] == [200] * 3, [answer.text for answer in roads]
    risks = [answer.json()["risk"] for answer in roads]
    assert len({risk["result"] for risk in risks}) == 1
    assert (risks[0]["size_unit"], risks[0]["axis"]) == ("px", None)
    plain = served.http.post(f"/infer/{MODEL}?output=json", files={"file": (name, data)}).json()["risk"]
    assert (plain["size_unit"], plain["spacing_mm"]) == ("mm2", [1, 1, 1])
    served.http.delete("/datastore/image?id=mine")
    served.wait_until(lambda: "picture" in served.images() and "mine" not in served.images())


def test_a_clip_of_a_client_says_so(served, sweep, tmp_path):
    name, data = sent(FRAMES, ".nrrd", tmp_path)
    put = served.http.put("/datastore/image?image=mine&axis=time&spacing=unknown", files={"file": (name, data)})
    assert put.status_code == 200, put.text
    risk = served.infer(MODEL, "mine")["result"]["risk"]
    assert (risk["axis"], risk["size_unit"]) == ("time", "px")
    assert risk["frames"]["area"] == sweep["frames"]["area"]
    assert [row["axis"] for row in served.http.get("/uncertainty/v1/cases").json()["cases"] if row["id"] == "mine"] == [
        "time"
    ]
    served.http.delete("/datastore/image?id=mine")
    unsaid = served.http.post(f"/infer/{MODEL}", files={"file": (name, data)})
    assert "a volume (40 x 32 x 3 voxels), and this model is 2D" in detail(unsaid)
    assert served.http.post(f"/infer/{MODEL}?axis=space", files={"file": (name, data)}).status_code in (400, 422)


@pytest.mark.parametrize("said", ["axis=time", "spacing=unknown"])
def test_of_a_scan_that_is_here_already_nothing_is_said_with_an_inference(served, said, tmp_path):
    """Its file has it, or it was said when it came: to pass over it would answer for something else."""
    session = served.http.put("/session/", files={"files": sent(FRAMES[:1], ".nrrd", tmp_path)}).json()["session_id"]
    for asked, way in (("image=picture", "PUT /datastore/image"), (f"session_id={session}", "PUT /session/")):
        message = detail(served.http.post(f"/infer/{MODEL}?{asked}&{said}"))
        assert message.startswith(f"{said.split('=')[0]}: is said of a scan that comes with the request")
        assert f"{way} says it" in message


def test_a_data_set_is_sent_without_the_case_that_cannot_be_read_and_says_so(served):
    spare = served.studies / "spare.png"
    flat.write_png(spare, FRAMES[1])
    served.wait_until(lambda: "spare" in served.images())
    for image in ("picture", "spare"):
        label = {"label": ("l.nii.gz", label_bytes((*flat.SIZE, 1)))}
        assert served.http.put(f"/datastore/label?image={image}", files=label).status_code == 200
    spare.write_bytes(b"damaged")
    answer = served.http.get("/datastore/dataset")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        assert sorted(archive.namelist()) == [
            "image/picture.nii.gz", "label/picture.nii.gz", "left_out.txt", "metadata.json",
        ]  # fmt: skip
        left_out = archive.read("left_out.txt").decode()
    assert left_out.startswith("spare: spare.png: not a readable picture")
    assert len(left_out.splitlines()) == 1
    served.remove_label("picture")
    assert detail(served.http.get("/datastore/dataset")).startswith("spare.png: not a readable picture")
    served.http.delete("/datastore/image?id=spare")
    served.wait_until(lambda: "spare" not in served.images())


def test_models_say_their_dimensions_and_refuse_what_has_others(served):
    models = served.http.get("/info/").json()["models"]
    assert {name: (models[name]["dimension"], models[name]["dimensions"]) for name in (MODEL, SOLID)} == {
        MODEL: (2, 2), SOLID: (3, 3),
    }  # fmt: skip
    listed = served.http.get(f"/uncertainty/v1/models/{MODEL}").json()
    assert listed["dimensions"] == 2
    assert "clip of 3 frames" in detail(served.http.post(f"/infer/{SOLID}?image=sweep"))
    assert "one slice thick" in detail(served.http.post(f"/infer/{SOLID}?image=picture"))
    assert "this model is 2D" in detail(served.http.post(f"/infer/{MODEL}?image=ward__v"))
    assert "this model is 3D" in served.infer(SOLID, "cine")["error"]


def test_labels_of_images_and_clips_are_checked_alike(served):
    for image, frames in (("picture", 1), ("sweep", 3)):
        good = {"label": ("l.nii.gz", label_bytes((*flat.SIZE, frames)))}
        saved = served.http.put(
            f"/datastore/label?image={image}", data={"params": json.dumps({"model": MODEL})}, files=good
        )
        assert saved.status_code == 200, saved.text
        other = {"label": ("l.nii.gz", label_bytes((flat.SIZE[0], flat.SIZE[1] - 1, frames)))}
        assert "voxels" in detail(served.http.put(f"/datastore/label?image={image}", files=other))
        mask = {"label": ("l.png", b"x")}
        assert "which the client decodes" in detail(served.http.put(f"/datastore/label?image={image}", files=mask))
    served.remove_label("picture")


def test_reviews_readers_versions_and_samples_of_a_clip_go_by_frame(served, sweep):
    """Whatever counts sizes, links voxels or grows margins does without the third axis, or refuses."""
    edited = np.zeros((*flat.SIZE, 3), np.uint8)
    edited[4:12, 4:12, 1] = 1
    data = gzip.compress(nib.Nifti1Image(edited, np.diag([-1.0, -1.0, 1.0, 1.0])).to_bytes())
    files = {"label": ("l.nii.gz", data)}
    result = f"/uncertainty/v1/results/{sweep['result']}"
    review = served.http.post(f"{result}/review", files=files)
    assert review.status_code == 200, review.text
    risk = review.json()["risk"]
    assert (risk["axis"], risk["size_unit"]) == ("time", "px")
    assert risk["frames"]["area"]["organ"] == [0, 64, 0]
    assert {row["name"]: row["volume_ml"] for row in risk["structures"]}["organ"] == pytest.approx(64 / 3, abs=1e-3)
    for name, file in (("one", label_bytes((*flat.SIZE, 3))), ("other", data)):
        params = {"params": json.dumps({"client_id": name})}
        saved = served.http.put("/datastore/label?image=sweep", files={"label": ("l.nii.gz", file)}, data=params)
        assert saved.status_code == 200, saved.text
    versions = served.http.get("/uncertainty/v1/cases/sweep/versions").json()["versions"]
    first, second = (versions[number]["id"] for number in (-2, -1))
    compared = served.http.get(f"/uncertainty/v1/cases/sweep/versions/{first}/compare?to={second}").json()
    assert (compared["axis"], compared["size_unit"]) == ("time", "px")
    assert compared["changed_ml"] == pytest.approx(compared["voxels_changed"] / 3) == pytest.approx(128 / 3)
    assert sorted((region["frame"], region["volume_ml"]) for region in compared["regions"]) == [(0, 64), (2, 64)]
    readers = served.http.get("/uncertainty/v1/cases/sweep/readers").json()
    assert [reader["reader"] for reader in readers["readers"]] == ["one", "other"]
    assert (readers["axis"], readers["size_unit"]) == ("time", "px")
    assert readers["differing_ml"] == pytest.approx(128 / 3)
    assert sorted(region["frame"] for region in readers["regions"]) == [0, 2]
    drawn = served.http.post(f"{result}/samples", json={"count": 2})
    assert drawn.status_code == 200, drawn.text
    assert drawn.json()["size_unit"] == "px"
    audited = served.http.get("/uncertainty/v1/audit?last=50").json()
    assert {"review", "save"} <= {line["event"] for line in audited if line.get("case") == "sweep"}
    served.remove_label("sweep")


REFUSED = {
    "clicks": {"foreground": [[5, 5, 1]], "label": "organ"},
    "boxes": {"boxes": [{"structure": "organ", "first": [2, 2, 0], "last": [9, 9, 2]}]},
    "lassos": {"lassos": [{"structure": "organ", "corners": [[2, 2, 0], [9, 2, 0], [9, 9, 0]]}]},
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("image", ["sweep", "picture"])
def test_what_moves_shapes_in_space_refuses_images_and_clips(served, image, kind):
    key = served.infer(MODEL, image)["result"]["risk"]["result"]
    answer = served.http.post(f"/uncertainty/v1/results/{key}/condition", json=REFUSED[kind])
    assert "an image or a clip: edit its label" in detail(answer)


def test_a_threshold_and_its_sentence_are_in_pixels(served):
    cut = served.infer(MODEL, "sweep", threshold="organ:0.3")["result"]["risk"]["threshold"]
    assert cut["size_unit"] == "px"


def test_a_removed_clip_takes_its_frames_and_nothing_else(served):
    for number in range(2):
        flat.write_png(served.studies / "gone" / f"{number}.png", FRAMES[number])
    served.wait_until(lambda: "gone" in served.images())
    assert served.http.delete("/datastore/image?id=gone").status_code == 200
    served.wait_until(lambda: "gone" not in served.images())
    assert not (served.studies / "gone").exists()
    assert (served.studies / "sweep" / "0.png").is_file()
