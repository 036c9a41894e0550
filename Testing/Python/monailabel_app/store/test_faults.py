"""Every step of every write fails once for want of room: all of a change is kept, or nothing of it."""

from __future__ import annotations

import pytest

from Testing.Python.monailabel_app.store.faults import faulty, full
from Testing.Python.monailabel_app.store.writes import WRITES, before_and_after, copies, opened, state
from uncertaintyseg.errors import UncertaintySegError


@pytest.mark.parametrize("name", WRITES)
def test_a_disk_that_is_full_at_any_step_changes_nothing_or_only_delays_what_was_acknowledged(two_versions, name):
    write, inputs = WRITES[name], two_versions.parent / "inputs"
    before, after = before_and_after(two_versions, write)
    refused = 0
    for step, copy in copies(two_versions):
        datastore, _ = opened(copy)
        with faulty(datastore, step, full) as faults:
            try:
                write(datastore, inputs)
                acknowledged = True
            except UncertaintySegError as error:
                acknowledged, refused = False, refused + ("nothing was changed" in str(error))
        if not acknowledged:
            assert state(datastore) == before, step
        datastore.close()
        datastore, found = opened(copy)
        datastore.close()
        assert found == (after if acknowledged else before), step
        assert datastore.repaired == []
        if not faults.happened:
            break
    assert refused >= 2  # the record and its audit line at least
