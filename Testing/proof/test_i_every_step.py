"""The process dies once at every step of every write: all of a change is there at the next start, or nothing of it."""

from __future__ import annotations

import os

import pytest

from monailabel_app.app.datastore import StudyDatastore
from Testing.Python.monailabel_app.store.conftest import label, open_folder, studies, two_versions  # noqa: F401
from Testing.Python.monailabel_app.store.faults import faulty, killed
from Testing.Python.monailabel_app.store.writes import WRITES, before_and_after, copies, opened


@pytest.mark.parametrize("name", WRITES)
def test_a_process_that_dies_at_any_step_leaves_all_of_a_change_or_nothing(two_versions, name, record_property):  # noqa: F811
    write, inputs = WRITES[name], two_versions.parent / "inputs"
    before, after = before_and_after(two_versions, write)
    outcomes = []
    for step, copy in copies(two_versions):
        child = os.fork()
        if child == 0:
            try:
                datastore = StudyDatastore(str(copy))
                with faulty(datastore, step, killed):
                    write(datastore, inputs)
                os._exit(0)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9)
        datastore, found = opened(copy)
        datastore.close()
        if name == "add a scan" and found["images"].keys() != before["images"].keys() and not found["audit"]:
            continue  # the scan lies there whole, as if somebody had copied it into the two_versions
        assert found == (after if code == 0 else before) or found == after, step
        outcomes.append(found == after)
        if code == 0:
            break
    assert outcomes == sorted(outcomes)  # once it is kept, it is kept at every later step
    assert not outcomes[0]
    record_property(
        f"{name}: steps at which it died, at which it was kept", f"{len(outcomes) - 1}, {sum(outcomes) - 1}"
    )
