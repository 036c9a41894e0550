"""After an edit: what the server says of the label, how it gets there, and what is never lost."""

from __future__ import annotations

import dataclasses
import json

import nibabel as nib
import numpy as np
import slicer

from Testing.Python.SlicerUncertaintySeg.panel.reviewer import regions_of
from UncertaintySegLib.logic.decisions import ACCEPTED, Decision
from UncertaintySegLib.server.results import Structure


def test_after_an_edit_the_server_reviews_the_label_that_is_drawn(connected, wire_server, tmp_path):
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    connected.reviewed()
    _query, name, content, params = wire_server.uploads[0]
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / name).dataobj), connected.drawn())
    assert params == {"trusted": "edits", "accepted": []}
    assert connected.session.state.result.key == "r3v"
    assert connected.session.state.base.key == "k3y"
    assert "mL are still expected to be wrong" in connected.ui.reviewLabel.text


def test_of_a_label_from_elsewhere_only_what_was_drawn_here_is_trusted(connected, wire_server):
    state = connected.session.state
    state.result = dataclasses.replace(state.result, provenance={"params": {"trusted": "none"}})
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    changed = np.argwhere(connected.changed())
    connected.reviewed()
    box = [changed.min(axis=0).tolist(), changed.max(axis=0).tolist()]
    assert wire_server.uploads[0][3] == {"trusted": "none", "accepted": [box]}


def test_regions_that_are_accepted_are_sent_with_the_next_review(connected, phantom_case, wire_server):
    [region] = regions_of(phantom_case, [("organ", (2, 3, 4), ((1, 2, 3), (4, 5, 6)), 0.1)])
    connected.session.state.decisions = (Decision(region, ACCEPTED),)
    connected.session.review_wanted.emit()
    connected.reviewed()
    assert wire_server.uploads[0][3]["accepted"] == [[[1, 2, 3], [4, 5, 6]]]


def test_what_clicks_have_redrawn_is_saved_with_the_clicks(connected, phantom_case, tmp_path):
    label = nib.load(phantom_case.label)
    moved = nib.Nifti1Image(np.roll(np.asarray(label.dataobj), 2, axis=0), label.affine)
    moved.to_filename(tmp_path / "moved.nii")
    session = connected.session
    session.state.corrections = {"organ": [[26, 20, 11]]}
    session.show_result(session.state.result, tmp_path / "moved.nii", {}, base=session.state.base)
    connected.section.on_autosave()
    (draft,) = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "drafts").glob("*/draft.json")]
    assert draft["corrections"] == {"organ": [[26, 20, 11]]}
    saved = nib.load(next((tmp_path / "drafts").glob("*/label-*.nii")))
    np.testing.assert_array_equal(np.asarray(saved.dataobj), np.asarray(moved.dataobj))


def test_the_key_submits_and_goes_on(connected):
    wanted = []
    connected.session.next_wanted.connect(lambda: wanted.append(True))
    connected.section.actions()["submit"]()
    connected.wait(lambda: not connected.session.busy)
    assert wanted


def test_only_the_newest_review_counts(connected, wire_server, tmp_path):
    wire_server.delays["/uncertainty/v1/results/k3y/review"] = 0.5
    connected.choose("organ")
    for ijk in ((26, 7, 11), (26, 33, 11)):
        connected.erase(ijk, 5.0)
        connected.section.reviewing.review()
    connected.reviewed()
    assert connected.session.state.result.key == "r3v"
    assert not connected.session.worker.pending


def test_without_the_server_volumes_are_counted_here_and_it_is_asked_again(connected, wire_server):
    wire_server.refusals["/uncertainty/v1/results"] = (503, b"{}")
    url, connected.session.url = connected.session.url, "http://127.0.0.1:9"
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    connected.wait(lambda: connected.section.reviewing.is_due)
    rows = {row.id: row for row in connected.session.state.result.structures}
    assert "counted here" in connected.ui.reviewLabel.text
    assert all(row.flag == "Risk not estimated" for row in rows.values())
    del wire_server.refusals["/uncertainty/v1/results"]
    connected.session.url = url
    connected.section.on_retry()
    connected.reviewed()
    assert not connected.section.reviewing.is_due


