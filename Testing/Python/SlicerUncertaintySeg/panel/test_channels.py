"""A model of two channels in the panel: a volume for each, guessed by name, sent together, segmented on the first."""

from __future__ import annotations

import dataclasses
import shutil

import nibabel as nib
import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

import qt

from Testing.Python.servers import SERVE
from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from Testing.Python.SlicerUncertaintySeg.scene.test_intake import add_volume
from UncertaintySegLib.logic import report, report_page
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.segment_section import SegmentSection

MODEL = "pair_deterministic"


@pytest.fixture(scope="module")
def pair(launch, tmp_path_factory):
    """A model of two channels, and one of one channel, over one scan."""
    from Testing.Python.uncertaintyseg import tiny

    folder = tmp_path_factory.mktemp("pair")
    tiny.write_phantoms(folder, 1)
    tiny.write_two_channel_bundle(folder / "models")
    tiny.give_random_weights(tiny.write_bundle(folder / "models"))
    command = [*SERVE, "--models", str(folder / "models"), "--cache", str(folder / "cache")]
    server = launch(command, [folder / "images" / "case_0.nii.gz"])
    server.folder = folder
    return server


@pytest.fixture
def annotator(host, pair, tmp_path):
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    with sitting_at([CasesSection, SegmentSection], tmp_path / "downloads") as annotator:
        annotator.connect(pair.url)
        annotator.cases.ui.sceneGroupBox.collapsed = False
        yield annotator


@pytest.fixture
def channels(tmp_path):
    """The two channels as nodes, named as a hospital might, and where the model must see what."""
    from Testing.Python.uncertaintyseg import tiny

    files, truth = tiny.write_two_channels(tmp_path)
    found = []
    for name, file in zip(("9 Ax T1 post", "4 Low-dose CT"), files, strict=True):
        image = nib.load(file)
        volume = add_volume(image.affine, name)
        slicer.util.updateVolumeFromArray(volume, np.asarray(image.dataobj, np.float32).transpose(2, 1, 0))
        found.append(volume)
    return *found, truth


def choose(annotator, model: str) -> None:
    annotator.session.state.model = model
    annotator.session.changed.emit()
    annotator.desktop.process_events()


def test_a_model_of_one_channel_shows_one_selector(annotator):
    choose(annotator, "tiny_deterministic")
    ui = annotator.cases.ui
    assert not ui.channelsWidget.visible
    assert ui.volumeLabel.text == "Volume:"


def test_the_selectors_of_all_channels_begin_in_one_column_however_long_their_names(annotator, channels):
    ui, box = annotator.cases.ui, annotator.cases._intake.channels
    for names in (("T1", "CT"), ("CT", "T1 with contrast agent"), ("T2 weighted, fat suppressed", "CT", "PET")):
        model = dataclasses.replace(annotator.session.state.info.models[MODEL], channels=names)
        annotator.session.state.info.models[MODEL] = model
        choose(annotator, MODEL)
        ui.volumeComboBox.setCurrentNode(channels[0])
        for selector, node in zip(box.selectors.values(), (channels[1], None), strict=False):
            selector.setCurrentNode(node)
        annotator.desktop.process_events()
        fields = [ui.volumeComboBox, *box.selectors.values()]
        if len(names) == 2:  # all are chosen
            fields.append(ui.uploadNameLineEdit)
        assert all(field.isVisible() for field in fields)
        assert len({field.mapToGlobal(qt.QPoint(0, 0)).x() for field in fields}) == 1, names


def test_a_folder_of_channels_is_segmented_case_by_case(annotator, pair, tmp_path, monkeypatch):
    from Testing.Python.uncertaintyseg import tiny

    folder = tmp_path / "scans"
    folder.mkdir()
    files, _ = tiny.write_two_channels(tmp_path)
    for number, file in enumerate(files):
        shutil.copy(file, folder / f"sent_{number:04d}.nii.gz")
    asked = []
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_arguments: str(folder))
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_, **__: asked.append(text) or True)
    choose(annotator, MODEL)
    batch = annotator.cases.batch
    try:
        annotator.click(annotator.cases.ui.batchFolderButton)
        annotator.desktop.wait_until(lambda: not batch.running)
        assert "All voxels of 1 scans" in asked[0]
        assert (batch.failed, batch.text) == ({}, f"1 of 1 cases are segmented and scored by {MODEL}.")
        assert (pair.studies / "sent_0001.nii.gz").is_file()
    finally:
        pair.http.delete("/datastore/image", params={"id": "sent"})
    shutil.copy(folder / "sent_0000.nii.gz", folder / "half_0000.nii.gz")
    annotator.click(annotator.cases.ui.batchFolderButton)
    assert not batch.running
    assert annotator.status.startswith("half_0000.nii.gz: the model takes 2 channels (T1, CT), one file each")
    assert len(asked) == 1


