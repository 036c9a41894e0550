"""The audit trail: who did what, from where, kept together with what they did or not at all."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from monailabel_app.api import audit
from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.jobs import InferJob, Step
from monailabel_app.jobs.predict import Predict
from uncertaintyseg.tokens import Identity, Role


@pytest.fixture
def store(tmp_path, monkeypatch):
    datastore = StudyDatastore(str(tmp_path))
    monkeypatch.setattr(audit, "running_app", lambda: SimpleNamespace(datastore=lambda: datastore))
    yield datastore.store
    datastore.close()


def test_an_entry_says_who_did_what_from_where(store):
    token = audit.caller.set((Identity("anna", Role.annotator), "192.0.2.7"))
    audit.audit("save", case="a", voxels_changed=3)
    audit.caller.reset(token)
    audit.audit("start")
    newest, first = store.last_audit(10)
    assert {k: v for k, v in first.items() if k != "time"} == {
        "event": "save", "who": "anna", "role": "annotator", "address": "192.0.2.7", "case": "a", "voxels_changed": 3,
    }  # fmt: skip
    assert newest["who"] == "server"
    assert first["time"].endswith("+00:00")


def test_whatever_clients_write_is_noted(store):
    audit.audit("save", case='a\nb"}\u2028\ud800{"event": "login"}', seconds=float("nan"), boxes=(1, {"x": b"y"}))
    [entry] = store.last_audit(10)
    assert entry["case"] == 'a\nb"}\u2028\\ud800{"event": "login"}'
    assert entry["seconds"] == "nan"
    assert entry["boxes"] == [1, {"x": "b'y'"}]


def test_an_entry_goes_with_the_transaction_that_it_belongs_to(store):
    def change() -> None:
        with store.transaction():
            store.put_image("a", "a.nii.gz", {})
            audit.audit("add_image", case="a")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        change()
    assert store.last_audit(10) == []
    assert store.images() == {}


def test_a_job_says_which_structures_and_which_part_of_the_scan_were_asked_for_in_bounds(store, monkeypatch):
    app = SimpleNamespace(datastore=lambda: SimpleNamespace(store=store), models={})
    monkeypatch.setattr(audit, "running_app", lambda: app)
    everything = Predict("k" * 64, "a.nii.gz", "bundle", "c" * 64, 0, 2, "cpu", "results")
    some = replace(everything, structures=("liver", "x" * 500), roi=((0, 4), (2, 9), (0, 3)))
    many = replace(everything, structures=tuple(f"vertebra {number}" for number in range(117)))
    for work in (everything, some, many):
        audit.audit_job(InferJob("model", Step("a", work), lambda *_: None))
    whole, part, body = store.last_audit(10)[::-1]
    assert not {"structures", "more_structures", "roi"} & set(whole)
    assert (part["structures"], part["roi"]) == (["liver", "x" * 64], [[0, 4], [2, 9], [0, 3]])
    assert "more_structures" not in part
    assert (body["structures"][-1], len(body["structures"]), body["more_structures"]) == ("vertebra 19", 20, 97)


def test_of_the_results_only_the_newest_cases_are_remembered(monkeypatch):
    monkeypatch.setattr(audit, "_CASES", 3)
    results = audit.LastResults()
    for number in range(5):
        results.note(f"case{number % 4}", f"key{number}")
    assert [results.of(f"case{number}") for number in range(4)] == ["key4", None, "key2", "key3"]