def test_submit_sends_the_label_as_drawn_with_what_it_came_from(connected, wire_server, tmp_path):
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    expected, count = connected.drawn(), int(connected.changed().sum())
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: not connected.session.busy)
    text = connected.session.state.message
    assert text.startswith(f"The label of phantom_1 is saved: {count} voxels (")
    query, name, content, params = next(upload for upload in wire_server.uploads if upload[0])
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / name).dataobj), expected)
    np.testing.assert_allclose(nib.load(tmp_path / name).affine, connected.affine, atol=1e-4)
    assert query == {"image": ["phantom_1"], "tag": ["final"]}
    assert params["result"] == "k3y"
    assert params["seconds_open"] >= 0
    assert "verified" not in params  # the label as a whole
    assert not connected.scene.edited
    assert not list((tmp_path / "drafts").glob("*/draft.json"))


def test_a_label_may_count_only_where_somebody_is_done_with_it(connected, phantom_case, wire_server):
    connected.ui.finishedOnlyCheckBox.setChecked(True)
    connected.click(connected.ui.submitButton)
    assert "No region is accepted or corrected yet" in connected.session.state.message
    assert not [upload for upload in wire_server.uploads if upload[0]]
    [region] = regions_of(phantom_case, [("organ", (2, 3, 4), ((1, 2, 3), (4, 5, 6)), 0.1)])
    connected.session.state.decisions = (Decision(region, ACCEPTED),)
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    changed = np.argwhere(connected.changed())
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: not connected.session.busy)
    params = next(upload for upload in wire_server.uploads if upload[0])[3]
    drawn = [changed.min(axis=0).tolist(), changed.max(axis=0).tolist()]
    assert params["verified"] == [[[1, 2, 3], [4, 5, 6]], drawn]
    assert "It counts in the 2 places that you accepted or corrected." in connected.session.state.message


def test_a_review_that_falls_due_while_the_label_is_sent_makes_no_draft_of_it(connected, wire_server, tmp_path):
    wire_server.delays["/datastore/label"] = 1.5
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    connected.click(connected.ui.submitButton)
    connected.section.reviewing.review()  # as its timer does
    connected.wait(lambda: not connected.session.busy)
    assert not connected.scene.edited
    connected.section.reviewing.review()
    connected.reviewed()
    assert not list((tmp_path / "drafts").glob("*/draft.json"))
    connected.erase((26, 33, 11), 5.0)
    connected.section.on_autosave()
    assert len(list((tmp_path / "drafts").glob("*/draft.json"))) == 1


def test_a_review_that_falls_due_while_the_label_is_sent_lets_it_wait(connected, tmp_path):
    connected.session.url = "http://127.0.0.1:9"
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    connected.click(connected.ui.submitButton)
    connected.section.reviewing.review()
    connected.wait(lambda: not connected.session.busy)
    assert "waits here" in connected.session.state.message
    assert connected.ui.waitingLabel.text == "1 label waits to be sent."


def test_segments_that_no_model_has_are_named_as_left_out(connected):
    connected.scene.segmentation.GetSegmentation().AddEmptySegment("", "stent")
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: not connected.session.busy)
    assert connected.session.state.message.endswith("Left out, for the model has no such label: stent.")


def test_submit_and_next_asks_for_the_next_case_once_the_label_is_saved(connected):
    wanted = []
    connected.session.next_wanted.connect(lambda: wanted.append(connected.scene.edited))
    connected.click(connected.ui.submitNextButton)
    assert not wanted
    connected.wait(lambda: not connected.session.busy)
    assert wanted == [False]


def with_volumes(connected, organ_ml: float, lesion_ml: float) -> None:
    """Let the model's answer have these volumes."""
    session = connected.session
    rows = (Structure("organ", 1, organ_ml), Structure("lesion", 2, lesion_ml))
    session.state.model_result = dataclasses.replace(session.state.base, structures=rows)
    connected.section.editing.follow()


def sent(wire_server) -> int:
    return sum(upload[0] is not None for upload in wire_server.uploads)