def test_the_volumes_of_all_channels_are_sent_and_segmented_on_the_first(annotator, pair, channels, tmp_path):
    t1, ct, truth = channels
    add_volume(name="something else")
    choose(annotator, MODEL)
    ui, box = annotator.cases.ui, annotator.cases._intake.channels
    assert ui.volumeLabel.text == "T1:"
    assert list(box.selectors) == ["CT"]
    ui.volumeComboBox.setCurrentNode(t1)
    assert box.selectors["CT"].currentNode() is ct  # by its name
    annotator.desktop.process_events()
    assert "All voxels of 9 Ax T1 post, 4 Low-dose CT" in ui.consentLabel.text
    annotator.tick(ui.consentCheckBox)
    annotator.picture(tmp_path / "channels.png")
    annotator.click(ui.uploadButton)
    annotator.wait()
    image = ui.uploadNameLineEdit.text
    try:
        assert annotator.status == f"{image} is on the server: run a model on it."
        stored = [pair.studies / f"{image}_{number:04d}.nii" for number in range(2)]
        for node, file in zip((t1, ct), stored, strict=True):
            np.testing.assert_array_equal(
                np.asarray(nib.load(file).dataobj).transpose(2, 1, 0), slicer.util.arrayFromVolume(node)
            )
        assert not list((annotator.session.folder / "uploads").iterdir())
        model = annotator.session.state.info.models[MODEL]
        assert model.channels == ("T1", "CT")
        annotator.segment.inference.run(model)
        annotator.wait()
        assert annotator.status.startswith(f"{image} segmented by {MODEL}"), annotator.status
        assert annotator.scene.scan is t1
        drawn = annotator.scene.label_ids()
        assert float((drawn.transpose(2, 1, 0) == truth).mean()) > 0.99
        page = report_page.html(report.gather(annotator.session))
        assert f"pictures show T1; T1: {image}_0000.nii; CT: {image}_0001.nii" in page
    finally:
        pair.http.delete("/datastore/image", params={"id": image})


def test_what_was_sent_with_a_volume_is_chosen_again_with_it(annotator, channels):
    t1, ct, _ = channels
    choose(annotator, MODEL)
    ui, box = annotator.cases.ui, annotator.cases._intake.channels
    other = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, ct, "repeated")
    ui.volumeComboBox.setCurrentNode(t1)
    box.selectors["CT"].setCurrentNode(other)
    box.remember(t1)
    box.selectors["CT"].setCurrentNode(ct)
    ui.volumeComboBox.setCurrentNode(None)
    ui.volumeComboBox.setCurrentNode(t1)
    assert box.selectors["CT"].currentNode() is other


def test_channels_that_do_not_fit_are_refused_before_anything_is_sent(annotator, channels):
    t1, ct, _ = channels
    choose(annotator, MODEL)
    ui, box = annotator.cases.ui, annotator.cases._intake.channels
    ui.volumeComboBox.setCurrentNode(t1)
    for node, message in (
        (None, "Choose the volume for CT."),
        (t1, "One volume is chosen for two channels"),
        (add_volume(name="another"), "CT (another) lies on another grid than T1"),
    ):
        box.selectors["CT"].setCurrentNode(node)
        annotator.desktop.process_events()
        assert message in ui.volumeProblemLabel.text
        assert not ui.consentCheckBox.visible
    box.selectors["CT"].setCurrentNode(ct)
    assert ui.consentCheckBox.visible


def test_swapped_channels_are_asked_about_and_run_where_a_person_says_so(annotator, pair, channels, monkeypatch):
    t1, ct, _ = channels
    choose(annotator, MODEL)
    ui, box = annotator.cases.ui, annotator.cases._intake.channels
    ui.volumeComboBox.setCurrentNode(ct)
    box.selectors["CT"].setCurrentNode(t1)
    annotator.tick(ui.consentCheckBox)
    annotator.click(ui.uploadButton)
    annotator.wait()
    image = annotator.session.state.sample.id
    asked = []
    try:
        for answer in (False, True):
            annotator.segment.inference.may_run = lambda text, answer=answer: asked.append(text) or answer
            annotator.segment.inference.run(annotator.session.state.info.models[MODEL])
            annotator.wait()
        assert len(asked) == 2
        assert "T1 looks like CT and CT does not: channels swapped?" in asked[0]
        assert annotator.status.startswith(f"{image} segmented by"), annotator.status
    finally:
        pair.http.delete("/datastore/image", params={"id": image})


def test_a_case_of_one_channel_is_refused_with_what_the_model_takes(annotator):
    choose(annotator, MODEL)
    annotator.cases.cases.open("case_0")
    annotator.wait()
    annotator.segment.inference.run(annotator.session.state.info.models[MODEL])
    annotator.wait()
    assert "takes 2 channels (T1, CT)" in annotator.status
