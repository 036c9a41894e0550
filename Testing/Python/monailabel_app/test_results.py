"""The store of results: whole or absent, bounded, and closed to anything but keys."""

from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monailabel_app.errors import NotFoundError
from monailabel_app.jobs import samples
from monailabel_app.jobs.results import ResultStore
from monailabel_app.jobs.seal import sealed, with_digest, without_digest
from uncertaintyseg import wire
from uncertaintyseg.errors import InputError, StorageError
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.volumes import Block, BoxVolume, StepVolume

LABELS = [wire.Label(id=1, name="organ", rgb=(255, 0, 0))]


def prediction(seed: int = 0, size: int = 16) -> Prediction:
    entropy = np.random.default_rng(seed).uniform(0, 0.6, (size,) * 3).astype(np.float32)
    provenance = wire.Provenance(
        model="m",
        head="h",
        weights_checksum="0",
        nodes=None,
        samples=None,
        seed=seed,
        window=(1, 1, 1),
        overlap=0.5,
        device="cpu",
        dtype="float32",
        code_version="0",
        seconds={},
    )
    info = wire.MapInfo(unit="nats", range=(0, 0.7), source="total")
    label = (entropy > 0.3).astype(np.uint8)
    maps = {"predictive_entropy": entropy, "error_probability": entropy / 2}
    return Prediction(label, np.eye(4), maps, dict.fromkeys(maps, info), [], provenance, 0.3)


def key(n: int) -> str:
    return f"{n:064x}"