def test_what_lost_most_of_its_volume_is_asked_about_once_before_it_is_sent(connected, wire_server):
    organ_ml = connected.section.editing.structure_ml(1)
    with_volumes(connected, 2.5 * organ_ml, 9.0)
    connected.section.editing.set_confined(False)
    contents = connected.scene.segmentation.GetSegmentation()
    contents.RemoveSegment(contents.GetSegmentIdBySegmentName("lesion"))
    answers = connected.desktop.answers
    answers.clear()
    answers.buttons.extend(["No", "Yes"])
    connected.click(connected.ui.submitButton)
    assert not connected.session.busy
    (question,) = answers.asked
    assert question.splitlines()[1:] == [
        f"organ: {2.5 * organ_ml:.1f} mL, now {organ_ml:.1f} mL",
        "lesion: 9.00 mL, now empty",
        "",
        "Send the label? (Y: yes, N or Esc: no)",
    ]
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: not connected.session.busy)
    assert len(answers.asked) == 2
    assert sent(wire_server) == 1


def test_a_label_that_kept_half_of_each_structure_is_sent_without_a_question(connected, wire_server):
    volumes = [connected.section.editing.structure_ml(label_id) for label_id in (1, 2)]
    with_volumes(connected, *(1.99 * ml for ml in volumes))
    connected.desktop.answers.clear()
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: not connected.session.busy)
    assert not connected.desktop.answers.asked
    assert sent(wire_server) == 1


def test_an_empty_label_is_sent_only_when_somebody_says_so(connected, wire_server):
    with_volumes(connected, 0.0, 0.0)  # the model found nothing
    connected.section.editing.set_confined(False)
    connected.scene.draw(np.zeros_like(connected.scene.label_ids()))
    connected.section.editing.settle()
    answers = connected.desktop.answers
    answers.clear()
    answers.buttons.extend(["No", "Yes"])
    for count in (0, 1):
        connected.click(connected.ui.submitButton)
        connected.wait(lambda: not connected.session.busy)
        assert sent(wire_server) == count
    assert answers.asked[0] == "All segments of phantom_1 are empty. Send an empty label? (Y: yes, N or Esc: no)"


def test_a_draft_knows_what_the_model_had_found_before_any_model_ran_again(connected, phantom_case, wire_server):
    from UncertaintySegLib.server.replies import Sample

    with_volumes(connected, 90.0, 0.0)
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    connected.session.open_case(Sample(phantom_case.name), phantom_case.scan)
    connected.click(connected.ui.restoreButton)
    connected.reviewed()
    connected.desktop.answers.clear()
    connected.click(connected.ui.submitButton)
    assert "organ: 90.0 mL, now " in connected.desktop.answers.asked[0]
    assert sent(wire_server) == 0


def test_of_a_label_from_elsewhere_the_place_of_a_removed_structure_is_not_trusted(connected, wire_server):
    state = connected.session.state
    state.result = dataclasses.replace(state.result, provenance={"params": {"trusted": "none"}})
    connected.section.editing.set_confined(False)
    contents = connected.scene.segmentation.GetSegmentation()
    contents.RemoveSegment(contents.GetSegmentIdBySegmentName("lesion"))
    connected.section.editing.settle()
    connected.choose("organ")
    connected.erase((20, 20, 11), 3.0)
    changed = np.argwhere(connected.changed() & (connected.label == 1))
    connected.reviewed()
    box = [changed.min(axis=0).tolist(), changed.max(axis=0).tolist()]
    assert wire_server.uploads[-1][3] == {"trusted": "none", "accepted": [box]}


def test_a_label_that_cannot_be_sent_waits_and_is_sent_by_itself(connected, wire_server, tmp_path):
    url, connected.session.url = connected.session.url, "http://127.0.0.1:9"
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    expected = connected.drawn()
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: not connected.session.busy)
    assert "waits here" in connected.session.state.message
    assert connected.ui.waitingLabel.text == "1 label waits to be sent."
    for notes in (tmp_path / "drafts").glob("*/draft.json"):  # it was for a server that is not there: for this one now
        notes.write_text(notes.read_text(encoding="utf-8").replace("http://127.0.0.1:9", url))
    connected.session.url = url
    connected.session.changed.emit()
    connected.wait(lambda: not connected.ui.waitingLabel.visible)
    _query, name, content, _params = next(upload for upload in wire_server.uploads if upload[0])
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / name).dataobj), expected)
    assert "which waited, is saved" in connected.session.state.message


