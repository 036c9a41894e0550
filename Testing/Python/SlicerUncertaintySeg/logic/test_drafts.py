"""Labels on disk: whole at every moment, one writer each, and nothing that nobody should read."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.drafts import Draft, Drafts, default_folder
from UncertaintySegLib.scene import segments

ROOT = Path(__file__).resolve().parents[4]
URL = "http://localhost:8000"


@pytest.fixture
def shown(shown_case):
    return shown_case


@pytest.fixture
def drafts(tmp_path) -> Drafts:
    drafts = Drafts(tmp_path / "drafts")
    yield drafts
    drafts.leave()


def save(drafts: Drafts, case, ids, **fields) -> Draft:
    return drafts.save(Draft(case="phantom_1", url=URL, **fields), ids, case.scan)


def test_a_draft_holds_the_label_voxel_for_voxel(shown, drafts, phantom_case):
    draft = save(drafts, shown, shown.label_ids(), corrections={"organ": [[1, 2, 3]]}, seconds_open=12.5)
    saved, expected = nib.load(draft.path), nib.load(phantom_case.label)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), np.asarray(expected.dataobj))
    np.testing.assert_allclose(saved.affine, expected.affine, atol=1e-4)
    drafts.leave()
    (found,) = drafts.unsent(URL, "phantom_1")
    assert found == draft
    assert drafts.unsent("http://elsewhere") == []
    assert drafts.unsent(URL, "phantom_2") == []


def test_a_new_label_takes_the_place_of_the_old_but_what_is_being_sent_stays(shown, drafts):
    ids = shown.label_ids()
    saved = [save(drafts, shown, ids) for _time in range(4)]
    assert [draft.path.exists() for draft in saved] == [False, False, True, True]
    notes = json.loads((saved[-1].folder / "draft.json").read_text(encoding="utf-8"))
    assert notes["label"] == "label-4.nii"


def test_only_its_owner_may_look_and_no_token_is_there(shown, drafts, tmp_path):
    draft = save(drafts, shown, shown.label_ids())
    assert stat.S_IMODE((tmp_path / "drafts").stat().st_mode) == 0o700
    assert stat.S_IMODE(draft.folder.stat().st_mode) == 0o700
    assert "token" not in (draft.folder / "draft.json").read_text(encoding="utf-8")


def test_drafts_outlive_temporary_files():
    import slicer

    assert default_folder().is_relative_to(Path(slicer.app.slicerUserSettingsFilePath).parent)
    assert not default_folder().is_relative_to(slicer.app.temporaryPath)


def test_a_draft_that_another_writes_is_not_offered(shown, drafts, tmp_path):
    save(drafts, shown, shown.label_ids())
    other = Drafts(tmp_path / "drafts")
    assert other.unsent(URL) == []
    save(other, shown, shown.label_ids())
    assert other.open.folder != drafts.open.folder
    drafts.leave()
    assert len(other.unsent(URL)) == 1
    other.leave()


def test_what_waits_is_sent_as_it_was_and_only_the_newest_label_of_a_case_waits(shown, drafts):
    first = save(drafts, shown, shown.label_ids())
    drafts.keep_to_send(first, {"model": "m"})
    second = save(drafts, shown, shown.label_ids())
    assert second.folder != first.folder
    drafts.keep_to_send(second, {"model": "n"})
    (waiting,) = drafts.waiting(URL)
    assert waiting.params == {"model": "n"}
    assert drafts.unsent(URL) == []
    drafts.reopen(waiting)
    assert [draft.folder for draft in drafts.unsent(URL)] == [second.folder]


def test_a_label_that_cannot_be_written_leaves_the_one_before(shown, drafts, monkeypatch):
    before = save(drafts, shown, shown.label_ids())

    def full(*_arguments):
        raise SceneError("full")

    monkeypatch.setattr(segments, "write_ids", full)
    with pytest.raises(SceneError, match="is the disk full"):
        save(drafts, shown, shown.label_ids())
    monkeypatch.undo()
    drafts.leave()
    assert drafts.unsent(URL) == [before]


@pytest.mark.parametrize(
    "notes", ["", "[]", '{"case": 3}', '{"case": "a", "url": "b", "label": "../../secret"}', "nan"]
)
def test_notes_that_are_none_are_passed_over(drafts, tmp_path, notes):
    folder = tmp_path / "drafts" / "draft-x"
    folder.mkdir(parents=True)
    (folder / "draft.json").write_text(notes)
    (tmp_path / "secret").touch()
    assert drafts.unsent(URL) == []
    assert drafts.unsent("b") == []


_EDITS_UNTIL_KILLED = """
    import sys
    from pathlib import Path
    from slicer_host import desktop
    host = desktop.start()
    import numpy as np
    from UncertaintySegLib.logic.drafts import Draft, Drafts
    from UncertaintySegLib.scene.case import CaseScene
    from UncertaintySegLib.server.replies import Label

    scan, label, folder = map(Path, sys.argv[1:])
    case = CaseScene(host.scene)
    case.show_scan("phantom_1", scan)
    case.show_segmentation(label, [Label(1, "organ"), Label(2, "lesion")], {})
    drafts, ids = Drafts(folder), case.label_ids()
    for number in range(10_000):
        ids[number % ids.shape[0]] = 1 + number % 2
        case.draw(ids)
        draft = Draft(case="phantom_1", url="http://localhost:8000", changed_voxels=number)
        drafts.save(draft, case.label_ids(), case.scan)
        print(number, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_killed_slicer_loses_nothing_that_was_saved(shown, phantom_case, tmp_path):
    program = [sys.executable, "-c", textwrap.dedent(_EDITS_UNTIL_KILLED)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*program, str(phantom_case.scan), str(phantom_case.label), str(tmp_path / "drafts")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=environment)
    for line in process.stdout:
        if int(line) >= 7:
            break
    time.sleep(0.05)  # somewhere in the middle of a write
    os.kill(process.pid, signal.SIGKILL)
    rest = process.communicate()[0].split()
    last = int(rest[-1]) if rest else 7

    expected = shown.label_ids()
    (draft,) = Drafts(tmp_path / "drafts").unsent(URL, "phantom_1")
    assert draft.changed_voxels in (last, last + 1)
    for number in range(draft.changed_voxels + 1):
        expected[number % expected.shape[0]] = 1 + number % 2
    shown.redraw(draft.path)
    np.testing.assert_array_equal(shown.label_ids(), expected)
