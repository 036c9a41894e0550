"""Whose numbers a label has: what was sent holds class ids, a file in the folder perhaps those of its data set."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from monailabel_app.app.datastore import FINAL, StudyDatastore
from monailabel_app.app.hand_labels import unclear_numbers
from monailabel_app.app.labelled import LabelledCases, check_reserved, check_trainable, labelled_cases
from monailabel_app.jobs.train import as_cases
from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import METADATA, Bundle
from uncertaintyseg.training.loading import read_labelled

SWAPPED, SHIFTED = {"1": 2, "2": 1}, {"5": 1, "4": 2}
"""Numbers of a data set: those of our ids the other way round, and others altogether."""


def bundle_with(folder: Path, values: dict[str, int] | None) -> Bundle:
    path = tiny.write_bundle(folder / "models") / METADATA
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["uncertainty"]["values"] = values
    path.write_text(json.dumps(metadata), encoding="utf-8")
    return Bundle.load(path.parents[1])


@pytest.fixture
def phantoms(tmp_path) -> dict[str, tuple[Path, Path]]:
    """Two scans with their labels, in class ids."""
    tiny.write_phantoms(tmp_path / "data", 2)
    return {case.id: (case.image, case.label) for case in read_cases(tmp_path / "data")}


@pytest.fixture
def open_studies(phantoms, tmp_path) -> Iterator[Callable[..., StudyDatastore]]:
    (tmp_path / "studies").mkdir()
    for image, _ in phantoms.values():
        (tmp_path / "studies" / image.name).write_bytes(image.read_bytes())
    opened = []

    def open_it(*models: Bundle) -> StudyDatastore:
        opened.append(StudyDatastore(str(tmp_path / "studies"), unclear=lambda: unclear_numbers(models)))
        return opened[-1]

    yield open_it
    for datastore in opened:
        datastore.close()


def put_there(studies: StudyDatastore | Path, label: Path, numbers: tuple[int, int, int]) -> Path:
    """Put a label into the folder, with a data set's numbers for 0, organ and lesion."""
    volume, path = read_label(label), Path(getattr(studies, "folder", studies)) / "labels" / FINAL / label.name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, np.array(numbers, np.uint8)[volume[0].numpy()], volume.affine.numpy())
    return path


def learnt(datastore: StudyDatastore, bundle: Bundle, folder: Path) -> dict[str, np.ndarray]:
    """What a training would learn of each case, by id."""
    found = labelled_cases(datastore, bundle, {bundle.name: bundle})
    check_trainable(found, bundle)
    cases = as_cases((*found.training, *found.validation), folder)
    items = read_labelled(bundle, cases, "training", lambda *_: None)
    return {case.id: np.asarray(item["label"])[0] for case, item in zip(cases, items, strict=True)}


def meant(phantoms: dict[str, tuple[Path, Path]], tmp_path: Path) -> dict[str, np.ndarray]:
    """What there is to learn, by a model that calls all structures as the labels do."""
    items = read_labelled(bundle_with(tmp_path / "plain", None), read_cases(tmp_path / "data"), "all", lambda *_: None)
    return {case: np.asarray(item["label"])[0] for case, item in zip(phantoms, items, strict=True)}


@pytest.mark.parametrize("values", [SWAPPED, SHIFTED])
def test_labels_that_were_sent_train_as_they_were_sent(phantoms, open_studies, tmp_path, values):
    bundle = bundle_with(tmp_path, values)
    datastore = open_studies(bundle)
    for case, (_, label) in phantoms.items():
        datastore.save_label(case, str(label), FINAL, {})
    datastore.restore(datastore.store.versions("case_0", FINAL)[0])  # which is still a label that was sent
    datastore.restore(datastore.store.versions("case_0", FINAL)[-1])
    assert [v.source for v in datastore.store.versions("case_0", FINAL)] == ["saved", "restored 1", "restored 3"]
    found = learnt(datastore, bundle, tmp_path)
    for case, right in meant(phantoms, tmp_path).items():
        assert {1, 2} <= set(np.unique(right))
        np.testing.assert_array_equal(found[case], right)