def test_a_refused_label_stays_a_draft(connected, wire_server, tmp_path):
    wire_server.refusals["/datastore/label"] = (403, json.dumps({"detail": "a viewer may not save labels"}).encode())
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: not connected.session.busy)
    assert connected.session.state.message == "a viewer may not save labels"
    assert not connected.ui.waitingLabel.visible
    assert len(list((tmp_path / "drafts").glob("*/draft.json"))) == 1


def test_the_head_is_refitted_beside_the_work_and_a_refusal_is_a_sentence(connected, wire_server):
    wire_server.refusals["/uncertainty/v1/jobs"] = (403, json.dumps({"detail": "only a trainer may train"}).encode())
    connected.section.submission.fit_head("phantom_low_rank")
    assert connected.ui.refitProgressBar.visible
    assert not connected.session.busy
    connected.wait(lambda: not connected.ui.refitProgressBar.visible)
    assert connected.ui.refitLabel.text == "phantom_low_rank was not fitted: only a trainer may train"


def test_a_draft_is_offered_and_restored_exactly(connected, show_result, tmp_path):
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    expected = connected.drawn()
    connected.session.state.opened -= 100
    connected.session.close_case()
    assert connected.ui.draftLabel.text == "Unsent drafts are here of: phantom_1. Open one to restore it."
    show_result()
    assert connected.ui.draftLabel.text.startswith("An unsent draft of phantom_1 from ")
    np.testing.assert_array_equal(connected.drawn(), connected.label)
    connected.click(connected.ui.restoreButton)
    np.testing.assert_array_equal(connected.drawn(), expected)
    assert connected.session.state.seconds_open >= 100
    assert connected.scene.edited
    assert not connected.ui.draftFrame.visible
    connected.reviewed()
    assert len(list((tmp_path / "drafts").glob("*/draft.json"))) == 1


def test_a_draft_is_restored_before_any_model_ran(connected, phantom_case):
    from UncertaintySegLib.server.replies import Sample

    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    expected = connected.drawn()
    connected.session.open_case(Sample(phantom_case.name), phantom_case.scan)
    connected.click(connected.ui.restoreButton)
    np.testing.assert_array_equal(connected.drawn(), expected)
    connected.reviewed()
    assert connected.session.state.base.key == "k3y"
    connected.choose("lesion")
    connected.paint((31, 20, 11), 7.0)
    assert (connected.drawn() != expected).any()


def test_a_draft_is_discarded_only_with_consent(connected, show_result, monkeypatch):
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    connected.session.close_case()
    show_result()
    answers = [False, True]
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda _text: answers.pop(0))
    connected.click(connected.ui.discardButton)
    assert connected.ui.draftFrame.visible
    connected.click(connected.ui.discardButton)
    assert not connected.ui.draftFrame.visible


def test_closing_the_scene_saves_what_is_drawn(connected, host, tmp_path):
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    expected = connected.drawn()
    host.scene.Clear(False)
    connected.session.close_case()
    notes = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "drafts").glob("*/draft.json")]
    labels = list((tmp_path / "drafts").glob("*/label-*.nii"))
    assert [note["case"] for note in notes] == ["phantom_1"]
    np.testing.assert_array_equal(np.asarray(nib.load(labels[-1]).dataobj), expected)


def test_the_scene_may_close_while_a_label_is_sent(connected, wire_server, host):
    wire_server.delays["/datastore/label"] = 0.3
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    connected.click(connected.ui.submitButton)
    host.scene.Clear(False)
    connected.session.close_case()
    connected.wait(lambda: not connected.session.busy)
    assert connected.session.state.message.startswith("The label of phantom_1 is saved")


def test_a_full_disk_is_said_once(connected, monkeypatch):
    from UncertaintySegLib.logic import drafts

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drafts.segments, "write_ids", full)
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    connected.section.on_autosave()
    assert "is the disk full" in connected.session.state.message
    connected.session.say("")
    connected.section.on_autosave()
    assert connected.session.state.message == ""