@pytest.fixture
def store(tmp_path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def test_a_stored_result_reads_back(store):
    store.put(key(1), prediction(), LABELS)
    report = store.report(key(1))
    assert report.case_score == 0.3
    assert (
        report.risk.maps["predictive_entropy"].url == f"/uncertainty/v1/results/{key(1)}/maps/predictive_entropy.nii.gz"
    )
    assert store.label_path(key(1)).is_file()


def test_the_files_of_a_result_make_the_same_in_another_store(store, tmp_path):
    store.put(key(1), prediction(), LABELS)
    store.map_bytes(key(1), "predictive_entropy")  # leaves a file that is no part of it
    other = ResultStore(tmp_path / "other")
    files = store.files(key(1))
    other.put_files(key(1), files, lambda report: report.risk.provenance.seed == 0)
    assert other.report(key(1)) == store.report(key(1))
    assert other.files(key(1)) == files
    other.put_files(key(1), files, lambda report: True)  # a second time changes nothing
    assert [folder.name for folder in other.root.iterdir()] == [key(1)]


def _damaged(files: dict[str, bytes], how: str) -> dict[str, bytes]:
    report = without_digest(files["report.json"])
    changes = {
        "beside it": {"../evil": b"x"},
        "a file too many": {"maps/evil.npy": b"x"},
        "other bytes": {"label.nii.gz": b"x"},
        "no bytes": {"label.nii.gz": "text"},
        "no report": {"report.json": b"{}"},
        "another key": {"report.json": with_digest(report.replace(key(1).encode(), key(2).encode()))},
        "a map outside": {
            "report.json": with_digest(report.replace(b"predictive_entropy", b"../../evil")),
            "maps/../../evil.npy": files["maps/predictive_entropy.npy"],
        },
    }
    if how == "a map outside":
        files = {name: data for name, data in files.items() if name != "maps/predictive_entropy.npy"}
    if how == "a file too few":
        return {name: data for name, data in files.items() if name != "label.nii.gz"}
    return files | changes[how]


@pytest.mark.parametrize(
    "how",
    ["beside it", "a file too many", "a file too few", "other bytes", "no bytes", "no report", "another key",
     "a map outside"],
)  # fmt: skip
def test_files_that_are_not_those_of_the_result_leave_nothing(store, tmp_path, how):
    store.put(key(1), prediction(), LABELS)
    other = ResultStore(tmp_path / "other")
    with pytest.raises(StorageError, match="is not that result"):
        other.put_files(key(1), _damaged(store.files(key(1)), how), lambda report: True)
    assert not list(other.root.iterdir())
    assert not list(tmp_path.rglob("evil*"))


def test_a_result_from_elsewhere_has_to_be_the_one_that_was_asked_for_and_fit(store, tmp_path):
    store.put(key(1), prediction(), LABELS)
    files = store.files(key(1))
    with pytest.raises(StorageError, match="is not that result"):
        ResultStore(tmp_path / "other").put_files(key(1), files, lambda report: report.risk.provenance.seed == 1)
    with pytest.raises(StorageError, match="larger than the cache may be"):
        ResultStore(tmp_path / "other", limit_bytes=1000).put_files(key(1), files, lambda report: True)
    with pytest.raises(NotFoundError):
        store.put_files("../evil", files, lambda report: True)
    assert not list((tmp_path / "other").iterdir())


def test_a_map_is_encoded_once_and_stays_the_same_bytes(store):
    store.put(key(1), prediction(), LABELS)
    first = store.map_bytes(key(1), "predictive_entropy")
    encoded = next(store.root.rglob("predictive_entropy.sent"))
    stamp = encoded.stat().st_mtime_ns
    assert store.map_bytes(key(1), "predictive_entropy") == first
    assert encoded.stat().st_mtime_ns == stamp


def test_a_compact_result_keeps_what_is_sent_and_names_maps_of_others(store):
    store.put(key(1), prediction(), LABELS)
    other = store.report(key(1)).risk.maps
    own = {"error_probability": prediction().maps["error_probability"]}
    store.put(key(2), replace(prediction(), maps=own, map_info=other), LABELS, compact=True)
    maps = store.report(key(2)).risk.maps
    assert maps["predictive_entropy"] == other["predictive_entropy"]
    assert store.map_bytes(key(2), "error_probability") == store.map_bytes(key(1), "error_probability")
    assert not list((store.root / key(2)).rglob("*.npy"))


def test_maps_come_back_within_half_a_step_and_the_error_never_smaller(store):
    made = prediction()
    store.put(key(1), made, LABELS)
    found, _ = store.prediction(key(1))
    step = 0.7 / 65535
    for name, values in made.maps.items():
        assert isinstance(found.maps[name], StepVolume)
        change = np.asarray(found.maps[name]).astype(np.float64) - values
        low, high = (0, step) if name == "error_probability" else (-step / 2 - 1e-7, step / 2)
        assert low <= change.min() <= change.max() <= high + 1e-7
        np.testing.assert_array_equal(found.maps[name][2:5, 3:, ::2], np.asarray(found.maps[name])[2:5, 3:, ::2])
        sent = nib.Nifti1Image.from_bytes(gzip.decompress(store.map_bytes(key(1), name)))
        np.testing.assert_allclose(sent.get_fdata(), np.asarray(found.maps[name]), atol=1e-6)


def test_a_structure_takes_the_room_of_its_boxes_and_is_inflated_when_asked_for(store):
    rng = np.random.default_rng(0)
    first, second = rng.random((3, 4, 5), np.float32), rng.random((2, 2, 2), np.float32)
    p = BoxVolume((400, 40, 40), [Block((5, 6, 7), first), Block((300, 30, 0), second)], total=99.5)
    nowhere = BoxVolume(p.shape, [])
    info = dict.fromkeys(("probability_organ", "probability_rib"), wire.MapInfo(unit="1", range=(0, 1), source="total"))
    made = replace(
        prediction(), label=np.zeros(p.shape, np.uint8), maps=dict(zip(info, (p, nowhere), strict=True)), map_info=info
    )
    labels = [*LABELS, wire.Label(id=2, name="rib", rgb=(0, 0, 1)), wire.Label(id=3, name="skin", rgb=(0, 0, 2))]
    made = replace(made, maps=made.maps | {"error_probability": np.zeros(p.shape, np.float32)})
    made = replace(made, map_info=info | {"error_probability": info["probability_organ"]})
    store.put(key(1), made, labels)
    files = {path.name: path.stat().st_size for path in (store.folder(key(1)) / "maps").iterdir()}
    assert files["probability_organ.npy"] == 128 + 2 * 68
    found, _ = store.prediction(key(1))
    organ = found.maps["probability_organ"]
    assert (organ.total, organ.box) == (99.5, p.box)
    np.testing.assert_allclose(organ[:, 5:31, :9], p[:, 5:31, :9], atol=0.51 / 65535)
    assert not np.asarray(found.maps["probability_rib"]).any()
    for name, wanted in (("probability_organ", p), ("probability_rib", nowhere)):
        sent = nib.Nifti1Image.from_bytes(gzip.decompress(store.map_bytes(key(1), name))).get_fdata()
        np.testing.assert_allclose(sent, np.asarray(wanted), atol=0.51 / 65535)
    omitted = store.report(key(1)).risk.omitted
    assert set(omitted) == {"variance_<structure>", "probability_<structure>"}
    assert "16 classes" in omitted["variance_<structure>"]


def test_a_result_of_another_layout_is_made_again(store):
    store.put(key(1), prediction(), LABELS)
    report = store.folder(key(1)) / "report.json"
    report.write_bytes(with_digest(without_digest(report.read_bytes()).replace(b'"bits":16', b'"bits":32')))
    assert store.report(key(1)) is None
    assert not store.folder(key(1)).exists()


def test_a_label_that_is_evicted_while_it_is_asked_for_is_gone(store, monkeypatch):
    store.put(key(1), prediction(), LABELS)
    assert store.label_bytes(key(1))
    found = store.report(key(1))
    monkeypatch.setattr(store, "existing", lambda _: shutil.rmtree(store.folder(key(1))) or found)
    with pytest.raises(NotFoundError, match="infer the image again"):
        store.label_bytes(key(1))


def test_a_map_that_says_nothing_is_refused_and_nothing_is_stored(store):
    broken = prediction()
    broken.maps["predictive_entropy"][3, 3, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        store.put(key(1), broken, LABELS)
    assert list(store.root.iterdir()) == []


def test_storing_the_same_result_twice_changes_nothing(store):
    store.put(key(1), prediction(0), LABELS)
    store.put(key(1), prediction(1), LABELS)
    assert store.report(key(1)).risk.provenance.seed == 0
    assert [path.name for path in store.root.iterdir()] == [key(1)]


def test_a_result_half_written_is_not_there(store, monkeypatch):
    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        store.put(key(1), prediction(), LABELS)
    assert store.report(key(1)) is None
    assert list(store.root.iterdir()) == []


def test_the_least_recently_used_go_first_and_the_new_one_stays(tmp_path):
    store = ResultStore(tmp_path, limit_bytes=70_000)  # room for three of about 20 kB
    for n in range(5):
        store.put(key(n), prediction(n), LABELS)
        os.utime(tmp_path / key(n), (n, n))
    store.report(key(0))  # used just now
    store.evict(keep=key(1))
    assert store.report(key(0)) is not None
    assert store.report(key(1)) is not None
    assert store.report(key(2)) is None
    assert not list(tmp_path.glob(".*"))


def test_maps_as_they_are_sent_count_too(tmp_path):
    store = ResultStore(tmp_path, limit_bytes=70_000)
    for n in range(3):
        store.put(key(n), prediction(n), LABELS)
        os.utime(tmp_path / key(n), (n, n))
    for name in ("predictive_entropy", "error_probability"):
        store.map_bytes(key(2), name)
    assert store.report(key(0)) is None
    assert store.report(key(2)) is not None


def test_what_a_killed_worker_left_is_removed_after_an_hour(store):
    old, new = store.root / ".new-old", store.root / ".new-new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    store.evict(keep=key(1))
    assert not old.exists()
    assert new.exists()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=70), st.from_regex(r"[0-9a-fA-F/.]{60,66}", fullmatch=True)))