def test_a_file_of_the_data_set_trains_by_its_numbers_beside_a_label_that_was_sent(phantoms, open_studies, tmp_path):
    bundle = bundle_with(tmp_path, SHIFTED)
    datastore = open_studies(bundle)
    datastore.save_label("case_0", str(phantoms["case_0"][1]), FINAL, {})
    put_there(datastore, phantoms["case_1"][1], (0, 5, 4))
    datastore.refresh()
    found = learnt(datastore, bundle, tmp_path)
    for case, right in meant(phantoms, tmp_path).items():
        np.testing.assert_array_equal(found[case], right)


def test_a_file_whose_numbers_could_be_either_is_not_taken_up(phantoms, open_studies, tmp_path):
    """Taken up it would be shown by its numbers as class ids, and sent back so."""
    datastore = open_studies(bundle_with(tmp_path, SWAPPED))
    path = put_there(datastore, phantoms["case_0"][1], (0, 2, 1))
    datastore.refresh()
    reason = datastore.skipped()[f"labels/{FINAL}/{path.name}"]
    assert "the number 1 is 'lesion' in the data set of the model tiny_deterministic and 'organ' as its cl" in reason
    assert "PUT /datastore/label" in reason
    assert datastore.get_labeled_images() == []
    assert path.is_file()


def test_one_that_was_there_before_the_model_is_not_trained_or_calibrated_on(phantoms, open_studies, tmp_path):
    datastore = open_studies()
    for _, label in phantoms.values():
        put_there(datastore, label, (0, 2, 1))
    datastore.refresh()
    bundle = bundle_with(tmp_path, SWAPPED)
    cases = labelled_cases(datastore, bundle, {bundle.name: bundle})
    with pytest.raises(InputError, match=r"case_\d\.nii\.gz: the number 1 is 'lesion' in the data set"):
        check_trainable(cases, bundle)
    for case in phantoms:
        datastore.update_image_info(case, {"purpose": "calibration"})
    reserved = labelled_cases(datastore, bundle, {bundle.name: bundle}).calibration
    with pytest.raises(InputError, match="the number 1 is 'lesion'"):
        check_reserved(LabelledCases((), (), reserved * 5), bundle)


def label_of(archive: Path, case: str, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as packed:
        return Path(packed.extract(f"label/{case}.nii.gz", folder))


@pytest.mark.parametrize("values", [SWAPPED, SHIFTED])
def test_labels_that_leave_the_server_say_what_their_numbers_are(phantoms, open_studies, tmp_path, values):
    """What was sent has class ids and goes by its names; a file that somebody put there has its data set's numbers."""
    bundle = bundle_with(tmp_path, values)
    datastore = open_studies()
    noted = {"label_info": [{"name": "organ", "idx": 1}, {"name": "lesion", "idx": 2}]}
    datastore.save_label("case_0", str(phantoms["case_0"][1]), FINAL, noted)
    numbers = {ours: int(theirs) for theirs, ours in values.items()}
    put_there(datastore, phantoms["case_1"][1], (0, numbers[1], numbers[2]))
    datastore.refresh()
    archive = Path(datastore.get_dataset_archive(None))
    for case, (image, label) in phantoms.items():
        exported = Case(case, image, label_of(archive, case, tmp_path))
        read = read_case_label(exported, {"organ": 1, "lesion": 2}, **bundle.label_reading)
        np.testing.assert_array_equal(read, read_label(label))
    archive.unlink()


@pytest.mark.parametrize(
    "noted", [{}, {"label_info": [{"name": "class 1", "idx": 1}, {"name": "lesion", "idx": 2}]}, {"label_info": "mine"}]
)
def test_a_label_whose_structures_nobody_knows_by_name_leaves_as_it_is(phantoms, open_studies, tmp_path, noted):
    datastore = open_studies()
    datastore.save_label("case_0", str(phantoms["case_0"][1]), FINAL, noted)
    archive = Path(datastore.get_dataset_archive(None))
    assert label_of(archive, "case_0", tmp_path).read_bytes() == phantoms["case_0"][1].read_bytes()
    archive.unlink()