def test_no_text_but_a_key_reaches_the_disk(store, text):
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        assert store.report(text) is None
        return
    for read in (store.report, store.label_path, lambda k: store.map_bytes(k, "variance")):
        with pytest.raises(NotFoundError):
            read(text)


def test_a_result_keeps_the_sets_of_draws_that_were_asked_for_last(tmp_path):
    store = ResultStore(tmp_path / "results")
    store.put(key(1), prediction(), LABELS)
    for seed in range(12):
        folder = tmp_path / f"set-{seed}"
        folder.mkdir()
        (folder / "0.nii.gz").write_bytes(bytes([seed]))
        table = samples._Table(volumes_ml=[{"organ": 1.0}], files=sealed(folder))
        (folder / "samples.json").write_bytes(with_digest(table.model_dump_json().encode()))
        os.utime(folder, (seed, seed))
        if seed:
            assert samples.stored_samples(store, key(1), 0, 1) is not None  # used each time
        samples._publish(folder, store, key(1), f"{seed}-1")
    kept = [seed for seed in range(12) if samples.stored_samples(store, key(1), seed, 1) is not None]
    assert kept == [0, *range(5, 12)]
    with pytest.raises(NotFoundError, match="draw them again"):
        samples.sample_path(store, key(1), "1-1-0")
